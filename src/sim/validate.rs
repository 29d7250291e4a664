//! Checked body → sampling parameters, refused in vLLM's own words: [`Refusal`]. The shape comes first (`shape`), then
//! what belongs together, then the values. Must not know what is answered to a request that passes.
//!
//! 请求校验：取值与字段间关系，错误文本与 vLLM 一致。

use super::reply::Reply;
use super::shape::{self, Misfit, literal, quoted};
use super::text::Sampling;
use super::tokenizer::{Id, VOCABULARY};
use serde_json::{Map, Value, json};

/// Choices that are made at most.
const CHOICES: i64 = 16_384;
/// Log-probabilities that are told at most.
const LOGPROBS: i64 = 20;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

pub(super) type Checked<T> = Result<T, Refusal>;

impl Refusal {
    /// Status 400 without a parameter.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Refusal { status: 400, kind: "BadRequestError", message: message.into(), param: None }
    }

    /// Status 400 about one parameter, which the message names as vLLM's own errors do.
    pub(super) fn param(param: &str, message: &str) -> Self {
        let message = format!("{message} (parameter={param})");
        Refusal { param: Some(param.to_owned()), ..Refusal::bad(message) }
    }

    /// The same, with the value.
    pub(super) fn value(param: &str, value: &str, message: &str) -> Self {
        let message = format!("{message} (parameter={param}, value={value})");
        Refusal { param: Some(param.to_owned()), ..Refusal::bad(message) }
    }

    pub(super) fn not_found(model: &str, served: &str) -> Self {
        Refusal {
            status: 404,
            kind: "NotFoundError",
            message: format!("The model `{model}` does not exist. Valid aliases: {served}."),
            param: Some("model".to_owned()),
        }
    }

    pub(super) fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}})
    }

    pub(super) fn reply(&self) -> Reply {
        Reply::json(self.status, self.body())
    }
}

/// A chat request, up to its sampling parameters.
pub(super) fn chat(body: Map<String, Value>) -> Checked<Map<String, Value>> {
    let body = shape::chat(body)?;
    before_engine(&body)?;
    template(&body)?;
    tools(&body)?;
    let logprobs = body.get("logprobs").and_then(Value::as_bool).unwrap_or(false);
    match int(&body, "top_logprobs") {
        Some(k) if k < 0 => {
            return Err(Refusal::value(
                "top_logprobs",
                &k.to_string(),
                "`top_logprobs` must be a non-negative value.",
            ));
        }
        Some(_) if !logprobs => {
            return Err(Refusal::param(
                "top_logprobs",
                "when using `top_logprobs`, `logprobs` must be set to true.",
            ));
        }
        Some(k) => logprob_limit(k)?,
        None => {}
    }
    Ok(body)
}

/// A completions request, up to its sampling parameters.
pub(super) fn completions(body: Map<String, Value>) -> Checked<Map<String, Value>> {
    let body = shape::completions(body)?;
    before_engine(&body)?;
    match int(&body, "logprobs") {
        Some(k) if k < 0 => {
            return Err(Refusal::value(
                "logprobs",
                &k.to_string(),
                "`logprobs` must be a non-negative value.",
            ));
        }
        Some(k) => logprob_limit(k)?,
        None => {}
    }
    Ok(body)
}

fn logprob_limit(k: i64) -> Checked<()> {
    if k <= LOGPROBS {
        return Ok(());
    }
    let message = format!("Requested sample logprobs of {k}, which is greater than max allowed: {LOGPROBS}");
    Err(Refusal::value("logprobs", &k.to_string(), &message))
}

/// What vLLM checks between the shape and the values.
fn before_engine(body: &Map<String, Value>) -> Checked<()> {
    let streams = flag(body, "stream");
    if body.get("stream_options").and_then(Value::as_object).is_some_and(|o| !o.is_empty()) && !streams {
        return Err(Refusal::param(
            "stream_options",
            "Stream options can only be defined when `stream=True`.",
        ));
    }
    let format = body.get("response_format").unwrap_or(&Value::Null);
    if format["type"] == "json_schema" && format["json_schema"].is_null() {
        let message = "When response_format type is 'json_schema', the 'json_schema' field must be provided.";
        return Err(Refusal::param("response_format", message));
    }
    if let Some(Value::Object(ways)) = body.get("structured_outputs") {
        let given = ways.values().filter(|way| !way.is_null()).count();
        if given != 1 {
            return Err(Refusal::bad(
                "You can only use one kind of constraints for structured outputs ('json', 'regex' or 'choice').",
            ));
        }
        if ways.get("choice").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            return Err(Refusal::bad("Choice '[]' cannot be empty"));
        }
    }
    Ok(())
}

