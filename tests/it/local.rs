//! Servers that we start on this machine, with the simulator's command as the server: whatever becomes of us,
//! nothing of them is left.
//!
//! 本机启动的服务：无论如何结束，都不留下进程。

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::crate_root::{CrateRoot, Ran, one_case};

/// A case that the server never answers.
const ENDLESS: &str = "
cases:
  - id: endless
    endpoint: chat
    request: {messages: [{role: user, content: Stall here.}], max_tokens: 4}
    expect: [{status: 200}]
";

/// A root whose scenario `mine` starts the simulator's command as it would a server.
fn root(case: &str) -> CrateRoot {
    let program = env!("CARGO_BIN_EXE_vllm-cibench");
    let stall = "{when: {body_contains: Stall here}, fault: {stall_before_headers: {ms: 600000}}}";
    let command = format!(
        "[{program:?}, sim, --port, '{{port}}', --model, '{{served_model_name}}', --max-model-len, '2048', \
         --fault, {stall:?}]"
    );
    CrateRoot::new().file("cases/functional/a.yaml", case).file(
        "configs/scenarios/mine.yaml",
        &format!(
            "mode: local\nserved_model_name: stand-in\nlaunch:\n  command: {command}\n  stop_timeout: 5s\n\
             gates: {{max_skipped: 0}}\n"
        ),
    )
}

/// The processes that carry the mark of the newest run: their ids.
fn marked(root: &CrateRoot) -> Vec<i32> {
    let run = root.run_folder();
    let id = run.parent().and_then(|parent| parent.file_name()).expect("a run's id").to_string_lossy();
    let marker = format!("VLLM_CIBENCH_RUN_ID={id}");
    let carries = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|one| one == marker.as_bytes()))
    };
    processes().filter(carries).collect()
}

fn processes() -> impl Iterator<Item = i32> {
    let all = fs::read_dir("/proc").expect("processes").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("an id"), Signal::KILL).expect("a signal");
}

