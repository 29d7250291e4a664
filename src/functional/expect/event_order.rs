//! In which order the events of a stream come: `event_order: "RC+FUD"`, a regular expression for the whole of it.
//! Must not know how bytes became events.
//!
//! 流事件顺序断言：事件序列化为符号串后用正则匹配。
//!
//! Of chat and completions every choice has a text of its own, one or more letters an event: `R` a role, `T` thought,
//! `C` content, `K` a piece of a tool call, `F` a finish reason, `E` none of these; then, once for all choices, `U`
//! usage without choices, `X` an error, `D` the `[DONE]`. The role, then words, the last with the finish reason, is
//! `RCCCFD`. Where events have names of their own, as those of `/v1/responses`, the text is the names with a blank
//! between them.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{Broken, Scope, at::schema_as, show};

/// The order, for all of the events.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct EventOrder {
    text: String,
    whole: Regex,
}

schema_as!(EventOrder, String);

impl TryFrom<String> for EventOrder {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // First as it was written, so that an error points into it.
        let wrong =
            |e: regex::Error| format!("expected a regular expression for the order of all events: {e}");
        Regex::new(&text).map_err(wrong)?;
        let whole = Regex::new(&format!("^(?:{text})$")).map_err(wrong)?;
        Ok(Self { text, whole })
    }
}

impl EventOrder {
    /// Whether the events of the whole answer, and of each choice, come so.
    pub(super) fn check(&self, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let events: Vec<&Value> = scope.answer["events"].as_array().into_iter().flatten().collect();
        if events.is_empty() {
            let actual =
                format!("no event, and content-type {}", show(&scope.answer["headers"]["content-type"]));
            out.push(scope.broken("event_order", "a stream of events", actual));
            return;
        }
        for (whose, order) in orders(&events, scope.answer["stream"]["done_count"].as_u64().unwrap_or(0)) {
            if !self.whole.is_match(&order) {
                let expected = format!("the events{whose} in the order /{}/", self.text);
                out.push(scope.broken("event_order", expected, order));
            }
        }
    }
}

/// What is said of each choice's events, and their order.
fn orders(events: &[&Value], done: u64) -> Vec<(String, String)> {
    if events.iter().any(|event| event["event"] != "message") {
        let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
        return vec![(String::new(), names.join(" "))];
    }
    let mut choices = BTreeMap::<u64, String>::new();
    let mut tail = String::new();
    for json in events.iter().map(|event| &event["json"]) {
        for choice in json["choices"].as_array().into_iter().flatten() {
            choices.entry(choice["index"].as_u64().unwrap_or(0)).or_default().push_str(&letters(choice));
        }
        if json["error"].is_object() {
            tail.push('X');
        } else if json["usage"].is_object() && json["choices"].as_array().is_none_or(Vec::is_empty) {
            tail.push('U');
        }
    }
    tail.extend((0..done).map(|_| 'D'));
    if choices.is_empty() {
        return vec![(String::new(), tail)];
    }
    choices.into_iter().map(|(index, order)| (format!(" of choice {index}"), order + &tail)).collect()
}

/// The letters of one event for one choice.
fn letters(choice: &Value) -> String {
    let delta = &choice["delta"];
    let says = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let thinks =
        ["reasoning_content", "reasoning", "thinking", "reasoning_text"].iter().any(|key| says(&delta[key]));
    let calls = delta["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
    let seen = [
        (!delta["role"].is_null(), 'R'),
        (thinks, 'T'),
        (says(&delta["content"]) || says(&choice["text"]), 'C'),
        (calls, 'K'),
        (!choice["finish_reason"].is_null(), 'F'),
    ];
    let letters: String = seen.into_iter().filter(|(there, _)| *there).map(|(_, letter)| letter).collect();
    if letters.is_empty() { "E".to_owned() } else { letters }
}
