//! When an arrival of an open loop may go: [`Pacer`] holds the absolute schedule, and puts the rest of it off when we
//! were late, instead of sending all that was missed at once. Must not know what is sent.
//!
//! 绝对时刻表与有界追赶。

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::client::Stamp;

/// How much lateness of ours is caught up with. What is beyond it shifts the rest of the schedule: a burst that nobody
/// asked for would be measured as the server's trouble.
pub(crate) const CATCH_UP: Duration = Duration::from_millis(10);

/// The schedule of one epoch as it is kept.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// Nanoseconds by which everything that is still to come is put off.
    shift: Mutex<u64>,
}

/// Whether an arrival is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Since then.
    Since(Stamp),
    /// Not before then; ask again when it is.
    At(Stamp),
}

impl Pacer {
    /// Whether the arrival `offset_ns` after `begin` is due `now`. `waited` says that somebody stood ready for it when
    /// it became due: lateness then is ours, and not that of a full cap.
    pub(super) fn ask(&self, begin: Stamp, offset_ns: u64, now: Stamp, waited: bool) -> Due {
        let mut shift = self.shift.lock().unwrap_or_else(PoisonError::into_inner);
        let due = Stamp(begin.0.saturating_add(offset_ns).saturating_add(*shift));
        if now < due {
            return Due::At(due);
        }
        let late = now.since(due).saturating_sub(CATCH_UP);
        if waited && !late.is_zero() {
            *shift = shift.saturating_add(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        }
        Due::Since(due)
    }

    /// By how much the schedule was put off in all.
    pub(super) fn shifted(&self) -> Duration {
        Duration::from_nanos(*self.shift.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Stamp {
        Stamp(ms * MS)
    }

    #[test]
    fn the_schedule_is_absolute_and_a_small_delay_moves_nothing() {
        let pacer = Pacer::default();
        assert_eq!(pacer.ask(at(100), 20 * MS, at(110), true), Due::At(at(120)));
        assert_eq!(pacer.ask(at(100), 20 * MS, at(128), true), Due::Since(at(120)));
        assert_eq!(pacer.ask(at(100), 30 * MS, at(130), true), Due::Since(at(130)));
        assert_eq!(pacer.shifted(), Duration::ZERO);
    }

    #[test]
    fn after_a_stall_the_rest_is_put_off_and_not_sent_in_a_burst() {
        let pacer = Pacer::default();
        // Arrivals every 10 ms; nobody ran from 0 to 500.
        let mut burst = 0;
        for k in 1..=60 {
            if matches!(pacer.ask(at(0), k * 10 * MS, at(500), true), Due::Since(_)) {
                burst += 1;
            }
        }
        // The first, and those of the 10 ms that are caught up with.
        assert_eq!(burst, 2);
        assert_eq!(pacer.shifted(), Duration::from_millis(480));
        assert_eq!(pacer.ask(at(0), 30 * MS, at(500), true), Due::At(at(510)));
    }

    #[test]
    fn who_waited_at_a_full_cap_shifts_nothing() {
        let pacer = Pacer::default();
        assert_eq!(pacer.ask(at(0), 10 * MS, at(500), false), Due::Since(at(10)));
        assert_eq!(pacer.shifted(), Duration::ZERO);
    }
}
