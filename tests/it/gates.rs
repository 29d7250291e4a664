//! Performance held against earlier runs: on records that are written down here, and through the command.
//!
//! 性能基线门禁的端到端检查。

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};
use st_harness::{
    case::TrialId,
    folder::RunFolder,
    journal::{Environment, Event, Journal, Planned, RunFinished, RunStarted, Tool, TrialFinished},
    redact::Redactor,
    verdict::{Measurement, Verdict, Workload},
};

use crate::crate_root::{CrateRoot, Ran};

const TRIAL: &str = "perf::pr::chat::c_4::in_128::out_128";

/// A run of one performance trial.
struct Fixed {
    run_type: &'static str,
    ttft: f64,
    rps: f64,
    failed: f64,
    n: u64,
    cpus: u64,
    optimised: bool,
    workload: &'static str,
    /// What it says that it is held to; null as older runs do.
    terms: Value,
}

const BASE: Fixed = Fixed {
    run_type: "daily",
    ttft: 0.2,
    rps: 10.0,
    failed: 0.0,
    n: 400,
    cpus: 2,
    optimised: true,
    workload: "w",
    terms: Value::Null,
};
const NOW: Fixed = Fixed { run_type: "pr", ..BASE };

impl Fixed {
    /// Writes its journal below `runs`.
    fn write(&self, runs: &Utf8Path, run_id: &str) -> Utf8PathBuf {
        let folder =
            RunFolder::open(runs.join(run_id).join("sim"), Arc::new(Redactor::new())).expect("a folder");
        let journal = Journal::open(&folder).expect("a journal");
        for event in [
            Event::RunStarted(Box::new(self.started(run_id))),
            Event::TrialPlanned(planned()),
            Event::ServerReady {
                effective: json!({"max_model_len": 4096}),
                capabilities: Default::default(),
            },
            Event::TrialFinished(Box::new(self.finished())),
            Event::RunFinished(RunFinished { exit_code: 0, interrupted: false }),
        ] {
            journal.append(event).expect("written");
        }
        folder.path().to_owned()
    }

    fn started(&self, run_id: &str) -> RunStarted {
        RunStarted {
            run_id: run_id.to_owned(),
            parent_run: None,
            scenario: "sim".to_owned(),
            run_type: self.run_type.to_owned(),
            git: None,
            tool: Tool { name: "vllm-cibench".into(), version: "0.1.0".into(), optimised: self.optimised },
            argv: Vec::new(),
            variables: Default::default(),
            terms: self.terms.clone(),
            environment: Environment {
                observed: [("cpus".to_owned(), json!(self.cpus))].into(),
                hash: self.cpus.to_string(),
            },
            requested: Value::Null,
        }
    }

    fn finished(&self) -> TrialFinished {
        let figure = |name: &str, stat: &str, value: f64| Measurement {
            name: name.to_owned(),
            stat: stat.to_owned(),
            unit: "s".to_owned(),
            value: Some(value),
            null_reason: None,
            n: self.n,
            definition: format!("{name}/1"),
            source: "client".to_owned(),
            labels: Map::new(),
        };
        TrialFinished {
            trial_id: TrialId::new(TRIAL).expect("an id"),
            attempt: 1,
            verdict: Verdict::Passed,
            reasons: Vec::new(),
            duration_ns: Some(1_000_000_000),
            workload: Some(Workload { key: Map::new(), hash: self.workload.to_owned() }),
            seed: Some(0),
            measurements: vec![
                figure("ttft", "p99", self.ttft),
                figure("e2e", "p99", self.ttft * 10.0),
                figure("requests_per_second", "value", self.rps),
                figure("failure_ratio", "value", self.failed),
            ],
            details: None,
            artifacts: Vec::new(),
        }
    }
}

fn planned() -> Planned {
    Planned {
        trial_id: TrialId::new(TRIAL).expect("an id"),
        case_id: "perf::pr::chat".to_owned(),
        kind: "perf".to_owned(),
        suite: "pr".to_owned(),
        about: None,
        tags: Vec::new(),
        required_capabilities: Vec::new(),
        place: None,
        values: Map::new(),
        case_hash: None,
    }
}