/// What would change the template, which only a trusted client may.
fn template(body: &Map<String, Value>) -> Checked<()> {
    if body.get("chat_template").is_some_and(|template| !template.is_null()) {
        return Err(Refusal::bad(
            "Chat template is passed with request, but --trust-request-chat-template is not set. Refused request \
             with untrusted chat template.",
        ));
    }
    if body.get("chat_template_kwargs").is_some_and(|kwargs| kwargs.get("messages").is_some()) {
        return Err(Refusal::bad("apply_chat_template() got multiple values for argument 'messages'"));
    }
    Ok(())
}

fn tools(body: &Map<String, Value>) -> Checked<()> {
    let tools = body.get("tools").unwrap_or(&Value::Null);
    let choice = body.get("tool_choice").unwrap_or(&Value::Null);
    if tools.as_array().is_some_and(Vec::is_empty) {
        return Err(Refusal::param(
            "tools",
            "`tools` must not be an empty array. Leave it out to offer no tools.",
        ));
    }
    for (k, tool) in tools.as_array().into_iter().flatten().enumerate() {
        if tool["type"].as_str().is_some_and(|t| t != "function") {
            return Err(Refusal::shape(&[literal(&format!("tools.{k}.type"), "'function'", &tool["type"])]));
        }
        if !tool["function"]["name"].is_string() {
            let at = format!("tools.{k}.function");
            return Err(Refusal::shape(&[Misfit::new("missing", &at, "Field required", tool)]));
        }
    }
    let named = match choice {
        Value::Null => return Ok(()),
        Value::String(word) if word == "none" => return Ok(()),
        Value::String(word) if word == "auto" || word == "required" => None,
        Value::Object(_) if choice["type"] == "function" && choice["function"]["name"].is_string() => {
            choice["function"]["name"].as_str()
        }
        _ => {
            let message =
                "Invalid value for `tool_choice`: expected 'none', 'auto', 'required' or a named tool.";
            return Err(Refusal::param("tool_choice", message));
        }
    };
    if tools.is_null() {
        return Err(Refusal::param("tool_choice", "When using `tool_choice`, `tools` must be set."));
    }
    let offered = |name| tools.as_array().into_iter().flatten().any(|tool| tool["function"]["name"] == name);
    if named.is_some_and(|name| !offered(name)) {
        let message = "The tool specified in `tool_choice` does not match any of the specified `tools`";
        return Err(Refusal::param("tool_choice", message));
    }
    Ok(())
}

