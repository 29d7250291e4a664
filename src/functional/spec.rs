//! What one functional case says: [`Spec`]. Must not know how a request travels or what an answer is.
//!
//! 功能用例的规格。
//!
//! ```yaml
//! - id: finish_length
//!   about: The answer ends by length, exactly at the bound
//!   endpoint: chat
//!   request: {messages: [{role: user, content: Count to fifty.}], max_tokens: 8, temperature: 0}
//!   expect:
//!     - status: 200
//!     - eq: {final.choices.0.finish_reason: length, final.usage.completion_tokens: 8}
//!   twin: stream
//! ```
//!
//! The body is sent as it is written, legal or not. Two things are added: `model`, where the body names none,
//! and `stream: true` where `mode` is `stream`; `omit` takes a key out again. Texts too long to be written, and values
//! that an earlier answer tells, stand in it as `$repeat` and `$from`: see `fill`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    deviation::Deviation,
    expect::{At, Expect, Len, METRICS_LEGS, Pairs, Paths, ROOTS, TOKENIZE, mistakes},
    fill::{self, Raw},
};

/// One functional case, beside the keys that every case has.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Where to send to; instead of `path`.
    pub endpoint: Option<Endpoint>,
    /// Where to send to, from the server's root: `/v1/nope`. `{model}` in it is the model's name.
    pub path: Option<String>,
    /// `GET`, `PUT`…; the endpoint's own where it is left out, `POST` for a path with a body, `GET` without.
    pub method: Option<String>,
    /// The question: one user message for chat, the prompt for completions. A case that asks both needs no two
    /// bodies.
    pub ask: Option<String>,
    /// The body, a JSON object.
    pub request: Option<Map<String, Value>>,
    /// Keys laid over `request`, each replacing what stands there: one matrix value may bring several.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// The body, where it is no JSON object: the text that is sent, or pieces of it.
    pub raw: Option<Raw>,
    /// Keys that are taken out of the body: `[model]`.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Headers beside the usual ones. An empty `authorization` sends no key; `transfer-encoding: chunked` sends the
    /// body in chunks.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Go away after this many events of the stream, as a user does who loses interest. Only the case's own request
    /// is left so; what becomes of the server can be asked by `legs`.
    pub leave_after: Option<u32>,
    /// Read the answer in pieces of at most this many bytes: it must make no difference.
    pub read_size: Option<u32>,
    /// Whether the answer is asked for as a stream.
    #[serde(default)]
    pub mode: Mode,
    /// How often a transport fault or a busy server is tried again, at most; 2 where it is left out.
    pub retries: Option<u32>,
    /// How long one request may take, in seconds; 120 where it is left out.
    pub request_timeout_s: Option<u32>,
    /// What must hold of the answer.
    pub expect: Vec<Expect>,
    /// Send it again as its twin, and compare status, texts, finish reasons, tool calls and usage.
    pub twin: Option<Twin>,
    /// Send it again just so, and compare.
    pub repeat: Option<Repeat>,
    /// Further requests, each with a name: what they answer stands at `legs.NAME` for `expect`.
    pub legs: Option<Pairs<String, LegSpec>>,
    /// Where engines are known to differ from what `expect` says.
    #[serde(default)]
    pub deviations: Vec<Deviation>,
}

/// A further request: the case's own, but for what is said here.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LegSpec {
    /// Where to send to; the case's own place where neither this nor `path` is given.
    pub endpoint: Option<Endpoint>,
    /// Where to send to, from the server's root.
    pub path: Option<String>,
    /// The body, in place of the case's own.
    pub request: Option<Map<String, Value>>,
    /// Keys laid over the body.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Keys that are taken out of the body.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Whether the answer is asked for as a stream.
    #[serde(default)]
    pub mode: Mode,
    /// Ask again until this holds of the leg's own answer, or `within_s` is over. Paths begin at that answer.
    pub until: Option<Vec<Expect>>,
    /// For how long `until` is waited for, in seconds; 5 where it is left out.
    pub within_s: Option<u32>,
}

/// A known place on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `GET /v1/models`
    Models,
    /// `GET /health`
    Health,
    /// `GET /version`
    Version,
    /// `GET /metrics`
    Metrics,
    /// `POST /tokenize`
    Tokenize,
    /// `POST /detokenize`
    Detokenize,
}

/// How the answer is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the body says.
    #[default]
    Plain,
    /// `stream: true` is added.
    Stream,
}

