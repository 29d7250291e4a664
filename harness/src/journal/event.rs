//! The events of a journal, as they stand in `journal.jsonl`: one [`Envelope`] a line.
//! Must not know who writes or reads them.
//!
//! 日志事件的线上格式。

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    capability::{Capabilities, CapabilityId},
    case::{ExpandedCase, TrialId},
    diag::Place,
    verdict::{Artifact, Details, Measurement, Note, Observation, Reason, Verdict, Workload},
};

/// The version of the journal's shape. A reader refuses an unknown major, and keeps unknown events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Changes when an old reader would be misled.
    pub major: u32,
    /// Changes when something was added.
    pub minor: u32,
}

impl Schema {
    /// What this crate writes.
    pub const CURRENT: Self = Self { major: 1, minor: 2 };
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The shape of this line.
    pub schema: Schema,
    /// Counts up by one from line to line, from 0.
    pub seq: u64,
    /// Wall clock, for people.
    pub at: Timestamp,
    /// Nanoseconds since the run started, on the monotonic clock.
    pub t_ns: u64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// First line.
    RunStarted(Box<RunStarted>),
    /// One for each selected trial, skips too, before the first of them starts.
    TrialPlanned(Planned),
    /// The thing under test answers.
    ServerReady {
        /// What it says of itself.
        effective: Value,
        /// What is known of it.
        capabilities: Capabilities,
    },
    /// A trial is inside its lane.
    TrialStarted {
        /// Which.
        trial_id: TrialId,
        /// Where its per-request rows go while it runs, relative to the run folder.
        sidecar: Option<String>,
    },
    /// Something worth telling of a trial, or of the run.
    Note {
        /// Which trial; absent for the run.
        trial_id: Option<TrialId>,
        /// What.
        note: Note,
    },
    /// A trial is over.
    TrialFinished(Box<TrialFinished>),
    /// A gate was decided, over the whole run or over one trial.
    GateDecided {
        /// `max_skipped`, `required_capabilities`; `baseline`.
        gate: String,
        /// The trial that it decided; absent for the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trial_id: Option<TrialId>,
        /// How.
        verdict: Verdict,
        /// Why.
        reasons: Vec<Reason>,
        /// The numbers it was decided on.
        numbers: Value,
    },
    /// Last line.
    RunFinished(RunFinished),
}

impl Event {
    /// The names of all events of this version, as they stand in a line.
    pub const NAMES: [&str; 8] = [
        "RunStarted",
        "TrialPlanned",
        "ServerReady",
        "TrialStarted",
        "Note",
        "TrialFinished",
        "GateDecided",
        "RunFinished",
    ];
}

/// Who ran what, where, against what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// UUIDv7.
    pub run_id: String,
    /// The run that started this one as its child.
    pub parent_run: Option<String>,
    /// The scenario's name.
    pub scenario: String,
    /// `smoke`, `pr`, `daily`; a run without one is labelled `pr` but runs `smoke`.
    pub run_type: String,
    /// The commit of the tree that was run, where there is one.
    pub git: Option<Git>,
    /// This tool.
    pub tool: Tool,
    /// The command line, masked.
    pub argv: Vec<String>,
    /// Environment variables that had a say, masked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// The machine that measures.
    pub environment: Environment,
    /// What was asked of the server.
    pub requested: Value,
    /// By what its trials are held against earlier ones: policy and limits, for whoever compares it later.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub terms: Value,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// Full hash.
    pub commit: String,
    /// Branch, where the head is on one.
    pub branch: Option<String>,
    /// Whether tracked files differ from it.
    pub dirty: bool,
}

/// The build that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `vllm-cibench`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it was built with optimisation: an unoptimised client measures itself.
    pub optimised: bool,
}

/// What was seen of the machine that measures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Name → value: `os`, `arch`, `cpus`, `memory_bytes`, `host`…
    pub observed: BTreeMap<String, Value>,
    /// SHA-256 of `observed`, hex.
    pub hash: String,
}

/// A selected trial, and whether it will run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The trial.
    pub trial_id: TrialId,
    /// Its id without matrix values.
    pub case_id: String,
    /// `functional`, `perf`, `accuracy`, `setup`, `gate`.
    pub kind: String,
    /// The suite's file name: `chat_core`.
    pub suite: String,
    /// What it is about.
    pub about: Option<String>,
    /// Free labels.
    pub tags: Vec<String>,
    /// What the server must be able to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_capabilities: Vec<CapabilityId>,
    /// Where it stands.
    pub place: Option<Place>,
    /// The matrix values.
    pub values: Map<String, Value>,
    /// SHA-256 of the resolved spec; absent for `setup` and `gate`.
    pub case_hash: Option<String>,
}

/// A trial that is over, skipped ones too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialFinished {
    /// The trial.
    pub trial_id: TrialId,
    /// From 1; the runner (nextest) may repeat a trial.
    pub attempt: u32,
    /// How it ended.
    pub verdict: Verdict,
    /// Why, where it is not simply passed.
    pub reasons: Vec<Reason>,
    /// Nanoseconds inside the lane; null where it never ran.
    pub duration_ns: Option<u64>,
    /// What was exercised.
    pub workload: Option<Workload>,
    /// The seed of everything random in it.
    pub seed: Option<u64>,
    /// What was measured.
    pub measurements: Vec<Measurement>,
    /// The suite's own record.
    pub details: Option<Details>,
    /// Files it left.
    pub artifacts: Vec<Artifact>,
}

impl Planned {
    /// A trial that no file asks for, of the kind that its id begins with.
    pub fn bare(id: &TrialId) -> Self {
        Self {
            trial_id: id.clone(),
            case_id: id.to_string(),
            kind: id.kind().to_owned(),
            suite: id.kind().to_owned(),
            about: None,
            tags: Vec::new(),
            required_capabilities: Vec::new(),
            place: None,
            values: Map::new(),
            case_hash: None,
        }
    }

    /// The trial `id` of a case.
    pub fn of_case(id: &TrialId, case: &ExpandedCase) -> Self {
        Self {
            case_id: case.case_id.to_string(),
            suite: case.file.to_string(),
            about: case.head.about.clone(),
            tags: case.head.tags.clone(),
            required_capabilities: case.head.required_capabilities.clone(),
            place: case.origin.place(""),
            values: case.values.clone(),
            case_hash: Some(case.hash().to_owned()),
            ..Self::bare(id)
        }
    }
}

impl TrialFinished {
    /// What `observation` says of a trial; `took` is nothing where it never ran.
    pub fn of(trial_id: TrialId, attempt: u32, observation: Observation, took: Option<Duration>) -> Self {
        let (verdict, reasons) = observation.outcome.into_verdict();
        Self {
            trial_id,
            attempt,
            verdict,
            reasons,
            duration_ns: took.and_then(|took| u64::try_from(took.as_nanos()).ok()),
            workload: observation.workload,
            seed: observation.seed,
            measurements: observation.measurements,
            details: observation.details,
            artifacts: observation.artifacts,
        }
    }
}

/// How the run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFinished {
    /// What the process returned, or would have under the command.
    pub exit_code: u8,
    /// Ctrl-C or SIGTERM.
    pub interrupted: bool,
}
