//! Whether the same items were answered worse than before: [`mcnemar`], and [`sign_flip`] where items share a stem.
//! Must not know what an item is.
//!
//! 配对检验：精确 McNemar 及其整群版本。

use serde::Serialize;

use super::special::binomial_at_least;

/// Chances of a change at least as large where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PValues {
    /// Of a change for the worse: what a gate asks for.
    pub worse: f64,
    /// Of a change in either direction.
    pub either: f64,
}

/// McNemar's exact test: `lost` items were right and are wrong now, `gained` the other way round. Items that did not
/// change say nothing. Each item has to be a draw of its own.
pub fn mcnemar(lost: u64, gained: u64) -> PValues {
    let changed = lost + gained;
    let more = binomial_at_least(lost.max(gained), changed, 0.5);
    PValues { worse: binomial_at_least(lost, changed, 0.5), either: (2.0 * more).min(1.0) }
}

/// The same test for items in clusters (the languages of one problem, the questions to one passage, the repeats of one
/// item): `nets` has for each cluster what it lost less what it gained. If nothing changed, each cluster's net could
/// as well have come with the other sign; the chances are counted over all 2^clusters ways, none is drawn. Clusters of
/// one item each give [`mcnemar`].
pub fn sign_flip(nets: &[i64]) -> PValues {
    let sizes: Vec<usize> =
        nets.iter().map(|net| net.unsigned_abs() as usize).filter(|&size| size > 0).collect();
    let net: i64 = nets.iter().sum();
    if sizes.iter().all(|&size| size == 1) {
        let lost = nets.iter().filter(|net| **net > 0).count() as u64;
        return mcnemar(lost, sizes.len() as u64 - lost);
    }
    let chances = lost_in_all(&sizes);
    // With L lost in all of the T that changed, the net is 2L - T.
    let total = chances.len() as i64 - 1;
    let at_least = |net: i64| -> f64 {
        let first = usize::try_from((total + net) / 2).unwrap_or(0);
        chances[first.min(chances.len())..].iter().sum()
    };
    PValues { worse: at_least(net).min(1.0), either: (2.0 * at_least(net.abs())).min(1.0) }
}

/// The chance of each sum, where each of `sizes` is in it or not with equal chances.
fn lost_in_all(sizes: &[usize]) -> Vec<f64> {
    let mut chances = vec![1.0];
    for &size in sizes {
        let mut next = vec![0.0; chances.len() + size];
        for (sum, chance) in chances.iter().enumerate() {
            next[sum] += chance / 2.0;
            next[sum + size] += chance / 2.0;
        }
        chances = next;
    }
    chances
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: PValues, worse: f64, either: f64) {
        assert!((found.worse - worse).abs() < 1e-12 && (found.either - either).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn mcnemar_is_that_of_scipy_and_statsmodels() {
        // scipy.stats.binomtest(lost, lost + gained, 0.5, alternative="greater"),
        // statsmodels.stats.contingency_tables.mcnemar(exact=True)
        for (lost, gained, worse, either) in [
            (10, 2, 0.019287109375, 0.03857421875),
            (15, 5, 0.020694732666015625, 0.04138946533203125),
            (20, 10, 0.049368573352694525, 0.09873714670538905),
            (30, 15, 0.017848901777597348, 0.035697803555194696),
            (3, 3, 0.65625, 1.0),
            (0, 7, 1.0, 0.015625),
            (2, 10, 0.996826171875, 0.03857421875),
            (200, 160, 0.019842139418248965, 0.03968427883649793),
        ] {
            close(mcnemar(lost, gained), worse, either);
        }
        close(mcnemar(0, 0), 1.0, 1.0);
    }

    #[test]
    fn clusters_are_flipped_whole_as_in_scipys_permutation_test() {
        // scipy.stats.permutation_test((nets,), sum, permutation_type="samples", n_resamples=inf)
        for (nets, worse, either) in [
            (&[3, 1, -1, 2, 2, -2, 1][..], 0.1640625, 0.328125),
            (&[11, -4, 3, 2, 2, 1, -1, -1, 5, 0, 0], 0.1171875, 0.234375),
            (&[1, 1, 1, 1, 1, -5], 0.515625, 1.0),
            (&[2, -2], 0.75, 1.0),
        ] {
            close(sign_flip(nets), worse, either);
        }
        close(sign_flip(&[]), 1.0, 1.0);
        close(sign_flip(&[0, 0]), 1.0, 1.0);
    }

    #[test]
    fn clusters_make_a_change_less_certain() {
        // Ten lost and none gained: ten items, or two passages of five questions.
        assert!(sign_flip(&[1; 10]).worse < 0.001);
        close(sign_flip(&[5, 5]), 0.25, 0.5);
    }

    #[test]
    fn many_clusters_keep_their_tails() {
        // As if GPQA had been asked ten times and every item had lost one answer more than it gained.
        let nets: Vec<i64> = (0..198).map(|i| if i % 3 == 0 { -2 } else { 3 }).collect();
        let found = sign_flip(&nets);
        assert!(found.worse > 0.0 && found.worse < 1e-6, "{found:?}");
    }

    proptest! {
        #[test]
        fn clusters_of_one_item_are_mcnemar(lost in 0_u64..40, gained in 0_u64..40) {
            let expected = mcnemar(lost, gained);
            let mut nets = vec![1; lost as usize];
            nets.extend(vec![-1; gained as usize]);
            prop_assert_eq!(sign_flip(&nets), expected);
            // The long way round: doubling every net changes nothing.
            let doubled: Vec<i64> = nets.iter().map(|net| net * 2).collect();
            let found = sign_flip(&doubled);
            prop_assert!((found.worse - expected.worse).abs() < 1e-12);
            prop_assert!((found.either - expected.either).abs() < 1e-12);
        }
    }
}
