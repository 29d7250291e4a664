//! The suite: [`Perf`] turns a [`Spec`] into an observation. Must not know how a figure is defined or a request
//! timed; it only joins the steps.
//!
//! 性能套件：串联提示词、计划、驱动与判定。

use std::{
    sync::{Arc, atomic::AtomicU32, mpsc},
    time::Duration,
};

use camino::Utf8PathBuf;
use serde_json::{Value, json};
use st_harness::{
    case::ExpandedCase,
    lane::Lane,
    suite::{Cx, Mistakes, Suite},
    verdict::{Artifact, Observation, Outcome as Ending, Reason, Reasons},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Limits, Request, Stamp, Target},
    perf::{
        beyond::Beyond,
        ceiling::Ceiling,
        conclude::{Run, conclude, note},
        corpus::{self, Corpus, Item, Library, Refused},
        drive::{self, Driven, Elsewhere, Plan, load},
        profile::Profiler,
        progress::Progress,
        prompt::{Counter, ServerCount},
        record::Record,
        schedule::{self, Schedule},
        server::{Scraped, Scraper},
        sidecar,
        spec::{ConcurrencyBackend, Endpoint, Spec},
        talk::{Ask, Parts, conversations},
        tool,
        validity::Client,
    },
    tools::{Kind, Tools},
    workload::workload,
};

/// Performance cases. Their files are named after run types: `smoke`, `pr`, `daily`.
#[derive(Debug, Default)]
pub struct Perf {
    library: Library,
    of_any_file: bool,
    tools: Tools,
    beyond: Beyond,
}

impl Perf {
    /// Paths of data sets are relative to `root`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self { library: Library::new(root), ..Self::default() }
    }

    /// Takes the cases of every file, whatever its name.
    #[must_use]
    pub fn of_any_file(self) -> Self {
        Self { of_any_file: true, ..self }
    }

    /// The same with `tools`, which a case may name.
    #[must_use]
    pub fn with_tools(self, tools: Tools) -> Self {
        Self { tools, ..self }
    }
}

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
        self.of_any_file || file == run_type
    }

    fn sidecar(&self) -> Option<&'static str> {
        Some(sidecar::NAME)
    }

    fn check(&self, spec: &Spec, mistakes: &mut Mistakes<'_>) {
        spec.check(mistakes);
        for refused in corpus::mistakes(spec, &self.library) {
            mistakes.at(&refused.pointer, refused.message);
        }
        if let Some(used) = &spec.tool {
            self.tools.check(used, Kind::Perf, mistakes);
        }
    }

    async fn run(&self, spec: &Spec, cx: &Cx<Target>) -> Observation {
        if let Some(used) = &spec.tool {
            return tool::observe(&self.tools, spec, used, cx).await;
        }
        if let Some(reason) = self.beyond.skips(spec) {
            return Observation::new(Ending::Skipped(reason));
        }
        let target = cx.world.scoped(cx.case.id.as_str());
        let schedule = Schedule::replaying(spec, &corpus::arrivals(spec, &self.library))
            .with_conversations(spec, corpus::turns(spec, &self.library));
        let corpus = match self.corpus(spec, &schedule, &target, &cx.cancel).await {
            Ok(corpus) => corpus,
            Err(refused) => return errored(reason(&cx.case, refused)),
        };
        let saved = save(&schedule, cx);
        let plan = plan(spec, &schedule, &target, &corpus, cx);
        let ceiling = calibrated(spec, cx, &target).await;
        let progress = Progress::new(cx.case.id.as_str(), &schedule, spec.stop.duration);
        let measured = match measure(plan, progress, cx, &target, spec.profile).await {
            Ok(measured) => measured,
            Err(message) => return errored(Reason::new("load", message)),
        };
        let Measured { driven, records, written, server, unprofiled } = measured;
        let mut observation = conclude(
            spec,
            &cx.case,
            &Run {
                schedule: &schedule,
                driven: &driven,
                corpus: &corpus,
                readings: &server.readings,
                ceiling: &ceiling,
                clock: (jiff::Timestamp::now(), Stamp::now()),
            },
            &records,
        );
        for (role, artifact) in [("sidecar", written), ("schedule", saved), ("gauges", server.written)] {
            match artifact {
                Ok(artifact) => observation.artifacts.push(artifact),
                Err(message) => observation.notes.push(note(role, message)),
            }
        }
        observation.notes.extend(unprofiled.map(|message| note("profile", message)));
        self.beyond.hears(spec, &observation);
        observation
    }
}

