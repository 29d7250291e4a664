//! The open set of pictures: the file is what is drawn here, and a model that sees, one that does not look and one that
//! takes no pictures each fare as they must. `SNAPSHOTS=overwrite` writes the file anew.
//!
//! 开放图片集：文件与绘制一致；能看、不看、不能看的模型各得其果。

mod draw;
mod set;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{accuracy::Simulator, crate_root::CrateRoot};

const FILE: &str = "cases/accuracy/items/open_images.jsonl";
const IMAGES: usize = 40;

fn rows() -> Vec<Value> {
    let path = format!("{}/{FILE}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// The rows of an item: the one to be answered yes comes first in every other.
fn told(item: &set::Item, number: usize) -> [Value; 2] {
    let image = STANDARD.encode(item.canvas.png());
    let row = |answer: &str, question: &str| json!({"question_id": item.id, "category": item.category, "question": question, "answer": answer, "image": image});
    let (yes, no) = (row("Yes", &item.yes), row("No", &item.no));
    if number.is_multiple_of(2) { [yes, no] } else { [no, yes] }
}

#[test]
fn the_file_holds_what_is_drawn() {
    let items = set::all();
    assert_eq!(items.len(), IMAGES);
    if std::env::var("SNAPSHOTS").as_deref() == Ok("overwrite") {
        let lines = items.iter().enumerate().flat_map(|(number, item)| told(item, number));
        let text: String = lines.map(|row| format!("{row}\n")).collect();
        std::fs::write(format!("{}/{FILE}", env!("CARGO_MANIFEST_DIR")), text).expect("it is written");
    }
    let rows = rows();
    assert_eq!(rows.len(), 2 * IMAGES);
    for ((number, item), rows) in items.iter().enumerate().zip(rows.chunks(2)) {
        for (row, mut expected) in rows.iter().zip(told(item, number)) {
            let png = STANDARD.decode(row["image"].as_str().expect("text")).expect("base64");
            assert!(item.canvas.is_shown_by(&png), "{} shows something else", item.id);
            // The same pixels may be compressed otherwise.
            expected["image"] = row["image"].clone();
            assert_eq!(row, &expected);
        }
    }
}

#[test]
fn no_two_pictures_are_the_same() {
    let images: std::collections::BTreeSet<String> =
        rows().iter().map(|row| row["image"].to_string()).collect();
    assert_eq!(images.len(), IMAGES);
}

const CASE: &str = "cases:\n  - id: pictures\n    dataset: open_images\n    evaluator: mme\n    data: items/open_images.jsonl\n    \
                    required_capabilities: [chat.vision]\n    redact: false\n    max_tokens: 16\n    temperature: 0\n    \
                    workers: 4\n    min_score: 0.5\n";

fn root() -> CrateRoot {
    let seeing: Vec<Value> = rows()
        .iter()
        .map(|row| {
            let wrong = if row["answer"] == "Yes" { "No" } else { "Yes" };
            json!({"question": row["question"], "image": row["image"], "right": row["answer"], "wrong": wrong})
        })
        .collect();
    let exam = |items: Value, right: f64| json!({"items": items, "right": right, "dealt": true}).to_string();
    let blind = json!([{"question": "Please answer yes or no.", "right": "Yes, there is."}]);
    CrateRoot::new()
        .file("cases/accuracy/smoke.yaml", CASE)
        .file("cases/accuracy/pr.yaml", CASE)
        .file("cases/accuracy/daily.yaml", CASE)
        .file(FILE, &std::fs::read_to_string(format!("{}/{FILE}", env!("CARGO_MANIFEST_DIR"))).expect("text"))
        .file("seeing.json", &exam(json!(seeing), 0.8))
        .file("blind.json", &exam(blind, 1.0))
}

fn run(root: &CrateRoot, exam: &str, more: &[&str], run_type: &str) -> (Option<i32>, Value) {
    let sim = Simulator::of(root, exam, more);
    let ran =
        root.run(&["run", "--base-url", sim.url.as_str(), "--run-type", run_type, "--json", "accuracy"]);
    let json =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}{}", ran.err, ran.out));
    (ran.code, json)
}

/// The result of the newest run.
fn result(root: &CrateRoot, trial: &str) -> Value {
    let folder = root.run_folder().join("trials").join(trial);
    let mut names = std::fs::read_dir(&folder).expect("files").map(|entry| entry.expect("a file").path());
    let is_result = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let path = names.find(is_result).expect("a result");
    serde_json::from_str(&std::fs::read_to_string(path).expect("text")).expect("JSON")
}

#[test]
fn a_model_that_sees_is_scored_by_mmes_rule_and_held_against_its_daily_run() {
    let root = root();
    let (code, json) = run(&root, "seeing.json", &["--enable", "vision"], "daily");
    assert_eq!(
        (code, &json["accuracy"]["correct"], &json["accuracy"]["total"]),
        (Some(0), &json!(64), &json!(80))
    );
    let result = result(&root, "accuracy.daily.pictures");
    let mme = |name: &str| result["mme"][name].as_f64().unwrap_or_else(|| panic!("{name}: {result:#}"));
    assert_eq!(mme("acc"), 0.8);
    assert_eq!(mme("acc_plus"), mme("images:both") / 40.0);
    assert_eq!(mme("images:both") + mme("images:one") + mme("images:none"), 40.0);
    assert!((mme("score") - (mme("acc") + mme("acc_plus")) / 2.0).abs() < 1e-12);
    let categories: f64 = ["existence", "count", "position", "color", "OCR"].map(mme).iter().sum();
    assert!((mme("total") - categories).abs() < 1e-9 && mme("total:most") == 1000.0);
    // As many pictures in each category: the score is the total's share of what there is.
    let score = json["accuracy"]["score"].as_f64().expect("a score");
    assert!((score - mme("total") / 1000.0).abs() < 1e-12, "{score}");

    let items = root.run_folder().join("trials/accuracy.daily.pictures/items.jsonl");
    let again = root.run(&["rescore", items.to_str().expect("UTF-8")]);
    let again: Value = serde_json::from_str(&again.out).expect("JSON");
    assert_eq!((&again["tally"]["score"], &again["changed"]), (&json["accuracy"]["score"], &json!([])));
    let page = root.left(&format!("trials/accuracy.daily.pictures/{}", page(&root)));
    assert!(page.contains("<img src=\"data:image/png;base64,"));

    // Whoever stops looking is found out, picture by picture.
    let (code, json) = run(&root, "blind.json", &["--enable", "vision"], "pr");
    assert_eq!((code, &json["accuracy"]["correct"]), (Some(1), &json!(40)));
    assert_eq!(json["accuracy"]["score"], json!(0.25));
    let compared = &json["gates"][0]["numbers"]["comparison"];
    assert_eq!((&compared["verdict"], &compared["pairs"]), (&json!("fail"), &json!(80)), "{compared:#}");
    let junit = root.left("junit.xml");
    assert!(junit.contains("expected a score of at least 0.5, found 0.2500 (40 of 80;"), "{junit}");
    assert!(junit.contains("worse than the latest daily run"), "{junit}");
}

fn page(root: &CrateRoot) -> String {
    let folder = root.run_folder().join("trials/accuracy.daily.pictures");
    let names = std::fs::read_dir(folder).expect("files").map(|entry| entry.expect("a file").file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    names.find(|name| name.ends_with(".html")).expect("a page")
}

#[test]
fn a_model_that_takes_no_pictures_is_not_asked() {
    let root = root();
    let (code, json) = run(&root, "seeing.json", &[], "smoke");
    assert_eq!((code, &json["counts"]["skipped"], &json["accuracy"]), (Some(0), &json!(1), &Value::Null));
    let junit = root.left("junit.xml");
    assert!(junit.contains("chat.vision is not supported (probe: a message with an image"), "{junit}");
}
