//! `report`: every report again, from the journals alone; under another baseline or policy, where one is named.
//!
//! `report` 子命令。

use std::{io::Write as _, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::{
    diag::Problems,
    exit::Exit,
    folder::RunFolder,
    gate::decide_again,
    journal::{RunRecord, Status},
    redact::Redactor,
    report::Files,
    terminal,
};

use super::{fail, terms::TermsArgs};
use crate::{baseline::Baseline, console::told, outcome::outcome, report};

/// What `report` is told.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Run folders; several are merged. A folder of `run-matrix` stands for each of its scenarios
    #[arg(required = true)]
    runs: Vec<Utf8PathBuf>,
    /// Where the reports go; the run's own folder where there is only one
    #[arg(long, value_name = "DIR")]
    out: Option<Utf8PathBuf>,
    /// Hold performance against these earlier runs anew
    #[arg(long, value_name = "PATH")]
    baseline: Option<Utf8PathBuf>,
    #[command(flatten)]
    terms: TermsArgs,
    /// Print what came of it as one JSON document
    #[arg(long)]
    json: bool,
    /// Stands before every metric's name
    #[arg(long, value_name = "PREFIX", default_value = "")]
    metric_prefix: String,
}

pub(super) fn report(args: &ReportArgs) -> Exit {
    let scenarios = match args.runs.as_slice() {
        [only] if args.out.is_none() => scenarios(only),
        _ => Vec::new(),
    };
    if !scenarios.is_empty() {
        return Exit::worst(scenarios.iter().map(|folder| one(args, std::slice::from_ref(folder), folder)));
    }
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
    one(args, &args.runs, out)
}

/// The scenarios' folders, where `folder` is that of a matrix: it holds no journal itself.
fn scenarios(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let holds_journal = |folder: &Utf8Path| {
        let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
        entries.into_iter().any(|entry| RunRecord::is_journal(entry.file_name()))
    };
    if holds_journal(folder) {
        return Vec::new();
    }
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    let mut found: Vec<Utf8PathBuf> =
        entries.map(|entry| entry.into_path()).filter(|path| holds_journal(path)).collect();
    found.sort();
    found
}

fn one(args: &ReportArgs, runs: &[Utf8PathBuf], out: &Utf8Path) -> Exit {
    let record = match read(runs).and_then(|record| decided(args, record, &runs[0])) {
        Ok(record) => record,
        Err((exit, message)) => return fail(exit, message),
    };
    match write(args, &record, runs, out) {
        Ok(()) => {
            terminal::say(&tally(&record));
            terminal::say(&format!("reports: {out}"));
            if args.json {
                // A reader that went away is no error.
                let _ = writeln!(std::io::stdout(), "{:#}", outcome(&record, out));
            }
            Exit::Ok
        }
        Err(message) => fail(Exit::Errored, format!("error: {message}")),
    }
}

fn read(runs: &[Utf8PathBuf]) -> Result<RunRecord, (Exit, String)> {
    let read = |run: &Utf8PathBuf| RunRecord::read_folder(run);
    let records = runs.iter().map(read).collect::<Result<Vec<_>, _>>();
    let merged = records.and_then(RunRecord::merge);
    merged.map_err(|error| (Exit::Errored, format!("error: {error}")))
}

/// The record as the gate decides it now, where one is named: the same function that decided it then.
fn decided(args: &ReportArgs, mut record: RunRecord, folder: &Utf8Path) -> Result<RunRecord, (Exit, String)> {
    let Some(baseline) = &args.baseline else {
        return match args.terms.any() {
            true => Err((Exit::Usage, "error: policies and limits need --baseline PATH".to_owned())),
            false => Ok(record),
        };
    };
    let terms = args.terms.of(&record, "the run");
    let terms = terms.map_err(|said| (Exit::Usage, format!("error: {said}")))?;
    if !baseline.exists() {
        return Err((Exit::Usage, format!("error: --baseline: there is no file or folder `{baseline}`")));
    }
    let enforced = record.started.run_type != "daily";
    terminal::say(&format!("held against {baseline} by {}", terms.text()));
    let gate = Baseline::open(terms.gate, baseline, &record.started.scenario, enforced)
        .map_err(|problems| (Exit::Usage, Problems::from(problems).to_string()))?;
    decide_again(&mut record, &gate, folder);
    Ok(record)
}

fn write(args: &ReportArgs, record: &RunRecord, runs: &[Utf8PathBuf], out: &Utf8Path) -> Result<(), String> {
    // What a journal holds has passed the redactor of its run.
    let folder = RunFolder::open(out, Arc::new(Redactor::new())).map_err(|error| error.to_string())?;
    report::write(&folder, record, &Files::below(runs), &args.metric_prefix)
}

/// `12 trials: 10 passed, 1 failed, 1 interrupted`.
fn tally(record: &RunRecord) -> String {
    let counts = record.counts();
    let there = Status::WORST_FIRST.into_iter().rev().filter(|status| counts.get(*status) > 0);
    let list: Vec<String> = there.map(|status| told(counts.get(status), status)).collect();
    format!("{} trials: {}", counts.planned, list.join(", "))
}
