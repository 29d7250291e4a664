//! How a closed loop grew: [`steps`], each with its start, the concurrency that was wanted and the one that was
//! reached. A pure function of the schedule and the records. Must not know how requests are sent.
//!
//! 爬坡台阶：起点、目标并发与实际并发。

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    client::Stamp,
    perf::{
        record::Record,
        schedule::{Pace, Schedule},
    },
};

/// One stretch of wanted concurrency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Of which epoch.
    pub epoch: u32,
    /// When it was due, in nanoseconds after the epoch's first measured request.
    pub start_ns: u64,
    /// When the next one began, or sending ended; nothing where the requests had run out before it.
    pub end_ns: Option<u64>,
    /// How many were to be in flight; of conversations, to go on.
    pub target: u32,
    /// How many were, on average; nothing where it was not reached.
    pub achieved: Option<f64>,
    /// How many requests were sent in it.
    pub sent: u64,
}

/// The steps of every epoch of a closed loop, planned ones that were not reached included; none of an open loop.
pub fn steps(schedule: &Schedule, records: &[Record]) -> Vec<Step> {
    let each = schedule.epochs.iter().zip(0..);
    each.flat_map(|(epoch, number)| match &epoch.pace {
        Pace::Open { .. } => Vec::new(),
        Pace::Closed { starts_ns } => {
            let records: Vec<&Record> = records.iter().filter(|record| record.epoch == number).collect();
            of_epoch(number, starts_ns, &records)
        }
    })
    .collect()
}

/// From when to when a worker was busy with what it had taken: a request, or a conversation, think times included.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Stamp,
    to: Stamp,
}

fn spans(records: &[&Record]) -> Vec<Span> {
    let mut conversations: BTreeMap<u32, Span> = BTreeMap::new();
    let mut spans = Vec::new();
    for record in records {
        let own = Span { from: record.started, to: record.ended };
        match record.conversation {
            None => spans.push(own),
            Some(place) => {
                let whole = conversations.entry(place.number).or_insert(own);
                *whole = Span { from: whole.from.min(own.from), to: whole.to.max(own.to) };
            }
        }
    }
    spans.extend(conversations.into_values());
    spans
}

fn of_epoch(epoch: u32, starts_ns: &[u64], records: &[&Record]) -> Vec<Step> {
    let spans = spans(records);
    let opened = records.iter().filter(|record| !record.warmup).map(|record| record.started).min();
    // Once the last one is taken the load only drains: that is nobody's step.
    let sending = opened.and_then(|opened| {
        let last = spans.iter().map(|span| span.from).max()?;
        Some((opened, last.0.saturating_sub(opened.0)))
    });
    let mut begins: Vec<u64> = starts_ns.to_vec();
    begins.dedup();
    let ends = begins.iter().skip(1).copied().map(Some).chain([None]);
    let step = |(start_ns, next): (&u64, Option<u64>)| {
        let start_ns = *start_ns;
        let target = starts_ns.partition_point(|ns| *ns <= start_ns) as u32;
        let reached = sending.filter(|(_, over)| start_ns == 0 || start_ns < *over);
        let stretch = reached.map(|(opened, over)| (opened, next.map_or(over, |next| next.min(over))));
        let within = |record: &&&Record| {
            stretch.is_some_and(|(opened, end)| {
                record.started.0.checked_sub(opened.0).is_some_and(|at| (start_ns..=end).contains(&at))
            })
        };
        Step {
            epoch,
            start_ns,
            end_ns: stretch.map(|(_, end)| end),
            target,
            achieved: stretch.and_then(|(opened, end)| under_way(&spans, opened, start_ns, end)),
            sent: records.iter().filter(within).count() as u64,
        }
    };
    begins.iter().zip(ends).map(step).collect()
}

/// The mean number of them from `start` to `end`, both counted from `opened`.
fn under_way(spans: &[Span], opened: Stamp, start: u64, end: u64) -> Option<f64> {
    let (from, to) = (opened.0 + start, opened.0 + end);
    let busy = |span: &Span| span.to.0.min(to).saturating_sub(span.from.0.max(from));
    (to > from).then(|| spans.iter().map(busy).sum::<u64>() as f64 / (to - from) as f64)
}