/// The values, in the order in which vLLM looks at them. `room` is what the context leaves for the answer.
pub(super) fn sampling(body: &Map<String, Value>, max_tokens: usize) -> Checked<Sampling> {
    let n = int(body, "n").unwrap_or(1);
    let temperature = float(body, "temperature").unwrap_or(1.0);
    let (top_p, min_p) = (float(body, "top_p").unwrap_or(1.0), float(body, "min_p").unwrap_or(0.0));
    let top_k = int(body, "top_k").unwrap_or(0);
    let presence = float(body, "presence_penalty").unwrap_or(0.0);
    let frequency = float(body, "frequency_penalty").unwrap_or(0.0);
    let repetition = float(body, "repetition_penalty").unwrap_or(1.0);
    let greedy = temperature < 1e-5;
    if n < 1 {
        return Err(Refusal::value("n", &n.to_string(), &format!("n must be at least 1, got {n}.")));
    }
    if n > CHOICES {
        let message = format!("n must be at most {CHOICES}, got {n}.");
        return Err(Refusal::value("n", &n.to_string(), &message));
    }
    for (name, value) in [("presence_penalty", presence), ("frequency_penalty", frequency)] {
        if !(-2.0..=2.0).contains(&value) {
            return Err(Refusal::bad(format!("{name} must be in [-2, 2], got {value:?}.")));
        }
    }
    if repetition <= 0.0 {
        return Err(Refusal::bad(format!(
            "repetition_penalty must be greater than zero, got {repetition:?}."
        )));
    }
    let about = |name: &str, value: f64, rule: &str| {
        let shown = format!("{value:?}");
        Err(Refusal::value(name, &shown, &format!("{name} must be {rule}, got {shown}.")))
    };
    if temperature < 0.0 {
        return about("temperature", temperature, "non-negative");
    }
    if temperature > 2.0 {
        return about("temperature", temperature, "in [0, 2]");
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        return about("top_p", top_p, "in (0, 1]");
    }
    if top_k < -1 {
        return Err(Refusal::bad(format!("top_k must be 0 (disable), or at least 1, got {top_k}.")));
    }
    if !(0.0..=1.0).contains(&min_p) {
        return Err(Refusal::bad(format!("min_p must be in [0, 1], got {min_p:?}.")));
    }
    let min_tokens = int(body, "min_tokens").unwrap_or(0);
    if min_tokens < 0 {
        let message = format!("min_tokens must be greater than or equal to 0, got {min_tokens}.");
        return Err(Refusal::value("min_tokens", &min_tokens.to_string(), &message));
    }
    if usize::try_from(min_tokens).is_ok_and(|min| min > max_tokens) {
        let message =
            format!("min_tokens must be less than or equal to max_tokens={max_tokens}, got {min_tokens}.");
        return Err(Refusal::value("min_tokens", &min_tokens.to_string(), &message));
    }
    if body.get("seed").is_some_and(|seed| seed.is_u64() && !seed.is_i64()) {
        return Err(Refusal::bad(format!("seed must be less than 2^63, got {}.", body["seed"])));
    }
    let stop = texts(body, "stop");
    if stop.iter().any(String::is_empty) {
        return Err(Refusal::bad("stop cannot contain an empty string."));
    }
    if greedy && n > 1 {
        return Err(Refusal::bad(format!("n must be 1 when using greedy sampling, got {n}.")));
    }
    Ok(Sampling {
        temperature,
        top_p,
        top_k: usize::try_from(top_k).unwrap_or(0),
        min_p,
        presence,
        frequency,
        repetition,
        bias: logit_bias(body)?,
        allowed: body
            .get("allowed_token_ids")
            .filter(|v| !v.is_null())
            .map(|_| ids(body, "allowed_token_ids"))
            .transpose()?,
        banned: texts(body, "bad_words").iter().flat_map(|word| banned(word)).collect(),
        stop,
        stop_ids: ids(body, "stop_token_ids")?,
        include_stop: flag(body, "include_stop_str_in_output"),
        max_tokens,
        min_tokens: usize::try_from(min_tokens).unwrap_or(0),
        ignore_eos: flag(body, "ignore_eos"),
        logprobs: flag(body, "logprobs") || int(body, "logprobs").is_some(),
    })
}

/// How many tokens the answer may have: what is asked for, cut to what the context leaves.
pub(super) fn room(
    body: &Map<String, Value>,
    names: &[&str],
    default: Option<u32>,
    prompt: usize,
    limit: u32,
) -> Checked<usize> {
    let limit_tokens = limit as usize;
    if prompt > limit_tokens {
        // The recorded server stops counting one past the limit.
        let seen = limit_tokens + 1;
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, your prompt contains at least {seen} \
             input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the \
             input prompt."
        );
        return Err(Refusal::value("input_tokens", &seen.to_string(), &message));
    }
    let left = limit_tokens - prompt;
    let asked = names.iter().find_map(|name| int(body, name)).or(default.map(i64::from));
    let too_few = |n: i64| {
        Refusal::value("max_tokens", &n.to_string(), &format!("max_tokens must be at least 1, got {n}."))
    };
    match asked {
        Some(n) if n < 1 => Err(too_few(n)),
        Some(n) if n > i64::from(limit) => {
            let message = format!(
                "max_tokens={n} cannot be greater than max_model_len={limit}. Please request fewer output tokens."
            );
            Err(Refusal::value("max_tokens", &n.to_string(), &message))
        }
        _ if left == 0 => Err(too_few(0)),
        Some(n) => Ok(left.min(usize::try_from(n).unwrap_or(left))),
        None => Ok(left),
    }
}

