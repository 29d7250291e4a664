//! The processing-pool: one schedule carried by several [`processes`](drive) of this same program, each with one event
//! loop and connections of its own. Their stamps count from the same moment, so that what they saw is one record. Must
//! not know what the figures mean.
//!
//! ```text
//! Epoch ─divided─▶ Share ─stdin─▶ process: load() ─stdout─▶ Record, of the part ─placed─▶ Record, of the whole ─▶ keep
//! ```
//!
//! 进程池后端：同一程序的多个子进程共同执行一份全局计划。

mod child;
mod crew;
mod share;
mod wire;

pub use child::at_the_door;
pub(super) use share::{Place, divided};
pub(super) use wire::Share;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{Driven, Epoch, Plan, Stopped, Turned};
use crate::{
    client::{Client, Stamp},
    perf::{record::Record, watch::Before, watch::Wakeups},
};
use crew::Crew;
use wire::{Order, Told};

/// How the processes are called, with their number; the system shows it.
const PROCESS: &str = "load-process-";

/// How long processes have to open their connections before the first request is due.
const HEAD_START: Duration = Duration::from_millis(500);
/// How often it is looked whether to go on.
const BEAT: Duration = Duration::from_millis(50);

/// As [`load`](super::load), by as many processes as `plan` says.
///
/// # Errors
/// In words, when a process cannot be started, cannot carry its share, or ends early.
pub(super) fn drive(
    client: &Client,
    mut plan: Plan,
    cancel: &CancellationToken,
    in_flight: &AtomicU32,
    keep: &(impl Fn(Record) + Send + Sync),
) -> Result<Driven, String> {
    let before = Before::now();
    let mut crew = Crew::start(plan.processes as usize)?;
    let (mut transport, mut first) = (String::new(), 0);
    let mut epochs = Vec::new();
    for (epoch, number) in std::mem::take(&mut plan.epochs).into_iter().zip(0..) {
        let requests = epoch.len();
        let mut hear = |place: Place, record: Record| keep(place.placed(record, number, first));
        let (by, turned) = carry(&mut crew, client, &plan, epoch, cancel, in_flight, &mut hear)?;
        first += requests;
        transport = by;
        let goes_on = matches!(turned.stopped, Stopped::Exhausted | Stopped::Duration);
        epochs.push(turned);
        if !goes_on {
            break;
        }
    }
    let transport = super::transport_name(&transport);
    Ok(Driven { transport, epochs, machine: before.until_now(), workers: None })
}

/// Has one epoch carried.
fn carry(
    crew: &mut Crew,
    client: &Client,
    plan: &Plan,
    epoch: Epoch,
    cancel: &CancellationToken,
    in_flight: &AtomicU32,
    hear: &mut impl FnMut(Place, Record),
) -> Result<(String, Turned), String> {
    let parts = crew.len();
    for (part, epoch) in divided(epoch, parts).into_iter().enumerate() {
        crew.tell(part, &Order::Carry(Box::new(Share::of(client, plan, epoch)?)))?;
    }
    let mut state = State { ready: 0, on_their_way: vec![0; parts], turned: Vec::new(), by: String::new() };
    let mut cancelled = false;
    while state.turned.len() < parts {
        if cancel.is_cancelled() && !cancelled {
            cancelled = true;
            crew.tell_all(&Order::Cancel)?;
        }
        let Some((part, told)) = crew.hear(BEAT)? else { continue };
        match told {
            Told::Ready => {
                state.ready += 1;
                if state.ready == parts {
                    let at = Stamp(Stamp::now().0 + HEAD_START.as_nanos() as u64);
                    crew.tell_all(&Order::Begin(at))?;
                }
            }
            Told::Ended(record, on_their_way) => {
                state.on_their_way[part] = on_their_way;
                in_flight.store(state.on_their_way.iter().sum(), Ordering::Relaxed);
                hear(Place { part, parts }, *record);
            }
            Told::Turned(by, turned) => {
                state.by = by;
                state.turned.push(*turned);
            }
            Told::Failed(message) => return Err(format!("process {part} of the load: {message}")),
        }
    }
    in_flight.store(0, Ordering::Relaxed);
    let together = together(state.turned).ok_or("no process carried anything")?;
    Ok((state.by, together))
}

/// How far the processes are.
struct State {
    ready: usize,
    /// Requests in flight, of each.
    on_their_way: Vec<u32>,
    turned: Vec<Turned>,
    by: String,
}

/// What became of the epoch as a whole.
pub(super) fn together(parts: Vec<Turned>) -> Option<Turned> {
    parts.into_iter().reduce(|mut all, one| {
        all.begin = all.begin.min(one.begin);
        all.opened = [all.opened, one.opened].into_iter().flatten().min();
        all.ended = all.ended.max(one.ended);
        all.stopped = if all.stopped == Stopped::Exhausted { one.stopped } else { all.stopped };
        all.shifted = all.shifted.max(one.shifted);
        all.threads.extend(one.threads);
        all.wakeups = worse(all.wakeups, one.wakeups);
        all.unstamped_reads += one.unstamped_reads;
        all
    })
}

/// How late the latest of them woke.
fn worse(one: Option<Wakeups>, other: Option<Wakeups>) -> Option<Wakeups> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.p99_ns > one.p99_ns { other } else { one }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(begin: u64, opened: Option<u64>, ended: u64, stopped: Stopped) -> Turned {
        Turned {
            begin: Stamp(begin),
            opened: opened.map(Stamp),
            ended: Stamp(ended),
            stopped,
            shifted: Duration::from_nanos(begin),
            threads: Vec::new(),
            wakeups: None,
            unstamped_reads: 1,
        }
    }

    #[test]
    fn the_whole_begins_with_the_first_and_ends_with_the_last() {
        let parts = vec![
            turned(5, None, 90, Stopped::Exhausted),
            turned(7, Some(30), 80, Stopped::Duration),
            turned(6, Some(20), 95, Stopped::Exhausted),
        ];
        let whole = together(parts).unwrap();
        assert_eq!((whole.begin, whole.opened, whole.ended), (Stamp(5), Some(Stamp(20)), Stamp(95)));
        assert_eq!((whole.stopped, whole.shifted), (Stopped::Duration, Duration::from_nanos(7)));
        assert_eq!(whole.unstamped_reads, 3);
    }

    #[test]
    fn a_program_that_does_not_begin_at_the_door_starts_no_process() {
        let error = Crew::start(2).err().expect("the tests' own main begins elsewhere");
        assert!(error.contains("its `main` must be `vllm_cibench::st(…).main()`"), "{error}");
    }
}
