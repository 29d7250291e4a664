//! The suite against servers that know some answers.
//!
//! 套件测试。

use std::collections::BTreeMap;

use axum::{Json, Router, http::StatusCode, routing::post};
use serde_json::Value;
use st_harness::{case::TrialId, verdict::Verdict};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::accuracy::{
    evaluator::{Choose, Evaluator, Key},
    sandbox::Level,
};

const ITEMS: &str = "cases/accuracy/items/common_knowledge.csv";

fn questions() -> Vec<Question> {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let supply = Supply::default().or(root.join(ITEMS), ITEMS);
    Evaluator::Gpqa.exam(&supply, &Choose { limit: Some(5), ..Choose::default() }).unwrap().questions
}

fn letter(question: &Question) -> char {
    match &question.key {
        Key::Gpqa(key) => key.letter,
        other => panic!("{other:?}"),
    }
}

/// Answers as a model would that knows all but the last `wrong` of five items, never ends the first `endless`, and
/// fails the first `refused`.
async fn serve(wrong: usize, endless: usize, refused: usize) -> String {
    let questions = questions();
    let answer = move |Json(body): Json<Value>| {
        let prompt = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
        let index = questions.iter().position(|question| question.prompt == prompt).unwrap();
        let right = index + wrong < questions.len();
        let letter = if right { letter(&questions[index]) } else { 'x' };
        let (text, finish) = if index < endless {
            ("Let me think".to_owned(), "length")
        } else {
            (format!("Easy.\nAnswer: {letter}"), "stop")
        };
        let status = if index < refused { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        let body = if status == StatusCode::OK {
            json!({
                "choices": [{"message": {"content": text}, "finish_reason": finish}],
                "usage": {"prompt_tokens": 50, "completion_tokens": 7},
            })
        } else {
            json!({"error": {"message": "boom", "type": "InternalServerError", "code": 500}})
        };
        std::future::ready((status, Json(body)))
    };
    let app = Router::new().route("/v1/chat/completions", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v1")
}

struct Ran {
    verdict: Verdict,
    reason: String,
    observation: Observation,
    rows: Vec<Row>,
}

async fn run(base_url: &str, extra: Value) -> Ran {
    let mut spec = json!({
        "dataset": "common_knowledge",
        "data": "items/common_knowledge.csv",
        "limit": 5,
        "repeats": 1,
        "redact": false,
        "max_tokens": 64,
        "workers": 2,
    });
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let id = TrialId::new("accuracy::smoke::common_knowledge").unwrap();
    let folder = RunFolder::open(&path, Arc::default()).unwrap().trial(&id);
    let case = ExpandedCase::of(id, Value::Null);
    let cx = Cx {
        world: Arc::new(Target::at(base_url, "m").unwrap()),
        case: Arc::new(case),
        capabilities: Arc::default(),
        cancel: CancellationToken::new(),
        folder,
        run_type: "smoke".to_owned(),
        run_id: "r".to_owned(),
    };
    let suite =
        Accuracy::new(env!("CARGO_MANIFEST_DIR")).keeping_answers_in(path.join("answers"), Arc::default());
    let observation = suite.run(&spec, &cx).await;
    let (verdict, reasons) = observation.outcome.clone().into_verdict();
    let reason = reasons.into_iter().next().map(|reason| reason.summary).unwrap_or_default();
    let items = observation.artifacts.iter().find(|artifact| artifact.role == "items");
    let rows = items.map_or_else(Vec::new, |artifact| {
        let text = std::fs::read_to_string(path.join(&artifact.path)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    });
    Ran { verdict, reason, observation, rows }
}

fn figures(ran: &Ran) -> BTreeMap<String, Option<f64>> {
    let name = |m: &st_harness::verdict::Measurement| format!("{} {}", m.name, m.stat);
    ran.observation.measurements.iter().map(|m| (name(m), m.value)).collect()
}

#[tokio::test]
async fn a_model_that_knows_four_of_five_scores_four_of_five() {
    let ran = run(&serve(1, 0, 0).await, json!({"min_score": 0.8})).await;
    assert_eq!((ran.verdict, ran.reason.as_str()), (Verdict::Passed, ""));
    assert_eq!(figures(&ran)["score value"], Some(0.8));
    let details = ran.observation.details.unwrap();
    let expected = json!({"task": "common_knowledge", "score": 0.8, "correct": 4, "total": 5, "ok": true});
    assert_eq!(details.value["accuracy"], expected);
    assert_eq!(details.value["simple_evals"]["score"], 0.8);
    assert_eq!(details.value["tokens"], json!({"prompt": 250, "completion": 35}));
    assert_eq!(ran.rows.iter().filter(|row| row.scored.as_ref().unwrap().score == 1.0).count(), 4);
    assert!(ran.rows.iter().all(|row| row.text.is_some()));
}

#[tokio::test]
async fn what_may_not_be_passed_on_is_in_no_row() {
    let ran = run(&serve(0, 0, 1).await, json!({"redact": true})).await;
    assert!(ran.rows.iter().all(|row| row.text.is_none()));
    assert_eq!(ran.rows.iter().find_map(|row| row.failure.as_deref()), Some("status 500"));
}

#[tokio::test]
async fn a_score_below_the_bar_is_red_and_tells_how_sure_it_is() {
    let ran = run(&serve(3, 0, 0).await, json!({"min_score": 0.5})).await;
    assert_eq!(ran.verdict, Verdict::Failed);
    let told = "expected a score of at least 0.5, found 0.4000 (2 of 5; 95 % interval 0.118 to 0.769)";
    assert_eq!(ran.reason, told);
}

#[tokio::test]
async fn answers_cut_off_by_the_limit_are_no_measurement_of_the_model() {
    let base_url = serve(0, 2, 0).await;
    let ran = run(&base_url, json!({"min_score": 0.9})).await;
    assert_eq!(ran.verdict, Verdict::Invalid);
    assert!(ran.reason.starts_with("truncated: 40 % of the answers reached max_tokens 64"), "{}", ran.reason);
    assert!(ran.reason.ends_with("raise max_tokens"), "{}", ran.reason);
    let accepted = run(&base_url, json!({"max_truncated_ratio": 1})).await;
    assert_eq!((accepted.verdict, figures(&accepted)["score value"]), (Verdict::Passed, Some(0.6)));
    assert_eq!(figures(&accepted)["truncated_ratio value"], Some(0.4));
}

#[tokio::test]
async fn failed_requests_are_no_wrong_answers_and_500_is_not_repeated() {
    let ran = run(&serve(0, 0, 1).await, json!({})).await;
    assert_eq!(ran.verdict, Verdict::Invalid);
    assert_eq!(ran.reason, "1 of 5 questions got no answer; the first: status 500: boom");
    let failed: Vec<&Row> = ran.rows.iter().filter(|row| row.status == Some(Status::Failed)).collect();
    assert_eq!((failed.len(), failed[0].attempts, &failed[0].scored), (1, 1, &None));
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_an_error() {
    let ran = run(&serve(0, 0, 5).await, json!({})).await;
    assert_eq!(ran.verdict, Verdict::Errored);
}

/// Answers every task of our own with a solution, but for the last `wrong`.
async fn serve_functions(wrong: usize) -> String {
    let file = std::fs::read_to_string("cases/accuracy/items/small_functions.jsonl").unwrap();
    let tasks: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer = move |Json(body): Json<Value>| {
        let prompt = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
        let index = tasks.iter().position(|task| prompt.ends_with(task["prompt"].as_str().unwrap())).unwrap();
        let body = if index + wrong < tasks.len() { "canonical_solution" } else { "none" };
        let body = tasks[index][body].as_str().unwrap_or("    return None\n");
        let text = format!("```python\n{}{body}```", tasks[index]["prompt"].as_str().unwrap());
        let answer = json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]});
        std::future::ready(Json(answer))
    };
    let app = Router::new().route("/v1/chat/completions", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v1")
}

#[tokio::test]
async fn functions_are_run_and_the_sandbox_is_in_the_record() {
    if let Err(why) = Sandbox::shared().await.at_least(Level::Full) {
        eprintln!("skipped: {why}");
        return;
    }
    let case = json!({
        "dataset": "small_functions",
        "evaluator": "humaneval",
        "data": "items/small_functions.jsonl",
        "limit": 10,
        "repeats": 2,
    });
    let ran = run(&serve_functions(3).await, case).await;
    assert_eq!((ran.verdict, figures(&ran)["score value"]), (Verdict::Passed, Some(0.7)), "{}", ran.reason);
    let details = ran.observation.details.unwrap().value;
    assert_eq!(details["simple_evals"]["pass@2"], 0.7);
    assert_eq!(details["sandbox"]["level"], "full");
    let notes = ran.rows.iter().filter_map(|row| row.scored.as_ref()?.note.as_deref());
    assert_eq!(notes.filter(|note| note.starts_with("raised ")).count(), 6);
}

#[test]
fn a_machine_that_cannot_lock_up_code_skips_the_case_and_says_why() {
    let spec = json!({"evaluator": "humaneval", "max_tokens": 64, "min_score": 0.5});
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let told = "no code is run here: sandbox level `full` is required".to_owned();
    let skipped = not_evaluated(&spec, Unready::Unguarded(told.clone()));
    let Outcome::Skipped(reason) = skipped.outcome else { panic!("{:?}", skipped.outcome) };
    assert_eq!((reason.kind.as_str(), reason.summary), ("sandbox", told));
    assert_eq!(skipped.notes[0].text, "not evaluated: humaneval of at least 0.5 was asked for");
}

#[tokio::test]
async fn a_missing_file_of_items_is_a_skip_that_says_what_to_do_unless_it_is_required() {
    let missing = json!({"data": "items/none.csv", "min_score": 0.5});
    let ran = run("http://127.0.0.1:9/v1", missing).await;
    assert_eq!(ran.verdict, Verdict::Skipped);
    let told = "no data: `gpqa_diamond` was looked for in cases/accuracy/items/none.csv. GPQA is gated";
    assert!(ran.reason.starts_with(told), "{}", ran.reason);
    let note = &ran.observation.notes[0];
    assert_eq!(note.text, "not evaluated: common_knowledge of at least 0.5 was asked for");
    let required = json!({"data": "items/none.csv", "required": true});
    assert_eq!(run("http://127.0.0.1:9/v1", required).await.verdict, Verdict::Failed);
}
