//! How many requests were in prefill and in decode at a time, beside the limits that a case set: [`phases`]. A pure
//! function of the records. Must not know how the limits are kept.
//!
//! 实际处于 prefill/decode 阶段的并发数。

use serde::Serialize;

use crate::perf::{record::Record, spec::PhaseLimits};

/// What became of the limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Phases {
    limits: PhaseLimits,
    prefill: Held,
    decode: Held,
    in_flight: Held,
}

/// Requests in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Held {
    /// The most at a time, warm-up included.
    peak: u64,
    /// On average, from the first measured request of each epoch to its last sending; null where all left at once.
    mean: Option<f64>,
}

/// From `limits` and what was seen. A request is in prefill from its start to its first token, to its end where it has
/// none, and in decode from there on.
pub(super) fn phases(limits: PhaseLimits, records: &[Record]) -> Phases {
    let first = |record: &Record| record.first_token.unwrap_or(record.ended).0;
    Phases {
        limits,
        prefill: held(records, |record| (record.started.0, first(record))),
        decode: held(records, |record| (first(record), record.ended.0)),
        in_flight: held(records, |record| (record.started.0, record.ended.0)),
    }
}

fn held(records: &[Record], span: impl Fn(&Record) -> (u64, u64)) -> Held {
    let spans: Vec<(u64, u64)> = records.iter().map(&span).filter(|(from, to)| to > from).collect();
    Held { peak: peak(&spans), mean: mean(records, span) }
}

/// The most spans at a time; one that ends where another begins makes room for it.
fn peak(spans: &[(u64, u64)]) -> u64 {
    let mut turns: Vec<(u64, bool)> =
        spans.iter().flat_map(|(from, to)| [(*from, true), (*to, false)]).collect();
    turns.sort_unstable();
    let (mut now, mut most) = (0_u64, 0);
    for (_, begins) in turns {
        now = if begins { now + 1 } else { now - 1 };
        most = most.max(now);
    }
    most
}

fn mean(records: &[Record], span: impl Fn(&Record) -> (u64, u64)) -> Option<f64> {
    let epochs = records.iter().map(|record| record.epoch).max()?;
    let (mut area, mut length) = (0, 0);
    for epoch in 0..=epochs {
        let own = || records.iter().filter(|record| record.epoch == epoch);
        let sent = || own().filter(|record| !record.warmup).map(|record| record.started.0);
        let (Some(from), Some(to)) = (sent().min(), sent().max()) else { continue };
        length += to - from;
        area += own().map(&span).map(|(begin, end)| end.min(to).saturating_sub(begin.max(from))).sum::<u64>();
    }
    (length > 0).then(|| area as f64 / length as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::Stamp,
        perf::{record::Outcome, summary::tests::record},
    };

    const MS: u64 = 1_000_000;

    fn request(index: u64, started: u64, first: Option<u64>, ended: u64) -> Record {
        Record {
            started: Stamp(started * MS),
            first_token: first.map(|ms| Stamp(ms * MS)),
            ended: Stamp(ended * MS),
            ..record(index, 0, Outcome::Ok)
        }
    }

    #[test]
    fn a_request_is_in_one_phase_at_a_time_and_one_that_ends_makes_room() {
        let records = [
            request(0, 0, Some(10), 40),
            request(1, 10, Some(20), 30),
            // It never had a token.
            request(2, 20, None, 40),
            request(3, 40, Some(50), 60),
        ];
        let seen = phases(PhaseLimits { prefill: 1, decode: 2 }, &records);
        assert_eq!((seen.prefill.peak, seen.decode.peak, seen.in_flight.peak), (1, 2, 3));
        assert_eq!((seen.prefill.mean, seen.decode.mean), (Some(1.0), Some(1.0)));
        assert_eq!(seen.in_flight.mean, Some(2.0));
    }

    #[test]
    fn what_left_at_once_has_no_mean() {
        let seen = phases(PhaseLimits { prefill: 1, decode: 1 }, &[request(0, 5, Some(6), 9)]);
        assert_eq!(seen.in_flight, Held { peak: 1, mean: None });
    }
}
