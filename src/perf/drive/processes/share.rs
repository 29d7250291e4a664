//! One schedule for several processes: [`divided`] gives each its part of an epoch, and [`Place`] says which request and
//! which worker of the whole one of a part is. Must not know processes.
//!
//! 将全局计划划分给各进程。

use super::super::Epoch;
use crate::perf::{record::Record, schedule::Pace};

/// Where the parts of a whole are: request and worker `n` of the whole belong to part `n` modulo the number of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::perf::drive) struct Place {
    /// Which part.
    pub(in crate::perf::drive) part: usize,
    /// How many there are.
    pub(in crate::perf::drive) parts: usize,
}

impl Place {
    /// The `n`th of a part, in the whole.
    fn in_whole(self, n: u64) -> u64 {
        n * self.parts as u64 + self.part as u64
    }

    /// A record of the part as one of the whole, in which the epoch begins with request `first`.
    pub(in crate::perf::drive) fn placed(self, mut record: Record, epoch: u32, first: u64) -> Record {
        // A conversation knows its own place in the whole.
        if record.conversation.is_none() {
            record.index = first + self.in_whole(record.index);
        }
        record.worker = u32::try_from(self.in_whole(record.worker.into())).unwrap_or(u32::MAX);
        record.epoch = epoch;
        record
    }
}

/// The parts of an epoch, none of which has a moment or a worker that the whole has not.
pub(in crate::perf::drive) fn divided(epoch: Epoch, parts: usize) -> Vec<Epoch> {
    let Epoch { requests, warmup, pace, conversations } = epoch;
    let empty = |part| Epoch {
        requests: Vec::new(),
        warmup: 0,
        pace: part_of(&pace, part, parts),
        conversations: Vec::new(),
    };
    let mut divided: Vec<Epoch> = (0..parts).map(empty).collect();
    for (index, request) in requests.into_iter().enumerate() {
        let part = &mut divided[index % parts];
        part.requests.push(request);
        part.warmup += usize::from(index < warmup);
    }
    for (index, conversation) in conversations.into_iter().enumerate() {
        divided[index % parts].conversations.push(conversation);
    }
    divided
}

fn part_of(pace: &Pace, part: usize, parts: usize) -> Pace {
    let every = |all: &[u64]| all.iter().skip(part).step_by(parts).copied().collect();
    match pace {
        Pace::Closed { starts_ns } => Pace::Closed { starts_ns: every(starts_ns) },
        Pace::Open { arrivals_ns, cap } => Pace::Open {
            arrivals_ns: every(arrivals_ns),
            // What is left over goes to the first parts.
            cap: cap.map(|cap| (cap as usize + parts - 1 - part).div_euclid(parts) as u32),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::perf::{record::Outcome, summary::tests::record};

    fn epoch(requests: usize, warmup: usize, pace: Pace) -> Epoch {
        let request = |n| {
            crate::client::Request::post_json(
                crate::client::Route::Api(format!("/{n}")),
                &serde_json::json!({}),
            )
        };
        let requests = (0..requests).map(request).collect();
        Epoch { requests, warmup, pace, conversations: Vec::new() }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(requests in 0_usize..60, warmup in 0_usize..10, cap in 4_u32..40, parts in 1_usize..5) {
            let warmup = warmup.min(requests);
            let arrivals_ns: Vec<u64> = (0..requests as u64).map(|n| n * 7).collect();
            let whole = epoch(requests, warmup, Pace::Open { arrivals_ns: arrivals_ns.clone(), cap: Some(cap) });
            let divided = divided(whole.clone(), parts);
            let mut seen = vec![None; requests];
            for (part, one) in divided.iter().enumerate() {
                let Pace::Open { arrivals_ns: own, .. } = &one.pace else { panic!("an open loop") };
                prop_assert_eq!(own.len(), one.requests.len());
                for (n, (request, at)) in one.requests.iter().zip(own).enumerate() {
                    let place = Place { part, parts };
                    let moved = place.placed(Record { worker: n as u32, ..record(n as u64, 0, Outcome::Ok) }, 3, 0);
                    let index = moved.index as usize;
                    prop_assert_eq!((&whole.requests[index], arrivals_ns[index]), (request, *at));
                    prop_assert_eq!((moved.worker as usize, moved.epoch), (index, 3));
                    prop_assert_eq!(index < warmup, n < one.warmup);
                    prop_assert!(seen[index].replace(part).is_none(), "request {} twice", index);
                }
            }
            prop_assert!(seen.iter().all(Option::is_some));
            let caps = divided.iter().map(|one| match one.pace {
                Pace::Open { cap, .. } => cap.unwrap_or(0),
                Pace::Closed { .. } => 0,
            });
            let caps: Vec<u32> = caps.collect();
            prop_assert_eq!(caps.iter().sum::<u32>(), cap);
            prop_assert!(caps.iter().all(|part| *part > 0));
        }
    }

    #[test]
    fn workers_keep_their_times() {
        let whole = epoch(6, 1, Pace::Closed { starts_ns: vec![0, 0, 5, 10, 15] });
        let starts: Vec<Vec<u64>> = divided(whole, 2)
            .into_iter()
            .map(|one| match one.pace {
                Pace::Closed { starts_ns } => starts_ns,
                Pace::Open { .. } => panic!("a closed loop"),
            })
            .collect();
        assert_eq!(starts, [vec![0, 5, 15], vec![0, 10]]);
    }
}
