//! How far a comparison can be trusted: bounds of a harm ([`Bounds`]), from the requests of two runs or from many
//! earlier runs. Must not decide anything.
//!
//! Two ways. *Runs*: a run is a draw from what this server does from start to start, so at least [`RUNS`] earlier
//! runs give the interval in which one more is expected (Student's t on logarithms). *Requests*: with fewer, the
//! bounds of either run's own figure: order statistics for a percentile (exact for independent requests; their
//! number is reduced by the lag-1 autocorrelation), batch means for a rate. This knows nothing of how one start of
//! the server differs from the next, and is told apart.
//!
//! 变化量的置信区间：多次运行的预测区间，或单次运行内的顺序统计量区间。

use serde::Serialize;

use super::{
    Figure,
    evidence::{Evidence, Samples},
    figure::Bad,
};

/// From so many earlier runs on, what differs from run to run is known well enough to predict one more.
pub(crate) const RUNS: usize = 8;
/// Each bound of a run's own figure holds with this risk.
const RISK: f64 = 0.05;
/// Into so many stretches a run is cut to see how its rate varies.
const BATCHES: usize = 10;
/// No history is taken to be steadier than this: 0.5 %.
const STEADIEST: f64 = 0.005;

/// Where the harm lies, as natural logarithms, and what the smallest harm is that these data could have shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) detectable: f64,
    pub(crate) method: Method,
}

/// Where bounds come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The spread of earlier runs.
    Runs,
    /// The requests of the two runs.
    Requests,
}

/// Bounds of the harm from the latest of `before` to `now`.
///
/// # Errors
/// Why none can be given, in one line.
pub(crate) fn bounds(figure: Figure, before: &[&Evidence], now: &Evidence) -> Result<Bounds, String> {
    let latest = before.first().ok_or("there is no earlier run")?;
    let fewest = latest.n(figure).min(now.n(figure));
    if fewest < figure.enough() {
        return Err(format!("{fewest} samples are too few: {} needs {}", figure.name(), figure.enough()));
    }
    let comparable = |one: &&&Evidence| one.run.environment.hash == now.run.environment.hash;
    let values: Vec<f64> =
        before.iter().filter(comparable).filter_map(|one| one.value(figure)).filter(|v| *v > 0.0).collect();
    match values.len() >= RUNS {
        true => of_runs(figure.bad(), &values, now.value(figure).unwrap_or(f64::NAN)),
        false => of_requests(figure, latest, now),
    }
}

fn of_runs(bad: Bad, values: &[f64], now: f64) -> Result<Bounds, String> {
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let (mean, spread) = mean_and_spread(&logs);
    let k = logs.len() as f64;
    let half = student(logs.len() - 1) * spread.max(STEADIEST) * (1.0 + 1.0 / k).sqrt();
    let harm = bad.harm(mean.exp(), now);
    Ok(Bounds { low: harm - half, high: harm + half, detectable: half, method: Method::Runs })
}

fn of_requests(figure: Figure, before: &Evidence, now: &Evidence) -> Result<Bounds, String> {
    let missing = |which: &str| format!("the requests of the {which} run are not at hand");
    let (ours, theirs) = (
        before.samples.as_ref().ok_or_else(|| missing("earlier"))?,
        now.samples.as_ref().ok_or_else(|| missing("present"))?,
    );
    let (before_low, before_high) = range(figure, ours)?;
    let (now_low, now_high) = range(figure, theirs)?;
    let bad = figure.bad();
    let (low, high) = match bad {
        Bad::Higher => (bad.harm(before_high, now_low), bad.harm(before_low, now_high)),
        Bad::Lower => (bad.harm(before_low, now_high), bad.harm(before_high, now_low)),
    };
    // A harm is seen when its lower bound is above 0: so large it has to be, given how far the bound lies below it.
    let harm = match (before.value(figure), now.value(figure)) {
        (Some(before), Some(now)) => bad.harm(before, now),
        _ => return Err("there is no value".to_owned()),
    };
    Ok(Bounds { low, high, detectable: harm - low, method: Method::Requests })
}

/// Bounds of one run's own figure.
fn range(figure: Figure, samples: &Samples) -> Result<(f64, f64), String> {
    match figure {
        Figure::TtftP99 => quantile_range(&samples.ttft, 0.99),
        Figure::E2eP99 => quantile_range(&samples.e2e, 0.99),
        Figure::RequestsPerSecond | Figure::FailureRatio => rate_range(&samples.gaps),
    }
}

/// Order statistics between which the `q`-quantile lies. `values` stand in the order of measuring.
fn quantile_range(values: &[f64], q: f64) -> Result<(f64, f64), String> {
    let n = effective(values);
    let few = || format!("{n} independent samples are too few for an upper bound of p{:.0}", q * 100.0);
    let (low, high) = ranks(n, q).ok_or_else(few)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Ranks of the reduced sample, carried over to the whole one.
    let scale = sorted.len() as f64 / n as f64;
    let at = |rank: usize, round: fn(f64) -> f64| {
        let index = round(rank as f64 * scale) as usize;
        sorted[index.clamp(1, sorted.len()) - 1]
    };
    Ok((at(low, f64::floor), at(high, f64::ceil)))
}

