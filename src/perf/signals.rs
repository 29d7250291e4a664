//! What tells whether the client kept up: a [`Signal`] each, with its limits. The table of all of them, [`ALL`], is
//! what `docs/measuring.md` shows. Must not know what a broken limit leads to.
//!
//! 有效性信号：取值、阈值与缺失原因。

use serde::Serialize;

use crate::perf::{
    ceiling::Ceiling,
    drive::Driven,
    quantile::Sorted,
    record::Record,
    schedule::{Pace, Schedule},
    spec::ConcurrencyBackend,
    steps::steps,
    watch::Reading,
};

/// What a signal is, and when it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name in the record.
    pub name: &'static str,
    /// `s`, `ratio`, `count`.
    pub unit: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What is wrong where it is beyond its limits.
    pub so: &'static str,
    /// The first limit, in words.
    pub degraded: &'static str,
    /// The second, in words.
    pub invalid: &'static str,
}

/// A signal of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signal {
    /// See [`Kind::name`].
    pub name: &'static str,
    /// See [`Kind::unit`].
    pub unit: &'static str,
    /// The value, or why there is none.
    #[serde(flatten)]
    pub reading: Reading,
    /// Beyond this the figures are degraded.
    pub degraded: Option<Limit>,
    /// Beyond this they are no measurement.
    pub invalid: Option<Limit>,
    #[serde(skip)]
    pub(super) so: &'static str,
}

/// One end of what is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Accepted up to this.
    AtMost(f64),
    /// Accepted from this on.
    AtLeast(f64),
}

impl Limit {
    pub(super) fn broken_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value > most,
            Self::AtLeast(least) => value < least,
        }
    }
}

const SEND_LAG: Kind = Kind {
    name: "send_lag_p99",
    unit: "s",
    what: "open loop: from admission to sending, 99th percentile",
    so: "requests left late, by our fault",
    degraded: "> 1 ms and > 1 % of the median TTFT",
    invalid: "> 5 ms and > 5 % of the median TTFT",
};

const LATE_SENDS: Kind = Kind {
    name: "late_sends",
    unit: "count",
    what: "requests that left more than 1 ms after they were due and admitted",
    so: "",
    degraded: "told only",
    invalid: "",
};

const REFILL_GAP: Kind = Kind {
    name: "refill_gap_p99",
    unit: "s",
    what: "closed loop: from the end of a worker's request to its next, or from when a turn was due, less the wait for \
           admission, 99th percentile",
    so: "a free worker needed that long to send its next request",
    degraded: "> 1 ms and > 5 % of the median duration of a request",
    invalid: "> 20 ms and > 50 % of it",
};

const SHIFT: Kind = Kind {
    name: "schedule_shift_share",
    unit: "ratio",
    what: "open loop: by how much the schedule was put off after stalls of ours, of its length",
    so: "the asked rate was not kept, by our fault",
    degraded: "> 1 %",
    invalid: "> 5 %",
};

const ADMISSION: Kind = Kind {
    name: "admission_wait_p99",
    unit: "s",
    what: "open loop with a cap, or limits of prefill and decode: from schedule to admission, 99th percentile",
    so: "arrivals waited for the cap: the open loop has become a closed one, and what is counted from the start of a \
         request hides that wait",
    degraded: "> 1 ms and > 10 % of the median TTFT",
    invalid: "",
};

const ACHIEVED: Kind = Kind {
    name: "achieved_load_share",
    unit: "ratio",
    what: "closed loop: mean requests in flight, or conversations under way, over those asked, until the last was \
           taken; open loop: rate of sending over rate of arrivals",
    so: "the load was not the one that was asked for",
    degraded: "< 95 %",
    invalid: "< 80 %, closed loop",
};

const WAKEUP: Kind = Kind {
    name: "wakeup_lag_p99",
    unit: "s",
    what: "how late a timer of 20 ms woke on the event loop, or beside the pool, 99th percentile",
    so: "threads of ours were woken late: what they send is, and what they stamp where the kernel does not",
    degraded: "> 1 ms and > 1 % of the median TTFT",
    invalid: "> 10 ms and > 10 % of the median TTFT",
};

const CPU: Kind = Kind {
    name: "client_cpu_share",
    unit: "ratio",
    what: "processor time of the threads of load: of one processor under asyncio, of all of them under a pool",
    so: "the client is busy itself",
    degraded: "> 50 %",
    invalid: "> 80 %",
};

const CEILING: Kind = Kind {
    name: "ceiling_share",
    unit: "ratio",
    what: "token events in the busiest second, over what this client can take of such events on this machine",
    so: "the client was near the most that it can take here",
    degraded: "> 50 %",
    invalid: "> 80 %",
};

