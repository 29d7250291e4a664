//! Means of scores that need not be independent of each other, [`Mean`], and of whole runs, [`prediction_bound`].
//! Must not know what is scored.
//!
//! 整群均值与标准误；历史运行的预测下界。

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Interval, PValues,
    special::{t_above, t_quantile},
};

/// A mean with its standard error, where scores of one cluster may go together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The mean of all scores.
    pub mean: f64,
    /// Its standard error, clustered; none where there is one cluster only.
    pub standard_error: Option<f64>,
    /// How many clusters there are.
    pub clusters: usize,
    /// How many scores there are.
    pub scores: usize,
}

impl Mean {
    /// Of `scores`, each with the name of its cluster; none of nothing. The standard error is
    /// √(Σ_c(Σ_i(s − s̄))² · C/(C − 1))/n (Miller, *Adding Error Bars to Evals*, 2024, with the correction for few
    /// clusters); with clusters of one it is the ordinary one. For paired runs give the differences.
    pub fn of<'a>(scores: impl IntoIterator<Item = (&'a str, f64)>) -> Option<Self> {
        let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (cluster, score) in scores {
            let sum = sums.entry(cluster).or_default();
            *sum = (sum.0 + score, sum.1 + 1);
        }
        let scores: usize = sums.values().map(|(_, count)| count).sum();
        let clusters = sums.len();
        if clusters == 0 {
            return None;
        }
        let (n, c) = (scores as f64, clusters as f64);
        let mean = sums.values().map(|(sum, _)| sum).sum::<f64>() / n;
        let squares: f64 = sums.values().map(|(sum, count)| (sum - mean * *count as f64).powi(2)).sum();
        let standard_error = (clusters > 1).then(|| (squares * c / (c - 1.0)).sqrt() / n);
        Some(Self { mean, standard_error, clusters, scores })
    }

    /// A two-sided interval with confidence `level`, by Student's t with clusters − 1 degrees of freedom. Too narrow
    /// below some thirty clusters of right-or-wrong scores: [`wilson`](super::wilson) is for those.
    pub fn interval(&self, level: f64) -> Option<Interval> {
        let reach = t_quantile(f64::midpoint(1.0, level), self.clusters as f64 - 1.0) * self.standard_error?;
        Some(Interval { low: self.mean - reach, high: self.mean + reach })
    }

    /// Whether a mean of differences (new − old) is other than 0; none where there is one cluster only.
    pub fn test(&self) -> Option<PValues> {
        Some(chances(self.mean, self.standard_error?, self.clusters as f64 - 1.0))
    }
}

/// Of a `change` (new − old) with its standard error: the chances of one at least as large where there is none, and
/// how far its two-sided interval with confidence `level` reaches to either side, by Student's t.
pub fn differ(change: f64, error: f64, freedom: f64, level: f64) -> (PValues, f64) {
    (chances(change, error, freedom), t_quantile(f64::midpoint(1.0, level), freedom) * error)
}

fn chances(change: f64, error: f64, freedom: f64) -> PValues {
    if error == 0.0 {
        // Everything says the same.
        let worse = if change < 0.0 { 0.0 } else { 1.0 };
        return PValues { worse, either: if change == 0.0 { 1.0 } else { 0.0 } };
    }
    let t = change / error;
    PValues { worse: t_above(-t, freedom), either: 2.0 * t_above(t.abs(), freedom) }
}

/// The score below which the next run of the same build falls with chance `alpha` only, from the scores of earlier
/// runs: mean − t·s·√(1 + 1/m). None below two runs. With a fixed set of items this is the yardstick for a build,
/// and much shorter than the uncertainty about the model.
pub fn prediction_bound(runs: &[f64], alpha: f64) -> Option<f64> {
    if runs.len() < 2 {
        return None;
    }
    let m = runs.len() as f64;
    let mean = runs.iter().sum::<f64>() / m;
    let deviation = (runs.iter().map(|run| (run - mean).powi(2)).sum::<f64>() / (m - 1.0)).sqrt();
    Some(mean - t_quantile(1.0 - alpha, m - 1.0) * deviation * (1.0 + 1.0 / m).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f64; 10] = [0.1, -0.2, 0.0, 0.4, 0.3, -0.1, 0.2, 0.25, 0.0, 0.5];

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-8, "{found} is not {expected}");
    }

    #[test]
    fn a_clustered_mean_is_that_of_statsmodels() {
        // statsmodels.OLS(scores, 1).fit(cov_type="cluster", cov_kwds={"groups": …}, use_t=True)
        let clusters = ["a", "a", "b", "b", "b", "c", "c", "d", "e", "f"];
        let found = Mean::of(clusters.into_iter().zip(SCORES)).unwrap();
        close(found.mean, 0.145);
        close(found.standard_error.unwrap(), 0.07069653);
        let interval = found.interval(0.95).unwrap();
        close(interval.low, -0.03673123);
        close(interval.high, 0.32673123);
        close(found.test().unwrap().either, 0.09551874);
        assert_eq!((found.clusters, found.scores), (6, 10));
    }

    #[test]
    fn clusters_of_one_are_the_ordinary_paired_test() {
        // scipy.stats.ttest_rel(scores, zeros)
        let names: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        let found = Mean::of(names.iter().map(String::as_str).zip(SCORES)).unwrap();
        close(found.standard_error.unwrap(), 0.07088723);
        let p = found.test().unwrap();
        close(p.either, 0.07112938763516773);
        close(p.worse, 1.0 - 0.07112938763516773 / 2.0);
    }

    #[test]
    fn one_cluster_has_no_error_and_no_scores_have_no_mean() {
        assert_eq!(Mean::of([]), None);
        let one = Mean::of([("a", 1.0), ("a", 0.0)]).unwrap();
        assert_eq!((one.mean, one.standard_error, one.interval(0.95), one.test()), (0.5, None, None, None));
        let same = Mean::of([("a", -1.0), ("b", -1.0)]).unwrap();
        assert_eq!(same.test(), Some(PValues { worse: 0.0, either: 0.0 }));
    }

    #[test]
    fn the_bound_of_earlier_runs_is_the_textbooks() {
        // numpy and scipy.stats.t.ppf(0.99, 6)
        let runs = [0.86, 0.85, 0.87, 0.84, 0.865, 0.858, 0.852];
        close(prediction_bound(&runs, 0.01).unwrap(), 0.8227282041672841);
        assert_eq!(prediction_bound(&[0.86], 0.01), None);
    }
}
