//! The suite: [`Perf`] turns a [`Spec`] into an observation. Must not know how a figure is defined or a request
//! timed; it only joins the steps.
//!
//! 性能套件：串联提示词、驱动、汇总与判定。

use std::{collections::BTreeMap, sync::mpsc, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use st_harness::{
    case::ExpandedCase,
    lane::Lane,
    suite::{Cx, Mistakes, Suite},
    verdict::{Artifact, Details, Note, Observation, Outcome as Ending, Reason, Reasons},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{End, Limits, Request, Retry, Route, Target},
    perf::{
        drive::{Plan, closed_loop},
        expect::judge,
        prompt::{Counted, Prompts, TokenCounter, Wanted, prepare},
        record::Record,
        sidecar,
        spec::{Endpoint, Spec},
        summary::Summary,
        validity::{Client, Validity},
    },
    workload::{sha256_hex, workload},
};

/// Performance cases. Their files are named after run types: `smoke`, `pr`, `daily`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Perf;

impl Suite<Target> for Perf {
    type Spec = Spec;

    fn kind(&self) -> &'static str {
        "perf"
    }

    fn lane(&self) -> Lane {
        Lane::Exclusive
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(30 * 60)
    }

    fn selects(&self, file: &str, run_type: &str) -> bool {
        file == run_type
    }

    fn check(&self, spec: &Spec, mistakes: &mut Mistakes<'_>) {
        spec.check(mistakes);
    }

    async fn run(&self, spec: &Spec, cx: &Cx<Target>) -> Observation {
        let target = cx.world.scoped(cx.case.id.as_str());
        let counter = ServerCount { target: &target, endpoint: spec.endpoint, cancel: &cx.cancel };
        let prompts = match prepare(wanted(spec), &counter).await {
            Ok(prompts) => prompts,
            Err(message) => {
                return Observation::new(Ending::Errored(Reasons::one(unreachable_length(
                    &cx.case, message,
                ))));
            }
        };
        let (records, written) = measure(spec, cx, &target, &prompts).await;
        let mut observation = conclude(spec, &cx.case, &prompts, &records);
        match written {
            Ok(artifact) => observation.artifacts.push(artifact),
            Err(message) => observation.notes.push(note("sidecar", message)),
        }
        observation
    }
}

fn wanted(spec: &Spec) -> Wanted {
    Wanted {
        warmup: spec.warmup,
        measured: spec.requests,
        tokens: spec.input_len,
        language: spec.language,
        seed: spec.seed,
    }
}

fn unreachable_length(case: &ExpandedCase, message: String) -> Reason {
    let reason = Reason::new("input-len", message);
    match case.origin.place("/input_len") {
        Some(place) => reason.at(place),
        None => reason,
    }
}

/// The body of one request, as it is sent.
fn body(spec: &Spec, prompt: &str) -> Value {
    let asked = match spec.endpoint {
        Endpoint::Chat => json!({"messages": [{"role": "user", "content": prompt}]}),
        Endpoint::Completions => json!({"prompt": prompt}),
    };
    let common = json!({
        "max_tokens": spec.output_len,
        "stream": true,
        "stream_options": {"include_usage": true, "continuous_usage_stats": true},
    });
    [asked, common, json!(spec.sampling)]
        .into_iter()
        .filter_map(|part| match part {
            Value::Object(fields) => Some(fields),
            _ => None,
        })
        .flatten()
        .collect()
}

fn request(spec: &Spec, target: &Target, prompt: &str) -> Request {
    let body = target.with_model(&body(spec, prompt));
    match spec.endpoint {
        Endpoint::Chat => target.chat(&body),
        Endpoint::Completions => target.completions(&body),
    }
}

/// Drives the load while a thread of its own takes the records to the sidecar, so that no disk is waited for
/// between two requests.
async fn measure(
    spec: &Spec,
    cx: &Cx<Target>,
    target: &Target,
    prompts: &Prompts,
) -> (Vec<Record>, Result<Artifact, String>) {
    let plan = Plan {
        requests: prompts.texts.iter().map(|prompt| request(spec, target, prompt)).collect(),
        warmup: spec.warmup as usize,
        concurrency: spec.concurrency,
        limits: Limits { idle: None, ..Limits::within(Duration::from_secs(spec.request_timeout_s)) },
    };
    let (records, ended) = mpsc::channel();
    let folder = cx.folder.clone();
    let writer = tokio::task::spawn_blocking(move || sidecar::write(&folder, ended));
    closed_loop(&target.client, &plan, &cx.cancel, &|record| {
        // The writer outlives the loop; were it gone, its own error would tell.
        let _ = records.send(record);
    })
    .await;
    drop(records);
    writer.await.unwrap_or_else(|error| (Vec::new(), Err(format!("the sidecar's writer failed: {error}"))))
}

