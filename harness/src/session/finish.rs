//! The end of a run: the last event, the reports, and what a person is told.
//! Must not know any format.
//!
//! 收尾：最后事件、报告与提示。

use std::{collections::BTreeMap, io::Write as _};

use crate::{
    exit::Exit,
    folder::RunFolder,
    host::{GitHub, Runner},
    journal::{Event, RunFinished, RunRecord, TrialState},
    report::{Document, Files, Github, Markdown, Report},
    session::{Plan, recorder::Recorder, say},
    verdict::Verdict,
};

/// Closes the journal, writes the reports and says where they lie.
pub(crate) fn finish(
    plan: &Plan,
    reports: &[Box<dyn Report>],
    folder: &RunFolder,
    recorder: &Recorder,
    interrupted: bool,
) -> Exit {
    let exit = if interrupted { Exit::Interrupted } else { Exit::of(recorder.verdicts()) };
    recorder.append(Event::RunFinished(RunFinished { exit_code: exit.code(), interrupted }));
    if matches!(plan.host.runner, Runner::NextestRun { .. }) {
        // Each process has seen one trial: the reports are made of all journals, by `report DIR`.
        return worst(exit, recorder.is_broken());
    }
    let Some(record) = recorder.record() else { return worst(exit, true) };
    let mut broken = recorder.is_broken();
    let files = Files::below([folder.path()]);
    for document in documents(reports, &record, &files, &mut broken) {
        if let Err(error) = folder.write(document.path.as_str(), &document.text) {
            say(&format!("error: {error}"));
            broken = true;
        } else if let Some(github) = &plan.host.github {
            publish(github, &document, folder);
        }
    }
    if let Some(line) = skips(&record) {
        say(&line);
    }
    say(&format!("reports: {}", folder.path()));
    worst(exit, broken)
}

fn documents(
    reports: &[Box<dyn Report>],
    record: &RunRecord,
    files: &Files,
    broken: &mut bool,
) -> Vec<Document> {
    let mut all = Vec::new();
    for report in reports {
        match report.render(record, files) {
            Ok(documents) => all.extend(documents),
            Err(message) => {
                say(&format!("error: the {} report could not be made: {message}", report.name()));
                *broken = true;
            }
        }
    }
    all
}

/// A run whose record or reports could not be written is not green.
fn worst(exit: Exit, broken: bool) -> Exit {
    if broken && matches!(exit, Exit::Ok | Exit::Inconclusive) { Exit::Errored } else { exit }
}

/// GitHub reads annotations from standard output, and the summary from a file of its own.
fn publish(github: &GitHub, document: &Document, folder: &RunFolder) {
    let text = folder.redactor().redact(&document.text);
    if document.path == Github::FILE {
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    if let (true, Some(path)) = (document.path == Markdown::FILE, &github.step_summary) {
        let appended = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        if let Err(error) = appended {
            say(&format!("warning: cannot append to the step summary {path}: {error}"));
        }
    }
}

/// A skip is a decision worth seeing: how many, for which reasons.
fn skips(record: &RunRecord) -> Option<String> {
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    for trial in &record.trials {
        if let TrialState::Finished(finished) = &trial.state
            && finished.verdict == Verdict::Skipped
        {
            let reason = finished.reasons.first().map_or("no reason", |reason| reason.summary.as_str());
            *by_reason.entry(reason).or_default() += 1;
        }
    }
    let total: u64 = by_reason.values().sum();
    let list: Vec<String> = by_reason.iter().map(|(reason, count)| format!("  {count} × {reason}")).collect();
    (total > 0).then(|| format!("{total} skipped:\n{}", list.join("\n")))
}
