//! Two wall clocks that nobody has compared: [`Clock`] knows by how much a worker's may be ahead of ours, from what was
//! said and when, and places its stamps on our clock. Must not know what is said.
//!
//! 时钟偏差的上下界与时刻换算。

use std::time::Duration;

use super::wire::Moment;
use crate::{client::Stamp, perf::record::Record};

/// The clocks of one worker beside ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// One moment on both of its clocks.
    its: Moment,
    /// One on both of ours.
    ours: Moment,
    /// Its wall clock less ours is at least this, in nanoseconds.
    least: i64,
    /// And at most this.
    most: i64,
}

impl Clock {
    /// Of a worker that began to be after `made` and said `its` before `heard`, both of our wall clock.
    ///
    /// # Errors
    /// See [`Clock::said`].
    pub(super) fn of(its: Moment, ours: Moment, (made, heard): (i64, i64)) -> Result<Self, String> {
        let mut clock = Self { its, ours, least: i64::MIN, most: i64::MAX };
        clock.knew(its.unix_ns, made)?;
        clock.said(its.unix_ns, heard)?;
        Ok(clock)
    }

    /// What it said at `unix_ns` of its clock was heard at `ours`.
    ///
    /// # Errors
    /// Where no constant difference explains all that was seen: a clock was set meanwhile.
    pub(super) fn said(&mut self, unix_ns: i64, ours: i64) -> Result<(), String> {
        self.least = self.least.max(unix_ns.saturating_sub(ours));
        self.possible()
    }

    /// At `unix_ns` of its clock it knew what was done at `ours`.
    ///
    /// # Errors
    /// As [`Clock::said`].
    pub(super) fn knew(&mut self, unix_ns: i64, ours: i64) -> Result<(), String> {
        self.most = self.most.min(unix_ns.saturating_sub(ours));
        self.possible()
    }

    fn possible(&self) -> Result<(), String> {
        if self.least <= self.most {
            return Ok(());
        }
        Err("its wall clock, or ours, was set while the load ran: when its requests were sent is not known"
            .to_owned())
    }

    /// By how much it is taken to be ahead: not at all, unless what was seen rules that out.
    pub(super) fn ahead(&self) -> i64 {
        0_i64.clamp(self.least, self.most)
    }

    /// How far that may be off.
    pub(super) fn unsure(&self) -> Duration {
        let ahead = self.ahead();
        let most = self.most.saturating_sub(ahead).max(ahead.saturating_sub(self.least));
        Duration::from_nanos(most.unsigned_abs())
    }

    /// What it may be ahead by, at least and at most, in nanoseconds.
    pub(super) fn bounds(&self) -> (i64, i64) {
        (self.least, self.most)
    }

    /// One of its stamps on our monotonic clock.
    ///
    /// # Errors
    /// Where it lies before ours began.
    pub(super) fn placed(&self, stamp: Stamp) -> Result<Stamp, String> {
        let wall = i128::from(self.its.unix_ns - self.ours.unix_ns) - i128::from(self.ahead());
        let at = i128::from(stamp.0) - i128::from(self.its.stamp.0) + wall + i128::from(self.ours.stamp.0);
        u64::try_from(at).map(Stamp).map_err(|_| "its clocks put a request before this run began".to_owned())
    }

    /// A record with all its stamps on our clock.
    ///
    /// # Errors
    /// As [`Clock::placed`].
    pub(super) fn record(&self, mut record: Record) -> Result<Record, String> {
        let of = |stamp: Stamp| self.placed(stamp);
        for stamp in [&mut record.scheduled, &mut record.admitted, &mut record.started, &mut record.ended] {
            *stamp = of(*stamp)?;
        }
        let rest = [
            &mut record.sent,
            &mut record.headers,
            &mut record.first_event,
            &mut record.first_token,
            &mut record.first_answer,
            &mut record.last_token,
            &mut record.finish,
            &mut record.done,
        ];
        for stamp in rest {
            *stamp = stamp.map(of).transpose()?;
        }
        for event in &mut record.events {
            event.at = of(event.at)?;
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{record::Outcome, summary::tests::record};

    const S: i64 = 1_000_000_000;

    fn moment(unix_s: i64, stamp_s: u64) -> Moment {
        Moment { unix_ns: unix_s * S, stamp: Stamp(stamp_s * S as u64) }
    }

    #[test]
    fn clocks_are_taken_to_agree_until_what_was_seen_rules_that_out() {
        // Made at 100, it said hello at 103 of its clock, which we heard at 104.
        let mut clock = Clock::of(moment(103, 1), moment(90, 5), (100 * S, 104 * S)).unwrap();
        assert_eq!((clock.bounds(), clock.ahead()), ((-S, 3 * S), 0));
        assert_eq!(clock.unsure(), Duration::from_secs(3));
        clock.knew(110 * S, 109 * S).unwrap();
        assert_eq!((clock.bounds(), clock.unsure()), ((-S, S), Duration::from_secs(1)));
        // 103 of its clock is 103 of ours: 13 s after our moment, which is 5 on our monotonic clock.
        assert_eq!(clock.placed(Stamp(S as u64)).unwrap(), Stamp(18 * S as u64));
        clock.said(120 * S, 120 * S - S / 2).unwrap();
        assert_eq!(clock.ahead(), S / 2, "it told us in half a second what it had not yet seen");
        assert_eq!(clock.placed(Stamp(S as u64)).unwrap(), Stamp(18 * S as u64 - S as u64 / 2));
        let error = clock.said(200 * S, 190 * S).unwrap_err();
        assert!(error.contains("was set while the load ran"), "{error}");
    }

    #[test]
    fn differences_within_a_record_stay_as_they_were() {
        let clock = Clock::of(moment(50, 2), moment(40, 7), (50 * S, 50 * S)).unwrap();
        let before = record(0, 2000, Outcome::Ok);
        let after = clock.record(before.clone()).unwrap();
        assert_eq!(after.started.0 - before.started.0, 15 * S as u64);
        for of in [Record::ttft, Record::e2e, Record::ttst] {
            assert_eq!(of(&after), of(&before));
        }
        assert_eq!((after.tpot(), after.response_time()), (before.tpot(), before.response_time()));
        assert_eq!(after.events[0].at.0 - before.events[0].at.0, 15 * S as u64);
        let early = Clock::of(moment(10, 2), moment(40, 7), (10 * S, 10 * S)).unwrap();
        assert!(early.record(before).unwrap_err().contains("before this run began"));
    }
}