/// The same request in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Twin {
    /// As a stream, with usage.
    Stream,
}

/// The same request again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// How often in all, from 2 to 10.
    pub times: Option<u8>,
    /// Once with each of these seeds, in place of `times`.
    pub seeds: Option<Vec<i64>>,
    /// What every answer has in common.
    pub same: Option<Paths>,
    /// What is not the same in all answers.
    pub differ: Option<Paths>,
    /// How many different values there are: `{final.choices.0.content: {min: 2}}`.
    pub distinct: Option<At<Len>>,
    /// Texts that are about the same: how much of the first answer's each other one has, by edit distance, from 0
    /// to 1.
    pub similar: Option<At<Similarity>>,
}

impl Repeat {
    /// How often in all.
    pub fn times(&self) -> usize {
        self.seeds.as_ref().map_or_else(|| self.times.unwrap_or(1).into(), Vec::len)
    }
}

/// From more than 0 to 1, where 1 is the same text.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
pub struct Similarity(pub f64);

impl TryFrom<f64> for Similarity {
    type Error = String;

    fn try_from(least: f64) -> Result<Self, String> {
        if least > 0.0 && least <= 1.0 {
            return Ok(Self(least));
        }
        Err(format!("expected a similarity above 0 and at most 1, found {least}"))
    }
}

impl Endpoint {
    /// Method and path.
    pub fn route(self) -> (&'static str, &'static str) {
        match self {
            Self::Chat => ("POST", "/v1/chat/completions"),
            Self::Completions => ("POST", "/v1/completions"),
            Self::Models => ("GET", "/v1/models"),
            Self::Health => ("GET", "/health"),
            Self::Version => ("GET", "/version"),
            Self::Metrics => ("GET", "/metrics"),
            Self::Tokenize => ("POST", "/tokenize"),
            Self::Detokenize => ("POST", "/detokenize"),
        }
    }
}

impl Spec {
    /// Method and path, from the server's root.
    pub fn route(&self) -> (&str, &str) {
        let (method, path) = match (&self.endpoint, &self.path) {
            (Some(endpoint), _) => endpoint.route(),
            (None, Some(path)) => (if self.has_body() { "POST" } else { "GET" }, path.as_str()),
            (None, None) => ("GET", "/"),
        };
        (self.method.as_deref().unwrap_or(method), path)
    }

    /// The JSON body for `model`; nothing where it is no JSON object or there is none.
    pub fn body(&self, model: &str) -> Option<Map<String, Value>> {
        let mut body = Map::new();
        body.insert("model".to_owned(), model.into());
        body.extend(self.question());
        body.extend(match (&self.request, &self.ask) {
            (None, None) => return None,
            (request, _) => request.clone().unwrap_or_default(),
        });
        body.extend(self.with.clone());
        if self.mode == Mode::Stream {
            body.insert("stream".to_owned(), true.into());
        }
        body.retain(|key, _| !self.omit.contains(key));
        if let Some(first) = self.repeat.as_ref().and_then(|repeat| repeat.seeds.as_ref()?.first()) {
            body.insert("seed".to_owned(), (*first).into());
        }
        Some(body)
    }

    /// The names of all requests beside the main one.
    pub fn leg_names(&self) -> Vec<String> {
        let metrics =
            if self.expect.iter().any(Expect::asks_metrics) { METRICS_LEGS.as_slice() } else { &[] };
        let tokenize = self.expect.iter().any(Expect::asks_tokenize).then_some(TOKENIZE);
        let twin = self.twin.is_some().then_some("stream");
        let fixed = metrics.iter().copied().chain(tokenize).chain(twin).map(str::to_owned);
        let repeats = 2..=self.repeat.as_ref().map_or(1, Repeat::times);
        let named = self.legs.iter().flat_map(|legs| legs.0.iter().map(|(name, _)| name.clone()));
        fixed.chain(repeats.map(|nth| format!("repeat_{nth}"))).chain(named).collect()
    }

    /// `ask` as the endpoint wants it.
    fn question(&self) -> Option<(String, Value)> {
        let text = self.ask.as_deref()?;
        Some(match self.endpoint {
            Some(Endpoint::Completions) => ("prompt".to_owned(), text.into()),
            _ => ("messages".to_owned(), json!([{"role": "user", "content": text}])),
        })
    }

