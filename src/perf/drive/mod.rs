//! Makes load: [`load`] sends what a [`Plan`] holds, at its pace, over threads or one event loop, by the fastest
//! [`Transport`] that can carry it. It sees exchange events only. Must not know what the figures mean.
//!
//! ```text
//! Plan ─prepare─▶ bytes ─backend─▶ threads, each with its own transport ─turn─▶ who is due? ─perform─▶ Record
//! ```
//!
//! 施加负载：按计划发送；一次尝试即一个样本，不重试。

mod backend;
#[cfg(test)]
mod conformance;
mod conversation;
mod descriptors;
mod gate;
mod pacer;
mod pods;
mod processes;
#[cfg(test)]
mod tests;
mod transport;
mod turn;

use std::{sync::atomic::AtomicU32, time::Duration};

pub use conversation::{Conversation, Later};
pub use pods::{Elsewhere, WorkerTold, Workers, work};
pub use processes::at_the_door;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
pub use transport::Transport;

use crate::{
    client::{Client, Direct, Limits, Request, Stamp},
    perf::{
        record::Record,
        schedule::Pace,
        spec::{ConcurrencyBackend, PhaseLimits, Stop},
        watch::{Before, Machine, ThreadUse, Wakeups},
    },
};

/// What is sent, built whole before the first of it goes out.
#[derive(Debug, Clone)]
pub struct Plan<R = Request> {
    /// One after another; each is drained before the next.
    pub epochs: Vec<Epoch<R>>,
    /// Who carries it.
    pub backend: ConcurrencyBackend,
    /// How many processes, or pods, do, where that is a pool of them.
    pub processes: u32,
    /// Where those pods are.
    pub elsewhere: Option<Elsewhere>,
    /// When the first request may be due; nothing: as soon as all are ready.
    pub begin: Option<Stamp>,
    /// What prefill and decode are limited to apart, where they are.
    pub phases: Option<PhaseLimits>,
    /// Of each request.
    pub limits: Limits,
    /// When sending ends before the requests run out.
    pub stop: Stop,
}

/// One repetition of the load.
#[derive(Debug, Clone)]
pub struct Epoch<R = Request> {
    /// In this order; of conversations the first request of each.
    pub requests: Vec<R>,
    /// The first so many are the warm-up; the measured ones follow without a pause, so that no opening burst of
    /// their own falls into the window.
    pub warmup: usize,
    /// When they are due.
    pub pace: Pace,
    /// What follows each of them, where they begin conversations; none where they stand alone.
    pub conversations: Vec<Conversation>,
}

impl<R> Epoch<R> {
    /// How many requests there are in all.
    fn len(&self) -> u64 {
        let later = self.conversations.iter().map(|conversation| conversation.later.len());
        self.requests.len() as u64 + later.sum::<usize>() as u64
    }
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
    /// The name of the transport that carried it.
    pub transport: &'static str,
    /// What became of each epoch that was begun.
    pub epochs: Vec<Turned>,
    /// What the machine did meanwhile; of several the worst.
    pub machine: Machine,
    /// Who carried it, where those were pods.
    pub workers: Option<Workers>,
}

/// What became of one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Reads of the direct transport whose arrival the system did not tell; they are stamped as they returned.
    pub unstamped_reads: u64,
}

/// Why no more requests were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl Plan {
    /// The same, whose requests are what `transport` sends.
    fn prepared<T: Transport>(self, transport: &T) -> Plan<T::Outgoing> {
        let prepared = |epoch: Epoch| Epoch {
            requests: epoch.requests.into_iter().map(|request| transport.prepare(request)).collect(),
            warmup: epoch.warmup,
            pace: epoch.pace,
            conversations: epoch.conversations,
        };
        Plan {
            epochs: self.epochs.into_iter().map(prepared).collect(),
            backend: self.backend,
            processes: self.processes,
            elsewhere: self.elsewhere,
            begin: self.begin,
            phases: self.phases,
            limits: self.limits,
            stop: self.stop,
        }
    }
}

/// The name of the transport where a recording answers.
pub const REPLAY: &str = "replay";

/// As [`drive`], to the server of `client`: directly where it can be reached so, else through the client itself.
///
/// # Errors
/// As [`drive`].
pub fn load(
    client: &Client,
    plan: Plan,
    cancel: &CancellationToken,
    in_flight: &AtomicU32,
    keep: &(impl Fn(Record) + Send + Sync),
) -> Result<Driven, String> {
    match plan.backend {
        ConcurrencyBackend::ProcessingPool => return processes::drive(client, plan, cancel, in_flight, keep),
        ConcurrencyBackend::K8sJob => return pods::drive(client, plan, cancel, in_flight, keep),
        ConcurrencyBackend::ThreadingPool | ConcurrencyBackend::Asyncio => {}
    }
    match Direct::of(client) {
        Some(direct) => drive(&direct, plan, cancel, in_flight, keep),
        None if client.is_replay() => {
            drive(client, plan, cancel, in_flight, keep).map(|driven| Driven { transport: REPLAY, ..driven })
        }
        None => drive(client, plan, cancel, in_flight, keep),
    }
}

/// The name of a transport of another process.
fn transport_name(name: &str) -> &'static str {
    if name == <Direct as Transport>::NAME {
        <Direct as Transport>::NAME
    } else {
        <Client as Transport>::NAME
    }
}

/// Sends `plan` and hands every [`Record`] to `keep` as it ends, on the thread that saw it: `keep` must not block.
/// `in_flight` tells meanwhile how many requests are on their way. Returns when all have ended, or soon after `cancel`
/// is set. Blocks: not for a thread that serves a runtime.
///
/// # Errors
/// In words, when there can be no thread, no connection pool or no descriptor for it.
pub fn drive<T: Transport>(
    transport: &T,
    plan: Plan,
    cancel: &CancellationToken,
    in_flight: &AtomicU32,
    keep: &(impl Fn(Record) + Send + Sync),
) -> Result<Driven, String> {
    descriptors::provide(&plan)?;
    let plan = plan.prepared(transport);
    let before = Before::now();
    let mut epochs = Vec::new();
    let mut first = 0;
    for (epoch, number) in plan.epochs.iter().zip(0..) {
        let turn = turn::Turn::new(&plan, (epoch, number, first), cancel, in_flight, keep);
        let turned = backend::carry(transport, plan.backend, &turn)?;
        first += epoch.len();
        let goes_on = matches!(turned.stopped, Stopped::Exhausted | Stopped::Duration);
        epochs.push(turned);
        if !goes_on {
            break;
        }
    }
    Ok(Driven { transport: T::NAME, epochs, machine: before.until_now(), workers: None })
}
