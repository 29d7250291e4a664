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
    assert!(ran.err.contains("4 trials: 2 passed, 1 not run, 1 interrupted"), "{}", ran.err);
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

/// Files that are written line by line: a kill may leave a begun line at their end. All others are whole.
const GROWING: [&str; 3] = ["jsonl", "log", "tmp"];

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn killed_at_ten_random_points_all_that_finished_is_told_and_nothing_is_half_written() {
    let many = CASES.replace(
        "- id: quick\n",
        "- id: quick\n    matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8]}\n    about: '${n}'\n",
    );
    let red = "  - {id: red, matrix: {n: [1, 2, 3, 4]}, about: '${n}', expect: [{status: 201}]}\n";
    let cases = format!("{}{red}", many.split("  - id: endless").next().expect("its first part"));
    let root = CrateRoot::new()
        .file("cases/functional/a.yaml", &cases)
        .file("cases/perf/smoke.yaml", include_str!("../../cases/perf/smoke.yaml"));
    // How long a run takes here, so that the points lie within it.
    let begun = std::time::Instant::now();
    assert_eq!(root.run(&["run"]).code, Some(1));
    let whole = begun.elapsed();
    let seed = u64::from(std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").subsec_nanos());
    let mut state = seed;
    for point in 0..10 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let after = whole.mul_f64((state >> 11) as f64 / (1_u64 << 53) as f64);
        let mut child =
            root.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(after);
        child.kill().expect("it is killed, or over");
        child.wait().expect("it is gone");
        let folder = root.run_folder();
        let told = format!("seed {seed}, point {point}, after {after:?}, in {}", folder.display());
        let Ok(journal) = std::fs::read_to_string(folder.join("journal.jsonl")) else { continue };
        for file in files_below(&folder) {
            let extension = file.extension().and_then(|name| name.to_str()).unwrap_or_default();
            let text = std::fs::read_to_string(&file).expect("text");
            match extension {
                "json" => drop(serde_json::from_str::<serde_json::Value>(&text).expect(&told)),
                "xml" => assert!(text.trim_end().ends_with("</testsuites>"), "{told}: {}", file.display()),
                other if GROWING.contains(&other) => {}
                _ => assert!(text.is_empty() || text.ends_with('\n'), "{told}: {}", file.display()),
            }
        }
        if !journal.contains('\n') {
            continue;
        }
        let ran = root.run(&["report", folder.to_str().expect("utf-8"), "--json"]);
        assert_eq!(ran.code, Some(0), "{told}: {}", ran.err);
        let report: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
        let counts = &report["counts"];
        let of = |name: &str| counts[name].as_u64().expect("a count");
        let finished = journal.lines().filter(|line| {
            line.contains(r#""TrialFinished":{"#) && serde_json::from_str::<serde_json::Value>(line).is_ok()
        });
        let over = of("planned") - of("not_run") - of("interrupted");
        assert_eq!(over, finished.count() as u64, "{told}: {counts}");
    }
}