/// The end of the prompt, where only so many tokens of it are to count; −1 is as many as the context holds.
pub(super) fn truncated(body: &Map<String, Value>, prompt: Vec<Id>, limit: u32) -> Checked<Vec<Id>> {
    let most = match int(body, "truncate_prompt_tokens") {
        None => return Ok(prompt),
        Some(-1) => limit as usize,
        Some(n) => usize::try_from(n).ok().filter(|most| *most > 0).ok_or_else(|| {
            let message = format!("truncate_prompt_tokens must be -1 or at least 1, got {n}.");
            Refusal::value("truncate_prompt_tokens", &n.to_string(), &message)
        })?,
    };
    Ok(prompt[prompt.len().saturating_sub(most)..].to_vec())
}

/// How many tokens travel together in a stream.
pub(super) fn stream_interval(body: &Map<String, Value>) -> Checked<usize> {
    let asked = int(body, "stream_interval").unwrap_or(1);
    usize::try_from(asked).ok().filter(|interval| *interval > 0).ok_or_else(|| {
        let message = format!("stream_interval must be at least 1, got {asked}.");
        Refusal::value("stream_interval", &asked.to_string(), &message)
    })
}

fn logit_bias(body: &Map<String, Value>) -> Checked<Vec<(Id, f64)>> {
    let mut bias = Vec::new();
    let mut beyond = Vec::new();
    for (key, by) in body.get("logit_bias").and_then(Value::as_object).into_iter().flatten() {
        let by = by
            .as_f64()
            .ok_or_else(|| Refusal::bad(format!("Invalid value in logit_bias for token {key}: {by}")))?;
        match key.parse::<i64>() {
            Ok(id) if (0..i64::from(VOCABULARY)).contains(&id) => {
                bias.push((Id::try_from(id).unwrap_or_default(), by));
            }
            Ok(id) => beyond.push(id.to_string()),
            Err(_) => return Err(Refusal::bad(format!("Invalid key in logit_bias: {}", quoted(key)))),
        }
    }
    if beyond.is_empty() {
        return Ok(bias);
    }
    let beyond = format!("[{}]", beyond.join(", "));
    let message = format!(
        "token_id(s) {beyond} in logit_bias contain out-of-vocab token ids. Vocabulary size: {VOCABULARY}"
    );
    Err(Refusal::value("logit_bias", &beyond, &message))
}

fn ids(body: &Map<String, Value>, name: &str) -> Checked<Vec<Id>> {
    let given = list(body, name);
    if given.is_empty() && name == "allowed_token_ids" {
        return Err(Refusal::value(name, "[]", "allowed_token_ids is not None and empty!"));
    }
    let id = |v: &Value| v.as_u64().and_then(|n| Id::try_from(n).ok()).filter(|id| *id < VOCABULARY);
    given.iter().map(id).collect::<Option<_>>().ok_or_else(|| {
        let message = format!("{name} contains out-of-vocab token id!");
        Refusal::value(name, &Value::Array(given.to_vec()).to_string(), &message)
    })
}

/// The first tokens of a word, alone and after a blank: without them it cannot begin.
fn banned(word: &str) -> Vec<Id> {
    let spaced = format!(" {}", word.trim());
    [word, spaced.as_str()].iter().filter_map(|w| super::tokenizer::encode(w).first().copied()).collect()
}

pub(super) fn int(body: &Map<String, Value>, name: &str) -> Option<i64> {
    body.get(name).and_then(Value::as_i64)
}

fn float(body: &Map<String, Value>, name: &str) -> Option<f64> {
    body.get(name).and_then(Value::as_f64)
}

