//! The faults of responses, messages and embeddings: [`whole`] and [`stream`]. What these routes have in common with
//! chat, `sabotage` breaks. Must not know routes or sockets.
//!
//! 其余接口（responses、messages、embeddings）的故障。

use super::fault::Fault;
use super::reply::{Data, Event};
use serde_json::{Value, json};

/// Faults in an answer that is no stream.
pub(super) fn whole(fault: &Fault, document: &mut Value) {
    match document["object"].as_str() {
        Some("response") => response(fault, document),
        Some("list") => {
            document["data"].as_array_mut().into_iter().flatten().for_each(|one| vector(fault, one))
        }
        _ if document["type"] == "message" => message(fault, document),
        _ => count(fault, document),
    }
}

/// Faults in a stream of named events.
pub(super) fn stream(fault: &Fault, events: &mut [Event]) {
    let names = |event: &Event| matches!(event.data, Data::Named(..));
    if !events.iter().any(names) {
        return;
    }
    for (k, event) in events.iter_mut().enumerate() {
        let Data::Named(name, value) = &mut event.data else { continue };
        match fault {
            Fault::EventNameWrong => *name = "message",
            Fault::SequenceGap if k > 0 && value["sequence_number"].is_u64() => {
                value["sequence_number"] = json!(k + 1);
            }
            Fault::ItemCompleted if *name == "response.incomplete" => {
                *name = "response.completed";
                value["type"] = json!("response.completed");
            }
            _ => {}
        }
        if let Some(inner) = value.get_mut("response") {
            common(fault, inner);
            response(fault, inner);
        }
        if let Some(item) = value.get_mut("item") {
            output(fault, item);
        }
        if let Some(inner) = value.get_mut("message") {
            common(fault, inner);
            message(fault, inner);
        }
        if let Some(delta) = value.get_mut("delta").filter(|delta| delta.get("stop_reason").is_some()) {
            stopped(fault, delta);
        }
        if *fault == Fault::MissingUsage {
            drop(value.as_object_mut().and_then(|keys| keys.remove("usage")));
        }
    }
    deltas(fault, events);
}

/// What every document has, and one within an event has too.
fn common(fault: &Fault, inner: &mut Value) {
    match fault {
        Fault::IdEmpty => inner["id"] = json!(""),
        Fault::ModelWrong => inner["model"] = json!("another-model"),
        Fault::ObjectWrong if inner["object"].is_string() => inner["object"] = json!("object"),
        Fault::MissingUsage => drop(inner.as_object_mut().and_then(|keys| keys.remove("usage"))),
        Fault::WrongUsage => {
            for name in ["output_tokens", "total_tokens"] {
                if let Some(count) = inner["usage"].get_mut(name) {
                    *count = json!(count.as_u64().unwrap_or(0) + 1);
                }
            }
        }
        _ => {}
    }
}

fn response(fault: &Fault, response: &mut Value) {
    match (fault, response["status"].as_str()) {
        (Fault::WrongFinish, Some("completed")) => response["status"] = json!("incomplete"),
        (Fault::WrongFinish, Some("incomplete")) => response["status"] = json!("completed"),
        (Fault::NoFinish, Some(_)) => response["status"] = Value::Null,
        (Fault::UsageSumWrong, _) if response["usage"]["total_tokens"].is_u64() => {
            response["usage"]["total_tokens"] = json!(0);
        }
        (Fault::CreatedWrong, _) => response["created_at"] = json!("1970-01-01"),
        (Fault::ChoiceMissing, _) => response["output"] = json!([]),
        _ => {}
    }
    response["output"].as_array_mut().into_iter().flatten().for_each(|item| output(fault, item));
}

/// One item of a response's output.
fn output(fault: &Fault, item: &mut Value) {
    match fault {
        Fault::ItemCompleted if item["status"] == "incomplete" => item["status"] = json!("completed"),
        Fault::RoleWrong => item["role"] = json!("user"),
        Fault::RoleMissing => drop(item.as_object_mut().and_then(|keys| keys.remove("role"))),
        _ => {}
    }
    blocks(fault, item);
}

fn message(fault: &Fault, message: &mut Value) {
    match fault {
        Fault::RoleWrong => message["role"] = json!("user"),
        Fault::RoleMissing => drop(message.as_object_mut().and_then(|keys| keys.remove("role"))),
        Fault::ObjectWrong => message["type"] = json!("object"),
        Fault::ChoiceMissing => message["content"] = json!([]),
        _ => {}
    }
    stopped(fault, message);
    blocks(fault, message);
}

/// The reason why a message ended.
fn stopped(fault: &Fault, at: &mut Value) {
    match (fault, at["stop_reason"].as_str()) {
        (Fault::WrongFinish, Some("max_tokens")) => at["stop_reason"] = json!("end_turn"),
        (Fault::WrongFinish, Some(_)) => at["stop_reason"] = json!("max_tokens"),
        (Fault::NoFinish, Some(_)) => at["stop_reason"] = Value::Null,
        _ => {}
    }
}

/// The texts of a list of blocks.
fn blocks(fault: &Fault, holder: &mut Value) {
    for block in holder["content"].as_array_mut().into_iter().flatten() {
        if let Some(Value::String(text)) = block.get_mut("text") {
            match fault {
                Fault::EmptyContent => text.clear(),
                Fault::ReplacementChar => text.push('\u{fffd}'),
                Fault::DropDelta | Fault::JsonBroken => drop(text.pop()),
                Fault::RepeatDelta => *text = text.repeat(2),
                Fault::JsonWrongSchema => *text = "{\"zz\": []}".to_owned(),
                _ => {}
            }
        }
    }
}

/// The texts of a stream's deltas: a string, or an object with a text.
fn deltas(fault: &Fault, events: &mut [Event]) {
    let mut texts: Vec<&mut String> = events.iter_mut().filter_map(delta).collect();
    match (fault, texts.as_mut_slice()) {
        (Fault::EmptyContent, all) => all.iter_mut().for_each(|text| text.clear()),
        (Fault::DropDelta, [.., last]) => last.clear(),
        (Fault::RepeatDelta, [first, ..]) => **first = first.repeat(2),
        (Fault::ReplacementChar, [first, ..]) => first.push('\u{fffd}'),
        (Fault::JsonBroken, [.., last]) => drop(last.pop()),
        _ => {}
    }
}

fn delta(event: &mut Event) -> Option<&mut String> {
    let delta = event.value_mut()?.get_mut("delta")?;
    let text = if delta.is_object() { delta.get_mut("text")? } else { delta };
    match text {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// One vector of a list of embeddings.
fn vector(fault: &Fault, one: &mut Value) {
    match (fault, one.get_mut("embedding")) {
        (Fault::VectorShort, Some(Value::Array(numbers))) => drop(numbers.pop()),
        (Fault::VectorShort, Some(Value::String(packed))) => packed.truncate(packed.len().saturating_sub(8)),
        (Fault::VectorWrong, Some(Value::Array(numbers))) => numbers.fill(json!(nonce())),
        (Fault::VectorWrong, Some(Value::String(packed))) => *packed = "AACAPw==".to_owned(),
        (Fault::IndexWrong, Some(_)) => one["index"] = json!(one["index"].as_u64().unwrap_or(0) + 1),
        _ => {}
    }
}

fn nonce() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
}

fn count(fault: &Fault, document: &mut Value) {
    if let (Fault::WrongCount, Some(count)) = (fault, document.get_mut("input_tokens")) {
        *count = json!(count.as_u64().unwrap_or(0) + 1);
    }
}
