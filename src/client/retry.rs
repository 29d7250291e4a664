//! When an attempt is made once more: [`Retry`]. Only what says nothing about the answer's content is tried again:
//! transport faults, connections that did not come to be in time, and 408, 429, 502, 503, 504. Never 500, which is
//! a finding. Must not know how an attempt is made.
//!
//! 重试策略。

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};

use super::{Attempt, End, Fault, Phase};

/// How often, and after which pause, an attempt is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts may follow the first.
    pub max: u32,
    /// The pause before the first of them; it doubles from one to the next.
    pub backoff: Duration,
    /// The longest pause, whatever `Retry-After` asks for.
    pub longest: Duration,
}

const BUSY: [u16; 5] = [408, 429, 502, 503, 504];

impl Retry {
    /// One attempt, whatever comes of it.
    pub const fn none() -> Self {
        Self { max: 0, backoff: Duration::ZERO, longest: Duration::ZERO }
    }

    /// At most two more attempts, 0.5 s and 1 s later, or when the server asks for them within 30 s.
    pub const fn transport_and_busy() -> Self {
        Self { max: 2, backoff: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }

    /// How long to wait before the next attempt; nothing where `attempt` is the last one. `before` is the number of
    /// attempts that went before it.
    pub(crate) fn wait_after(&self, attempt: &Attempt, before: usize) -> Option<Duration> {
        let before = u32::try_from(before).ok().filter(|n| *n < self.max)?;
        if !is_worth_it(attempt) {
            return None;
        }
        let asked = attempt.header("retry-after").and_then(|value| delay(value, Timestamp::now()));
        let ours = self.backoff.saturating_mul(2_u32.saturating_pow(before));
        Some(asked.unwrap_or(ours).min(self.longest))
    }
}

fn is_worth_it(attempt: &Attempt) -> bool {
    match &attempt.end {
        End::Complete => attempt.status.is_some_and(|status| BUSY.contains(&status)),
        End::Broken(Fault::Transport { .. } | Fault::Timeout { phase: Phase::Connect, .. }) => true,
        End::Broken(_) => false,
    }
}

/// What `Retry-After` asks for: seconds, or a moment.
fn delay(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::try_from(moment.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Stamp;

    fn now() -> Timestamp {
        "1994-11-06T08:49:37Z".parse().unwrap()
    }

    #[test]
    fn retry_after_is_seconds_or_a_moment() {
        assert_eq!(delay(" 7 ", now()), Some(Duration::from_secs(7)));
        assert_eq!(delay("Sun, 06 Nov 1994 08:49:49 GMT", now()), Some(Duration::from_secs(12)));
        assert_eq!(delay("Sun, 06 Nov 1994 08:49:00 GMT", now()), Some(Duration::ZERO), "in the past");
        assert_eq!(delay("soon", now()), None);
        assert_eq!(delay("-3", now()), None);
    }

    #[test]
    fn the_pause_doubles_and_ends_at_the_bound() {
        let retry = Retry { max: 9, backoff: Duration::from_secs(1), longest: Duration::from_secs(5) };
        let busy = Attempt { status: Some(503), end: End::Complete, ..Attempt::begin(Stamp::now()) };
        let pauses: Vec<_> =
            (0..4).map(|before| retry.wait_after(&busy, before).unwrap().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5]);
        assert_eq!(retry.wait_after(&busy, 9), None);
    }

    #[test]
    fn only_transport_faults_and_a_busy_server_are_worth_another_attempt() {
        let status =
            |status| Attempt { status: Some(status), end: End::Complete, ..Attempt::begin(Stamp::now()) };
        for busy in [408, 429, 502, 503, 504] {
            assert!(is_worth_it(&status(busy)), "{busy}");
        }
        for other in [200, 307, 400, 404, 500, 501, 505] {
            assert!(!is_worth_it(&status(other)), "{other}");
        }
        let fault = |fault| Attempt { end: End::Broken(fault), ..Attempt::begin(Stamp::now()) };
        let cut = Fault::Transport { phase: Phase::Body, message: "connection reset".into() };
        assert!(is_worth_it(&fault(cut)));
        assert!(is_worth_it(&fault(Fault::Timeout { phase: Phase::Connect, limit_ms: 1 })));
        assert!(!is_worth_it(&fault(Fault::Timeout { phase: Phase::Body, limit_ms: 1 })), "it had its time");
        assert!(!is_worth_it(&fault(Fault::Cancelled)));
    }
}
