//! The shipped accuracy profiles as they are, over a file of GPQA-Diamond's size and layout that is made here: `pr`
//! and `daily` against a simulator that knows the answers, and `pr` held against the latest daily run.
//!
//! 精度 pr/daily 配置：以完整规模的 GPQA 形数据运行，并与每日运行比较。

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{accuracy::Simulator, crate_root::CrateRoot};

const ROWS: usize = 198;

/// Prompt and 16384 tokens fit in.
const ROOMY: &[&str] = &["--max-model-len", "20000"];

/// The columns of the file by their places, then some of those behind them; what is not read may hold anything.
const HEADER: &str = "Pre-Revision Question,Pre-Revision Correct Answer,Pre-Revision Incorrect Answer 1,Pre-Revision \
                      Incorrect Answer 2,Pre-Revision Incorrect Answer 3,Pre-Revision Explanation,Self-reported \
                      question-writing time (minutes),Question,Correct Answer,Incorrect Answer 1,Incorrect Answer \
                      2,Incorrect Answer 3,Explanation,Revision Comments (from Question Writer),Subdomain,Writer's \
                      Difficulty Estimate,High-level domain,Record ID,Canary String";

/// A question over two lines, with quotes, commas and a formula, as the real ones have them.
fn question(n: usize) -> String {
    format!("A \"gas\", at {n} K, expands.\n\nWhich \\(V_{{{n}}}\\) follows, in m^3?")
}

fn csv() -> String {
    let mut csv = format!("{HEADER}\n");
    for n in 0..ROWS {
        let domain = ["Physics", "Chemistry", "Biology"][n % 3];
        let cells = [
            "before".to_owned(),
            "w".to_owned(),
            "x".to_owned(),
            "y".to_owned(),
            "z".to_owned(),
            "first, so".to_owned(),
            "45".to_owned(),
            question(n),
            format!("{n}, say\n"),
            format!("{n}0"),
            format!("{n}00"),
            format!("-{n}"),
            "Because \"so\".".to_owned(),
            String::new(),
            "Heat".to_owned(),
            "Hard".to_owned(),
            domain.to_owned(),
            format!("rec{n:04}"),
            "canary".to_owned(),
        ];
        let quoted: Vec<String> =
            cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        writeln!(csv, "{}", quoted.join(",")).expect("text");
    }
    csv
}

fn exam(right: f64, truncate: f64) -> String {
    let item = |n| json!({"question": question(n), "right": format!("{n}, say\n"), "choice": true});
    let items: Vec<Value> = (0..ROWS).map(item).collect();
    json!({"items": items, "right": right, "truncate": truncate, "fail": 0, "dealt": true}).to_string()
}

fn root() -> CrateRoot {
    CrateRoot::new()
        .file("cases/accuracy/pr.yaml", include_str!("../../cases/accuracy/pr.yaml"))
        .file("cases/accuracy/daily.yaml", include_str!("../../cases/accuracy/daily.yaml"))
        .file("data/gpqa_diamond.csv", &csv())
        .file("seven_tenths.json", &exam(0.7, 0.0))
        .file("half.json", &exam(0.5, 0.0))
        .file("endless.json", &exam(0.0, 1.0))
}

/// A run of `run_type` against `sim`, as JSON, and its exit code.
fn run(root: &CrateRoot, sim: &Simulator, run_type: &str) -> (Option<i32>, Value) {
    let args = ["run", "--base-url", sim.url.as_str(), "--run-type", run_type, "--json", "accuracy"];
    let ran = root.command(&args).env("VLLM_CIBENCH_ACCURACY_DATA", "data").output().expect("it starts");
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    (ran.status.code(), serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {said}{out}")))
}

fn held(json: &Value) -> &Value {
    &json["gates"][0]["numbers"]["comparison"]
}

#[test]
fn daily_asks_all_198_questions_ten_times_and_the_next_run_is_held_against_it() {
    let root = root();
    let sim = Simulator::of(&root, "seven_tenths.json", ROOMY);
    let (code, json) = run(&root, &sim, "daily");
    // 139 of the 198 questions are dealt a right answer, each of them ten times.
    let whole = json!({"task": "gpqa", "score": 1390.0 / 1980.0, "correct": 1390, "total": 1980, "ok": true});
    assert_eq!((code, &json["accuracy"]), (Some(0), &whole), "{json:#}");
    let rows = root.left("trials/accuracy.daily.gpqa/items.jsonl");
    assert_eq!(rows.lines().count(), 1980);
    assert!(!rows.contains("expands"), "the benchmark is gated");
    let ids: std::collections::BTreeSet<String> = rows
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a row")["id"].to_string())
        .collect();
    assert_eq!(ids.len(), ROWS);
    assert_eq!(json["gates"][0]["numbers"]["baseline"], Value::Null, "it is the first");

    let (code, json) = run(&root, &sim, "daily");
    assert_eq!(
        (code, &held(&json)["verdict"], &held(&json)["pairs"]),
        (Some(0), &json!("pass"), &json!(1980))
    );
    drop(sim);

    // What is worse on a daily run is a warning, and told.
    let sim = Simulator::of(&root, "half.json", ROOMY);
    let (code, json) = run(&root, &sim, "daily");
    assert_eq!((code, &held(&json)["verdict"]), (Some(0), &json!("fail")));
    assert!(root.left("junit.xml").contains("note.regression"));
}

#[test]
fn pr_asks_five_of_them_and_says_that_128_tokens_are_too_few() {
    let root = root();
    let sim = Simulator::of(&root, "endless.json", &[]);
    let (code, json) = run(&root, &sim, "pr");
    assert_eq!(code, Some(4), "{json:#}");
    let junit = root.left("junit.xml");
    assert!(junit.contains("raise max_tokens") && junit.contains("reached max_tokens 128"), "{junit}");
    drop(sim);
    let sim = Simulator::of(&root, "seven_tenths.json", &[]);
    let (code, json) = run(&root, &sim, "pr");
    assert_eq!((code, &json["accuracy"]["total"]), (Some(0), &json!(5)), "{json:#}");
    assert!(root.left("junit.xml").contains("note.no-baseline"), "nobody asked these five every night");
}

#[test]
fn a_change_that_loses_answers_of_the_latest_daily_run_is_red_and_says_which() {
    let case = "cases:\n  - {id: known, evaluator: gpqa, data: ../../data/gpqa_diamond.csv, repeats: 1, max_tokens: 64}\n";
    let root = root().file("cases/accuracy/pr.yaml", case).file("cases/accuracy/daily.yaml", case);
    let sim = Simulator::of(&root, "seven_tenths.json", &[]);
    assert_eq!(run(&root, &sim, "daily").0, Some(0));
    let (code, json) = run(&root, &sim, "pr");
    assert_eq!((code, &held(&json)["change"]), (Some(0), &json!(0.0)), "{json:#}");
    drop(sim);
    let sim = Simulator::of(&root, "half.json", &[]);
    let (code, json) = run(&root, &sim, "pr");
    assert_eq!(
        (code, &held(&json)["lost"], &held(&json)["gained"]),
        (Some(1), &json!(40), &json!(0)),
        "{json:#}"
    );
    let junit = root.left("junit.xml");
    assert!(junit.contains("worse than the latest daily run") && junit.contains("rec0"), "{junit}");
    // One who does not want it says so.
    let off = case.replace("max_tokens: 64", "max_tokens: 64, gate: {daily: false}");
    let root = root.file("cases/accuracy/pr.yaml", &off);
    let (code, json) = run(&root, &sim, "pr");
    assert_eq!((code, &json["gates"]), (Some(0), &json!([])), "{json:#}");
}
