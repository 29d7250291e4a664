//! Reports are pure functions of the journal and of the files that it names: one file a format, each a [`Report`].
//! A new format is one file here (or in the domain) and one line where the session is built. Every format shows
//! every planned trial, or says what it left out.
//! Must not know how a run is carried out.
//!
//! 报告：日志的纯函数，一种格式一个文件。

use camino::Utf8PathBuf;

use crate::journal::RunRecord;

mod files;
mod github;
mod json;
mod junit;
mod markdown;
#[cfg(test)]
mod tests;
pub mod text;
mod trials_csv;

pub use files::{FileError, Files};
pub use github::Github;
pub use json::Json;
pub use junit::Junit;
pub use markdown::Markdown;
pub use trials_csv::TrialsCsv;

/// A format in which a run can be read.
pub trait Report: Send + Sync {
    /// Its name, for messages: `junit`.
    fn name(&self) -> &'static str;

    /// The documents it is made of. Pure: no clock, no environment, and of the disk only what trials left, through
    /// `files`; so that the same run gives the same documents again, whenever and wherever that is.
    ///
    /// # Errors
    /// A sentence that says what in the record could not be rendered.
    fn render(&self, run: &RunRecord, files: &Files) -> Result<Vec<Document>, String>;
}

/// A file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where, relative to the run folder.
    pub path: Utf8PathBuf,
    /// What.
    pub text: String,
}

impl Document {
    /// `text` as the file `path`.
    pub fn new(path: impl Into<Utf8PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// The reports that need no knowledge of the domain. `folder` is the run folder as seen from the root of the
/// project: where a CI looks for attachments.
pub fn standard(folder: impl Into<Utf8PathBuf>) -> Vec<Box<dyn Report>> {
    vec![
        Box::new(Junit::attachments_below(folder)),
        Box::new(TrialsCsv),
        Box::new(Json),
        Box::new(Markdown),
        Box::new(Github),
    ]
}
