//! Conversations with think time as a case asks for them, against the simulator.
//!
//! 多轮对话压测的集成测试。

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};
use vllm_cibench::sim::{Options, Sim};

use crate::{
    crate_root::{CrateRoot, Ran},
    prof::Ear,
};

fn sim(faults: Value) -> Sim {
    let faults = serde_json::from_value(faults).expect("faults");
    Sim::start(Options { model: "m".to_owned(), faults, ..Options::default() }).expect("the simulator")
}

/// A root with one case of conversations, `more` beside its keys.
fn root(more: &str) -> CrateRoot {
    let case = format!(
        "cases:\n  - id: talk\n    input_len: 32\n    output_len: 6\n    sampling: {{temperature: 0}}\n    concurrency: 2\n    \
         {more}\n"
    );
    CrateRoot::new().file("cases/perf/smoke.yaml", &case)
}

fn run(root: &CrateRoot, base_url: &str) -> Ran {
    root.run(&["run", "--base-url", base_url, "--model", "m"])
}

fn fine(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
}

/// The requests of the newest run, in the order of their indices.
fn rows(root: &CrateRoot) -> Vec<Value> {
    let lines = root.left("trials/perf.smoke.talk/requests.jsonl");
    let mut rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    rows.sort_by_key(|row| row["index"].as_u64());
    rows
}

fn result(root: &CrateRoot) -> Value {
    serde_json::from_str(&root.left("perf/perf.smoke.talk.json")).expect("json")
}

fn figure(result: &Value, name: &str, stat: &str, source: &str) -> Option<f64> {
    let all = result["figures"].as_array().expect("figures");
    let is_it = |one: &&Value| one["name"] == name && one["stat"] == stat && one["source"] == source;
    all.iter().find(is_it).and_then(|one| one["value"].as_f64())
}