/// What to say where the requests of an epoch ran out before its ceiling was reached.
pub fn below_ceiling(steps: &[Step]) -> Option<String> {
    let missed = steps.iter().find(|step| step.end_ns.is_none())?;
    let reached = steps.iter().rfind(|step| step.epoch == missed.epoch && step.end_ns.is_some());
    let ceiling = steps.iter().rfind(|step| step.epoch == missed.epoch)?;
    Some(match reached {
        None => "no request was sent".to_owned(),
        Some(reached) => format!(
            "requests ran out after {:.1} s at concurrency {}: the ceiling {} was due at {:.1} s, and the figures are \
             of the climb up to there",
            reached.end_ns.unwrap_or(0) as f64 / 1e9,
            reached.target,
            ceiling.target,
            ceiling.start_ns as f64 / 1e9
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{
        record::{Outcome, Turn},
        schedule::Epoch,
        summary::tests::record,
    };

    const MS: u64 = 1_000_000;

    fn climb(starts_ms: &[u64]) -> Schedule {
        let starts_ns = starts_ms.iter().map(|ms| ms * MS).collect();
        let epoch = Epoch { warmup: 0, measured: 4, pace: Pace::Closed { starts_ns }, conversations: None };
        Schedule { schema: String::new(), seed: 0, epochs: vec![epoch] }
    }

    fn ok(index: u64, start: u64) -> Record {
        record(index, start, Outcome::Ok)
    }

    #[test]
    fn a_step_tells_what_was_wanted_and_what_was_reached() {
        // One worker from 1000 on, a second one from 1170 on; each request takes 170 ms.
        let records = [ok(0, 1000), ok(1, 1170), ok(2, 1170), ok(3, 1340), ok(4, 1340)];
        let steps = steps(&climb(&[0, 170]), &records);
        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].target, steps[0].achieved, steps[0].end_ns), (1, Some(1.0), Some(170 * MS)));
        assert_eq!((steps[1].target, steps[1].achieved, steps[1].end_ns), (2, Some(2.0), Some(340 * MS)));
        assert_eq!(below_ceiling(&steps), None);
    }

    #[test]
    fn a_conversation_is_under_way_while_its_user_thinks() {
        // Two turns of one conversation, a second one after it, each turn 170 ms and 170 ms apart.
        let turn = |number, turn, start| Record {
            conversation: Some(Turn { number, turn, turns: 2 }),
            ..ok(u64::from(number * 2 + turn), start)
        };
        let records = [turn(0, 0, 0), turn(0, 1, 340), turn(1, 0, 510), turn(1, 1, 850)];
        let steps = steps(&climb(&[0]), &records);
        assert_eq!((steps[0].achieved, steps[0].end_ns, steps[0].sent), (Some(1.0), Some(510 * MS), 3));
    }

    #[test]
    fn requests_that_ran_out_before_the_ceiling_are_told() {
        let steps = steps(&climb(&[0, 170, 170, 5000]), &[ok(0, 0), ok(1, 170), ok(2, 200)]);
        assert_eq!(
            steps[2],
            Step { epoch: 0, start_ns: 5000 * MS, end_ns: None, target: 4, achieved: None, sent: 0 }
        );
        assert_eq!(
            below_ceiling(&steps).unwrap(),
            "requests ran out after 0.2 s at concurrency 3: the ceiling 4 was due at 5.0 s, and the figures are of \
             the climb up to there"
        );
    }

    #[test]
    fn the_warm_up_comes_before_the_first_step_and_what_is_left_of_it_is_load_all_the_same() {
        let warm = Record { warmup: true, ..ok(0, 900) };
        let steps = steps(&climb(&[0]), &[warm, ok(1, 1000), ok(2, 1100)]);
        // From 1000 to 1100: the measured one all the time, the warm-up for 70 ms of it.
        assert_eq!((steps[0].achieved, steps[0].sent), (Some(1.7), 2));
    }
}
