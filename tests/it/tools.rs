//! Other people's tools as trials of ours: one made of a few lines of shell, which leaves what a real one left, or what
//! a real one may leave when it goes wrong. The real ones are run by hand; their files are the adapters' fixtures.
//!
//! 外部工具端到端：正常、过期、缺失、损坏、超时。

use serde_json::{Value, json};

use crate::crate_root::{CrateRoot, Ran};

const LM_EVAL: &str = include_str!("../fixtures/tools/lm_eval.json");
const LM_EVAL_SAMPLES: &str = include_str!("../fixtures/tools/lm_eval_samples.jsonl");
const VLLM_BENCH: &str = include_str!("../fixtures/tools/vllm_bench.json");

/// A tool that runs `script`, in whose first argument is its output folder.
fn tool(kind: &str, adapter: &str, script: &str) -> String {
    let script = json!(script);
    format!(
        "about: a few lines of shell\nkind: {kind}\nversion: '1'\nsource: here\nlicence: MIT\ninstall: nothing\n\
         command: [/bin/sh, -c, {script}, sh, '{{out}}', '{{root}}', '{{base_url}}', '{{model}}']\n\
         options: {{extra: ['{{extra}}']}}\nenv: {{KEY: '{{api_key}}'}}\ntime_limit: 5s\ngrace: 1s\n\
         parameters: {{type: object, additionalProperties: false, properties: {{extra: {{type: string}}}}}}\n\
         result: {{path: '**/result.json', adapter: {adapter}}}\nkeep: {{samples: '*.jsonl'}}\n\
         dry_run: {{command: [/bin/sh, -c, echo usage], expect: usage}}\n"
    )
}

/// The result of a real run, made anew: with the time of now in it.
const GOOD: &str =
    "sed \"s/\\\"date\\\": [0-9.]*/\\\"date\\\": $(date +%s)/\" $2/lm_eval.json > $1/result.json";

const CASE: &str = "cases:\n  - id: sums\n    dataset: open_sums\n    tool: {name: mine}\n    max_tokens: 32\n    \
                    temperature: 0\n    min_score: 0.4\n";

fn accuracy(script: &str, case: &str) -> CrateRoot {
    CrateRoot::new()
        .file("configs/tools/mine.yaml", &tool("accuracy", "lm_eval", script))
        .file("cases/accuracy/smoke.yaml", case)
        .file("lm_eval.json", LM_EVAL)
}

fn run(root: &CrateRoot) -> (Ran, Value) {
    let ran = root.run(&["run", "--json"]);
    let json = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.err));
    (ran, json)
}

/// What is told of a tool that did `script`; the trial has to be errored by it.
fn errored(script: &str) -> String {
    let root = accuracy(script, CASE);
    let (ran, json) = run(&root);
    assert_eq!((ran.code, &json["counts"]["errored"]), (Some(6), &json!(1)), "{script}: {}", ran.err);
    let junit = root.left("junit.xml");
    assert!(junit.contains("<error") && !junit.contains("<failure"), "{junit}");
    assert_eq!(json["accuracy"], Value::Null, "{script}: there is no score");
    junit
}

#[test]
fn a_tools_score_is_a_trial_with_gate_interval_and_reports() {
    let script = format!("echo asked $3 for $4; echo '{{}}' > $1/samples.jsonl; {GOOD}");
    let root = accuracy(&script, CASE);
    let (ran, json) = run(&root);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let score = json!({"task": "open_sums", "score": 0.5, "correct": 3, "total": 6, "ok": true});
    assert_eq!(json["accuracy"], score);
    assert!(root.left("junit.xml").contains("accuracy::smoke::sums"));
    assert!(root.left("metrics.prom").contains("dataset=\"open_sums\""), "{}", root.left("metrics.prom"));
    let log = root.left("trials/accuracy.smoke.sums/tool.log");
    assert!(log.starts_with("asked http://127.0.0.1:") && log.trim_end().ends_with("/v1 for sim"), "{log}");
    for kept in ["result.json", "samples.jsonl"] {
        root.left(&format!("trials/accuracy.smoke.sums/{kept}"));
    }
    let journal = root.left("journal.jsonl");
    assert!(journal.contains("\"tool:mine\"") && journal.contains("accuracy_tool/1"));

    let strict = accuracy(GOOD, &CASE.replace("min_score: 0.4", "min_score: 0.6"));
    let (ran, _) = run(&strict);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(strict.left("junit.xml").contains("expected a score of at least 0.6, found 0.5000 (3 of 6;"));
}

