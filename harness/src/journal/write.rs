//! Appends events: [`Journal`]. Must not know what they mean.
//!
//! 追加写日志。

use crate::{folder::FolderError, folder::RunFolder, journal::Event};

/// The open journal of a run. Shared by all threads; one line is written and flushed at a time.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Starts `journal.jsonl` in `folder`; appends where there is one.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(folder: &RunFolder) -> Result<Self, FolderError> {
        let _ = folder;
        Ok(Self {})
    }

    /// Appends one event, and flushes it. The event is kept in memory too, so that a full disk loses no report.
    ///
    /// # Errors
    /// When the line could not be written whole.
    pub fn append(&self, event: Event) -> Result<(), FolderError> {
        let _ = event;
        Ok(())
    }

    /// What the run is so far: the same value that reading the file back gives.
    pub fn record(&self) -> crate::journal::RunRecord {
        unreachable!("skeleton")
    }
}
