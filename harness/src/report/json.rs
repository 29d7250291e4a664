//! `report.json`: everything that the journal says, in one document: [`Json`]. Must not know how a run is
//! carried out.
//!
//! ```text
//! schema    {name: "report", major, minor}
//! run       {started_at, seconds, started: RunStarted, effective, capabilities, finished (null: killed)}
//! summary   {status, counts: {planned, passed, failed, …}}
//! suites    [{kind, suite, seconds, counts}]
//! trials    [{id, status, seconds, reasons, notes, planned: {…}, finished: {…} | null, sidecar}]
//! gates     [{gate, trial_id (null: over the run), verdict, reasons, numbers}]
//! notes     [{kind, text}] about the run
//! ```
//!
//! JSON 报告：运行的完整记录。

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    capability::Capabilities,
    case::TrialId,
    journal::{
        Counts, Event, Planned, RunFinished, RunRecord, RunStarted, Schema, Status, SuiteTrials,
        TrialFinished, TrialRecord, TrialState,
    },
    report::{Document, Files, Report, text},
    verdict::{Note, Reason, Verdict},
};

/// The version of the document's shape.
const SCHEMA: Schema = Schema { major: 1, minor: 1 };

/// Renders `report.json`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl Report for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let mut text = serde_json::to_string_pretty(&Whole::of(run)).map_err(|error| error.to_string())?;
        text.push('\n');
        Ok(vec![Document::new("report.json", text)])
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    schema: NamedSchema,
    run: Run<'a>,
    summary: Summary,
    suites: Vec<Suite<'a>>,
    trials: Vec<Trial<'a>>,
    gates: Vec<Gate<'a>>,
    notes: &'a [Note],
}

#[derive(Serialize)]
struct NamedSchema {
    name: &'static str,
    major: u32,
    minor: u32,
}

#[derive(Serialize)]
struct Run<'a> {
    started_at: Timestamp,
    seconds: f64,
    started: &'a RunStarted,
    effective: &'a Option<Value>,
    capabilities: &'a Capabilities,
    finished: &'a Option<RunFinished>,
}

#[derive(Serialize)]
struct Summary {
    status: Status,
    counts: Counts,
}

#[derive(Serialize)]
struct Suite<'a> {
    kind: &'a str,
    suite: &'a str,
    seconds: Option<f64>,
    counts: Counts,
}

#[derive(Serialize)]
struct Trial<'a> {
    id: &'a str,
    status: Status,
    seconds: Option<f64>,
    reasons: Vec<Reason>,
    notes: &'a [Note],
    planned: &'a Planned,
    finished: Option<&'a TrialFinished>,
    sidecar: Option<&'a str>,
}

#[derive(Serialize)]
struct Gate<'a> {
    gate: &'a str,
    trial_id: Option<&'a TrialId>,
    verdict: Verdict,
    reasons: &'a [Reason],
    numbers: &'a Value,
}

impl<'a> Whole<'a> {
    fn of(run: &'a RunRecord) -> Self {
        Self {
            schema: NamedSchema { name: "report", major: SCHEMA.major, minor: SCHEMA.minor },
            run: Run {
                started_at: run.started_at,
                seconds: text::seconds(run.duration_ns),
                started: &run.started,
                effective: &run.effective,
                capabilities: &run.capabilities,
                finished: &run.finished,
            },
            summary: Summary { status: run.status(), counts: run.counts() },
            suites: run.suites().iter().map(Suite::of).collect(),
            trials: run.trials.iter().map(Trial::of).collect(),
            gates: run.gates.iter().filter_map(Gate::of).collect(),
            notes: &run.notes,
        }
    }
}

impl<'a> Suite<'a> {
    fn of(suite: &SuiteTrials<'a>) -> Self {
        let seconds = suite.duration_ns().map(text::seconds);
        Self { kind: suite.kind, suite: suite.suite, seconds, counts: suite.counts() }
    }
}

impl<'a> Trial<'a> {
    fn of(trial: &'a TrialRecord) -> Self {
        let sidecar = match &trial.state {
            TrialState::Interrupted { sidecar } => sidecar.as_ref().map(|path| path.as_str()),
            TrialState::NotRun | TrialState::Finished(_) => None,
        };
        Self {
            id: trial.id().as_str(),
            status: trial.status(),
            seconds: trial.duration_ns().map(text::seconds),
            reasons: trial.reasons(),
            notes: &trial.notes,
            planned: &trial.planned,
            finished: trial.finished(),
            sidecar,
        }
    }
}

impl<'a> Gate<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        match event {
            Event::GateDecided { gate, trial_id, verdict, reasons, numbers } => {
                Some(Self { gate, trial_id: trial_id.as_ref(), verdict: *verdict, reasons, numbers })
            }
            _ => None,
        }
    }
}
