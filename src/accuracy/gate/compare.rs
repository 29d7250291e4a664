//! The same questions answered before and now: [`Comparison`], with every answer that flipped. Must not know where
//! the earlier answers came from.
//!
//! 与基线逐题比较：翻转列表与配对检验。

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Verdict;
use crate::accuracy::{
    item::Item,
    row::Row,
    spec::{Compat, Gate},
    statistics::{Mean, PValues, differ, sign_flip},
};

/// Two runs of the same questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What is said of the change.
    pub verdict: Verdict,
    /// Why, in one line.
    pub told: String,
    /// Questions that both runs answered.
    pub pairs: u64,
    /// Mean change of the score; null where there is no pair.
    pub change: Option<f64>,
    /// Right before, not now.
    pub lost: u64,
    /// Right now, not before.
    pub gained: u64,
    /// Chances of such a change where there is none; null where nothing can be said.
    pub chances: Option<PValues>,
    /// Every answer whose score changed, in the order of the questions.
    pub flips: Vec<Flip>,
}

/// An answer whose score changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flip {
    /// The item.
    pub id: String,
    /// Which of its repeats.
    pub repeat: u32,
    /// Its score before.
    pub before: f64,
    /// Its score now.
    pub now: f64,
}

/// A score of which the single answers are not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// From 0 to 1.
    pub score: f64,
    /// As its tool tells it; that of so many right or wrong answers without it.
    pub standard_error: Option<f64>,
    /// How many answers it is the mean of.
    pub n: u64,
}

impl Score {
    fn error(&self) -> f64 {
        let of_shares = || (self.score * (1.0 - self.score).max(0.0) / self.n as f64).sqrt();
        self.standard_error.unwrap_or_else(of_shares)
    }
}

/// Compares two scores as such: a blunter tool than [`compare`], which sees each answer.
pub fn compare_scores(before: Score, now: Score, gate: &Gate) -> Comparison {
    let pairs = before.n.min(now.n);
    if pairs < 2 {
        return nothing("a score of less than two answers is held against nothing".to_owned());
    }
    let change = now.score - before.score;
    let error = before.error().hypot(now.error());
    let (chances, reach) = differ(change, error, (before.n + now.n - 2) as f64, 1.0 - 2.0 * gate.alpha);
    let told = format!(
        "{:+.2} points against the earlier run, score against score ({} and {} answers; chance of that without a \
         change: {:.3})",
        change * 100.0,
        before.n,
        now.n,
        chances.worse
    );
    Comparison {
        verdict: verdict(change, Some(chances), Some(change - reach), gate),
        told,
        change: Some(change),
        chances: Some(chances),
        ..nothing(String::new())
    }
}

struct Pair {
    stem: String,
    flip: Flip,
}

/// Compares `now` with `before`, as `compat` reads the answers: see [`compare_items`].
pub fn compare(before: &[Row], now: &[Row], compat: Compat, gate: &Gate) -> Comparison {
    compare_items(&Item::of_rows(before, compat), &Item::of_rows(now, compat), gate)
}

/// Compares `now` with `before`, joined by item and repeat. Runs that asked otherwise (another prompt, other
/// sampling) are not compared.
pub fn compare_items(before: &[Item], now: &[Item], gate: &Gate) -> Comparison {
    let earlier: HashMap<(&str, u32), &Item> =
        before.iter().map(|item| ((item.id.as_str(), item.repeat), item)).collect();
    let both: Vec<(&Item, &Item)> =
        now.iter().filter_map(|item| Some((*earlier.get(&(item.id.as_str(), item.repeat))?, item))).collect();
    let otherwise = both.iter().filter(|(old, new)| old.asked != new.asked).count();
    if both.is_empty() || otherwise > 0 {
        let told = match both.len() {
            0 => "the earlier run asked none of these questions".to_owned(),
            all => format!(
                "{otherwise} of {all} questions were asked otherwise: another prompt or other sampling"
            ),
        };
        return nothing(told);
    }
    let pair = |(old, new): &(&Item, &'_ Item)| {
        let flip = Flip { id: new.id.clone(), repeat: new.repeat, before: old.score?, now: new.score? };
        Some((new.stem.clone(), flip))
    };
    let pairs: Vec<Pair> = both.iter().filter_map(pair).map(|(stem, flip)| Pair { stem, flip }).collect();
    decide(&pairs, gate)
}

fn nothing(told: String) -> Comparison {
    Comparison {
        verdict: Verdict::Invalid,
        told,
        pairs: 0,
        change: None,
        lost: 0,
        gained: 0,
        chances: None,
        flips: Vec::new(),
    }
}

fn decide(pairs: &[Pair], gate: &Gate) -> Comparison {
    let change = |pair: &Pair| pair.flip.now - pair.flip.before;
    let Some(mean) = Mean::of(pairs.iter().map(|pair| (pair.stem.as_str(), change(pair)))) else {
        return nothing("no question was answered in both runs".to_owned());
    };
    let is_binary =
        pairs.iter().all(|pair| [pair.flip.before, pair.flip.now].iter().all(|s| *s == 0.0 || *s == 1.0));
    let chances = if is_binary { Some(sign_flip(&nets(pairs))) } else { mean.test() };
    let low = mean.interval(1.0 - 2.0 * gate.alpha).map(|bounds| bounds.low);
    let lost = pairs.iter().filter(|pair| pair.flip.before >= 1.0 && pair.flip.now < 1.0).count() as u64;
    let gained = pairs.iter().filter(|pair| pair.flip.before < 1.0 && pair.flip.now >= 1.0).count() as u64;
    let chance = chances.map_or_else(|| "unknown".to_owned(), |chances| format!("{:.3}", chances.worse));
    let told = format!(
        "{:+.2} points against the earlier run over {} answers ({lost} lost, {gained} gained; chance of that without a \
         change: {chance})",
        mean.mean * 100.0,
        pairs.len()
    );
    Comparison {
        verdict: verdict(mean.mean, chances, low, gate),
        told,
        pairs: pairs.len() as u64,
        change: Some(mean.mean),
        lost,
        gained,
        chances,
        flips: pairs.iter().map(|pair| &pair.flip).filter(|flip| flip.before != flip.now).cloned().collect(),
    }
}

