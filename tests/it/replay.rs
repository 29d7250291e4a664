//! What was recorded is judged again without a server, with the same verdicts; what was not is told.
//!
//! 录制后离线回放：结论一致；缺失的录制会被指明。

use crate::crate_root::{CrateRoot, one_case};

/// Passes, fails, and streams.
fn cases() -> String {
    one_case("status: 200").replace("    expect:", "    twin: stream\n    expect:")
        + &one_case("status: 201").replace("cases:\n", "").replace("id: hello", "id: wrong")
}

/// The verdict of each functional trial of the newest run.
fn verdicts(root: &CrateRoot) -> Vec<(String, String)> {
    let report: serde_json::Value = serde_json::from_str(&root.left("report.json")).expect("JSON");
    let trials = report["trials"].as_array().expect("trials").iter();
    let told = trials.map(|trial| {
        let finished = &trial["finished"];
        let text = |key: &str| finished[key].as_str().unwrap_or_default().to_owned();
        (text("trial_id"), text("verdict"))
    });
    told.filter(|(id, _)| id.starts_with("functional::")).collect()
}

#[test]
fn a_replay_comes_to_the_verdicts_of_the_recorded_run() {
    let root = CrateRoot::new().file("cases/functional/a.yaml", &cases());
    let recorded = root.run(&["run", "--record", "tape", "--model", "sim"]);
    let first = verdicts(&root);
    assert_eq!(recorded.code, Some(1), "{}", recorded.err);
    let replayed = root.run(&["run", "--replay", "tape", "--model", "sim"]);
    assert_eq!(replayed.code, Some(1), "{}", replayed.err);
    let shown: Vec<&str> = first.iter().map(|(_, verdict)| verdict.as_str()).collect();
    assert_eq!(shown, ["passed", "failed"]);
    assert_eq!(verdicts(&root), first);
}

#[test]
fn a_recording_that_is_not_there_is_told_with_trial_and_request() {
    let root = CrateRoot::new().file("cases/functional/a.yaml", &cases());
    root.run(&["run", "--record", "tape", "--model", "sim"]);
    let root = root.file("cases/functional/a.yaml", &cases().replace("Say hello.", "Say goodbye."));
    let ran = root.run(&["run", "--replay", "tape", "--model", "sim"]);
    assert_eq!(ran.code, Some(6), "{}", ran.err);
    let journal = root.left("journal.jsonl");
    for part in ["POST /v1/chat/completions in functional::a::hello", "record it with --record"] {
        assert!(journal.contains(part), "no {part:?} in:\n{journal}");
    }
}

#[test]
fn a_replay_knows_the_engine_whose_deviations_were_seen() {
    let deviates = "cases:\n  - id: odd\n    endpoint: chat\n    ask: Say hello.\n    request: {max_tokens: \"4\"}\n    \
                    expect: [{error: {status: 4xx}}]\n    deviations: [{engine: vllm, versions: '=0.32', ref: seen, expect: [{status: 200}]}]\n";
    let root = CrateRoot::new().file("cases/functional/a.yaml", deviates);
    for tape in ["--record", "--replay"] {
        let ran = root.run(&["run", tape, "tape", "--model", "sim"]);
        assert_eq!(ran.code, Some(0), "{tape}: {}", ran.err);
        assert!(root.left("journal.jsonl").contains("vllm =0.32: seen"), "{tape}");
    }
}

#[test]
fn a_stream_that_was_held_back_is_so_in_the_replay_which_takes_no_time() {
    let held = "about: x\nmode: sim\nserved_model_name: sim\nsim:\n  timing: {ttft_ms: 10, tpot_ms: 80}\n  \
                faults:\n    - {when: {every: 1}, fault: buffered}\n";
    let case = one_case("sse: [incremental]").replace("temperature: 0", "stream: true");
    let root =
        CrateRoot::new().file("configs/scenarios/held.yaml", held).file("cases/functional/a.yaml", &case);
    let ran = root.run(&["run", "--scenario", "held", "--record", "tape", "functional::"]);
    let recorded = root.left("journal.jsonl");
    // A machine that is too slow to judge must be so in both.
    assert!([Some(1), Some(3)].contains(&ran.code) && recorded.contains("at the end of"), "{}", ran.err);
    let first = verdicts(&root);
    root.run(&["run", "--scenario", "held", "--replay", "tape", "functional::"]);
    assert!(root.left("journal.jsonl").contains("at the end of"), "{}", root.left("journal.jsonl"));
    assert_eq!(verdicts(&root), first);
}

/// What [`verdicts`] tells of the one performance trial, and why.
fn measured(root: &CrateRoot) -> (String, String) {
    let report: serde_json::Value = serde_json::from_str(&root.left("report.json")).expect("JSON");
    let mut trials = report["trials"].as_array().expect("trials").iter().map(|trial| &trial["finished"]);
    let load = trials.find(|one| one["trial_id"] == "perf::smoke::few").expect("the load");
    (load["verdict"].as_str().expect("a verdict").to_owned(), load["reasons"].to_string())
}

#[test]
fn load_that_a_recording_answers_is_no_measurement() {
    let case = "cases:\n  - {id: few, about: x, endpoint: chat, control_method: fixed, concurrency: 1, input_len: 32, \
                output_len: 4, requests: 2, expect: [{failure_ratio: {at_most: 0}}]}\n";
    let root = CrateRoot::new().file("cases/perf/smoke.yaml", case);
    let run = |tape| root.run(&["run", "--run-type", "smoke", tape, "tape", "--model", "sim", "perf::"]);
    assert_eq!(run("--record").code, Some(0));
    assert_eq!(measured(&root).0, "passed");
    assert_eq!(run("--replay").code, Some(4));
    let (verdict, why) = measured(&root);
    assert_eq!(verdict, "invalid");
    assert!(why.contains("a recording answered: no server was measured"), "{why}");
}

/// A server that is wrong in one way, so that some of our own trials are red.
const WRONG: &str = "about: x\nmode: sim\nserved_model_name: sim\nsim:\n  faults:\n    - {when: {every: 7}, fault: wrong_finish}\n";

#[test]
fn every_shipped_trial_has_the_same_verdict_in_a_replay() {
    let root = CrateRoot::new().file("configs/scenarios/wrong.yaml", WRONG);
    for entry in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/cases/functional")).expect("our cases")
    {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let folder = root.path().join("cases/functional");
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    let recorded = root.run(&["run", "--scenario", "wrong", "--record", "tape", "functional::"]);
    let first = verdicts(&root);
    assert_eq!(recorded.code, Some(1), "{}", recorded.err);
    let replayed = root.run(&["run", "--scenario", "wrong", "--replay", "tape", "functional::"]);
    assert_eq!(replayed.code, Some(1), "{}", replayed.err);
    let count = |verdict: &str| first.iter().filter(|(_, one)| one == verdict).count();
    assert!(count("passed") > 900 && count("failed") > 10, "{} and {}", count("passed"), count("failed"));
    let again = verdicts(&root);
    let other: Vec<_> = first.iter().zip(&again).filter(|(one, other)| one != other).collect();
    assert!(other.is_empty() && first.len() == again.len(), "{other:#?}");
}
