//! The suite: [`Accuracy`] turns a [`Spec`] into an observation. Must not know how a letter is found or an answer
//! read; it only joins the steps.
//!
//! 精度套件：串联数据、作答、计分与判定。

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use st_harness::{
    case::ExpandedCase,
    diag::Problem,
    lane::Lane,
    suite::{Cx, Mistakes, Suite},
    verdict::{Details, Note, Observation, Outcome, Reason, Reasons},
};
use tokio_util::sync::CancellationToken;

use crate::{
    accuracy::{
        data::{self, Dataset, Item},
        prompt,
        reply::Reply,
        run::{Asked, Responder, ask_all},
        score,
        spec::{Evaluator, Spec},
        tally::{Row, Tally},
    },
    api::{Answer, Body},
    client::{End, Limits, Retry, Target},
    workload::workload,
};

/// Accuracy cases. Their files are named after run types: `smoke`, `pr`, `daily`.
#[derive(Debug, Clone)]
pub struct Accuracy {
    root: Utf8PathBuf,
}

impl Accuracy {
    /// The suite whose case files are told relative to `root`: the root of cases and configs.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The file of the items: as people know it, relative to the root, and as it is opened.
    fn items(&self, spec: &Spec, case: &ExpandedCase) -> (Utf8PathBuf, Utf8PathBuf) {
        let written =
            case.origin.place("/items").map_or_else(|| "cases/accuracy/_".into(), |place| place.file);
        let shown = written.parent().unwrap_or(Utf8Path::new("")).join(&spec.items);
        let opened = self.root.join(&shown);
        (shown, opened)
    }
}

impl Suite<Target> for Accuracy {
    type Spec = Spec;

    fn kind(&self) -> &'static str {
        "accuracy"
    }

    fn lane(&self) -> Lane {
        Lane::Exclusive
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(90 * 60)
    }

    fn selects(&self, file: &str, run_type: &str) -> bool {
        file == run_type
    }

    fn check(&self, spec: &Spec, mistakes: &mut Mistakes<'_>) {
        spec.check(mistakes);
    }

    async fn run(&self, spec: &Spec, cx: &Cx<Target>) -> Observation {
        let (shown, opened) = self.items(spec, &cx.case);
        let mut dataset = match data::load(&opened, &shown) {
            Ok(dataset) => dataset,
            Err(problems) => {
                return Observation::new(Outcome::Errored(Reasons::one(unreadable(&shown, &problems))));
            }
        };
        dataset.items.truncate(spec.limit.map_or(usize::MAX, |limit| limit as usize));
        let prompts: Vec<String> = dataset.items.iter().map(|item| ask(spec.evaluator, item)).collect();
        let target = cx.world.scoped(cx.case.id.as_str());
        let model = Model { target: &target, spec, cancel: &cx.cancel };
        let answers = ask_all(&model, &prompts, spec.workers, &cx.cancel).await;
        let rows: Vec<Row> = dataset
            .items
            .iter()
            .zip(&prompts)
            .zip(&answers)
            .map(|((item, prompt), asked)| Row::of(item, prompt, asked.as_ref(), spec.keep_text))
            .collect();
        let mut observation = conclude(spec, &cx.case, &dataset, &rows);
        match cx.folder.write("items", "items.jsonl", "application/jsonl", &lines(&rows)) {
            Ok(artifact) => observation.artifacts.push(artifact),
            Err(error) => observation.notes.push(note("items", error.to_string())),
        }
        observation
    }
}

fn ask(evaluator: Evaluator, item: &Item) -> String {
    match evaluator {
        Evaluator::MultipleChoice => prompt::multiple_choice(item),
    }
}

fn lines(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", json!(row))).collect()
}

fn note(kind: &str, text: String) -> Note {
    Note { kind: kind.to_owned(), text }
}

