//! `POST /v1/messages`: [`answer`], Anthropic's view of the chat answer to the same conversation, and
//! [`count_tokens`]. Must not know how an answer is drawn.
//!
//! Messages 接口（Anthropic 形式）：由聊天应答转换而来。

use super::reply::{Body, Content, Data, Event, Reply};
use super::server::{Asked, Server};
use super::shape::Misfit;
use super::validate::{self, Checked, Refusal};
use super::{chat, tokenizer};
use serde_json::{Map, Value, json};

pub(super) fn answer(server: &Server, asked: &Asked<'_>, body: Map<String, Value>) -> Checked<Reply> {
    required(&body, &["messages", "max_tokens"])?;
    if validate::int(&body, "max_tokens").is_some_and(|most| most < 1) {
        let message = "Value error, max_tokens must be positive";
        return Err(Refusal::shape(&[Misfit::new(
            "value_error",
            "max_tokens",
            message,
            &body["max_tokens"],
        )]));
    }
    let reply = match chat::answer(server, asked, as_chat(&body)) {
        Ok(reply) => reply,
        // What the shape of a body is refused for keeps the other envelope.
        Err(refusal) if refusal.kind == "Bad Request" => return Err(refusal),
        Err(refusal) => {
            let error = json!({"type": refusal.kind, "message": refusal.message});
            return Ok(Reply::json(refusal.status, json!({"type": "error", "error": error})));
        }
    };
    let shown = match &reply.body {
        Body::Whole(Content::Json(chat)) => Body::Whole(Content::Json(whole(chat))),
        Body::Events(events) => Body::Events(stream(events)),
        other => other.clone(),
    };
    Ok(Reply { body: shown, ..reply })
}

/// How many tokens a conversation comes to.
pub(super) fn count_tokens(body: &Map<String, Value>) -> Checked<Reply> {
    required(body, &["messages"])?;
    let count = tokenizer::encode(&chat::prompt(&as_chat(body))?).len();
    let before = json!({ "original_input_tokens": count });
    Ok(Reply::json(200, json!({"input_tokens": count, "context_management": before})))
}

fn required(body: &Map<String, Value>, names: &[&str]) -> Checked<()> {
    let input = Value::Object(body.clone());
    let missing = names.iter().filter(|name| !body.contains_key(**name));
    let misfits: Vec<Misfit> =
        missing.map(|name| Misfit::new("missing", name, "Field required", &input)).collect();
    if misfits.is_empty() { Ok(()) } else { Err(Refusal::shape(&misfits)) }
}

/// The chat request that asks the same.
fn as_chat(body: &Map<String, Value>) -> Map<String, Value> {
    let mut chat = body.clone();
    for gone in ["system", "tools", "tool_choice", "metadata"] {
        chat.remove(gone);
    }
    if let (Some(system), Some(Value::Array(messages))) = (body.get("system"), chat.get_mut("messages")) {
        messages.insert(0, json!({"role": "system", "content": system}));
    }
    if let Some(stop) = chat.remove("stop_sequences") {
        chat.insert("stop".to_owned(), stop);
    }
    if validate::flag(body, "stream") {
        chat.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    chat
}

fn whole(chat: &Value) -> Value {
    let choice = &chat["choices"][0];
    let mut message = json!({
        "id": chat["id"], "type": "message", "role": "assistant",
        "content": [{"type": "text", "text": choice["message"]["content"]}],
        "model": chat["model"], "stop_reason": stop_reason(choice),
    });
    // The recorded server leaves the key out where nothing stopped the text.
    if choice["stop_reason"].is_string() {
        message["stop_sequence"] = choice["stop_reason"].clone();
    }
    message["usage"] = usage(&chat["usage"]);
    message
}

fn stream(events: &[Event]) -> Vec<Event> {
    let chunks: Vec<(&Event, &Value)> = events
        .iter()
        .filter_map(|event| match &event.data {
            Data::Json(chunk) => Some((event, chunk)),
            _ => None,
        })
        .collect();
    let (Some((first, head)), Some((last, tail))) = (chunks.first(), chunks.last()) else {
        return Vec::new();
    };
    let ended = chunks.iter().map(|(_, chunk)| &chunk["choices"][0]).find(|c| c["finish_reason"].is_string());
    let ended = ended.unwrap_or(&Value::Null);
    let mut told = Vec::new();
    let mut say = |at: &Event, tokens: u32, kind: &'static str, more: Value| {
        let mut value = json!({ "type": kind });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        told.push(Event { due: at.due, tokens, data: Data::Named(kind, value) });
    };
    let counts = usage(&tail["usage"]);
    let message = json!({
        "id": head["id"], "type": "message", "role": "assistant", "content": [], "model": head["model"],
        "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": counts["input_tokens"], "output_tokens": 0},
    });
    say(first, 0, "message_start", json!({ "message": message }));
    say(first, 0, "content_block_start", json!({"content_block": {"type": "text", "text": ""}, "index": 0}));
    for (event, chunk) in &chunks {
        if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty()) {
            let delta = json!({"delta": {"type": "text_delta", "text": text}, "index": 0});
            say(event, event.tokens, "content_block_delta", delta);
        }
    }
    say(last, 0, "content_block_stop", json!({ "index": 0 }));
    let delta = json!({"stop_reason": stop_reason(ended), "stop_sequence": ended["stop_reason"]});
    say(last, 0, "message_delta", json!({"delta": delta, "usage": counts}));
    say(last, 0, "message_stop", json!({}));
    told
}

fn stop_reason(choice: &Value) -> &'static str {
    match (choice["finish_reason"].as_str(), &choice["stop_reason"]) {
        (Some("length"), _) => "max_tokens",
        (_, Value::String(_)) => "stop_sequence",
        _ => "end_turn",
    }
}

fn usage(usage: &Value) -> Value {
    json!({"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]})
}
