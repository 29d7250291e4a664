//! The shape of a body, as pydantic checks it: [`chat`] and [`completions`] take what Python would take and refuse the rest in its
//! words. Must not know what the values mean.
//!
//! 请求的类型检查与宽松转换（pydantic 风格）。

use super::validate::{Checked, Refusal, list};
use serde_json::{Map, Value, json};

/// Stop strings that are taken at most.
const STOPS: usize = 4;

impl Refusal {
    /// Errors of pydantic's kind, each `(type, loc, msg, input, ctx)`.
    pub(super) fn shape(errors: &[Misfit]) -> Self {
        let lines: Vec<String> = errors.iter().map(|e| format!("\n  {}", e.text())).collect();
        let s = if errors.len() == 1 { "" } else { "s" };
        Refusal {
            status: 400,
            kind: "Bad Request",
            message: format!("{} validation error{s}:{}", errors.len(), lines.concat()),
            param: errors.first().map(|e| e.loc.clone()),
        }
    }
}

/// One complaint about the shape of a body.
pub(super) struct Misfit {
    kind: &'static str,
    loc: String,
    message: String,
    input: String,
    context: Option<String>,
}

impl Misfit {
    pub(super) fn new(kind: &'static str, loc: &str, message: &str, input: &Value) -> Self {
        Misfit {
            kind,
            loc: format!("body.{loc}"),
            message: message.to_owned(),
            input: shown(input),
            context: None,
        }
    }

    fn text(&self) -> String {
        let Misfit { kind, loc, message, input, context } = self;
        let context = context.as_ref().map(|c| format!(", 'ctx': {c}")).unwrap_or_default();
        format!("{{'type': '{kind}', 'loc': '{loc}', 'msg': {}, 'input': {input}{context}}}", quoted(message))
    }
}

/// A value as Python shows it; containers by their size.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("'<list of {} items>'", items.len()),
        Value::Object(keys) => format!("'<dict of {} items>'", keys.len()),
    }
}

/// A text as Python's `repr` shows it.
pub(super) fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            '\r' => out += "\\r",
            '\\' => out += "\\\\",
            c if c == quote => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// What a field may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Int,
    Float,
    Bool,
    Text,
    Stop,
    Ints,
    Texts,
    Dict,
    List,
    Format,
    Effort,
}

/// The fields that both endpoints know. Whatever is not listed is ignored, as vLLM ignores it.
const COMMON: &[(&str, Kind)] = &[
    ("model", Kind::Text),
    ("max_tokens", Kind::Int),
    ("temperature", Kind::Float),
    ("top_p", Kind::Float),
    ("top_k", Kind::Int),
    ("min_p", Kind::Float),
    ("n", Kind::Int),
    ("seed", Kind::Int),
    ("presence_penalty", Kind::Float),
    ("frequency_penalty", Kind::Float),
    ("repetition_penalty", Kind::Float),
    ("logit_bias", Kind::Dict),
    ("stop", Kind::Stop),
    ("stop_token_ids", Kind::Ints),
    ("include_stop_str_in_output", Kind::Bool),
    ("ignore_eos", Kind::Bool),
    ("min_tokens", Kind::Int),
    ("bad_words", Kind::Texts),
    ("allowed_token_ids", Kind::Ints),
    ("echo", Kind::Bool),
    ("stream", Kind::Bool),
    ("stream_options", Kind::Dict),
    ("response_format", Kind::Format),
    ("structured_outputs", Kind::Dict),
    ("prompt_logprobs", Kind::Int),
    ("skip_special_tokens", Kind::Bool),
    ("user", Kind::Text),
    ("stream_interval", Kind::Int),
    ("truncate_prompt_tokens", Kind::Int),
    ("return_token_ids", Kind::Bool),
    ("return_tokens_as_token_ids", Kind::Bool),
    ("use_beam_search", Kind::Bool),
    ("length_penalty", Kind::Float),
    ("priority", Kind::Int),
    ("request_id", Kind::Text),
    ("cache_salt", Kind::Text),
    ("logprob_token_ids", Kind::Ints),
];

const CHAT: &[(&str, Kind)] = &[
    ("messages", Kind::List),
    ("max_completion_tokens", Kind::Int),
    ("logprobs", Kind::Bool),
    ("top_logprobs", Kind::Int),
    ("tools", Kind::List),
    ("parallel_tool_calls", Kind::Bool),
    ("reasoning_effort", Kind::Effort),
    ("include_reasoning", Kind::Bool),
    ("chat_template_kwargs", Kind::Dict),
    ("add_generation_prompt", Kind::Bool),
    ("continue_final_message", Kind::Bool),
    ("thinking_token_budget", Kind::Int),
    ("documents", Kind::List),
];