/// All mistakes of the items' file, the first in the headline.
fn unreadable(shown: &Utf8Path, problems: &[Problem]) -> Reason {
    let line = |problem: &Problem| match &problem.place {
        Some(place) => format!("{}:{}:{}: {}", place.file, place.line, place.column, problem.message),
        None => problem.message.clone(),
    };
    let all: Vec<String> = problems.iter().map(line).collect();
    let first = all.first().cloned().unwrap_or_else(|| format!("{shown}: unreadable"));
    let place = problems.iter().find_map(|problem| problem.place.clone());
    let help = problems.iter().find_map(|problem| problem.help.clone());
    let detail = all.into_iter().chain(help).collect::<Vec<_>>().join("\n");
    let reason = Reason::new("data", first).with_detail(detail);
    match place {
        Some(place) => reason.at(place),
        None => reason,
    }
}

/// From rows to an observation.
fn conclude(spec: &Spec, case: &ExpandedCase, dataset: &Dataset, rows: &[Row]) -> Observation {
    let tally = Tally::of(rows);
    let sum = |of: fn(&Row) -> Option<u64>| rows.iter().filter_map(of).sum::<u64>();
    let details = json!({
        "accuracy": {
            "task": spec.dataset,
            "score": tally.score,
            "correct": tally.correct,
            "total": tally.total,
            "ok": tally.score.map(|score| score >= spec.min_score),
        },
        "interval": {"method": "wilson", "level": 0.95, "bounds": tally.interval},
        "gate": {"mode": "point", "min_score": spec.min_score},
        "tally": tally,
        "extractor": score::EXTRACTOR,
        "items_sha256": dataset.sha256,
        "tokens": {"prompt": sum(|row| row.prompt_tokens), "completion": sum(|row| row.completion_tokens)},
    });
    let repeated = rows.iter().filter(|row| row.attempts > 1).count();
    let retried =
        (repeated > 0).then(|| note("retried", format!("{repeated} items needed more than one attempt")));
    Observation {
        outcome: ending(spec, case, &tally, rows),
        notes: retried.into_iter().collect(),
        measurements: tally.measurements(&spec.dataset),
        details: Some(Details { schema: "accuracy/1".to_owned(), value: details }),
        artifacts: Vec::new(),
        workload: Some(workload(spec.workload_key(&dataset.sha256, dataset.items.len()))),
        seed: None,
    }
}

/// What is no measurement is said first; the bar is for scores that are.
fn ending(spec: &Spec, case: &ExpandedCase, tally: &Tally, rows: &[Row]) -> Outcome {
    if tally.not_asked > 0 {
        let told = format!("cut short: {} of {} items were asked", tally.total, rows.len());
        return Outcome::Invalid(Reasons::one(Reason::new("invalid-measurement", told)));
    }
    let failed = tally.share("failed").unwrap_or(0.0);
    if failed > spec.max_failed_ratio {
        let first = rows.iter().find_map(|row| row.failure.as_deref()).unwrap_or("no reason was given");
        let count = tally.statuses.get("failed").copied().unwrap_or(0);
        let told = format!("{count} of {} items got no answer; the first: {first}", tally.total);
        let reasons = Reasons::one(at(case, "/max_failed_ratio", Reason::new("failed-requests", told)));
        return if failed < 1.0 { Outcome::Invalid(reasons) } else { Outcome::Errored(reasons) };
    }
    let truncated = tally.share("truncated").unwrap_or(0.0);
    if truncated > spec.max_truncated_ratio {
        let told = format!(
            "truncated: {:.0} % of the answers reached max_tokens {} (accepted: {:.0} %), so the score tells of the \
             limit and not of the model; raise max_tokens",
            truncated * 100.0,
            spec.max_tokens,
            spec.max_truncated_ratio * 100.0
        );
        return Outcome::Invalid(Reasons::one(at(case, "/max_tokens", Reason::new("truncated", told))));
    }
    match (tally.score, tally.interval) {
        (Some(score), Some(interval)) if score < spec.min_score => {
            let told = format!(
                "expected a score of at least {}, found {score:.4} ({} of {}; 95 % interval {:.3} to {:.3})",
                spec.min_score, tally.correct, tally.total, interval.low, interval.high
            );
            Outcome::Failed(Reasons::one(at(case, "/min_score", Reason::new("min-score", told))))
        }
        _ => Outcome::Passed,
    }
}

