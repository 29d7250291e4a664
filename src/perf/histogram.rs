//! Histograms that can be added up: [`Histogram`], for windows of time and for runs that are merged. Final quantiles are
//! never taken from one: those are exact, see [`quantile`](crate::perf::quantile). Must not know what is measured.
//!
//! 可合并的直方图，仅用于时间窗口与合并。

use hdrhistogram::Histogram as Hdr;
use serde::{Deserialize, Serialize};

/// How many decimal digits of a value are kept: two values within 0.1 % of each other may share a bin.
pub const DIGITS: u8 = 3;

/// Counts of durations. In JSON: `{"unit": "us", "digits": 3, "bins": [[4000, 2], …]}`, each bin the largest duration
/// that falls into it and how many did. Adding bins up gives the histogram of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Bins", into = "Bins")]
pub struct Histogram(Hdr<u64>);

/// As it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bins {
    unit: Unit,
    digits: u8,
    bins: Vec<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Unit {
    #[serde(rename = "us")]
    Microseconds,
}

impl Default for Histogram {
    fn default() -> Self {
        // It grows with what it is given; the bounds are legal for every number of digits up to 5.
        Self(Hdr::new(DIGITS).expect("3 digits are legal"))
    }
}

impl Histogram {
    /// Takes a duration of so many nanoseconds, `times` times. One below a microsecond counts as one.
    pub fn record(&mut self, ns: u64, times: u64) {
        self.record_us((ns / 1000).max(1), times);
    }

    /// Takes everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        for step in other.0.iter_recorded() {
            self.record_us(step.value_iterated_to(), step.count_at_value());
        }
    }

    /// How many durations it holds.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The `q`-quantile in nanoseconds, within 0.1 %; none of an empty one.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        (self.count() > 0).then(|| self.0.value_at_quantile(q) * 1000)
    }

    fn record_us(&mut self, us: u64, times: u64) {
        // It grows as needed; what nobody waits for (146 000 years) stands at the end.
        let bounded = us.min(1 << 62);
        self.0.record_n(bounded, times).expect("it grows, and the value is bounded");
    }
}

impl From<Histogram> for Bins {
    fn from(histogram: Histogram) -> Self {
        let bins = histogram.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
        Self { unit: Unit::Microseconds, digits: DIGITS, bins: bins.collect() }
    }
}

impl TryFrom<Bins> for Histogram {
    type Error = String;

    fn try_from(written: Bins) -> Result<Self, String> {
        if written.digits != DIGITS {
            return Err(format!("expected a histogram of {DIGITS} digits, found one of {}", written.digits));
        }
        let mut histogram = Self::default();
        written.bins.iter().for_each(|&(us, times)| histogram.record_us(us, times));
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&ns| histogram.record(ns, 1));
        histogram
    }

    #[test]
    fn an_empty_one_has_no_quantile() {
        assert_eq!(of(&[]).quantile(0.5), None);
    }

    #[test]
    fn it_says_how_exact_it_is() {
        let text = serde_json::to_string(&of(&[4_000_000, 4_000_000])).unwrap();
        assert_eq!(text, r#"{"unit":"us","digits":3,"bins":[[4001,2]]}"#);
        let other = text.replace(r#""digits":3"#, r#""digits":2"#);
        assert!(serde_json::from_str::<Histogram>(&other).is_err());
    }

    proptest! {
        #[test]
        fn parts_added_up_are_the_whole(
            parts in prop::collection::vec(prop::collection::vec(1_000u64..10_000_000_000_000, 0..50), 0..6),
        ) {
            let whole = of(&parts.concat());
            let mut sum = Histogram::default();
            for part in &parts {
                let text = serde_json::to_string(&of(part)).unwrap();
                sum.merge(&serde_json::from_str(&text).unwrap());
            }
            prop_assert_eq!(&sum.0, &whole.0);
            prop_assert_eq!(sum.count(), parts.concat().len() as u64);
        }

        #[test]
        fn a_quantile_is_within_a_thousandth(ns in 1_000u64..10_000_000_000_000) {
            let found = of(&[ns]).quantile(0.5).unwrap() as f64;
            prop_assert!((found - ns as f64).abs() <= ns as f64 / 1000.0 + 1000.0, "{found} for {ns}");
        }
    }
}