const COMPLETIONS: &[(&str, Kind)] = &[("logprobs", Kind::Int), ("suffix", Kind::Text)];

const FORMATS: &str = "'text', 'json_object' or 'json_schema'";
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// The body as an object, or FastAPI's complaint about what it is instead.
pub(super) fn object(body: &[u8]) -> Checked<Map<String, Value>> {
    let invalid = |at: usize, why: &str| Misfit {
        context: Some(format!("{{'error': {}}}", quoted(why))),
        ..Misfit::new("json_invalid", &at.to_string(), "JSON decode error", &json!({}))
    };
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => {
            let message = "Input should be a valid dictionary or object to extract fields from";
            let misfit = Misfit::new("model_attributes_type", "", message, &other);
            Err(Refusal::shape(&[Misfit { loc: "body".to_owned(), ..misfit }]))
        }
        Err(error) => {
            let at = offset(body, &error);
            Err(Refusal::shape(&[invalid(at, python_words(body, at))]))
        }
    }
}

/// Where a JSON error stands, counted in bytes from 0.
fn offset(body: &[u8], error: &serde_json::Error) -> usize {
    let lines = body.split_inclusive(|b| *b == b'\n').take(error.line().saturating_sub(1));
    let before: usize = lines.map(<[u8]>::len).sum();
    let at = before + error.column().saturating_sub(1);
    if error.is_eof() { body.len() } else { at }
}

/// What Python's decoder would say there, for the commonest mistakes.
fn python_words(body: &[u8], at: usize) -> &'static str {
    let before = body[..at.min(body.len())].iter().rev().find(|b| !b.is_ascii_whitespace());
    match before {
        Some(b'{' | b',') => "Expecting property name enclosed in double quotes",
        Some(b'"') | Some(b'0'..=b'9') => "Expecting ',' delimiter",
        _ => "Expecting value",
    }
}

/// The shape of a chat request. The body comes back with its values as pydantic would have coerced them.
pub(super) fn chat(body: Map<String, Value>) -> Checked<Map<String, Value>> {
    let mut misfits = Vec::new();
    if !body.contains_key("messages") {
        let input = Value::Object(body.clone());
        misfits.push(Misfit::new("missing", "messages", "Field required", &input));
    }
    let body = coerced(body, &[COMMON, CHAT], misfits)?;
    messages(&body)?;
    Ok(body)
}

/// The shape of a completions request.
pub(super) fn completions(body: Map<String, Value>) -> Checked<Map<String, Value>> {
    coerced(body, &[COMMON, COMPLETIONS], Vec::new())
}

fn coerced(
    mut body: Map<String, Value>,
    tables: &[&[(&str, Kind)]],
    mut misfits: Vec<Misfit>,
) -> Checked<Map<String, Value>> {
    for (name, kind) in tables.iter().flat_map(|table| table.iter()) {
        match body.get(*name) {
            None => continue,
            Some(Value::Null) if *name != "messages" => continue,
            Some(value) => match coerce(name, *kind, value) {
                Ok(better) => drop(body.insert((*name).to_owned(), better)),
                Err(mut found) => misfits.append(&mut found),
            },
        }
    }
    if misfits.is_empty() { Ok(body) } else { Err(Refusal::shape(&misfits)) }
}

