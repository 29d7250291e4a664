//! Two servers measured in turn: one against itself, and against one that is slower by a known amount.
//!
//! compare --live：A/A 自检与已知差异的 A/B。

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vllm_cibench::sim::{Options, Sim, Timing};

use crate::crate_root::{CrateRoot, Ran};

/// A block of a few short answers, so that many of them fit into a test.
const CASE: &str = "
cases:
  - id: block
    control_method: fixed
    concurrency: 2
    input_len: 32
    output_len: 8
    requests: 4
    warmup: 0
    seed: 7
";

fn root() -> CrateRoot {
    CrateRoot::new().file("cases/perf/smoke.yaml", CASE)
}

fn sim(ttft_ms: f64, tpot_ms: f64) -> Sim {
    let timing = Timing { ttft_ms, tpot_ms, jitter_ms: 1.0 };
    Sim::start(Options { timing, ..Options::default() }).expect("the simulator starts")
}

fn told(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.err))
}

#[test]
fn one_server_against_itself_is_called_different_no_more_often_than_stated() {
    let (root, server) = (root(), sim(20.0, 2.0));
    let a = format!("A={}", server.base_url());
    let ran = root.run(&["compare", "--live", &a, "--self-test", "40", "--blocks", "5", "--json"]);
    let told = told(&ran);
    eprintln!("A/A: {} of 40 comparisons found a difference: {}", told["alarms"], told["findings"]);
    assert_eq!(told["findings"].as_array().expect("findings").len(), 40);
    // At the stated 5 % more than six of 40 come once in 500 runs of this test; a test of the rate itself is a unit
    // test of `ab`.
    assert_eq!((&told["at_most"], &told["confidence"]), (&6.into(), &0.99.into()));
    assert!(told["alarms"].as_u64().expect("a count") <= 6, "{told:#}");
    assert_eq!(ran.code, Some(0));
}

#[test]
fn a_server_that_is_slower_by_a_tenth_is_found() {
    let (root, fast, slow) = (root(), sim(60.0, 6.0), sim(66.0, 6.6));
    let (a, b) = (format!("A={}", fast.base_url()), format!("B={}", slow.base_url()));
    let ran = root.run(&["compare", "--live", &a, &b, "--blocks", "10", "--json"]);
    let told = told(&ran);
    assert_eq!(ran.code, Some(1), "{told:#}");
    assert_eq!(told["verdict"]["finding"], "regression");
    let ttft = &told["verdict"]["rows"][0];
    let change = ttft["change"].as_f64().expect("a change");
    eprintln!("A/B with 10 % seeded: ttft p50 {:+.1} %, p {}", change * 100.0, ttft["p_holm"]);
    assert!((0.05..0.16).contains(&change), "{ttft:#}");
    assert_eq!(told["blocks"].as_array().expect("blocks").len(), 20);
    a_comparison_leaves_a_run_like_any_other(&root, told["folder"].as_str().expect("a folder"));

    let back = root.run(&[
        "compare",
        "--live",
        &a.replace(&fast.base_url(), &slow.base_url()),
        &b.replace(&slow.base_url(), &fast.base_url()),
    ]);
    assert_eq!(back.code, Some(0), "{}", back.out);
    assert!(back.out.contains("improvement"), "{}", back.out);
}

/// Twenty blocks are twenty trials, the verdict is a gate, and `report` makes all of it again from the journal alone.
fn a_comparison_leaves_a_run_like_any_other(root: &CrateRoot, folder: &str) {
    let path = root.path().join(folder);
    let read = |name: &str| {
        std::fs::read_to_string(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let (page, junit, commands) = (read("report.html"), read("junit.xml"), read("commands.txt"));
    assert_eq!(junit.matches("<testcase").count(), 21, "{junit}");
    assert!(junit.contains("is worse than") && junit.contains("ttft p50 +"), "{junit}");
    assert!(commands.contains("compare --live A=http"), "{commands}");
    assert!(page.contains("gate::compare"));
    for name in ["report.html", "junit.xml", "commands.txt"] {
        std::fs::remove_file(path.join(name)).expect("it was there");
    }
    let ran = root.run(&["report", folder]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("21 trials: 20 passed, 1 failed"), "{}", ran.err);
    assert_eq!((read("report.html"), read("junit.xml"), read("commands.txt")), (page, junit, commands));
}

#[test]
fn two_scenarios_can_be_compared_each_block_on_a_server_of_its_own() {
    let scenario = |ttft: u32| {
        format!("mode: sim\nserved_model_name: sim\nsim: {{timing: {{ttft_ms: {ttft}, tpot_ms: 2}}}}\n")
    };
    let root = root()
        .file("configs/scenarios/fast.yaml", &scenario(20))
        .file("configs/scenarios/slow.yaml", &scenario(40));
    let ran =
        root.run(&["compare", "--live", "A=fast", "B=slow", "--blocks", "5", "--launch-each", "--json"]);
    let told = told(&ran);
    assert_eq!((ran.code, &told["verdict"]["finding"]), (Some(1), &"regression".into()), "{told:#}");
}

#[test]
fn a_comparison_that_is_interrupted_leaves_what_it_had_measured() {
    let (root, server) = (root(), sim(20.0, 2.0));
    let (a, b) = (format!("A={}", server.base_url()), format!("B={}", server.base_url()));
    let mut command = root.command(&["compare", "--live", &a, &b, "--blocks", "50"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let journal = || {
        let runs = std::fs::read_dir(root.path().join("artifacts")).ok()?.flatten();
        let journals = runs.map(|run| run.path().join("compare/journal.jsonl"));
        journals.filter_map(|path| std::fs::read_to_string(path).ok()).next()
    };
    let begun = Instant::now();
    while !journal().is_some_and(|text| text.contains("TrialFinished")) {
        assert!(begun.elapsed() < Duration::from_secs(60), "no block came to its end");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::INT).expect("it runs");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(130), "{}", ran.err);
    let folder = ran.err.lines().find_map(|line| line.strip_prefix("files: ")).expect("where its files lie");
    let summary = std::fs::read_to_string(root.path().join(folder).join("summary.md")).expect("a summary");
    assert!(summary.contains("The run was interrupted.") && summary.contains("101 planned"), "{summary}");
    assert!(root.path().join(folder).join("report.html").is_file());
}

#[test]
fn what_cannot_be_compared_is_said_before_anything_is_asked() {
    let root = root();
    for (args, said) in [
        (&["A=http://127.0.0.1:9/v1"][..], "expected B=URL too, or --self-test TIMES"),
        (&["http://127.0.0.1:9/v1", "B=x"], "expected A=URL or A=SCENARIO"),
        (&["A=sim", "B=sim", "--blocks", "4"], "expected from 5 to 50, found 4"),
        (&["A=sim", "B=sim", "--case", "nothing"], "no smoke performance case is named like `nothing`"),
        (&["A=sim", "B=smi"], "there is no scenario `smi`"),
    ] {
        let ran = root.run(&[&["compare", "--live"], args].concat());
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }
}
