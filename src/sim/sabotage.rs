//! How each fault is carried out, at the one of three places where it can be: on the request's body
//! ([`on_request`]), on the answer as a value ([`on_reply`]), or on its bytes ([`on_pieces`]).
//! Must not know routes or sockets.
//!
//! 故障的实施：改请求、改应答的值、或改字节。

use super::fault::{After, Fault, Status};
use super::reply::{Body, Content, Data, Ending, Event, Piece, Reply};
use super::views;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What the server is made to read instead of the body.
pub(super) fn on_request(fault: &Fault, number: u64, body: &mut Map<String, Value>) {
    match fault {
        Fault::IgnoreField(field) => drop(body.remove(&field.name)),
        Fault::Nondeterministic => {
            body.insert("temperature".to_owned(), json!(1.5));
            body.insert("seed".to_owned(), json!(number));
        }
        Fault::ForeignText => {
            body.insert("messages".to_owned(), json!([{"role": "user", "content": format!("{number}")}]));
            body.insert("prompt".to_owned(), json!(format!("{number}")));
        }
        Fault::StopIncluded => {
            body.insert("include_stop_str_in_output".to_owned(), json!(true));
        }
        _ => {}
    }
}

/// What becomes of the answer. `streams` tells whether a stream was asked for.
pub(super) fn on_reply(fault: &Fault, streams: bool, reply: &mut Reply) {
    delivery(fault, reply);
    if reply.status >= 400 {
        refused(fault, streams, reply);
    }
    match fault {
        Fault::Status(Status { code, retry_after }) => *reply = status(*code, *retry_after),
        Fault::WrongContentType => reply.content_type = Some("text/html; charset=utf-8"),
        Fault::HtmlBody => {
            let page = "<!doctype html><title>Sign in</title><p>Please sign in.</p>".to_owned();
            *reply = Reply::text(200, "text/html; charset=utf-8", page);
        }
        _ => {}
    }
    match &mut reply.body {
        Body::Events(events) => {
            frame(fault, events);
            for (k, event) in events.iter_mut().enumerate() {
                if let Some(chunk) = event.value_mut() {
                    value(fault, k, chunk);
                }
            }
            deltas(fault, events);
            views::stream(fault, events);
        }
        Body::Whole(Content::Json(document)) => {
            value(fault, 0, document);
            views::whole(fault, document);
            if *fault == Fault::EmptyList {
                empty_lists(document);
            }
        }
        Body::Whole(Content::Text(_)) | Body::Empty => {}
    }
}

/// When and how the bytes go out.
fn delivery(fault: &Fault, reply: &mut Reply) {
    let last = match &reply.body {
        Body::Events(events) => events.last().map_or(Duration::ZERO, |event| event.due),
        Body::Whole(_) | Body::Empty => Duration::ZERO,
    };
    let delivery = &mut reply.delivery;
    match fault {
        Fault::LateHeaders => delivery.before_head = last,
        Fault::StallBeforeHeaders(stall) => delivery.before_head = Duration::from_millis(stall.ms),
        Fault::SlowHeaders(stall) => delivery.head_over = Duration::from_millis(stall.ms),
        Fault::ResetBeforeHeaders => {
            delivery.no_head = true;
            delivery.ending = Ending::Reset;
        }
        Fault::ResetMidStream(_) => delivery.ending = Ending::Reset,
        Fault::CutStream(_) => delivery.ending = Ending::Cut,
        _ => {}
    }
}

/// Refusals that do not look like one.
fn refused(fault: &Fault, streams: bool, reply: &mut Reply) {
    let Body::Whole(Content::Json(document)) = &mut reply.body else { return };
    match fault {
        Fault::ErrorAsEvent if streams => {
            let data = Data::Json(document.clone());
            let error = Event { due: Duration::ZERO, tokens: 0, data };
            *reply = Reply::events(vec![error, Event { due: Duration::ZERO, tokens: 0, data: Data::Done }]);
        }
        Fault::ErrorInBody => reply.status = 200,
        Fault::ErrorAs500 => {
            reply.status = 500;
            document["error"] = json!({"message": "'str' object has no attribute 'get'", "type": "InternalServerError", "param": null, "code": 500});
        }
        Fault::ErrorBare => *document = json!({}),
        Fault::ErrorLeaks => {
            document["error"]["message"] = json!(
                "Traceback (most recent call last):\n  File \"/usr/lib/python3/site-packages/vllm/api.py\", line 1"
            );
        }
        _ => {}
    }
}

