//! Whether a measurement can be trusted: [`Validity`], with reasons, from what the run itself shows. Must not
//! know the thresholds that a case sets for the server: an invalid run is neither pass nor regression.
//!
//! 测量有效性：有效、降级或无效，并给出理由。

use serde::Serialize;

use crate::perf::{
    drive::{REPLAY, Stopped},
    record::{Outcome, Record, TokenSource},
    signals::{Limit, Seen, Signal, signals},
};

/// Whether the client measured the server, or itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Validity {
    /// The word for it.
    pub level: Level,
    /// Why the figures are no measurement at all.
    pub invalid: Vec<String>,
    /// Why they are less than they could be.
    pub degraded: Vec<String>,
    /// What it was seen by.
    pub signals: Vec<Signal>,
}

/// How far the figures can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing speaks against them.
    Valid,
    /// They are told, with reasons against them.
    Degraded,
    /// They are no measurement.
    Invalid,
}

/// What is known of the client that measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Built with optimisation.
    pub optimised: bool,
}

impl Client {
    /// This build. Debug assertions stand for the missing optimisation: Cargo's profiles tie them together, and
    /// nothing else of the level can be seen from inside.
    pub fn this_build() -> Self {
        Self { optimised: !cfg!(debug_assertions) }
    }
}

impl Validity {
    /// Judges the measured requests of a trial.
    pub(super) fn of(seen: &Seen<'_>, client: Client) -> Self {
        let measured: Vec<&Record> = seen.records.iter().filter(|record| !record.warmup).collect();
        let finished = measured.iter().filter(|record| record.outcome != Outcome::Cancelled).count();
        let (mut invalid, mut degraded) = (Vec::new(), Vec::new());
        if seen.driven.transport == REPLAY {
            invalid.push("a recording answered: no server was measured".to_owned());
        }
        if finished < measured.len() || seen.driven.stopped() == Stopped::Cancelled {
            invalid.push(format!(
                "cut short: {finished} of {} requests ended by themselves; the slowest are those missing",
                measured.len()
            ));
        }
        if !client.optimised {
            degraded.push(
                "the client is an unoptimised build and measures itself too; use `cargo test --profile st`"
                    .to_owned(),
            );
        }
        degraded.extend(uncounted(&measured));
        let signals = signals(seen);
        for signal in &signals {
            match broken(signal) {
                // What an unoptimised client says is no measurement anyway, and a slow test machine is no news.
                Some((Level::Invalid, why)) if client.optimised => invalid.push(why),
                Some((_, why)) => degraded.push(why),
                None => {}
            }
        }
        degraded.extend(powersave(seen.driven.machine.governor.as_deref()));
        let level = match (invalid.is_empty(), degraded.is_empty()) {
            (false, _) => Level::Invalid,
            (true, false) => Level::Degraded,
            (true, true) => Level::Valid,
        };
        Self { level, invalid, degraded, signals }
    }
}

/// The worst limit that a signal breaks, in words.
fn broken(signal: &Signal) -> Option<(Level, String)> {
    let value = signal.reading.value?;
    let limits = [(Level::Invalid, signal.invalid), (Level::Degraded, signal.degraded)];
    limits.into_iter().find_map(|(level, limit)| {
        let limit = limit.filter(|limit| limit.broken_by(value))?;
        let told = |value: f64| match signal.unit {
            "s" => format!("{:.2} ms", value * 1e3),
            "ratio" => format!("{:.1} %", value * 100.0),
            _ => format!("{value}"),
        };
        let (side, bound) = match limit {
            Limit::AtMost(most) => ("at most", most),
            Limit::AtLeast(least) => ("at least", least),
        };
        let text =
            format!("{}: {} {}, {side} {} is accepted", signal.so, signal.name, told(value), told(bound));
        Some((level, text))
    })
}

/// A clock that is let down between two requests doubles a TTFT and leaves the rest alone.
fn powersave(governor: Option<&str>) -> Option<String> {
    (governor == Some("powersave")).then(|| {
        "the processors' governor is `powersave`: they wake slowly; `performance` measures".to_owned()
    })
}

