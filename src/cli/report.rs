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
    report::{self, Files, Report},
};

use super::fail;
use crate::report::{Html, Prometheus};

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
    reports.push(Box::new(Prometheus::new(&args.metric_prefix)));
    reports.push(Box::new(Html));
    let files = Files::below(&args.runs);
    for report in reports {
        for document in report.render(&record, &files)? {
            folder.write(&document.path, &document.text).map_err(|error| error.to_string())?;
        }
    }
    Ok(record)
}

/// `12 trials: 10 passed, 1 failed, 1 interrupted`.
fn tally(record: &RunRecord) -> String {
    let counts = record.counts();
    let words = Status::WORST_FIRST.into_iter().rev().filter(|status| counts.get(*status) > 0);
    let list: Vec<String> = words.map(|status| format!("{} {}", counts.get(status), status.word())).collect();
    format!("{} trials: {}", counts.planned, list.join(", "))
}
