//! Killed in the middle: what had finished is told, what was interrupted is told as such.
//!
//! 运行中被杀死后仍可还原已完成的结果。

use std::{process::Stdio, time::Duration};

use crate::crate_root::CrateRoot;

const CASES: &str = "
defaults:
  endpoint: chat
  request: {messages: [{role: user, content: Say hello.}], max_tokens: 4, temperature: 0}
cases:
  - id: quick
    expect: [{status: 200}]
  - id: endless
    exclusive: true
    request: {messages: [{role: user, content: Stall here.}]}
    expect: [{status: 200}]
  - id: never
    exclusive: true
    expect: [{status: 200}]
";

const STALLS: &str = "mode: sim\nserved_model_name: sim\nsim:\n  faults: [{when: {body_contains: Stall here}, fault: {stall_before_headers: {ms: 600000}}}]\n";

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

#[test]
fn after_sigkill_the_report_tells_what_finished_and_what_was_interrupted() {
    let root =
        CrateRoot::new().file("cases/functional/a.yaml", CASES).file("configs/scenarios/stalls.yaml", STALLS);
    let mut child = root
        .command(&["run", "--scenario", "stalls", "--test-threads", "1"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let started = || {
        root.path().join("artifacts").exists()
            && std::fs::read_to_string(root.run_folder().join("journal.jsonl")).is_ok_and(|journal| {
                journal.contains(r#""TrialStarted":{"trial_id":"functional::a::endless""#)
            })
    };
    wait_until("the endless trial has started", started);
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");

    let folder = root.run_folder();
    let ran = root.run(&["report", folder.to_str().expect("utf-8")]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("4 trials: 2 passed, 1 not_run, 1 interrupted"), "{}", ran.err);
    let junit = root.left("junit.xml");
    assert!(junit.contains(r#"<error type="interrupted""#), "{junit}");
    assert!(junit.contains(r#"<skipped type="not-run""#), "{junit}");
    assert!(root.left("summary.md").contains("interrupted"));
}

#[test]
fn after_ctrl_c_the_reports_are_written_and_the_exit_code_says_so() {
    let root =
        CrateRoot::new().file("cases/functional/a.yaml", CASES).file("configs/scenarios/stalls.yaml", STALLS);
    let child = root
        .command(&["run", "--scenario", "stalls", "--test-threads", "1"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let started = || {
        root.path().join("artifacts").exists()
            && std::fs::read_to_string(root.run_folder().join("journal.jsonl")).is_ok_and(|journal| {
                journal.contains(r#""TrialStarted":{"trial_id":"functional::a::endless""#)
            })
    };
    wait_until("the endless trial has started", started);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is told");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("Ctrl-C: stopping"), "{said}");
    let junit = root.left("junit.xml");
    assert!(junit.contains("stopped by a signal"), "{junit}");
    assert!(junit.contains("the run was stopped before its turn"), "{junit}");
}