fn at(case: &ExpandedCase, pointer: &str, reason: Reason) -> Reason {
    let snippet = case.origin.snippet(pointer, &reason.summary).unwrap_or_default();
    let reason = reason.with_detail(snippet);
    match case.origin.place(pointer) {
        Some(place) => reason.at(place),
        None => reason,
    }
}

/// The server under test, asked for one answer at a time.
struct Model<'a> {
    target: &'a Target,
    spec: &'a Spec,
    cancel: &'a CancellationToken,
}

impl Responder for Model<'_> {
    async fn ask(&self, prompt: &str) -> Asked {
        let body = self.target.with_model(&json!({
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.spec.temperature,
            "max_tokens": self.spec.max_tokens,
        }));
        let limits =
            Limits { idle: None, ..Limits::within(Duration::from_secs(self.spec.request_timeout_s)) };
        let retry = Retry::transport_and_busy();
        let exchange =
            self.target.client.exchange(&self.target.chat(&body), &limits, &retry, self.cancel).await;
        let took_ns = match (exchange.attempts.first(), exchange.attempts.last()) {
            (Some(first), Some(last)) => last.ended.0.saturating_sub(first.begun.0),
            _ => 0,
        };
        let (reply, usage) = match exchange.attempts.last() {
            None => (Reply::Failed("no attempt was made".to_owned()), Value::Null),
            Some(last) => match &last.end {
                End::Broken(fault) => (Reply::Failed(fault.to_string()), Value::Null),
                End::Complete => read(&Answer::read(last)),
            },
        };
        Asked {
            reply,
            attempts: u32::try_from(exchange.attempts.len()).unwrap_or(u32::MAX),
            took_ns,
            prompt_tokens: usage.get("prompt_tokens").and_then(Value::as_u64),
            completion_tokens: usage.get("completion_tokens").and_then(Value::as_u64),
        }
    }
}

