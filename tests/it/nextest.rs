//! The contract with `cargo nextest`, by running the real one. Skipped, and said so, where it is not installed.
//!
//! 与真实 cargo-nextest 的契约测试。

use std::process::Command;

use crate::crate_root::{cargo_st, clean};

fn nextest() -> Option<Command> {
    let there = Command::new(env!("CARGO"))
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|it| it.status.success());
    if !there {
        eprintln!("skipped: cargo-nextest is not installed");
        return None;
    }
    Some(cargo_st(&["nextest", "run"]))
}

#[test]
fn nextest_lists_runs_and_skips_our_trials_and_their_journals_merge() {
    let Some(mut command) = nextest() else { return };
    let artifacts = tempfile::tempdir().expect("a folder");
    let output = command
        .args(["--no-fail-fast", "-E", "test(/setup::|chat_core::(basic|stop)|suffix|perf::/)"])
        .env("VLLM_CIBENCH_ARTIFACTS", artifacts.path())
        .env("VLLM_CIBENCH_CAPABILITIES", "-completions.suffix")
        .output()
        .expect("nextest runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("setup::server"), "{said}");
    // What is declared missing is skipped by nextest itself, which cannot be told at run time.
    assert!(
        !said.contains("PASS") || !said.lines().any(|line| line.contains("PASS") && line.contains("suffix")),
        "{said}"
    );

    let run = std::fs::read_dir(artifacts.path())
        .expect("runs")
        .map(|entry| entry.expect("a run").path())
        .find(|path| !path.is_symlink())
        .expect("one run for all processes");
    let report = clean(Command::new(env!("CARGO_BIN_EXE_vllm-cibench")))
        .arg("report")
        .arg(&run)
        .output()
        .expect("it runs");
    let tally = String::from_utf8_lossy(&report.stderr).into_owned();
    assert!(report.status.success(), "{tally}");
    let junit = std::fs::read_to_string(run.join("junit.xml")).expect("a merged report");
    for name in ["setup::server", "functional::chat_core::basic", "perf::smoke::chat"] {
        assert!(junit.contains(name), "{name} is missing from the merged report: {tally}");
    }
}
