//! Reports are pure functions of the journal: one file a format, each a [`Report`]. A new format is one file
//! here (or in the domain) and one line where the session is built.
//! Must not know how a run is carried out.
//!
//! 报告：日志的纯函数，一种格式一个文件。

use camino::Utf8PathBuf;

use crate::journal::RunRecord;

/// A format in which a run can be read.
pub trait Report: Send + Sync {
    /// Its name, for messages: `junit`.
    fn name(&self) -> &'static str;

    /// The files it is made of. Pure: no clock, no environment, no disk.
    ///
    /// # Errors
    /// A sentence that says what in the record could not be rendered.
    fn render(&self, run: &RunRecord) -> Result<Vec<Document>, String>;
}

/// A file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where, relative to the run folder.
    pub path: Utf8PathBuf,
    /// What.
    pub text: String,
}