#[test]
fn a_result_that_cannot_be_believed_is_an_error_with_its_reason() {
    for (script, told) in [
        ("exit 0", "missing: it left no result `**/result.json`; it left nothing at all"),
        (": > $1/result.json", "the result result.json is empty"),
        ("head -c 300 $2/lm_eval.json > $1/result.json", "expected JSON, found something else or half of it"),
        ("echo '{\"score\": 1}' > $1/result.json", "expected `results`, found no such key"),
        ("cp $2/lm_eval.json $1/result.json", "stale: the result says of itself that it was made"),
        (
            "cp $2/lm_eval.json $1/result.json; touch -d '2 hours ago' $1/result.json",
            "stale: the result result.json is 7",
        ),
        ("echo broken >&2; exit 3", "it ended with exit code 3, where [0] is expected"),
        (
            &format!("mkdir $1/a; cp $2/lm_eval.json $1/a/result.json; {GOOD}"),
            "found 2: a/result.json, result.json",
        ),
        (
            &GOOD.replace(" > ", " | sed 's/\"effective\": 6/\"effective\": 5/' > "),
            "incomplete: 5 of 6 samples",
        ),
    ] {
        let junit = errored(script);
        let plain = junit.replace("&quot;", "\"").replace("&apos;", "'");
        assert!(plain.contains(told), "{script}\n{told}\n{junit}");
    }
}

#[test]
fn a_tool_that_does_not_end_is_ended_with_all_that_it_started() {
    let mark = format!("tool-left-behind-{}", std::process::id());
    let junit = errored(&format!("sh -c 'sleep 600; : {mark}' & echo started; wait"));
    assert!(
        junit.contains("it did not end within its time limit of 5s") && junit.contains("started"),
        "{junit}"
    );
    let lives = std::fs::read_dir("/proc").expect("processes").flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("sleep 600; : {mark}")) && !line.starts_with(b"grep")
    });
    assert!(!lives, "what it started is there still");
}

#[test]
fn a_key_reaches_the_tool_and_no_file_of_the_run() {
    let root = accuracy(&format!("echo key $KEY; test \"$KEY\" = sk-seeded-key && {GOOD}"), CASE);
    let ran = root.command(&["run", "--json"]).env("VLLM_CIBENCH_API_KEY", "sk-seeded-key").output();
    let ran = Ran::of(ran.expect("it starts"));
    assert_eq!(ran.code, Some(0), "{}{}", ran.err, ran.out);
    let log = root.left("trials/accuracy.smoke.sums/tool.log");
    assert!(log.starts_with("key ") && !log.contains("sk-seeded"), "{log}");
}

#[test]
fn a_gated_benchmark_leaves_neither_log_nor_samples() {
    // As the script is written, it does not hold what it prints.
    let script = format!("echo sec''ret question; echo sec''ret question > $1/samples.jsonl; {GOOD}");
    let root = accuracy(&script, &CASE.replace("dataset: open_sums", "dataset: gpqa_by_tool"));
    let (ran, _) = run(&root);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let left = std::fs::read_dir(root.run_folder().join("trials/accuracy.smoke.sums")).expect("files");
    for file in left.flatten() {
        let text = std::fs::read_to_string(file.path()).expect("text");
        assert!(!text.contains("secret question"), "{}", file.path().display());
    }
}

#[test]
fn a_tool_that_is_not_installed_is_a_skip_that_says_how_to_install_it() {
    let case = CASE.replace("{name: mine}", "{name: lm_eval, with: {tasks: open_sums}}");
    let root = CrateRoot::new().file("cases/accuracy/smoke.yaml", &case);
    let (ran, json) = run(&root);
    assert_eq!((ran.code, &json["counts"]["skipped"]), (Some(0), &json!(1)), "{}", ran.err);
    let junit = root.left("junit.xml");
    assert!(junit.contains("pip install") && junit.contains("not-evaluated"), "{junit}");
    let required = case.replace("min_score: 0.4", "min_score: 0.4\n    required: true");
    let (ran, _) = run(&CrateRoot::new().file("cases/accuracy/smoke.yaml", &required));
    assert_eq!(ran.code, Some(6), "{}", ran.err);
}

