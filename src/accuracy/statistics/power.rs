//! What a run of a given size can see: [`power`], [`smallest_drop`], [`smallest_drop_below`]. Must not know what is
//! run.
//!
//! 功效：给定规模能检出的最小下降。

use super::special::{binomial_at_least, binomial_exactly, root};

/// The chance that [`mcnemar`](super::mcnemar) says *worse* at `alpha`, where of `items` independent items a share
/// `changing` changes and the score really falls by `drop`. Exact: over every number of items that may change.
/// Settings that contradict each other (a drop larger than what changes) count as all that changes being lost.
pub fn power(items: u64, changing: f64, drop: f64, alpha: f64) -> f64 {
    if items == 0 || changing <= 0.0 {
        return 0.0;
    }
    let changing = changing.min(1.0 - 1e-12);
    let lost = (f64::midpoint(changing, drop.min(changing)) / changing).clamp(0.0, 1.0);
    let (mean, deviation) = (items as f64 * changing, (items as f64 * changing * (1.0 - changing)).sqrt());
    // Ten deviations hold all but 10^-22 of the weight.
    let first = (mean - 10.0 * deviation).floor().max(0.0) as u64;
    let last = ((mean + 10.0 * deviation).ceil() as u64).min(items);
    let mut needed = 0;
    let mut sum = 0.0;
    for changed in first..=last {
        needed = least_lost(changed, needed, alpha);
        sum += binomial_exactly(changed, items, changing) * binomial_at_least(needed, changed, lost);
    }
    sum.min(1.0)
}

/// How many of `changed` items have to be lost to say *worse* at `alpha`; never fewer than for less change, which
/// was `from`.
fn least_lost(changed: u64, from: u64, alpha: f64) -> u64 {
    (from.max(changed / 2)..=changed + 1)
        .find(|&lost| binomial_at_least(lost, changed, 0.5) <= alpha)
        .unwrap_or(changed + 1)
}

/// The smallest drop that [`mcnemar`](super::mcnemar) at `alpha` sees with chance `chance` (0.8), where a share
/// `changing` of `items` changes between two runs; none where it cannot see even all of them being lost.
pub fn smallest_drop(items: u64, changing: f64, alpha: f64, chance: f64) -> Option<f64> {
    let seen = |drop: f64| power(items, changing, drop, alpha) - chance;
    (seen(changing) >= 0.0).then(|| root(0.0, changing, seen))
}

/// The same against a fixed score: if `items` independent items are failed when their score is so far below `score`
/// that chance alone does it in at most `alpha` of runs, this is the smallest true drop that is failed with chance
/// `chance`; none where not even a score of 0 is.
pub fn smallest_drop_below(items: u64, score: f64, alpha: f64, chance: f64) -> Option<f64> {
    if !(0.0 < score && score < 1.0) {
        return None;
    }
    let at_most = |right: u64, p: f64| 1.0 - binomial_at_least(right + 1, items, p);
    let failing = (0..=items).take_while(|&right| at_most(right, score) <= alpha).last()?;
    Some(root(0.0, score, |drop| at_most(failing, (score - drop).max(0.0)) - chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn the_power_is_the_sum_over_all_tables() {
        // Σ_D binom.pmf(D, items, changing) · P(binomtest rejects | D), by scipy.stats.binom
        for (items, changing, drop, expected) in [
            (246, 0.1, 0.05, 0.7653755327445455),
            (493, 0.2, 0.05, 0.7741080060704757),
            (198, 0.2, 0.1, 0.9297103240563448),
            (50, 0.2, 0.1, 0.3479479761747842),
            (1544, 0.1, 0.02, 0.779717044172117),
            (14042, 0.1, 0.01, 0.9812772024184061),
            (5, 0.2, 0.2, 0.00032),
        ] {
            close(power(items, changing, drop, 0.05), expected);
        }
        assert_eq!(power(0, 0.2, 0.1, 0.05), 0.0);
        assert_eq!(power(100, 0.0, 0.0, 0.05), 0.0);
    }

    #[test]
    fn without_a_drop_the_test_is_wrong_at_most_as_often_as_it_says() {
        for items in [5, 50, 198, 1319] {
            assert!(power(items, 0.2, 0.0, 0.05) <= 0.05);
        }
    }

    #[test]
    fn the_smallest_drop_is_that_of_the_table() {
        // scipy.optimize.brentq on the same sum
        for (items, changing, alpha, chance, expected) in [
            (198, 0.1, 0.05, 0.8, 0.0579450994525858),
            (198, 0.2, 0.05, 0.8, 0.08183671761937589),
            (164, 0.2, 0.05, 0.8, 0.08990225650661399),
            (1319, 0.1, 0.05, 0.8, 0.022288989294346435),
            (2750, 0.2, 0.01, 0.9, 0.03103743994573806),
        ] {
            close(smallest_drop(items, changing, alpha, chance).unwrap(), expected);
        }
    }

    #[test]
    fn a_handful_of_items_sees_nothing() {
        assert_eq!(smallest_drop(5, 0.2, 0.05, 0.8), None);
        assert_eq!(smallest_drop(20, 0.1, 0.05, 0.8), None);
    }

    #[test]
    fn against_a_bar_it_is_the_binomial_one() {
        // scipy.stats.binom.cdf and scipy.optimize.brentq
        for (items, score, alpha, expected) in [
            (198, 0.7, 0.01, 0.11078597127781012),
            (198, 0.9, 0.01, 0.07702028823380717),
            (1319, 0.7, 0.01, 0.04117285519204783),
            (50, 0.7, 0.01, 0.2293813906477418),
            (198, 0.7, 0.05, 0.08522689441428234),
        ] {
            close(smallest_drop_below(items, score, alpha, 0.8).unwrap(), expected);
        }
        assert_eq!(smallest_drop_below(2, 0.7, 0.01, 0.8), None);
        assert_eq!(smallest_drop_below(198, 1.0, 0.01, 0.8), None);
    }
}
