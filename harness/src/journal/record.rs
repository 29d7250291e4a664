//! What a journal says, read back: [`RunRecord`]. Must not know any report.
//!
//! 由日志还原的运行记录。

use camino::Utf8PathBuf;

use crate::{
    case::TrialId,
    diag::Place,
    journal::{Event, Planned, RunFinished, RunStarted, TrialFinished},
    verdict::{Artifact, Measurement, Note, Reason},
};

/// One run, or several merged ones.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its first event.
    pub started: RunStarted,
    /// When, on the wall clock.
    pub started_at: jiff::Timestamp,
    /// From the first to the last event, in nanoseconds.
    pub duration_ns: u64,
    /// What the server said of itself, where it became ready.
    pub effective: Option<serde_json::Value>,
    /// What was known of the server.
    pub capabilities: crate::capability::Capabilities,
    /// In the order in which they were planned.
    pub trials: Vec<TrialRecord>,
    /// Notes about the run as a whole.
    pub notes: Vec<Note>,
    /// Gates over the run and over its trials, as [`Event::GateDecided`].
    pub gates: Vec<Event>,
    /// Its last event; absent where the run was killed.
    pub finished: Option<RunFinished>,
}

/// One planned trial and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialRecord {
    /// As planned.
    pub planned: Planned,
    /// What became of it.
    pub state: TrialState,
    /// What else was told of it.
    pub notes: Vec<Note>,
}

/// What became of a planned trial.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialState {
    /// The run ended before its turn.
    NotRun,
    /// It was started and never finished: the process was killed. What was measured until then is in the sidecar.
    Interrupted {
        /// Relative to the run folder.
        sidecar: Option<Utf8PathBuf>,
    },
    /// It finished.
    Finished(Box<TrialFinished>),
}

impl TrialRecord {
    /// The trial's id.
    pub fn id(&self) -> &TrialId {
        &self.planned.trial_id
    }

    /// How it finished, where it did.
    pub fn finished(&self) -> Option<&TrialFinished> {
        match &self.state {
            TrialState::Finished(finished) => Some(finished),
            TrialState::NotRun | TrialState::Interrupted { .. } => None,
        }
    }

    /// Why it is not simply passed, one for each thing that did not hold; a trial that never finished says so.
    pub fn reasons(&self) -> Vec<Reason> {
        match &self.state {
            TrialState::Finished(finished) => finished.reasons.clone(),
            TrialState::NotRun => vec![Reason::new("not-run", "the run ended before its turn")],
            TrialState::Interrupted { sidecar: None } => {
                vec![Reason::new("interrupted", "it started and never finished: the run was cut short")]
            }
            TrialState::Interrupted { sidecar: Some(sidecar) } => vec![Reason::new(
                "interrupted",
                format!(
                    "it started and never finished: the run was cut short; what it measured is in {sidecar}"
                ),
            )],
        }
    }

    /// The line to look at: that of the first reason that has one, else that of the case.
    pub fn place(&self) -> Option<&Place> {
        let of_reason =
            self.finished().and_then(|one| one.reasons.iter().find_map(|reason| reason.place.as_ref()));
        of_reason.or(self.planned.place.as_ref())
    }

    /// Nanoseconds inside its lane; nothing where it never ran, or never finished.
    pub fn duration_ns(&self) -> Option<u64> {
        self.finished().and_then(|finished| finished.duration_ns)
    }

    /// What was measured.
    pub fn measurements(&self) -> &[Measurement] {
        self.finished().map_or(&[], |finished| &finished.measurements)
    }

    /// Files it left.
    pub fn artifacts(&self) -> &[Artifact] {
        self.finished().map_or(&[], |finished| &finished.artifacts)
    }
}
