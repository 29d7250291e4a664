//! The laws of the journal: what is appended is what is read back, whatever happens to the process or the disk.
//!
//! 日志的性质测试。

use std::{fs, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;

use super::{sample, *};
use crate::{
    folder::RunFolder,
    redact::Redactor,
    verdict::{Reason, Verdict},
};

fn folder() -> (tempfile::TempDir, RunFolder) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
    let folder = RunFolder::open(path, Arc::new(Redactor::new().secret("hunter22"))).expect("it opens");
    (dir, folder)
}

/// The sample run, written to `folder` as a journal.
fn write_sample(folder: &RunFolder) -> Journal {
    let journal = Journal::open(folder).expect("it opens");
    sample::events().into_iter().for_each(|event| journal.append(event).expect("written"));
    journal
}

fn record_of(events: Vec<Event>) -> RunRecord {
    RunRecord::fold(sample::envelopes(events)).expect("it begins with RunStarted")
}

fn status_of(run: &RunRecord, trial: &str) -> Status {
    run.trials.iter().find(|one| one.id().as_str() == trial).expect(trial).status()
}

fn notes_of<'a>(run: &'a RunRecord, trial: &str) -> Vec<&'a str> {
    let trial = run.trials.iter().find(|one| one.id().as_str() == trial).expect(trial);
    trial.notes.iter().map(|note| note.text.as_str()).collect()
}

fn read(path: &Utf8Path) -> String {
    fs::read_to_string(path).expect("the journal stands")
}

#[test]
fn reading_the_file_back_gives_what_memory_holds() {
    let (_dir, folder) = folder();
    let journal = write_sample(&folder);
    let back = RunRecord::read(journal.path()).expect("readable");
    assert_eq!(Some(back), journal.record());
}

#[test]
fn lines_are_numbered_and_never_go_back_in_time() {
    let (_dir, folder) = folder();
    let journal = write_sample(&folder);
    let lines: Vec<Envelope> =
        read(journal.path()).lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert!(lines.iter().map(|line| line.seq).eq(0..lines.len() as u64));
    assert!(lines.is_sorted_by_key(|line| line.t_ns));
}

#[test]
fn every_status_is_told_of_the_trial_that_has_it() {
    let run = sample::run();
    for (trial, status) in [
        ("functional::chat_core::hello", Status::Passed),
        ("functional::chat_core::top_p::t_0_6", Status::Failed),
        ("functional::chat_core::timeout", Status::Errored),
        ("functional::tools::auto", Status::Skipped),
        ("functional::tools::late", Status::Blocked),
        ("perf::smoke::slow", Status::Invalid),
        ("perf::smoke::unsure", Status::Inconclusive),
        ("perf::smoke::killed", Status::Interrupted),
        ("perf::smoke::never", Status::NotRun),
    ] {
        assert_eq!(status_of(&run, trial), status, "{trial}");
    }
    let counts = run.counts();
    assert_eq!((counts.planned, counts.passed, counts.red()), (10, 2, 4));
    assert_eq!(run.status(), Status::Failed);
    let suites: Vec<_> = run.suites().iter().map(|suite| (suite.name(), suite.trials.len())).collect();
    assert_eq!(
        suites,
        [("functional.chat_core".into(), 3), ("functional.tools".into(), 2), ("perf.smoke".into(), 5)]
    );
}

#[test]
fn a_run_is_passed_only_where_something_passed_and_it_came_to_its_end() {
    let skip = |kind| vec![Reason::new(kind, "why")];
    assert_eq!(sample::run_of(Verdict::Passed, Vec::new()).status(), Status::Passed);
    assert_eq!(sample::run_of(Verdict::Skipped, skip("capability")).status(), Status::Passed);
    assert_eq!(sample::run_of(Verdict::Blocked, skip("blocked")).status(), Status::Blocked);
    let start = Event::RunStarted(Box::new(sample::started()));
    assert_eq!(record_of(vec![start]).status(), Status::Interrupted);
}

