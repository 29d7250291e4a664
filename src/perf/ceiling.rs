//! How many events in a second this client can take on this machine: its [`Ceiling`], from a short load against a null
//! server in a process of its own, at two sizes of event; a line between them gives every other size. It is what the
//! processor time of the threads of load allows, with one read an event: whoever comes near it reads several at once,
//! and their stamps are late. Must not know what a run asked for, nor how near to its ceiling is too near.
//!
//! 自校准：以空服务器测得本机客户端的事件处理上限。

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, Direct, Limits, Target},
    null::{Child, Pattern, Script},
    perf::{
        drive::{Epoch, Plan, drive, load},
        record::Record,
        schedule::Pace,
        spec::{ConcurrencyBackend, Stop},
    },
};

/// Requests at a time, and tokens of each, one every so often: five thousand events at 25,000 a second, which come in
/// bursts of as many as there are streams, so that the loop takes several at a wake as it does under a real load.
const STREAMS: u32 = 64;
const TOKENS: u32 = 80;
const INTERVAL: Duration = Duration::from_micros(2500);
/// Bytes put into every event beside what vLLM writes: none, and about what a long piece of text or its log
/// probabilities take.
const PADDINGS: [u32; 2] = [0, 1000];
/// Longer than the load by far.
const LIMIT: Duration = Duration::from_secs(10);

/// Who takes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Path {
    backend: ConcurrencyBackend,
    /// By the direct transport.
    direct: bool,
}

/// What one event took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Point {
    /// Its bytes on average, in the body of the answer.
    event_bytes: f64,
    /// Processor time of the threads of load, in nanoseconds.
    cpu_ns: f64,
}

/// What a backend can take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Ceiling {
    /// Processors that its threads may use.
    processors: usize,
    /// Of small and of large events.
    points: [Point; 2],
}

impl Ceiling {
    /// Of `backend` with the transport that carries `client`'s requests, encryption left out. Measures the first time
    /// in this process, which blocks for half a second; afterwards tells what was measured.
    ///
    /// # Errors
    /// In words, where nothing can be measured.
    pub(super) fn of(
        backend: ConcurrencyBackend,
        client: &Client,
        cancel: &CancellationToken,
    ) -> Result<Self, String> {
        static KNOWN: Mutex<Vec<(Path, Result<Ceiling, String>)>> = Mutex::new(Vec::new());
        let path = Path { backend, direct: Direct::of(client).is_some() };
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, told)) = known.iter().find(|(one, _)| *one == path) {
            return told.clone();
        }
        let told = measure(path, cancel);
        if !cancel.is_cancelled() {
            known.push((path, told.clone()));
        }
        told
    }

    /// Events of so many bytes in a second. Smaller ones than were measured are not promised to be cheaper.
    pub(super) fn events_per_s(&self, event_bytes: f64) -> f64 {
        let [small, large] = self.points;
        let slope = (large.cpu_ns - small.cpu_ns) / (large.event_bytes - small.event_bytes);
        let cpu_ns = small.cpu_ns + slope.max(0.0) * (event_bytes - small.event_bytes).max(0.0);
        self.processors as f64 * 1e9 / cpu_ns
    }
}

fn measure(path: Path, cancel: &CancellationToken) -> Result<Ceiling, String> {
    let [small, large] = PADDINGS.map(|padding| point(path, padding, cancel));
    let processors = match path.backend {
        // Of a pool of processes this is one.
        ConcurrencyBackend::Asyncio | ConcurrencyBackend::ProcessingPool | ConcurrencyBackend::K8sJob => 1,
        ConcurrencyBackend::ThreadingPool => std::thread::available_parallelism().map_or(1, usize::from),
    };
    Ok(Ceiling { processors, points: [small?, large?] })
}

/// Carries the load by the very path that the measured one takes.
fn point(path: Path, padding: u32, cancel: &CancellationToken) -> Result<Point, String> {
    let server = Child::start(&script(padding))?;
    let target = Target::at(&server.base_url(), "null").map_err(|error| error.to_string())?;
    let (events, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(None);
    let keep = |record: Record| {
        events.fetch_add(record.events.len() as u64, Ordering::Relaxed);
        bytes.fetch_add(record.bytes, Ordering::Relaxed);
        if !record.is_ok() {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(record.outcome.describe());
        }
    };
    let (plan, in_flight) = (plan(path.backend, &target), AtomicU32::new(0));
    let driven = if path.direct {
        load(&target.client, plan, cancel, &in_flight, &keep)?
    } else {
        drive(&target.client, plan, cancel, &in_flight, &keep)?
    };
    if let Some(why) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(format!("a request to the null server failed: {why}"));
    }
    let events = events.into_inner() as f64;
    let threads = driven.epochs.iter().flat_map(|epoch| &epoch.threads);
    let cpu_ns: Option<u64> = threads.map(|thread| thread.cpu_ns).sum();
    let cpu_ns = cpu_ns.ok_or("the system does not tell the processor time of a thread")? as f64;
    Ok(Point { event_bytes: bytes.into_inner() as f64 / events, cpu_ns: cpu_ns / events })
}

fn script(padding: u32) -> Script {
    Script {
        first: INTERVAL,
        interval: INTERVAL,
        tokens: TOKENS,
        pattern: Pattern::Usage,
        padding,
        port: 0,
        expected: None,
        log: None,
    }
}

fn plan(backend: ConcurrencyBackend, target: &Target) -> Plan {
    let body = target.with_model(&serde_json::json!({"messages": [], "max_tokens": TOKENS, "stream": true}));
    let epoch = Epoch {
        requests: vec![target.chat(&body); STREAMS as usize],
        warmup: 0,
        pace: Pace::Closed { starts_ns: vec![0; STREAMS as usize] },
        conversations: Vec::new(),
    };
    Plan {
        epochs: vec![epoch],
        backend,
        processes: 1,
        begin: None,
        elsewhere: None,
        phases: None,
        limits: Limits::within(LIMIT),
        stop: Stop::default(),
    }
}

#[cfg(test)]
impl Ceiling {
    /// So many events a second, whatever their size.
    pub(super) fn at(events_per_s: f64) -> Self {
        let point = |event_bytes| Point { event_bytes, cpu_ns: 1e9 / events_per_s };
        Self { processors: 1, points: [point(300.0), point(1300.0)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceiling(processors: usize) -> Ceiling {
        let point = |event_bytes, cpu_ns| Point { event_bytes, cpu_ns };
        Ceiling { processors, points: [point(300.0, 4000.0), point(1300.0, 5000.0)] }
    }

    #[test]
    fn larger_events_cost_more_and_smaller_ones_than_measured_no_less() {
        assert_eq!(ceiling(1).events_per_s(300.0), 250_000.0);
        assert_eq!(ceiling(1).events_per_s(1300.0), 200_000.0);
        assert_eq!(ceiling(1).events_per_s(100.0), 250_000.0);
        assert_eq!(ceiling(1).events_per_s(6300.0), 100_000.0);
        assert_eq!(ceiling(2).events_per_s(300.0), 500_000.0);
    }

    #[test]
    fn noise_that_makes_larger_events_cheaper_promises_nothing() {
        let mut noisy = ceiling(1);
        noisy.points[1].cpu_ns = 3000.0;
        assert_eq!(noisy.events_per_s(6300.0), 250_000.0);
    }

    #[test]
    fn a_program_that_cannot_serve_says_so_instead_of_starting_itself() {
        let told =
            measure(Path { backend: ConcurrencyBackend::Asyncio, direct: true }, &CancellationToken::new());
        assert!(told.unwrap_err().contains("its `main` is not one of ours"));
    }
}