pub(super) fn flag(body: &Map<String, Value>, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn list<'a>(body: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    body.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(body: &Map<String, Value>, name: &str) -> Vec<String> {
    match body.get(name) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: Value) -> Refusal {
        let body = body.as_object().expect("an object").clone();
        let checked = chat(body).and_then(|body| {
            stream_interval(&body)?;
            truncated(&body, Vec::new(), 100)?;
            sampling(&body, 16)
        });
        checked.expect_err("must be refused")
    }

    fn with(key: &str, value: Value) -> Value {
        let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
        body[key] = value;
        body
    }

    #[test]
    fn a_wrong_type_is_told_in_pydantics_words() {
        let refusal = refused(with("max_tokens", json!("ten")));
        assert_eq!(
            refusal.message,
            "1 validation error:\n  {'type': 'int_parsing', 'loc': 'body.max_tokens', 'msg': 'Input should be a valid \
             integer, unable to parse string as an integer', 'input': 'ten'}"
        );
        assert_eq!((refusal.kind, refusal.param.as_deref()), ("Bad Request", Some("body.max_tokens")));
    }

    #[test]
    fn what_python_would_coerce_is_coerced() {
        for (key, given, taken) in [
            ("max_tokens", json!("8"), json!(8)),
            ("max_tokens", json!(true), json!(1)),
            ("max_tokens", json!(8.0), json!(8)),
            ("temperature", json!("0.5"), json!(0.5)),
            ("temperature", json!(1), json!(1.0)),
            ("stream", json!("yes"), json!(true)),
            ("stream", json!(0), json!(false)),
        ] {
            let body = with(key, given.clone()).as_object().expect("an object").clone();
            assert_eq!(chat(body).expect("accepted")[key], taken, "{key}: {given}");
        }
    }

    #[test]
    fn every_value_out_of_range_is_refused_with_a_message_that_names_it() {
        for (key, value) in [
            ("temperature", json!(-0.1)),
            ("temperature", json!(2.01)),
            ("temperature", json!("hot")),
            ("top_p", json!(0)),
            ("top_p", json!(1.01)),
            ("top_k", json!(-2)),
            ("top_k", json!(1.5)),
            ("min_p", json!(1.1)),
            ("presence_penalty", json!(2.1)),
            ("frequency_penalty", json!(-2.1)),
            ("repetition_penalty", json!(0)),
            ("n", json!(0)),
            ("n", json!(100_000)),
            ("seed", json!("x")),
            ("seed", json!(9_223_372_036_854_775_808_u64)),
            ("stop", json!("")),
            ("stop", json!([1])),
            ("stop", json!(5)),
            ("min_tokens", json!(17)),
            ("logit_bias", json!({"x": 1})),
            ("logit_bias", json!({"-1": 1})),
            ("logit_bias", json!([1])),
            ("allowed_token_ids", json!([])),
            ("stop_token_ids", json!([999_999])),
            ("stream", json!("maybe")),
            ("stream_options", json!({"include_usage": true})),
            ("response_format", json!("json_object")),
            ("tools", json!([])),
            ("tool_choice", json!("any")),
            ("reasoning_effort", json!("bogus")),
            ("stream_interval", json!(0)),
            ("truncate_prompt_tokens", json!(0)),
            ("truncate_prompt_tokens", json!(-2)),
            ("messages", json!("hi")),
            ("messages", json!([1])),
            ("messages", json!([{"content": "hi"}])),
            ("messages", json!([{"role": "user", "content": 5}])),
            ("messages", json!([{"role": "user", "content": null}])),
        ] {
            let refusal = refused(with(key, value.clone()));
            assert_eq!(refusal.status, 400);
            let told = format!("{} {:?}", refusal.message, refusal.param);
            assert!(told.contains(key), "{key}: {value}: {told}");
        }
    }

    #[test]
    fn texts_are_shown_as_python_shows_them() {
        assert_eq!(quoted("ten"), "'ten'");
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted("'\"\n"), "'\\'\"\\n'");
    }

    #[test]
    fn the_context_leaves_the_room_that_it_leaves() {
        let body = |n: i64| json!({"max_tokens": n}).as_object().expect("an object").clone();
        assert_eq!(room(&body(200), &["max_tokens"], None, 4000, 4096), Ok(96));
        assert_eq!(room(&Map::new(), &["max_tokens"], None, 4000, 4096), Ok(96));
        assert_eq!(room(&Map::new(), &["max_tokens"], Some(16), 10, 4096), Ok(16));
        assert!(room(&body(4097), &["max_tokens"], None, 10, 4096).is_err());
        assert!(room(&body(1), &["max_tokens"], None, 4096, 4096).is_err());
        assert!(room(&body(0), &["max_tokens"], None, 10, 4096).is_err());
    }
}
