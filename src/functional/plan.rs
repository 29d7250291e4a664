//! Which requests a case sends, in order: [`plan`]. Must not know what comes back.
//!
//! 用例的请求计划。

use serde_json::{Map, Value, json};

use super::{
    expect::{Expect, METRICS_LEGS, TOKENIZE},
    spec::{Endpoint, LegSpec, Mode, Spec},
};
use crate::client::{Request, Route};

/// The name of the request that `expect` is about.
pub(super) const MAIN: &str = "main";

/// One request to be.
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) request: Request,
    /// Its body, where that is a JSON object.
    pub(super) body: Option<Map<String, Value>>,
}

/// The requests of `spec`, for a server that serves `model`: counters are read right before and after the main one.
pub(super) fn plan(spec: &Spec, model: &str) -> Vec<Planned> {
    let body = spec.body(model);
    let main = |name: &str, body: Option<Map<String, Value>>| planned(spec, name, spec.route(), body);
    let metrics = |name: &str| planned(spec, name, Endpoint::Metrics.route(), None);
    let counted = spec.expect.iter().any(Expect::asks_metrics);
    let [before, after] = METRICS_LEGS;
    let mut plan = Vec::new();
    plan.extend(counted.then(|| metrics(before)));
    plan.push(main(MAIN, body.clone()));
    plan.extend(counted.then(|| metrics(after)));
    if spec.expect.iter().any(Expect::asks_tokenize) {
        plan.push(planned(spec, TOKENIZE, Endpoint::Tokenize.route(), body.as_ref().map(tokenize)));
    }
    if spec.twin.is_some() {
        plan.push(main("stream", body.clone().map(streamed)));
    }
    if let Some(repeat) = &spec.repeat {
        plan.extend((2..=repeat.times()).map(|nth| {
            let mut body = body.clone();
            let seed = repeat.seeds.as_ref().and_then(|seeds| seeds.get(nth - 1));
            if let (Some(body), Some(seed)) = (&mut body, seed) {
                body.insert("seed".to_owned(), (*seed).into());
            }
            main(&format!("repeat_{nth}"), body)
        }));
    }
    plan.extend(spec.legs.iter().flat_map(|legs| &legs.0).map(|(name, leg)| named(spec, name, leg, model)));
    plan
}

fn streamed(mut body: Map<String, Value>) -> Map<String, Value> {
    body.insert("stream".to_owned(), true.into());
    body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    body
}

/// The part of a body from which the prompt is made.
fn tokenize(body: &Map<String, Value>) -> Map<String, Value> {
    let prompt = ["model", "messages", "prompt", "tools", "chat_template_kwargs"];
    body.iter()
        .filter(|(key, _)| prompt.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

fn named(spec: &Spec, name: &str, leg: &LegSpec, model: &str) -> Planned {
    let route: (&str, &str) = match leg.endpoint {
        Some(endpoint) => endpoint.route(),
        None => spec.route(),
    };
    let own = leg.request.clone().map(|request| {
        let mut body = Map::from_iter([("model".to_owned(), Value::from(model))]);
        body.extend(request);
        body
    });
    let body = own.or_else(|| spec.body(model)).filter(|_| route.0 != "GET").map(|mut body| {
        body.extend(leg.with.clone());
        if leg.mode == Mode::Stream {
            body.insert("stream".to_owned(), true.into());
        }
        body.retain(|key, _| !leg.omit.contains(key));
        body
    });
    planned(spec, name, route, body)
}

fn planned(spec: &Spec, name: &str, route: (&str, &str), body: Option<Map<String, Value>>) -> Planned {
    let (method, path) = route;
    let route = match path.strip_prefix("/v1") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Route::Api(rest.to_owned()),
        _ => Route::Root(path.to_owned()),
    };
    let raw = spec.raw.clone().filter(|_| name != METRICS_LEGS[0] && name != METRICS_LEGS[1]);
    let json = body.as_ref().map(|body| Value::Object(body.clone()).to_string());
    let request = Request {
        method: method.to_owned(),
        route,
        headers: spec.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect(),
        body: json.or(raw).map(Into::into),
        read_size: spec.read_size.and_then(|size| usize::try_from(size).ok()),
    };
    Planned { name: name.to_owned(), request, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spec: Value) -> Vec<String> {
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let line = |one: Planned| {
            let body = one.request.body.map(|body| String::from_utf8_lossy(&body).into_owned());
            format!(
                "{}: {} {} {}",
                one.name,
                one.request.method,
                one.request.route.path(),
                body.unwrap_or_default()
            )
        };
        plan(&spec, "m").into_iter().map(line).collect()
    }

    #[test]
    fn counters_are_read_around_the_main_request_and_tokens_counted_after_it() {
        let lines = told(json!({
            "endpoint": "chat", "request": {"messages": [], "max_tokens": 1},
            "expect": [{"usage": ["tokenize"]}, {"metrics_delta": {"x_total": 1}}],
        }));
        assert_eq!(
            lines,
            [
                "metrics_before: GET /metrics ",
                r#"main: POST /chat/completions {"model":"m","messages":[],"max_tokens":1}"#,
                "metrics_after: GET /metrics ",
                r#"tokenize: POST /tokenize {"model":"m","messages":[]}"#,
            ]
        );
    }

    #[test]
    fn repetitions_have_a_seed_each() {
        let lines = told(json!({
            "endpoint": "chat", "request": {"seed": 9},
            "repeat": {"seeds": [1, 2], "distinct": {"final.id": 2}}, "expect": [{"status": 200}],
        }));
        assert_eq!(
            lines,
            [
                r#"main: POST /chat/completions {"model":"m","seed":1}"#,
                r#"repeat_2: POST /chat/completions {"model":"m","seed":2}"#,
            ]
        );
    }

    #[test]
    fn a_leg_is_the_case_s_own_request_but_for_what_it_says() {
        let lines = told(json!({
            "endpoint": "completions", "request": {"prompt": ["a", "b"], "n": 1}, "expect": [{"status": 200}],
            "legs": {
                "single": {"with": {"prompt": "a"}, "omit": ["n"], "mode": "stream"},
                "other": {"endpoint": "chat", "request": {"messages": []}},
                "list": {"endpoint": "models"},
            },
        }));
        assert_eq!(
            lines[1..],
            [
                r#"single: POST /completions {"model":"m","prompt":"a","stream":true}"#,
                r#"other: POST /chat/completions {"model":"m","messages":[]}"#,
                "list: GET /models ",
            ]
        );
    }
}