fn status(code: u16, retry_after: Option<u32>) -> Reply {
    let (kind, message) = match code {
        400 => ("BadRequestError", "The request was refused."),
        401 => ("AuthenticationError", "Unauthorized"),
        404 => ("NotFoundError", "The model does not exist."),
        408 => ("RequestTimeoutError", "The request timed out."),
        429 => ("RateLimitError", "Too many requests."),
        503 => ("ServiceUnavailableError", "The server is overloaded."),
        _ => (
            "InternalServerError",
            "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        ),
    };
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    let mut reply = Reply::json(code, body);
    reply.headers.extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
    reply
}

/// Faults in which events come, and how often.
fn frame(fault: &Fault, events: &mut Vec<Event>) {
    let usage = |event: &Event| matches!(&event.data, Data::Json(c) if c["choices"] == json!([]));
    let finish =
        |event: &Event| matches!(&event.data, Data::Json(c) if c["choices"][0]["finish_reason"].is_string());
    match fault {
        Fault::NoDone => drop(events.pop()),
        Fault::DoneTwice => events.extend(events.last().cloned()),
        Fault::MissingUsage => events.retain(|event| !usage(event)),
        Fault::EndEarly(After { after }) => events.truncate(*after),
        Fault::Buffered | Fault::LateHeaders => {
            let last = events.last().map_or(Duration::ZERO, |event| event.due);
            events.iter_mut().for_each(|event| event.due = last);
        }
        Fault::ErrorEvent(After { after }) => {
            events.truncate(*after);
            let due = events.last().map_or(Duration::ZERO, |event| event.due);
            let error = json!({"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": null, "code": 500}});
            events.push(Event::json(due, 0, error));
            events.push(Event { due, tokens: 0, data: Data::Done });
        }
        Fault::DuplicateFinish => {
            if let Some(at) = events.iter().rposition(finish) {
                events.insert(at + 1, Event { tokens: 0, ..events[at].clone() });
            }
        }
        Fault::UsageEarly => {
            if let (Some(from), Some(to)) = (events.iter().position(usage), events.iter().rposition(finish)) {
                let event = events.remove(from);
                events.insert(to, event);
            }
        }
        Fault::ForeignLine => {
            let due = events.first().map_or(Duration::ZERO, |event| event.due);
            events.insert(
                events.len().min(1),
                Event { due, tokens: 0, data: Data::Raw("this is no event\n\n") },
            );
        }
        Fault::UsageUnasked => {
            for event in events.iter_mut() {
                if let Data::Json(chunk) = &mut event.data {
                    chunk["usage"] = json!({"prompt_tokens": 1, "total_tokens": 1, "completion_tokens": 0});
                }
            }
        }
        _ => {}
    }
}

/// Faults in one document or chunk, the `k`th.
fn value(fault: &Fault, k: usize, document: &mut Value) {
    let Value::Object(keys) = document else { return };
    let mut set = |name: &str, value: Value| {
        if keys.contains_key(name) {
            keys.insert(name.to_owned(), value);
        }
    };
    match fault {
        Fault::IdEmpty => set("id", json!("")),
        Fault::IdChanges => set("id", json!(format!("chatcmpl-{k}"))),
        Fault::ModelWrong => set("model", json!("another-model")),
        Fault::ObjectWrong => set("object", json!("object")),
        Fault::CreatedWrong => set("created", json!("1970-01-01")),
        Fault::MissingUsage => drop(keys.remove("usage")),
        Fault::WrongCount => {
            if let Some(count) = keys.get_mut("count") {
                *count = json!(count.as_u64().unwrap_or(0) + 1);
            }
        }
        Fault::WrongUsage => {
            off_by_one(keys.get_mut("usage"), &["completion_tokens", "output_tokens", "total_tokens"]);
        }
        Fault::WrongPromptTokens => {
            off_by_one(keys.get_mut("usage"), &["prompt_tokens", "input_tokens", "total_tokens"]);
        }
        Fault::UsageSumWrong => off_by_one(keys.get_mut("usage"), &["total_tokens"]),
        Fault::ChoiceMissing => {
            if let Some(choices) = keys.get_mut("choices").and_then(Value::as_array_mut) {
                let streamed = choices.first().is_some_and(|choice| choice.get("message").is_none());
                choices.retain(|choice| !streamed || choice["index"] == 0);
                if !streamed {
                    choices.pop();
                }
            }
        }
        _ => {}
    }
    for each in keys.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        choice(fault, each);
    }
}

