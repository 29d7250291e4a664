//! `perf/<trial>.json`: everything about one measured trial in one document, values over time and distributions of
//! windows included: [`PerfJson`]. Of a trial that was interrupted it tells what its sidecar holds. Must not know how
//! a figure is computed.
//!
//! ```text
//! schema     {name: "perf", major, minor}
//! trial_id, verdict (null: interrupted), seed, workload {key, hash}
//! figures    [measurements]: of the journal, or computed of the sidecar where the trial never finished
//! warmup     [measurements] of the warm-up, which is in no other figure
//! details    the suite's own record, perf/1: outcomes, steps, validity, the server's counts beside ours…
//! over_time  {interval_ns, from, buckets: […]}
//! windows    {interval_ns, windows: [{from_ns, histograms: {ttft: {unit, digits, bins}, …}}]}
//! gauges     [readings of the server's /metrics]
//! ```
//!
//! 单个性能试验的完整 JSON。

use serde::Serialize;
use serde_json::Value;
use st_harness::{
    journal::{RunRecord, TrialRecord, TrialState},
    report::{Document, Files, Report},
    verdict::{Details, Measurement, Verdict, Workload},
};

use crate::{
    perf::{
        record::Record,
        series::{Series, Window, windows},
        server::Reading,
        summary::Summary,
    },
    report::perf_csv::records,
};

/// Writes `perf/<trial id with . for ::>.json`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerfJson;

/// Length of a bucket of the values over time, where the case does not say.
const BUCKET_NS: u64 = 1_000_000_000;
/// Length of a window with whole distributions.
const WINDOW_NS: u64 = 10_000_000_000;

#[derive(Serialize)]
struct Whole<'a> {
    schema: Schema,
    trial_id: &'a str,
    verdict: Option<Verdict>,
    seed: Option<u64>,
    workload: Option<&'a Workload>,
    figures: Vec<Measurement>,
    warmup: Vec<Measurement>,
    details: Option<&'a Value>,
    over_time: Series,
    windows: Windows,
    gauges: Vec<Reading>,
}

#[derive(Serialize)]
struct Schema {
    name: &'static str,
    major: u32,
    minor: u32,
}

#[derive(Serialize)]
struct Windows {
    interval_ns: u64,
    windows: Vec<Window>,
}

impl Report for PerfJson {
    fn name(&self) -> &'static str {
        "perf_json"
    }

    fn render(&self, run: &RunRecord, files: &Files) -> Result<Vec<Document>, String> {
        let measured = run.trials.iter().filter(|trial| trial.planned.kind == "perf");
        let mut documents = Vec::new();
        for trial in measured {
            if let Some(sidecars) = Sidecars::of(trial, files)? {
                let text = serde_json::to_string(&Whole::of(trial, &sidecars)).map_err(|e| e.to_string())?;
                let path = format!("perf/{}.json", trial.id().as_str().replace("::", "."));
                documents.push(Document::new(path, text + "\n"));
            }
        }
        Ok(documents)
    }
}

/// What a trial left.
struct Sidecars {
    records: Vec<Record>,
    gauges: Vec<Reading>,
}

impl Sidecars {
    /// Nothing where the trial measured nothing.
    fn of(trial: &TrialRecord, files: &Files) -> Result<Option<Self>, String> {
        Self::read(trial, files).map_err(|error| format!("{}: {error}", trial.id()))
    }

    fn read(trial: &TrialRecord, files: &Files) -> Result<Option<Self>, String> {
        match &trial.state {
            TrialState::Interrupted { sidecar: Some(path) } => {
                // It may have been killed before its first line.
                let requests = files.begun(path).unwrap_or_default();
                let gauges = files.begun(&path.with_file_name("gauges.jsonl")).unwrap_or_default();
                let lines = requests.split_inclusive('\n').map(|line| Ok::<_, String>(line.to_owned()));
                Ok(Some(Self { records: sorted(lines)?, gauges: readings(&gauges)? }))
            }
            TrialState::Finished(finished) => {
                let artifact = |role: &str| finished.artifacts.iter().find(|one| one.role == role);
                let Some(requests) = artifact("requests") else { return Ok(None) };
                let lines = files.lines(requests).map_err(|error| error.to_string())?;
                let gauges = artifact("gauges").map(|artifact| files.text(artifact)).transpose();
                let gauges = gauges.map_err(|error| error.to_string())?.unwrap_or_default();
                Ok(Some(Self { records: sorted(lines)?, gauges: readings(&gauges)? }))
            }
            TrialState::Interrupted { sidecar: None } | TrialState::NotRun => Ok(None),
        }
    }
}

/// The requests in the order of sending.
fn sorted<E: std::fmt::Display>(
    lines: impl Iterator<Item = Result<String, E>>,
) -> Result<Vec<Record>, String> {
    let shrunk = |record: Result<Record, String>| {
        record.map(|mut record| {
            record.events.shrink_to_fit();
            record
        })
    };
    let mut records = records(lines).map(shrunk).collect::<Result<Vec<_>, _>>()?;
    records.sort_by_key(|record| record.index);
    Ok(records)
}

fn readings(text: &str) -> Result<Vec<Reading>, String> {
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(serde_json::from_str).collect::<Result<_, _>>().map_err(|error| format!("gauges: {error}"))
}

impl<'a> Whole<'a> {
    fn of(trial: &'a TrialRecord, sidecars: &Sidecars) -> Self {
        let records = &sidecars.records;
        let finished = trial.finished();
        let figures = match finished {
            Some(finished) => finished.measurements.clone(),
            None => Summary::of(records).measurements,
        };
        Self {
            schema: Schema { name: "perf", major: 1, minor: 0 },
            trial_id: trial.id().as_str(),
            verdict: finished.map(|finished| finished.verdict),
            seed: finished.and_then(|finished| finished.seed),
            workload: finished.and_then(|finished| finished.workload.as_ref()),
            figures,
            warmup: warmup(records),
            details: finished.and_then(|finished| Some(&finished.details.as_ref()?.value)),
            over_time: Series::of(records, bucket(finished.and_then(|finished| finished.details.as_ref()))),
            windows: Windows { interval_ns: WINDOW_NS, windows: windows(records, WINDOW_NS) },
            gauges: sidecars.gauges.clone(),
        }
    }
}

/// The length of a bucket that the case asked for.
fn bucket(details: Option<&Details>) -> u64 {
    let said = details.and_then(|details| details.value.pointer("/spec/bucket_interval_ns")?.as_u64());
    said.unwrap_or(BUCKET_NS)
}

/// The latencies of the warm-up, beside which those of the measured requests can be held: cold and warm.
fn warmup(records: &[Record]) -> Vec<Measurement> {
    let warm = records.iter().filter(|record| record.warmup).cloned();
    let measured: Vec<Record> = warm.map(|record| Record { warmup: false, ..record }).collect();
    let figures = Summary::of(&measured).measurements.into_iter();
    figures.filter(|figure| figure.unit == "s" && figure.value.is_some()).collect()
}
