//! What is taken of one measured trial to compare it with another: [`Evidence`]. Reads the trial's per-request rows
//! where a policy asks for them. Must not judge.
//!
//! 单次测量的证据：指标、样本、机器与服务。

use std::collections::BTreeMap;

use camino::Utf8Path;
use jiff::Timestamp;
use serde_json::Value;
use st_harness::{
    journal::{Environment, RunRecord, TrialFinished},
    verdict::Measurement,
};

use super::Figure;
use crate::perf::record::Record;

/// One trial's figures, and the circumstances they were measured in.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Whose run it was.
    pub run: RunFacts,
    /// The trial.
    pub trial_id: String,
    /// SHA-256 of the workload's key: only equal ones are compared.
    pub workload: String,
    /// The figures that the journal holds.
    pub figures: BTreeMap<Figure, Point>,
    /// The requests behind them, where they were read.
    pub samples: Option<Samples>,
}

/// What a comparison wants to know of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFacts {
    /// UUIDv7.
    pub run_id: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The commit, where there was one.
    pub commit: Option<String>,
    /// Whether the client was built with optimisation.
    pub optimised: bool,
    /// The machine that measured.
    pub environment: Environment,
    /// What was asked of the server.
    pub requested: Value,
    /// What the server said of itself.
    pub effective: Value,
}

/// A figure, how many samples it rests on, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The figure, where there is one.
    pub value: Option<f64>,
    /// Samples.
    pub n: u64,
    /// The definition it was measured by: `ttft/2`.
    pub definition: String,
}

/// The successful measured requests of a trial, in the order of sending; seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Time to first token of each.
    pub ttft: Vec<f64>,
    /// Time to last token of each.
    pub e2e: Vec<f64>,
    /// How long after the one before it each ended, within its epoch, in the order of ending.
    pub gaps: Vec<f64>,
}

impl RunFacts {
    /// Of a run.
    pub fn of(run: &RunRecord) -> Self {
        let started = &run.started;
        Self {
            run_id: started.run_id.clone(),
            started_at: run.started_at,
            commit: started.git.as_ref().map(|git| git.commit.clone()),
            optimised: started.tool.optimised,
            environment: started.environment.clone(),
            requested: started.requested.clone(),
            effective: run.effective.clone().unwrap_or(Value::Null),
        }
    }
}

impl Evidence {
    /// Of `trial`, part of `run`; nothing where it exercised no workload, so that nothing can be compared with it.
    pub fn of(run: &RunRecord, trial: &TrialFinished) -> Option<Self> {
        let workload = trial.workload.as_ref()?.hash.clone();
        let figures = Figure::ALL.into_iter().filter_map(|figure| {
            let found = find(&trial.measurements, figure)?;
            Some((figure, Point { value: found.value, n: found.n, definition: found.definition.clone() }))
        });
        let facts = RunFacts::of(run);
        // Where a tool measured, how our client was built does not matter.
        let optimised = facts.optimised || trial.measurements.iter().any(is_tools);
        Some(Self {
            run: RunFacts { optimised, ..facts },
            trial_id: trial.trial_id.to_string(),
            workload,
            figures: figures.collect(),
            samples: None,
        })
    }

    /// The same with the requests of `trial`, whose artifacts lie below `folder`, where they can be read.
    #[must_use]
    pub fn with_samples(mut self, trial: &TrialFinished, folder: &Utf8Path) -> Self {
        let rows = trial.artifacts.iter().find(|artifact| artifact.role == "requests");
        let text = rows.and_then(|rows| std::fs::read_to_string(folder.join(&rows.path)).ok());
        self.samples = text.as_deref().and_then(Samples::read);
        self
    }

    /// A figure's value.
    pub fn value(&self, figure: Figure) -> Option<f64> {
        self.figures.get(&figure)?.value
    }

    /// The definition that a figure was measured by.
    pub fn definition(&self, figure: Figure) -> Option<&str> {
        Some(&self.figures.get(&figure)?.definition)
    }

    /// How many samples a figure rests on.
    pub fn n(&self, figure: Figure) -> u64 {
        self.figures.get(&figure).map_or(0, |point| point.n)
    }
}

impl Samples {
    /// From the lines of `requests.jsonl`; nothing where one of them is not understood.
    fn read(text: &str) -> Option<Self> {
        let records: Result<Vec<Record>, _> = text.lines().map(serde_json::from_str).collect();
        let mut records = records.ok()?;
        records.retain(|record| !record.warmup && record.is_ok());
        records.sort_by_key(|record| record.index);
        let seconds = |ns: u64| ns as f64 / 1e9;
        let mut ended: Vec<(u32, u64)> =
            records.iter().map(|record| (record.epoch, record.ended.0)).collect();
        ended.sort_unstable();
        // What lies between two epochs is no load.
        let within = |pair: &&[(u32, u64)]| pair[0].0 == pair[1].0;
        let gaps = ended.windows(2).filter(within).map(|pair| seconds(pair[1].1 - pair[0].1)).collect();
        Some(Self {
            ttft: records.iter().filter_map(Record::ttft).map(seconds).collect(),
            e2e: records.iter().filter_map(Record::e2e).map(seconds).collect(),
            gaps,
        })
    }
}

/// Whether somebody else's tool measured it, and not our client.
fn is_tools(figure: &Measurement) -> bool {
    figure.source.starts_with("tool:")
}

/// The figure over the whole trial: where several bear its name, the one without labels.
fn find(measurements: &[Measurement], figure: Figure) -> Option<&Measurement> {
    let (name, stat) = figure.measurement();
    let named = |one: &&Measurement| {
        one.name == name && one.stat == stat && (one.source == "client" || is_tools(one))
    };
    let mut all = measurements.iter().filter(named);
    let first = all.next()?;
    match first.labels.is_empty() {
        true => Some(first),
        false => Some(all.find(|one| one.labels.is_empty()).unwrap_or(first)),
    }
}