/// What the server answers to these messages, asked directly.
fn answer(base_url: &str, messages: &[Value]) -> String {
    let body =
        json!({"model": "m", "messages": messages, "max_tokens": 6, "temperature": 0, "ignore_eos": true});
    let (body, host) = (body.to_string(), base_url.trim_start_matches("http://").trim_end_matches("/v1"));
    let mut server = TcpStream::connect(host).expect("the server");
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    write!(server, "{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .expect("a request");
    let mut told = String::new();
    server.read_to_string(&mut told).expect("an answer");
    let answer: Value =
        serde_json::from_str(&told[told.find('{').expect("json")..=told.rfind('}').expect("json")])
            .expect("json");
    answer["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
}

#[test]
fn every_turn_carries_the_servers_own_answers_whoever_carries_it() {
    let limited = "asyncio\n    request_mode: {pd_dynamic: {prefill_concurrency: 1, decode_concurrency: 1}}";
    for backend in ["threading-pool", "asyncio", "processing-pool\n    num_process: 2", limited] {
        let sim = sim(json!([]));
        let ear = Ear::before(&sim.base_url());
        let root = root(&format!(
            "warmup: 1\n    concurrency_backend: {backend}\n    conversation: {{num_conversations: 4, turns: 3, \
             think_time_ms: 30}}\n    expect: [{{conversation_failure_ratio: {{at_most: 0}}}}]"
        ));
        fine(&run(&root, &ear.base_url()));
        let rows = rows(&root);
        let indices: Vec<u64> = rows.iter().map(|row| row["index"].as_u64().expect("an index")).collect();
        assert_eq!(indices, (0..15).collect::<Vec<_>>(), "{backend}: every turn once");
        for turns in rows.chunks(3) {
            for pair in turns.windows(2) {
                let at = |row: &Value, name: &str| row[name].as_u64().expect("a number");
                assert_eq!(at(&pair[1], "scheduled"), at(&pair[0], "ended") + 30_000_000);
                let grown = at(&pair[1], "prompt_tokens") - at(&pair[0], "prompt_tokens");
                assert!(grown > 6 + 20, "an answer of 6 tokens and a message of some more: {grown}");
            }
        }
        let bodies = ear.bodies();
        assert_eq!(bodies.len(), 15, "{backend}");
        let whole: Vec<&Value> =
            bodies.iter().filter(|body| body["messages"].as_array().map(Vec::len) == Some(5)).collect();
        assert_eq!(whole.len(), 5);
        for body in whole {
            let messages = body["messages"].as_array().expect("messages");
            for at in [1, 3] {
                assert_eq!(messages[at]["role"], "assistant");
                assert_eq!(
                    messages[at]["content"],
                    answer(&sim.base_url(), &messages[..at]),
                    "{backend}: turn {at}"
                );
            }
        }
        let result = result(&root);
        let talks = &result["details"]["conversations"];
        assert_eq!((&talks["begun"], &talks["completed"]), (&json!(4), &json!(4)));
        assert_eq!(talks["turns"].as_array().map(Vec::len), Some(3));
        let tokens = &result["details"]["server"]["tokens"];
        for side in ["prompt", "output"] {
            assert_eq!(tokens[side]["client"], tokens[side]["server"], "{backend}: {tokens}");
        }
        assert_eq!(figure(&result, "unsent_turns", "value", "client"), Some(0.0));
    }
}

#[test]
fn turns_lengths_think_times_and_order_are_the_seeds() {
    let of = |seed: u32| {
        let sim = sim(json!([]));
        let root = root(&format!(
            "seed: {seed}\n    conversation:\n      num_conversations: 5\n      turns: {{distribution: uniform, min: 1, max: \
             4}}\n      think_time_ms: {{distribution: exponential, average: 5, max: 20}}"
        ));
        fine(&run(&root, &sim.base_url()));
        let details = result(&root)["details"].clone();
        let prompts = &details["prompts"];
        (details["schedule_sha256"].clone(), prompts["sha256"].clone(), prompts["output_lens_sha256"].clone())
    };
    let one = of(1);
    assert_eq!(one, of(1));
    assert_ne!(one.0, of(2).0);
}

#[test]
fn a_turn_that_fails_ends_its_conversation_and_the_rest_is_told() {
    let refused =
        json!([{"when": {"path": "/v1/chat/completions", "nth": 2}, "fault": {"status": {"code": 503}}}]);
    let sim = sim(refused);
    let root = root(
        "concurrency_backend: asyncio\n    conversation: {num_conversations: 3, turns: 4}\n    expect: \
         [{conversation_failure_ratio: {at_most: 0.1}}]",
    );
    let ran = run(&root, &sim.base_url());
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.out, ran.err);
    let told = "expected conversation_failure_ratio at most 0.1, found 0.333333 (n = 3)";
    assert!(ran.out.contains(told) || ran.err.contains(told), "{}\n{}", ran.out, ran.err);
    let result = result(&root);
    let unsent = figure(&result, "unsent_turns", "value", "client").expect("a count");
    let sent = rows(&root).len();
    assert_eq!((unsent as usize) + sent, 12, "what was not sent is told");
    assert!((2.0..=3.0).contains(&unsent), "{unsent}");
    let turns = result["details"]["conversations"]["turns"].as_array().expect("turns").clone();
    assert_eq!(turns.iter().map(|turn| turn["unsent"].as_f64().expect("a count")).sum::<f64>(), unsent);
    assert_eq!(result["details"]["conversations"]["failed"], 1);
    let by_outcome: BTreeMap<String, u64> =
        serde_json::from_value(result["details"]["outcomes"].clone()).expect("counts");
    assert_eq!(by_outcome.iter().filter(|(name, _)| *name != "ok").map(|(_, n)| n).sum::<u64>(), 1);
    assert!(ran.err.contains("perf::smoke::talk, by turn"), "{}", ran.err);
    let page = root.left("report.html");
    assert!(page.contains("Conversations by turn"));
}

#[test]
fn what_can_hold_no_conversation_is_refused_with_its_line() {
    let root = root("endpoint: completions\n    conversation: {num_conversations: 3, turns: 2}");
    let ran = run(&root, "http://127.0.0.1:9/v1");
    assert_eq!(ran.code, Some(2), "{}\n{}", ran.out, ran.err);
    let told = "expected `chat` beside `conversation`: a completion has no turns";
    assert!(ran.err.contains(told) && ran.err.contains("smoke.yaml:7"), "{}", ran.err);
}
