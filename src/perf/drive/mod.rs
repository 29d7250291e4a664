//! Makes load: [`drive`] sends what a [`Plan`] holds, at its pace, over threads or one event loop. It sees exchange
//! events only, through [`Transport`], so that a faster transport can take the client's place. Must not know what the
//! figures mean.
//!
//! ```text
//! Plan ─backend─▶ threads, each with its own transport ─turn─▶ who is due? ─Transport::perform─▶ Record
//! ```
//!
//! 施加负载：按计划发送；一次尝试即一个样本，不重试。

mod backend;
mod pacer;
#[cfg(test)]
mod tests;
mod turn;

use std::{future::Future, sync::atomic::AtomicU32, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, Event, Limits, Request, Route, Stamp},
    perf::{
        record::Record,
        schedule::Pace,
        spec::{ConcurrencyBackend, Stop},
        watch::{Before, Machine, ThreadUse, Wakeups},
    },
};

/// Carries one request and tells what happens, ending with exactly one [`Event::End`]; soon after `cancel` is
/// set that end is there too. It never repeats a request by itself.
pub trait Transport: Sized + Send + Sync {
    /// See the trait.
    fn perform(
        &self,
        request: &Request,
        limits: &Limits,
        cancel: &CancellationToken,
        on: impl FnMut(Event<'_>) + Send,
    ) -> impl Future<Output = ()> + Send;

    /// Another one to the same server that shares no connection and no lock with this one: every thread that makes
    /// load has its own.
    ///
    /// # Errors
    /// In words, when there can be none.
    fn apart(&self) -> Result<Self, String>;

    /// Opens a connection for the next request, where it can, so that no request measures the making of one.
    fn connect(&self, limits: &Limits, cancel: &CancellationToken) -> impl Future<Output = ()> + Send;
}

impl Transport for Client {
    fn perform(
        &self,
        request: &Request,
        limits: &Limits,
        cancel: &CancellationToken,
        on: impl FnMut(Event<'_>) + Send,
    ) -> impl Future<Output = ()> + Send {
        Client::perform(self, request, limits, cancel, on)
    }

    fn apart(&self) -> Result<Self, String> {
        Client::apart(self).map_err(|error| error.to_string())
    }

    /// Its connections come into being with a request only: one that costs the server nothing.
    async fn connect(&self, limits: &Limits, cancel: &CancellationToken) {
        let health = Request {
            method: "GET".to_owned(),
            route: Route::Root("/health".to_owned()),
            headers: Vec::new(),
            body: None,
            read_size: None,
        };
        let limits = Limits { total: limits.connect, ..*limits };
        Client::perform(self, &health, &limits, cancel, |_| {}).await;
    }
}

/// What is sent, built whole before the first of it goes out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One after another; each is drained before the next.
    pub epochs: Vec<Epoch>,
    /// Who carries it.
    pub backend: ConcurrencyBackend,
    /// Of each request.
    pub limits: Limits,
    /// When sending ends before the requests run out.
    pub stop: Stop,
}

/// One repetition of the load.
#[derive(Debug, Clone)]
pub struct Epoch {
    /// In this order.
    pub requests: Vec<Request>,
    /// The first so many are the warm-up; the measured ones follow without a pause, so that no opening burst of
    /// their own falls into the window.
    pub warmup: usize,
    /// When they are due.
    pub pace: Pace,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
    /// What became of each epoch that was begun.
    pub epochs: Vec<Turned>,
    /// What the machine did meanwhile.
    pub machine: Machine,
}

/// What became of one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Turned {
    /// When the first request was due.
    pub begin: Stamp,
    /// When the first measured one was sent.
    pub opened: Option<Stamp>,
    /// When the last request had ended.
    pub ended: Stamp,
    /// Why no more were sent.
    pub stopped: Stopped,
    /// By how much the rest of the schedule was put off, all in all, because we were late.
    pub shifted: Duration,
    /// The threads that carried it, and what they took of the processor.
    pub threads: Vec<ThreadUse>,
    /// How late a timer woke on them, or, of a pool, beside them.
    pub wakeups: Option<Wakeups>,
}

/// Why no more requests were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All were.
    Exhausted,
    /// The asked time was over.
    Duration,
    /// Too many failed.
    Failures {
        /// So many measured ones.
        failed: u64,
        /// Of so many that had ended.
        ended: u64,
    },
    /// We were told to.
    Cancelled,
}

impl Driven {
    /// Why the last epoch that was begun sent no more.
    pub fn stopped(&self) -> Stopped {
        self.epochs.last().map_or(Stopped::Cancelled, |epoch| epoch.stopped)
    }
}

/// Sends `plan` and hands every [`Record`] to `keep` as it ends, on the thread that saw it: `keep` must not block.
/// `in_flight` tells meanwhile how many requests are on their way. Returns when all have ended, or soon after `cancel` is set. Blocks: not for a thread that serves a runtime.
///
/// # Errors
/// In words, when there can be no thread or no connection pool for it.
pub fn drive<T: Transport>(
    transport: &T,
    plan: &Plan,
    cancel: &CancellationToken,
    in_flight: &AtomicU32,
    keep: &(impl Fn(Record) + Send + Sync),
) -> Result<Driven, String> {
    let before = Before::now();
    let mut epochs = Vec::new();
    let mut first = 0;
    for (epoch, number) in plan.epochs.iter().zip(0..) {
        let turn = turn::Turn::new(plan, (epoch, number, first), cancel, in_flight, keep);
        let turned = backend::carry(transport, plan.backend, &turn)?;
        first += epoch.requests.len() as u64;
        let goes_on = matches!(turned.stopped, Stopped::Exhausted | Stopped::Duration);
        epochs.push(turned);
        if !goes_on {
            break;
        }
    }
    Ok(Driven { epochs, machine: before.until_now() })
}