fn off_by_one(usage: Option<&mut Value>, names: &[&str]) {
    let Some(usage) = usage.filter(|usage| usage.is_object()) else { return };
    for name in names {
        if let Some(count) = usage.get_mut(*name) {
            *count = json!(count.as_u64().unwrap_or(0) + 1);
        }
    }
}

/// Faults in one choice, of a document or of a chunk.
fn choice(fault: &Fault, choice: &mut Value) {
    let streamed = choice.get("delta").is_some();
    match fault {
        Fault::NoFinish => choice["finish_reason"] = Value::Null,
        Fault::WrongFinish => {
            let other = match choice["finish_reason"].as_str() {
                Some("length") | Some("tool_calls") => "stop",
                Some(_) => "length",
                None => return,
            };
            choice["finish_reason"] = json!(other);
        }
        Fault::IndexWrong => choice["index"] = json!(choice["index"].as_u64().unwrap_or(0) + 1),
        Fault::LogprobsMissing => choice["logprobs"] = Value::Null,
        Fault::KeyMissing => {
            if let Some(keys) = choice.as_object_mut() {
                keys.remove("logprobs");
            }
        }
        _ => {}
    }
    if let Some(told) = choice.get_mut("logprobs").filter(|told| told.is_object()) {
        logprobs(fault, told);
    }
    let finish = choice["finish_reason"].as_str().unwrap_or_default().to_owned();
    let message = match choice.get_mut(if streamed { "delta" } else { "message" }) {
        Some(Value::Object(message)) => message,
        _ => {
            if let Some(Value::String(said)) = choice.get_mut("text") {
                text(fault, false, said);
            }
            return;
        }
    };
    if *fault == Fault::ToolCutLeaks
        && finish == "length"
        && message.get("content").and_then(Value::as_str).is_none_or(str::is_empty)
    {
        message.insert("content".to_owned(), json!("<tool_call>\n{\"name\": \""));
    }
    match fault {
        Fault::RoleMissing => drop(message.remove("role")),
        Fault::RoleEveryDelta if streamed => drop(message.insert("role".to_owned(), json!("assistant"))),
        Fault::RoleWrong if message.contains_key("role") => {
            drop(message.insert("role".to_owned(), json!("user")))
        }
        Fault::KeyMissing => drop(message.remove("refusal")),
        Fault::ReasoningMissing if message.contains_key("reasoning") => {
            message.insert("reasoning".to_owned(), Value::Null);
        }
        Fault::ReasoningInContent => {
            if let Some(Value::String(thought)) = message.remove("reasoning") {
                let said = message.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
                message.insert("content".to_owned(), json!(format!("<think>{thought}</think>{said}")));
            }
        }
        _ => {}
    }
    if message.contains_key("tool_calls") {
        calls(fault, streamed, message);
    }
    if let Some(Value::String(said)) = message.get_mut("content") {
        text(fault, streamed, said);
    }
}

/// Faults in a text; of a stream, in one delta.
fn text(fault: &Fault, streamed: bool, said: &mut String) {
    match fault {
        Fault::EmptyContent => said.clear(),
        Fault::ReplacementChar if !said.is_empty() => said.push('\u{fffd}'),
        Fault::DropDelta if !streamed => drop(said.pop()),
        Fault::RepeatDelta if !streamed => *said = said.repeat(2),
        Fault::JsonBroken if !streamed => drop(said.pop()),
        Fault::JsonWrongSchema if !streamed => *said = "{\"zz\": []}".to_owned(),
        _ => {}
    }
}

fn logprobs(fault: &Fault, logprobs: &mut Value) {
    // Chat tells a list of entries, completions parallel lists.
    if let Some(values) = logprobs.get_mut("token_logprobs").and_then(Value::as_array_mut) {
        match fault {
            Fault::LogprobsPositive => values.iter_mut().for_each(|value| *value = json!(0.5)),
            Fault::LogprobsShort => drop(values.pop()),
            _ => {}
        }
        return;
    }
    let Some(entries) = logprobs.get_mut("content").and_then(Value::as_array_mut) else { return };
    if *fault == Fault::LogprobsShort {
        entries.pop();
    }
    for entry in entries {
        match fault {
            Fault::LogprobsPositive => entry["logprob"] = json!(0.5),
            Fault::LogprobsBytesWrong => entry["bytes"] = json!([0]),
            Fault::LogprobsUnsorted => {
                if let Some(top) = entry.get_mut("top_logprobs").and_then(Value::as_array_mut) {
                    top.reverse();
                }
            }
            _ => {}
        }
    }
}