const QUEUE: Kind = Kind {
    name: "run_queue_wait_share",
    unit: "ratio",
    what: "share of its time in which the worst thread of load could have run and waited for a processor",
    so: "the client had to share its processors",
    degraded: "> 2 %",
    invalid: "",
};

const STEAL: Kind = Kind {
    name: "steal_share",
    unit: "ratio",
    what: "share of processor time that the hypervisor gave to others (/proc/stat)",
    so: "the machine was not ours",
    degraded: "> 2 %",
    invalid: "> 10 %",
};

const PRESSURE: Kind = Kind {
    name: "cpu_pressure_share",
    unit: "ratio",
    what: "share of the time in which some task of the machine waited for a processor (/proc/pressure/cpu)",
    so: "there were more tasks than processors",
    degraded: "> 20 %",
    invalid: "",
};

const THROTTLED: Kind = Kind {
    name: "cpu_throttled_share",
    unit: "ratio",
    what: "share of the time in which a quota held this process back (cpu.stat of its cgroup)",
    so: "a quota stopped the client",
    degraded: "> 1 %",
    invalid: "> 10 %",
};

const CACHED: Kind = Kind {
    name: "cached_prompt_share_p50",
    unit: "ratio",
    what: "share of a prompt's tokens that came from a prefix cache, median; of conversations, of their first turns",
    so: "prompts were known to the server already: this is no cold TTFT",
    degraded: "> 20 %",
    invalid: "",
};

const CLOCKS: Kind = Kind {
    name: "clock_skew_share",
    unit: "ratio",
    what: "pods: how far the wall clock of one may be from where it was taken to be, of the length of the window",
    so: "clocks of several machines place the requests, and may differ: what is counted per second over all of them is \
         that unsure",
    degraded: "> 5 %",
    invalid: "> 50 %",
};

/// All of them, in the order in which they are told.
pub const ALL: [Kind; 15] = [
    SEND_LAG, LATE_SENDS, REFILL_GAP, SHIFT, ADMISSION, ACHIEVED, WAKEUP, CPU, CEILING, QUEUE, STEAL,
    PRESSURE, THROTTLED, CACHED, CLOCKS,
];

/// More than this after it was due, a request is late, in seconds.
const LATE: f64 = 1e-3;

impl Kind {
    fn told(self, reading: Reading, degraded: Option<Limit>, invalid: Option<Limit>) -> Signal {
        Signal { name: self.name, unit: self.unit, reading, degraded, invalid, so: self.so }
    }

    fn at_most(self, reading: Reading, degraded: f64, invalid: Option<f64>) -> Signal {
        self.told(reading, Some(Limit::AtMost(degraded)), invalid.map(Limit::AtMost))
    }

    fn none(self, why: &str) -> Signal {
        self.told(Reading::none(why), None, None)
    }
}

/// What is judged.
pub(super) struct Seen<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) driven: &'a Driven,
    pub(super) backend: ConcurrencyBackend,
    pub(super) records: &'a [Record],
    /// Whether prefill and decode were limited apart.
    pub(super) limited: bool,
    /// What the client can take, or why that is not known.
    pub(super) ceiling: &'a Result<Ceiling, String>,
    /// Why the server is meant to know prompts already, where it is.
    pub(super) warm: Option<&'static str>,
}

