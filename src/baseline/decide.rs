//! The one place where a trial is held against earlier ones: [`decide`], a pure function. Must not know where
//! evidence comes from or what becomes of a decision.
//!
//! | policy | decides on | of few samples |
//! |---|---|---|
//! | `seed000` | the point values alone | decides all the same, and says *low confidence* |
//! | `interval` | where the change lies: worse beyond doubt and by more than the limit is a regression, within the limit beyond doubt is a pass | inconclusive |
//!
//! The failure ratio is judged by its value under both, with or without a baseline.
//!
//! 回归判定：纯函数，供门禁、compare 与 report 共用。

use serde::Serialize;

use super::{
    Difference, Evidence, Figure,
    differ::differences,
    figure::Bad,
    interval::{Method, bounds},
};
use crate::config::{Limits, PerfGate, Policy};

/// What came of holding a trial against earlier ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// In one word.
    pub finding: Finding,
    /// Figure by figure.
    pub rows: Vec<Row>,
    /// In what the circumstances differ from those of the baseline.
    pub differs: Vec<Difference>,
    /// Why nothing was decided, where that is so.
    pub refused: Option<String>,
}

/// What is found, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// A figure is worse than it may be.
    Regression,
    /// The client is no instrument to gate with.
    Refused,
    /// The data do not decide.
    Inconclusive,
    /// There is nothing to compare with.
    NoBaseline,
    /// No figure is worse than it may be.
    Pass,
}

/// One figure of a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub figure: Figure,
    /// `s`, `1/s`, `ratio`.
    pub unit: &'static str,
    /// The baseline's value; absent for what is judged by its value alone.
    pub before: Option<f64>,
    /// The value now.
    pub now: Option<f64>,
    /// Relative change: 0.15 is 15 % more.
    pub change: Option<f64>,
    /// The change (the value, of the failure ratio) beyond which it is worse than it may be.
    pub limit: f64,
    /// Where the change lies, under the policy `interval`.
    pub interval: Option<Interval>,
    /// Samples behind the two values.
    pub n: [u64; 2],
    /// What is found of it.
    pub finding: Finding,
    /// Why it is of low confidence, or not decided.
    pub doubt: Option<String>,
}

/// Bounds of a relative change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The smaller change.
    pub low: f64,
    /// The larger change.
    pub high: f64,
    /// The smallest change for the worse that these data could have shown.
    pub detectable: f64,
    /// Where the bounds come from.
    pub method: Method,
}

/// Holds `now` against `before`, earlier trials of the same workload, latest first: the latest is the baseline.
pub fn decide(gate: &PerfGate, before: &[&Evidence], now: &Evidence) -> Decision {
    let failures = failure_row(&gate.limits, now);
    let Some(baseline) = before.first() else {
        let finding = failures.finding.min(Finding::NoBaseline);
        return Decision { finding, rows: vec![failures], differs: Vec::new(), refused: None };
    };
    let differs = differences(&baseline.run, &now.run);
    let refusal = refusal(gate, baseline, now, &differs);
    let compared = Figure::COMPARED.into_iter().map(|figure| {
        let row = match gate.policy {
            Policy::Interval => by_interval(figure, &gate.limits, before, now),
            Policy::Seed000 | Policy::Off => by_value(figure, &gate.limits, baseline, now),
        };
        // The numbers are shown, and decide nothing.
        Row { finding: refusal.as_ref().map_or(row.finding, |(refused, _)| *refused), ..row }
    });
    let rows: Vec<Row> = compared.chain([failures]).collect();
    let finding = rows.iter().map(|row| row.finding).min().unwrap_or(Finding::Pass);
    Decision { finding, rows, differs, refused: refusal.map(|(_, why)| why) }
}

/// Why the two are not compared at all.
fn refusal(
    gate: &PerfGate,
    baseline: &Evidence,
    now: &Evidence,
    differs: &[Difference],
) -> Option<(Finding, String)> {
    for (which, facts) in [("this", &now.run), ("the baseline's", &baseline.run)] {
        if !facts.optimised {
            let why = format!(
                "{which} client was built without optimisation and measures itself: no gate rests on its figures"
            );
            return Some((Finding::Refused, why));
        }
    }
    let unmeant: Vec<String> = differs.iter().filter(|one| !one.expected).map(Difference::text).collect();
    (gate.strict_environment && !unmeant.is_empty()).then(|| {
        let why = format!("`strict_environment`: the circumstances differ: {}", unmeant.join("; "));
        (Finding::Inconclusive, why)
    })
}

