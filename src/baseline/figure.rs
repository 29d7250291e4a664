//! The figures that are held against a baseline: [`Figure`]. Three of them gate on a change, one on its value.
//! Must not know where a figure comes from.
//!
//! 参与门禁的指标。

use serde::Serialize;

/// A figure that a gate looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The 99th percentile of the time to first token.
    TtftP99,
    /// The 99th percentile of the time to the last token.
    E2eP99,
    /// Successful requests per second.
    RequestsPerSecond,
    /// Share of requests that failed: judged by its value, with or without a baseline.
    FailureRatio,
}

/// Which direction of a change is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// A latency.
    Higher,
    /// A rate.
    Lower,
}

impl Figure {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 4] = [Self::TtftP99, Self::E2eP99, Self::RequestsPerSecond, Self::FailureRatio];
    /// Those that are compared with a baseline.
    pub const COMPARED: [Self; 3] = [Self::TtftP99, Self::E2eP99, Self::RequestsPerSecond];

    /// Name and stat of its measurement.
    pub fn measurement(self) -> (&'static str, &'static str) {
        match self {
            Self::TtftP99 => ("ttft", "p99"),
            Self::E2eP99 => ("e2e", "p99"),
            Self::RequestsPerSecond => ("requests_per_second", "value"),
            Self::FailureRatio => ("failure_ratio", "value"),
        }
    }

    /// For people: `ttft p99`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TtftP99 => "ttft p99",
            Self::E2eP99 => "e2e p99",
            Self::RequestsPerSecond => "requests per second",
            Self::FailureRatio => "failure ratio",
        }
    }

    /// Its unit: `s`, `1/s`, `ratio`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::TtftP99 | Self::E2eP99 => "s",
            Self::RequestsPerSecond => "1/s",
            Self::FailureRatio => "ratio",
        }
    }

    pub(crate) fn bad(self) -> Bad {
        match self {
            Self::TtftP99 | Self::E2eP99 | Self::FailureRatio => Bad::Higher,
            Self::RequestsPerSecond => Bad::Lower,
        }
    }

    /// Below so many samples a figure is of low confidence. A percentile has a 95 % upper bound only from
    /// ln 0.05 / ln 0.99 samples on; below that it is the maximum, or nearly so.
    pub(crate) fn enough(self) -> u64 {
        match self {
            Self::TtftP99 | Self::E2eP99 => 299,
            Self::RequestsPerSecond | Self::FailureRatio => 30,
        }
    }
}

impl Bad {
    /// How much worse `now` is than `before`, as a natural logarithm: 0 the same, above 0 worse.
    pub(crate) fn harm(self, before: f64, now: f64) -> f64 {
        match self {
            Self::Higher => (now / before).ln(),
            Self::Lower => (before / now).ln(),
        }
    }

    /// The harm that a relative change of `limit` in the bad direction is.
    pub(crate) fn limit(self, limit: f64) -> f64 {
        match self {
            Self::Higher => limit.ln_1p(),
            Self::Lower => -(-limit).ln_1p(),
        }
    }

    /// A harm as a relative change of the figure: the inverse of [`harm`](Self::harm).
    pub(crate) fn change(self, harm: f64) -> f64 {
        match self {
            Self::Higher => harm.exp_m1(),
            Self::Lower => (-harm).exp_m1(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harm_is_read_back_as_the_change_it_came_from() {
        for (bad, before, now, change) in
            [(Bad::Higher, 2.0, 2.3, 0.15), (Bad::Lower, 10.0, 9.0, -0.1), (Bad::Lower, 10.0, 11.0, 0.1)]
        {
            assert!((bad.change(bad.harm(before, now)) - change).abs() < 1e-12, "{bad:?}");
        }
    }

    #[test]
    fn a_limit_is_crossed_by_a_change_just_above_it_in_the_bad_direction() {
        assert!(Bad::Higher.harm(1.0, 1.1001) > Bad::Higher.limit(0.1));
        assert!(Bad::Higher.harm(1.0, 1.0999) < Bad::Higher.limit(0.1));
        assert!(Bad::Lower.harm(1.0, 0.9499) > Bad::Lower.limit(0.05));
        assert!(Bad::Lower.harm(1.0, 0.9501) < Bad::Lower.limit(0.05));
    }
}