/// What `report` says of `now` where `before` is the only earlier run.
struct Decided {
    ran: Ran,
    summary: String,
    junit: String,
    report: Value,
}

fn decided(before: Option<&Fixed>, now: &Fixed, extra: &[&str]) -> Decided {
    let root = CrateRoot::new();
    let runs = Utf8PathBuf::from_path_buf(root.path().join("runs")).expect("UTF-8");
    std::fs::create_dir_all(&runs).expect("a folder");
    if let Some(before) = before {
        before.write(&runs, "0001");
        // The wall clock orders runs: the next one is later.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let folder = now.write(&runs, "0002");
    let args = [&["report", folder.as_str(), "--baseline", runs.as_str(), "--json"], extra].concat();
    let ran = root.run(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a report");
    let report = serde_json::from_str(&ran.out).expect("JSON");
    Decided { summary: read("summary.md"), junit: read("junit.xml"), report, ran }
}

impl Decided {
    fn finding(&self) -> &str {
        self.report["gates"][0]["numbers"]["finding"].as_str().expect("a finding")
    }

    fn status(&self) -> &str {
        self.report["perf"][0]["status"].as_str().expect("a status")
    }
}

#[test]
fn fifteen_per_cent_are_red_by_name_and_three_are_green() {
    let worse = decided(Some(&BASE), &Fixed { ttft: 0.23, ..NOW }, &[]);
    assert_eq!((worse.status(), worse.finding()), ("failed", "regression"));
    assert!(worse.ran.err.contains("1 trials: 1 failed"), "{}", worse.ran.err);
    let told = "ttft p99 0.200 s → 0.230 s: +15.0 %, limit +10 %";
    assert!(worse.junit.contains(told) && worse.junit.contains(TRIAL), "{}", worse.junit);
    assert!(worse.summary.contains("### failed") && worse.summary.contains("+15.0 %"), "{}", worse.summary);

    let same = decided(Some(&BASE), &Fixed { ttft: 0.206, ..NOW }, &[]);
    assert_eq!((same.status(), same.finding()), ("passed", "pass"));
    assert!(same.summary.contains("+3.0 %"), "{}", same.summary);
}

#[test]
fn a_slower_rate_and_too_many_failures_are_red_too() {
    assert_eq!(decided(Some(&BASE), &Fixed { rps: 9.4, ..NOW }, &[]).status(), "failed");
    assert_eq!(decided(Some(&BASE), &Fixed { rps: 9.6, ..NOW }, &[]).status(), "passed");
    assert_eq!(decided(None, &Fixed { failed: 0.06, ..NOW }, &[]).status(), "failed");
}

#[test]
fn too_few_samples_are_marked_under_seed000_and_inconclusive_under_interval() {
    let few = Fixed { ttft: 0.23, n: 16, ..NOW };
    let marked = decided(Some(&BASE), &few, &[]);
    assert_eq!(marked.status(), "failed");
    assert!(marked.junit.contains("low-confidence"), "{}", marked.junit);
    assert!(marked.summary.contains("16 samples where 299 are needed"), "{}", marked.summary);
    let undecided = decided(Some(&BASE), &few, &["--gate-policy", "interval"]);
    assert_eq!((undecided.status(), undecided.finding()), ("inconclusive", "inconclusive"));
    assert!(undecided.junit.contains("16 samples are too few"), "{}", undecided.junit);
}

#[test]
fn a_missing_baseline_is_a_warning() {
    let other = Fixed { workload: "another", ..BASE };
    for before in [None, Some(&other)] {
        let decided = decided(before, &NOW, &[]);
        assert_eq!((decided.status(), decided.finding()), ("passed", "no_baseline"));
        assert!(decided.junit.contains("note.no-baseline"), "{}", decided.junit);
    }
}

#[test]
fn a_daily_run_is_only_warned() {
    let warned = decided(Some(&BASE), &Fixed { ttft: 0.3, run_type: "daily", ..NOW }, &[]);
    assert_eq!((warned.status(), warned.finding()), ("passed", "regression"));
    assert!(warned.junit.contains("note.regression"), "{}", warned.junit);
}

#[test]
fn another_machine_is_shown_beside_the_verdict() {
    let shown = decided(Some(&BASE), &Fixed { cpus: 8, ..NOW }, &[]);
    assert_eq!(shown.status(), "passed");
    assert!(shown.summary.contains("environment.cpus 2 → 8"), "{}", shown.summary);
}

#[test]
fn a_client_without_optimisation_gates_nothing_and_is_no_baseline() {
    let refused = decided(Some(&BASE), &Fixed { optimised: false, ..NOW }, &[]);
    assert_eq!((refused.status(), refused.finding()), ("invalid", "refused"));
    let unused = decided(Some(&Fixed { optimised: false, ..BASE }), &NOW, &[]);
    assert_eq!(unused.finding(), "no_baseline");
    assert!(unused.summary.contains("built without optimisation"), "{}", unused.summary);
}

#[test]
fn the_same_function_decides_in_compare() {
    let root = CrateRoot::new();
    let runs = Utf8PathBuf::from_path_buf(root.path()).expect("UTF-8");
    let before = BASE.write(&runs, "0001");
    let now = Fixed { ttft: 0.23, cpus: 8, ..NOW }.write(&runs, "0002");
    let ran = root.run(&["compare", before.as_str(), now.as_str()]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    for told in ["ttft p99", "0.200 s", "0.230 s", "+15.0 %", "REGRESSION", "environment.cpus 2 → 8"] {
        assert!(ran.out.contains(told), "{told} is not told:\n{}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    let ran = root.run(&["compare", before.as_str(), before.as_str(), "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let json: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&json["finding"], &json["perf"][0]["finding"]), (&json!("pass"), &json!("pass")));
}

/// What a run records that is held to 20 % more time to first token.
fn lenient() -> Value {
    json!({
        "policy": "seed000",
        "limits": {"ttft_p99": 0.2, "e2e_p99": 0.2, "requests_per_second": 0.05, "failure_ratio": 0.05},
        "inconclusive": "warn",
        "strict_environment": false,
    })
}

#[test]
fn a_run_is_held_to_what_it_recorded_unless_something_else_is_given() {
    let root = CrateRoot::new();
    let runs = Utf8PathBuf::from_path_buf(root.path()).expect("UTF-8");
    let before = BASE.write(&runs, "0001");
    let slower = Fixed { ttft: 0.23, ..NOW };
    let now = Fixed { terms: lenient(), ..slower }.write(&runs, "0002");
    let compare = |extra: &[&str]| root.run(&[&["compare", before.as_str(), now.as_str()], extra].concat());

    let recorded = compare(&[]);
    assert_eq!(recorded.code, Some(0), "{}", recorded.out);
    assert!(recorded.out.contains("by seed000: policy and limits as B recorded them\n"), "{}", recorded.out);
    assert!(recorded.out.contains("+20 %"), "{}", recorded.out);
    let given = compare(&["--max-ttft-p99", "0.1", "--max-e2e-p99", "0.1", "--json"]);
    let json: Value = serde_json::from_str(&given.out).expect("JSON");
    assert_eq!((given.code, &json["terms"]["limits"]["ttft_p99"]), (Some(1), &json!(0.1)));
    assert_eq!(json["terms"]["from"], "policy and limits as B recorded them; given: ttft p99, e2e p99");
    let senseless = compare(&["--max-rps-fall", "1.5"]);
    assert_eq!(senseless.code, Some(2));
    assert!(
        senseless.err.contains("--max-rps-fall: expected a share from 0 to 0.99, found 1.5"),
        "{}",
        senseless.err
    );

    let report = |extra: &[&str]| {
        let args = ["report", now.as_str(), "--baseline", before.as_str(), "--json"];
        let ran = root.run(&[&args[..], extra].concat());
        let json: Value = serde_json::from_str(&ran.out).expect("JSON");
        (json["perf"][0]["status"].as_str().expect("a status").to_owned(), ran.err)
    };
    let (status, said) = report(&[]);
    assert_eq!(status, "passed", "{said}");
    assert!(said.contains("by seed000: policy and limits as the run recorded them"), "{said}");
    assert_eq!(report(&["--max-ttft-p99", "0.05"]).0, "failed");
}

#[test]
fn a_run_that_recorded_nothing_is_held_to_the_usual_and_says_so() {
    let root = CrateRoot::new();
    let runs = Utf8PathBuf::from_path_buf(root.path()).expect("UTF-8");
    let (before, now) = (BASE.write(&runs, "0001"), NOW.write(&runs, "0002"));
    let ran = root.run(&["compare", before.as_str(), now.as_str()]);
    assert!(ran.out.contains("by seed000: the usual limits, since B recorded none\n"), "{}", ran.out);
    let live = root.run(&["compare", "--live", "A=sim", "B=sim", "--max-ttft-p99", "0.1"]);
    assert_eq!(live.code, Some(2));
    assert!(live.err.contains("--live has --min-effect and --alpha"), "{}", live.err);
}

#[test]
fn the_limits_of_a_scenario_are_what_its_runs_record() {
    let root = CrateRoot::new().file(
        "configs/scenarios/lenient.yaml",
        "mode: sim\nserved_model_name: m\ngates: {perf: {limits: {ttft_p99: 0.3}}}\n",
    );
    let ran = root.run(&["run", "--scenario", "lenient", "--run-type", "pr"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let first = root.left("journal.jsonl").lines().next().expect("a line").to_owned();
    let line: Value = serde_json::from_str(&first).expect("JSON");
    let limits = &line["event"]["RunStarted"]["terms"]["limits"];
    assert_eq!((&limits["ttft_p99"], &limits["e2e_p99"]), (&json!(0.3), &json!(0.1)), "{first}");
}

#[test]
fn a_run_on_a_change_is_held_against_the_latest_daily_run_where_runs_lie() {
    let case = include_str!("../../cases/perf/smoke.yaml");
    let root = CrateRoot::new().file("cases/perf/pr.yaml", case).file("cases/perf/daily.yaml", case);
    let first = root.run(&["run", "--run-type", "pr"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert!(first.err.contains("warning: no-baseline"), "{}", first.err);

    let daily = root.run(&["run", "--run-type", "daily"]);
    assert_eq!(daily.code, Some(0), "{}", daily.err);
    // As if the client had been optimised then: this build of it is not, and is refused.
    let journal = root.run_folder().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    std::fs::write(&journal, text.replace(r#""optimised":false"#, r#""optimised":true"#)).expect("written");
    let second = root.run(&["run", "--run-type", "pr", "--json"]);
    let unoptimised = cfg!(debug_assertions);
    let json: Value = serde_json::from_str(&second.out).expect("JSON");
    let gate = &json["gates"][0];
    assert_ne!(gate["numbers"]["finding"], "no_baseline", "{}", second.err);
    assert!(gate["numbers"]["baseline"]["run_id"].is_string(), "{gate:#}");
    if unoptimised {
        assert_eq!(second.code, Some(4), "{}", second.err);
        assert!(second.err.contains("built without optimisation"), "{}", second.err);
    }
    let off = root.run(&["run", "--run-type", "pr", "--gate-policy", "off"]);
    assert_eq!(off.code, Some(0), "{}", off.err);
}

#[test]
fn a_baseline_that_is_not_there_is_a_mistake_before_anything_is_run() {
    let root = CrateRoot::new();
    let ran = root.run(&["run", "--baseline", "nowhere"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("--baseline: there is no file or folder `nowhere`"), "{}", ran.err);
    assert!(!root.path().join("artifacts").exists());
}
