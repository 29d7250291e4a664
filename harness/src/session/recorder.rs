//! Where a running session tells what happens: [`Recorder`] appends to the journal, lets the listener see it, and
//! remembers whether the journal could be written. Must not know what the events mean.
//!
//! 事件记录器。

use std::sync::{Arc, OnceLock};

use crate::{
    folder::FolderError,
    journal::{Event, Journal, RunRecord},
    verdict::Verdict,
};

/// Sees every event as it is written.
pub(crate) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// The journal of a running session.
pub(crate) struct Recorder {
    journal: Journal,
    listener: Option<Listener>,
    broken: OnceLock<String>,
}

impl Recorder {
    pub(crate) fn new(journal: Journal, listener: Option<Listener>) -> Self {
        Self { journal, listener, broken: OnceLock::new() }
    }

    /// Appends `event`. A journal that cannot be written does not stop the run: what follows is kept in memory,
    /// the reports are tried all the same, and the run ends as errored.
    pub(crate) fn append(&self, event: Event) {
        let event = self.journal.masked(event);
        if let Some(listener) = &self.listener {
            listener(&event);
        }
        if let Err(error) = self.journal.append(event) {
            self.remember(&error);
        }
    }

    fn remember(&self, error: &FolderError) {
        if self.broken.set(error.to_string()).is_ok() {
            super::say(&format!("error: {error}; the run goes on, and its reports are still tried"));
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    /// The run so far; nothing before its first event.
    pub(crate) fn record(&self) -> Option<RunRecord> {
        self.journal.record()
    }

    /// The verdict of every trial that is over.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let trials = self.record().map(|record| record.trials).unwrap_or_default();
        trials.iter().filter_map(|trial| Some(trial.finished()?.verdict)).collect()
    }
}