impl Perf {
    /// What the requests ask, counted by the server, or by a tokenizer's file where the server does not count.
    async fn corpus(
        &self,
        spec: &Spec,
        schedule: &Schedule,
        target: &Target,
        cancel: &CancellationToken,
    ) -> Result<Corpus, Refused> {
        let at = |pointer: &'static str| move |message| Refused { pointer: pointer.to_owned(), message };
        let file = spec.tokenizer.as_ref().map(|tokenizer| self.library.tokenizer(&tokenizer.file));
        let file = file.transpose().map_err(at("/tokenizer/file"))?;
        let (endpoint, template) = (spec.endpoint, spec.counts_template());
        let server = ServerCount { target, endpoint, template, cancel };
        let asked = spec.count_template == Some(true);
        let counter = Counter::of(server, file.as_deref(), asked).await.map_err(at("/count_template"))?;
        Corpus::of(spec, schedule, mark(spec), &self.library, &counter).await
    }
}

fn errored(reason: Reason) -> Observation {
    Observation::new(Ending::Errored(Reasons::one(reason)))
}

/// The same for the same workload, another for every other.
fn mark(spec: &Spec) -> u64 {
    let hash = workload(spec.workload_key()).hash;
    hash.get(..16).and_then(|head| u64::from_str_radix(head, 16).ok()).unwrap_or_default()
}

fn reason(case: &ExpandedCase, refused: Refused) -> Reason {
    let reason = Reason::new("prompts", refused.message);
    match case.origin.place(&refused.pointer) {
        Some(place) => reason.at(place),
        None => reason,
    }
}

/// The schedule as a file, for whoever wants to see or repeat it.
fn save(schedule: &Schedule, cx: &Cx<Target>) -> Result<Artifact, String> {
    let text = serde_json::to_string(schedule).map_err(|error| error.to_string())?;
    cx.folder
        .write("schedule", schedule::NAME, "application/json", &text)
        .map_err(|error| format!("the schedule could not be saved: {error}"))
}

/// What this client can take here, as far as that is worth half a second: a smoke run is over in a few and claims
/// nothing, and an unoptimised build is no measure of anything.
async fn calibrated(spec: &Spec, cx: &Cx<Target>, target: &Target) -> Result<Ceiling, String> {
    if !Client::this_build().optimised {
        return Err("an unoptimised build is not calibrated".to_owned());
    }
    if cx.case.id.as_str().starts_with("perf::smoke::") {
        return Err("a smoke run is not calibrated".to_owned());
    }
    match spec.concurrency_backend {
        ConcurrencyBackend::ProcessingPool => return Err("a pool of processes is not calibrated".to_owned()),
        ConcurrencyBackend::K8sJob => return Err("pods are not calibrated: they run elsewhere".to_owned()),
        ConcurrencyBackend::ThreadingPool | ConcurrencyBackend::Asyncio => {}
    }
    let (backend, client, cancel) = (spec.concurrency_backend, target.client.clone(), cx.cancel.clone());
    let told = tokio::task::spawn_blocking(move || Ceiling::of(backend, &client, &cancel)).await;
    told.unwrap_or_else(|error| Err(format!("the calibration failed: {error}")))
}