fn limit_of(figure: Figure, limits: &Limits) -> f64 {
    match figure {
        Figure::TtftP99 => limits.ttft_p99,
        Figure::E2eP99 => limits.e2e_p99,
        Figure::RequestsPerSecond => limits.requests_per_second,
        Figure::FailureRatio => limits.failure_ratio,
    }
}

fn failure_row(limits: &Limits, now: &Evidence) -> Row {
    let figure = Figure::FailureRatio;
    let value = now.value(figure);
    let finding = match value {
        Some(value) if value > limits.failure_ratio => Finding::Regression,
        _ => Finding::Pass,
    };
    Row {
        figure,
        unit: figure.unit(),
        before: None,
        now: value,
        change: None,
        limit: limits.failure_ratio,
        interval: None,
        n: [0, now.n(figure)],
        finding,
        doubt: None,
    }
}

/// A row whose finding is still open, and the harm where both values are there.
fn compared(figure: Figure, limits: &Limits, before: &Evidence, now: &Evidence) -> (Row, Option<f64>) {
    let positive = |value: Option<f64>| value.filter(|value| *value > 0.0);
    let (ours, theirs) = (before.value(figure), now.value(figure));
    let redefined = redefined(figure, before, now);
    let both = positive(ours).zip(positive(theirs)).filter(|_| redefined.is_none());
    let harm = both.map(|(ours, theirs)| figure.bad().harm(ours, theirs));
    let row = Row {
        figure,
        unit: figure.unit(),
        before: ours,
        now: theirs,
        change: harm.map(|harm| figure.bad().change(harm)),
        limit: limit_of(figure, limits),
        interval: None,
        n: [before.n(figure), now.n(figure)],
        finding: Finding::Inconclusive,
        doubt: redefined.or_else(|| harm.is_none().then(|| "one side has no value".to_owned())),
    };
    (row, harm)
}

/// Why a figure cannot be held against its namesake: it means something else.
fn redefined(figure: Figure, before: &Evidence, now: &Evidence) -> Option<String> {
    let (then, today) = (before.definition(figure)?, now.definition(figure)?);
    (then != today).then(|| {
        format!("the baseline measured `{then}`, this run `{today}`, which means something else: compare runs of one version")
    })
}

fn by_value(figure: Figure, limits: &Limits, before: &Evidence, now: &Evidence) -> Row {
    let (mut row, harm) = compared(figure, limits, before, now);
    let Some(harm) = harm else { return row };
    row.finding = if harm > figure.bad().limit(row.limit) { Finding::Regression } else { Finding::Pass };
    let fewest = row.n[0].min(row.n[1]);
    if fewest < figure.enough() {
        let what = match figure.bad() {
            Bad::Higher if fewest < 100 => "; a p99 of so few is their maximum",
            _ => "",
        };
        row.doubt = Some(format!("{fewest} samples where {} are needed{what}", figure.enough()));
    }
    row
}