/// Every signal of a run, in the order of [`ALL`].
pub(super) fn signals(seen: &Seen<'_>) -> Vec<Signal> {
    let measured: Vec<&Record> = seen.records.iter().filter(|record| !record.warmup).collect();
    let ok = || measured.iter().filter(|record| record.is_ok());
    let ttft = median(ok().filter_map(|r| r.ttft()).map(|ns| ns as f64 / 1e9).collect()).unwrap_or(0.0);
    let took = median(ok().map(|r| seconds(r.started.0, r.ended.0)).collect()).unwrap_or(0.0);
    let open = seen.schedule.epochs.iter().any(|epoch| matches!(epoch.pace, Pace::Open { .. }));
    let of_open =
        |kind: Kind, signal: Signal| if open { signal } else { kind.none("a closed loop has no arrivals") };
    let lag: Vec<f64> = measured.iter().map(|r| seconds(r.admitted.0, r.started.0)).collect();
    let waits = measured.iter().filter(|r| r.opens()).map(|r| seconds(r.scheduled.0, r.admitted.0)).collect();
    let late = lag.iter().filter(|lag| **lag > LATE).count() as f64;
    let lag = p99(lag);
    let refill = if open {
        REFILL_GAP.none("an open loop does not wait for a free worker")
    } else {
        REFILL_GAP.at_most(lag.clone(), (took * 0.05).max(1e-3), Some((took * 0.5).max(20e-3)))
    };
    vec![
        of_open(SEND_LAG, SEND_LAG.at_most(lag, (ttft * 0.01).max(1e-3), Some((ttft * 0.05).max(5e-3)))),
        LATE_SENDS.told(Reading::of(late), None, None),
        refill,
        of_open(SHIFT, SHIFT.at_most(shift(seen), 0.01, Some(0.05))),
        of_open(ADMISSION, ADMISSION.at_most(p99(waits), (ttft * 0.1).max(1e-3), None)),
        achieved(seen, open, &measured),
        WAKEUP.at_most(wakeup(seen), (ttft * 0.01).max(1e-3), Some((ttft * 0.1).max(10e-3))),
        CPU.at_most(cpu(seen), 0.5, Some(0.8)),
        CEILING.at_most(ceiling_share(seen).into(), 0.5, Some(0.8)),
        QUEUE.at_most(queue(seen), 0.02, None),
        STEAL.at_most(seen.driven.machine.steal_share.clone(), 0.02, Some(0.1)),
        PRESSURE.at_most(seen.driven.machine.pressure_share.clone(), 0.2, None),
        THROTTLED.at_most(seen.driven.machine.throttled_share.clone(), 0.01, Some(0.1)),
        seen.warm.map_or_else(|| CACHED.at_most(cached(&measured), 0.2, None), |why| CACHED.none(why)),
        clocks(seen, &measured),
    ]
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

fn median(values: Vec<f64>) -> Option<f64> {
    Sorted::new(values).quantile(0.5)
}

fn p99(values: Vec<f64>) -> Reading {
    Sorted::new(values)
        .quantile(0.99)
        .map_or_else(|| Reading::none("no measured request was sent"), Reading::of)
}

fn shift(seen: &Seen<'_>) -> Reading {
    let length: u64 = seen
        .schedule
        .epochs
        .iter()
        .filter_map(|epoch| match &epoch.pace {
            Pace::Open { arrivals_ns, .. } => arrivals_ns.last().copied(),
            Pace::Closed { .. } => None,
        })
        .sum();
    let shifted: f64 = seen.driven.epochs.iter().map(|epoch| epoch.shifted.as_secs_f64()).sum();
    if length == 0 {
        Reading::none("the schedule is empty")
    } else {
        Reading::of(shifted * 1e9 / length as f64)
    }
}

/// Fewer requests than this show no rate.
const ENOUGH: usize = 10;

fn achieved(seen: &Seen<'_>, open: bool, measured: &[&Record]) -> Signal {
    if !measured.iter().any(|record| record.is_ok()) {
        // A server that refuses at once leaves nothing in flight: that is its failure, and not ours.
        return ACHIEVED.none("no measured request succeeded");
    }
    if open {
        let arrived = measured.iter().filter(|record| record.opens()).count();
        let told = if arrived < ENOUGH { None } else { rate_share(seen, measured) };
        let reading =
            told.map_or_else(|| Reading::none(format!("fewer than {ENOUGH} arrivals")), Reading::of);
        return ACHIEVED.told(reading, Some(Limit::AtLeast(0.95)), None);
    }
    if seen.limited {
        return ACHIEVED
            .none("the limits of prefill and decode say how many are in flight, and not `concurrency`");
    }
    let steps = steps(seen.schedule, seen.records);
    let (mut got, mut asked) = (0.0, 0.0);
    for step in &steps {
        if let (Some(achieved), Some(end)) = (step.achieved, step.end_ns) {
            let length = (end - step.start_ns) as f64;
            got += achieved * length;
            asked += f64::from(step.target) * length;
        }
    }
    let reading = if asked > 0.0 {
        Reading::of(got / asked)
    } else {
        Reading::none("all requests were sent at once: there is no time in which load was kept up")
    };
    ACHIEVED.told(reading, Some(Limit::AtLeast(0.95)), Some(Limit::AtLeast(0.8)))
}

/// Rate of sending over the rate of the schedule, both between the first and the last measured request of each epoch.
fn rate_share(seen: &Seen<'_>, measured: &[&Record]) -> Option<f64> {
    let (mut planned, mut took) = (0.0, 0.0);
    for (epoch, number) in seen.schedule.epochs.iter().zip(0..) {
        let Pace::Open { arrivals_ns, .. } = &epoch.pace else { continue };
        let of_epoch = || measured.iter().filter(|record| record.epoch == number && record.opens());
        let (warmup, sent) = (epoch.warmup_items(), of_epoch().count());
        let first = arrivals_ns.get(warmup)?;
        let last = arrivals_ns.get((warmup + sent).checked_sub(1)?)?;
        planned += seconds(*first, *last);
        took += seconds(of_epoch().map(|r| r.started.0).min()?, of_epoch().map(|r| r.started.0).max()?);
    }
    (planned > 0.0 && took > 0.0).then(|| planned / took)
}

fn wakeup(seen: &Seen<'_>) -> Reading {
    let worst =
        seen.driven.epochs.iter().filter_map(|epoch| epoch.wakeups).map(|w| w.p99_ns / 1e9).reduce(f64::max);
    worst.map_or_else(|| Reading::none("over before the timer woke once"), Reading::of)
}

fn cpu(seen: &Seen<'_>) -> Reading {
    let (mut ran, mut could) = (0.0, 0.0);
    for epoch in &seen.driven.epochs {
        for thread in &epoch.threads {
            let Some(cpu_ns) = thread.cpu_ns else { return Reading::none("the system does not tell") };
            ran += cpu_ns as f64;
        }
        let wall = epoch.threads.iter().map(|thread| thread.wall_ns).max().unwrap_or(0) as f64;
        could += match seen.backend {
            ConcurrencyBackend::Asyncio => wall,
            ConcurrencyBackend::ThreadingPool => wall * seen.driven.machine.cpus as f64,
            // Each has a machine of its own.
            ConcurrencyBackend::K8sJob => wall * epoch.threads.len() as f64,
            ConcurrencyBackend::ProcessingPool => {
                wall * epoch.threads.len().min(seen.driven.machine.cpus) as f64
            }
        };
    }
    if could > 0.0 { Reading::of(ran / could) } else { Reading::none("no thread made load") }
}

fn ceiling_share(seen: &Seen<'_>) -> Result<f64, String> {
    let ceiling = seen.ceiling.as_ref().map_err(Clone::clone)?;
    let taken = Taken::of(seen.records).ok_or("no events came, or all at once")?;
    Ok(taken.busiest_per_s / ceiling.events_per_s(taken.event_bytes))
}

/// What the client took in, warm-up included: it has that to carry too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taken {
    /// Token events in the busiest second; over all of it, where it was shorter.
    pub(super) busiest_per_s: f64,
    /// Bytes of an event on average, in the bodies of the answers.
    pub(super) event_bytes: f64,
}