/// Everything that will be sent.
fn plan(spec: &Spec, schedule: &Schedule, target: &Target, corpus: &Corpus, cx: &Cx<Target>) -> Plan {
    let id = |index: u64| format!("{}-{index}", cx.case.id);
    let mut items = corpus.items.iter().zip(0_u64..);
    let mut epochs: Vec<drive::Epoch> = Vec::new();
    for epoch in &schedule.epochs {
        let own = items.by_ref().take((epoch.warmup + epoch.measured) as usize);
        let (requests, conversations) = match &epoch.conversations {
            None => (own.map(|(item, index)| request(spec, target, item, &id(index))).collect(), Vec::new()),
            Some(all) => {
                let begun = epochs.iter().map(|before| before.conversations.len()).sum::<usize>();
                let mut asks = own.map(|(item, index)| ask(spec, target, item, index, id(index)));
                conversations(all, &mut asks, u32::try_from(begun).unwrap_or(u32::MAX))
            }
        };
        let (warmup, pace) = (epoch.warmup_items(), epoch.pace.clone());
        epochs.push(drive::Epoch { requests, warmup, pace, conversations });
    }
    Plan {
        epochs,
        backend: spec.concurrency_backend,
        processes: spec.num_process.unwrap_or(1),
        begin: None,
        elsewhere: spec.job.clone().map(|job| Elsewhere {
            job,
            folder: cx.folder.clone(),
            run_id: cx.run_id.clone(),
        }),
        phases: spec.phase_limits(),
        limits: Limits { idle: None, ..Limits::within(spec.request_timeout()) },
        stop: spec.stop,
    }
}

/// The body of one request, as it is sent.
fn body(spec: &Spec, item: &Item) -> Value {
    let asked = match spec.endpoint {
        Endpoint::Chat => json!({"messages": item.content.messages()}),
        Endpoint::Completions => json!({"prompt": item.content.text()}),
    };
    let usage = match spec.continuous_usage {
        true => json!({"include_usage": true, "continuous_usage_stats": true}),
        false => json!({"include_usage": true}),
    };
    let common = json!({"max_tokens": item.output_len, "stream": true, "stream_options": usage});
    [asked, common, json!(spec.sampling)]
        .into_iter()
        .filter_map(|part| match part {
            Value::Object(fields) => Some(fields),
            _ => None,
        })
        .flatten()
        .collect()
}

/// A turn of a conversation.
fn ask(spec: &Spec, target: &Target, item: &Item, index: u64, id: String) -> Ask {
    let parts = Parts::of(&target.model, body(spec, item));
    Ask { index, request: request(spec, target, item, &id), id, parts }
}

/// `id` goes along, so that a request can be found again in the server's log.
fn request(spec: &Spec, target: &Target, item: &Item, id: &str) -> Request {
    let mut body = body(spec, item);
    // As `Target::with_model`, without a copy of the prompt: there are thousands of them before the clock starts.
    if let Value::Object(fields) = &mut body {
        fields.shift_insert(0, "model".to_owned(), Value::String(target.model.clone()));
    }
    let mut request = match spec.endpoint {
        Endpoint::Chat => target.chat(&body),
        Endpoint::Completions => target.completions(&body),
    };
    request.headers.push(("x-request-id".to_owned(), id.to_owned()));
    request.read_size = spec.read_size.and_then(|size| usize::try_from(size).ok());
    request
}

/// What was seen of the load.
struct Measured {
    driven: Driven,
    records: Vec<Record>,
    written: Result<Artifact, String>,
    server: Scraped,
    /// Why the server was not profiled although it should have been.
    unprofiled: Option<String>,
}

