//! What a probing request came to, as far as a rung judges it: [`Heard`].
//! Must not know which capability is asked for.
//!
//! 探测请求的结果：应答、拒绝或无结论。

use serde_json::Value;

use crate::{
    api::{Answer, Body, Choice},
    client::{Attempt, End},
};

/// Longest piece of a server's own words, in characters, that evidence quotes.
const QUOTE: usize = 120;

/// One of the three things that can come of a request.
#[derive(Debug, Clone)]
pub(super) enum Heard {
    /// An answer with a status below 300 and no error in it.
    Answered(Box<Answer>),
    /// The server says no, and says it of this request.
    Refused(Refusal),
    /// Nothing that allows a conclusion: no answer, an overloaded or a broken server, or it was never asked.
    Silent(String),
}

/// A refusal: 4xx, or the same as an event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Whether the status line said so, not an event behind a 200.
    pub(super) early: bool,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

impl Heard {
    /// Reads `attempt`.
    pub(super) fn of(attempt: &Attempt) -> Self {
        if let End::Broken(fault) = &attempt.end {
            return Self::Silent(fault.to_string());
        }
        let answer = Answer::read(attempt);
        let http = answer.status.unwrap_or_default();
        let Some(error) = &answer.error else {
            return match http {
                200..300 => Self::Answered(Box::new(answer)),
                other => Self::Silent(format!("status {other}")),
            };
        };
        let message = match (error.message.is_empty(), &error.kind) {
            (true, Some(kind)) => kind.clone(),
            _ => error.message.clone(),
        };
        match error.status.unwrap_or(http) {
            status @ (400..=407 | 409..=428 | 430..=499) => {
                Self::Refused(Refusal { status, early: http >= 400, message, param: error.param.clone() })
            }
            501 => Self::Refused(Refusal { status: 501, early: http >= 400, message, param: None }),
            status => Self::Silent(format!("{status}: {}", quote(&message))),
        }
    }

    /// What came, for evidence: `200`, `400: …`.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Answered(answer) => answer.status.unwrap_or_default().to_string(),
            Self::Refused(refusal) => refusal.words(),
            Self::Silent(why) => why.clone(),
        }
    }
}

impl Refusal {
    /// Whether `field` stands in it as a word of its own: `n` is not named by `prompt_tokens`.
    pub(super) fn names(&self, field: &str) -> bool {
        let in_text = |text: &str| {
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == field)
        };
        in_text(&self.message) || self.param.as_deref().is_some_and(in_text)
    }

    /// Whether there is no such route, or none that does this.
    pub(super) fn is_no_route(&self) -> bool {
        // Servers answer 404 for an unknown model, too, and then say which.
        matches!(self.status, 405 | 501)
            || (self.status == 404 && !self.message.to_lowercase().contains("model"))
    }

    /// `400: the server's words`.
    pub(super) fn words(&self) -> String {
        let stream = if self.early { "" } else { " as an event of a stream that began with 200" };
        format!("{}{stream}: {}", self.status, quote(&self.message))
    }
}

/// `text` on one line, shortened, with nothing in it that a terminal would obey.
pub(super) fn quote(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(QUOTE) {
        Some((at, _)) => format!("{}…", &words[..at]),
        None => words,
    }
}

