//! One measured trial as the tables see it: [`Row`]. It decodes the suite's own record, `perf/1`. Must not know any
//! column.
//!
//! 一个性能试验对应的一行。

use camino::Utf8Path;
use serde_json::Value;
use st_harness::{
    journal::{RunRecord, TrialFinished, TrialState},
    verdict::{Artifact, Verdict},
};

use crate::perf::definitions::Definition;

/// A finished performance trial of a run.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    run: &'a RunRecord,
    pub(super) finished: &'a TrialFinished,
}

/// The performance trials of `run` that measured something, in the order of the run.
pub(super) fn rows(run: &RunRecord) -> impl Iterator<Item = Row<'_>> {
    run.trials.iter().filter(|trial| trial.planned.kind == "perf").filter_map(move |trial| {
        match &trial.state {
            TrialState::Finished(finished) if finished.workload.is_some() => Some(Row { run, finished }),
            _ => None,
        }
    })
}

impl<'a> Row<'a> {
    /// A measured figure. Of a trial that is invalid, or that was not carried out to its end, there is none: a table
    /// has no place for the reason, and a reader would take the number for one.
    pub(super) fn figure(&self, of: &Definition, stat: &str) -> Option<f64> {
        let trusted =
            matches!(self.finished.verdict, Verdict::Passed | Verdict::Failed | Verdict::Inconclusive);
        let is_it = |m: &&st_harness::verdict::Measurement| m.definition == of.id && m.stat == stat;
        self.finished.measurements.iter().find(is_it).filter(|_| trusted)?.value
    }

    /// What the workload says at a JSON pointer.
    pub(super) fn key(&self, pointer: &str) -> Option<String> {
        let (name, rest) =
            pointer.strip_prefix('/')?.split_once('/').unwrap_or((pointer.strip_prefix('/')?, ""));
        let value = self.finished.workload.as_ref()?.key.get(name)?;
        scalar(if rest.is_empty() { value } else { value.pointer(&format!("/{rest}"))? })
    }

    /// What the suite's record says at a JSON pointer.
    pub(super) fn detail(&self, pointer: &str) -> Option<String> {
        scalar(self.value(pointer)?)
    }

    fn value(&self, pointer: &str) -> Option<&'a Value> {
        let details = self.finished.details.as_ref().filter(|details| details.schema == "perf/1")?;
        details.value.pointer(pointer)
    }

    /// How many epochs were begun.
    pub(super) fn rounds(&self) -> Option<String> {
        Some(self.value("/epochs")?.as_array()?.len().to_string())
    }

    /// When the first measured request was sent, by the wall clock.
    pub(super) fn executed_at(&self) -> Option<String> {
        let wall: jiff::Timestamp = self.value("/clock/wall")?.as_str()?.parse().ok()?;
        let passed =
            self.value("/clock/stamp_ns")?.as_i64()? - self.value("/epochs/0/opened_ns")?.as_i64()?;
        let opened = wall.checked_sub(jiff::SignedDuration::from_nanos(passed)).ok()?;
        Some(opened.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    /// The name that stands for the server in tables.
    pub(super) fn provider(&self) -> String {
        let started = &self.run.started;
        let named = started.requested.get("provider").and_then(Value::as_str);
        named.unwrap_or(&started.scenario).to_owned()
    }

    /// The one that stands for it in file names.
    fn provider_id(&self) -> String {
        let id = self.run.started.requested.get("provider_id").and_then(Value::as_str);
        id.map_or_else(|| self.provider(), str::to_owned)
    }

    /// The backend that carried the load: what really ran, not what was asked for.
    pub(super) fn concurrency_backend(&self) -> String {
        self.detail("/concurrency_backend").unwrap_or_else(|| "unknown".to_owned())
    }

    /// When the run began, as file names have it: the same in every report of the run.
    fn time(&self) -> String {
        self.run.started_at.strftime("%Y%m%d_%H%M%S").to_string()
    }

    /// `summary_{provider}_{control_method}_{concurrency_backend}_{time}`.
    pub(super) fn summary_name(&self) -> String {
        let parts = ["summary".to_owned(), self.provider_id(), self.named("/control_method")];
        name(parts.into_iter().chain([self.concurrency_backend(), self.time()]))
    }

    /// `requests_{provider}_{dataset_type}_{control_method}_concurrency{N}_{concurrency_backend}_input{L}_output{M}_{time}`.
    pub(super) fn requests_name(&self) -> String {
        name([
            "requests".to_owned(),
            self.provider_id(),
            self.named("/dataset"),
            self.named("/control_method"),
            format!("concurrency{}", self.named("/concurrency")),
            self.concurrency_backend(),
            format!("input{}", self.named("/input_len")),
            format!("output{}", self.named("/output_len")),
            self.time(),
        ])
    }

    fn named(&self, pointer: &str) -> String {
        self.key(pointer).unwrap_or_else(|| "none".to_owned())
    }

    /// The file with its requests.
    pub(super) fn requests(&self) -> Option<&'a Artifact> {
        self.finished.artifacts.iter().find(|artifact| artifact.role == "requests")
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Parts of a file's name; what no file system or shell likes becomes a dash.
fn name(parts: impl IntoIterator<Item = String>) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    parts.into_iter().map(|part| part.chars().map(legal).collect::<String>()).collect::<Vec<_>>().join("_")
}

/// A path below `perf/` that is not yet in `taken`: of two trials that would bear the same name the later one gets a
/// number.
pub(super) fn free(name: &str, taken: &mut Vec<String>) -> camino::Utf8PathBuf {
    let mut path = format!("perf/{name}.csv");
    for number in 2.. {
        if !taken.contains(&path) {
            break;
        }
        path = format!("perf/{name}_{number}.csv");
    }
    taken.push(path.clone());
    Utf8Path::new(&path).to_owned()
}
