//! What is asked of the clients: a [`Load`], the same for each of them. Must not know any client.
//!
//! 基准负载。

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

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
    /// Over how long our own streams begin, in milliseconds: one by one, each with its first request. 0: all at once.
    pub climb_ms: u64,
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
    /// that the whole stays at fifty thousand. So many do not begin at once, or else they would all be due at once for
    /// ever after, since all answers take equally long: they begin over the length of an answer.
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
            climb_ms: if many { 4000 } else { 0 },
            backend: Backend::default(),
        }
    }

    /// How a case of ours says when its streams begin.
    pub(super) fn control_method(&self) -> Value {
        if self.climb_ms == 0 {
            return json!("fixed");
        }
        json!({"climb": {
            "growth_rate": self.streams,
            "growth_interval_ms": self.climb_ms,
            "mode": "linear",
        }})
    }

    /// In a few words.
    pub fn name(&self) -> String {
        let climb = match self.climb_ms {
            0 => String::new(),
            ms => format!(", begun over {ms} ms"),
        };
        format!(
            "{} streams, {} requests × {} tokens, one each {} ms, {}{climb}",
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
            + Duration::from_millis(self.climb_ms)
    }
}
