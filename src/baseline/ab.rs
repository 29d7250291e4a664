//! Two servers, measured in turn: in which order ([`order`]) and what follows from the blocks ([`judge`]). A block is
//! one short measurement of the same workload; blocks of both sides come in random order, so that whatever drifts
//! (heat, neighbours, caches) falls on both alike. The unit is the block, never the request: requests of one block
//! share its moment. Must not know how a block is measured.
//!
//! A difference is called one where it is both beyond chance (Mann–Whitney over all arrangements, Holm over the
//! figures, so that the whole comparison raises a false alarm with probability `alpha` at most) and large enough to
//! matter (`min_effect`).
//!
//! 成对 A/B：随机区组、精确检验、效应量与判定。

use serde::Serialize;

use super::{
    exact::{Test, median},
    figure::Bad,
    show::percent,
};

/// How a comparison is laid out, and what it calls a difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Design {
    /// Blocks a side.
    pub blocks: usize,
    /// Seed of their order.
    pub seed: u64,
    /// The smallest relative change that matters.
    pub min_effect: f64,
    /// The probability of a false alarm of the whole comparison, at most.
    pub alpha: f64,
}

/// Fewer blocks a side cannot reach p = 0.01 whatever they show.
pub const FEWEST: usize = 5;
/// More are not needed, and their arrangements take long to count.
pub const MOST: usize = 50;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is compared with.
    A,
    /// What is compared.
    B,
}

impl Side {
    /// `a` or `b`, as it stands in names.
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl Verdict {
    /// The figures that are worse, in one line: `ttft p50 +10.0 %`.
    pub fn line(&self) -> String {
        let worse = self.rows.iter().filter(|row| row.finding == Finding::Regression);
        let told =
            worse.map(|row| format!("{} {}", row.figure.name(), row.change.map(percent).unwrap_or_default()));
        told.collect::<Vec<_>>().join(", ")
    }
}

/// A figure of a block that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockFigure {
    /// Median time to first token.
    TtftP50,
    /// Median time to the last token.
    E2eP50,
    /// Successful requests per second.
    RequestsPerSecond,
}

impl BlockFigure {
    /// All of them. Few, since each one more asks more of all.
    pub const ALL: [Self; 3] = [Self::TtftP50, Self::E2eP50, Self::RequestsPerSecond];

    /// Name and stat of its measurement.
    pub fn measurement(self) -> (&'static str, &'static str) {
        match self {
            Self::TtftP50 => ("ttft", "p50"),
            Self::E2eP50 => ("e2e", "p50"),
            Self::RequestsPerSecond => ("requests_per_second", "value"),
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::TtftP50 => "ttft p50",
            Self::E2eP50 => "e2e p50",
            Self::RequestsPerSecond => "requests per second",
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::TtftP50 | Self::E2eP50 => "s",
            Self::RequestsPerSecond => "1/s",
        }
    }

    fn bad(self) -> Bad {
        match self {
            Self::TtftP50 | Self::E2eP50 => Bad::Higher,
            Self::RequestsPerSecond => Bad::Lower,
        }
    }
}

/// What one block measured; a figure without a value leaves the block out of that figure's test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Block {
    /// Whose it is.
    pub side: Side,
    /// In the order of [`BlockFigure::ALL`].
    pub figures: [Option<f64>; 3],
}

/// What a comparison of blocks came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// In one word.
    pub finding: Finding,
    /// Figure by figure.
    pub rows: Vec<Row>,
}

/// How sure a self-test is before it calls its own rate of false alarms too high.
pub const CONFIDENCE: f64 = 0.99;

/// The most false alarms of `times` comparisons that a rate of `alpha` explains: with [`CONFIDENCE`] there are no more,
/// by the binomial distribution.
pub fn most_alarms(times: u32, alpha: f64) -> u32 {
    let odds = alpha / (1.0 - alpha);
    let mut likely = (1.0 - alpha).powf(f64::from(times));
    let mut up_to = likely;
    for alarms in 0..times {
        if up_to >= CONFIDENCE {
            return alarms;
        }
        likely *= f64::from(times - alarms) / f64::from(alarms + 1) * odds;
        up_to += likely;
    }
    times
}

/// What is found, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// B is worse, beyond chance and by enough to matter.
    Regression,
    /// A difference that matters is neither shown nor ruled out.
    Inconclusive,
    /// B is better, beyond chance and by enough to matter.
    Improvement,
    /// There is no difference that matters.
    Same,
}

