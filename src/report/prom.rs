//! The run's figures for Prometheus, by [`Prometheus`]: `metrics.prom`, text that a Pushgateway takes, and
//! `metrics.om`, OpenMetrics with the time of the run, for back-filling. Must not know who pushes it.
//!
//! Prometheus 文本报告；缺失的值不导出。

pub(crate) mod families;
pub(crate) mod names;
mod openmetrics;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use st_harness::{
    journal::{RunRecord, TrialFinished, TrialState},
    report::{Document, Files, Report},
    verdict::{Measurement, Verdict},
};

use families::{Families, Labels};
use names::{Figures, Rate, Spread};

/// Writes `metrics.prom` and `metrics.om`.
#[derive(Debug, Clone, Default)]
pub struct Prometheus {
    prefix: String,
}

impl Prometheus {
    /// The report whose names begin with `prefix` and an underscore; an empty one adds nothing.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }
}

impl Report for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let exposition = Exposition::of_run(run, &self.prefix)?;
        Ok(vec![
            Document::new("metrics.prom", exposition.text),
            Document::new("metrics.om", exposition.openmetrics),
        ])
    }
}

/// The same figures in both formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposition {
    /// Prometheus text, without times.
    pub text: String,
    /// OpenMetrics, each sample with the time at which it was measured.
    pub openmetrics: String,
}

impl Exposition {
    /// All that a run has to tell.
    ///
    /// # Errors
    /// When `prefix` cannot begin a metric's name.
    pub fn of_run(run: &RunRecord, prefix: &str) -> Result<Self, String> {
        let mut families = Families::new(prefix)?;
        let of_run = run_labels(run);
        let mut told = BTreeSet::new();
        let mut left_out = String::new();
        for (kind, finished) in measured(run) {
            let labels = trial_labels(&of_run, finished);
            if !told.insert((kind, labels.clone())) {
                // Two samples of one series would make the whole text unreadable.
                left_out +=
                    &format!("# {} is left out: an earlier trial has the same labels\n", finished.trial_id);
                continue;
            }
            match kind {
                "perf" => names::perf(&mut families, &labels, finished),
                "accuracy" => accuracy(&mut families, &labels, finished),
                _ => {}
            }
        }
        functional(&mut families, &of_run, run);
        let mut exposition = Self::of_families(&families, ended(run))?;
        exposition.text += &left_out;
        Ok(exposition)
    }

    /// `families` in both formats, as they were measured at `at`.
    ///
    /// # Errors
    /// When a family cannot be written.
    pub(crate) fn of_families(families: &Families, at: Timestamp) -> Result<Self, String> {
        Ok(Self { text: families.text()?, openmetrics: openmetrics::openmetrics(families, at) })
    }

    /// Whether there is no figure in it.
    pub fn is_empty(&self) -> bool {
        self.text.lines().all(|line| line.starts_with('#'))
    }
}

/// When the run was over.
fn ended(run: &RunRecord) -> Timestamp {
    let lasted = i64::try_from(run.duration_ns).map_or(SignedDuration::ZERO, SignedDuration::from_nanos);
    run.started_at.checked_add(lasted).unwrap_or(run.started_at)
}

/// The trials whose figures may be told: a measurement that is invalid, and one that errored, is none.
fn measured(run: &RunRecord) -> impl Iterator<Item = (&str, &TrialFinished)> {
    run.trials.iter().filter_map(|trial| match &trial.state {
        TrialState::Finished(finished)
            if matches!(finished.verdict, Verdict::Passed | Verdict::Failed | Verdict::Inconclusive) =>
        {
            let kind = trial.planned.kind.as_str();
            ["perf", "accuracy"].contains(&kind).then_some((kind, finished.as_ref()))
        }
        _ => None,
    })
}

/// What every sample of the run carries. What is not known is left out.
fn run_labels(run: &RunRecord) -> Labels {
    let started = &run.started;
    let git = started.git.as_ref();
    let asked = |key: &str| started.requested.get(key).and_then(Value::as_str);
    // What the server says of itself comes before what was asked of it.
    let served = run.effective.as_ref().and_then(|effective| effective.get("model")?.as_str());
    let labels = [
        ("model", served.or_else(|| asked("served_model_name")).or_else(|| asked("model"))),
        ("quant", asked("quant")),
        ("scenario", Some(started.scenario.as_str())),
        ("run_type", Some(started.run_type.as_str())),
        ("commit", git.map(|git| git.commit.as_str())),
        ("branch", git.and_then(|git| git.branch.as_deref())),
        ("run_id", Some(started.run_id.as_str())),
    ];
    labels
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|v| !v.is_empty())?.to_owned())))
        .collect()
}

/// What of a trial's workload becomes labels.
const WORKLOAD_LABELS: [&str; 7] =
    ["backend", "dataset", "input_len", "output_len", "concurrency", "control_method", "growth_rate"];

