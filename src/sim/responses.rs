//! `POST /v1/responses`: [`answer`], a view of the chat answer to the same conversation. Nothing is stored, as on a
//! server without `VLLM_ENABLE_RESPONSES_API_STORE`. Must not know how an answer is drawn.
//!
//! Responses 接口：由聊天应答转换而来，不保存会话。

use super::chat;
use super::reply::{Body, Content, Data, Event, Reply};
use super::server::{Asked, Server};
use super::shape::Misfit;
use super::validate::{self, Checked, Refusal};
use serde_json::{Map, Value, json};

pub(super) fn answer(server: &Server, asked: &Asked<'_>, body: Map<String, Value>) -> Checked<Reply> {
    if let Some(id) = body.get("previous_response_id").and_then(Value::as_str) {
        return Err(not_stored(id));
    }
    let reply = chat::answer(server, asked, as_chat(&body)?)?;
    let view = View { body: &body, limit: server.options.max_model_len };
    let shown = match &reply.body {
        Body::Whole(Content::Json(chat)) => Body::Whole(Content::Json(view.whole(chat))),
        Body::Events(events) => Body::Events(view.stream(events)),
        other => other.clone(),
    };
    Ok(Reply { body: shown, ..reply })
}

/// What is said of an id under which nothing is stored.
pub(super) fn not_stored(id: &str) -> Refusal {
    Refusal {
        status: 404,
        kind: "invalid_request_error",
        message: format!("Response with id '{id}' not found."),
        param: Some("response_id".to_owned()),
    }
}

/// The chat request that asks the same.
fn as_chat(body: &Map<String, Value>) -> Checked<Map<String, Value>> {
    let mut messages = Vec::new();
    if let Some(text) = body.get("instructions").and_then(Value::as_str) {
        messages.push(json!({"role": "system", "content": text}));
    }
    match body.get("input") {
        Some(Value::String(text)) => messages.push(json!({"role": "user", "content": text})),
        Some(Value::Array(items)) => messages.extend(items.iter().map(plain)),
        None => {
            let input = Value::Object(body.clone());
            return Err(Refusal::shape(&[Misfit::new("missing", "input", "Field required", &input)]));
        }
        Some(other) => {
            return Err(Refusal::shape(&[
                Misfit::new("string_type", "input", "Input should be a valid string", other),
                Misfit::new("list_type", "input", "Input should be a valid list", other),
            ]));
        }
    }
    let mut chat = body.clone();
    for gone in ["input", "instructions", "text", "tools", "tool_choice", "stop", "n"] {
        chat.remove(gone);
    }
    chat.insert("messages".to_owned(), Value::Array(messages));
    if let Some(most) = chat.remove("max_output_tokens") {
        chat.insert("max_tokens".to_owned(), most);
    }
    let format = body.get("text").map_or(&Value::Null, |text| &text["format"]);
    if format["type"] == "json_schema" {
        let schema = json!({"name": format["name"], "schema": format["schema"], "strict": format["strict"]});
        chat.insert("response_format".to_owned(), json!({"type": "json_schema", "json_schema": schema}));
    }
    if validate::flag(body, "stream") {
        chat.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    Ok(chat)
}

/// A turn whose parts say `input_text`, as a chat has it.
fn plain(item: &Value) -> Value {
    let mut item = item.clone();
    for part in item.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
        if matches!(part["type"].as_str(), Some("input_text" | "output_text")) {
            part["type"] = json!("text");
        }
    }
    item
}

/// What every object of an answer repeats of its request.
struct View<'a> {
    body: &'a Map<String, Value>,
    limit: u32,
}