    fn asks(&self) -> bool {
        self.request.is_some() || self.ask.is_some()
    }

    fn has_body(&self) -> bool {
        self.asks() || self.raw.is_some()
    }

    /// Tells what is wrong although the types are right.
    pub fn mistakes(&self, tell: &mut dyn FnMut(&str, String)) {
        match (&self.endpoint, &self.path) {
            (None, None) => {
                tell("", "expected `endpoint` or `path`: where to send to; found neither".to_owned())
            }
            (Some(_), Some(_)) => tell("/path", "expected `endpoint` or `path`, found both".to_owned()),
            (None, Some(path)) if !path.starts_with('/') => {
                tell(
                    "/path",
                    format!("expected a path from the server's root such as /v1/models, found `{path}`"),
                );
            }
            _ => {}
        }
        let own = |key| self.request.as_ref().is_some_and(|body| body.contains_key(key));
        match (&self.ask, &self.endpoint) {
            (Some(_), Some(Endpoint::Chat | Endpoint::Completions)) if own("messages") || own("prompt") => {
                tell("/ask", "expected `ask` or messages and prompt in `request`, found both".to_owned());
            }
            (None, _) | (_, Some(Endpoint::Chat | Endpoint::Completions)) => {}
            _ => tell("/ask", "`ask` is for `endpoint: chat` and `endpoint: completions`".to_owned()),
        }
        if self.asks() && self.raw.is_some() {
            tell("/raw", "expected `request` or `raw`, found both".to_owned());
        }
        if !self.asks() && self.mode == Mode::Stream {
            tell("/mode", "`mode: stream` adds a key to `request`, and there is none".to_owned());
        }
        if !self.asks() && !self.with.is_empty() {
            tell("/with", "`with` adds keys to `request`, and there is none".to_owned());
        }
        if !self.asks() && self.twin.is_some() {
            tell("/twin", "`twin` adds keys to `request`, and there is none".to_owned());
        }
        if self.twin.is_some()
            && (self.mode == Mode::Stream
                || self.request.as_ref().is_some_and(|body| body.contains_key("stream")))
        {
            tell("/twin", "`twin: stream` belongs to a case that does not stream itself".to_owned());
        }
        if self.read_size == Some(0) {
            tell("/read_size", "expected a size of at least 1 byte, found 0".to_owned());
        }
        if self.leave_after.is_some_and(|events| events == 0 || self.twin.is_some() || self.repeat.is_some())
        {
            let message =
                "expected at least 1 event, in a case without `twin` and `repeat`: they need all of it";
            tell("/leave_after", message.to_owned());
        }
        for (key, map) in [("/request", self.request.as_ref()), ("/with", Some(&self.with))] {
            if let Some(map) = map {
                fill::mistakes(&Value::Object(map.clone()), key, &[], tell);
            }
        }
        self.repeat_mistakes(tell);
        self.leg_mistakes(tell);
        let legs = self.leg_names();
        mistakes(&self.expect, "/expect", &legs, tell);
        for (index, deviation) in self.deviations.iter().enumerate() {
            mistakes(&deviation.expect, &format!("/deviations/{index}/expect"), &legs, tell);
        }
    }

    fn leg_mistakes(&self, tell: &mut dyn FnMut(&str, String)) {
        let names = self.leg_names();
        for (name, leg) in self.legs.iter().flat_map(|legs| &legs.0) {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let taken = name == "main" || names.iter().filter(|other| *other == name).count() > 1;
            if taken || name.is_empty() || !name.chars().all(plain) {
                let message = format!("expected a name of its own in a-z, 0-9 and _, found `{name}`");
                tell(&format!("/legs/{name}"), message);
            }
            let own = leg.request.clone().unwrap_or_default();
            for (key, map) in [("request", own), ("with", leg.with.clone())] {
                fill::mistakes(&Value::Object(map), &format!("/legs/{name}/{key}"), ROOTS, tell);
            }
            if leg.endpoint.is_some() && leg.path.is_some() {
                tell(&format!("/legs/{name}/path"), "expected `endpoint` or `path`, found both".to_owned());
            }
            match (&leg.until, leg.within_s) {
                (Some(until), _) => mistakes(until, &format!("/legs/{name}/until"), &[], tell),
                (None, Some(_)) => {
                    let message = "`within_s` bounds `until`, and there is none".to_owned();
                    tell(&format!("/legs/{name}/within_s"), message);
                }
                (None, None) => {}
            }
            if leg.request.is_none() && !self.asks() && !leg.with.is_empty() {
                tell(
                    &format!("/legs/{name}/with"),
                    "`with` adds keys to `request`, and there is none".to_owned(),
                );
            }
        }
    }