/// How many independent samples `values` are worth.
fn effective(values: &[f64]) -> usize {
    let (mean, spread) = mean_and_spread(values);
    let n = values.len();
    if n < 3 || spread == 0.0 {
        return n;
    }
    let pairs = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean));
    let correlation = (pairs.sum::<f64>() / ((n - 1) as f64 * spread * spread)).clamp(0.0, 0.99);
    ((n as f64 * (1.0 - correlation) / (1.0 + correlation)).floor() as usize).max(1)
}

/// The ranks, from 1, of the order statistics that bound the `q`-quantile of `n` samples, each with risk [`RISK`];
/// nothing where there are too few for an upper bound.
fn ranks(n: usize, q: f64) -> Option<(usize, usize)> {
    let mut below = 0.0;
    let (mut low, mut high) = (0, None);
    let mut log = n as f64 * (1.0 - q).ln();
    for k in 0..=n {
        // `below` is P(fewer than k samples lie below the quantile).
        if below <= RISK {
            low = k;
        }
        if high.is_none() && k >= 1 && 1.0 - below <= RISK {
            high = Some(k);
        }
        below += log.exp();
        log += ((n - k) as f64 / (k + 1) as f64).ln() + (q / (1.0 - q)).ln();
    }
    Some((low.max(1), high?))
}

/// Bounds of a rate, from how long stretches of as many requests took.
fn rate_range(gaps: &[f64]) -> Result<(f64, f64), String> {
    let each = gaps.len() / BATCHES;
    if each == 0 {
        return Err(format!("{} requests are too few to see how the rate varies", gaps.len() + 1));
    }
    let means: Vec<f64> =
        gaps.chunks(each).take(BATCHES).map(|batch| batch.iter().sum::<f64>() / batch.len() as f64).collect();
    let (mean, spread) = mean_and_spread(&means);
    let half = student(means.len() - 1) * spread / (means.len() as f64).sqrt();
    match mean - half > 0.0 {
        true => Ok((1.0 / (mean + half), 1.0 / (mean - half))),
        false => Err("the rate varies too much within the run to be bounded".to_owned()),
    }
}

/// Mean and standard deviation (n − 1); 0 where there is only one.
pub(crate) fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 })
}

/// The 0.975 quantile of Student's t.
fn student(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    match degrees {
        0 => f64::INFINITY,
        1..=30 => TABLE[degrees - 1],
        // Within 0.001 of the true value.
        more => 1.96 + 2.37 / more as f64 + 2.8 / (more * more) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uniform in [0, 1), the same for the same seed.
    fn noise(seed: u64) -> impl Iterator<Item = f64> {
        let mut state = seed;
        std::iter::from_fn(move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            Some((state >> 11) as f64 / (1u64 << 53) as f64)
        })
    }

    #[test]
    fn the_smallest_sample_with_an_upper_bound_is_the_known_one() {
        assert_eq!(ranks(298, 0.99), None);
        assert_eq!(ranks(299, 0.99).map(|(_, high)| high), Some(299));
        assert_eq!(ranks(29, 0.9).map(|(_, high)| high), Some(29));
        assert_eq!(ranks(28, 0.9), None);
    }

    #[test]
    fn the_bounds_of_a_percentile_hold_about_as_often_as_they_claim() {
        let (mut below, mut above, tries) = (0, 0, 400);
        for seed in 0..tries {
            let values: Vec<f64> = noise(seed * 7919 + 1).take(600).collect();
            let (low, high) = quantile_range(&values, 0.99).expect("enough");
            below += u32::from(high < 0.99);
            above += u32::from(low > 0.99);
        }
        let most = (f64::from(tries as u32) * RISK * 1.6) as u32;
        assert!(below <= most && above <= most, "{below} and {above} of {tries} miss");
    }

    #[test]
    fn requests_that_follow_one_another_are_worth_fewer() {
        let independent: Vec<f64> = noise(3).take(400).collect();
        let mut level = 0.0;
        let slow: Vec<f64> = noise(3)
            .take(400)
            .map(|step| {
                level = 0.95 * level + step;
                level
            })
            .collect();
        assert!(effective(&independent) > 300, "{}", effective(&independent));
        assert!(effective(&slow) < 60, "{}", effective(&slow));
    }

    #[test]
    fn a_steady_rate_is_bounded_closely_and_a_jumpy_one_is_not() {
        let (low, high) = rate_range(&[0.1; 200]).expect("enough");
        assert!((low - 10.0).abs() < 1e-6 && (high - 10.0).abs() < 1e-6);
        let jumpy: Vec<f64> = noise(5).take(200).map(|gap| gap * gap).collect();
        let (low, high) = rate_range(&jumpy).expect("enough");
        assert!(high / low > 1.15, "{low} {high}");
    }

    #[test]
    fn the_table_goes_over_into_the_formula_smoothly() {
        assert!((student(31) - 2.0395).abs() < 0.002 && (student(1000) - 1.9623).abs() < 0.002);
    }
}
