//! The reports that know the domain. Each implements the harness's `Report` and is a pure function of the run's
//! record and of the files that its trials left. Must not know how a run is carried out.
//!
//! 领域报告：Prometheus 文本、HTML、性能 CSV 与 JSON 等。

pub(crate) mod commands;
mod html;
mod perf_csv;
mod perf_json;
mod perf_trace;
pub(crate) mod prom;
pub(crate) mod sweeps;
pub(crate) mod turns;

pub use commands::Commands;
pub use html::Html;
pub use perf_csv::{PerfRequests, PerfSummary, dictionary};
pub use perf_json::PerfJson;
pub use perf_trace::PerfTrace;
pub use prom::{Exposition, Prometheus};
use st_harness::{
    folder::RunFolder,
    journal::RunRecord,
    report::{Document, Files, Report},
};
pub use sweeps::PerfSweeps;

/// All of them; metrics begin with `prefix`.
pub fn domain(prefix: &str) -> Vec<Box<dyn Report>> {
    let mut all: Vec<Box<dyn Report>> =
        vec![Box::new(Commands), Box::new(Prometheus::new(prefix)), Box::new(Html)];
    all.extend(of_perf());
    all
}

/// Makes every report of `record`, and writes it to `folder`. One that cannot be made keeps no other from being made.
///
/// # Errors
/// Which reports could not be made or written, and why.
pub fn write(folder: &RunFolder, record: &RunRecord, files: &Files, prefix: &str) -> Result<(), String> {
    let mut reports: Vec<Box<dyn Report>> = st_harness::report::standard(folder.path());
    reports.extend(domain(prefix));
    let written = |report: &dyn Report| {
        let documents = report.render(record, files)?;
        let write = |document: &Document| folder.write(&document.path, &document.text);
        documents.iter().try_for_each(write).map_err(|error| error.to_string())
    };
    let broken: Vec<String> = reports
        .iter()
        .filter_map(|report| {
            Some(format!("the {} report: {}", report.name(), written(report.as_ref()).err()?))
        })
        .collect();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\nerror: ")) }
}

/// Those of measured trials.
fn of_perf() -> Vec<Box<dyn Report>> {
    vec![
        Box::new(PerfSummary),
        Box::new(PerfRequests),
        Box::new(PerfJson),
        Box::new(PerfSweeps),
        Box::new(PerfTrace),
    ]
}