#[test]
fn a_secret_reaches_neither_the_file_nor_memory() {
    let (_dir, folder) = folder();
    let journal = Journal::open(&folder).expect("it opens");
    let mut started = sample::started();
    started.argv.push("--api-key=hunter22".to_owned());
    started.requested = serde_json::json!({ "headers": [{ "hunter22": "key hunter22" }] });
    let reason = Reason::new("status", "got hunter22").with_detail("Authorization: Bearer hunter22");
    let mut finished = sample::finished("functional::a::b", Verdict::Failed, vec![reason]);
    finished.details = Some(crate::verdict::Details {
        schema: "functional/1".to_owned(),
        value: serde_json::json!({ "answer": "hunter22", "tokens": 17 }),
    });
    for event in [
        Event::RunStarted(Box::new(started)),
        sample::planned("functional::a::b", 1),
        sample::note(Some("functional::a::b"), "retried", "sent hunter22 again"),
        Event::TrialFinished(Box::new(finished)),
    ] {
        journal.append(event).expect("written");
    }
    let text = read(journal.path());
    assert!(text.contains("***") && text.contains("\"tokens\":17"), "{text}");
    assert!(!text.contains("hunter22"), "{text}");
    assert!(!format!("{:?}", journal.record()).contains("hunter22"));
}

#[test]
fn a_figure_that_is_no_number_is_missing_and_says_why() {
    let (_dir, folder) = folder();
    let journal = Journal::open(&folder).expect("it opens");
    let mut finished = sample::finished("perf::a::b", Verdict::Passed, Vec::new());
    finished.measurements = vec![sample::measurement("p99", Some(f64::NAN))];
    journal.append(Event::RunStarted(Box::new(sample::started()))).expect("written");
    journal.append(Event::TrialFinished(Box::new(finished))).expect("written");
    let run = RunRecord::read(journal.path()).expect("readable");
    assert_eq!(run.trials[0].measurements()[0].value, None);
    let reason = run.trials[0].measurements()[0].null_reason.as_deref();
    assert_eq!(reason, Some("NaN is not a finite number"));
    assert_eq!(Some(run), journal.record());
}

#[test]
fn a_process_killed_in_the_middle_of_a_line_leaves_all_that_finished() {
    let (_dir, folder) = folder();
    let journal = write_sample(&folder);
    let text = read(journal.path());
    let cut = text.find("\"RunFinished\"").expect("the last event");
    fs::write(journal.path(), &text[..cut]).expect("torn");
    let run = RunRecord::read(journal.path()).expect("readable");
    assert_eq!(run.finished, None);
    assert_eq!(status_of(&run, "functional::chat_core::top_p::t_0_6"), Status::Failed);
    assert_eq!(status_of(&run, "perf::smoke::killed"), Status::Interrupted);
    assert!(run.notes.iter().any(|note| note.kind == "journal-torn"), "{:?}", run.notes);
}