impl Taken {
    /// None where no time passed between events.
    pub(super) fn of(records: &[Record]) -> Option<Self> {
        let stamps = || records.iter().flat_map(|record| &record.events).map(|event| event.at.0);
        let (first, last) = (stamps().min()?, stamps().max()?);
        let span = seconds(first, last);
        if span <= 0.0 {
            return None;
        }
        let mut by_second = vec![0_u64; span as usize + 1];
        stamps().for_each(|at| by_second[seconds(first, at) as usize] += 1);
        let busiest = by_second.into_iter().max()? as f64;
        let bytes: u64 = records.iter().map(|record| record.bytes).sum();
        Some(Self {
            busiest_per_s: busiest / span.min(1.0),
            event_bytes: bytes as f64 / stamps().count() as f64,
        })
    }
}

fn clocks(seen: &Seen<'_>, measured: &[&Record]) -> Signal {
    let Some(workers) = &seen.driven.workers else {
        return CLOCKS.none("all stamps are of one machine's clock");
    };
    let from = measured.iter().map(|record| record.started.0).min();
    let window =
        from.zip(measured.iter().map(|record| record.ended.0).max()).map(|(from, to)| seconds(from, to));
    let reading = match window.filter(|window| *window > 0.0) {
        Some(window) => Reading::of(workers.unsure_ns as f64 / 1e9 / window),
        None => Reading::none("no measured request was sent"),
    };
    CLOCKS.at_most(reading, 0.05, Some(0.5))
}

fn queue(seen: &Seen<'_>) -> Reading {
    let threads =
        seen.driven.epochs.iter().flat_map(|epoch| &epoch.threads).filter(|thread| thread.wall_ns > 0);
    let shares = threads.map(|thread| Some(thread.wait_ns? as f64 / thread.wall_ns as f64));
    match shares.collect::<Option<Vec<f64>>>().map(|shares| shares.into_iter().reduce(f64::max)) {
        Some(Some(worst)) => Reading::of(worst),
        Some(None) => Reading::none("no thread made load"),
        None => Reading::none("the system does not tell (/proc/thread-self/schedstat)"),
    }
}

fn cached(measured: &[&Record]) -> Reading {
    let share = |r: &&Record| Some(r.cached_tokens? as f64 / r.prompt_tokens.filter(|n| *n > 0)? as f64);
    let cold = measured.iter().filter(|r| r.is_ok() && r.opens());
    let shares: Option<Vec<f64>> = cold.map(share).collect();
    match shares.map(median) {
        Some(Some(share)) => Reading::of(share),
        Some(None) => Reading::none("no measured request succeeded"),
        None => Reading::none("the server does not tell how much came from its cache"),
    }
}
