//! The conversations of a trial as they are prepared: [`conversations`] cuts the bodies of their requests where the history
//! goes, so that nothing has to be built while load is made. Must not know what a turn asks, nor when it is due.
//!
//! 由各轮请求体预先切分出多轮对话。

use serde_json::Value;

use crate::{
    client::Request,
    perf::{
        drive::{Conversation, Later},
        schedule::Conversations,
    },
};

/// A turn as a request that stands alone.
pub(super) struct Ask {
    /// Its index over the trial.
    pub(super) index: u64,
    /// Its `x-request-id`.
    pub(super) id: String,
    /// All of it.
    pub(super) request: Request,
    /// Its body in parts.
    pub(super) parts: Parts,
}

/// The body of a chat, which is these one after another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Up to the messages.
    pub(super) before: String,
    /// The messages, without the brackets around them.
    pub(super) messages: String,
    /// What follows them.
    pub(super) after: String,
}

impl Parts {
    /// Those of `body`, which asks `model`.
    pub(super) fn of(model: &str, body: Value) -> Self {
        let Value::Object(mut fields) = body else {
            return Self { before: String::new(), messages: String::new(), after: body.to_string() };
        };
        let said =
            fields.shift_remove("messages").and_then(|said| said.as_array().cloned()).unwrap_or_default();
        let messages = said.iter().map(Value::to_string).collect::<Vec<_>>().join(",");
        let rest = Value::Object(fields).to_string();
        Self {
            before: format!(r#"{{"model":{},"messages":["#, Value::from(model)),
            messages,
            after: format!("],{}", rest.trim_start_matches('{')),
        }
    }
}

/// Makes them of their turns, `asks`, which are in order; `first` is the number of the first over the trial. The requests
/// that open them, and what follows those.
pub(super) fn conversations(
    all: &Conversations,
    asks: &mut impl Iterator<Item = Ask>,
    first: u32,
) -> (Vec<Request>, Vec<Conversation>) {
    let mut opening = Vec::new();
    let mut talks = Vec::new();
    for (think_ns, number) in all.think_ns.iter().zip(first..) {
        let mut turns = asks.by_ref().take(think_ns.len());
        let Some(ask) = turns.next() else { break };
        let later = turns.zip(think_ns.iter().skip(1)).map(|(ask, think_ns)| Later {
            think_ns: *think_ns,
            message: ask.parts.messages,
            closing: ask.parts.after,
            id: ask.id,
        });
        let later = later.collect();
        let mut request = Request { body: None, ..ask.request.clone() };
        request.headers.retain(|(name, _)| name != "x-request-id");
        opening.push(ask.request);
        let Parts { before, messages, .. } = ask.parts;
        talks.push(Conversation { number, index: ask.index, opening: before + &messages, request, later });
    }
    (opening, talks)
}