/// Worse beyond chance and by more than the margin; `low` is the lower bound of the change.
fn verdict(change: f64, chances: Option<PValues>, low: Option<f64>, gate: &Gate) -> Verdict {
    let is_worse = chances.is_some_and(|chances| chances.worse <= gate.alpha);
    if is_worse && change < -gate.margin {
        Verdict::Fail
    } else if (gate.margin == 0.0 && chances.is_some()) || low.is_some_and(|low| low >= -gate.margin) {
        Verdict::Pass
    } else {
        Verdict::Inconclusive
    }
}

/// What each stem lost, less what it gained.
fn nets(pairs: &[Pair]) -> Vec<i64> {
    let mut nets: BTreeMap<&str, i64> = BTreeMap::new();
    for pair in pairs {
        let net = nets.entry(&pair.stem).or_default();
        *net += i64::from(pair.flip.before > pair.flip.now) - i64::from(pair.flip.now > pair.flip.before);
    }
    nets.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::{reply::Reply, row::tests};

    /// `right` answers that stay right, then `lost`, then `gained`.
    fn runs(right: usize, lost: usize, gained: usize) -> (Vec<Row>, Vec<Row>) {
        let row = |index: usize, is_right: bool| {
            tests::answered(&index.to_string(), if is_right { "Answer: B" } else { "Answer: C" })
        };
        let total = right + lost + gained;
        let before = (0..total).map(|index| row(index, index < right + lost)).collect();
        let now = (0..total).map(|index| row(index, index < right || index >= right + lost)).collect();
        (before, now)
    }

    fn compared(right: usize, lost: usize, gained: usize, margin: f64) -> Comparison {
        let (before, now) = runs(right, lost, gained);
        compare(&before, &now, Compat::SimpleEvals, &Gate { margin, ..Gate::default() })
    }

    #[test]
    fn ten_lost_and_two_gained_is_worse() {
        let found = compared(100, 10, 2, 0.0);
        assert_eq!((found.verdict, found.lost, found.gained, found.pairs), (Verdict::Fail, 10, 2, 112));
        assert!((found.chances.unwrap().worse - 0.019).abs() < 5e-4);
        assert_eq!(found.flips.len(), 12);
        assert_eq!(
            (found.flips[0].id.as_str(), found.flips[0].before, found.flips[0].now),
            ("100", 1.0, 0.0)
        );
        assert!(
            found.told.starts_with("-7.14 points against the earlier run over 112 answers"),
            "{}",
            found.told
        );
    }

    #[test]
    fn chance_alone_is_no_regression_and_a_margin_asks_for_more_than_doubt() {
        assert_eq!(compared(100, 6, 4, 0.0).verdict, Verdict::Pass);
        assert_eq!(compared(100, 6, 4, 0.01).verdict, Verdict::Inconclusive);
        assert_eq!(compared(100, 6, 4, 0.1).verdict, Verdict::Pass);
        assert_eq!(compared(100, 0, 0, 0.0).verdict, Verdict::Pass);
    }

    #[test]
    fn questions_asked_otherwise_are_not_compared() {
        let (before, mut now) = runs(3, 0, 0);
        now[1].request_sha256 = "another".to_owned();
        let told = compare(&before, &now, Compat::SimpleEvals, &Gate::default());
        assert_eq!(told.verdict, Verdict::Invalid);
        assert_eq!(told.told, "1 of 3 questions were asked otherwise: another prompt or other sampling");
        assert_eq!(compare(&[], &now, Compat::SimpleEvals, &Gate::default()).verdict, Verdict::Invalid);
    }

    #[test]
    fn scores_without_their_answers_are_compared_as_such() {
        let score = |score, n| Score { score, standard_error: None, n };
        let compared = |before, now| compare_scores(before, now, &Gate::default());
        let worse = compared(score(0.7, 198), score(0.55, 198));
        // statsmodels' test of two proportions, not pooled: z = -3.13.
        assert_eq!(worse.verdict, Verdict::Fail, "{}", worse.told);
        assert!(worse.chances.is_some_and(|chances| (chances.worse - 0.0009).abs() < 2e-4), "{worse:?}");
        assert_eq!(compared(score(0.7, 198), score(0.65, 198)).verdict, Verdict::Pass);
        assert_eq!(compared(score(1.0, 8), score(1.0, 8)).verdict, Verdict::Pass);
        assert_eq!(compared(score(1.0, 8), score(0.0, 8)).verdict, Verdict::Fail);
        assert_eq!(compared(score(1.0, 1), score(0.0, 1)).verdict, Verdict::Invalid);
        let known = Score { standard_error: Some(0.2), ..score(0.55, 198) };
        assert_eq!(compared(score(0.7, 198), known).verdict, Verdict::Pass, "its tool is less sure");
    }

    #[test]
    fn what_was_not_answered_is_no_pair() {
        let (before, mut now) = runs(2, 0, 0);
        now[0] = tests::row("0", Some(Reply::failed("status 500")));
        assert_eq!(compare(&before, &now, Compat::SimpleEvals, &Gate::default()).pairs, 1);
    }
}
