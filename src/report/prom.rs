//! `metrics.prom`: the run's figures in Prometheus text, by [`Prometheus`]. Must not know who pushes it.
//!
//! Prometheus 文本报告；缺失的值不导出。

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use st_harness::{
    journal::{RunRecord, TrialFinished, TrialState},
    report::{Document, Files, Report},
    verdict::{Measurement, Verdict},
};

use crate::report::families::{Distribution, Families, Labels};

/// Writes `metrics.prom`.
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
        let mut families = Families::new(&self.prefix)?;
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
                "perf" => perf(&mut families, &labels, finished),
                "accuracy" => accuracy(&mut families, &labels, finished),
                _ => {}
            }
        }
        functional(&mut families, &of_run, run);
        Ok(vec![Document { path: "metrics.prom".into(), text: families.encode()? + &left_out }])
    }
}

/// The latencies: measurement, family, HELP.
const LATENCIES: [(&str, &str, &str); 4] = [
    ("ttft", "ttft", "Time to first token, per successful request."),
    ("tpot", "tpot", "Time per output token after the first event, per successful request."),
    ("e2e", "e2e", "Time from start to the last token, per successful request."),
    (
        "ttst",
        "time_between_first_and_second_token",
        "Time between the first and the second output token, per successful request.",
    ),
];

/// The quantiles that are exported of each of them.
const QUANTILES: [(&str, f64); 4] = [("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// The figures of one value: measurement, family, HELP.
const RATES: [(&str, &str, &str); 4] = [
    (
        "total_token_throughput",
        "total_token_throughput_tokens_per_second",
        "Prompt and output tokens of successful requests per second.",
    ),
    (
        "output_token_throughput",
        "output_token_throughput_tokens_per_second",
        "Output tokens of successful requests per second.",
    ),
    ("requests_per_second", "requests_per_second", "Successful requests per second."),
    ("failure_ratio", "failure_ratio", "Share of requests that failed, from 0 to 1."),
];

/// Above this a failure ratio is high.
const HIGH_FAILURE: f64 = 0.2;

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

fn find<'a>(finished: &'a TrialFinished, name: &str, stat: &str) -> Option<&'a Measurement> {
    finished.measurements.iter().find(|figure| figure.name == name && figure.stat == stat)
}

fn value(finished: &TrialFinished, name: &str, stat: &str) -> Option<f64> {
    find(finished, name, stat)?.value
}

fn perf(families: &mut Families, labels: &Labels, finished: &TrialFinished) {
    for (name, family, help) in LATENCIES {
        if let Some(told) = distribution(finished, name) {
            families.summary(&format!("{family}_seconds"), help, labels, &told);
        }
        for (stat, suffix, which) in
            [("mean", "avg", "Mean"), ("max", "max", "Largest"), ("min", "min", "Smallest")]
        {
            let help = format!("{which} of {family}_seconds.");
            families.gauge(&format!("{family}_{suffix}_seconds"), &help, labels, value(finished, name, stat));
        }
    }
    for (name, family, help) in RATES {
        families.gauge(family, help, labels, value(finished, name, "value"));
    }
    let high =
        value(finished, "failure_ratio", "value").map(|ratio| f64::from(u8::from(ratio > HIGH_FAILURE)));
    families.gauge(
        "high_failure_ratio",
        "1 where more than 20 % of the requests failed, else 0.",
        labels,
        high,
    );
}

/// A latency as a summary; nothing where nothing was measured.
fn distribution(finished: &TrialFinished, name: &str) -> Option<Distribution> {
    let sum = find(finished, name, "sum")?;
    let quantiles =
        QUANTILES.iter().filter_map(|&(stat, q)| Some((q, value(finished, name, stat)?))).collect();
    Some(Distribution { quantiles, sum: sum.value?, count: sum.n })
}

fn accuracy(families: &mut Families, labels: &Labels, finished: &TrialFinished) {
    let score = value(finished, "score", "value");
    families.gauge("accuracy_score", "Share of right answers, from 0 to 1.", labels, score);
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
        if let TrialState::Finished(finished) = &trial.state {
            match finished.verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed | Verdict::Errored | Verdict::Invalid => counts.failed += 1,
                Verdict::Inconclusive | Verdict::Skipped | Verdict::Blocked => {}
            }
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
}

#[cfg(test)]
mod tests;