/// From records to an observation.
fn conclude(spec: &Spec, case: &ExpandedCase, prompts: &Prompts, records: &[Record]) -> Observation {
    let summary = Summary::of(records);
    let validity = Validity::of(records, spec.requests, Client::this_build());
    let judged = judge(spec, case, &summary, records);
    let failures = Failures::of(records);
    let details = json!({
        "spec": {"requests": spec.requests, "warmup": spec.warmup, "request_timeout_s": spec.request_timeout_s},
        "concurrency_backend": "asyncio",
        "quantile_method": "linear",
        "window_ns": summary.window_ns,
        "outcomes": summary.outcomes,
        "warmup_outcomes": summary.warmup_outcomes,
        "failures": failures.0,
        "token_sources": token_sources(records),
        "prompts": {"counted": prompts.counted, "sha256": sha256_hex(prompts.texts.join("\n").as_bytes())},
        "validity": validity,
        "thin_quantiles": summary.thin_quantiles,
    });
    let mut notes: Vec<Note> = validity.degraded.iter().map(|why| note("degraded", why.clone())).collect();
    notes.extend(prompt_note(&prompts.counted));
    notes.extend(failures.line().map(|line| note("failed-requests", line)));
    let mut measurements = summary.measurements.clone();
    measurements.extend(judged.measurements);
    Observation {
        outcome: ending(&validity, &summary, judged.broken, &failures),
        notes,
        measurements,
        details: Some(Details { schema: "perf/1".to_owned(), value: details }),
        artifacts: Vec::new(),
        workload: Some(workload(spec.workload_key())),
        seed: Some(spec.seed),
    }
}

/// An invalid measurement decides nothing; a run without one success is red whatever was expected.
fn ending(validity: &Validity, summary: &Summary, broken: Vec<Reason>, failures: &Failures) -> Ending {
    let invalid =
        validity.invalid.iter().map(|why| Reason::new("invalid-measurement", why.clone())).collect();
    if let Some(reasons) = Reasons::from_vec(invalid) {
        return Ending::Invalid(reasons);
    }
    let told = failures.line().unwrap_or_default();
    if summary.ended("ok") == 0 {
        let none =
            Reason::new("no-success", format!("none of {} requests succeeded: {told}", summary.judged()));
        return if summary.ended("transport") == summary.judged() {
            Ending::Errored(Reasons::one(none))
        } else {
            Ending::Failed(Reasons::one(none))
        };
    }
    let broken = broken.into_iter().map(|reason| with_failures(reason, &told)).collect();
    Reasons::from_vec(broken).map_or(Ending::Passed, Ending::Failed)
}

fn with_failures(mut reason: Reason, told: &str) -> Reason {
    if !told.is_empty() {
        if !reason.detail.is_empty() {
            reason.detail.push_str("\n\n");
        }
        reason.detail.push_str(told);
    }
    reason
}

/// The measured requests that failed, by what was told of them.
#[derive(Debug, Serialize)]
struct Failure {
    outcome: &'static str,
    message: String,
    count: u64,
}

struct Failures(Vec<Failure>);

impl Failures {
    fn of(records: &[Record]) -> Self {
        let mut counts: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
        for record in records.iter().filter(|r| !r.warmup && !r.is_ok()) {
            *counts.entry((record.outcome.name(), record.outcome.describe())).or_default() += 1;
        }
        let mut failures: Vec<_> = counts
            .into_iter()
            .map(|((outcome, message), count)| Failure { outcome, message, count })
            .collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        Self(failures)
    }

