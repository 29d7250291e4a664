//! Exact quantiles of a sample: [`Sorted`], by linear interpolation between order statistics (the rule of
//! NumPy's default, "type 7"). Must not know what is measured.
//!
//! 精确分位数：排序后线性插值；空样本无值。

/// The quantiles that are told of every latency, and their names.
pub const TOLD: [(&str, f64); 5] = [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// A sample in ascending order. Nothing in it is NaN.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts `values`; NaN is nobody's measurement and is refused.
    ///
    /// # Panics
    /// When a value is NaN: it would be a fault of ours upstream.
    pub fn new(mut values: Vec<f64>) -> Self {
        assert!(values.iter().all(|value| !value.is_nan()), "a sample holds NaN");
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `q`-quantile, `q` from 0 to 1; none of an empty sample.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let at = q.clamp(0.0, 1.0) * last as f64;
        let below = at.floor() as usize;
        let above = (below + 1).min(last);
        let share = at - below as f64;
        if share == 0.0 {
            // Its upper neighbour, which may be infinite, has no part in it.
            return Some(self.0[below]);
        }
        // `min`: rounding must not carry the figure past its upper neighbour.
        Some((self.0[below] + (self.0[above] - self.0[below]) * share).min(self.0[above]))
    }

    /// The smallest.
    pub fn min(&self) -> Option<f64> {
        self.0.first().copied()
    }

    /// The largest.
    pub fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// All of them together; none of an empty sample, so that nothing measured does not read as 0.
    pub fn sum(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum())
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        self.sum().map(|sum| sum / self.0.len() as f64)
    }
}

/// The smallest sample from which a 95 % one-sided upper bound of the `q`-quantile can be had at all:
/// `ln 0.05 / ln q`. Below it the figure is told and marked, and no gate should rest on it.
pub fn enough(q: f64) -> u64 {
    if q <= 0.0 || q >= 1.0 { 1 } else { (0.05_f64.ln() / q.ln()).ceil() as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word: the weighted neighbours of position `(n - 1) q`.
    fn naive(values: &[f64], q: f64) -> f64 {
        let mut values = values.to_vec();
        values.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let position = (values.len() - 1) as f64 * q;
        let low = position.floor();
        let high = position.ceil();
        let weight = position - low;
        values[low as usize] * (1.0 - weight) + values[high as usize] * weight
    }

    #[test]
    fn known_values_are_those_of_numpy() {
        let sample = Sorted::new(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(sample.quantile(0.5), Some(2.5));
        assert_eq!(sample.quantile(0.75), Some(3.25));
        assert_eq!(sample.quantile(1.0), Some(4.0));
        assert_eq!(sample.mean(), Some(2.5));
    }

    #[test]
    fn an_empty_sample_has_no_figure_at_all() {
        let nothing = Sorted::default();
        for figure in [nothing.quantile(0.99), nothing.min(), nothing.max(), nothing.sum(), nothing.mean()] {
            assert_eq!(figure, None);
        }
    }

    #[test]
    fn a_sample_of_one_is_its_every_quantile() {
        let one = Sorted::new(vec![7.0]);
        for (_, q) in TOLD {
            assert_eq!(one.quantile(q), Some(7.0));
        }
    }

    #[test]
    fn the_tail_needs_many_samples() {
        assert_eq!([0.9, 0.95, 0.99].map(enough), [29, 59, 299]);
    }

    /// `numpy.quantile(x, q)` (method `linear`) of these ten, written down from it.
    #[test]
    fn ten_values_have_the_quantiles_that_numpy_gives() {
        let sample = Sorted::new(vec![0.9, 12.5, 3.1, 3.1, 7.25, 100.0, 41.0, 0.02, 6.0, 5.5]);
        for (q, expected) in
            [(0.5, 5.75), (0.75, 11.1875), (0.9, 46.9), (0.95, 73.45), (0.99, 94.69), (0.1, 0.812)]
        {
            let found = sample.quantile(q).unwrap();
            assert!((found - expected).abs() < 1e-9, "q {q}: {found}, numpy {expected}");
        }
    }

    #[test]
    fn what_is_infinitely_slow_spoils_only_the_quantiles_that_reach_it() {
        let sample = Sorted::new(vec![1.0, 2.0, 3.0, 4.0, f64::INFINITY]);
        assert_eq!(sample.quantile(0.75), Some(4.0));
        assert_eq!(sample.quantile(0.9), Some(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn every_quantile_agrees_with_the_definition(
            values in prop::collection::vec(-1e6_f64..1e6, 1..200), q in 0.0_f64..=1.0,
        ) {
            let ours = Sorted::new(values.clone()).quantile(q).unwrap();
            prop_assert!((ours - naive(&values, q)).abs() <= 1e-6);
        }

        #[test]
        fn quantiles_never_fall_and_stay_within_the_sample(
            values in prop::collection::vec(-1e6_f64..1e6, 1..100), a in 0.0_f64..=1.0, b in 0.0_f64..=1.0,
        ) {
            let sample = Sorted::new(values);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(sample.quantile(low) <= sample.quantile(high));
            prop_assert!(sample.min() <= sample.quantile(low) && sample.quantile(high) <= sample.max());
        }
    }
}