/// A value as pydantic's lax mode takes it.
fn coerce(loc: &str, kind: Kind, value: &Value) -> Result<Value, Vec<Misfit>> {
    let one = |kind, message: &str| Err(vec![Misfit::new(kind, loc, message, value)]);
    match (kind, value) {
        (Kind::Int, Value::Number(n)) if n.is_i64() || n.is_u64() => Ok(value.clone()),
        (Kind::Int, Value::Number(n)) => match n.as_f64() {
            Some(f) if f.fract() == 0.0 && f.abs() < 9e15 => Ok(json!(f as i64)),
            _ => {
                one("int_from_float", "Input should be a valid integer, got a number with a fractional part")
            }
        },
        (Kind::Int, Value::Bool(b)) => Ok(json!(i64::from(*b))),
        (Kind::Int, Value::String(text)) => match text.trim().parse::<i64>() {
            Ok(n) => Ok(json!(n)),
            Err(_) => {
                one("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
            }
        },
        (Kind::Int, _) => one("int_type", "Input should be a valid integer"),
        (Kind::Float, Value::Number(n)) => Ok(json!(n.as_f64())),
        (Kind::Float, Value::Bool(b)) => Ok(json!(f64::from(u8::from(*b)))),
        (Kind::Float, Value::String(text)) => match text.trim().parse::<f64>() {
            Ok(f) if f.is_finite() => Ok(json!(f)),
            _ => one("float_parsing", "Input should be a valid number, unable to parse string as a number"),
        },
        (Kind::Float, _) => one("float_type", "Input should be a valid number"),
        (Kind::Bool, Value::Bool(_)) => Ok(value.clone()),
        (Kind::Bool, Value::Number(_) | Value::String(_)) => match truth(value) {
            Some(b) => Ok(json!(b)),
            None => one("bool_parsing", "Input should be a valid boolean, unable to interpret input"),
        },
        (Kind::Bool, _) => one("bool_type", "Input should be a valid boolean"),
        (Kind::Text, Value::String(_)) => Ok(value.clone()),
        (Kind::Text, _) => one("string_type", "Input should be a valid string"),
        (Kind::Dict, Value::Object(_)) => Ok(value.clone()),
        (Kind::Dict, _) => one("dict_type", "Input should be a valid dictionary"),
        (Kind::List, Value::Array(_)) => Ok(value.clone()),
        (Kind::List | Kind::Ints | Kind::Texts, other) if !other.is_array() => {
            one("list_type", "Input should be a valid list")
        }
        (Kind::Ints, Value::Array(items)) => each(loc, Kind::Int, items),
        (Kind::Texts, Value::Array(items)) => each(loc, Kind::Text, items),
        (Kind::Stop, _) => stop(loc, value),
        (Kind::Format, _) => format(loc, value),
        (Kind::Effort, Value::String(effort)) if EFFORTS.contains(&effort.as_str()) => Ok(value.clone()),
        (Kind::Effort, _) => {
            let (last, first) = EFFORTS.split_last().unwrap_or((&"", &[]));
            let expected = format!("'{}' or '{last}'", first.join("', '"));
            Err(vec![literal(loc, &expected, value)])
        }
        (Kind::List | Kind::Ints | Kind::Texts, _) => one("list_type", "Input should be a valid list"),
    }
}

fn truth(value: &Value) -> Option<bool> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_lowercase);
    match text.as_str() {
        "1" | "true" | "yes" | "on" | "t" | "y" => Some(true),
        "0" | "false" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

fn each(loc: &str, kind: Kind, items: &[Value]) -> Result<Value, Vec<Misfit>> {
    let mut better = Vec::new();
    let mut misfits = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match coerce(&format!("{loc}.{index}"), kind, item) {
            Ok(value) => better.push(value),
            Err(mut found) => misfits.append(&mut found),
        }
    }
    if misfits.is_empty() { Ok(Value::Array(better)) } else { Err(misfits) }
}

/// A string or a list of them; pydantic names what is wrong with both readings.
fn stop(loc: &str, value: &Value) -> Result<Value, Vec<Misfit>> {
    let not_text = || Misfit::new("string_type", loc, "Input should be a valid string", value);
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Array(items) if items.len() > STOPS => {
            let n = items.len();
            let message = format!("List should have at most {STOPS} items after validation, not {n}");
            let context = format!("{{'field_type': 'List', 'max_length': {STOPS}, 'actual_length': {n}}}");
            let long = Misfit::new("too_long", loc, &message, value);
            Err(vec![not_text(), Misfit { context: Some(context), ..long }])
        }
        Value::Array(items) => each(loc, Kind::Text, items).map_err(|mut found| {
            found.insert(0, not_text());
            found
        }),
        _ => Err(vec![not_text(), Misfit::new("list_type", loc, "Input should be a valid list", value)]),
    }
}

pub(super) fn literal(loc: &str, expected: &str, value: &Value) -> Misfit {
    let misfit = Misfit::new("literal_error", loc, &format!("Input should be {expected}"), value);
    Misfit { context: Some(format!("{{'expected': {}}}", quoted(expected))), ..misfit }
}

