//! What a run is called and where it leaves its files: [`Plan`]. Must not know what is tested.
//!
//! 运行计划：名称、目录与门禁。

use std::{collections::BTreeMap, sync::Arc};

use camino::Utf8PathBuf;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    folder::{FolderError, RunFolder},
    gate::Gates,
    host::{Host, Runner},
    journal::{Journal, Tool},
    redact::Redactor,
    session::Stages,
};

/// The circumstances of a run, as the caller has settled them.
#[derive(Debug, Clone)]
pub struct Plan {
    /// This tool, for the record.
    pub tool: Tool,
    /// The run's id; [`Plan::run_id`] makes one.
    pub run_id: String,
    /// The run that started this one as its child.
    pub parent_run: Option<String>,
    /// The scenario's name, for the record.
    pub scenario: String,
    /// What the run is called in the record: `pr`, `daily`.
    pub run_type: String,
    /// Which case files a suite that goes by run types takes: `smoke`, `pr`, `daily`.
    pub selects: String,
    /// Where the run leaves its files.
    pub folder: Utf8PathBuf,
    /// The folder above it in which a link `latest` shall point at it.
    pub latest_in: Option<Utf8PathBuf>,
    /// How many trials at once, where the arguments do not say.
    pub threads: usize,
    /// What the run as a whole must keep to.
    pub gates: Gates,
    /// What bounds its stages.
    pub stages: Stages,
    /// Who started this process.
    pub host: Host,
    /// What must not leave.
    pub redactor: Arc<Redactor>,
    /// The command line, for the record; it passes the redactor too.
    pub argv: Vec<String>,
    /// The environment variables that have a say, for the record; they pass the redactor too.
    pub variables: BTreeMap<String, String>,
    /// By what trials are held against earlier ones, for the record.
    pub terms: Value,
}

impl Plan {
    /// The id of a run that starts now: nextest's where it runs us (all its processes are one run), else a new
    /// UUIDv7, which sorts by time.
    pub fn run_id(host: &Host) -> String {
        match &host.runner {
            Runner::NextestRun { run_id, .. } => run_id.clone(),
            Runner::Whole | Runner::NextestList => Uuid::now_v7().to_string(),
        }
    }

    /// Opens this process's journal: under nextest each process writes one of its own.
    pub(crate) fn open_journal(&self, folder: &RunFolder) -> Result<Journal, FolderError> {
        match &self.host.runner {
            Runner::NextestRun { attempt_id, .. } => Journal::open_for(folder, attempt_id),
            Runner::Whole | Runner::NextestList => Journal::open(folder),
        }
    }
}
