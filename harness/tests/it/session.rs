//! Whole runs of a toy suite through the session: what is said, what is written, what is returned.
//!
//! 以玩具套件验证完整会话。

use std::time::Duration;

use crate::toy::{Toy, reason_of, verdict_of};
use st_harness::{
    args::{Args, Filter, Ignored},
    exit::Exit,
    gate::Gates,
    journal::TrialState,
    session::Stages,
    verdict::Verdict,
};

const SUMS: &str = "
cases:
  - id: right
    of: [1, 2]
    expect: 3
  - id: wrong
    of: [1, 2]
    expect: 4
  - id: many
    matrix: {n: [1, -2]}
    of: ['${n}', 1]
    expect: any
";

fn named(text: &str) -> Args {
    Args { filter: Filter { text: Some(text.to_owned()), ..Filter::default() }, ..Args::default() }
}

#[test]
fn every_case_is_a_trial_with_its_verdict_in_the_journal_and_a_line_of_libtest() {
    let ran = Toy::new().file("sums", SUMS).run(&Args::default());
    assert_eq!(ran.exit, Exit::Failed);
    assert_eq!(verdict_of(&ran.record, "sum::sums::right"), Verdict::Passed);
    assert_eq!(verdict_of(&ran.record, "sum::sums::wrong"), Verdict::Failed);
    assert_eq!(verdict_of(&ran.record, "sum::sums::many::n_m2"), Verdict::Passed);
    assert!(ran.console.contains("test setup::server"), "{}", ran.console);
    assert!(ran.console.contains("test sum::sums::wrong"), "{}", ran.console);
    assert!(ran.console.contains("test result: FAILED. 4 passed; 1 failed;"), "{}", ran.console);
}

#[test]
fn a_filter_leaves_the_others_out_and_libtest_counts_them() {
    let ran = Toy::new().file("sums", SUMS).run(&named("right"));
    assert_eq!(ran.exit, Exit::Ok);
    assert!(
        ran.console.contains("1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out"),
        "{}",
        ran.console
    );
    assert_eq!(ran.record.trials.len(), 1);
}

#[test]
fn a_filter_that_matches_nothing_is_an_error_and_nothing_is_started() {
    let toy = Toy::new().file("sums", SUMS);
    let started = toy.started();
    assert_eq!(toy.refused(&named("sum::sums::rigth")), Exit::NothingSelected);
    assert!(!started.get());
}

#[test]
fn a_mistake_in_any_file_keeps_everything_from_running() {
    let toy = Toy::new().file("sums", SUMS).file("typo", "cases:\n  - id: a\n    off: [1]\n    expect: 1\n");
    let started = toy.started();
    assert_eq!(toy.refused(&named("right")), Exit::Usage);
    assert!(!started.get());
}

#[test]
fn a_list_starts_nothing_and_names_everything_in_the_order_of_the_run() {
    let toy = Toy::new().file("sums", SUMS).gates(Gates { max_skipped: Some(0), ..Gates::default() });
    let started = toy.started();
    let (exit, console) = toy.listed(&Args { list: true, ..Args::default() });
    assert_eq!(exit, Exit::Ok);
    assert_eq!(
        console,
        "setup::server: test\nsum::sums::right: test\nsum::sums::wrong: test\n\
         sum::sums::many::n_1: test\nsum::sums::many::n_m2: test\ngate::max_skipped: test\n"
    );
    assert!(!started.get());
}

#[test]
fn a_panic_is_errored_and_the_others_run_on() {
    let ran = Toy::new()
        .file(
            "sums",
            "cases:\n  - id: bad\n    of: []\n    expect: panic\n  - id: good\n    of: [1]\n    expect: 1\n",
        )
        .run(&Args::default());
    assert_eq!(ran.exit, Exit::Errored);
    assert_eq!(verdict_of(&ran.record, "sum::sums::good"), Verdict::Passed);
    let reason = reason_of(&ran.record, "sum::sums::bad");
    assert_eq!(reason.kind, "panic");
    assert!(reason.summary.contains("harness/tests/it/toy/mod.rs:"), "{}", reason.summary);
}

#[test]
fn a_deadline_is_errored_and_says_its_limit() {
    let ran = Toy::new()
        .file("sums", "cases:\n  - id: slow\n    timeout: 100ms\n    of: []\n    expect: hang\n")
        .run(&Args::default());
    assert_eq!(ran.exit, Exit::Errored);
    let reason = reason_of(&ran.record, "sum::sums::slow");
    assert_eq!((reason.kind.as_str(), reason.summary.as_str()), ("timeout", "did not finish within 0.1 s"));
}

const NEEDY: &str = "
cases:
  - id: needs_roots
    required_capabilities: [toy.roots]
    of: [1]
    expect: 1
  - id: insists
    required_capabilities: [toy.roots]
    skip_if_unsupported: false
    of: [1]
    expect: 1
";

#[test]
fn a_missing_capability_skips_with_its_reason_and_is_never_red() {
    let ran = Toy::new().without("toy.roots").file("sums", NEEDY).run(&Args::default());
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(verdict_of(&ran.record, "sum::sums::needs_roots"), Verdict::Skipped);
    assert_eq!(verdict_of(&ran.record, "sum::sums::insists"), Verdict::Passed);
    assert!(
        ran.console.contains("ignored (toy.roots is not supported (declared: a calculator without roots))"),
        "{}",
        ran.console
    );
}

