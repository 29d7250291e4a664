//! What a server is, beside what it can do: [`Facts`], read from what its routes said.
//! Must not know any capability.
//!
//! 服务端事实：引擎、版本、上下文长度等。

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::heard::{Heard, json as body_of};
use crate::{
    api::Answer,
    client::{Request, Route},
    probe::{ask::Asker, routes::text},
};

/// What a server is. What could not be found out is null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// `vllm`, `sglang`, `llama.cpp`, `tgi`, `ollama`.
    pub engine: Option<String>,
    /// As the engine tells it.
    pub version: Option<String>,
    /// How many tokens prompt and answer may have together.
    pub ctx_len: Option<u64>,
    /// Under which key reasoning comes: `reasoning_content`, `reasoning`.
    pub reasoning_key: Option<String>,
    /// Whether a field that nobody knows is refused, not ignored.
    pub refuses_unknown_fields: Option<bool>,
    /// Whether a temperature below 0 is refused.
    pub validates_ranges: Option<bool>,
    /// When the server's process started, in seconds since 1970.
    pub started: Option<f64>,
}

/// Metrics by which an engine is known.
const PREFIXES: [(&str, &str); 4] =
    [("vllm:", "vllm"), ("sglang:", "sglang"), ("llamacpp:", "llama.cpp"), ("tgi_", "tgi")];

/// A route that only one engine has: path, engine, a key of its answer, and where its version and context stand.
struct Mark(&'static str, &'static str, &'static str, &'static str, &'static str);

const MARKS: [Mark; 4] = [
    Mark("/get_server_info", "sglang", "/tokenizer_path", "/version", "/context_length"),
    Mark(
        "/props",
        "llama.cpp",
        "/default_generation_settings",
        "/build_info",
        "/default_generation_settings/n_ctx",
    ),
    Mark("/info", "tgi", "/model_dtype", "/version", "/max_total_tokens"),
    Mark("/api/version", "ollama", "/version", "/version", "/none"),
];

/// Reads what `/version`, `/v1/models` and `/metrics` said, and the plain answer's fingerprint.
pub(super) fn read(
    model: &str,
    version: Option<&Heard>,
    models: Option<&Heard>,
    metrics: Option<&Heard>,
    fingerprint: Option<&str>,
) -> Facts {
    let metrics = metrics.and_then(answered).map(text).unwrap_or_default();
    let by_metrics = PREFIXES.iter().find(|(prefix, _)| metrics.lines().any(|line| line.starts_with(prefix)));
    let by_fingerprint = fingerprint.is_some_and(|text| text.starts_with("vllm-")).then_some("vllm");
    let version = version.and_then(answered).and_then(body_of).and_then(|body| body["version"].as_str());
    Facts {
        engine: by_metrics.map(|(_, engine)| *engine).or(by_fingerprint).map(str::to_owned),
        version: version.map(str::to_owned),
        ctx_len: models.and_then(answered).and_then(body_of).and_then(|body| ctx_len(body, model)),
        started: started(metrics),
        ..Facts::default()
    }
}

/// Asks the routes that give other engines away, where nothing has so far.
pub(super) async fn recognise(asker: &mut Asker<'_>, facts: &mut Facts) {
    for mark in &MARKS {
        if facts.engine.is_some() {
            return;
        }
        let heard = asker.send(&Request::get(Route::Root(mark.0.into()))).await;
        let Some(body) = answered(&heard).and_then(body_of) else { continue };
        apply(mark, body, facts);
    }
}

fn apply(mark: &Mark, body: &Value, facts: &mut Facts) {
    let Mark(_, engine, key, version, ctx_len) = mark;
    if body.pointer(key).is_none() {
        return;
    }
    facts.engine = Some((*engine).to_owned());
    let version = body.pointer(version).and_then(Value::as_str).map(str::to_owned);
    facts.version = facts.version.take().or(version);
    facts.ctx_len = facts.ctx_len.or(body.pointer(ctx_len).and_then(Value::as_u64));
}

fn answered(heard: &Heard) -> Option<&Answer> {
    match heard {
        Heard::Answered(answer) => Some(answer),
        Heard::Refused(_) | Heard::Silent(_) => None,
    }
}

fn ctx_len(models: &Value, model: &str) -> Option<u64> {
    let models = models["data"].as_array()?;
    let ours = models.iter().find(|one| one["id"] == model).or(models.first())?;
    ours["max_model_len"].as_u64()
}

/// `process_start_time_seconds` in a metrics text.
pub(super) fn started(metrics: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with("process_start_time_seconds"))?;
    line.split_whitespace().last()?.parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::heard::tests::{attempt, heard},
        *,
    };

    #[test]
    fn an_engine_is_known_by_its_metrics() {
        let metrics = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 0.0\n\
                       process_start_time_seconds 1.79535972399e+09\n";
        let metrics = Heard::of(&attempt(200, "text/plain", metrics));
        let models = heard(
            200,
            &json!({"data": [{"id": "a", "max_model_len": 1}, {"id": "m", "max_model_len": 4096}]}),
        );
        let version = heard(200, &json!({"version": "0.32.0"}));
        let facts = read("m", Some(&version), Some(&models), Some(&metrics), None);
        assert_eq!((facts.engine.as_deref(), facts.version.as_deref()), (Some("vllm"), Some("0.32.0")));
        assert_eq!((facts.ctx_len, facts.started), (Some(4096), Some(1_795_359_723.99)));
    }

    #[test]
    fn without_metrics_a_fingerprint_will_do_and_without_either_nothing_is_claimed() {
        assert_eq!(read("m", None, None, None, Some("vllm-0.32.0-9abf5bb4")).engine.as_deref(), Some("vllm"));
        assert_eq!(read("m", None, None, None, Some("fp_50cad350e4")), Facts::default());
        let refused = heard(404, &json!({"detail": "Not Found"}));
        assert_eq!(read("m", Some(&refused), Some(&refused), Some(&refused), None), Facts::default());
    }

    #[test]
    fn other_engines_are_known_by_routes_of_their_own() {
        let mut facts = Facts::default();
        apply(&MARKS[2], &json!({"unrelated": 1}), &mut facts);
        assert_eq!(facts.engine, None);
        let body = json!({"build_info": "b4000", "default_generation_settings": {"n_ctx": 8192}});
        apply(&MARKS[1], &body, &mut facts);
        assert_eq!((facts.engine.as_deref(), facts.version.as_deref()), (Some("llama.cpp"), Some("b4000")));
        assert_eq!(facts.ctx_len, Some(8192));
    }
}