fn trial_labels(of_run: &Labels, finished: &TrialFinished) -> Labels {
    let mut labels = of_run.clone();
    for name in WORKLOAD_LABELS {
        let value = finished.workload.as_ref().and_then(|workload| workload.key.get(name));
        match value {
            Some(Value::String(text)) => _ = labels.insert(name.to_owned(), text.clone()),
            Some(Value::Number(number)) => _ = labels.insert(name.to_owned(), number.to_string()),
            _ => {}
        }
    }
    labels
}

fn find<'a>(finished: &'a TrialFinished, source: &str, name: &str, stat: &str) -> Option<&'a Measurement> {
    let is = |figure: &&Measurement| figure.source == source && figure.name == name && figure.stat == stat;
    finished.measurements.iter().find(|figure| is(figure) && figure.labels.is_empty())
}

impl Figures for TrialFinished {
    fn spread(&self, of: &Spread, stat: &str) -> Option<f64> {
        find(self, of.source, of.measurement, stat)?.value
    }

    fn total(&self, of: &Spread) -> Option<(f64, u64)> {
        let sum = find(self, of.source, of.measurement, "sum").filter(|sum| sum.n > 0)?;
        Some((sum.value?, sum.n))
    }

    fn rate(&self, of: &Rate) -> Option<f64> {
        find(self, "client", of.measurement, "value")?.value
    }
}

fn accuracy(families: &mut Families, labels: &Labels, finished: &TrialFinished) {
    let scores = finished.measurements.iter().filter(|figure| figure.stat == "value");
    for figure in scores {
        let section = figure.labels.get("section").and_then(Value::as_str);
        match (figure.name.as_str(), section) {
            ("score", None) => {
                let help = "Share of right answers, from 0 to 1.";
                families.gauge("accuracy_score", help, labels, figure.value);
            }
            ("score" | "subscore", Some(section)) => {
                let mut labels = labels.clone();
                labels.insert("section".to_owned(), section.to_owned());
                let help = "Share of right answers within a section of the data set, from 0 to 1.";
                families.gauge("accuracy_subscore", help, &labels, figure.value);
            }
            _ => {}
        }
    }
}

/// How the functional trials of one suite ended.
#[derive(Default)]
struct Counts {
    total: u64,
    passed: u64,
    failed: u64,
}

fn functional(families: &mut Families, of_run: &Labels, run: &RunRecord) {
    let mut suites: BTreeMap<&str, Counts> = BTreeMap::new();
    for trial in run.trials.iter().filter(|trial| trial.planned.kind == "functional") {
        let counts = suites.entry(trial.planned.suite.as_str()).or_default();
        counts.total += 1;
        match trial.finished().and_then(|finished| passed(finished.verdict)) {
            Some(true) => counts.passed += 1,
            Some(false) => counts.failed += 1,
            None => {}
        }
    }
    for (suite, counts) in suites {
        let mut labels = of_run.clone();
        labels.insert("suite".to_owned(), suite.to_owned());
        let decided = counts.passed + counts.failed;
        let ratio = (decided > 0).then(|| counts.passed as f64 / decided as f64);
        let help = "Functional cases that passed, of those that passed or failed, by suite.";
        families.gauge("functional_pass_ratio", help, &labels, ratio);
        let help = "Functional cases planned, skipped ones too, by suite.";
        families.count("functional_cases_total", help, &labels, counts.total);
        let help = "Functional cases that failed, by suite.";
        families.gauge("functional_cases_failed", help, &labels, Some(counts.failed as f64));
    }
    if run.started.run_type == DAILY {
        cases(families, of_run, run);
    }
}

/// The run type whose every case is told: a series a case is too much for each change.
const DAILY: &str = "daily";

/// Each case by itself, by the id that runs it again; nothing for one that decided nothing.
fn cases(families: &mut Families, of_run: &Labels, run: &RunRecord) {
    for trial in run.trials.iter().filter(|trial| trial.planned.kind == "functional") {
        let pass = trial.finished().and_then(|finished| passed(finished.verdict));
        let mut labels = of_run.clone();
        labels.insert("suite".to_owned(), trial.planned.suite.clone());
        labels.insert("case_id".to_owned(), trial.id().to_string());
        let help = "1 where the functional case passed, 0 where it failed; none where it was skipped.";
        families.gauge("functional_case_pass", help, &labels, pass.map(|pass| f64::from(u8::from(pass))));
    }
}

/// Whether a functional trial passed; nothing where it decided nothing.
fn passed(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Passed => Some(true),
        Verdict::Failed | Verdict::Errored | Verdict::Invalid => Some(false),
        Verdict::Inconclusive | Verdict::Skipped | Verdict::Blocked => None,
    }
}

#[cfg(test)]
mod tests;