/// Faults in the tool calls of a message, or of a delta.
fn calls(fault: &Fault, streamed: bool, message: &mut Map<String, Value>) {
    match fault {
        Fault::ToolCallsMissing => drop(message.remove("tool_calls")),
        Fault::ToolMarkup => {
            let markup = format!("<tool_call>\n{}\n</tool_call>", message["tool_calls"][0]["function"]);
            message.remove("tool_calls");
            message.insert("content".to_owned(), json!(markup));
        }
        _ => {}
    }
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        let function = &mut call["function"];
        match fault {
            Fault::ToolWrongName if function["name"].is_string() => function["name"] = json!("zz_unknown"),
            Fault::ToolIdRepeated => call["id"] = json!("chatcmpl-tool-0000000000000000"),
            Fault::ToolArgsBroken if function["arguments"].is_string() => {
                let broken = function["arguments"].as_str().unwrap_or_default().replace('}', "");
                function["arguments"] = json!(broken);
            }
            Fault::ToolArgsNotObject if function["arguments"].is_string() => {
                function["arguments"] = json!(if streamed { "1" } else { "\"Paris\"" });
            }
            Fault::ToolArgsObject if function["arguments"].is_string() => {
                let text = function["arguments"].as_str().unwrap_or_default();
                function["arguments"] = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
            }
            _ => {}
        }
    }
}

/// Faults in the sequence of deltas that carry text.
fn deltas(fault: &Fault, events: &mut [Event]) {
    let texts: Vec<usize> =
        (0..events.len()).filter(|k| delta_text(&mut events[*k]).is_some_and(|t| !t.is_empty())).collect();
    match (fault, texts.as_slice()) {
        (Fault::DropDelta, [.., last]) => {
            if let Some(text) = delta_text(&mut events[*last]) {
                text.clear();
            }
        }
        (Fault::RepeatDelta, [first, ..]) => {
            if let Some(text) = delta_text(&mut events[*first]) {
                *text = text.repeat(2);
            }
        }
        (Fault::JsonBroken, [.., last]) => {
            if let Some(text) = delta_text(&mut events[*last]) {
                text.pop();
            }
        }
        (Fault::JsonWrongSchema, [first, others @ ..]) => {
            if let Some(text) = delta_text(&mut events[*first]) {
                *text = "{\"zz\": []}".to_owned();
            }
            for k in others {
                if let Some(text) = delta_text(&mut events[*k]) {
                    text.clear();
                }
            }
        }
        _ => {}
    }
}

