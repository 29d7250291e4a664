//! A stream as it came: its [`StreamEvent`]s and, in [`StreamFacts`], whether it was whole.
//! Must not know what the stream should have said.
//!
//! 流的事件与完整性。

use serde::Serialize;
use serde_json::Value;

use super::{ApiError, Assembler, Final};
use crate::client::{Attempt, End, SseEnd, SseEvent, SseReader, Stamp};

/// One event, other than `[DONE]`.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// When the chunk arrived that completed it.
    pub at: Stamp,
    /// Its type; `message` where the server named none.
    pub event: String,
    /// Its data as text.
    pub data: String,
    /// Its data as JSON, where it is.
    pub json: Option<Value>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEnd {
    /// Whole: `[DONE]`, and a finish reason for every choice.
    Done,
    /// It ended in good order, yet something is missing.
    Truncated,
    /// An event of it was an error.
    Error,
    /// The connection broke off, or the bytes could not be read on.
    Cut,
}

/// What is to be said of a stream as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamFacts {
    /// How it ended.
    pub ended: StreamEnd,
    /// Why it did not end as it should; null where it is done.
    pub why: Option<String>,
    /// How many `[DONE]` there were.
    pub done_count: u64,
    /// Whether `[DONE]` was the last event.
    pub done_last: bool,
    /// How many events had data that is no JSON, `[DONE]` aside.
    pub malformed: u64,
    /// How many comments there were: keep-alives.
    pub comments: u64,
    /// How many lines are no field that an event can have.
    pub foreign_lines: u64,
    /// How many bytes followed the last event that was closed.
    pub trailing_bytes: u64,
    /// In how many pieces the body was read.
    pub chunks: u64,
}

/// All that was read of a stream.
pub(crate) struct Stream {
    pub(crate) events: Vec<StreamEvent>,
    pub(crate) complete: Option<Final>,
    pub(crate) error: Option<ApiError>,
    pub(crate) facts: StreamFacts,
}

const DONE: &str = "[DONE]";
/// The last events of the APIs that have no `[DONE]`.
const LAST_TYPES: [&str; 4] =
    ["message_stop", "response.completed", "response.incomplete", "response.failed"];

impl Stream {
    /// Reads the body of `attempt` as a stream of events.
    pub(crate) fn read(attempt: &Attempt) -> Self {
        let mut reader = SseReader::new();
        let all: Vec<SseEvent> =
            attempt.chunks.iter().flat_map(|(at, bytes)| reader.push(*at, bytes)).collect();
        let end = reader.finish();
        let done_count = all.iter().filter(|event| event.data == DONE).count() as u64;
        let done_last = all.last().is_some_and(|event| event.data == DONE);
        let events: Vec<_> =
            all.into_iter().filter(|event| event.data != DONE).map(StreamEvent::of).collect();
        let status = attempt.status.unwrap_or(0);
        let error =
            events.iter().find_map(|e| ApiError::of_event(status, &e.event, e.json.as_ref(), &e.data));
        let mut assembler = Assembler::default();
        events.iter().filter_map(|event| event.json.as_ref()).for_each(|json| assembler.take(json));
        let complete = assembler.finish();
        let (ended, why) = ended(attempt, &end, error.as_ref(), &events, complete.as_ref(), done_count);
        let facts = StreamFacts {
            ended,
            why,
            done_count,
            done_last,
            malformed: events.iter().filter(|event| event.json.is_none()).count() as u64,
            comments: end.comments.len() as u64,
            foreign_lines: end.foreign_lines,
            trailing_bytes: end.trailing_bytes,
            chunks: attempt.chunks.len() as u64,
        };
        Self { events, complete, error, facts }
    }
}

impl StreamEvent {
    fn of(event: SseEvent) -> Self {
        let json = serde_json::from_str(&event.data).ok();
        Self { at: event.at, event: event.event, data: event.data, json }
    }
}

/// How it ended, and why not well. An error that the server told explains more than the cut that follows it.
fn ended(
    attempt: &Attempt,
    end: &SseEnd,
    error: Option<&ApiError>,
    events: &[StreamEvent],
    complete: Option<&Final>,
    done_count: u64,
) -> (StreamEnd, Option<String>) {
    if let Some(error) = error {
        return (StreamEnd::Error, Some(format!("an event is an error: {}", error.message)));
    }
    if let Some(fault) = &end.fault {
        return (StreamEnd::Cut, Some(fault.to_string()));
    }
    if let End::Broken(fault) = &attempt.end {
        return (StreamEnd::Cut, Some(fault.to_string()));
    }
    match missing(end, events, complete, done_count) {
        Some(why) => (StreamEnd::Truncated, Some(why)),
        None => (StreamEnd::Done, None),
    }
}

fn missing(
    end: &SseEnd,
    events: &[StreamEvent],
    complete: Option<&Final>,
    done_count: u64,
) -> Option<String> {
    if end.unterminated.is_some() {
        return Some("no blank line closes the last event".into());
    }
    let named_last = |event: &StreamEvent| {
        event
            .json
            .as_ref()
            .and_then(|json| json.get("type")?.as_str())
            .is_some_and(|t| LAST_TYPES.contains(&t))
    };
    if done_count == 0 && events.last().is_some_and(named_last) {
        return None;
    }
    if done_count == 0 {
        return Some("there is no [DONE]".into());
    }
    let choices = complete.map(|complete| complete.choices.as_slice()).unwrap_or_default();
    if choices.is_empty() {
        return Some("no event has a choice".into());
    }
    let open = choices.iter().find(|choice| choice.finish_reason.is_none())?;
    Some(format!("choice {} has no finish_reason", open.index))
}
