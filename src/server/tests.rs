//! Servers as a session meets them: waiting, refusing, starting, stopping; against sockets that answer by script.
//!
//! 服务生命周期测试。

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use camino::Utf8PathBuf;
use snapbox::{assert_data_eq, str};
use st_harness::{
    capability::Catalogue,
    fixture::{Fixture, Ready, StartCx},
    folder::RunFolder,
    redact::Redactor,
    verdict::Reason,
};
use tokio_util::sync::CancellationToken;

use super::Server;
use crate::{
    client::Target,
    config::{Environment, Flags, Settings},
};

/// A folder for configuration and results, and what was said about progress.
struct Stage {
    dir: tempfile::TempDir,
    said: Arc<Mutex<Vec<String>>>,
    cancel: CancellationToken,
}

impl Stage {
    fn new(scenario: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("configs/scenarios");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("mine.yaml"), scenario).expect("a file");
        Self { dir, said: Arc::default(), cancel: CancellationToken::new() }
    }

    fn root(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.dir.path().to_owned()).expect("a UTF-8 path")
    }

    fn server(&self, environment: &[(&str, &str)]) -> Server {
        let all = environment.iter().copied().chain([("VLLM_CIBENCH_SCENARIO", "mine")]);
        let environment = Environment::from_pairs(all);
        let settings =
            Settings::resolve(&Flags::default(), &environment, &self.root(), &Catalogue::default());
        let settings = settings.expect("settings without a mistake");
        let declared = settings.declared();
        Server::new(Arc::new(settings), declared).expect("a mode that can be started")
    }

    fn cx(&self) -> StartCx {
        let folder =
            RunFolder::open(self.root().join("run"), Arc::new(Redactor::default())).expect("a folder");
        let said = self.said.clone();
        StartCx {
            folder: Arc::new(folder),
            cancel: self.cancel.clone(),
            progress: Arc::new(move |line| said.lock().expect("a lock").push(line.to_owned())),
            run_id: "run-7".to_owned(),
            wanted: Default::default(),
        }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().expect("a lock").clone()
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("run").join(name)).expect("a file")
    }
}

/// A server on a port of its own that answers `path` with what `script` says for its n-th question, from 0.
fn scripted(script: impl Fn(&str, usize) -> (u16, String) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut asked = std::collections::HashMap::<String, usize>::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&head).into_owned();
            let length = text.to_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = stream.read_exact(&mut body);
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            let count = asked.entry(path.clone()).or_default();
            let (status, body) = script(&path, *count);
            *count += 1;
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

fn models(ids: &[&str]) -> (u16, String) {
    let data: Vec<_> = ids.iter().map(|id| serde_json::json!({"id": id, "max_model_len": 4096})).collect();
    (200, serde_json::json!({"object": "list", "data": data}).to_string())
}