/// The text of a chunk, of chat or of completions.
fn delta_text(event: &mut Event) -> Option<&mut String> {
    let Data::Json(chunk) = &mut event.data else { return None };
    let choice = chunk.get_mut("choices")?.get_mut(0)?;
    let is_chat = choice.get("delta").is_some();
    let text = if is_chat { choice.get_mut("delta")?.get_mut("content")? } else { choice.get_mut("text")? };
    match text {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn empty_lists(document: &mut Value) {
    for value in document.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if value.is_array() {
            *value = json!([]);
        }
    }
}

/// What becomes of the bytes.
pub(super) fn on_pieces(fault: &Fault, streams: bool, pieces: &mut Vec<Piece>) {
    match fault {
        Fault::StallMidStream(stall) => {
            let from = split(pieces, streams, stall.after);
            for piece in pieces.iter_mut().skip(from) {
                piece.due += Duration::from_millis(stall.ms);
            }
        }
        Fault::CutStream(after) | Fault::ResetMidStream(after) => {
            let end = split(pieces, streams, after.after);
            pieces.truncate(end);
        }
        Fault::Fragmented => {
            *pieces = std::mem::take(pieces).into_iter().flat_map(|piece| shred(piece, 1)).collect();
        }
        Fault::TornUtf8 => *pieces = std::mem::take(pieces).into_iter().flat_map(torn).collect(),
        Fault::Crlf if streams => {
            for piece in pieces.iter_mut() {
                piece.bytes = String::from_utf8_lossy(&piece.bytes).replace('\n', "\r\n").into_bytes();
            }
        }
        Fault::InvalidUtf8 => {
            // Inside a text: behind the quotation mark that opens the value of `content` or `text`.
            let marks: [&[u8]; 2] = [b"\"content\":\"", b"\"text\":\""];
            for piece in pieces.iter_mut().rev() {
                let at = marks.iter().find_map(|mark| find(&piece.bytes, mark).map(|at| at + mark.len()));
                if let Some(at) = at {
                    piece.bytes.insert(at, 0xff);
                    break;
                }
            }
        }
        Fault::MalformedEvent if streams => {
            let middle = pieces.len() / 2;
            if let Some(piece) = pieces.get_mut(middle) {
                let cut = piece.bytes.len() / 2;
                piece.bytes.truncate(cut);
                piece.bytes.extend(b"\n\n");
            }
        }
        Fault::MalformedBody if !streams => {
            for piece in pieces.iter_mut() {
                let cut = piece.bytes.len() / 2;
                piece.bytes.truncate(cut);
            }
        }
        _ => {}
    }
}

/// The index of the piece with which the rest begins: a stream is divided by events, another body by bytes.
fn split(pieces: &mut Vec<Piece>, streams: bool, after: usize) -> usize {
    if streams {
        return after.min(pieces.len());
    }
    let Some(whole) = pieces.pop() else { return 0 };
    let at = after.min(whole.bytes.len());
    let head = Piece { bytes: whole.bytes[..at].to_vec(), tokens: 0, ..whole };
    pieces.extend([head, Piece { bytes: whole.bytes[at..].to_vec(), ..whole }]);
    1
}

/// The same bytes in pieces of at most `size`; the tokens go with the last.
fn shred(piece: Piece, size: usize) -> Vec<Piece> {
    let chunks: Vec<&[u8]> = piece.bytes.chunks(size).collect();
    let last = chunks.len().saturating_sub(1);
    let tokens = |k: usize| if k == last { piece.tokens } else { 0 };
    chunks
        .iter()
        .enumerate()
        .map(|(k, c)| Piece { due: piece.due, tokens: tokens(k), bytes: c.to_vec() })
        .collect()
}

/// The same bytes, divided within each character that has more than one.
fn torn(piece: Piece) -> Vec<Piece> {
    let cuts: Vec<usize> = (1..piece.bytes.len()).filter(|k| piece.bytes[*k - 1] >= 0xc0).collect();
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts {
        pieces.push(Piece { due: piece.due, tokens: 0, bytes: piece.bytes[from..cut].to_vec() });
        from = cut;
    }
    pieces.push(Piece { bytes: piece.bytes[from..].to_vec(), ..piece });
    pieces
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_changes_what_it_says_and_nothing_else() {
        let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "logprobs": null,
            "finish_reason": "stop"}]});
        let mut reply = Reply::json(200, answer.clone());
        on_reply(&Fault::WrongFinish, false, &mut reply);
        let mut expected = answer;
        expected["choices"][0]["finish_reason"] = json!("length");
        assert_eq!(reply.body, Body::Whole(Content::Json(expected)));
    }

    fn piece(text: &str) -> Piece {
        Piece { due: Duration::ZERO, tokens: 3, bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn legal_divisions_change_no_byte_and_lose_no_token() {
        for fault in [Fault::TornUtf8, Fault::Fragmented] {
            let mut pieces = vec![piece("data: {\"a\":\"é世😀\"}\n\n"), piece("data: [DONE]\n\n")];
            let before: Vec<u8> = pieces.iter().flat_map(|p| p.bytes.clone()).collect();
            on_pieces(&fault, true, &mut pieces);
            assert!(pieces.len() > 4);
            assert_eq!(pieces.iter().flat_map(|p| p.bytes.clone()).collect::<Vec<_>>(), before);
            assert_eq!(pieces.iter().map(|p| p.tokens).sum::<u32>(), 6);
        }
        let mut pieces = vec![piece("é")];
        on_pieces(&Fault::TornUtf8, true, &mut pieces);
        assert!(pieces.iter().all(|p| std::str::from_utf8(&p.bytes).is_err()));
    }

    #[test]
    fn a_cut_counts_events_in_a_stream_and_bytes_elsewhere() {
        let cut = Fault::CutStream(After { after: 1 });
        let mut pieces = vec![piece("one"), piece("two")];
        on_pieces(&cut, true, &mut pieces);
        assert_eq!(pieces, [piece("one")]);
        let mut pieces = vec![piece("one")];
        on_pieces(&cut, false, &mut pieces);
        assert_eq!(pieces[0].bytes, b"o");
        assert_eq!(pieces.len(), 1);
    }
}
