//! Which requests a case sends, in order: [`plan`]. A request is made when its turn comes, for it may need what
//! earlier ones were answered with. Must not know what comes back.
//!
//! 用例的请求计划。

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    expect::{Expect, METRICS_LEGS, TOKENIZE},
    fill::fill,
    spec::{Endpoint, LegSpec, Mode, Spec},
};
use crate::client::{Request, Route};

/// The name of the request that `expect` is about.
pub(super) const MAIN: &str = "main";
/// How long a leg is asked again where it does not say.
const WITHIN: Duration = Duration::from_secs(5);

/// One request to be.
pub(super) struct Planned {
    pub(super) name: String,
    /// Everything but the body.
    request: Request,
    content: Content,
    pub(super) until: Option<Until>,
}

/// What a leg waits for, and for how long at most.
#[derive(Clone)]
pub(super) struct Until {
    pub(super) holds: Vec<Expect>,
    pub(super) within: Duration,
}

enum Content {
    None,
    Raw(Bytes),
    /// With what is still to be filled in.
    Json(Map<String, Value>),
}

impl Planned {
    /// The request, and its body where that is a JSON object. `answers` is the subject so far.
    ///
    /// # Errors
    /// What was to be sent on, and is in no answer.
    pub(super) fn make(&self, answers: &Value) -> Result<(Request, Option<Map<String, Value>>), String> {
        let json = match &self.content {
            Content::Json(body) => Some(fill(body, answers)?),
            Content::None | Content::Raw(_) => None,
        };
        let body = match (&self.content, &json) {
            (Content::Raw(bytes), _) => Some(bytes.clone()),
            (_, Some(json)) => serde_json::to_vec(json).ok().map(Bytes::from),
            (_, None) => None,
        };
        Ok((Request { body, ..self.request.clone() }, json))
    }
}

/// The requests of `spec`, for a server that serves `model`: counters are read right before and after the main one.
pub(super) fn plan(spec: &Spec, model: &str) -> Vec<Planned> {
    let body = spec.body(model);
    let place = Place { spec, model };
    let main = |name: &str, body: Option<Map<String, Value>>| {
        let raw = spec.raw.clone().map_or(Content::None, |raw| Content::Raw(raw.0.into()));
        place.planned(name, spec.route(), body.map_or(raw, Content::Json))
    };
    let metrics = |name: &str| place.planned(name, Endpoint::Metrics.route(), Content::None);
    let counted = spec.expect.iter().any(Expect::asks_metrics);
    let [before, after] = METRICS_LEGS;
    let mut plan = Vec::new();
    plan.extend(counted.then(|| metrics(before)));
    plan.push(main(MAIN, body.clone()));
    plan.extend(counted.then(|| metrics(after)));
    if spec.expect.iter().any(Expect::asks_tokenize) {
        let counts = body.as_ref().map(tokenize).map_or(Content::None, Content::Json);
        plan.push(place.planned(TOKENIZE, Endpoint::Tokenize.route(), counts));
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
    plan.extend(spec.legs.iter().flat_map(|legs| &legs.0).map(|(name, leg)| place.named(name, leg)));
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

/// Where requests go, and what all of them carry.
struct Place<'a> {
    spec: &'a Spec,
    model: &'a str,
}

impl Place<'_> {
    fn named(&self, name: &str, leg: &LegSpec) -> Planned {
        let spec = self.spec;
        let route = match (leg.endpoint, &leg.path) {
            (Some(endpoint), _) => endpoint.route(),
            (None, Some(path)) => (if leg.request.is_some() { "POST" } else { "GET" }, path.as_str()),
            (None, None) => spec.route(),
        };
        let own = leg.request.clone().map(|request| {
            let mut body = Map::from_iter([("model".to_owned(), Value::from(self.model))]);
            body.extend(request);
            body
        });
        let body = own.or_else(|| spec.body(self.model)).filter(|_| route.0 != "GET").map(|mut body| {
            body.extend(leg.with.clone());
            if leg.mode == Mode::Stream {
                body.insert("stream".to_owned(), true.into());
            }
            body.retain(|key, _| !leg.omit.contains(key));
            body
        });
        let until = leg.until.clone().map(|holds| {
            let within = leg.within_s.map_or(WITHIN, |s| Duration::from_secs(s.into()));
            Until { holds, within }
        });
        Planned { until, ..self.planned(name, route, body.map_or(Content::None, Content::Json)) }
    }

    fn planned(&self, name: &str, (method, path): (&str, &str), content: Content) -> Planned {
        let path = path.replace("{model}", self.model);
        let route = match path.strip_prefix("/v1") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Route::Api(rest.to_owned()),
            _ => Route::Root(path),
        };
        let spec = self.spec;
        let request = Request {
            method: method.to_owned(),
            route,
            headers: spec.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect(),
            body: None,
            read_size: spec.read_size.and_then(|size| usize::try_from(size).ok()),
        };
        Planned { name: name.to_owned(), request, content, until: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spec: Value) -> Vec<String> {
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let answers = json!({"body": {"tokens": [7]}});
        let line = |one: Planned| {
            let (request, _) = one.make(&answers).unwrap();
            let body = request.body.map(|body| String::from_utf8_lossy(&body).into_owned());
            format!("{}: {} {} {}", one.name, request.method, request.route.path(), body.unwrap_or_default())
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
                "card": {"path": "/v1/models/{model}"},
                "text": {"endpoint": "detokenize", "request": {"tokens": {"$from": "body.tokens"}}},
            },
        }));
        assert_eq!(
            lines[1..],
            [
                r#"single: POST /completions {"model":"m","prompt":"a","stream":true}"#,
                r#"other: POST /chat/completions {"model":"m","messages":[]}"#,
                "list: GET /models ",
                "card: GET /models/m ",
                r#"text: POST /detokenize {"model":"m","tokens":[7]}"#,
            ]
        );
    }
}
