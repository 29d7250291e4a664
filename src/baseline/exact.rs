//! Whether two small samples differ, exactly: [`Test`]. The Mann–Whitney test over every way in which the values
//! could have fallen to the two sides, and the shift between them (Hodges–Lehmann) with its exact interval.
//! Must not know what was measured.
//!
//! Five values a side can reach p = 2/252 = 0.0079, four only 0.029, three 0.10.
//!
//! 精确的两样本检验：Mann–Whitney 与 Hodges–Lehmann 位移。

/// The shift from one sample to another, and how likely one at least as large is by chance alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// The median of all differences between a value of `b` and one of `a`.
    pub shift: f64,
    /// Bounds of the shift; infinite where the samples are too small for the level.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Two-sided.
    pub p: f64,
}

impl Test {
    /// Of two samples; the bounds hold with probability 1 − `alpha`. Nothing where one of them is empty.
    pub fn of(a: &[f64], b: &[f64], alpha: f64) -> Option<Self> {
        let mut differences: Vec<f64> = b.iter().flat_map(|b| a.iter().map(move |a| b - a)).collect();
        if differences.is_empty() {
            return None;
        }
        differences.sort_by(f64::total_cmp);
        let cut = outside(a.len(), b.len(), alpha);
        let bound = |from_end: bool| match cut {
            0 => f64::INFINITY,
            cut if from_end => differences[differences.len() - cut],
            cut => differences[cut - 1],
        };
        Some(Self {
            shift: median(&differences),
            low: if cut == 0 { f64::NEG_INFINITY } else { bound(false) },
            high: bound(true),
            p: p_value(a, b),
        })
    }
}

/// The middle of a sorted sample.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The share of all arrangements whose rank sum lies at least as far from its mean as the one that was seen.
fn p_value(a: &[f64], b: &[f64]) -> f64 {
    let ranks = doubled_ranks(a, b);
    let seen: usize = ranks[a.len()..].iter().sum();
    let all = ways(&ranks, b.len());
    // Twice the ranks, so that ties (half ranks) stay whole: the mean of the sum is k (n + 1).
    let mean = b.len() * (ranks.len() + 1);
    let total: f64 = all.iter().sum();
    let far = seen.abs_diff(mean);
    let as_far = all.iter().enumerate().filter(|(sum, _)| sum.abs_diff(mean) >= far);
    as_far.map(|(_, ways)| ways).sum::<f64>() / total
}

/// Twice the rank of each value of `a`, then of `b`; equal values share theirs.
fn doubled_ranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let rank = |value: &f64| {
        let below = all.iter().filter(|other| *other < value).count();
        let equal = all.iter().filter(|other| *other == value).count();
        2 * below + equal + 1
    };
    all.iter().map(rank).collect()
}

/// In how many ways `k` of `ranks` add up to each sum.
fn ways(ranks: &[usize], k: usize) -> Vec<f64> {
    let most: usize = ranks.iter().sum();
    let mut table = vec![vec![0.0; most + 1]; k + 1];
    table[0][0] = 1.0;
    for rank in ranks {
        for taken in (1..=k).rev() {
            for sum in (*rank..=most).rev() {
                table[taken][sum] += table[taken - 1][sum - rank];
            }
        }
    }
    table.pop().unwrap_or_default()
}

/// How many of the smallest and of the largest differences lie outside the interval of the shift.
fn outside(m: usize, n: usize, alpha: f64) -> usize {
    let ranks: Vec<usize> = (1..=m + n).collect();
    let all = ways(&ranks, n);
    let total: f64 = all.iter().sum();
    let smallest = n * (n + 1) / 2;
    let mut below = 0.0;
    let mut cut = 0;
    for ways in &all[smallest..] {
        below += ways / total;
        if below > alpha / 2.0 {
            break;
        }
        cut += 1;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn the_smallest_p_of_each_size_is_the_known_one() {
        for (n, p) in [(3, 0.1), (4, 2.0 / 70.0), (5, 2.0 / 252.0), (10, 2.0 / 184_756.0)] {
            let a: Vec<f64> = (0..n).map(f64::from).collect();
            let b: Vec<f64> = (0..n).map(|x| f64::from(x) + 100.0).collect();
            near(Test::of(&a, &b, 0.05).expect("values").p, p);
        }
    }

    #[test]
    fn a_known_sample_has_the_known_p() {
        // scipy.stats.mannwhitneyu([19, 22, 16, 29, 24], [20, 11, 17, 12], method="exact").pvalue
        let test =
            Test::of(&[19.0, 22.0, 16.0, 29.0, 24.0], &[20.0, 11.0, 17.0, 12.0], 0.05).expect("values");
        near(test.p, 1.0 / 9.0);
    }

    #[test]
    fn ties_share_their_rank_and_equal_samples_never_differ() {
        let same = Test::of(&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0], 0.05).expect("values");
        assert_eq!((same.p, same.shift), (1.0, 0.0));
    }

    #[test]
    fn the_shift_and_its_bounds() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0];
        let b = a.map(|x| x + 10.0);
        let test = Test::of(&a, &b, 0.05).expect("values");
        near(test.shift, 10.0);
        assert!(test.low >= 6.0 && test.low < 10.0 && test.high > 10.0 && test.high <= 14.0, "{test:?}");
        let few = Test::of(&[1.0], &[2.0], 0.05).expect("values");
        assert!(few.low.is_infinite() && few.high.is_infinite());
    }

    #[test]
    fn under_chance_alone_p_is_small_as_seldom_as_it_says() {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64
        };
        let tries = 2000;
        let alarms = (0..tries).filter(|_| {
            let a: Vec<f64> = (0..5).map(|_| next()).collect();
            let b: Vec<f64> = (0..5).map(|_| next()).collect();
            Test::of(&a, &b, 0.05).expect("values").p <= 0.05
        });
        // The test is discrete: its true rate at 0.05 is 0.0317.
        let rate = alarms.count() as f64 / f64::from(tries);
        assert!((0.015..0.05).contains(&rate), "{rate}");
    }
}