/// `count` of something: `1 token`, `2 tokens`.
pub(super) fn number(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// All that the first choice says, thoughts first; empty where it says nothing.
pub(super) fn said(answer: &Answer) -> String {
    first(answer).map(said_by).unwrap_or_default()
}

/// What each choice says.
pub(super) fn all_said(answer: &Answer) -> Vec<String> {
    answer.complete.iter().flat_map(|complete| &complete.choices).map(said_by).collect()
}

fn said_by(choice: &Choice) -> String {
    [&choice.reasoning, &choice.content].into_iter().flatten().map(String::as_str).collect()
}

/// The first choice.
pub(super) fn first(answer: &Answer) -> Option<&Choice> {
    answer.complete.as_ref()?.choices.first()
}

/// Why the first choice ended.
pub(super) fn finish(answer: &Answer) -> &str {
    first(answer).and_then(|choice| choice.finish_reason.as_deref()).unwrap_or("no reason")
}

/// `usage.NAME`, where the server counts.
pub(super) fn usage(answer: &Answer, name: &str) -> Option<u64> {
    answer.complete.as_ref()?.usage.as_ref()?.get(name)?.as_u64()
}

/// The body, where it is JSON.
pub(super) fn json(answer: &Answer) -> Option<&Value> {
    match &answer.body {
        Body::Json(json) => Some(json),
        Body::None | Body::Text { .. } => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::client::{Fault, Phase, Stamp};

    /// What came of a request that was answered with `body`.
    pub(in crate::probe) fn heard(status: u16, body: &Value) -> Heard {
        Heard::of(&attempt(status, "application/json", &body.to_string()))
    }

    /// The answer with this body.
    pub(in crate::probe) fn answer(body: &Value) -> Answer {
        match heard(200, body) {
            Heard::Answered(answer) => *answer,
            other => panic!("{other:?}"),
        }
    }

    /// A chat answer that says `text`.
    pub(in crate::probe) fn saying(text: &str) -> Answer {
        answer(&json!({"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "length"}]}))
    }

    /// An attempt with this answer.
    pub(in crate::probe) fn attempt(status: u16, kind: &str, body: &str) -> Attempt {
        Attempt {
            begun: Stamp(0),
            sent: None,
            headers_at: Some(Stamp(0)),
            status: Some(status),
            headers: vec![("content-type".into(), kind.into())],
            chunks: vec![(Stamp(1), Bytes::copy_from_slice(body.as_bytes()))],
            end: End::Complete,
            ended: Stamp(1),
            away: None,
        }
    }

    fn refusal(message: &str) -> Refusal {
        Refusal { status: 400, early: true, message: message.into(), param: None }
    }

    #[test]
    fn a_field_is_named_only_as_a_word_of_its_own() {
        assert!(refusal("{'loc': 'body.n', 'msg': 'Input should be a valid integer'}").names("n"));
        assert!(!refusal("Input should be a valid integer").names("n"));
        assert!(!refusal("stop_token_ids must be a list").names("stop"));
        let by_param = Refusal { param: Some("body.top_k".into()), ..refusal("bad value") };
        assert!(by_param.names("top_k"));
    }

    #[test]
    fn overload_and_breakdown_and_silence_say_nothing() {
        let error = |code: u16| json!({"error": {"message": "no", "type": "x", "code": code}});
        for status in [408, 429, 500, 503] {
            assert!(matches!(heard(status, &error(status)), Heard::Silent(_)), "{status}");
        }
        for status in [400, 401, 404, 422, 501] {
            assert!(matches!(heard(status, &error(status)), Heard::Refused(_)), "{status}");
        }
        let end = End::Broken(Fault::Timeout { phase: Phase::Headers, limit_ms: 20_000 });
        let stalled = Attempt { end, ..attempt(200, "application/json", "") };
        assert_eq!(
            Heard::of(&stalled).words(),
            "while waiting for the headers: nothing came within 20000 ms"
        );
    }

    #[test]
    fn a_refusal_within_a_stream_is_one_that_came_late() {
        let body = "data: {\"error\":{\"message\":\"bad id\",\"code\":400}}\n\ndata: [DONE]\n\n";
        let Heard::Refused(refusal) = Heard::of(&attempt(200, "text/event-stream", body)) else {
            panic!("no refusal")
        };
        assert!(!refusal.early);
        assert_eq!(refusal.words(), "400 as an event of a stream that began with 200: bad id");
    }

    #[test]
    fn an_unknown_model_is_no_missing_route() {
        let status = |status, message: &str| Refusal { status, ..refusal(message) };
        assert!(status(404, "Not Found").is_no_route());
        assert!(status(405, "Method Not Allowed").is_no_route());
        assert!(!status(404, "The model `x` does not exist.").is_no_route());
    }

    #[test]
    fn what_a_server_says_is_quoted_on_one_line_without_control_characters() {
        assert_eq!(quote("a\n\u{1b}[31mb\0  c"), "a [31mb c");
        let long = quote(&"é".repeat(500));
        assert_eq!(long.chars().count(), QUOTE + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn thoughts_and_words_are_said_alike() {
        let body = json!({"choices": [{"index": 0, "message": {"content": null, "reasoning": "hm"}}]});
        assert_eq!(said(&answer(&body)), "hm");
        assert_eq!(said(&answer(&json!({"object": "list"}))), "");
    }
}
