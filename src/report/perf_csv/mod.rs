//! The tables that users of acs-bench read: [`PerfSummary`] writes `perf/summary_*.csv`, one row a measured trial, and
//! [`PerfRequests`] `perf/requests_*.csv`, one row a measured request. Must not know how a figure is computed: it was,
//! and stands in the journal.
//!
//! 与 acs-bench 同名同表头的 CSV：汇总与逐请求。

mod columns;
mod dictionary;
mod requests;
mod row;
#[cfg(test)]
mod tests;

use st_harness::{
    journal::RunRecord,
    report::{Document, Files, Report},
};

use columns::COLUMNS;
pub use dictionary::dictionary;
pub(super) use requests::records;
use row::{Row, rows};

/// Writes `perf/summary_{provider}_{control_method}_{concurrency_backend}_{time}.csv`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerfSummary;

/// Writes `perf/requests_{provider}_{dataset_type}_{control_method}_concurrency{N}_{concurrency_backend}_input{L}_output{M}_{time}.csv`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerfRequests;

impl Report for PerfSummary {
    fn name(&self) -> &'static str {
        "perf_summary"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let mut tables: Vec<(String, Vec<Row<'_>>)> = Vec::new();
        for row in rows(run) {
            let name = row.summary_name();
            match tables.iter_mut().find(|(known, _)| *known == name) {
                Some((_, rows)) => rows.push(row),
                None => tables.push((name, vec![row])),
            }
        }
        let header = COLUMNS.iter().map(|column| column.name.to_owned()).collect();
        tables
            .into_iter()
            .map(|(name, rows)| {
                let lines = rows.iter().map(|row| COLUMNS.iter().map(|column| column.text(row)).collect());
                table(format!("perf/{name}.csv"), std::iter::once(Vec::clone(&header)).chain(lines))
            })
            .collect()
    }
}

impl Report for PerfRequests {
    fn name(&self) -> &'static str {
        "perf_requests"
    }

    fn render(&self, run: &RunRecord, files: &Files) -> Result<Vec<Document>, String> {
        let mut taken = Vec::new();
        let mut documents = Vec::new();
        for row in rows(run) {
            let Some(artifact) = row.requests() else { continue };
            let lines =
                files.lines(artifact).map_err(|error| format!("{}: {error}", row.finished.trial_id))?;
            let text = requests::table(records(lines))
                .map_err(|error| format!("{}: {}: {error}", row.finished.trial_id, artifact.path))?;
            documents.push(Document::new(row::free(&row.requests_name(), &mut taken), text));
        }
        Ok(documents)
    }
}

/// `lines`, the header among them, as a file.
fn table(
    path: impl Into<camino::Utf8PathBuf>,
    lines: impl Iterator<Item = Vec<String>>,
) -> Result<Document, String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for line in lines {
        csv.write_record(line).map_err(|error| error.to_string())?;
    }
    let bytes = csv.into_inner().map_err(|error| error.to_string())?;
    Ok(Document::new(path, String::from_utf8(bytes).map_err(|error| error.to_string())?))
}