fn by_interval(figure: Figure, limits: &Limits, before: &[&Evidence], now: &Evidence) -> Row {
    let (mut row, harm) = compared(figure, limits, before[0], now);
    let Some(harm) = harm else { return row };
    let bad = figure.bad();
    let alike: Vec<&Evidence> =
        before.iter().copied().filter(|one| redefined(figure, one, now).is_none()).collect();
    let bounds = match bounds(figure, &alike, now) {
        Ok(bounds) => bounds,
        Err(why) => {
            row.doubt = Some(why);
            return row;
        }
    };
    let most = bad.limit(row.limit);
    let (one, other) = (bad.change(bounds.low), bad.change(bounds.high));
    row.interval = Some(Interval {
        low: one.min(other),
        high: one.max(other),
        detectable: bad.change(bounds.detectable),
        method: bounds.method,
    });
    row.finding = if bounds.low > 0.0 && harm > most {
        Finding::Regression
    } else if bounds.high <= most {
        Finding::Pass
    } else {
        row.doubt = Some("the change is neither beyond the limit nor within it for certain".to_owned());
        Finding::Inconclusive
    };
    row
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};
    use st_harness::journal::Environment;

    use super::*;
    use crate::{
        baseline::evidence::{Point, RunFacts, Samples},
        config::PerfGate,
    };

    /// A run of `n` requests with these figures: ttft p99, e2e p99, requests per second.
    pub(crate) fn evidence(ttft: f64, e2e: f64, rps: f64, n: u64) -> Evidence {
        let point = |value: f64| Point { value: Some(value), n, definition: "figure/1".to_owned() };
        Evidence {
            run: RunFacts {
                run_id: "0192".to_owned(),
                started_at: jiff::Timestamp::UNIX_EPOCH,
                commit: None,
                optimised: true,
                environment: Environment::default(),
                requested: Value::Null,
                effective: Value::Null,
            },
            trial_id: "perf::daily::chat".to_owned(),
            workload: "w".to_owned(),
            figures: [
                (Figure::TtftP99, point(ttft)),
                (Figure::E2eP99, point(e2e)),
                (Figure::RequestsPerSecond, point(rps)),
                (Figure::FailureRatio, point(0.0)),
            ]
            .into(),
            samples: None,
        }
    }

    fn seed000() -> PerfGate {
        PerfGate::default()
    }

    fn interval() -> PerfGate {
        PerfGate { policy: Policy::Interval, ..PerfGate::default() }
    }

    fn of(gate: &PerfGate, before: &Evidence, now: &Evidence) -> Decision {
        decide(gate, &[before], now)
    }

    fn row(decision: &Decision, figure: Figure) -> &Row {
        decision.rows.iter().find(|row| row.figure == figure).expect("every figure has its row")
    }

    #[test]
    fn seed000_fails_what_is_worse_by_more_than_its_limit_and_nothing_else() {
        let before = evidence(0.2, 2.0, 10.0, 400);
        for (now, expected) in [
            (evidence(0.23, 2.0, 10.0, 400), Finding::Regression),
            (evidence(0.206, 2.0, 10.0, 400), Finding::Pass),
            (evidence(0.2, 2.3, 10.0, 400), Finding::Regression),
            (evidence(0.2, 2.0, 9.4, 400), Finding::Regression),
            (evidence(0.2, 2.0, 9.6, 400), Finding::Pass),
            (evidence(0.1, 1.0, 20.0, 400), Finding::Pass),
        ] {
            let decision = of(&seed000(), &before, &now);
            assert_eq!(decision.finding, expected, "{:?}", decision.rows);
        }
        let decision = of(&seed000(), &before, &evidence(0.23, 2.0, 10.0, 400));
        let ttft = row(&decision, Figure::TtftP99);
        assert!((ttft.change.expect("a change") - 0.15).abs() < 1e-9);
        assert_eq!(
            (ttft.finding, row(&decision, Figure::E2eP99).finding),
            (Finding::Regression, Finding::Pass)
        );
    }

    #[test]
    fn seed000_decides_on_few_samples_and_says_what_that_is_worth() {
        let decision = of(&seed000(), &evidence(0.2, 2.0, 10.0, 96), &evidence(0.25, 2.0, 10.0, 16));
        assert_eq!(decision.finding, Finding::Regression);
        assert_eq!(
            row(&decision, Figure::TtftP99).doubt.as_deref(),
            Some("16 samples where 299 are needed; a p99 of so few is their maximum")
        );
        let many = of(&seed000(), &evidence(0.2, 2.0, 10.0, 400), &evidence(0.2, 2.0, 10.0, 400));
        assert!(many.rows.iter().all(|row| row.doubt.is_none()));
    }

    #[test]
    fn a_figure_is_not_held_against_one_of_another_meaning() {
        let (before, mut now) = (evidence(0.1, 1.0, 10.0, 200), evidence(0.9, 1.0, 10.0, 200));
        assert_eq!(of(&seed000(), &before, &now).finding, Finding::Regression);
        now.figures.get_mut(&Figure::TtftP99).unwrap().definition = "figure/2".to_owned();
        for gate in [seed000(), interval()] {
            let decision = of(&gate, &before, &now);
            let row = row(&decision, Figure::TtftP99);
            assert_eq!((row.finding, row.change), (Finding::Inconclusive, None));
            let doubt = row.doubt.as_deref().unwrap();
            assert!(doubt.starts_with("the baseline measured `figure/1`, this run `figure/2`"), "{doubt}");
        }
    }

    #[test]
    fn failures_are_judged_without_a_baseline_too() {
        let mut now = evidence(0.2, 2.0, 10.0, 16);
        assert_eq!(decide(&seed000(), &[], &now).finding, Finding::NoBaseline);
        now.figures.insert(
            Figure::FailureRatio,
            Point { value: Some(0.0625), n: 16, definition: "failure_ratio/1".to_owned() },
        );
        assert_eq!(decide(&seed000(), &[], &now).finding, Finding::Regression);
    }

    #[test]
    fn an_unoptimised_client_is_refused_on_either_side() {
        let good = evidence(0.2, 2.0, 10.0, 400);
        let mut slow = good.clone();
        slow.run.optimised = false;
        for (before, now, which) in [(&good, &slow, "this client"), (&slow, &good, "the baseline's client")] {
            let decision = of(&seed000(), before, now);
            assert_eq!(decision.finding, Finding::Refused);
            assert!(decision.refused.as_deref().is_some_and(|why| why.starts_with(which)), "{decision:?}");
        }
    }

    #[test]
    fn another_machine_is_shown_and_refused_only_where_that_is_asked_for() {
        let before = evidence(0.2, 2.0, 10.0, 400);
        let mut now = before.clone();
        now.run.environment =
            Environment { observed: [("cpus".to_owned(), json!(8))].into(), hash: "8".into() };
        let shown = of(&seed000(), &before, &now);
        assert_eq!((shown.finding, shown.differs.len()), (Finding::Pass, 1));
        let strict = PerfGate { strict_environment: true, ..seed000() };
        let refused = of(&strict, &before, &now);
        assert_eq!(refused.finding, Finding::Inconclusive);
        assert!(refused.refused.expect("a reason").contains("environment.cpus nothing → 8"));
        assert_eq!(of(&strict, &before, &before).finding, Finding::Pass);
    }

    #[test]
    fn interval_does_not_decide_on_few_samples() {
        let decision = of(&interval(), &evidence(0.2, 2.0, 10.0, 400), &evidence(0.4, 4.0, 5.0, 16));
        assert_eq!(decision.finding, Finding::Inconclusive);
        assert_eq!(
            row(&decision, Figure::TtftP99).doubt.as_deref(),
            Some("16 samples are too few: ttft p99 needs 299")
        );
    }

    /// Requests one after another, each with a time to first token round `ms`.
    fn sampled(ms: f64, n: usize) -> Evidence {
        let wobble = |i: usize| 1.0 + 0.02 * (((i * 7919) % 101) as f64 / 101.0 - 0.5);
        let ttft: Vec<f64> = (0..n).map(|i| ms / 1e3 * wobble(i)).collect();
        let e2e: Vec<f64> = ttft.iter().map(|ttft| ttft * 10.0).collect();
        let samples = Samples { gaps: e2e.clone(), ttft, e2e };
        let p99 = |values: &[f64]| {
            crate::perf::quantile::Sorted::new(values.to_vec()).quantile(0.99).expect("some")
        };
        let rate = n as f64 / samples.e2e.iter().sum::<f64>();
        let figures = evidence(p99(&samples.ttft), p99(&samples.e2e), rate, n as u64);
        Evidence { samples: Some(samples), ..figures }
    }

    #[test]
    fn interval_decides_on_the_requests_of_two_runs() {
        let before = sampled(100.0, 500);
        for (ms, expected) in [(100.0, Finding::Pass), (102.0, Finding::Pass), (115.0, Finding::Regression)] {
            let decision = of(&interval(), &before, &sampled(ms, 500));
            assert_eq!(decision.finding, expected, "{ms}: {:#?}", decision.rows);
            let interval = row(&decision, Figure::TtftP99).interval.expect("bounds");
            assert_eq!(interval.method, Method::Requests);
            assert!(
                interval.low <= interval.high && (0.0..0.05).contains(&interval.detectable),
                "{interval:?}"
            );
        }
    }

    #[test]
    fn interval_rests_on_earlier_runs_where_there_are_enough() {
        let history: Vec<Evidence> = [0.20, 0.21, 0.19, 0.2, 0.205, 0.195, 0.2, 0.2]
            .iter()
            .map(|ttft| evidence(*ttft, ttft * 10.0, 2.0 / ttft, 400))
            .collect();
        let history: Vec<&Evidence> = history.iter().collect();
        let found = |ttft: f64| decide(&interval(), &history, &evidence(ttft, ttft * 10.0, 2.0 / ttft, 400));
        assert_eq!(found(0.25).finding, Finding::Regression);
        let same = found(0.2);
        let interval = row(&same, Figure::TtftP99).interval.expect("bounds");
        assert_eq!(interval.method, Method::Runs);
        // Runs that differ by ± 5 % cannot show that a change is within 5 %.
        assert_eq!(row(&same, Figure::RequestsPerSecond).finding, Finding::Inconclusive);
        assert!((0.05..0.12).contains(&interval.detectable), "{interval:?}");
    }
}