#[test]
fn any_cut_of_a_journal_past_its_first_line_can_be_read() {
    let (_dir, folder) = folder();
    let journal = write_sample(&folder);
    let bytes = fs::read(journal.path()).expect("the journal stands");
    let first = bytes.iter().position(|byte| *byte == b'\n').expect("a line");
    for cut in (first + 1..bytes.len()).step_by(37) {
        fs::write(journal.path(), &bytes[..cut]).expect("torn");
        let run = RunRecord::read(journal.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(run.finished, None);
    }
}

#[test]
fn a_torn_line_in_the_middle_is_an_error_with_its_number() {
    let (_dir, folder) = folder();
    let journal = write_sample(&folder);
    let text = read(journal.path());
    let torn: Vec<_> =
        text.lines().enumerate().map(|(i, line)| if i == 3 { &line[..40] } else { line }).collect();
    fs::write(journal.path(), torn.join("\n")).expect("torn");
    let error = RunRecord::read(journal.path()).expect_err("line 4 is torn");
    assert!(matches!(error, JournalError::Line { line: 4, .. }), "{error}");
}

#[test]
fn lines_that_are_missing_are_told() {
    let (_dir, folder) = folder();
    let journal = write_sample(&folder);
    let text = read(journal.path());
    let kept: Vec<_> = text.lines().enumerate().filter(|(i, _)| *i != 3).map(|(_, line)| line).collect();
    fs::write(journal.path(), kept.join("\n")).expect("written");
    let run = RunRecord::read(journal.path()).expect("readable");
    assert!(run.notes.iter().any(|note| note.text == "line 4 has seq 4, expected 3"), "{:?}", run.notes);
}

#[test]
fn an_event_of_a_later_version_is_told_and_passed_over() {
    let (_dir, folder) = folder();
    let journal = write_sample(&folder);
    let later = r#"{"schema":{"major":1,"minor":9},"seq":29,"event":{"GpuSampled":{"watts":300}}}"#;
    fs::write(journal.path(), format!("{}{later}\n", read(journal.path()))).expect("written");
    let run = RunRecord::read(journal.path()).expect("readable");
    let told = "line 30: this build does not know the event GpuSampled";
    assert!(run.notes.iter().any(|note| note.text == told), "{:?}", run.notes);
    assert!(!run.notes.iter().any(|note| note.kind == "journal-gap"), "{:?}", run.notes);
}

#[test]
fn a_journal_of_another_major_version_is_refused() {
    let (_dir, folder) = folder();
    let path = folder.path().join("journal.jsonl");
    fs::write(&path, "{\"schema\":{\"major\":2,\"minor\":0},\"seq\":0,\"event\":{}}\n").expect("written");
    let error = RunRecord::read(&path).expect_err("unknown");
    assert!(error.to_string().contains("journal schema 2 is not known here (this build reads 1)"), "{error}");
    assert!(Journal::open(&folder).is_err());
}

#[test]
fn a_journal_without_a_start_is_refused() {
    let (_dir, folder) = folder();
    let path = folder.path().join("journal.jsonl");
    fs::write(&path, "").expect("written");
    assert!(matches!(RunRecord::read(&path), Err(JournalError::NoStart { .. })));
    assert!(matches!(RunRecord::read(&folder.path().join("none")), Err(JournalError::Io { .. })));
    assert_eq!(Journal::open(&folder).expect("it opens").record(), None);
}

#[test]
fn the_names_of_the_events_are_those_that_are_written() {
    let written: std::collections::BTreeSet<_> = sample::events()
        .into_iter()
        .map(|event| {
            let value = serde_json::to_value(event).expect("JSON");
            value.as_object().and_then(|event| event.keys().next().cloned()).expect("a name")
        })
        .collect();
    assert!(written.iter().map(String::as_str).eq({
        let mut names = Event::NAMES;
        names.sort_unstable();
        names
    }));
}

#[test]
fn opening_a_journal_again_goes_on_behind_its_torn_line() {
    let (_dir, folder) = folder();
    let path = write_sample(&folder).path().to_owned();
    let text = read(&path);
    fs::write(&path, &text[..text.len() - 20]).expect("torn");
    let journal = Journal::open(&folder).expect("it opens");
    journal.append(Event::RunFinished(RunFinished { exit_code: 1, interrupted: true })).expect("written");
    let run = RunRecord::read(&path).expect("readable");
    assert!(run.finished.is_some());
    assert!(run.notes.iter().any(|note| note.kind == "journal-torn"), "{:?}", run.notes);
    assert!(!run.notes.iter().any(|note| note.kind == "journal-gap"), "{:?}", run.notes);
    assert_eq!(Some(run), journal.record());
}

#[test]
fn a_whole_last_line_that_lacks_only_its_end_is_kept() {
    let (_dir, folder) = folder();
    let path = write_sample(&folder).path().to_owned();
    let text = read(&path);
    fs::write(&path, text.trim_end()).expect("written");
    let journal = Journal::open(&folder).expect("it opens");
    journal.append(sample::note(None, "late", "one more")).expect("written");
    assert!(read(&path).starts_with(&text));
    assert_eq!(RunRecord::read(&path).ok(), journal.record());
}

#[test]
fn the_last_attempt_counts_and_an_earlier_one_becomes_a_note() {
    let trial = "functional::chat_core::hello";
    let mut again = sample::finished(trial, Verdict::Passed, Vec::new());
    again.attempt = 2;
    let start = || Event::RunStarted(Box::new(sample::started()));
    let failed = || sample::over(trial, Verdict::Failed, vec![Reason::new("status", "got 500")]);
    let passed = || Event::TrialFinished(Box::new(again.clone()));
    let plan = || sample::planned(trial, 1);
    let first = record_of(vec![start(), plan(), sample::begun(trial), failed()]);
    let mut second = record_of(vec![start(), plan(), sample::begun(trial), passed()]);
    second.started_at += std::time::Duration::from_secs(1);

    let one_process =
        record_of(vec![start(), plan(), sample::begun(trial), failed(), sample::begun(trial), passed()]);
    let merged = RunRecord::merge(vec![second.clone(), first.clone()]).expect("one run");
    for run in [&one_process, &merged] {
        assert_eq!(run.trials.len(), 1);
        assert_eq!(status_of(run, trial), Status::Passed);
        assert_eq!(notes_of(run, trial), ["attempt 1 failed: got 500"]);
    }
    // Clocks may differ: the number of the attempt decides.
    second.started_at = first.started_at - std::time::Duration::from_secs(1);
    let merged = RunRecord::merge(vec![first, second]).expect("one run");
    assert_eq!(status_of(&merged, trial), Status::Passed);
}

#[test]
fn a_trial_that_another_process_finished_is_finished() {
    let (one, two) = ("functional::a::one", "functional::a::two");
    let start = || Event::RunStarted(Box::new(sample::started()));
    let plans = || [sample::planned(one, 1), sample::planned(two, 2)];
    let end = || Event::RunFinished(RunFinished { exit_code: 0, interrupted: false });
    let process = |events: Vec<Event>| record_of([vec![start()], plans().into(), events].concat());
    let first = process(vec![sample::begun(one), sample::over(one, Verdict::Passed, Vec::new()), end()]);
    let second = process(vec![sample::begun(two)]);
    let run = RunRecord::merge(vec![first, second]).expect("one run");
    assert_eq!(
        run.trials.iter().map(TrialRecord::status).collect::<Vec<_>>(),
        [Status::Passed, Status::Interrupted]
    );
    assert_eq!(run.finished, None, "one process never came to its end");
    assert!(run.trials.iter().all(|trial| trial.notes.is_empty()));
}

#[test]
fn journals_of_different_runs_are_not_merged() {
    let other = RunStarted { scenario: "attach".to_owned(), ..sample::started() };
    let records =
        [sample::started(), other].map(|started| record_of(vec![Event::RunStarted(Box::new(started))]));
    let error = RunRecord::merge(records.into()).expect_err("two scenarios");
    assert_eq!(error.to_string(), "journals of different runs cannot be merged: scenario sim and attach");
    assert!(matches!(RunRecord::merge(Vec::new()), Err(JournalError::NothingToMerge)));
}

#[test]
fn a_folder_is_read_with_the_journals_of_all_its_processes() {
    let (_dir, folder) = folder();
    assert!(matches!(RunRecord::read_folder(folder.path()), Err(JournalError::NoJournal { .. })));
    for (writer, trial) in [("a/1", "functional::a::one"), ("b", "functional::a::two")] {
        let journal = Journal::open_for(&folder, writer).expect("it opens");
        for event in [
            Event::RunStarted(Box::new(sample::started())),
            sample::planned(trial, 1),
            sample::over(trial, Verdict::Passed, Vec::new()),
        ] {
            journal.append(event).expect("written");
        }
    }
    fs::write(folder.path().join("journal-c.jsonl"), "{\"sch").expect("torn at once");
    let run = RunRecord::read_folder(folder.path()).expect("readable");
    assert_eq!(run.counts().passed, 2);
    assert!(folder.path().join("journal-a-1.jsonl").is_file());
    assert!(run.notes.iter().any(|note| note.kind == "journal-empty"), "{:?}", run.notes);
}

#[test]
fn what_nobody_planned_is_not_lost() {
    let start = Event::RunStarted(Box::new(sample::started()));
    let run = record_of(vec![start, sample::over("gate::max_skipped", Verdict::Failed, Vec::new())]);
    assert_eq!(status_of(&run, "gate::max_skipped"), Status::Failed);
    assert_eq!(notes_of(&run, "gate::max_skipped"), ["the journal does not plan this trial"]);
}

#[test]
fn threads_that_append_at_once_write_whole_lines() {
    let (_dir, folder) = folder();
    let journal = Journal::open(&folder).expect("it opens");
    journal.append(Event::RunStarted(Box::new(sample::started()))).expect("written");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for i in 0..50 {
                    journal.append(sample::note(None, "n", &format!("{thread} {i}"))).expect("written");
                }
            });
        }
    });
    let run = RunRecord::read(journal.path()).expect("readable");
    assert_eq!(run.notes.len(), 200);
    assert_eq!(Some(run), journal.record());
}

proptest! {
    #[test]
    fn any_text_and_any_number_come_back_as_they_were_kept(
        text in "\\PC*|[\\x00-\\x1f\"\\\\]*",
        figure in any::<f64>(),
        seed in any::<u64>(),
    ) {
        let (_dir, folder) = folder();
        let journal = Journal::open(&folder).expect("it opens");
        let mut finished =
            sample::finished("perf::a::b", Verdict::Failed, vec![Reason::new("x", &text).with_detail(&text)]);
        finished.measurements = vec![sample::measurement("p99", Some(figure))];
        finished.seed = Some(seed);
        journal.append(Event::RunStarted(Box::new(sample::started()))).expect("written");
        journal.append(Event::TrialFinished(Box::new(finished))).expect("written");
        let run = RunRecord::read(journal.path()).expect("readable");
        prop_assert_eq!(Some(run), journal.record());
    }
}