/// A healthy server that lists `ids`.
fn serving(ids: &'static [&'static str]) -> u16 {
    scripted(|path, _| match path {
        "/health" => (200, String::new()),
        "/v1/models" => models(ids),
        "/version" => (200, r#"{"version":"0.32.0"}"#.to_owned()),
        _ => (404, String::new()),
    })
}

async fn attach(
    port: u16,
    scenario: &str,
    environment: &[(&str, &str)],
) -> (Stage, Result<Ready<Target>, Reason>) {
    let stage = Stage::new(scenario);
    let url = format!("http://127.0.0.1:{port}/v1");
    let server = stage.server(&[environment, &[("VLLM_CIBENCH_BASE_URL", url.as_str())]].concat());
    let cx = stage.cx();
    let started = server.start(&cx).await;
    assert_eq!(server.stop(&cx).await, []);
    (stage, started)
}

/// Both texts of a refusal, with the port that differs from run to run taken out.
fn refusal(port: u16, started: Result<Ready<Target>, Reason>) -> String {
    let reason = started.err().expect("a refusal");
    steady(port, &format!("[{}] {}\n{}\n", reason.kind, reason.summary, reason.detail))
}

/// `text` without what differs from run to run: the port, how often, how long.
fn steady(port: u16, text: &str) -> String {
    let text = text.replace(&port.to_string(), "PORT");
    let counts = regex::Regex::new(r"asked (once|\d+ times)").expect("a pattern");
    let seconds = regex::Regex::new(r"\(\d+ s of").expect("a pattern");
    seconds.replace_all(&counts.replace_all(&text, "asked N times"), "(N s of").into_owned()
}

#[tokio::test]
async fn a_server_that_serves_one_model_is_taken_as_it_is() {
    let (stage, started) = attach(serving(&["qwen"]), "mode: attach\n", &[]).await;
    let ready = started.expect("a server");
    assert_eq!(ready.world.model, "qwen");
    assert_eq!(ready.effective["engine_version"], "0.32.0");
    assert_eq!(ready.effective["max_model_len"], 4096);
    assert_eq!(stage.said(), Vec::<String>::new(), "nothing was waited for");
}

#[tokio::test]
async fn a_server_that_is_slow_to_come_is_waited_for() {
    let port = scripted(|path, n| match (path, n) {
        ("/health", 0..=2) => (503, "starting".to_owned()),
        ("/health", _) => (200, String::new()),
        ("/v1/models", 0) => models(&[]),
        ("/v1/models", _) => models(&["qwen"]),
        _ => (404, String::new()),
    });
    let (stage, started) = attach(port, "mode: attach\n", &[]).await;
    let ready = started.expect("a server");
    assert_eq!(ready.effective["engine_version"], serde_json::Value::Null);
    let said = steady(port, &stage.said().join("\n"));
    assert_data_eq!(
        said,
        str![[r#"
waiting for http://127.0.0.1:PORT/health: it answers 503 (starting) (N s of 10 s)
waiting for http://127.0.0.1:PORT/v1/models: it lists no model yet (N s of 10 s)
"#]]
    );
}

#[tokio::test]
async fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let begun = Instant::now();
    let (stage, started) = attach(port, "mode: attach\nreadiness: {timeout: 400ms}\n", &[]).await;
    let took = begun.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let said = refusal(port, started);
    assert_data_eq!(
        said,
        str![[r#"
[not-ready] http://127.0.0.1:PORT/health did not become ready within 400 ms: while connecting: connection refused
It was asked N times.
Is the server running, and is this its address? VLLM_CIBENCH_BASE_URL=http://127.0.0.1:PORT/v1
A server that needs longer: `readiness: {timeout: 5m}` in configs/scenarios/mine.yaml.

"#]]
    );
    assert_eq!(stage.said().len(), 1, "an unchanged reason is told once: {:?}", stage.said());
}

#[tokio::test]
async fn a_server_that_never_becomes_healthy() {
    let port = scripted(|_, _| (503, "loading the weights\n\n  (12 %)".to_owned()));
    let (_, started) = attach(port, "mode: attach\nreadiness: {timeout: 300ms}\n", &[]).await;
    assert_data_eq!(
        refusal(port, started),
        str![[r#"
[not-ready] http://127.0.0.1:PORT/health did not become ready within 300 ms: it answers 503 (loading the weights (12 %))
It was asked N times.
Is the server running, and is this its address? VLLM_CIBENCH_BASE_URL=http://127.0.0.1:PORT/v1
A server that needs longer: `readiness: {timeout: 5m}` in configs/scenarios/mine.yaml.

"#]]
    );
}

#[tokio::test]
async fn a_server_that_takes_the_question_and_never_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let begun = Instant::now();
    let (_, started) = attach(port, "mode: attach\nreadiness: {timeout: 500ms}\n", &[]).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "one question may not outlast the wait");
    assert_data_eq!(
        refusal(port, started),
        str![[r#"
[not-ready] http://127.0.0.1:PORT/health did not become ready within 500 ms: it takes the question, but does not answer
It was asked N times.
Is the server running, and is this its address? VLLM_CIBENCH_BASE_URL=http://127.0.0.1:PORT/v1
A server that needs longer: `readiness: {timeout: 5m}` in configs/scenarios/mine.yaml.

"#]]
    );
}

#[tokio::test]
async fn a_server_without_that_path() {
    let port = scripted(|_, _| (404, String::new()));
    let (_, started) = attach(port, "mode: attach\nreadiness: {timeout: 200ms}\n", &[]).await;
    assert_data_eq!(
        refusal(port, started),
        str![[r#"
[not-ready] http://127.0.0.1:PORT/health did not become ready within 200 ms: it answers 404 (another path is given by `readiness.path`)
It was asked N times.
Is the server running, and is this its address? VLLM_CIBENCH_BASE_URL=http://127.0.0.1:PORT/v1
A server that needs longer: `readiness: {timeout: 5m}` in configs/scenarios/mine.yaml.

"#]]
    );
}

#[tokio::test]
async fn a_server_that_wants_another_key_is_not_waited_for() {
    let port = scripted(|path, _| match path {
        "/health" => (200, String::new()),
        _ => (401, r#"{"error":"Unauthorized"}"#.to_owned()),
    });
    let begun = Instant::now();
    let (_, started) = attach(port, "mode: attach\n", &[("VLLM_CIBENCH_API_KEY", "sk-seeded")]).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    let said = refusal(port, started);
    assert!(!said.contains("sk-seeded"));
    assert_data_eq!(
        said,
        str![[r#"
[unauthorized] /v1/models answers 401: the server wants another key, or any
Asked /v1/models below http://127.0.0.1:PORT/v1.
Set VLLM_CIBENCH_API_KEY to the server's key.

"#]]
    );
}

#[tokio::test]
async fn a_model_that_the_server_does_not_serve() {
    let port = serving(&["qwen3-32b", "qwen3-32b-lora"]);
    let (_, started) = attach(port, "mode: attach\nserved_model_name: qwen3-32\n", &[]).await;
    assert_data_eq!(
        refusal(port, started),
        str![[r#"
[wrong-model] the server does not serve the model `qwen3-32`; did you mean `qwen3-32b`?
It lists: qwen3-32b, qwen3-32b-lora.
Set VLLM_CIBENCH_MODEL to one of them.

"#]]
    );
}

#[tokio::test]
async fn a_server_of_several_models_wants_one_named() {
    let port = serving(&["a", "b"]);
    let (_, started) = attach(port, "mode: attach\n", &[]).await;
    assert_data_eq!(
        refusal(port, started),
        str![[r#"
[which-model] the server lists 2 models; say which one to test
It lists: a, b.
Set VLLM_CIBENCH_MODEL to one of them.

"#]]
    );
    let (_, started) = attach(serving(&["a", "b"]), "mode: attach\n", &[("VLLM_CIBENCH_MODEL", "b")]).await;
    assert_eq!(started.expect("a server").world.model, "b");
}

#[tokio::test]
async fn a_server_without_a_list_of_models_is_noted() {
    let port = scripted(|path, _| match path {
        "/health" => (200, String::new()),
        _ => (404, String::new()),
    });
    let (_, started) = attach(port, "mode: attach\nserved_model_name: m\n", &[]).await;
    let ready = started.expect("a server");
    assert_eq!((ready.world.model.as_str(), ready.notes[0].kind.as_str()), ("m", "no-model-list"));
}

#[tokio::test]
async fn a_proxy_that_is_well_before_the_server_behind_it() {
    let port = scripted(|path, n| match (path, n) {
        ("/health", _) => (200, String::new()),
        ("/v1/models", _) => models(&["m"]),
        ("/v1/completions", 0) => (503, "no decode worker".to_owned()),
        ("/v1/completions", _) => (200, "{}".to_owned()),
        _ => (404, String::new()),
    });
    let (stage, started) = attach(port, "mode: attach\nreadiness: {completion: true}\n", &[]).await;
    assert!(started.is_ok());
    let said = steady(port, &stage.said().join("\n"));
    assert_data_eq!(
        said,
        str![
            "waiting for http://127.0.0.1:PORT/v1/completions: it answers 503 (no decode worker) (N s of 10 s)"
        ]
    );
}

#[tokio::test]
async fn whoever_stops_the_run_stops_the_wait() {
    let stage = Stage::new("mode: attach\n");
    let server = stage.server(&[("VLLM_CIBENCH_BASE_URL", "http://127.0.0.1:1/v1")]);
    let cancel = stage.cancel.clone();
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        cancel.cancel();
    });
    let begun = Instant::now();
    let reason = server.start(&stage.cx()).await.err().expect("a refusal");
    later.await.expect("a task");
    assert_eq!(reason.kind, "cancelled");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_simulator_starts_answers_and_stops() {
    let stage = Stage::new("mode: sim\nserved_model_name: demo\nsim: {max_model_len: 512}\n");
    let server = stage.server(&[]);
    let cx = stage.cx();
    let ready = server.start(&cx).await.expect("a simulator");
    assert_eq!(ready.world.model, "demo");
    assert_eq!(ready.effective["mode"], "sim");
    assert_eq!(ready.effective["max_model_len"], 512);
    let address = ready.world.base_url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok());
    assert_eq!(server.stop(&cx).await, []);
    assert!(std::net::TcpStream::connect(&address).is_err(), "it still listens");
}

/// A scenario whose server is a shell script: it never answers, but dies and stops as a server does.
fn local(script: &str) -> String {
    format!("mode: local\nmodel: m\nlaunch:\n  command: [/bin/sh, -c, {script:?}]\n  stop_timeout: 2s\n")
}

#[tokio::test]
async fn a_local_server_that_dies_ends_the_wait_at_once_and_says_why() {
    let script = "echo loading {model}; echo \"OSError: [Errno 98] Address already in use\" >&2; exit 1";
    let stage = Stage::new(&local(script));
    let server = stage.server(&[]);
    let cx = stage.cx();
    let begun = Instant::now();
    let reason = server.start(&cx).await.err().expect("a refusal");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let said = format!("{}\n{}\n", reason.summary, reason.detail).replace(stage.root().as_str(), "ROOT");
    // Which of two pipes is read first is not ours to say.
    let said = said.replace(
        "OSError: [Errno 98] Address already in use\nloading m\n",
        "loading m\nOSError: [Errno 98] Address already in use\n",
    );
    assert_data_eq!(
        said,
        str![[r#"
the server died before it was ready: its port is taken
It ended with exit code 1.
What tells it (port-in-use): OSError: [Errno 98] Address already in use
End what listens there, or leave `launch.port` out of the scenario to have a free port chosen.
Its last lines, all in ROOT/run/server.log:
loading m
OSError: [Errno 98] Address already in use

"#]]
    );
    assert_eq!(server.stop(&cx).await.len(), 1);
}

#[tokio::test]
async fn a_local_server_is_noted_before_it_is_started_and_gone_afterwards() {
    let script = "echo $VLLM_CIBENCH_RUN_ID on {port}; trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let stage = Stage::new(&local(script));
    let server = stage.server(&[]);
    let cx = stage.cx();
    stage.cancel.cancel();
    assert_eq!(server.start(&cx).await.err().map(|reason| reason.kind).as_deref(), Some("cancelled"));
    let notes = server.stop(&cx).await;
    let kinds: Vec<&str> = notes.iter().map(|note| note.kind.as_str()).collect();
    assert!(kinds.is_empty() || kinds == ["server-died"], "{notes:?}");
    let resources = stage.file("resources.jsonl");
    let resources: Vec<serde_json::Value> =
        resources.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let said: Vec<_> = resources.iter().map(|line| line["state"].as_str().expect("a state")).collect();
    assert_eq!(said, ["planned", "created", "gone"]);
    let processes: Vec<_> = resources.iter().map(|line| &line["resource"]["process"]).collect();
    assert!(
        processes.iter().all(|process| process["marker"] == "VLLM_CIBENCH_RUN_ID=run-7"),
        "{processes:?}"
    );
    assert!(processes[0]["pid"].is_null() && processes[1]["pid"].is_u64(), "{processes:?}");
    assert!(processes[1]["start_time_ticks"].is_u64(), "{processes:?}");
    assert_eq!(processes[1], processes[2]);
}

#[tokio::test]
async fn a_port_that_somebody_has_is_not_tested_by_mistake() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let stage = Stage::new(&format!("mode: local\nlaunch:\n  command: [/bin/true]\n  port: {port}\n"));
    let server = stage.server(&[]);
    let reason = server.start(&stage.cx()).await.err().expect("a refusal");
    assert_eq!(reason.kind, "port-in-use");
    assert!(reason.summary.contains(&port.to_string()), "{}", reason.summary);
    assert!(!stage.dir.path().join("run/resources.jsonl").exists(), "nothing was started");
}

#[tokio::test]
async fn a_server_that_somebody_started_by_the_scenario_is_compared_with_it_all_the_same() {
    let port = serving(&["m"]);
    let scenario = "mode: local\nserved_model_name: m\nlaunch:\n  command: [vllm, serve, /w, --max-model-len, \
                    '2048', '--port={port}']\n";
    let (stage, started) = attach(port, scenario, &[]).await;
    let ready = started.expect("a server");
    let notes: Vec<_> = ready.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(notes, ["asked --max-model-len 2048, the server says 4096 (/v1/models max_model_len)"]);
    assert!(
        stage.said()[0].starts_with("the server of `mine` runs already, at http://"),
        "{:?}",
        stage.said()
    );
    assert!(!stage.root().join("run/resources.jsonl").exists(), "nothing was started");
}

#[tokio::test]
async fn what_was_recorded_answers_without_a_server() {
    let stage = Stage::new("mode: sim\nserved_model_name: demo\n");
    let tape = stage.root().join("tape");
    let ask = |world: &Target| {
        let (client, request) = (
            world.client.clone(),
            world.chat(&world.with_model(&serde_json::json!({
                "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 4, "temperature": 0
            }))),
        );
        async move {
            let (limits, cancel) = (crate::client::Limits::default(), CancellationToken::new());
            let exchange = client.exchange(&request, &limits, &crate::client::Retry::none(), &cancel).await;
            (exchange.last().status, exchange.last().body())
        }
    };
    let mut answers = Vec::new();
    for variable in ["VLLM_CIBENCH_RECORD", "VLLM_CIBENCH_REPLAY"] {
        let server = stage.server(&[(variable, tape.as_str())]);
        let cx = stage.cx();
        let ready = server.start(&cx).await.expect("a server, or its recording");
        answers.push(ask(&ready.world).await);
        assert_eq!(server.stop(&cx).await, []);
    }
    assert_eq!(answers[0].0, Some(200));
    assert_eq!(answers[0], answers[1]);
}

#[cfg(not(feature = "kube"))]
#[test]
fn a_cluster_is_refused_by_a_build_that_lacks_it() {
    let stage = Stage::new("mode: k8s-hybrid\nk8s: {service_name: infer}\n");
    let environment = Environment::from_pairs([("VLLM_CIBENCH_SCENARIO", "mine")]);
    let settings = Settings::resolve(&Flags::default(), &environment, &stage.root(), &Catalogue::default());
    let problem = Server::new(Arc::new(settings.expect("settings")), Default::default()).err();
    assert_data_eq!(
        problem.expect("a refusal")[0].render(false),
        str![[r#"
error: this build cannot start a server in Kubernetes: it lacks the feature `kube`
 --> configs/scenarios/mine.yaml:1:7
  |
1 | mode: k8s-hybrid
  |       ^^^^^^^^^^
  |
  = help: build it in: `cargo test --features kube --test st`, or `cargo install --path . --features kube`; or deploy it yourself and give its address: VLLM_CIBENCH_BASE_URL=http://NODE:PORT/v1
"#]]
    );
}
