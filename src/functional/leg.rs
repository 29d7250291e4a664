//! One request of a case and what came of it: a [`Leg`]. A case has a main leg; a twin, repetitions and others add more.
//! Must not know what is expected.
//!
//! 用例的一次请求及其结果。

use serde_json::{Map, Value, json};

use crate::{
    api::Answer,
    client::{Attempt, Exchange, Stamp},
};

/// One request of a case and what came of it.
#[derive(Debug, Clone)]
pub struct Leg {
    /// `main`, `stream`, `repeat_2`, `tokenize`…
    pub name: String,
    /// All that went over the wire.
    pub exchange: Exchange,
    /// The attempt that counts, read.
    pub answer: Answer,
    /// What expectations look at.
    pub subject: Value,
}

impl Leg {
    /// Reads `exchange`, whose JSON body was `body`.
    pub fn new(name: impl Into<String>, exchange: Exchange, body: Option<&Map<String, Value>>) -> Self {
        let attempt = exchange.last();
        let answer = Answer::read(attempt);
        let mut subject = answer.subject();
        subject["timing"] = timing(attempt);
        subject["request"] = body.map_or(Value::Null, |body| Value::Object(body.clone()));
        Self { name: name.into(), exchange, answer, subject }
    }

    /// What the server calls this request, by header or in the answer.
    pub fn request_id(&self) -> Option<&str> {
        let header = self.exchange.last().header("x-request-id");
        header.or_else(|| self.answer.complete.as_ref()?.id.as_deref())
    }
}

/// Seconds since the attempt began; null for what never came.
fn timing(attempt: &Attempt) -> Value {
    let since = |at: Stamp| at.since(attempt.begun).as_secs_f64();
    json!({
        "headers_s": attempt.headers_at.map(since),
        "first_s": attempt.chunks.first().map(|(at, _)| since(*at)),
        "total_s": since(attempt.ended),
        "away_s": attempt.away.map(|away| away.as_secs_f64()),
    })
}
