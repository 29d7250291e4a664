//! An answer as a value, before anything is sent: [`Reply`]. Faults change it, the server sends it.
//! Must not know sockets, nor how its content came about.
//!
//! 应答的值：状态、头、正文或事件序列，以及发送方式。

use serde_json::{Value, json};
use std::time::Duration;

/// What is to be sent, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: Option<&'static str>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
    pub(super) delivery: Delivery,
    pub(super) account: Account,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Empty,
    /// A JSON document, or other text.
    Whole(Content),
    /// A stream of server-sent events.
    Events(Vec<Event>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Json(Value),
    Text(String),
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// After the request was received.
    pub(super) due: Duration,
    /// How many tokens it carries.
    pub(super) tokens: u32,
    pub(super) data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Json(Value),
    /// With a name of its own, which the value repeats as `type`.
    Named(&'static str, Value),
    Done,
    /// Lines as they are, without `data:`.
    Raw(&'static str),
}

/// How the bytes go out.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Delivery {
    /// Silence before the status line.
    pub(super) before_head: Duration,
    /// The head takes this long, byte by byte.
    pub(super) head_over: Duration,
    /// Not even a status line.
    pub(super) no_head: bool,
    pub(super) ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ending {
    #[default]
    Clean,
    /// The connection is closed, without the last chunk.
    Cut,
    /// The connection is reset.
    Reset,
}

/// What an answer cost and how its choices ended, for the log and the counters.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Account {
    /// The id of the answer; empty where the route has none.
    pub(super) id: String,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
    pub(super) max_tokens: u32,
    pub(super) finishes: Vec<&'static str>,
    /// When the last token is due.
    pub(super) last_due: Duration,
}

/// Bytes that go out in one write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) due: Duration,
    pub(super) tokens: u32,
    pub(super) bytes: Vec<u8>,
}

impl Reply {
    pub(super) fn json(status: u16, value: Value) -> Self {
        Reply {
            status,
            content_type: Some("application/json"),
            headers: Vec::new(),
            body: Body::Whole(Content::Json(value)),
            delivery: Delivery::default(),
            account: Account::default(),
        }
    }

    pub(super) fn text(status: u16, content_type: &'static str, text: String) -> Self {
        let body = Body::Whole(Content::Text(text));
        Reply { content_type: Some(content_type), body, ..Reply::json(status, Value::Null) }
    }

    pub(super) fn empty(status: u16) -> Self {
        Reply { content_type: None, body: Body::Empty, ..Reply::json(status, Value::Null) }
    }

    pub(super) fn events(events: Vec<Event>) -> Self {
        let content_type = Some("text/event-stream; charset=utf-8");
        Reply { content_type, body: Body::Events(events), ..Reply::json(200, Value::Null) }
    }

    /// FastAPI's own errors, outside vLLM's envelope.
    pub(super) fn detail(status: u16, detail: &str) -> Self {
        Reply::json(status, json!({ "detail": detail }))
    }

    /// The bytes, piece by piece. `due` is when a body that is no stream is complete.
    pub(super) fn pieces(&self, due: Duration) -> Vec<Piece> {
        let tokens = self.account.completion_tokens;
        let whole = |bytes| vec![Piece { due, tokens, bytes }];
        match &self.body {
            Body::Empty => Vec::new(),
            Body::Whole(Content::Json(value)) => whole(value.to_string().into_bytes()),
            Body::Whole(Content::Text(text)) => whole(text.clone().into_bytes()),
            Body::Events(events) => events.iter().map(Event::piece).collect(),
        }
    }
}

impl Body {
    /// How many bytes it has.
    pub(super) fn length(&self) -> usize {
        match self {
            Body::Empty => 0,
            Body::Whole(Content::Json(value)) => value.to_string().len(),
            Body::Whole(Content::Text(text)) => text.len(),
            Body::Events(events) => events.iter().map(|event| event.piece().bytes.len()).sum(),
        }
    }
}

impl Event {
    pub(super) fn json(due: Duration, tokens: u32, value: Value) -> Self {
        Event { due, tokens, data: Data::Json(value) }
    }

    /// What it tells, where that is JSON.
    pub(super) fn value_mut(&mut self) -> Option<&mut Value> {
        match &mut self.data {
            Data::Json(value) | Data::Named(_, value) => Some(value),
            Data::Done | Data::Raw(_) => None,
        }
    }

    fn piece(&self) -> Piece {
        let text = match &self.data {
            Data::Json(value) => format!("data: {value}\n\n"),
            Data::Named(name, value) => format!("event: {name}\ndata: {value}\n\n"),
            Data::Done => "data: [DONE]\n\n".to_owned(),
            Data::Raw(lines) => (*lines).to_owned(),
        };
        Piece { due: self.due, tokens: self.tokens, bytes: text.into_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_data_line_and_a_blank_one() {
        let reply = Reply::events(vec![
            Event::json(Duration::from_millis(5), 1, json!({"b": 1, "a": "é"})),
            Event { due: Duration::from_millis(5), tokens: 0, data: Data::Done },
        ]);
        let text: Vec<_> = reply
            .pieces(Duration::ZERO)
            .into_iter()
            .map(|p| String::from_utf8(p.bytes).expect("text"))
            .collect();
        assert_eq!(text, ["data: {\"b\":1,\"a\":\"é\"}\n\n", "data: [DONE]\n\n"]);
    }
}