/// A run in the middle of a trial that never ends: its server is up.
fn in_the_middle(root: &CrateRoot) -> Child {
    let child = root.command(&["run", "--scenario", "mine"]).stderr(Stdio::null()).spawn();
    let child = child.expect("the command starts");
    wait_until("the endless trial has started", || {
        root.path().join("artifacts").exists()
            && fs::read_to_string(root.run_folder().join("journal.jsonl")).is_ok_and(|journal| {
                journal.contains(r#""TrialStarted":{"trial_id":"functional::a::endless""#)
            })
    });
    child
}

fn cleanup(root: &CrateRoot) -> Ran {
    root.run(&["cleanup", "--patience", "5", "--run", root.run_folder().to_str().expect("UTF-8")])
}

#[test]
fn a_scenario_alone_starts_the_server_and_nothing_of_it_is_left() {
    let root = root(&one_case("status: 200"));
    let ran = root.run(&["run", "--scenario", "mine"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(marked(&root), Vec::<i32>::new());
    let report: Value = serde_json::from_str(&root.left("report.json")).expect("JSON");
    let took = &report["run"]["effective"];
    assert_eq!((&took["mode"], &took["model"]), (&json!("local"), &json!("stand-in")));
    let base_url = took["base_url"].as_str().expect("an address");
    assert!(root.left("server.log").contains(base_url), "its output is kept");
    let address = base_url.trim_start_matches("http://").trim_end_matches("/v1");
    assert!(TcpStream::connect(address).is_err(), "it still listens at {address}");
    let journal = root.left("journal.jsonl");
    let stopped_ill =
        ["server-died", "server-killed", "server-log"].iter().any(|kind| journal.contains(kind));
    assert!(!stopped_ill, "{journal}");
    assert!(
        journal.contains(r#""engine_version":"0.32.0""#) && journal.contains(r#""max_model_len":2048"#),
        "{journal}"
    );
    assert!(!journal.contains("mismatch"), "{journal}");
    let ledger = root.left("resources.jsonl");
    let states: Vec<_> = ["planned", "created", "gone"].iter().map(|state| ledger.contains(state)).collect();
    assert_eq!((states, ledger.lines().count()), (vec![true; 3], 3), "{ledger}");
}

#[test]
fn the_report_tells_the_machine_and_what_was_asked_and_took_effect() {
    let root = root(&one_case("status: 200"));
    let ran = root.run(&["run", "--scenario", "mine"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let report: Value = serde_json::from_str(&root.left("report.json")).expect("JSON");
    let machine = &report["run"]["started"]["environment"];
    for key in ["host", "kernel", "cpus", "memory_bytes", "distribution"] {
        assert!(!machine["observed"][key].is_null(), "{key}: {machine}");
    }
    assert_eq!(machine["hash"].as_str().map(str::len), Some(64));
    let (asked, took) = (&report["run"]["started"]["requested"], &report["run"]["effective"]);
    assert_eq!((&asked["mode"], &asked["served_model_name"]), (&json!("local"), &json!("stand-in")));
    let words = asked["command"].as_array().expect("the command as the scenario gives it");
    assert!(words.contains(&json!("{served_model_name}")), "{asked}");
    assert_eq!((&took["model"], &took["max_model_len"]), (&json!("stand-in"), &json!(2048)));
    assert_eq!(
        (&took["engine_version"], &took["options"]["max_model_len"]),
        (&json!("0.32.0"), &json!("2048"))
    );
    assert!(took["base_url"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{took}");
}

#[test]
fn what_the_server_does_otherwise_is_told() {
    let program = env!("CARGO_BIN_EXE_vllm-cibench");
    let script = format!("exec {program:?} sim --port $0 --model m --max-model-len 2048");
    let root = CrateRoot::new().file("cases/functional/a.yaml", &one_case("status: 200")).file(
        "configs/scenarios/mine.yaml",
        &format!(
            "mode: local\nlaunch: {{command: [/bin/sh, -c, {script:?}, '{{port}}', --max-model-len, '4096']}}\n"
        ),
    );
    let ran = root.run(&["run", "--scenario", "mine"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let expected = "asked --max-model-len 4096, the server says 2048 (/v1/models max_model_len)";
    for file in ["journal.jsonl", "report.json"] {
        assert!(root.left(file).contains(expected), "{file}: {}", root.left(file));
    }
    assert!(root.left("summary.md").contains("mismatch: asked"), "{}", root.left("summary.md"));
}

#[test]
fn told_to_stop_in_mid_run_we_take_the_server_down_ourselves() {
    for signal in [Signal::INT, Signal::TERM] {
        let root = root(ENDLESS);
        let mut child = in_the_middle(&root);
        kill_process(Pid::from_child(&child), signal).expect("a signal");
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
        assert_eq!(marked(&root), Vec::<i32>::new());
        let ledger = root.left("resources.jsonl");
        assert!(ledger.trim_end().lines().last().is_some_and(|line| line.contains("gone")), "{ledger}");
        assert!(root.left("server.log").contains("http://127.0.0.1:"), "its output is kept");
    }
}

#[test]
fn killed_ourselves_we_take_the_server_along() {
    let root = root(ENDLESS);
    let mut child = in_the_middle(&root);
    assert!(!marked(&root).is_empty(), "the server runs");
    child.kill().expect("a signal");
    child.wait().expect("it ends");
    wait_until("the server has ended", || marked(&root).is_empty());
    let ran = cleanup(&root);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("nothing of it is left"), "{}", ran.err);
    assert!(root.left("resources.jsonl").trim_end().lines().last().is_some_and(|line| line.contains("gone")));
}

#[test]
fn where_its_watcher_was_killed_too_cleanup_ends_the_server() {
    let root = root(ENDLESS);
    let mut child = in_the_middle(&root);
    let ours = i32::try_from(child.id()).expect("an id");
    let is_watcher = |pid: &i32| {
        let parent = fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
            status
                .lines()
                .any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == ours.to_string()))
        });
        parent
            && fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(b"/bin/sh\0-c\0read"))
    };
    let watchers: Vec<i32> = processes().filter(is_watcher).collect();
    assert_eq!(watchers.len(), 1);
    kill(watchers[0]);
    child.kill().expect("a signal");
    child.wait().expect("it ends");
    std::thread::sleep(Duration::from_millis(500));
    let servers = marked(&root);
    assert_eq!(servers.len(), 1, "nobody ended it");

    let ran = cleanup(&root);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains(&format!("ended vllm-cibench ({})", servers[0])), "{}", ran.err);
    assert_eq!(marked(&root), Vec::<i32>::new());
    let again = cleanup(&root);
    assert_eq!((again.code, again.err.lines().count()), (Some(0), 1), "{}", again.err);
}

#[test]
fn a_run_that_still_goes_on_keeps_its_server_unless_it_is_forced() {
    let root = root(ENDLESS);
    let mut child = in_the_middle(&root);
    let refused = cleanup(&root);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    let (id, told) = (child.id(), refused.err.as_str());
    assert!(told.starts_with(&format!("error: the run still goes on: it is process {id}\n")), "{told}");
    assert!(told.contains(&format!("`kill -INT {id}`")) && told.contains("`--force`"), "{told}");
    assert_eq!(marked(&root).len(), 1, "its server runs");

    let run = root.run_folder();
    let forced = root.run(&["cleanup", "--force", "--patience", "5", "--run", run.to_str().expect("UTF-8")]);
    assert_eq!(forced.code, Some(0), "{}", forced.err);
    assert_eq!(marked(&root), Vec::<i32>::new());
    assert_eq!(child.wait().expect("it ends").code(), Some(6), "without its server it cannot go on");
}

/// What `up` said where the server is, and the server's host and port.
fn address(ran: &Ran) -> (Vec<(&str, &str)>, String) {
    let lines: Vec<_> = ran.out.lines().map(|line| line.split_once('=').expect("NAME=value")).collect();
    let address = lines[1].1.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    (lines, address)
}

#[test]
fn a_server_that_is_up_outlives_the_command_until_it_is_taken_down() {
    for (scenario, model) in [("mine", "stand-in"), ("simulated", "sim")] {
        let root = root(&one_case("status: 200")).file(
            "configs/scenarios/simulated.yaml",
            "mode: sim\nserved_model_name: sim\ngates: {max_skipped: 0}\n",
        );
        let up = root.run(&["up", "--scenario", scenario]);
        assert_eq!(up.code, Some(0), "{}", up.err);
        let (lines, address) = address(&up);
        assert_eq!(
            lines.iter().map(|line| line.0).collect::<Vec<_>>(),
            ["VLLM_CIBENCH_SCENARIO", "VLLM_CIBENCH_BASE_URL", "VLLM_CIBENCH_MODEL"]
        );
        assert_eq!((lines[0].1, lines[2].1), (scenario, model));
        assert!(!marked(&root).is_empty(), "somebody keeps it");

        let run = root.run_folder();
        let refused = cleanup(&root);
        assert_eq!(refused.code, Some(2), "{}", refused.err);
        assert!(refused.err.contains("`vllm-cibench down --run "), "{}", refused.err);
        let again = root.command(&["up"]).envs(lines.clone()).output().expect("the command starts");
        assert_eq!(Ran::of(again).code, Some(2), "it is up already");

        let tests = root.command(&["run"]).envs(lines).output().expect("the command starts");
        let tests = Ran::of(tests);
        assert_eq!(tests.code, Some(0), "{}", tests.err);
        assert!(
            tests.err.contains(&format!("the server of `{scenario}` runs already, at http://")),
            "{}",
            tests.err
        );
        let trials = root.left("trials.csv");
        assert!(trials.contains("gate::max_skipped"), "the gates of the scenario hold: {trials}");

        let down = root.run(&["down"]);
        assert_eq!(down.code, Some(0), "{}", down.err);
        assert!(
            down.err.contains(&format!("taking down the server of the scenario `{scenario}`")),
            "{}",
            down.err
        );
        assert!(TcpStream::connect(&address).is_err(), "it still listens");
        let ledger = fs::read_to_string(run.join("resources.jsonl")).expect("a ledger");
        assert!(ledger.lines().last().is_some_and(|line| line.contains("gone")), "{ledger}");
        let again = root.run(&["down"]);
        assert_eq!((again.code, again.err.as_str()), (Some(0), "no server is up below ./artifacts\n"));
    }
}

#[test]
fn a_server_whose_keeper_was_killed_goes_with_it() {
    let root = root(&one_case("status: 200"));
    let up = root.run(&["up", "--scenario", "mine"]);
    assert_eq!(up.code, Some(0), "{}", up.err);
    let word = root.left("up.json");
    let word: Value = serde_json::from_str(&word).expect("JSON");
    kill(i32::try_from(word["pid"].as_i64().expect("an id")).expect("an id"));
    let down = root.run(&["down", "--run", root.run_folder().to_str().expect("UTF-8")]);
    assert_eq!(down.code, Some(0), "{}", down.err);
    assert_eq!(marked(&root), Vec::<i32>::new());
}

#[test]
fn a_server_that_cannot_come_up_is_told_as_it_would_be_by_a_run() {
    let root = CrateRoot::new().file(
        "configs/scenarios/mine.yaml",
        "mode: local\nlaunch: {command: [/bin/sh, -c, 'echo RuntimeError: CUDA out of memory; exit 1']}\n",
    );
    let up = root.run(&["up", "--scenario", "mine"]);
    assert_eq!((up.code, up.out.as_str()), (Some(6), ""), "{}", up.err);
    assert!(up.err.contains("the accelerator's memory does not suffice"), "{}", up.err);
    assert_eq!(marked(&root), Vec::<i32>::new());
}

#[test]
fn under_nextest_a_scenario_that_starts_a_server_is_refused_and_up_is_named() {
    let root = root(&one_case("status: 200"));
    let under_nextest =
        |command: &mut Command| Ran::of(command.env("NEXTEST", "1").output().expect("it starts"));
    let refused = under_nextest(&mut root.command(&["run", "--scenario", "mine"]));
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    for part in
        ["configs/scenarios/mine.yaml:1:7", "would start a server in each", "vllm-cibench up --scenario mine"]
    {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert!(!root.path().join("artifacts").exists(), "nothing was started");
    let simulated = under_nextest(&mut root.command(&["run", "--scenario", "sim"]));
    assert_eq!(simulated.code, Some(0), "{}", simulated.err);
}