    /// The three commonest in one line; nothing where there is none.
    fn line(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let shown: Vec<_> =
            self.0.iter().take(3).map(|failure| format!("{} × {}", failure.count, failure.message)).collect();
        let rest = self.0.len().saturating_sub(3);
        let more = if rest > 0 { format!("; {rest} other kinds") } else { String::new() };
        Some(format!("{}{more}", shown.join("; ")))
    }
}

fn token_sources(records: &[Record]) -> BTreeMap<String, u64> {
    let mut sources = BTreeMap::new();
    for record in records.iter().filter(|r| !r.warmup && r.is_ok()) {
        let name = match json!(record.token_source) {
            Value::String(name) => name,
            other => other.to_string(),
        };
        *sources.entry(name).or_default() += 1;
    }
    sources
}

fn prompt_note(counted: &Counted) -> Option<Note> {
    let text = match counted {
        Counted::Exact => return None,
        Counted::Near { prompts, short_by } => {
            format!("{prompts} prompts are up to {short_by} tokens shorter than asked")
        }
        Counted::Estimated { reason } => format!("prompt lengths are estimates: {reason}"),
    };
    Some(note("prompt-length", text))
}

fn note(kind: &str, text: String) -> Note {
    Note { kind: kind.to_owned(), text }
}

/// The server's own count, from `/tokenize`.
struct ServerCount<'a> {
    target: &'a Target,
    endpoint: Endpoint,
    cancel: &'a CancellationToken,
}