#[test]
fn too_many_skips_and_a_missing_required_capability_are_red_by_name() {
    let gates = Gates {
        require_capabilities: vec![st_harness::capability::CapabilityId("toy.roots".to_owned())],
        max_skipped: Some(0),
    };
    let ran = Toy::new().without("toy.roots").gates(gates).file("sums", NEEDY).run(&Args::default());
    assert_eq!(ran.exit, Exit::Failed);
    assert_eq!(
        reason_of(&ran.record, "gate::required_capabilities").summary,
        "toy.roots is unsupported (declared: a calculator without roots)"
    );
    assert_eq!(
        reason_of(&ran.record, "gate::max_skipped").summary,
        "expected at most 0 skipped trials, found 1"
    );
    assert_eq!(ran.record.gates.len(), 2);
}

#[test]
fn what_would_be_skipped_can_be_run_all_the_same_with_the_others_or_alone() {
    let both = Toy::new().without("toy.roots").file("sums", NEEDY);
    let ran = both.run(&Args { ignored: Ignored::Include, ..Args::default() });
    assert_eq!(verdict_of(&ran.record, "sum::sums::needs_roots"), Verdict::Passed);

    let alone = Toy::new().without("toy.roots").file("sums", NEEDY);
    let (_, console) = alone.listed(&Args { list: true, ignored: Ignored::Only, ..Args::default() });
    assert_eq!(console, "sum::sums::needs_roots: test\n");
}

#[test]
fn a_server_that_is_never_ready_is_red_once_and_blocks_the_rest() {
    let ran = Toy::new().broken("no battery").file("sums", SUMS).run(&Args::default());
    assert_eq!(ran.exit, Exit::Errored);
    assert_eq!(reason_of(&ran.record, "setup::server").summary, "no battery");
    assert_eq!(verdict_of(&ran.record, "sum::sums::right"), Verdict::Blocked);
    assert!(ran.console.contains("test result: FAILED. 0 passed; 1 failed; 4 ignored;"), "{}", ran.console);
}

#[test]
fn a_filter_cannot_hide_a_server_that_is_never_ready() {
    let ran = Toy::new().broken("no battery").file("sums", SUMS).run(&named("right"));
    assert_eq!(ran.exit, Exit::Errored);
    assert!(ran.console.contains("test result: FAILED. 0 passed; 1 failed; 1 ignored;"), "{}", ran.console);
}

#[test]
fn the_server_is_taken_down_after_every_run_and_what_is_left_is_told() {
    let toy = Toy::new().leaves("a socket in the drawer").file("sums", SUMS);
    let stopped = toy.stopped();
    let ran = toy.run(&named("right"));
    assert!(stopped.get());
    assert_eq!(ran.exit, Exit::Ok, "a failed clean-up never changes the verdict");
    assert!(ran.record.notes.iter().any(|note| note.text == "a socket in the drawer"));
}

#[test]
fn trials_that_must_be_alone_are_alone() {
    let cases = "
cases:
  - id: shared
    matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8]}
    of: ['${n}']
    expect: company
  - id: alone
    exclusive: true
    matrix: {n: [1, 2, 3]}
    of: ['${n}']
    expect: solitude
";
    let ran = Toy::new().file("sums", cases).run(&Args { threads: Some(8), ..Args::default() });
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.console);
}

#[test]
fn the_reports_lie_beside_the_journal_and_show_every_trial() {
    let ran = Toy::new().file("sums", SUMS).run(&Args::default());
    assert!(ran.record.trials.iter().all(|trial| matches!(trial.state, TrialState::Finished(_))));
    for file in ["junit.xml", "trials.csv", "report.json", "summary.md"] {
        let text = ran.file(file);
        assert!(text.contains("wrong"), "{file}: {text}");
    }
}

#[test]
fn a_stage_that_takes_too_long_is_red_once_and_its_rest_is_skipped() {
    let cases = "
defaults: {of: []}
cases:
  - {id: a_hangs, exclusive: true, expect: hang}
  - {id: b_late, exclusive: true, expect: any}
  - {id: c_late, exclusive: true, expect: any}
";
    let limits = [("sum".to_owned(), Duration::from_millis(200))].into();
    let toy = Toy::new().file("sums", cases).stages(Stages { limits, stop_on_red: false });
    let ran = toy.run(&Args { threads: Some(1), ..Args::default() });
    assert_eq!(ran.exit, Exit::Errored);
    assert_eq!(reason_of(&ran.record, "sum::sums::a_hangs").kind, "stage-limit");
    for late in ["sum::sums::b_late", "sum::sums::c_late"] {
        assert_eq!(verdict_of(&ran.record, late), Verdict::Skipped);
        assert_eq!(reason_of(&ran.record, late).summary, "the stage sum took longer than its 0.2 s");
    }
}

#[test]
fn a_trial_that_hangs_is_no_reason_to_wait_for_ever() {
    // More trials than threads, the first of which takes its time: nobody waits for one that has no thread.
    let cases = "
cases:
  - {id: slow, timeout: 200ms, of: [], expect: hang}
  - {id: many, matrix: {n: [1, 2, 3, 4, 5, 6]}, of: ['${n}'], expect: any}
";
    let ran = Toy::new().file("sums", cases).run(&Args { threads: Some(2), ..Args::default() });
    assert_eq!(ran.exit, Exit::Errored);
    assert_eq!(verdict_of(&ran.record, "sum::sums::many::n_6"), Verdict::Passed);
}
