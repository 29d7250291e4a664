//! How sure a share is: [`wilson`]. Must not know what is counted.
//!
//! Wilson 置信区间。

use serde::{Deserialize, Serialize};

use super::special::normal_quantile;

/// An interval for a score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Wilson's score interval for `right` of `total`, two-sided with confidence `level` (0.95); none of nothing. Each end
/// alone is a one-sided bound with confidence (1 + level)/2. It takes each item for an independent draw: answers that
/// share an item or a stem need [`Mean`](super::Mean).
pub fn wilson(right: u64, total: u64, level: f64) -> Option<Interval> {
    if total == 0 || right > total {
        return None;
    }
    let z = normal_quantile(f64::midpoint(1.0, level));
    let n = total as f64;
    let p = right as f64 / n;
    let centre = p + z * z / (2.0 * n);
    let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    Some(Interval { low: ((centre - spread) / scale).max(0.0), high: ((centre + spread) / scale).min(1.0) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_are_those_of_statsmodels_and_of_the_textbook() {
        // statsmodels.stats.proportion.proportion_confint(method="wilson"); the first three are in table I of
        // Newcombe (1998), too.
        for (right, total, level, low, high) in [
            (81, 263, 0.95, 0.2552885198782742, 0.36620957698280004),
            (15, 148, 0.95, 0.0623863995307363, 0.16048724172330803),
            (0, 20, 0.95, 0.0, 0.16112515805281938),
            (20, 20, 0.95, 0.8388748419471806, 1.0),
            (139, 198, 0.9, 0.6461245534981648, 0.7524693200103529),
            (1, 2, 0.99, 0.06171307677810184, 0.9382869232218982),
        ] {
            let found = wilson(right, total, level).unwrap();
            assert!((found.low - low).abs() < 1e-12 && (found.high - high).abs() < 1e-12, "{found:?}");
        }
        assert_eq!(wilson(0, 0, 0.95), None);
        assert_eq!(wilson(2, 1, 0.95), None);
    }

    proptest! {
        #[test]
        fn it_holds_the_share_and_stays_within_0_and_1(total in 1_u64..5000, part in 0.0_f64..=1.0) {
            let right = (part * total as f64).floor() as u64;
            let found = wilson(right, total, 0.95).unwrap();
            let share = right as f64 / total as f64;
            prop_assert!(0.0 <= found.low && found.low <= share + 1e-12);
            prop_assert!(share <= found.high + 1e-12 && found.high <= 1.0);
        }
    }
}
