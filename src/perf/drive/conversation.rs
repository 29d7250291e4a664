//! A conversation as it is prepared: [`Conversation`] holds all that is known before the first answer, [`History`] what has
//! been said so far. A later request is put together of bytes that lie ready and of the answers, and nothing in it is
//! parsed, counted or built anew. Must not know when a turn is due.
//!
//! 多轮对话：预先构造的各轮字节与运行时拼接的历史。

use serde::{Deserialize, Serialize};

use crate::client::Request;

/// What follows the first request of a conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Which one it is of the trial.
    pub number: u32,
    /// The index of its first request over the trial; the others follow.
    pub index: u64,
    /// The body of the first request, up to the end of its message.
    pub opening: String,
    /// What all requests after it have in common: everything but body and id.
    pub request: Request,
    /// They, in order.
    pub later: Vec<Later>,
}

/// A turn after the first, but for the history before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    /// How long after the end of the answer before it is due, in nanoseconds.
    pub think_ns: u64,
    /// Its message, as JSON.
    pub message: String,
    /// What follows the messages in the body.
    pub closing: String,
    /// Its `x-request-id`.
    pub id: String,
}

impl Conversation {
    /// How many turns it is.
    pub fn turns(&self) -> u32 {
        u32::try_from(self.later.len() + 1).unwrap_or(u32::MAX)
    }
}

/// The body of the next request, as far as it is known.
pub(super) struct History<'a> {
    request: &'a Request,
    said: Vec<u8>,
}

impl<'a> History<'a> {
    pub(super) fn of(conversation: &'a Conversation) -> Self {
        Self { request: &conversation.request, said: conversation.opening.clone().into_bytes() }
    }

    /// The request of the next turn, after `answer`, which is the inside of a JSON string.
    pub(super) fn next(&mut self, answer: &str, turn: &Later) -> Request {
        for part in [r#",{"role":"assistant","content":""#, answer, r#""},"#, &turn.message] {
            self.said.extend_from_slice(part.as_bytes());
        }
        let mut request = self.request.clone();
        request.headers.push(("x-request-id".to_owned(), turn.id.clone()));
        request.body = Some([self.said.as_slice(), turn.closing.as_bytes()].concat().into());
        request
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::client::Route;

    #[test]
    fn every_turn_carries_all_that_was_said_with_the_answers_as_they_were() {
        let mut request = Request::post_json(Route::Api("/chat/completions".into()), &json!({}));
        request.body = None;
        let later = |said: &str| Later {
            think_ns: 0,
            message: json!({"role": "user", "content": said}).to_string(),
            closing: r#"],"max_tokens":4}"#.to_owned(),
            id: said.to_owned(),
        };
        let opening = r#"{"model":"m","messages":[{"role":"user","content":"a"}"#.to_owned();
        let conversation =
            Conversation { number: 0, index: 0, opening, request, later: vec![later("b"), later("c")] };
        let mut history = History::of(&conversation);
        history.next("one", &conversation.later[0]);
        let last = history.next(r#"\"two\"\n"#, &conversation.later[1]);
        let body: Value = serde_json::from_slice(last.body.as_deref().unwrap()).unwrap();
        let said = |role: &str, content: &str| json!({"role": role, "content": content});
        let messages = [
            said("user", "a"),
            said("assistant", "one"),
            said("user", "b"),
            said("assistant", "\"two\"\n"),
            said("user", "c"),
        ];
        assert_eq!(body, json!({"model": "m", "messages": messages, "max_tokens": 4}));
        assert_eq!(last.headers, [("x-request-id".to_owned(), "c".to_owned())]);
    }
}