impl View<'_> {
    fn whole(&self, chat: &Value) -> Value {
        let choice = &chat["choices"][0];
        let cut = choice["finish_reason"] == "length";
        let text = choice["message"]["content"].as_str().unwrap_or_default();
        self.response(chat, cut_as(cut), json!([self.item(chat, text, cut_as(cut))]), &chat["usage"])
    }

    fn stream(&self, events: &[Event]) -> Vec<Event> {
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
        let deltas: Vec<(&Event, &str)> = chunks
            .iter()
            .filter_map(|(event, chunk)| Some((*event, chunk["choices"][0]["delta"]["content"].as_str()?)))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let text: String = deltas.iter().map(|(_, text)| *text).collect();
        let cut = chunks.iter().any(|(_, chunk)| chunk["choices"][0]["finish_reason"] == "length");
        let id = item_id(head);
        let begun = self.response(head, "in_progress", json!([]), &Value::Null);
        let item = self.item(head, &text, cut_as(cut));
        let part = |text: &str, logprobs: Value| json!({"annotations": [], "text": text, "type": "output_text", "logprobs": logprobs});
        let mut line = Line::default();
        line.say(first, 0, "response.created", json!({"response": begun}));
        line.say(first, 0, "response.in_progress", json!({"response": begun}));
        let opened = json!({"id": id, "content": [], "role": "assistant", "status": "in_progress", "type": "message",
            "phase": null});
        line.say(first, 0, "response.output_item.added", json!({"item": opened, "output_index": 0}));
        line.say(
            first,
            0,
            "response.content_part.added",
            json!({"content_index": 0, "item_id": id,
            "output_index": 0, "part": part("", json!([]))}),
        );
        for (event, delta) in &deltas {
            line.say(
                event,
                event.tokens,
                "response.output_text.delta",
                json!({"content_index": 0, "delta": delta,
                "item_id": id, "logprobs": [], "output_index": 0}),
            );
        }
        line.say(
            last,
            0,
            "response.output_text.done",
            json!({"content_index": 0, "item_id": id, "logprobs": [],
            "output_index": 0, "text": text}),
        );
        line.say(
            last,
            0,
            "response.content_part.done",
            json!({"content_index": 0, "item_id": id,
            "output_index": 0, "part": part(&text, Value::Null)}),
        );
        line.say(last, 0, "response.output_item.done", json!({"item": item, "output_index": 0}));
        let whole = self.response(head, cut_as(cut), json!([item]), &tail["usage"]);
        let end = if cut { "response.incomplete" } else { "response.completed" };
        line.say(last, 0, end, json!({"response": whole}));
        line.0
    }

    fn item(&self, chat: &Value, text: &str, status: &str) -> Value {
        let content = json!([{"annotations": [], "text": text, "type": "output_text", "logprobs": null}]);
        json!({"id": item_id(chat), "content": content, "role": "assistant", "status": status, "type": "message",
               "phase": null})
    }

    fn response(&self, chat: &Value, status: &str, output: Value, usage: &Value) -> Value {
        let given = |name: &str| self.body.get(name).cloned().unwrap_or_default();
        let number = |name: &str, usual: f64| self.body.get(name).and_then(Value::as_f64).unwrap_or(usual);
        let details = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        let most = self.body.get("max_output_tokens").cloned().unwrap_or_else(|| json!(self.limit));
        json!({
            "id": named(chat, "resp_"), "created_at": chat["created"], "incomplete_details": details,
            "instructions": given("instructions"), "metadata": given("metadata"), "model": chat["model"],
            "object": "response", "output": output, "parallel_tool_calls": true,
            "temperature": number("temperature", 1.0), "tool_choice": "none", "tools": [],
            "top_p": number("top_p", 1.0), "background": false, "max_output_tokens": most, "max_tool_calls": null,
            "previous_response_id": null, "prompt": null, "reasoning": null, "service_tier": "auto",
            "status": status, "text": given("text"), "top_logprobs": null, "truncation": "disabled",
            "usage": usage_of(usage), "user": given("user"), "presence_penalty": number("presence_penalty", 0.0),
            "frequency_penalty": number("frequency_penalty", 0.0), "kv_transfer_params": null,
            "ec_transfer_params": null, "input_messages": null, "output_messages": null,
        })
    }
}

fn cut_as(cut: bool) -> &'static str {
    if cut { "incomplete" } else { "completed" }
}

fn usage_of(usage: &Value) -> Value {
    if usage.is_null() {
        return Value::Null;
    }
    json!({
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "input_tokens_per_turn": [],
            "cached_tokens_per_turn": []},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0, "tool_output_tokens": 0, "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": []},
        "total_tokens": usage["total_tokens"],
    })
}

fn item_id(chat: &Value) -> String {
    named(chat, "msg_")
}

/// The chat's id under another prefix.
fn named(chat: &Value, prefix: &str) -> String {
    let id = chat["id"].as_str().unwrap_or_default();
    format!("{prefix}{}", id.strip_prefix("chatcmpl-").unwrap_or(id))
}

/// Events that are numbered as they are said.
#[derive(Default)]
struct Line(Vec<Event>);

impl Line {
    fn say(&mut self, at: &Event, tokens: u32, kind: &'static str, mut value: Value) {
        value["sequence_number"] = json!(self.0.len());
        value["type"] = json!(kind);
        self.0.push(Event { due: at.due, tokens, data: Data::Named(kind, value) });
    }
}