/// One figure of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub figure: BlockFigure,
    /// Its unit.
    pub unit: &'static str,
    /// Median of A's blocks.
    pub a: Option<f64>,
    /// Median of B's blocks.
    pub b: Option<f64>,
    /// Blocks of each side that have a value.
    pub n: [usize; 2],
    /// Relative change from A to B, Hodges–Lehmann.
    pub change: Option<f64>,
    /// 95 % bounds of the change; null where the blocks are too few.
    pub interval: Option<[f64; 2]>,
    /// The smallest change that these blocks could have shown, about: half the width of the interval.
    pub detectable: Option<f64>,
    /// Mann–Whitney, exact, two-sided.
    pub p: Option<f64>,
    /// The same, corrected for the number of figures.
    pub p_holm: Option<f64>,
    /// What is found of it.
    pub finding: Finding,
}

/// Whose turn it is, block by block: `blocks` of each side in random order, the same for the same seed.
pub fn order(blocks: usize, seed: u64) -> Vec<Side> {
    let mut order: Vec<Side> = [Side::A, Side::B].into_iter().flat_map(|side| vec![side; blocks]).collect();
    let mut state = seed;
    // Fisher–Yates.
    for at in (1..order.len()).rev() {
        let other = (splitmix(&mut state) % (at as u64 + 1)) as usize;
        order.swap(at, other);
    }
    order
}

/// SplitMix64.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What `blocks` show.
pub fn judge(design: &Design, blocks: &[Block]) -> Verdict {
    let mut rows: Vec<Row> = Vec::new();
    let mut tests: Vec<Option<Test>> = Vec::new();
    for (at, figure) in BlockFigure::ALL.into_iter().enumerate() {
        let of = |side: Side| sorted(blocks.iter().filter(|block| block.side == side), at);
        let (row, test) = compare(figure, &of(Side::A), &of(Side::B));
        rows.push(row);
        tests.push(test);
    }
    let corrected = holm(&tests.iter().map(|test| test.map_or(1.0, |test| test.p)).collect::<Vec<_>>());
    for ((row, test), p) in rows.iter_mut().zip(tests).zip(corrected) {
        row.p_holm = test.map(|_| p);
        row.finding = test.map_or(Finding::Inconclusive, |test| found(design, row, test, p));
    }
    let finding = rows.iter().map(|row| row.finding).min().unwrap_or(Finding::Inconclusive);
    Verdict { finding, rows }
}