/// Drives the load on threads of its own, while another one takes the records to the sidecar: no disk is waited for
/// between two requests.
async fn measure(
    plan: Plan,
    progress: Progress,
    cx: &Cx<Target>,
    target: &Target,
    profile: bool,
) -> Result<Measured, String> {
    let warm_up = plan.epochs.first().map_or(0, |epoch| epoch.warmup as u64);
    let scraper = Scraper::begin(target, &cx.folder, warm_up).await?;
    let server_hears = scraper.listener();
    let profiler = profile.then(|| Profiler::begin(target, warm_up));
    let profiler_hears = profiler.as_ref().map(Profiler::listener);
    let (keep, ended) = mpsc::channel();
    let in_flight = Arc::new(AtomicU32::new(0));
    let (folder, gauge) = (cx.folder.clone(), Arc::clone(&in_flight));
    let writer = tokio::task::spawn_blocking(move || sidecar::write(&folder, &ended, progress, &gauge));
    let (client, cancel) = (target.client.clone(), cx.cancel.clone());
    let driven = tokio::task::spawn_blocking(move || {
        load(&client, plan, &cancel, &in_flight, &|record| {
            server_hears(&record);
            if let Some(hears) = &profiler_hears {
                hears(&record);
            }
            // The writer outlives the load; were it gone, its own error would tell.
            let _ = keep.send(record);
        })
    });
    let driven = driven.await.map_err(|error| format!("the load failed: {error}"))?;
    let unprofiled = match profiler {
        Some(profiler) => profiler.finish().await,
        None => None,
    };
    let server = scraper.finish().await;
    let (records, written) = writer
        .await
        .unwrap_or_else(|error| (Vec::new(), Err(format!("the sidecar's writer failed: {error}"))));
    Ok(Measured { driven: driven?, records, written, server, unprofiled })
}

#[cfg(test)]
pub(crate) mod tests {
    use st_harness::case::TrialId;

    use super::*;
    use crate::perf::prompt::Content;

    /// A case of nothing but a name.
    pub(crate) fn case() -> ExpandedCase {
        ExpandedCase::of(TrialId::new("perf::smoke::chat").unwrap(), Value::Null)
    }

    fn spec(extra: &str) -> Spec {
        let text = format!(r#"{{"concurrency":1,"input_len":8,"output_len":4,"requests":2{extra}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn hi() -> Item {
        Item { content: Content::Text("hi".to_owned()), tokens: None, output_len: 4, source: 0 }
    }

    #[test]
    fn a_request_says_what_the_case_asked_for_and_nothing_else() {
        let chat = body(&spec(r#","sampling":{"temperature":0,"top_k":8}"#), &hi());
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
        let extra = r#","endpoint":"completions","sampling":{"ignore_eos":false},"continuous_usage":false"#;
        let completions = body(&spec(extra), &hi());
        assert_eq!(completions["prompt"], "hi");
        assert_eq!(completions["ignore_eos"], false);
        assert!(completions.get("messages").is_none());
        assert_eq!(completions["stream_options"], json!({"include_usage": true}));
        let told =
            vec![json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": "hi"})];
        let several = Item { content: Content::Messages(told.clone()), ..hi() };
        assert_eq!(body(&spec(""), &several)["messages"], json!(told));
    }

    #[test]
    fn a_turn_is_cut_where_the_history_goes_and_its_parts_are_the_request() {
        let target = Target::at("http://127.0.0.1:1/v1", "m\"x").unwrap();
        let ask = ask(&spec(""), &target, &hi(), 7, "t-7".to_owned());
        let Parts { before, messages, after } = ask.parts;
        assert_eq!(Some(format!("{before}{messages}{after}").as_bytes()), ask.request.body.as_deref());
        assert_eq!(messages, r#"{"role":"user","content":"hi"}"#);
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
            run_id: "r".to_owned(),
        };
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/cases/perf/smoke.yaml")).unwrap();
        let file: Value = serde_yaml::from_str(&text).unwrap();
        let mut said = file["cases"][0].clone();
        for key in ["id", "about", "timeout"] {
            said.as_object_mut().unwrap().remove(key);
        }
        let spec: Spec = serde_json::from_value(said).unwrap();
        let observation = Perf::default().run(&spec, &cx).await;
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