/// Requests whose tokens the server did not count.
fn uncounted(measured: &[&Record]) -> Option<String> {
    let of = |source| measured.iter().filter(|r| r.is_ok() && r.token_source == source).count();
    let (events, totals) = (of(TokenSource::Events), of(TokenSource::UsageTotal));
    if events > 0 {
        Some(format!(
            "without usage from the server ({events} of {} requests): events were counted as one token each",
            measured.len()
        ))
    } else if totals > 0 {
        Some(format!(
            "with usage only at the end ({totals} of {} requests): one token an event was assumed",
            measured.len()
        ))
    } else {
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        client::Stamp,
        perf::{
            ceiling::Ceiling,
            drive::{Driven, Turned},
            schedule::{Epoch, Pace, Schedule},
            signals::{ALL, Taken},
            spec::ConcurrencyBackend,
            summary::tests::record,
            watch::{Machine, Reading, ThreadUse, Wakeups},
        },
    };

    const MS: u64 = 1_000_000;
    const FAST: Client = Client { optimised: true };

    /// A quiet machine, and a loop that was never late.
    pub(in crate::perf) fn driven(stopped: Stopped) -> Driven {
        let thread = ThreadUse {
            name: "loadloop".to_owned(),
            id: Some(1),
            wall_ns: 340 * MS,
            cpu_ns: Some(20 * MS),
            wait_ns: Some(MS),
        };
        let epoch = Turned {
            begin: Stamp(0),
            opened: Some(Stamp(0)),
            ended: Stamp(340 * MS),
            stopped,
            shifted: Duration::ZERO,
            threads: vec![thread],
            wakeups: Some(Wakeups { n: 68, p50_ns: 5e4, p99_ns: 2e5, max_ns: 3e5 }),
            unstamped_reads: 0,
        };
        let machine = Machine {
            cpus: 2,
            steal_share: Reading::of(0.0),
            pressure_share: Reading::of(0.01),
            throttled_share: Reading::none("no quota is set"),
            governor: None,
        };
        Driven { transport: "direct", epochs: vec![epoch], machine, workers: None }
    }

    fn closed(workers: usize) -> Pace {
        Pace::Closed { starts_ns: vec![0; workers] }
    }

    fn judge_at(pace: Pace, driven: &Driven, records: &[Record], client: Client) -> Validity {
        judge_below(&Err("not calibrated".to_owned()), pace, driven, records, client)
    }

    fn judge_below(
        ceiling: &Result<Ceiling, String>,
        pace: Pace,
        driven: &Driven,
        records: &[Record],
        client: Client,
    ) -> Validity {
        let epoch = Epoch { warmup: 0, measured: records.len() as u32, pace, conversations: None };
        let schedule = Schedule { schema: String::new(), seed: 0, epochs: vec![epoch] };
        Validity::of(
            &Seen {
                schedule: &schedule,
                driven,
                backend: ConcurrencyBackend::Asyncio,
                limited: false,
                records,
                ceiling,
                warm: None,
            },
            client,
        )
    }

    fn judge(driven: &Driven, records: &[Record]) -> Validity {
        judge_at(closed(1), driven, records, FAST)
    }

    fn two() -> Vec<Record> {
        vec![record(0, 0, Outcome::Ok), record(1, 170, Outcome::Ok)]
    }

    /// Twelve arrivals, one every 20 ms.
    fn arrivals() -> (Pace, Vec<Record>) {
        let arrivals_ns = (0..12).map(|k| k * 20 * MS).collect();
        (Pace::Open { arrivals_ns, cap: Some(4) }, (0..12).map(|k| record(k, k * 20, Outcome::Ok)).collect())
    }

    #[test]
    fn a_whole_run_of_an_optimised_client_is_valid() {
        let validity = judge(&driven(Stopped::Exhausted), &two());
        assert_eq!((validity.level, validity.invalid, validity.degraded), (Level::Valid, vec![], vec![]));
        assert_eq!(
            validity.signals.iter().map(|signal| signal.name).collect::<Vec<_>>(),
            ALL.map(|kind| kind.name)
        );
        let (pace, records) = arrivals();
        let validity = judge_at(pace, &driven(Stopped::Exhausted), &records, FAST);
        assert_eq!((validity.level, validity.degraded), (Level::Valid, vec![]));
    }

    #[test]
    fn an_unoptimised_client_degrades_the_figures_and_its_lag_is_no_verdict() {
        let mut slow = driven(Stopped::Exhausted);
        slow.epochs[0].wakeups = Some(Wakeups { n: 9, p50_ns: 9e7, p99_ns: 9e7, max_ns: 9e7 });
        let validity = judge_at(closed(1), &slow, &two(), Client { optimised: false });
        assert_eq!(validity.level, Level::Degraded);
        assert!(validity.degraded[0].contains("unoptimised"), "{:?}", validity.degraded);
        assert_eq!(judge(&slow, &two()).level, Level::Invalid);
    }

    #[test]
    fn a_run_cut_short_is_no_measurement() {
        assert_eq!(judge(&driven(Stopped::Cancelled), &two()).invalid.len(), 1);
        let cut = [record(0, 0, Outcome::Ok), record(1, 170, Outcome::Cancelled)];
        assert_eq!(judge(&driven(Stopped::Exhausted), &cut).level, Level::Invalid);
    }

    #[test]
    fn a_replay_is_no_measurement() {
        let replayed = Driven { transport: REPLAY, ..driven(Stopped::Exhausted) };
        let validity = judge(&replayed, &two());
        assert_eq!(validity.level, Level::Invalid);
        assert_eq!(validity.invalid, ["a recording answered: no server was measured"]);
    }

    #[test]
    fn a_slow_refill_is_the_clients_fault() {
        let mut records = two();
        records[1].started = Stamp(records[1].scheduled.0 + 20 * MS);
        let degraded = judge(&driven(Stopped::Exhausted), &records).degraded;
        assert!(
            degraded[0].starts_with(
                "a free worker needed that long to send its next request: refill_gap_p99 19.80 ms"
            ),
            "{degraded:?}"
        );
    }

    #[test]
    fn every_signal_of_the_client_and_its_machine_has_a_limit_that_breaks() {
        type Change = fn(&mut Driven);
        let broken: [(&str, Change); 7] = [
            ("wakeup_lag_p99 12.00 ms", |d| {
                d.epochs[0].wakeups = Some(Wakeups { n: 9, p50_ns: 1e6, p99_ns: 12e6, max_ns: 2e7 });
            }),
            ("client_cpu_share 90.0 %", |d| d.epochs[0].threads[0].cpu_ns = Some(306 * MS)),
            ("run_queue_wait_share 10.0 %", |d| d.epochs[0].threads[0].wait_ns = Some(34 * MS)),
            ("steal_share 11.0 %", |d| d.machine.steal_share = Reading::of(0.11)),
            ("cpu_pressure_share 50.0 %", |d| d.machine.pressure_share = Reading::of(0.5)),
            ("cpu_throttled_share 30.0 %", |d| d.machine.throttled_share = Reading::of(0.3)),
            ("governor is `powersave`", |d| d.machine.governor = Some("powersave".to_owned())),
        ];
        for (told, change) in broken {
            let mut seen = driven(Stopped::Exhausted);
            change(&mut seen);
            let validity = judge(&seen, &two());
            let all: Vec<_> = validity.invalid.iter().chain(&validity.degraded).collect();
            assert_eq!(all.len(), 1, "{told}: {all:?}");
            assert!(all[0].contains(told), "{all:?}");
        }
    }

    #[test]
    fn what_the_system_does_not_tell_decides_nothing_and_says_why() {
        let mut blind = driven(Stopped::Exhausted);
        blind.machine.steal_share = Reading::none("/proc/stat: no such file");
        blind.epochs[0].threads[0].cpu_ns = None;
        blind.epochs[0].wakeups = None;
        let validity = judge(&blind, &two());
        assert_eq!(validity.level, Level::Valid);
        let told = serde_json::to_value(&validity.signals).unwrap();
        let steal = told.as_array().unwrap().iter().find(|signal| signal["name"] == "steal_share").unwrap();
        assert_eq!(
            (&steal["value"], &steal["null_reason"]),
            (&serde_json::Value::Null, &"/proc/stat: no such file".into())
        );
    }

    #[test]
    fn a_client_that_sends_late_is_told_from_a_cap_that_is_full() {
        let (pace, mut records) = arrivals();
        for record in &mut records {
            record.admitted = record.scheduled;
            record.scheduled = Stamp(record.scheduled.0.saturating_sub(50 * MS));
        }
        let capped = judge_at(pace.clone(), &driven(Stopped::Exhausted), &records, FAST);
        assert!(capped.degraded[0].contains("admission_wait_p99 50.00 ms"), "{:?}", capped.degraded);
        let (_, mut records) = arrivals();
        for record in &mut records {
            record.started = Stamp(record.started.0 + 8 * MS);
        }
        let late = judge_at(pace, &driven(Stopped::Exhausted), &records, FAST);
        assert!(late.invalid[0].contains("send_lag_p99 8.00 ms"), "{late:?}");
        let sends = late.signals.iter().find(|signal| signal.name == "late_sends").unwrap();
        assert_eq!(sends.reading.value, Some(12.0));
    }

    #[test]
    fn a_run_near_what_the_client_can_take_is_told() {
        let taken = Taken::of(&two()).unwrap();
        let level = |share: f64| {
            let ceiling = Ok(Ceiling::at(taken.busiest_per_s / share));
            judge_below(&ceiling, closed(1), &driven(Stopped::Exhausted), &two(), FAST)
        };
        assert_eq!(level(0.49).level, Level::Valid);
        let degraded = level(0.51);
        assert_eq!(degraded.level, Level::Degraded);
        assert!(degraded.degraded[0].contains("ceiling_share 51.0 %"), "{:?}", degraded.degraded);
        assert!(level(0.81).invalid[0].contains("ceiling_share 81.0 %, at most 80.0 %"));
    }

    #[test]
    fn a_schedule_that_was_put_off_was_not_kept() {
        let (pace, records) = arrivals();
        let mut stalled = driven(Stopped::Exhausted);
        stalled.epochs[0].shifted = Duration::from_millis(20);
        assert!(judge_at(pace, &stalled, &records, FAST).invalid[0].contains("schedule_shift_share 9.1 %"));
    }

    #[test]
    fn a_load_that_was_not_reached_is_told() {
        // Two workers were asked for, one request at a time was sent.
        let records = [record(0, 0, Outcome::Ok), record(1, 170, Outcome::Ok), record(2, 340, Outcome::Ok)];
        let validity = judge_at(closed(2), &driven(Stopped::Exhausted), &records, FAST);
        assert!(validity.invalid[0].contains("achieved_load_share 50.0 %"), "{validity:?}");
        // A server that refuses everything at once is not a client that does not keep up.
        let refused =
            |index| record(index, index * 170, Outcome::Status { status: 503, message: String::new() });
        let validity =
            judge_at(closed(2), &driven(Stopped::Exhausted), &[refused(0), refused(1), refused(2)], FAST);
        assert_eq!(validity.level, Level::Valid);
    }

    #[test]
    fn prompts_that_the_server_knew_already_are_told() {
        let mut records = two();
        for record in &mut records {
            record.cached_tokens = Some(8);
        }
        let degraded = judge(&driven(Stopped::Exhausted), &records).degraded;
        assert!(degraded[0].contains("cached_prompt_share_p50 80.0 %"), "{degraded:?}");
    }

    #[test]
    fn tokens_that_the_server_did_not_count_are_told() {
        let mut records = two();
        records[0].token_source = TokenSource::Events;
        let degraded = judge(&driven(Stopped::Exhausted), &records).degraded;
        assert!(degraded[0].starts_with("without usage from the server (1 of 2 requests)"), "{degraded:?}");
    }

    #[test]
    fn the_document_tells_every_signal_with_its_limits() {
        let document = include_str!("../../docs/measuring.md");
        for kind in ALL {
            let row = format!("| `{}` | {} | {} | {} |", kind.name, kind.what, kind.degraded, kind.invalid);
            assert!(document.contains(&row), "docs/measuring.md lacks the row\n{row}");
        }
    }
}
