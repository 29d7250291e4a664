//! What is asked of the clients: a [`Load`], the same for each of them. Must not know any client.
//!
//! 基准负载。

use std::time::Duration;

use serde::Serialize;

use crate::null::{Pattern, Script};

/// A load: a closed loop of `streams` requests at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Requests in flight.
    pub streams: u32,
    /// Requests in all.
    pub requests: u32,
    /// Tokens of each answer.
    pub tokens: u32,
    /// From a request to its first token, in milliseconds.
    pub first_ms: u64,
    /// From a token to the next, in milliseconds.
    pub interval_ms: u64,
    /// Tokens of a prompt, as nearly as a client can make them.
    pub prompt_tokens: u32,
    /// How events come.
    pub pattern: Pattern,
    /// Who carries our own load.
    pub backend: Backend,
}

/// See `concurrency_backend` of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// One event loop.
    #[default]
    Asyncio,
    /// A thread for each request in flight.
    ThreadingPool,
}

impl Load {
    /// The usual one of so many streams: about eight seconds, 50 tokens a second a stream; from 5000 streams on 5, so
    /// that the whole stays at fifty thousand.
    pub fn of(streams: u32) -> Self {
        let many = streams >= 5000;
        Self {
            streams,
            requests: streams.saturating_mul(if many { 2 } else { 4 }),
            tokens: if many { 20 } else { 100 },
            first_ms: 50,
            interval_ms: if many { 200 } else { 20 },
            prompt_tokens: 32,
            pattern: Pattern::default(),
            backend: Backend::default(),
        }
    }

    /// In a few words.
    pub fn name(&self) -> String {
        format!(
            "{} streams, {} requests × {} tokens, one each {} ms, {}",
            self.streams,
            self.requests,
            self.tokens,
            self.interval_ms,
            self.pattern.name()
        )
    }

    /// How the null server answers it.
    pub(super) fn script(&self, log: std::path::PathBuf) -> Script {
        Script {
            first: Duration::from_millis(self.first_ms),
            interval: Duration::from_millis(self.interval_ms),
            tokens: self.tokens,
            pattern: self.pattern,
            padding: 0,
            port: 0,
            expected: Some(u64::from(self.requests)),
            log: Some(log),
        }
    }

    /// How long it takes a client that costs no time.
    pub(super) fn length(&self) -> Duration {
        let answer = self.first_ms + self.interval_ms * u64::from(self.tokens.saturating_sub(1));
        Duration::from_millis(answer) * self.requests.div_ceil(self.streams.max(1))
    }
}
