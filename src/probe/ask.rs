//! The one place of the probe that touches the server: an [`Asker`] sends one request after the other, within a
//! time and a number, and sends nothing twice. Must not know what the answers mean.
//!
//! 探测的唯一出口：限时、限量、去重地发送请求。

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Bounds, heard::Heard};
use crate::client::{Limits, Request, Retry, Target};

/// How many times the plain request's time the longest of all may take: a tool call has some sixteen times its tokens.
const LONGEST: u32 = 20;

/// A request to a generating route.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) to: To,
    /// The whole body.
    pub(super) body: Value,
    /// The part of the body that makes it what it is, for evidence.
    pub(super) shown: String,
    /// 0, or which repetition this is: the same request is otherwise sent but once.
    pub(super) again: u8,
}

/// A generating route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum To {
    Chat,
    Completions,
}

impl Ask {
    /// The same once more, and really.
    pub(super) fn again(self, again: u8) -> Self {
        Self { again, ..self }
    }
}

/// Sends, and remembers.
pub(super) struct Asker<'a> {
    target: &'a Target,
    cancel: &'a CancellationToken,
    bounds: Bounds,
    begun: Instant,
    sent: u64,
    ran_out: bool,
    /// The longest that anything took which was answered.
    slowest: Duration,
    memory: HashMap<(To, String, u8), Heard>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(target: &'a Target, cancel: &'a CancellationToken, bounds: Bounds) -> Self {
        Self {
            target,
            cancel,
            bounds,
            begun: Instant::now(),
            sent: 0,
            ran_out: false,
            slowest: Duration::ZERO,
            memory: HashMap::new(),
        }
    }

    pub(super) fn target(&self) -> &'a Target {
        self.target
    }

    /// How many requests were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether something was not asked, since the bounds were reached.
    pub(super) fn ran_out(&self) -> bool {
        self.ran_out
    }

    /// Gives the rest as much time as the pace of what was answered so far asks for: as if each request took as long
    /// as the slowest of the plain ones, and the longest of them twenty times that.
    pub(super) fn follow_pace(&mut self) {
        let requests = u32::try_from(self.bounds.requests).unwrap_or(u32::MAX);
        let bounds = &mut self.bounds;
        bounds.total = bounds.total.max(self.slowest.saturating_mul(requests).min(bounds.stretched));
        bounds.request = bounds.request.max((self.slowest * LONGEST).min(Limits::default().total));
    }

    /// How long it has been at it.
    pub(super) fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Sends `ask`, unless it was sent before.
    pub(super) async fn ask(&mut self, ask: &Ask) -> Heard {
        let key = (ask.to, ask.body.to_string(), ask.again);
        if let Some(heard) = self.memory.get(&key) {
            return heard.clone();
        }
        let request = match ask.to {
            To::Chat => self.target.chat(&ask.body),
            To::Completions => self.target.completions(&ask.body),
        };
        let heard = self.send(&request).await;
        self.memory.insert(key, heard.clone());
        heard
    }

    /// Sends `request`.
    pub(super) async fn send(&mut self, request: &Request) -> Heard {
        let left = self.bounds.total.saturating_sub(self.took());
        let over = if left.is_zero() {
            Some(format!("not asked: the probe's {} s were over", self.bounds.total.as_secs()))
        } else if self.sent >= self.bounds.requests {
            Some(format!("not asked: {} requests were sent already", self.sent))
        } else {
            None
        };
        if let Some(why) = over {
            self.ran_out = true;
            return Heard::Silent(why);
        }
        self.sent += 1;
        let limits = Limits::within(self.bounds.request.min(left));
        let exchange = self.target.client.exchange(request, &limits, &Retry::none(), self.cancel).await;
        let attempt = exchange.last();
        let heard = Heard::of(attempt);
        if let Heard::Answered(_) = &heard {
            self.slowest = self.slowest.max(attempt.ended.since(attempt.begun));
        }
        heard
    }
}
