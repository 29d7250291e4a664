//! What making the load took of the machine: [`thread`] measures the thread it runs on, a [`Canary`] how late a timer
//! wakes, a [`Machine`] what others took. What the system does not tell is null with a reason, never 0. Must not know
//! what was sent, nor how much of it is too much.
//!
//! 客户端自我观察：线程 CPU、唤醒延迟、窃取时间与压力。

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{client::Stamp, perf::quantile::Sorted, timer::Timer};

/// What one thread took from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadUse {
    /// As the system shows it.
    pub name: String,
    /// The system's own number of it, where it is told.
    pub id: Option<u64>,
    /// How long it lived, in nanoseconds.
    pub wall_ns: u64,
    /// How long it ran on a processor, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// How long it could have run and waited for a processor, in nanoseconds.
    pub wait_ns: Option<u64>,
}

/// Runs `work` on this thread, and says what it took, beside what came of it.
pub(crate) fn thread<R>(work: impl FnOnce() -> R) -> (R, ThreadUse) {
    let (begun, cpu, waited) = (Stamp::now(), cpu_ns(), wait_ns());
    let result = work();
    let ran = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
    let taken = ThreadUse {
        name: std::thread::current().name().unwrap_or_default().to_owned(),
        id: own_id(),
        wall_ns: Stamp::now().0.saturating_sub(begun.0),
        cpu_ns: ran(cpu_ns(), cpu),
        wait_ns: ran(wait_ns(), waited),
    };
    (result, taken)
}

fn own_id() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return u64::try_from(rustix::thread::gettid().as_raw_nonzero().get()).ok();
    #[cfg(not(target_os = "linux"))]
    None
}

/// Of this thread.
fn cpu_ns() -> Option<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).ok()
}

/// Of this thread: the second number of its `schedstat`.
fn wait_ns() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().nth(1)?.parse().ok()
}

/// How often a [`Canary`] wakes: often enough for a percentile of seconds, and seldom enough to take little where the
/// load itself does.
const HEARTBEAT: Duration = Duration::from_millis(20);

/// A timer that does nothing but wake, on the threads that make the load: what it is late, they are late.
#[derive(Debug, Default)]
pub(crate) struct Canary(Mutex<Vec<f64>>);

/// How late it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wakeups {
    /// How often it woke.
    pub n: usize,
    /// The median lateness, in nanoseconds.
    pub p50_ns: f64,
    /// Its 99th percentile, in nanoseconds.
    pub p99_ns: f64,
    /// The worst, in nanoseconds.
    pub max_ns: f64,
}

impl Canary {
    /// Wakes until it is dropped.
    pub(crate) async fn sing(&self) {
        let timer = Timer::new();
        let mut due = Stamp::now();
        loop {
            due = Stamp(due.0 + HEARTBEAT.as_nanos() as u64);
            timer.sleep(due.since(Stamp::now())).await;
            let now = Stamp::now();
            let late = now.since(due);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(late.as_nanos() as f64);
            if late > HEARTBEAT {
                // One stall is one late wake, and not one for every beat that it swallowed.
                due = now;
            }
        }
    }

    /// What it saw; nothing where it never woke.
    pub(crate) fn heard(&self) -> Option<Wakeups> {
        let late = Sorted::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Some(Wakeups {
            n: late.len(),
            p50_ns: late.quantile(0.5)?,
            p99_ns: late.quantile(0.99)?,
            max_ns: late.max()?,
        })
    }
}

/// A number that the system may not tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The number.
    pub value: Option<f64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_reason: Option<String>,
}

impl Reading {
    /// A number.
    pub fn of(value: f64) -> Self {
        Self { value: Some(value), null_reason: None }
    }

    /// The larger of two; the known one, where one of them is not.
    fn worse(self, other: Self) -> Self {
        if other.value > self.value { other } else { self }
    }

    /// None, and why.
    pub fn none(why: impl Into<String>) -> Self {
        Self { value: None, null_reason: Some(why.into()) }
    }
}

impl From<Result<f64, String>> for Reading {
    fn from(told: Result<f64, String>) -> Self {
        told.map_or_else(Self::none, Self::of)
    }
}

/// What the machine did beside the load, from [`Before`] to now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cpus: usize,
    /// Share of processor time that the hypervisor gave to others.
    pub steal_share: Reading,
    /// Share of the time in which some task waited for a processor.
    pub pressure_share: Reading,
    /// Share of the time in which a quota of the cgroup held this process back.
    pub throttled_share: Reading,
    /// The governor of the first processor's clock.
    pub governor: Option<String>,
}

impl Machine {
    /// One that nobody looked at, and why.
    pub(crate) fn unseen(why: &str) -> Self {
        let none = || Reading::none(why);
        Self { cpus: 0, steal_share: none(), pressure_share: none(), throttled_share: none(), governor: None }
    }

    /// Several machines as one: of each reading the worst, since the slowest of them is in the figures.
    pub(crate) fn worst_of(machines: Vec<Self>) -> Option<Self> {
        machines.into_iter().reduce(|one, other| Self {
            cpus: one.cpus.min(other.cpus),
            steal_share: one.steal_share.worse(other.steal_share),
            pressure_share: one.pressure_share.worse(other.pressure_share),
            throttled_share: one.throttled_share.worse(other.throttled_share),
            governor: [one.governor, other.governor]
                .into_iter()
                .flatten()
                .min_by_key(|governor| governor != "powersave"),
        })
    }
}