#[test]
fn every_mistake_about_a_tool_is_told_before_anything_is_run() {
    let case = "cases:\n  - id: a\n    tool: {name: mnie}\n    data: x.csv\n    max_tokens: 1\n  - id: b\n    dataset: b\n    \
                tool: {name: mine, with: {extr: 1}}\n    max_tokens: 1\n";
    let root = accuracy(GOOD, case);
    let ran = root.run(&["run"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    for told in [
        "there is no tool `mnie` (did you mean `mine`",
        "expected `dataset` beside it",
        "expected nothing beside `tool`",
        "mine does not take this",
        "cases/accuracy/smoke.yaml:3",
    ] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    let broken = CrateRoot::new().file("configs/tools/mine.yaml", "about: a\n");
    let ran = broken.run(&["tool", "list"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(
        ran.err.contains("configs/tools/mine.yaml") && ran.err.contains("the key `command` is missing"),
        "{}",
        ran.err
    );
}

#[test]
fn a_tool_is_listed_previewed_and_tried_without_a_server() {
    let root = accuracy(GOOD, CASE);
    let listed = root.run(&["tool", "list"]);
    assert!(
        listed.out.contains("mine ")
            && listed.out.contains("lm_eval ")
            && listed.out.contains("not installed")
    );
    let planned = root.run(&["tool", "plan", "mine", "--with", "{\"extra\": \"a b\"}"]);
    assert!(planned.out.contains("'a b'") && planned.out.contains("'<base_url>/v1'"), "{}", planned.out);
    for line in [
        "started in     <out>",
        "environment    KEY=***",
        "has to leave   <out>/**/result.json (exactly one file, new, not empty; read as lm_eval)",
        "kept beside it <out>/*.jsonl (samples)",
        "exit codes     0",
        "time limit     5 s, and 1 s to end when asked to; then it is killed with all that it started",
    ] {
        assert!(planned.out.lines().any(|told| told == line), "{line}\n{}", planned.out);
    }
    let mut filled =
        root.command(&["tool", "plan", "mine", "--json", "--base-url", "http://h:1/v1", "--model", "m"]);
    let filled = Ran::of(filled.env("VLLM_CIBENCH_API_KEY", "sk-seeded-key").output().expect("it starts"));
    let filled: Value = serde_json::from_str(&filled.out).expect("JSON");
    assert_eq!((&filled["argv"][6], &filled["argv"][7]), (&json!("http://h:1/v1"), &json!("m")));
    assert_eq!((&filled["env"], &filled["time_limit_s"]), (&json!({"KEY": "***"}), &json!(5.0)));
    assert_eq!(root.run(&["tool", "plan", "mine", "--set", "max_token=5"]).code, Some(2));
    assert_eq!(root.run(&["tool", "plan", "mine", "--with", "{\"extr\": 1}"]).code, Some(2));
    let tried = root.run(&["tool", "smoke", "mine"]);
    assert_eq!((tried.code, tried.out.starts_with("mine starts")), (Some(0), true), "{}", tried.err);
    assert_eq!(root.run(&["tool", "smoke", "lm_eval"]).code, Some(6));
}

/// As the real tool: the result, and a line for each sample.
const WITH_SAMPLES: &str = "cp $2/samples.jsonl $1/samples_open_sums_2026-11-28.jsonl; GOOD";

fn with_samples(script: &str) -> CrateRoot {
    let script = script.replace("GOOD", GOOD);
    let described = tool("accuracy", "lm_eval", &script)
        .replace("adapter: lm_eval}", "adapter: lm_eval, samples: 'samples_*.jsonl'}");
    let case = CASE.replace("min_score: 0.4", "gate: {alpha: 0.2}");
    CrateRoot::new()
        .file("configs/tools/mine.yaml", &described)
        .file("cases/accuracy/smoke.yaml", &case)
        .file("cases/accuracy/daily.yaml", &case)
        .file("cases/accuracy/pr.yaml", &case)
        .file("lm_eval.json", LM_EVAL)
        .file("samples.jsonl", LM_EVAL_SAMPLES)
}

#[test]
fn two_runs_of_a_tool_are_compared_sample_by_sample() {
    let root = with_samples(WITH_SAMPLES);
    let daily = root.run(&["run", "--run-type", "daily"]);
    assert_eq!(daily.code, Some(0), "{}", daily.err);
    let items = root.left("trials/accuracy.daily.sums/items.jsonl");
    assert_eq!(
        (items.lines().count(), items.contains("plus")),
        (6, false),
        "names and scores, no text: {items}"
    );

    let worse = LM_EVAL.replace("\"exact_match,last-number\": 0.5", "\"exact_match,last-number\": 0.0");
    assert_ne!(worse, LM_EVAL);
    let root = root
        .file("lm_eval.json", &worse)
        .file("samples.jsonl", &LM_EVAL_SAMPLES.replace("\"exact_match\": 1.0", "\"exact_match\": 0.0"));
    let ran = root.run(&["run", "--run-type", "pr", "--json"]);
    let json: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.err));
    let compared = &json["gates"][0]["numbers"]["comparison"];
    assert_eq!(
        (ran.code, &compared["pairs"], &compared["lost"], &compared["gained"]),
        (Some(1), &json!(6), &json!(3), &json!(0)),
        "{json:#}"
    );
    // Three that changed, all for the worse: one chance in eight.
    assert_eq!(compared["chances"]["worse"], json!(0.125));
    assert!(root.left("junit.xml").contains("lost: 0#0, 2#0, 4#0"), "{}", root.left("junit.xml"));
}

#[test]
fn samples_that_are_missing_or_do_not_add_up_are_an_error() {
    for (script, told) in [
        ("GOOD", "missing: it left no result `samples_*.jsonl`"),
        (
            "head -n 5 $2/samples.jsonl > $1/samples_open_sums_2026.jsonl; GOOD",
            "incomplete: 5 samples of `open_sums",
        ),
        (
            "head -c 900 $2/samples.jsonl > $1/samples_open_sums_2026.jsonl; GOOD",
            "incomplete: samples_open_sums_2026.jsonl",
        ),
    ] {
        let root = with_samples(script);
        let (ran, _) = run(&root);
        let junit = root.left("junit.xml");
        assert_eq!(ran.code, Some(6), "{script}: {}", ran.err);
        assert!(junit.contains("<error") && junit.contains(told), "{script}\n{told}\n{junit}");
    }
}

const PERF: &str = "cases:\n  - id: chat\n    tool: {name: mine}\n    concurrency: 2\n    input_len: 32\n    output_len: 16\n    \
                    requests: 8\n    expect:\n      - ttft: {stat: p99, at_most: LIMIT}\n      - failure_ratio: {at_most: 0}\n";

fn perf(limit: &str) -> CrateRoot {
    let case = PERF.replace("LIMIT", limit);
    CrateRoot::new()
        .file("configs/tools/mine.yaml", &tool("perf", "vllm_bench", "cp $2/vllm_bench.json $1/result.json"))
        .file("cases/perf/smoke.yaml", &case)
        .file("cases/perf/pr.yaml", &case)
        .file("cases/perf/daily.yaml", &case)
        .file("vllm_bench.json", VLLM_BENCH)
}

#[test]
fn a_tools_figures_meet_expectations_and_the_baseline() {
    let root = perf("1");
    let (ran, json) = run(&root);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let p99 = &json["perf"][0]["figures"]["ttft.p99[s]"];
    assert!(p99.as_f64().is_some_and(|p99| (p99 - 0.009_647).abs() < 1e-5), "{json:#}");

    let (ran, _) = run(&perf("0.005"));
    assert_eq!(ran.code, Some(1), "{}", ran.err);

    // How our client was built does not matter here, since it measured nothing.
    let daily = root.run(&["run", "--run-type", "daily"]);
    assert_eq!(daily.code, Some(0), "{}", daily.err);
    let slower = VLLM_BENCH.replace("\"p99_ttft_ms\": 9.", "\"p99_ttft_ms\": 19.");
    assert_ne!(slower, VLLM_BENCH);
    let root = root.file("vllm_bench.json", &slower);
    let ran = root.run(&["run", "--run-type", "pr"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(
        root.left("junit.xml").contains("ttft p99 0.009647 s → 0.0196 s: +103.7 %"),
        "{}",
        root.left("junit.xml")
    );
}
