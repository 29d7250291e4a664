//! Whether the system lets us open as many connections as a load needs: [`provide`] asks it for more where it must, and
//! says so before the first request where it does not. Must not know what is sent.
//!
//! 文件描述符上限：运行前提升或明确报错。

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Plan;
use crate::perf::{schedule::Pace, spec::ConcurrencyBackend};

/// What a run has open beside its load: files, the server's figures, the event loops of its own.
const BESIDE: u64 = 128;
/// A connection, and a timer while it waits for its turn.
const IN_A_LOOP: u64 = 2;
/// A thread of a pool has an event loop of its own, with what wakes it, and one for its connection.
const IN_A_POOL: u64 = 7;

/// Sees to it that `plan` finds descriptors enough.
///
/// # Errors
/// In words, where the system's own limit is in the way.
pub(super) fn provide<R>(plan: &Plan<R>) -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (wanted, current) = (wanted(plan), current.unwrap_or(u64::MAX));
    if wanted <= current {
        return Ok(());
    }
    let most = maximum.unwrap_or(u64::MAX);
    if needed(plan) > most {
        return Err(too_few(plan, most));
    }
    let raised = Rlimit { current: Some(wanted.min(most)), maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| {
        format!("the limit of open files cannot be raised from {current} to {wanted}: {error}")
    })
}

fn too_few<R>(plan: &Plan<R>, most: u64) -> String {
    format!(
        "{} requests at a time need up to {} open files, but the system allows this process {most} (`ulimit -Hn`); \
         raise that limit or ask for a lower concurrency",
        at_a_time(plan),
        needed(plan),
    )
}

/// What it cannot do without.
fn needed<R>(plan: &Plan<R>) -> u64 {
    let each = match plan.backend {
        ConcurrencyBackend::ThreadingPool => IN_A_POOL,
        // The timer can be done without: a coarser one takes its place.
        ConcurrencyBackend::Asyncio | ConcurrencyBackend::ProcessingPool | ConcurrencyBackend::K8sJob => {
            IN_A_LOOP - 1
        }
    };
    // Nobody knows how many arrivals without a cap will be on their way at a time.
    BESIDE + at_a_time(plan).min(if capped(plan) { u64::MAX } else { 1 }) * each
}

/// What it may come to use.
fn wanted<R>(plan: &Plan<R>) -> u64 {
    let each = match plan.backend {
        ConcurrencyBackend::ThreadingPool => IN_A_POOL,
        ConcurrencyBackend::Asyncio | ConcurrencyBackend::ProcessingPool | ConcurrencyBackend::K8sJob => {
            IN_A_LOOP
        }
    };
    BESIDE + at_a_time(plan) * each
}

fn capped<R>(plan: &Plan<R>) -> bool {
    plan.epochs.iter().all(|epoch| !matches!(epoch.pace, Pace::Open { cap: None, .. }))
}

/// How many requests can be on their way at a time.
fn at_a_time<R>(plan: &Plan<R>) -> u64 {
    let of = |pace: &Pace, requests: usize| match pace {
        Pace::Closed { starts_ns } => starts_ns.len() as u64,
        Pace::Open { cap, .. } => cap.map_or(u64::MAX, u64::from).min(requests as u64),
    };
    plan.epochs.iter().map(|epoch| of(&epoch.pace, epoch.requests.len())).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::drive::{Epoch, tests};

    fn plan(backend: ConcurrencyBackend, pace: Pace) -> Plan<()> {
        let epoch = Epoch { requests: vec![(); 50], warmup: 0, pace, conversations: Vec::new() };
        tests::plan(backend, vec![epoch])
    }

    fn closed(n: usize) -> Pace {
        Pace::Closed { starts_ns: vec![0; n] }
    }

    #[test]
    fn a_load_that_the_system_cannot_carry_is_refused_before_it_begins() {
        let error = provide(&plan(ConcurrencyBackend::Asyncio, closed(1 << 40 >> 12))).err();
        let most = getrlimit(Resource::Nofile).maximum;
        assert_eq!(error.is_some(), most.is_some_and(|most| most < (1 << 28)), "{error:?}");
        let error = too_few(&plan(ConcurrencyBackend::Asyncio, closed(10_000)), 4096);
        assert_eq!(
            error,
            "10000 requests at a time need up to 10128 open files, but the system allows this process 4096 \
             (`ulimit -Hn`); raise that limit or ask for a lower concurrency"
        );
    }

    #[test]
    fn what_is_needed_follows_backend_and_pace() {
        use ConcurrencyBackend::{Asyncio, ThreadingPool};
        let open = |cap| Pace::Open { arrivals_ns: vec![0; 50], cap };
        for (plan, expected) in [
            (plan(Asyncio, closed(10)), (138, 148)),
            (plan(ThreadingPool, closed(10)), (198, 198)),
            (plan(Asyncio, open(Some(4))), (132, 136)),
            (plan(Asyncio, open(Some(400))), (178, 228)),
            (plan(Asyncio, open(None)), (129, 228)),
        ] {
            assert_eq!((needed(&plan), wanted(&plan)), expected, "{plan:?}");
        }
    }
}