/// The counters at the beginning.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    at: Stamp,
    ticks: Result<(f64, f64), String>,
    pressure_us: Result<f64, String>,
    throttled_us: Result<f64, String>,
}

impl Before {
    /// Now.
    pub(crate) fn now() -> Self {
        Self { at: Stamp::now(), ticks: ticks(), pressure_us: pressure_us(), throttled_us: throttled_us() }
    }

    /// What happened since.
    pub(crate) fn until_now(&self) -> Machine {
        let now = Self::now();
        let wall_us = now.at.since(self.at).as_secs_f64() * 1e6;
        let share = |now: Result<f64, String>, before: &Result<f64, String>| -> Reading {
            now.and_then(|now| Ok((now - before.clone()?) / wall_us)).into()
        };
        let steal = now.ticks.and_then(|(steal, all)| {
            let (steal_before, all_before) = self.ticks.clone()?;
            let all = all - all_before;
            if all > 0.0 {
                Ok((steal - steal_before) / all)
            } else {
                Err("no tick of the clock passed".to_owned())
            }
        });
        Machine {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            steal_share: steal.into(),
            pressure_share: share(now.pressure_us, &self.pressure_us),
            throttled_share: share(now.throttled_us, &self.throttled_us),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .ok()
                .map(|text| text.trim().to_owned()),
        }
    }
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// Stolen and all ticks, of the first line of `/proc/stat`.
fn ticks() -> Result<(f64, f64), String> {
    parse_ticks(&read("/proc/stat")?).ok_or_else(|| "/proc/stat: no line `cpu` of eight numbers".to_owned())
}

fn parse_ticks(text: &str) -> Option<(f64, f64)> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // Guest time, behind the first eight, is part of user time.
    let numbers: Vec<f64> = numbers.take(8).map_while(|word| word.parse().ok()).collect();
    (numbers.len() == 8).then(|| (numbers[7], numbers.iter().sum()))
}

/// The total of the line `some` of `/proc/pressure/cpu`, in microseconds.
fn pressure_us() -> Result<f64, String> {
    let path = "/proc/pressure/cpu";
    parse_pressure(&read(path)?).ok_or_else(|| format!("{path}: no `total=` in its line `some`"))
}

fn parse_pressure(text: &str) -> Option<f64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// Microseconds held back by a quota, of `cpu.stat` of our cgroup (v2).
fn throttled_us() -> Result<f64, String> {
    let own = read("/proc/self/cgroup")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("no cgroup of version 2")?;
    let path = format!("/sys/fs/cgroup{}/cpu.stat", path.trim_end_matches('/'));
    let stat = read(&path)?;
    let told = stat.lines().find_map(|line| line.strip_prefix("throttled_usec "));
    told.and_then(|number| number.trim().parse().ok()).ok_or_else(|| format!("{path}: no quota is set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_computes_takes_a_processor_and_one_that_sleeps_does_not() {
        let ((), busy) = thread(|| {
            let begun = std::time::Instant::now();
            while begun.elapsed().as_millis() < 30 {
                std::hint::spin_loop();
            }
        });
        let ((), asleep) = thread(|| std::thread::sleep(std::time::Duration::from_millis(30)));
        assert!(busy.wall_ns >= 30_000_000 && asleep.wall_ns >= 30_000_000);
        assert!(busy.cpu_ns.unwrap() > 4 * asleep.cpu_ns.unwrap(), "{busy:?} {asleep:?}");
    }

    #[tokio::test]
    async fn a_canary_tells_how_late_its_thread_wakes() {
        let canary = Canary::default();
        let stalled = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            // What no load thread may do: block the loop.
            std::thread::sleep(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        tokio::select! {
            () = canary.sing() => {}
            () = stalled => {}
        }
        let heard = canary.heard().unwrap();
        assert!(heard.max_ns > 60e6, "{heard:?}");
        assert!(heard.n >= 3 && heard.p50_ns <= heard.p99_ns && heard.p99_ns <= heard.max_ns);
        assert_eq!(Canary::default().heard(), None);
    }

    #[test]
    fn the_counters_of_the_system_are_read_as_they_are_written() {
        let stat = "cpu  100 2 50 800 7 1 3 37 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_ticks(stat), Some((37.0, 1000.0)));
        assert_eq!(parse_ticks("intr 1 2 3"), None);
        let pressure = "some avg10=1.00 avg60=0.10 avg300=0.00 total=12345\nfull avg10=0.00 total=7\n";
        assert_eq!(parse_pressure(pressure), Some(12345.0));
        assert_eq!(parse_pressure("full total=7"), None);
    }

    #[test]
    fn what_the_system_does_not_tell_is_null_with_a_reason() {
        let machine = Before::now().until_now();
        for reading in [&machine.steal_share, &machine.pressure_share, &machine.throttled_share] {
            assert_ne!(reading.value.is_some(), reading.null_reason.is_some(), "{reading:?}");
        }
        let before = Before { pressure_us: read("/nowhere/pressure").map(|_| 0.0), ..Before::now() };
        let reason = before.until_now().pressure_share.null_reason.unwrap();
        assert!(reason.contains("/nowhere/pressure") || reason.contains("/proc/pressure/cpu"), "{reason}");
    }
}
