//! For tests only: the request of every recording is put to the simulator, and the shape of its answer compared with
//! what a real vLLM 0.32.0 answered. Must not look at the words of an answer, only at its shape; of errors the words
//! count as well.
//!
//! 测试：用真实 vLLM 的录制请求对照应答的形状。

use super::probe::{self, Seen};
use super::{Options, Sim};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Recordings that are not compared, and why.
const SKIPPED: &[(&str, &str)] = &[
    ("chat_tools_auto", "the recorded model cannot see its tools, the simulator's calls the one that fits"),
    ("metrics", "compared by family and bucket in a test of its own"),
    ("tokenize", "another vocabulary: its keys are compared in a test of its own"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings/vllm-0.32.0")
}

fn recording(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect("a recording");
    serde_json::from_str(&text).expect("JSON")
}

fn all() -> Vec<String> {
    let files = std::fs::read_dir(folder()).expect("the recordings");
    let mut names: Vec<String> = files
        .map(|file| file.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn recorded_text(recording: &Value) -> String {
    let chunks = recording["response"]["chunks"].as_array().expect("chunks");
    chunks.iter().filter_map(|chunk| chunk["text"].as_str()).collect()
}

fn sim() -> Sim {
    Sim::start(Options { model: "smollm2-135m".into(), ..Options::default() }).expect("a free port")
}

fn replay(sim: &Sim, recording: &Value) -> Seen {
    let request = &recording["request"];
    let body = match (&request["body"], &request["raw_body"]) {
        (Value::Null, Value::String(raw)) => Some(raw.clone()),
        (Value::Null, _) => None,
        (body, _) => Some(body.to_string()),
    };
    let path = request["path"].as_str().expect("a path");
    probe::ask(sim, request["method"].as_str().expect("a method"), path, body.as_deref())
}

/// A value without its contents: keys in order, kinds of values, lists by the shapes that occur in them.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(n) if n.is_f64() => "float".into(),
        Value::Number(_) => "int".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => {
            let mut shapes: Vec<String> = items.iter().map(shape).collect();
            shapes.dedup();
            format!("[{}]", shapes.join(", "))
        }
        Value::Object(keys) => {
            let entries: Vec<String> =
                keys.iter().map(|(key, value)| format!("{key}: {}", shape(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// The documents of which a body consists, with what depends on the model's words taken out.
fn shapes(text: &str, content_type: Option<&str>) -> Vec<String> {
    if content_type.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        let payloads = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        let mut shapes: Vec<String> = payloads
            .map(|payload| match serde_json::from_str(payload) {
                Ok(chunk) => shape(&neutral(&chunk)),
                Err(_) => payload.to_owned(),
            })
            .collect();
        // How often content follows content is the model's choice; everything else comes as often as it comes.
        shapes.dedup_by(|a, b| a == b && a.contains("finish_reason: null"));
        return shapes;
    }
    match serde_json::from_str(text) {
        Ok(value) => vec![shape(&neutral(&value))],
        Err(_) => vec![text.to_owned()],
    }
}

/// Makes equal what the model decides: which token stands in a map, what stopped it, whether the last content came
/// with the finish or before it, which choice's turn it is.
fn neutral(value: &Value) -> Value {
    let mut value = value.clone();
    for choice in value.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        if choice.get("finish_reason").is_some_and(Value::is_string) && choice.get("delta").is_some() {
            choice["delta"] = Value::Object(serde_json::Map::new());
            if let Some(logprobs) = choice.get_mut("logprobs") {
                *logprobs = Value::Null;
            }
        }
        if let Some(reason) = choice.get_mut("stop_reason") {
            *reason = Value::Null;
        }
        for top in
            choice.pointer_mut("/logprobs/top_logprobs").and_then(Value::as_array_mut).into_iter().flatten()
        {
            let texts = top.as_object().map_or(0, serde_json::Map::len);
            *top = Value::String(format!("{} tokens", texts.min(1)));
        }
    }
    let neutral_prompt = value["prompt_logprobs"].as_array().map(|all| Value::from(all.len().min(1)));
    if let (Some(prompt), Some(keys)) = (neutral_prompt, value.as_object_mut()) {
        keys.insert("prompt_logprobs".into(), prompt);
    }
    value
}

#[test]
fn every_recorded_request_is_answered_in_the_recorded_shape() {
    let sim = sim();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for name in all() {
        if SKIPPED.iter().any(|(skipped, _)| *skipped == name) {
            continue;
        }
        compared += 1;
        let recording = recording(&name);
        let response = &recording["response"];
        let seen = replay(&sim, &recording);
        let mut check = |what: &str, expected: String, actual: String| {
            if expected != actual {
                wrong.push(format!("{name}: {what}\n  recorded  {expected}\n  simulated {actual}"));
            }
        };
        check("status", response["status"].to_string(), seen.status.to_string());
        for header in ["server", "content-type", "allow", "vary", "transfer-encoding"] {
            let recorded = response["headers"][header].as_str();
            check(header, format!("{recorded:?}"), format!("{:?}", seen.header(header)));
        }
        let text = recorded_text(&recording);
        if seen.status >= 400 {
            check("error", text, seen.text());
        } else {
            let kind = response["headers"]["content-type"].as_str();
            let (expected, actual) = (shapes(&text, kind), shapes(&seen.text(), kind));
            check("shape", expected.join("\n            "), actual.join("\n            "));
        }
    }
    assert_eq!(compared + SKIPPED.len(), 94, "every recording is compared or named as skipped");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn tokens_are_counted_in_the_recorded_shape() {
    let recording = recording("tokenize");
    let recorded: Value = serde_json::from_str(&recorded_text(&recording)).expect("JSON");
    assert_eq!(shape(&replay(&sim(), &recording).json()), shape(&recorded));
}

#[test]
fn what_the_metrics_tell_carries_the_recorded_names_and_bounds() {
    let sim = sim();
    replay(&sim, &recording("chat_basic"));
    let recorded = recorded_text(&recording("metrics"));
    let line = |line: &str| {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        series.to_owned()
    };
    let known: std::collections::HashSet<String> =
        recorded.lines().filter(|l| !l.starts_with('#')).map(line).collect();
    let ours = probe::get(&sim, "/metrics").text();
    let strange: Vec<&str> =
        ours.lines().filter(|l| !l.starts_with('#') && !known.contains(&line(l))).collect();
    assert!(strange.is_empty(), "series that the recorded server does not have: {strange:#?}");
    let helps: std::collections::HashSet<&str> = recorded.lines().filter(|l| l.starts_with('#')).collect();
    assert!(ours.lines().filter(|l| l.starts_with('#')).all(|l| helps.contains(l)), "{ours}");
}