fn sorted<'a>(blocks: impl Iterator<Item = &'a Block>, at: usize) -> Vec<f64> {
    let mut values: Vec<f64> = blocks.filter_map(|block| block.figures[at]).filter(|v| *v > 0.0).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn compare(figure: BlockFigure, a: &[f64], b: &[f64]) -> (Row, Option<Test>) {
    let bad = figure.bad();
    let harms = |values: &[f64]| values.iter().map(|value| bad.harm(1.0, *value)).collect::<Vec<_>>();
    let test = Test::of(&harms(a), &harms(b), 0.05);
    let middle = |values: &[f64]| (!values.is_empty()).then(|| median(values));
    let bounded = test.filter(|test| test.low.is_finite() && test.high.is_finite());
    let row = Row {
        figure,
        unit: figure.unit(),
        a: middle(a),
        b: middle(b),
        n: [a.len(), b.len()],
        change: test.map(|test| bad.change(test.shift)),
        interval: bounded.map(|test| {
            let (one, other) = (bad.change(test.low), bad.change(test.high));
            [one.min(other), one.max(other)]
        }),
        detectable: bounded.map(|test| ((test.high - test.low) / 2.0).exp_m1()),
        p: test.map(|test| test.p),
        p_holm: None,
        finding: Finding::Inconclusive,
    };
    (row, test)
}

fn found(design: &Design, row: &Row, test: Test, p: f64) -> Finding {
    let most = row.figure.bad().limit(design.min_effect);
    if p <= design.alpha && test.shift >= most {
        Finding::Regression
    } else if p <= design.alpha && test.shift <= -most {
        Finding::Improvement
    } else if test.low > -most && test.high < most {
        Finding::Same
    } else {
        Finding::Inconclusive
    }
}

/// Holm's correction: each p times the number of those that are not smaller, never falling.
fn holm(ps: &[f64]) -> Vec<f64> {
    let mut by_size: Vec<usize> = (0..ps.len()).collect();
    by_size.sort_by(|one, other| ps[*one].total_cmp(&ps[*other]));
    let mut corrected = vec![0.0; ps.len()];
    let mut least = 0.0_f64;
    for (rank, at) in by_size.into_iter().enumerate() {
        least = least.max(ps[at] * (ps.len() - rank) as f64).min(1.0);
        corrected[at] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESIGN: Design = Design { blocks: 5, seed: 1, min_effect: 0.05, alpha: 0.05 };

    /// Blocks whose times to first token are `a` and `b`, and whose other figures follow from them.
    fn blocks(a: &[f64], b: &[f64]) -> Vec<Block> {
        let of = |side: Side, ttft: &f64| Block {
            side,
            figures: [Some(*ttft), Some(ttft * 10.0), Some(1.0 / ttft)],
        };
        a.iter().map(|ttft| of(Side::A, ttft)).chain(b.iter().map(|ttft| of(Side::B, ttft))).collect()
    }

    const A: [f64; 5] = [0.100, 0.101, 0.099, 0.102, 0.098];

    fn scaled(by: f64) -> [f64; 5] {
        A.map(|ttft| ttft * by + 0.0001)
    }

    #[test]
    fn ten_per_cent_are_found_and_their_direction_is_known() {
        let worse = judge(&DESIGN, &blocks(&A, &scaled(1.1)));
        assert_eq!(worse.finding, Finding::Regression);
        let ttft = &worse.rows[0];
        assert!((ttft.change.expect("a change") - 0.1).abs() < 0.01, "{ttft:?}");
        assert!(ttft.p_holm.expect("a p") <= 0.05);
        assert!(worse.rows[2].change.expect("a change") < 0.0, "the rate fell");
        assert_eq!(judge(&DESIGN, &blocks(&A, &scaled(0.9))).finding, Finding::Improvement);
    }

    #[test]
    fn a_difference_that_does_not_matter_is_none() {
        assert_eq!(judge(&DESIGN, &blocks(&A, &scaled(1.0))).finding, Finding::Same);
        assert_eq!(judge(&DESIGN, &blocks(&A, &scaled(1.01))).finding, Finding::Same);
    }

    #[test]
    fn what_varies_too_much_is_not_decided_and_says_what_could_be_seen() {
        let (a, b) = ([0.1, 0.2, 0.15, 0.12, 0.18], [0.11, 0.19, 0.16, 0.13, 0.17]);
        let verdict = judge(&DESIGN, &blocks(&a, &b));
        assert_eq!(verdict.finding, Finding::Inconclusive);
        assert!(verdict.rows[0].detectable.expect("a width") > 0.2);
    }

    #[test]
    fn too_few_blocks_never_decide() {
        let verdict = judge(&DESIGN, &blocks(&A[..3], &scaled(2.0)[..3]));
        assert_eq!(verdict.finding, Finding::Inconclusive);
    }

    #[test]
    fn the_order_is_random_balanced_and_repeatable() {
        let one = order(10, 1);
        assert_eq!(one, order(10, 1));
        assert_ne!(one, order(10, 2));
        assert_eq!(one.iter().filter(|side| **side == Side::A).count(), 10);
    }

    #[test]
    fn holm_corrects_by_how_many_are_left() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
    }

    #[test]
    fn how_many_false_alarms_a_rate_explains() {
        // scipy.stats.binom.ppf(0.99, n, p)
        for (times, alpha, most) in
            [(40, 0.05, 6), (20, 0.05, 4), (1, 0.05, 1), (100, 0.01, 4), (1000, 0.05, 67)]
        {
            assert_eq!(most_alarms(times, alpha), most, "{times} × {alpha}");
        }
    }

    #[test]
    fn a_against_itself_is_called_different_no_more_often_than_stated() {
        let mut state = 11;
        let mut noisy = || 0.1 * (1.0 + 0.3 * (splitmix(&mut state) as f64 / u64::MAX as f64));
        let tries = 1000;
        let alarms = (0..tries).filter(|_| {
            let a: Vec<f64> = (0..5).map(|_| noisy()).collect();
            let b: Vec<f64> = (0..5).map(|_| noisy()).collect();
            matches!(judge(&DESIGN, &blocks(&a, &b)).finding, Finding::Regression | Finding::Improvement)
        });
        let rate = alarms.count() as f64 / f64::from(tries);
        assert!(rate <= DESIGN.alpha, "{rate}");
    }
}