/// The reply in an answer, and the server's count of tokens.
fn read(answer: &Answer) -> (Reply, Value) {
    let status = answer.status.unwrap_or(0);
    if let Some(error) = &answer.error {
        return (Reply::Failed(format!("status {status}: {}", error.message)), Value::Null);
    }
    match &answer.body {
        Body::Json(body) if status == 200 => {
            (Reply::read(body), body.get("usage").cloned().unwrap_or(Value::Null))
        }
        _ => (Reply::Failed(format!("status {status} with a body that is no chat completion")), Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use axum::{Json, Router, http::StatusCode, routing::post};
    use st_harness::{case::TrialId, folder::RunFolder, verdict::Verdict};

    use super::*;

    const ITEMS: &str = "cases/accuracy/items/common_knowledge.jsonl";

    /// Answers as a model would that knows all but the last `wrong` items, and never ends the first `endless`.
    async fn serve(wrong: usize, endless: usize, refused: usize) -> String {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
        let items = data::load(&root.join(ITEMS), Utf8Path::new(ITEMS)).unwrap().items;
        let answer = move |Json(body): Json<Value>| {
            let prompt = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
            let index = items.iter().position(|item| prompt.contains(&item.question)).unwrap();
            let right = index + wrong < items.len();
            let letter = if right { items[index].answer } else { 'x' };
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
        rows: Vec<Value>,
    }

    async fn run(base_url: &str, extra: Value) -> Ran {
        let mut spec = json!({
            "dataset": "common_knowledge",
            "evaluator": "multiple_choice",
            "items": "items/common_knowledge.jsonl",
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
        };
        let observation = Accuracy::new(env!("CARGO_MANIFEST_DIR")).run(&spec, &cx).await;
        let (verdict, reasons) = observation.outcome.clone().into_verdict();
        let reason = reasons.into_iter().next().map(|reason| reason.summary).unwrap_or_default();
        let rows = observation.artifacts.first().map_or_else(Vec::new, |artifact| {
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
        let expected =
            json!({"task": "common_knowledge", "score": 0.8, "correct": 4, "total": 5, "ok": true});
        assert_eq!(details.value["accuracy"], expected);
        assert_eq!(details.value["tokens"], json!({"prompt": 250, "completion": 35}));
        let right: Vec<_> = ran.rows.iter().map(|row| row["right"].clone()).collect();
        assert_eq!(right, [true, true, true, true, false]);
        assert!(ran.rows.iter().all(|row| row["text"].is_null()), "text is kept only where it is asked for");
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
        assert!(
            ran.reason.starts_with("truncated: 40 % of the answers reached max_tokens 64"),
            "{}",
            ran.reason
        );
        assert!(ran.reason.ends_with("raise max_tokens"), "{}", ran.reason);
        let accepted = run(&base_url, json!({"max_truncated_ratio": 1})).await;
        assert_eq!((accepted.verdict, figures(&accepted)["score value"]), (Verdict::Passed, Some(0.6)));
        assert_eq!(figures(&accepted)["truncated_ratio value"], Some(0.4));
    }

    #[tokio::test]
    async fn failed_requests_are_no_wrong_answers_and_500_is_not_repeated() {
        let ran = run(&serve(0, 0, 1).await, json!({})).await;
        assert_eq!(ran.verdict, Verdict::Invalid);
        assert_eq!(ran.reason, "1 of 5 items got no answer; the first: status 500: boom");
        assert_eq!((&ran.rows[0]["status"], &ran.rows[0]["attempts"]), (&json!("failed"), &json!(1)));
        assert!(ran.rows[0]["right"].is_null());
    }

    #[tokio::test]
    async fn a_server_that_answers_nothing_is_an_error() {
        let ran = run(&serve(0, 0, 5).await, json!({})).await;
        assert_eq!(ran.verdict, Verdict::Errored);
    }

    /// The simulator, knowing the shipped items and answering right, without end or not at all with these
    /// probabilities.
    fn simulator(right: f64, truncate: f64, fail: f64) -> crate::sim::Sim {
        use crate::sim::{Answering, Known, Options, Sim};
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
        let items = data::load(&root.join(ITEMS), Utf8Path::new(ITEMS)).unwrap().items;
        let known = |item: Item| Known {
            right: item.choices[data::LETTERS.iter().position(|letter| *letter == item.answer).unwrap()]
                .clone(),
            question: item.question,
            wrong: String::new(),
            choice: true,
        };
        let items = items.into_iter().map(known).collect();
        let accuracy = Answering { items, right, truncate, fail };
        Sim::start(Options { accuracy, model: "m".to_owned(), ..Options::default() }).unwrap()
    }

    #[tokio::test]
    async fn the_simulators_known_accuracy_is_measured_as_just_that() {
        for (right, truncate, fail, verdict, score, truncated) in [
            (1.0, 0.0, 0.0, Verdict::Passed, 1.0, 0.0),
            (0.0, 0.0, 0.0, Verdict::Passed, 0.0, 0.0),
            (1.0, 1.0, 0.0, Verdict::Invalid, 0.0, 1.0),
            (1.0, 0.0, 1.0, Verdict::Errored, 0.0, 0.0),
        ] {
            let sim = simulator(right, truncate, fail);
            let ran = run(&sim.base_url(), json!({})).await;
            let told = (ran.verdict, figures(&ran)["score value"], figures(&ran)["truncated_ratio value"]);
            assert_eq!(told, (verdict, Some(score), Some(truncated)), "{}", ran.reason);
        }
    }

    #[tokio::test]
    async fn a_missing_file_of_items_says_where_it_was_looked_for() {
        let ran = run("http://127.0.0.1:9/v1", json!({"items": "items/none.jsonl"})).await;
        assert_eq!(ran.verdict, Verdict::Errored);
        let told = "cannot read the items cases/accuracy/items/none.jsonl: No such file or directory";
        assert!(ran.reason.starts_with(told), "{}", ran.reason);
    }
}
