//! What a journal says, read back: [`RunRecord`]. Must not know any report.
//!
//! 由日志还原的运行记录。

use camino::Utf8PathBuf;

use crate::{
    case::TrialId,
    journal::{Event, Planned, RunFinished, RunStarted, TrialFinished},
    verdict::Note,
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
    /// Gates over the run, as [`Event::GateDecided`].
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

impl TrialRecord {
    /// The trial's id.
    pub fn id(&self) -> &TrialId {
        &self.planned.trial_id
    }
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

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No such file, or no permission.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Written by a newer tool.
    #[error(
        "{path}:{line}: journal schema {found} is not known here (this build reads {known}); use a newer build"
    )]
    Schema {
        /// The file.
        path: Utf8PathBuf,
        /// From 1.
        line: usize,
        /// Its major version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A line that is no event, and not the torn last one of a killed process.
    #[error("{path}:{line}: not a journal line: {message}")]
    Line {
        /// The file.
        path: Utf8PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// An empty journal, or one that does not begin with `RunStarted`.
    #[error("{path}: the journal does not begin with RunStarted")]
    NoStart {
        /// The file.
        path: Utf8PathBuf,
    },
}
