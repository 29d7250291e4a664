//! What came of a trial: a suite returns an [`Observation`], whose [`Outcome`] becomes the [`Verdict`] that every
//! report shows. Must not know libtest, JUnit or exit codes: each of those maps from here.
//!
//! 试验结果：观察、结论与理由。

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::diag::Place;

/// The one word that is said of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was expected held.
    Passed,
    /// An expectation or a gate did not hold.
    Failed,
    /// The trial could not be carried out: transport, deadline, panic, a fault of ours.
    Errored,
    /// It was carried out, but what it measured cannot be trusted.
    Invalid,
    /// It was carried out, and does not decide the question.
    Inconclusive,
    /// It was not carried out, for a reason that is nobody's fault.
    Skipped,
    /// It was not carried out because the server never became ready.
    Blocked,
}

/// Why a trial is not simply passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A short class, in `[a-z0-9-]`: `status`, `timeout`, `transport`, `panic`, `capability`.
    pub kind: String,
    /// One line.
    pub summary: String,
    /// All that helps: snippet, expected and actual, excerpt, how to repeat it. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The line in the user's file that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Reason {
    /// A reason of one line.
    pub fn new(kind: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { kind: kind.into(), summary: summary.into(), detail: String::new(), place: None }
    }

    /// The same with its long text.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same with the line that asked for it.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

/// At least one reason: a red trial always says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasons {
    first: Reason,
    rest: Vec<Reason>,
}

impl Reasons {
    /// One reason.
    pub fn one(reason: Reason) -> Self {
        Self { first: reason, rest: Vec::new() }
    }

    /// All of `reasons`, or nothing where there is none.
    pub fn from_vec(reasons: Vec<Reason>) -> Option<Self> {
        let mut all = reasons.into_iter();
        all.next().map(|first| Self { first, rest: all.collect() })
    }

    /// The first one: what a single line shows.
    pub fn first(&self) -> &Reason {
        &self.first
    }

    /// All of them, in order.
    pub fn into_vec(self) -> Vec<Reason> {
        let mut all = vec![self.first];
        all.extend(self.rest);
        all
    }
}

/// How a trial ended, as the suite sees it. `Blocked` is not among them: only the session knows that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// See [`Verdict::Passed`].
    Passed,
    /// See [`Verdict::Failed`].
    Failed(Reasons),
    /// See [`Verdict::Errored`].
    Errored(Reasons),
    /// See [`Verdict::Invalid`].
    Invalid(Reasons),
    /// See [`Verdict::Inconclusive`].
    Inconclusive(Reasons),
    /// See [`Verdict::Skipped`]: only the live answer showed that it cannot be run.
    Skipped(Reason),
}

/// Something worth telling of a trial that does not decide it: `deviation`, `stale`, `retried`, `degraded`…
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// A short class, in `[a-z0-9-]`.
    pub kind: String,
    /// One line.
    pub text: String,
}

/// One measured figure. Missing is null with a reason, never 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was measured: `ttft`, `score`, `request_duration`.
    pub name: String,
    /// Which figure of it: `p99`, `mean`, `sum`, `value`.
    pub stat: String,
    /// `s`, `tokens/s`, `ratio`, `count`.
    pub unit: String,
    /// The figure.
    pub value: Option<f64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_reason: Option<String>,
    /// How many samples it rests on.
    pub n: u64,
    /// Which definition was used: `ttft/1`.
    pub definition: String,
    /// Who measured: `client`, `server`.
    pub source: String,
    /// What it is about, where one trial measures several things.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub labels: Map<String, Value>,
}

/// The suite's own record; only the suite that owns `schema` decodes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// `perf/1`.
    pub schema: String,
    /// The record.
    pub value: Value,
}

/// A file that a trial left in the run folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is: `exchange`, `requests`, `log`.
    pub role: String,
    /// Where, relative to the run folder.
    pub path: Utf8PathBuf,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Its media type.
    pub media: String,
}

/// What a measured trial exercised, for joining runs: equal keys are comparable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Endpoint, dataset, lengths, concurrency, control method…; not id, count, epochs, warm-up, seed.
    pub key: Map<String, Value>,
    /// SHA-256 of the canonical key, hex.
    pub hash: String,
}

/// All that a suite returns of one trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// How it ended.
    pub outcome: Outcome,
    /// What else is worth telling.
    pub notes: Vec<Note>,
    /// What was measured.
    pub measurements: Vec<Measurement>,
    /// The suite's own record.
    pub details: Option<Details>,
    /// Files left in the run folder.
    pub artifacts: Vec<Artifact>,
    /// What was exercised.
    pub workload: Option<Workload>,
    /// The seed of everything random in it.
    pub seed: Option<u64>,
}

impl Observation {
    /// An observation that says nothing but how it ended.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            notes: Vec::new(),
            measurements: Vec::new(),
            details: None,
            artifacts: Vec::new(),
            workload: None,
            seed: None,
        }
    }
}

impl Outcome {
    /// The word for it, and why.
    pub fn into_verdict(self) -> (Verdict, Vec<Reason>) {
        match self {
            Self::Passed => (Verdict::Passed, Vec::new()),
            Self::Failed(reasons) => (Verdict::Failed, reasons.into_vec()),
            Self::Errored(reasons) => (Verdict::Errored, reasons.into_vec()),
            Self::Invalid(reasons) => (Verdict::Invalid, reasons.into_vec()),
            Self::Inconclusive(reasons) => (Verdict::Inconclusive, reasons.into_vec()),
            Self::Skipped(reason) => (Verdict::Skipped, vec![reason]),
        }
    }
}