    fn repeat_mistakes(&self, tell: &mut dyn FnMut(&str, String)) {
        let Some(repeat) = &self.repeat else { return };
        let at = if repeat.seeds.is_some() { "/repeat/seeds" } else { "/repeat/times" };
        if !(2..=10).contains(&repeat.times()) {
            tell(at, format!("expected 2 to 10 requests in all, found {}", repeat.times()));
        }
        if repeat.seeds.is_some() && repeat.times.is_some() {
            tell("/repeat/times", "expected `times` or `seeds`, found both".to_owned());
        }
        let compared = [
            repeat.same.is_some(),
            repeat.differ.is_some(),
            repeat.distinct.is_some(),
            repeat.similar.is_some(),
        ];
        if !compared.contains(&true) {
            let kinds = "`same`, `differ`, `distinct` or `similar`";
            tell("/repeat", format!("expected {kinds}: what is compared; found none of them"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: Value) -> Spec {
        serde_json::from_value(value).unwrap()
    }

    fn told(value: Value) -> Vec<(String, String)> {
        let mut told = Vec::new();
        spec(value).mistakes(&mut |pointer, message| told.push((pointer.to_owned(), message)));
        told
    }

    #[test]
    fn the_model_is_put_in_first_and_only_where_none_is_named() {
        let ours =
            spec(json!({"endpoint": "chat", "request": {"max_tokens": 1}, "expect": [{"status": 200}]}));
        assert_eq!(Value::from(ours.body("m").unwrap()).to_string(), r#"{"model":"m","max_tokens":1}"#);
        let own = spec(json!({"endpoint": "chat", "request": {"model": null}, "expect": [{"status": 200}]}));
        assert_eq!(Value::from(own.body("m").unwrap()), json!({"model": null}));
        let none =
            spec(json!({"endpoint": "chat", "request": {}, "omit": ["model"], "expect": [{"status": 200}]}));
        assert_eq!(Value::from(none.body("m").unwrap()), json!({}));
    }

    #[test]
    fn a_question_is_put_as_the_endpoint_wants_it() {
        let asked = |endpoint: &str| {
            let value =
                json!({"endpoint": endpoint, "ask": "hi", "request": {"n": 1}, "expect": [{"status": 200}]});
            Value::from(spec(value).body("m").unwrap())
        };
        let messages = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(asked("chat"), json!({"model": "m", "messages": messages, "n": 1}));
        assert_eq!(asked("completions"), json!({"model": "m", "prompt": "hi", "n": 1}));
    }

    #[test]
    fn a_similarity_of_nothing_asserts_nothing() {
        assert!(serde_json::from_value::<Similarity>(json!(0)).is_err());
        assert!(serde_json::from_value::<Similarity>(json!(1.1)).is_err());
        assert_eq!(serde_json::from_value::<Similarity>(json!(0.9)).unwrap(), Similarity(0.9));
    }

    #[test]
    fn with_lays_keys_over_the_body_and_omit_takes_them_out() {
        let laid = spec(json!({
            "endpoint": "chat", "request": {"n": 1, "seed": 1}, "with": {"n": {"a": 1}}, "omit": ["seed"],
            "expect": [{"status": 200}],
        }));
        assert_eq!(Value::from(laid.body("m").unwrap()), json!({"model": "m", "n": {"a": 1}}));
    }

    #[test]
    fn the_stream_mode_adds_its_key() {
        let stream =
            spec(json!({"endpoint": "chat", "mode": "stream", "request": {}, "expect": [{"status": 200}]}));
        assert_eq!(stream.body("m").unwrap()["stream"], true);
    }

    #[test]
    fn a_path_is_posted_to_with_a_body_and_got_without() {
        assert_eq!(
            spec(json!({"path": "/v1/nope", "expect": [{"status": 404}]})).route(),
            ("GET", "/v1/nope")
        );
        assert_eq!(
            spec(json!({"path": "/x", "raw": "", "expect": [{"status": 404}]})).route(),
            ("POST", "/x")
        );
        let put = spec(json!({"endpoint": "chat", "method": "PUT", "expect": [{"status": 405}]}));
        assert_eq!(put.route(), ("PUT", "/v1/chat/completions"));
    }

    #[test]
    fn contradictions_are_told_with_their_place() {
        let ok = json!([{"status": 200}]);
        let cases = [
            (json!({"expect": ok}), ""),
            (json!({"endpoint": "chat", "path": "/x", "expect": ok}), "/path"),
            (json!({"path": "v1", "expect": ok}), "/path"),
            (json!({"path": "/x", "request": {}, "raw": "", "expect": ok}), "/raw"),
            (json!({"path": "/x", "mode": "stream", "expect": ok}), "/mode"),
            (json!({"path": "/x", "request": {}, "mode": "stream", "twin": "stream", "expect": ok}), "/twin"),
            (json!({"path": "/x", "read_size": 0, "expect": ok}), "/read_size"),
            (json!({"path": "/x", "leave_after": 0, "expect": ok}), "/leave_after"),
            (
                json!({"path": "/x", "request": {"a": {"$repeat": {"text": "a", "times": 0}}}, "expect": ok}),
                "/request/a/$repeat",
            ),
            (json!({"path": "/x", "request": {"a": {"$from": "body.x"}}, "expect": ok}), "/request/a/$from"),
            (
                json!({"path": "/x", "request": {}, "legs": {"a": {"with": {"n": {"$from": "x"}}}}, "expect": ok}),
                "/legs/a/with/n/$from",
            ),
            (json!({"path": "/x", "legs": {"a": {"within_s": 1}}, "expect": ok}), "/legs/a/within_s"),
            (
                json!({"path": "/x", "legs": {"a": {"until": [{"eq": {"bdy": 1}}]}}, "expect": ok}),
                "/legs/a/until/0/eq/bdy",
            ),
            (json!({"path": "/x", "ask": "hi", "expect": ok}), "/ask"),
            (json!({"endpoint": "chat", "ask": "hi", "request": {"messages": []}, "expect": ok}), "/ask"),
            (
                json!({"path": "/x", "repeat": {"times": 1, "same": ["final.id"]}, "expect": ok}),
                "/repeat/times",
            ),
            (json!({"path": "/x", "repeat": {"times": 2}, "expect": ok}), "/repeat"),
            (
                json!({"path": "/x", "repeat": {"seeds": [1], "same": ["final.id"]}, "expect": ok}),
                "/repeat/seeds",
            ),
            (
                json!({"path": "/x", "repeat": {"times": 2, "seeds": [1, 2], "same": ["final.id"]}, "expect": ok}),
                "/repeat/times",
            ),
            (json!({"path": "/x", "legs": {"main": {}}, "expect": ok}), "/legs/main"),
            (json!({"path": "/x", "legs": {"a": {"with": {"n": 1}}}, "expect": ok}), "/legs/a/with"),
            (
                json!({"path": "/x", "legs": {"a": {}}, "expect": [{"same": {"final.id": "legs.b.final.id"}}]}),
                "/expect/0/same/final.id",
            ),
            (
                json!({"path": "/x", "expect": ok, "deviations": [{"engine": "vllm", "ref": "seen", "expect": []}]}),
                "/deviations/0/expect",
            ),
            (json!({"path": "/x", "expect": []}), "/expect"),
            (json!({"path": "/x", "expect": [{"eq": {"finl.id": 1}}]}), "/expect/0/eq/finl.id"),
            (json!({"path": "/x", "expect": [{"exists": ["final.usge"]}]}), "/expect/0/exists/0"),
            (json!({"path": "/x", "expect": [{"exists": ["headers.Allow"]}]}), "/expect/0/exists/0"),
            (
                json!({"path": "/x", "expect": [{"each": {"events": [{"status": 200}]}}]}),
                "/expect/0/each/events/0/status",
            ),
            (json!({"path": "/x", "expect": [{"wire": []}]}), "/expect/0/wire"),
            (json!({"path": "/x", "expect": [{"sse": []}]}), "/expect/0/sse"),
            (json!({"path": "/x", "expect": [{"either": {"a/b": []}}]}), "/expect/0/either/a~1b"),
        ];
        for (value, pointer) in cases {
            let told = told(value.clone());
            assert_eq!(told.len(), 1, "{value}: {told:?}");
            assert_eq!(told[0].0, pointer, "{value}: {told:?}");
        }
    }
}
