//! Whether a measurement can be trusted: [`Validity`], with reasons, from what the run itself shows. Must not
//! know the thresholds that a case sets for the server: an invalid run is neither pass nor regression.
//!
//! 测量有效性：有效、降级或无效，并给出理由。

use serde::Serialize;

use crate::perf::{
    drive::{Driven, Stopped},
    quantile::Sorted,
    record::{Outcome, Record, TokenSource},
};

/// Whether the client measured the server, or itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Validity {
    /// Why the figures are no measurement at all.
    pub invalid: Vec<String>,
    /// Why they are less than they could be.
    pub degraded: Vec<String>,
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

/// Above this share of a request's median duration, the gap between two requests of a worker is not small.
const REFILL_SHARE: f64 = 0.05;
/// Below this a gap between two requests of a worker is nobody's trouble, in nanoseconds.
const REFILL_FLOOR_NS: f64 = 1e6;

impl Validity {
    /// Judges the measured requests of a trial.
    pub fn of(records: &[Record], driven: &Driven, client: Client) -> Self {
        let measured: Vec<&Record> = records.iter().filter(|record| !record.warmup).collect();
        let finished = measured.iter().filter(|record| record.outcome != Outcome::Cancelled).count();
        let mut validity = Self { invalid: Vec::new(), degraded: Vec::new() };
        if finished < measured.len() || driven.stopped() == Stopped::Cancelled {
            validity.invalid.push(format!(
                "cut short: {finished} of {} requests ended by themselves; the slowest are those missing",
                measured.len()
            ));
        }
        if !client.optimised {
            validity.degraded.push(
                "the client is an unoptimised build and measures itself too; use `cargo test --profile st`"
                    .to_owned(),
            );
        }
        validity.degraded.extend(uncounted(&measured));
        validity.degraded.extend(slow_refill(&measured));
        validity
    }
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

/// In a closed loop a worker's next request follows at once; where it does not, the client is the brake.
fn slow_refill(measured: &[&Record]) -> Option<String> {
    let gaps = measured.iter().map(|r| r.started.0.saturating_sub(r.scheduled.0) as f64).collect();
    let took = measured.iter().filter(|r| r.is_ok()).map(|r| (r.ended.0 - r.started.0) as f64).collect();
    let (gap, took) = (Sorted::new(gaps).quantile(0.99)?, Sorted::new(took).quantile(0.5)?);
    (gap > REFILL_FLOOR_NS.max(took * REFILL_SHARE))
        .then(|| format!("a free worker needed {:.1} ms (p99) to send its next request", gap / 1e6))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        client::Stamp,
        perf::{drive::Turned, summary::tests::record},
    };

    fn driven(stopped: Stopped) -> Driven {
        let epoch = Turned {
            begin: Stamp(0),
            opened: Some(Stamp(0)),
            ended: Stamp(340_000_000),
            stopped,
            shifted: Duration::ZERO,
            threads: Vec::new(),
        };
        Driven { epochs: vec![epoch] }
    }

    const FAST: Client = Client { optimised: true };

    fn two() -> Vec<Record> {
        vec![record(0, 0, Outcome::Ok), record(1, 170, Outcome::Ok)]
    }

    #[test]
    fn a_whole_run_of_an_optimised_client_is_valid() {
        assert_eq!(
            Validity::of(&two(), &driven(Stopped::Exhausted), FAST),
            Validity { invalid: vec![], degraded: vec![] }
        );
    }

    #[test]
    fn an_unoptimised_client_degrades_the_figures() {
        let validity = Validity::of(&two(), &driven(Stopped::Exhausted), Client { optimised: false });
        assert!(validity.invalid.is_empty());
        assert!(validity.degraded[0].contains("unoptimised"), "{:?}", validity.degraded);
    }

    #[test]
    fn missing_requests_make_it_no_measurement() {
        assert_eq!(Validity::of(&two(), &driven(Stopped::Cancelled), FAST).invalid.len(), 1);
    }

    #[test]
    fn a_slow_refill_is_the_clients_fault() {
        let mut records = two();
        records[1].started = Stamp(records[1].scheduled.0 + 20_000_000);
        let degraded = Validity::of(&records, &driven(Stopped::Exhausted), FAST).degraded;
        assert!(degraded[0].starts_with("a free worker needed 19.8 ms (p99)"), "{degraded:?}");
    }

    #[test]
    fn tokens_that_the_server_did_not_count_are_told() {
        let mut records = two();
        records[0].token_source = TokenSource::Events;
        let degraded = Validity::of(&records, &driven(Stopped::Exhausted), FAST).degraded;
        assert!(degraded[0].starts_with("without usage from the server (1 of 2 requests)"), "{degraded:?}");
    }
}
