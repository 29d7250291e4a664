//! `report`: every report again, from the journals alone.
//!
//! `report` 子命令。

use std::sync::Arc;

use camino::Utf8PathBuf;
use st_harness::{
    exit::Exit,
    folder::RunFolder,
    journal::{RunRecord, Status},
    redact::Redactor,
    report::{self, Document, Files, Report},
};

use super::fail;
use crate::report::domain;

/// What `report` is told.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Run folders; several are merged
    #[arg(required = true)]
    runs: Vec<Utf8PathBuf>,
    /// Where the reports go; the run's own folder where there is only one
    #[arg(long, value_name = "DIR")]
    out: Option<Utf8PathBuf>,
    /// Stands before every metric's name
    #[arg(long, value_name = "PREFIX", default_value = "")]
    metric_prefix: String,
}

pub(super) fn report(args: &ReportArgs) -> Exit {
    let out = match (&args.out, args.runs.as_slice()) {
        (Some(out), _) => out,
        (None, [only]) => only,
        (None, _) => {
            return fail(
                Exit::Usage,
                "error: several runs are merged into a folder of their own: name it with --out DIR",
            );
        }
    };
    match make(args, out) {
        Ok(record) => {
            eprintln!("{}", tally(&record));
            eprintln!("reports: {out}");
            Exit::Ok
        }
        Err(message) => fail(Exit::Errored, format!("error: {message}")),
    }
}

fn make(args: &ReportArgs, out: &Utf8PathBuf) -> Result<RunRecord, String> {
    let read = |run: &Utf8PathBuf| RunRecord::read_folder(run).map_err(|error| error.to_string());
    let records = args.runs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let record = RunRecord::merge(records).map_err(|error| error.to_string())?;
    // What a journal holds has passed the redactor of its run.
    let folder = RunFolder::open(out, Arc::new(Redactor::new())).map_err(|error| error.to_string())?;
    let mut reports: Vec<Box<dyn Report>> = report::standard(out);
    reports.extend(domain(&args.metric_prefix));
    let files = Files::below(&args.runs);
    let mut broken = Vec::new();
    for report in reports {
        // One that cannot be made, for want of a file, keeps no other from being made.
        let written = report.render(&record, &files).and_then(|documents| {
            let write = |document: &Document| folder.write(&document.path, &document.text);
            documents.iter().try_for_each(write).map_err(|error| error.to_string())
        });
        broken.extend(written.err().map(|error| format!("the {} report: {error}", report.name())));
    }
    if broken.is_empty() { Ok(record) } else { Err(broken.join("\nerror: ")) }
}

/// `12 trials: 10 passed, 1 failed, 1 interrupted`.
fn tally(record: &RunRecord) -> String {
    let counts = record.counts();
    let words = Status::WORST_FIRST.into_iter().rev().filter(|status| counts.get(*status) > 0);
    let list: Vec<String> = words.map(|status| format!("{} {}", counts.get(status), status.word())).collect();
    format!("{} trials: {}", counts.planned, list.join(", "))
}