impl TokenCounter for ServerCount<'_> {
    async fn count(&self, text: &str) -> Result<u64, String> {
        let asked = match self.endpoint {
            Endpoint::Chat => json!({"messages": [{"role": "user", "content": text}]}),
            Endpoint::Completions => json!({"prompt": text}),
        };
        let request = Request::post_json(Route::Root("/tokenize".into()), &self.target.with_model(&asked));
        let limits = Limits::within(Duration::from_secs(30));
        let retry = Retry::transport_and_busy();
        let exchange = self.target.client.exchange(&request, &limits, &retry, self.cancel).await;
        let last = exchange.attempts.last().ok_or("POST /tokenize was never tried")?;
        if let End::Broken(fault) = &last.end {
            return Err(format!("POST /tokenize: {fault}"));
        }
        let body: Vec<u8> = last.chunks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let count =
            serde_json::from_slice::<Value>(&body).ok().and_then(|answer| answer.get("count")?.as_u64());
        match (last.status, count) {
            (Some(200), Some(count)) => Ok(count),
            (Some(200), None) => Err("POST /tokenize answered 200 without a `count`".to_owned()),
            (Some(status), _) => Err(format!("POST /tokenize answered {status}")),
            (None, _) => Err("POST /tokenize ended without a status".to_owned()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use st_harness::case::TrialId;

    use super::*;
    use crate::perf::{record::Outcome, summary::tests::record};

    /// A case of nothing but a name.
    pub(crate) fn case() -> ExpandedCase {
        ExpandedCase::of(TrialId::new("perf::smoke::chat").unwrap(), Value::Null)
    }

    fn spec(extra: &str) -> Spec {
        let text = format!(r#"{{"concurrency":1,"input_len":8,"output_len":4,"requests":2{extra}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn observe(spec: &Spec, records: &[Record]) -> Observation {
        let prompts = Prompts { texts: vec!["hello".to_owned()], counted: Counted::Exact };
        conclude(spec, &case(), &prompts, records)
    }

    fn refused(index: u64) -> Record {
        record(index, 0, Outcome::Status { status: 503, message: "busy".to_owned() })
    }

    fn first_reason(ending: Ending) -> (st_harness::verdict::Verdict, Reason) {
        let (verdict, reasons) = ending.into_verdict();
        (verdict, reasons.into_iter().next().expect("a reason"))
    }

    #[test]
    fn a_request_says_what_the_case_asked_for_and_nothing_else() {
        let chat = body(&spec(r#","sampling":{"temperature":0,"top_k":8}"#), "hi");
        let expected = json!({
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 4,
            "stream": true,
            "stream_options": {"include_usage": true, "continuous_usage_stats": true},
            "temperature": 0.0,
            "top_k": 8,
            "ignore_eos": true,
        });
        assert_eq!(chat, expected);
        let completions = body(&spec(r#","endpoint":"completions","sampling":{"ignore_eos":false}"#), "hi");
        assert_eq!(completions["prompt"], "hi");
        assert_eq!(completions["ignore_eos"], false);
        assert!(completions.get("messages").is_none());
    }

    #[test]
    fn a_trial_passes_when_its_requests_do_and_nothing_more_is_expected() {
        let observation = observe(&spec(""), &[record(0, 0, Outcome::Ok), record(1, 170, Outcome::Ok)]);
        assert_eq!(observation.outcome, Ending::Passed);
        assert_eq!(observation.seed, Some(0));
        let key = observation.workload.unwrap().key;
        assert_eq!((&key["concurrency"], &key["backend"]), (&json!(1), &json!("openai-chat")));
    }

    #[test]
    fn counts_and_seed_leave_the_workload_as_it_is() {
        let hash = |extra: &str| workload(spec(extra).workload_key()).hash;
        assert_eq!(hash(""), hash(r#","warmup":3,"seed":9,"request_timeout_s":5"#));
        assert_ne!(hash(""), hash(r#","sampling":{"temperature":0}"#));
        assert_ne!(hash(""), hash(r#","endpoint":"completions""#));
    }

    #[test]
    fn no_success_is_red_even_where_nothing_is_expected() {
        let (verdict, reason) = first_reason(observe(&spec(""), &[refused(0), refused(1)]).outcome);
        assert_eq!(verdict, st_harness::verdict::Verdict::Failed);
        assert_eq!(reason.summary, "none of 2 requests succeeded: 2 × status 503: busy");
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_an_error_and_no_failure() {
        let lost = |index| record(index, 0, Outcome::Transport { message: "connection refused".to_owned() });
        let (verdict, reason) = first_reason(observe(&spec(""), &[lost(0), lost(1)]).outcome);
        assert_eq!(verdict, st_harness::verdict::Verdict::Errored);
        assert!(reason.summary.ends_with("2 × connection refused"), "{}", reason.summary);
    }

    #[test]
    fn a_run_cut_short_is_no_measurement() {
        let records = [record(0, 0, Outcome::Ok), record(1, 0, Outcome::Cancelled)];
        let (verdict, reason) = first_reason(observe(&spec(""), &records).outcome);
        assert_eq!(verdict, st_harness::verdict::Verdict::Invalid);
        assert!(reason.summary.starts_with("cut short: 1 of 2 requests"), "{}", reason.summary);
    }

    #[test]
    fn a_broken_threshold_tells_which_requests_failed_and_how() {
        let spec = spec(r#","expect":[{"failure_ratio":{"at_most":0.1}}]"#);
        let (_, reason) = first_reason(observe(&spec, &[record(0, 0, Outcome::Ok), refused(1)]).outcome);
        assert_eq!(reason.summary, "expected failure_ratio at most 0.1, found 0.500000 (n = 2)");
        assert_eq!(reason.detail, "1 × status 503: busy");
    }

    #[test]
    fn the_record_keeps_what_later_readers_need() {
        let details = observe(&spec(""), &[record(0, 0, Outcome::Ok), refused(1)]).details.unwrap();
        assert_eq!(details.schema, "perf/1");
        assert_eq!(details.value["outcomes"], json!({"ok": 1, "status": 1}));
        assert_eq!(details.value["failures"][0]["message"], "status 503: busy");
        assert_eq!(details.value["token_sources"], json!({"usage_per_event": 1}));
        assert_eq!(details.value["window_ns"], 170_000_000);
    }

    #[test]
    fn this_build_tells_that_it_is_not_optimised_where_it_is_not() {
        let notes = observe(&spec(""), &[record(0, 0, Outcome::Ok), record(1, 0, Outcome::Ok)]).notes;
        assert_eq!(notes.iter().any(|note| note.text.contains("unoptimised")), cfg!(debug_assertions));
    }

    /// A server that counts words, and streams one token every 3 ms after 20 ms.
    async fn serve() -> String {
        use axum::{Json, Router, body::Body, routing::post};
        let count = |Json(body): Json<Value>| {
            let text = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
            let wide = text.chars().filter(|c| !c.is_ascii()).count();
            let words = text.split_whitespace().filter(|word| word.is_ascii()).count();
            std::future::ready(Json(json!({"count": 10 + wide + words})))
        };
        let answer = |Json(body): Json<Value>| {
            let asked = body["max_tokens"].as_u64().unwrap_or(1);
            let stream = futures_util::stream::unfold(0, move |n| async move {
                tokio::time::sleep(Duration::from_millis(if n == 0 { 20 } else { 3 })).await;
                let finish = if n + 1 == asked { "\"length\"" } else { "null" };
                let usage = format!(r#"{{"prompt_tokens":64,"completion_tokens":{}}}"#, n + 1);
                let token = format!(
                    "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}},\"finish_reason\":{finish}}}],\"usage\":{usage}}}\n\n"
                );
                let last = "data: [DONE]\n\n".to_owned();
                (n <= asked).then_some((Ok::<_, std::io::Error>(if n < asked { token } else { last }), n + 1))
            });
            let headers = [("content-type", "text/event-stream")];
            std::future::ready((headers, Body::from_stream(stream)))
        };
        let app = Router::new().route("/tokenize", post(count)).route("/v1/chat/completions", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/v1")
    }

    /// The shipped smoke case against `base_url`: what came of it, and the lines of its sidecar.
    async fn smoke(base_url: &str) -> (Observation, Vec<Record>) {
        let root = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(root.path().to_owned()).unwrap();
        let run = st_harness::folder::RunFolder::open(&path, Arc::default()).unwrap();
        let cx = Cx {
            world: Arc::new(Target::at(base_url, "m").unwrap()),
            case: Arc::new(case()),
            capabilities: Arc::default(),
            cancel: CancellationToken::new(),
            folder: run.trial(&case().id),
            run_type: "smoke".to_owned(),
        };
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/cases/perf/smoke.yaml")).unwrap();
        let file: Value = serde_yaml::from_str(&text).unwrap();
        let mut said = file["cases"][0].clone();
        for key in ["id", "about", "timeout"] {
            said.as_object_mut().unwrap().remove(key);
        }
        let spec: Spec = serde_json::from_value(said).unwrap();
        let observation = Perf.run(&spec, &cx).await;
        let lines = std::fs::read_to_string(path.join(&observation.artifacts[0].path)).unwrap();
        (observation, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn value(observation: &Observation, name: &str, stat: &str) -> f64 {
        let figure = observation.measurements.iter().find(|m| m.name == name && m.stat == stat).unwrap();
        figure.value.unwrap()
    }

    #[tokio::test]
    async fn the_shipped_smoke_case_runs_against_a_server_and_leaves_its_requests() {
        let (observation, lines) = smoke(&serve().await).await;
        assert_eq!(observation.outcome, Ending::Passed);
        assert!(value(&observation, "ttft", "min") >= 0.02);
        assert!(value(&observation, "e2e", "min") >= 0.02 + 15.0 * 0.003);
        assert_eq!(value(&observation, "output_tokens", "sum"), 128.0);
        assert_eq!(value(&observation, "failure_ratio", "value"), 0.0);
        assert!((1.0..=2.0).contains(&value(&observation, "achieved_concurrency", "value")));
        let details = observation.details.unwrap().value;
        assert_eq!(details["prompts"]["counted"], "exact");
        assert_eq!(details["warmup_outcomes"], json!({"ok": 2}));
        assert_eq!(lines.iter().filter(|record| record.warmup).count(), 2);
        assert_eq!(lines.len(), 10);
    }

    #[tokio::test]
    async fn the_simulator_is_measured_as_it_was_told_to_answer() {
        use crate::sim::{Options, Sim, Timing};
        let timing = Timing { ttft_ms: 30.0, tpot_ms: 5.0, ..Timing::default() };
        let sim = Sim::start(Options { timing, model: "m".to_owned(), ..Options::default() }).unwrap();
        let (observation, lines) = smoke(&sim.base_url()).await;
        assert_eq!(observation.outcome, Ending::Passed, "{:?}", observation.notes);
        assert!(value(&observation, "ttft", "min") >= 0.03);
        assert!(value(&observation, "e2e", "min") >= 0.03 + 15.0 * 0.005);
        assert_eq!(value(&observation, "output_tokens", "sum"), 128.0);
        assert_eq!(observation.details.unwrap().value["token_sources"], json!({"usage_per_event": 8}));
        assert!(lines.iter().all(|record| record.prompt_tokens == Some(64)), "prompts have the asked length");
    }
}
