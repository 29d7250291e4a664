//! A score held against its bar and against an earlier run: [`Judgement`], all of it pure. The point value and the
//! interval are judged both, whichever decides. Must not know how a score came to be.
//!
//! 门禁：点值与区间双重判定、逐题基线比较、可检出的最小下降。

mod compare;

pub use compare::{Comparison, Flip, Score, compare, compare_items, compare_scores};

use serde::Serialize;

use crate::accuracy::{
    row::Row,
    spec::{Compat, Gate, GateMode, Spec},
    statistics::{Interval, Mean, smallest_drop, smallest_drop_below, wilson},
    tally::Tally,
};

/// With what chance a drop is to be seen, where the smallest one is told.
const POWER: f64 = 0.8;
/// What share of answers changes between two runs of one build; for planning only.
const CHANGING: f64 = 0.2;

/// What is said of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// The run does not decide it.
    Inconclusive,
    /// The score is no measurement.
    Invalid,
}

/// How sure a score is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sureness {
    /// `wilson`, or `clustered_t` where answers share a stem or scores are not 0 or 1.
    pub method: &'static str,
    /// Confidence.
    pub level: f64,
    /// From where to where; null where there is one cluster only.
    pub bounds: Option<Interval>,
}

/// A score judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// Which of the two readings decides.
    pub mode: GateMode,
    /// The bar; 0 is none.
    pub min_score: f64,
    /// Whether the score reaches the bar; null where there is no score.
    pub ok: Option<bool>,
    /// What the interval says of the bar.
    pub interval_verdict: Verdict,
    /// The two one-sided bounds that it says it by.
    pub one_sided: Sureness,
    /// The earlier run that the case names, where it names one.
    pub baseline: Option<Comparison>,
    /// Whether it is to be held against the latest daily run.
    pub daily: bool,
    /// Probability of a false alarm.
    pub alpha: f64,
    /// So far below the bar, and below an earlier run, the true score may lie.
    pub margin: f64,
    /// What this run could have seen.
    pub power: Power,
}

/// How small a drop a run of this size can see, in score from 0 to 1, four times out of five.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Power {
    /// Independent items: answers that share a stem count once.
    pub items: u64,
    /// Below the bar; null where there is none, or even a score of 0 would not be seen.
    pub below_bar: Option<f64>,
    /// Against an earlier run of the same questions, 20 % of which change from run to run anyway; null where it
    /// sees none.
    pub against_run: Option<f64>,
}

impl Power {
    /// Of a run over questions with these `stems`.
    pub fn of<'a>(stems: impl IntoIterator<Item = &'a str>, min_score: f64, alpha: f64) -> Self {
        Self::of_items(
            stems.into_iter().collect::<std::collections::HashSet<_>>().len() as u64,
            min_score,
            alpha,
        )
    }

    /// Of a run over so many independent items.
    pub fn of_items(items: u64, min_score: f64, alpha: f64) -> Self {
        Self {
            items,
            below_bar: smallest_drop_below(items, min_score, alpha, POWER),
            against_run: smallest_drop(items, CHANGING, alpha, POWER),
        }
    }

    /// One line for people.
    pub fn told(&self) -> String {
        let points = |drop: Option<f64>| match drop {
            Some(drop) => format!("a drop of {:.1} points", drop * 100.0),
            None => "no drop at all".to_owned(),
        };
        let bar =
            self.below_bar.map(|drop| format!("; below the bar {}", points(Some(drop)))).unwrap_or_default();
        format!(
            "{} independent items can show {} against an earlier run of the same questions{bar} (four times out of five)",
            self.items,
            points(self.against_run)
        )
    }
}

/// How sure the mean score of `rows` is, with confidence `level` on both sides together.
pub fn sureness(rows: &[Row], tally: &Tally, compat: Compat, level: f64) -> Sureness {
    let scores = || {
        let asked = rows.iter().filter(|row| row.status.is_some());
        asked.map(|row| (row.stem.as_str(), row.score(compat).unwrap_or(0.0)))
    };
    let stems: std::collections::HashSet<_> = scores().map(|(stem, _)| stem).collect();
    let is_plain = stems.len() == scores().count() && scores().all(|(_, score)| score == 0.0 || score == 1.0);
    if is_plain {
        return Sureness { method: "wilson", level, bounds: wilson(tally.correct, tally.total, level) };
    }
    // Scores that are all equal show no variance, and an interval without width would be believed: so many stems
    // that are all right or all wrong have Wilson's.
    if let Some(right) = [0.0, 1.0].into_iter().find(|one| scores().all(|(_, score)| score == *one)) {
        let all = stems.len() as u64;
        let correct = if right == 0.0 { 0 } else { all };
        return Sureness { method: "wilson_over_stems", level, bounds: wilson(correct, all, level) };
    }
    let bounds = Mean::of(scores()).and_then(|mean| mean.interval(level));
    let clip = |bounds: Interval| Interval { low: bounds.low.max(0.0), high: bounds.high.min(1.0) };
    Sureness { method: "clustered_t", level, bounds: bounds.map(clip) }
}