/// `response_format`: three classes are tried, and each names its own complaints.
fn format(loc: &str, value: &Value) -> Result<Value, Vec<Misfit>> {
    let Value::Object(format) = value else {
        return Err(vec![Misfit::new(
            "model_attributes_type",
            loc,
            "Input should be a valid dictionary or object to extract fields from",
            value,
        )]);
    };
    let kind = format.get("type").unwrap_or(&Value::Null);
    match kind.as_str() {
        Some("text" | "json_object" | "structural_tag") => Ok(value.clone()),
        Some("json_schema") => named_schema(loc, value),
        _ => {
            let at = format!("{loc}.type");
            let missing =
                |key: &str| Misfit::new("missing", &format!("{loc}.{key}"), "Field required", value);
            let tag = || literal(&at, "'structural_tag'", kind);
            let triggers = [missing("structures"), missing("triggers")];
            Err([literal(&at, FORMATS, kind), tag(), missing("format"), tag()]
                .into_iter()
                .chain(triggers)
                .collect())
        }
    }
}

fn named_schema(loc: &str, value: &Value) -> Result<Value, Vec<Misfit>> {
    let inner = &value["json_schema"];
    let at = format!("{loc}.json_schema");
    match inner {
        // Its absence is vLLM's complaint, not pydantic's.
        Value::Null => Ok(value.clone()),
        Value::Object(schema) if schema.get("name").is_some_and(Value::is_string) => Ok(value.clone()),
        Value::Object(_) => Err(vec![Misfit::new("missing", &format!("{at}.name"), "Field required", inner)]),
        _ => Err(vec![Misfit::new("dict_type", &at, "Input should be a valid dictionary", inner)]),
    }
}

fn messages(body: &Map<String, Value>) -> Checked<()> {
    let messages = list(body, "messages");
    let mut misfits = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let loc = format!("messages.{index}");
        if !message.is_object() {
            misfits.push(Misfit::new("dict_type", &loc, "Input should be a valid dictionary", message));
            continue;
        }
        match &message["role"] {
            Value::String(_) => {}
            Value::Null => {
                misfits.push(Misfit::new("missing", &format!("{loc}.role"), "Field required", message))
            }
            role => misfits.push(Misfit::new(
                "string_type",
                &format!("{loc}.role"),
                "Input should be a valid string",
                role,
            )),
        }
        let null_allowed = message.get("content").is_none() || message["role"] != "user";
        match &message["content"] {
            Value::String(_) | Value::Array(_) => {}
            Value::Null if null_allowed => {}
            content => {
                let at = format!("{loc}.content");
                misfits.push(Misfit::new("string_type", &at, "Input should be a valid string", content));
                misfits.push(Misfit::new("list_type", &at, "Input should be a valid list", content));
            }
        }
        parts(&loc, message, &mut misfits)?;
        if !matches!(message["tool_calls"], Value::Null | Value::Array(_)) {
            let at = format!("{loc}.tool_calls");
            misfits.push(Misfit::new(
                "list_type",
                &at,
                "Input should be a valid list",
                &message["tool_calls"],
            ));
        }
        for (k, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let arguments = &call["function"]["arguments"];
            if !arguments.is_string() {
                let at = format!("{loc}.tool_calls.{k}.function.arguments");
                misfits.push(Misfit::new("string_type", &at, "Input should be a valid string", arguments));
            }
        }
    }
    if !misfits.is_empty() {
        return Err(Refusal::shape(&misfits));
    }
    if messages.is_empty() {
        return Err(Refusal::bad(
            "Cannot apply chat template to an empty conversation. Provide at least one message.",
        ));
    }
    Ok(())
}

fn parts(loc: &str, message: &Value, misfits: &mut Vec<Misfit>) -> Checked<()> {
    for (k, part) in message["content"].as_array().into_iter().flatten().enumerate() {
        match part["type"].as_str() {
            Some("text") if part["text"].is_string() => {}
            Some("text") => {
                let at = format!("{loc}.content.{k}.text");
                misfits.push(Misfit::new(
                    "string_type",
                    &at,
                    "Input should be a valid string",
                    &part["text"],
                ));
            }
            Some("image_url" | "input_audio" | "audio_url" | "video_url") => {
                return Err(Refusal::bad(
                    "The model is not a multimodal model: only text parts are accepted.",
                ));
            }
            _ => {
                let at = format!("{loc}.content.{k}.type");
                misfits.push(literal(&at, "'text'", &part["type"]));
            }
        }
    }
    Ok(())
}
