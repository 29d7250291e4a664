//! Several scenarios in one run: each in a child of its own, one folder, one table; and the other commands that
//! drive the same session.
//!
//! run-matrix、plan、run-functional 等命令。

use std::{process::Stdio, time::Duration};

use serde_json::Value;

use crate::crate_root::{CrateRoot, Ran, one_case};

const TWO: &str = "
scenarios:
  one: {pr: {enabled: true}}
  two: {pr: {enabled: true, perf: false}}
  three: {pr: {enabled: false}}
";

const SIM: &str = "mode: sim\nserved_model_name: sim\n";

/// Three scenarios on the simulator, of which two are enabled.
fn root(expect: &str) -> CrateRoot {
    let scenarios = ["one", "two", "three"];
    let root = CrateRoot::new()
        .file("configs/matrix.yaml", TWO)
        .file("cases/functional/own.yaml", &one_case(expect))
        .file("cases/perf/pr.yaml", include_str!("../../cases/perf/smoke.yaml"));
    scenarios.iter().fold(root, |root, name| root.file(&format!("configs/scenarios/{name}.yaml"), SIM))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn every_enabled_scenario_runs_and_one_folder_holds_all_of_them() {
    let root = root("status: 200");
    let ran = root.run(&["run-matrix", "--run-type", "pr"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("one") && ran.out.contains("two") && !ran.out.contains("three"), "{}", ran.out);
    let runs: Vec<_> = std::fs::read_dir(root.path().join("artifacts")).expect("runs").flatten().collect();
    assert_eq!(runs.len(), 1, "one folder for all");
    let folder = runs[0].path();
    for file in ["matrix.json", "matrix.md", "one/journal.jsonl", "one/junit.xml", "two/report.json"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let matrix = json(&std::fs::read_to_string(folder.join("matrix.json")).expect("a file"));
    assert_eq!(matrix["run_id"], folder.file_name().expect("a name").to_str().expect("UTF-8"));
    let stages = |at: usize| matrix["lines"][at]["stages"].as_array().expect("stages").len();
    assert_eq!((stages(0), stages(1)), (2, 1), "{matrix:#}");
    let journal = std::fs::read_to_string(folder.join("one/journal.jsonl")).expect("a journal");
    assert!(journal.contains(&format!(r#""parent_run":"{}""#, matrix["run_id"].as_str().expect("text"))));

    // The whole of it again from the journals alone.
    std::fs::remove_file(folder.join("one/junit.xml")).expect("a report");
    let again = root.run(&["report", folder.to_str().expect("UTF-8")]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(folder.join("one/junit.xml").is_file());
}

#[test]
fn a_red_scenario_stops_no_other_unless_that_is_asked_for() {
    let root = root("status: 201");
    let ran = root.run(&["run-matrix", "--run-type", "pr", "--json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let told = json(&ran.out);
    assert_eq!(told["runs"].as_array().expect("runs").len(), 2);
    assert_eq!(told["runs"][0]["functional_report"]["summary"]["failed"], 1);
    assert_eq!(told["runs"][0]["perf"][0]["status"], "passed", "a red stage does not stop the next");

    let ran = root.run(&["run-matrix", "--run-type", "pr", "--json", "--on-failure", "stop_all"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let told = json(&ran.out);
    assert_eq!(told["runs"].as_array().expect("runs").len(), 1);
    assert_eq!(told["runs"][0]["perf"][0]["status"], "skipped", "later stages of the scenario are left out");
    assert!(told["matrix"]["lines"][1]["note"].as_str().expect("a note").contains("one was red"), "{told:#}");
}

#[test]
fn a_mistake_in_any_file_keeps_the_whole_matrix_from_running() {
    let root = root("status: 200").file("configs/scenarios/two.yaml", "mode: sim\nqaunt: w8a8\n");
    let ran = root.run(&["run-matrix", "--run-type", "pr"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("qaunt"), "{}", ran.err);
    assert!(!root.path().join("artifacts").exists());
}

#[test]
fn one_address_is_not_taken_for_every_scenario() {
    let root = root("status: 200");
    let mut command = root.command(&["run-matrix", "--run-type", "pr"]);
    let ran =
        Ran::of(command.env("VLLM_CIBENCH_BASE_URL", "http://127.0.0.1:9/v1").output().expect("it starts"));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("names one server, and the matrix enables 2 scenarios"), "{}", ran.err);
    assert!(!root.path().join("artifacts").exists(), "nothing is run");
}

#[test]
fn a_signal_stops_the_scenario_that_runs_and_the_table_is_told() {
    let stalls = "mode: sim\nserved_model_name: sim\nsim:\n  faults: [{when: {path: /v1/chat/completions}, fault: {stall_before_headers: {ms: 600000}}}]\n";
    let root = root("status: 200").file("configs/scenarios/one.yaml", stalls);
    let child = root
        .command(&["run-matrix", "--run-type", "pr"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let started = || {
        std::fs::read_dir(root.path().join("artifacts")).into_iter().flatten().flatten().any(|run| {
            std::fs::read_to_string(run.path().join("one/journal.jsonl"))
                .is_ok_and(|journal| journal.contains(r#""TrialStarted":{"trial_id":"functional::own"#))
        })
    };
    for _ in 0..1200 {
        if started() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is told");
    let output = child.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("not run: the run was stopped by a signal"), "{out}");
    let run =
        std::fs::read_dir(root.path().join("artifacts")).expect("runs").flatten().next().expect("a run");
    let junit = std::fs::read_to_string(run.path().join("one/junit.xml")).expect("its reports are written");
    assert!(junit.contains("stopped by a signal"), "{junit}");
}

#[test]
fn plan_shows_what_would_run_and_asks_nobody() {
    let root = root("status: 200");
    let args = ["plan", "--scenario", "two", "--run-type", "pr"];
    let ran = root.run(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for told in [
        "two",
        "pr (labelled pr)",
        "own",
        "1 trials",
        "left out by configs/matrix.yaml",
        "only daily runs are pushed",
    ] {
        assert!(ran.out.contains(told), "{told} is not told:\n{}", ran.out);
    }
    assert!(!root.path().join("artifacts").exists());
    let told = json(&root.run(&[&args[..], &["--json"]].concat()).out);
    assert_eq!(told["stages"][0]["suites"][0]["trials"], 1, "{told:#}");
}

#[test]
fn a_run_tells_a_program_what_came_of_it() {
    let root = root("status: 201");
    let ran = root.run(&["run", "--scenario", "one", "--run-type", "pr", "--dry-run", "--json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let told = json(&ran.out);
    let report = &told["functional_report"];
    assert_eq!(report["summary"]["total"], 1);
    assert_eq!((&report["summary"]["passed"], &report["summary"]["failed"]), (&0.into(), &1.into()));
    let result = &report["results"][0];
    assert_eq!((&result["id"], &result["ok"]), (&"functional::own::hello".into(), &false.into()));
    assert!(result["error"].as_str().expect("an error").contains("expected status 201, found 200"));
    assert_eq!(result["payload"]["max_tokens"], 8);
    assert_eq!(told["exit_code"], 1);
}

#[test]
fn run_functional_prints_the_report_of_both_endpoints_and_nothing_else() {
    let both = "cases:
  - {id: talk, endpoint: chat, ask: Say hello., request: {max_tokens: 4}, expect: [{status: 200}]}
  - {id: write, endpoint: completions, ask: Once upon, request: {max_tokens: 4}, expect: [{status: 201}]}
";
    let root = CrateRoot::new().file("mine.yaml", both).file("cases/perf/smoke.yaml", "cases: []\n");
    let sim =
        vllm_cibench::sim::Sim::start(vllm_cibench::sim::Options::default()).expect("the simulator starts");
    let url = sim.base_url();
    let ran = root.run(&["run-functional", "--base-url", &url, "--model", "sim", "--config", "mine.yaml"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let told = json(&ran.out);
    let keys: Vec<&String> = told.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["chat", "completions"]);
    assert_eq!(told["chat"]["summary"]["passed"], 1);
    assert_eq!(told["completions"]["summary"]["failed"], 1);
    assert_eq!(told["completions"]["results"][0]["payload"]["prompt"], "Once upon");
}

#[test]
fn a_shell_and_a_reader_get_what_they_want() {
    let root = CrateRoot::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = root.run(&["completions", shell]);
        assert!(ran.code == Some(0) && ran.out.contains("run-matrix"), "{shell}: {}", ran.err);
    }
    let ran = root.run(&["man"]);
    assert!(ran.out.contains(".TH") && ran.out.contains("130 interrupted"), "{}", ran.out);
    let ran = root.run(&["man", "--out", "man"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(root.path().join("man/vllm-cibench-run-matrix.1").is_file());
}