/// Judges the score of `rows`; `is_measured` is false where it is no measurement.
pub fn judge(
    spec: &Spec,
    rows: &[Row],
    tally: &Tally,
    is_measured: bool,
    baseline: Option<Comparison>,
) -> Judgement {
    let one_sided = sureness(rows, tally, spec.compat, one_sided_level(spec));
    let power = Power::of(rows.iter().map(|row| row.stem.as_str()), spec.min_score, spec.gate.alpha);
    Judgement { baseline, ..judge_score(spec, tally.score, one_sided, power, is_measured) }
}

/// The two-sided confidence whose bounds are one-sided ones at the case's `alpha`.
pub fn one_sided_level(spec: &Spec) -> f64 {
    1.0 - 2.0 * spec.gate.alpha
}

/// Judges a score as such; `one_sided` is how sure it is at [`one_sided_level`].
pub fn judge_score(
    spec: &Spec,
    score: Option<f64>,
    one_sided: Sureness,
    power: Power,
    is_measured: bool,
) -> Judgement {
    let gate = &spec.gate;
    let interval_verdict =
        if is_measured { of_interval(one_sided.bounds, spec.min_score, gate) } else { Verdict::Invalid };
    Judgement {
        mode: gate.mode,
        min_score: spec.min_score,
        ok: score.map(|score| score >= spec.min_score),
        interval_verdict,
        one_sided,
        baseline: None,
        daily: gate.daily && gate.baseline.is_none(),
        alpha: gate.alpha,
        margin: gate.margin,
        power,
    }
}

fn of_interval(bounds: Option<Interval>, min_score: f64, gate: &Gate) -> Verdict {
    if min_score == 0.0 {
        return Verdict::Pass;
    }
    match bounds {
        Some(bounds) if bounds.high < min_score => Verdict::Fail,
        Some(bounds) if bounds.low >= min_score - gate.margin => Verdict::Pass,
        _ => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::row::tests::answered;

    fn spec(min_score: f64) -> Spec {
        serde_json::from_value(serde_json::json!({"max_tokens": 1, "min_score": min_score})).unwrap()
    }

    fn rows(right: usize, total: usize) -> Vec<Row> {
        let text = |index| if index < right { "Answer: B" } else { "Answer: C" };
        (0..total).map(|index| answered(&index.to_string(), text(index))).collect()
    }

    fn judged(right: usize, total: usize, min_score: f64) -> Judgement {
        let rows = rows(right, total);
        let tally = Tally::of(&rows, Compat::SimpleEvals);
        judge(&spec(min_score), &rows, &tally, true, None)
    }

    #[test]
    fn the_interval_decides_only_what_it_can() {
        // 139 of 198: one-sided 95 % bounds 0.646 and 0.753.
        let said = |min_score| judged(139, 198, min_score).interval_verdict;
        assert_eq!(said(0.0), Verdict::Pass);
        assert_eq!(said(0.60), Verdict::Pass);
        assert_eq!(said(0.68), Verdict::Inconclusive);
        assert_eq!(said(0.76), Verdict::Fail);
        assert_eq!(judged(139, 198, 0.71).ok, Some(false), "the point value says so all the same");
        let five = judged(2, 5, 0.5);
        assert_eq!((five.ok, five.interval_verdict), (Some(false), Verdict::Inconclusive));
    }

    #[test]
    fn equal_scores_of_repeated_items_are_not_taken_for_certainty() {
        for right in [0, 10] {
            let once = rows(right, 10);
            let twice: Vec<Row> = once.iter().cloned().chain(once.iter().cloned()).collect();
            let tally = Tally::of(&twice, Compat::SimpleEvals);
            let sure = sureness(&twice, &tally, Compat::SimpleEvals, 0.95);
            assert_eq!((sure.method, sure.bounds), ("wilson_over_stems", wilson(right as u64, 10, 0.95)));
        }
    }

    #[test]
    fn repeats_of_an_item_do_not_make_the_score_surer() {
        let once = rows(10, 20);
        let twice: Vec<Row> = once.iter().cloned().chain(once.iter().cloned()).collect();
        let width = |rows: &[Row]| {
            let sure = sureness(rows, &Tally::of(rows, Compat::SimpleEvals), Compat::SimpleEvals, 0.95);
            let bounds = sure.bounds.unwrap();
            (sure.method, bounds.high - bounds.low)
        };
        let (one, two) = (width(&once), width(&twice));
        assert_eq!((one.0, two.0), ("wilson", "clustered_t"));
        assert!(two.1 > one.1 * 0.95, "{one:?} {two:?}");
    }

    #[test]
    fn the_smallest_drop_is_told_before_anything_is_asked() {
        let names: Vec<String> = (0..198).map(|index| index.to_string()).collect();
        let power = Power::of(names.iter().map(String::as_str), 0.7, 0.01);
        assert!((power.below_bar.unwrap() - 0.111).abs() < 0.005, "{power:?}");
        assert!(power.told().starts_with("198 independent items can show a drop of "), "{}", power.told());
        let few = Power::of(["a", "b"], 0.0, 0.05);
        assert_eq!((few.items, few.below_bar, few.against_run), (2, None, None));
        assert!(few.told().contains("no drop at all"));
    }
}
