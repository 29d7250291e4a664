//! What one attempt came to: an [`Answer`], and the JSON value that expectations look at.
//! Must not know what is expected.
//!
//! 一次尝试的归一化结果。

use serde_json::{Map, Value, json};

use super::{ApiError, Assembler, Final, StreamEvent, StreamFacts, stream::Stream};
use crate::client::{Attempt, End, Fault, Stamp};

/// The body of an answer that is no stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// There is none, or it is a stream.
    None,
    /// JSON.
    Json(Value),
    /// Anything else; what is no UTF-8 is replaced, and told.
    Text {
        /// The text.
        text: String,
        /// Whether all of it was UTF-8.
        utf8: bool,
    },
}

/// What one attempt came to. Nothing in it is judged, and any bytes give one.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status; null where no answer came.
    pub status: Option<u16>,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, where it is no stream.
    pub body: Body,
    /// The events of a stream, `[DONE]` aside.
    pub events: Vec<StreamEvent>,
    /// The whole answer to a chat or completions request, put together where it was streamed; `final` in the
    /// subject.
    pub complete: Option<Final>,
    /// The error that the server told, wherever it stood.
    pub error: Option<ApiError>,
    /// What is to be said of the stream; null where it is none.
    pub stream: Option<StreamFacts>,
    /// Why the attempt broke off, where it did.
    pub fault: Option<Fault>,
    begun: Stamp,
}

impl Answer {
    /// Reads `attempt`.
    pub fn read(attempt: &Attempt) -> Self {
        let mut answer = Self {
            status: attempt.status,
            headers: attempt.headers.clone(),
            body: Body::None,
            events: Vec::new(),
            complete: None,
            error: None,
            stream: None,
            fault: match &attempt.end {
                End::Complete => None,
                End::Broken(fault) => Some(fault.clone()),
            },
            begun: attempt.begun,
        };
        if is_stream(attempt) {
            answer.read_stream(attempt)
        } else {
            answer.read_body(attempt)
        }
        answer
    }

    /// The text of the first choice; nothing where there is none.
    pub fn content(&self) -> Option<&str> {
        self.complete.as_ref()?.choices.first()?.content.as_deref()
    }

    /// What expectations look at: `{status, headers {name: value}, body, events [{t_s, event, data, json}], final,
    /// error, stream {ended, why, done_count, …}, fault}`. `t_s` is in seconds since the attempt began. What is not
    /// there is null.
    pub fn subject(&self) -> Value {
        json!({
            "status": self.status,
            "headers": self.header_map(),
            "body": match &self.body {
                Body::None => Value::Null,
                Body::Json(json) => json.clone(),
                Body::Text { text, .. } => json!(text),
            },
            "events": self.events.iter().map(|event| self.event_value(event)).collect::<Vec<_>>(),
            "final": self.complete,
            "error": self.error,
            "stream": self.stream,
            "fault": self.fault.as_ref().map(ToString::to_string),
        })
    }

    fn read_stream(&mut self, attempt: &Attempt) {
        let stream = Stream::read(attempt);
        self.error = stream.error;
        self.complete = stream.complete;
        self.events = stream.events;
        self.stream = Some(stream.facts);
        if let (Some(status @ 400..), None) = (self.status, &self.error) {
            self.error = ApiError::of_body(status, None, &String::from_utf8_lossy(&attempt.body()));
        }
    }

    fn read_body(&mut self, attempt: &Attempt) {
        let bytes = attempt.body();
        self.body = match serde_json::from_slice(&bytes) {
            Ok(json) => Body::Json(json),
            Err(_) if bytes.is_empty() => Body::None,
            Err(_) => {
                let utf8 = std::str::from_utf8(&bytes).is_ok();
                Body::Text { text: String::from_utf8_lossy(&bytes).into_owned(), utf8 }
            }
        };
        let (json, text) = match &self.body {
            Body::None => (None, String::new()),
            Body::Json(json) => (Some(json), json.to_string()),
            Body::Text { text, .. } => (None, text.clone()),
        };
        self.complete = json.and_then(Assembler::whole);
        self.error = self.status.and_then(|status| ApiError::of_body(status, json, &text));
    }

    /// Headers by name; one that came more than once has its values joined, as HTTP means it.
    fn header_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, value) in &self.headers {
            let joined = match map.get(name).and_then(Value::as_str) {
                Some(before) => format!("{before}, {value}"),
                None => value.clone(),
            };
            map.insert(name.clone(), Value::String(joined));
        }
        map
    }

    fn event_value(&self, event: &StreamEvent) -> Value {
        let t_s = event.at.since(self.begun).as_secs_f64();
        json!({"t_s": t_s, "event": event.event, "data": event.data, "json": event.json})
    }
}

/// By its content type; where there is none, by how it begins.
fn is_stream(attempt: &Attempt) -> bool {
    match attempt.header("content-type") {
        Some(kind) => kind.trim().to_ascii_lowercase().starts_with("text/event-stream"),
        None => {
            let start: Vec<u8> = attempt.chunks.iter().flat_map(|(_, b)| b.iter().copied()).take(6).collect();
            start.starts_with(b"data:") || start.starts_with(b"event:")
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        api::{ErrorShape, StreamEnd},
        client::{Phase, read_recording},
    };

    const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings/vllm-0.32.0");

    fn recorded(id: &str) -> Attempt {
        let path = format!("{RECORDINGS}/{id}.json");
        read_recording(path.as_str().into()).expect("a recording").attempts.remove(0)
    }

    /// An answer of `kind` whose body comes in `pieces`, a millisecond apart.
    fn attempt(status: u16, kind: &str, pieces: &[&[u8]]) -> Attempt {
        let at = |n: usize| Stamp(n as u64 * 1_000_000);
        Attempt {
            begun: Stamp(0),
            sent: None,
            headers_at: Some(Stamp(0)),
            status: Some(status),
            headers: vec![("content-type".into(), kind.into())],
            chunks: pieces
                .iter()
                .enumerate()
                .map(|(n, piece)| (at(n), Bytes::copy_from_slice(piece)))
                .collect(),
            end: End::Complete,
            ended: at(pieces.len()),
            away: None,
        }
    }

    fn stream(pieces: &[&[u8]]) -> Answer {
        Answer::read(&attempt(200, "text/event-stream; charset=utf-8", pieces))
    }

    const HELLO: &[u8] = br#"data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}"#;
    const STOP: &[u8] = br#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

    #[test]
    fn a_stream_and_a_whole_answer_of_the_same_request_come_to_the_same() {
        for (whole, streamed) in [
            ("chat_basic", "chat_basic_stream"),
            ("comp_basic", "comp_stream"),
            ("chat_tools_named", "chat_tools_named_stream"),
        ] {
            let (whole, streamed) = (Answer::read(&recorded(whole)), Answer::read(&recorded(streamed)));
            let (a, b) = (&whole.complete.unwrap().choices[0], &streamed.complete.unwrap().choices[0]);
            assert_eq!((&a.content, &a.role, &a.finish_reason), (&b.content, &b.role, &b.finish_reason));
            let calls = |choice: &crate::api::Choice| {
                choice.tool_calls.iter().map(|c| (c.name.clone(), c.arguments.clone())).collect::<Vec<_>>()
            };
            assert_eq!(calls(a), calls(b));
        }
    }

    #[test]
    fn every_recorded_stream_is_whole_and_reads_the_same_byte_by_byte() {
        let mut streams = 0;
        for entry in std::fs::read_dir(RECORDINGS).expect("the recordings") {
            let path = entry.expect("an entry").path();
            let id = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let mut attempt = recorded(id);
            let answer = Answer::read(&attempt);
            let Some(facts) = &answer.stream else { continue };
            streams += 1;
            assert_eq!((facts.ended, &facts.why), (StreamEnd::Done, &None), "{id}");
            assert_eq!((facts.done_count, facts.done_last, facts.malformed), (1, true, 0), "{id}");
            let bytes = attempt.body();
            attempt.chunks = bytes.chunks(1).map(|byte| (Stamp(0), Bytes::copy_from_slice(byte))).collect();
            let bytewise = Answer::read(&attempt);
            assert_eq!(bytewise.complete, answer.complete, "{id}");
            assert_eq!(bytewise.events.len(), answer.events.len(), "{id}");
        }
        assert!(streams >= 10, "only {streams} recordings are streams");
    }

    #[test]
    fn the_subject_has_everything_in_its_place() {
        let subject = Answer::read(&recorded("chat_n_2_stream")).subject();
        let keys: Vec<_> = subject.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["status", "headers", "body", "events", "final", "error", "stream", "fault"]);
        assert_eq!(subject["status"], 200);
        assert_eq!(subject["headers"]["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(subject["stream"]["ended"], "done");
        assert_eq!(subject["final"]["choices"].as_array().unwrap().len(), 2);
        assert!(subject["events"][0]["t_s"].as_f64().unwrap() > 2.0);
        assert_eq!(subject["events"][0]["json"]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(
            (&subject["error"], &subject["fault"], &subject["body"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }

    #[test]
    fn recorded_errors_are_resolved() {
        let error = |id: &str| Answer::read(&recorded(id)).subject()["error"].take();
        assert_eq!(error("chat_stream_error")["shape"], "nested");
        assert_eq!(error("chat_stream_error")["type"], "BadRequestError");
        assert_eq!(error("chat_stream_error")["param"], "temperature");
        assert_eq!(error("chat_model_unknown")["status"], 404);
        assert_eq!(
            error("chat_get"),
            json!({"shape": "detail", "status": 405, "code": null, "type": null, "param": null, "message": "Method Not Allowed"})
        );
        assert_eq!(error("chat_basic"), Value::Null);
    }

    #[test]
    fn an_answer_without_a_body_is_an_answer() {
        let health = Answer::read(&recorded("health"));
        assert_eq!((health.status, health.body, health.error), (Some(200), Body::None, None));
    }

    #[test]
    fn a_stream_without_its_end_is_truncated_and_says_what_is_missing() {
        let why = |pieces: &[&[u8]]| {
            let facts = stream(pieces).stream.expect("a stream");
            (facts.ended, facts.why.unwrap_or_default())
        };
        let done = b"\n\ndata: [DONE]\n\n";
        assert_eq!(why(&[HELLO, b"\n\n", STOP, done]), (StreamEnd::Done, String::new()));
        assert_eq!(
            why(&[HELLO, b"\n\n", STOP, b"\n\n"]),
            (StreamEnd::Truncated, "there is no [DONE]".into())
        );
        assert_eq!(why(&[HELLO, done]), (StreamEnd::Truncated, "choice 0 has no finish_reason".into()));
        assert_eq!(why(&[b"data: [DONE]\n\n"]), (StreamEnd::Truncated, "no event has a choice".into()));
        assert_eq!(why(&[]), (StreamEnd::Truncated, "there is no [DONE]".into()));
        assert_eq!(
            why(&[STOP, b"\n\ndata: [DONE]"]),
            (StreamEnd::Truncated, "no blank line closes the last event".into())
        );
        assert_eq!(why(&[b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"]).0, StreamEnd::Done);
    }

    #[test]
    fn an_error_inside_a_stream_of_200_is_seen_even_where_done_follows() {
        let error = b"\n\ndata: {\"error\":{\"message\":\"boom\",\"code\":400}}\n\ndata: [DONE]\n\n";
        let answer = stream(&[HELLO, error]);
        let told = answer.error.expect("an error");
        assert_eq!((told.shape, told.status, told.message.as_str()), (ErrorShape::Sse, Some(400), "boom"));
        let facts = answer.stream.expect("a stream");
        assert_eq!(
            (facts.ended, facts.why.as_deref()),
            (StreamEnd::Error, Some("an event is an error: boom"))
        );
    }

    #[test]
    fn a_stream_that_breaks_off_is_cut_and_keeps_what_came() {
        let mut broken = attempt(200, "text/event-stream", &[HELLO, b"\n\ndata: {\"cho"]);
        broken.end = End::Broken(Fault::Transport { phase: Phase::Body, message: "connection reset".into() });
        let answer = Answer::read(&broken);
        assert_eq!(answer.content(), Some("hi"));
        let facts = answer.stream.as_ref().expect("a stream");
        assert_eq!((facts.ended, facts.trailing_bytes), (StreamEnd::Cut, 11));
        assert_eq!(answer.subject()["fault"], "while reading the body: connection reset");
    }

    #[test]
    fn events_that_are_no_json_are_counted_and_kept() {
        let answer = stream(&[b"data: {oops\n\n", STOP, b"\n\ndata: [DONE]\n\n"]);
        assert_eq!(answer.stream.expect("a stream").malformed, 1);
        assert_eq!((answer.events[0].data.as_str(), &answer.events[0].json), ("{oops", &None));
    }

    #[test]
    fn a_body_that_is_no_text_is_told() {
        let answer = Answer::read(&attempt(502, "text/html", &[b"<p>\xff"]));
        assert_eq!(answer.body, Body::Text { text: "<p>\u{fffd}".into(), utf8: false });
        assert_eq!(answer.error.map(|error| error.shape), Some(ErrorShape::Text));
    }

    /// JSON that looks like an answer in places and is nonsense in others.
    fn nonsense() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-9_i64..9).prop_map(Value::from),
            "[a-z{}\"]{0,4}".prop_map(Value::from),
        ];
        let key = prop::sample::select(vec![
            "choices",
            "index",
            "delta",
            "message",
            "content",
            "text",
            "tool_calls",
            "function",
            "arguments",
            "id",
            "logprobs",
            "usage",
            "error",
            "code",
            "detail",
            "object",
            "type",
            "reasoning",
            "reasoning_details",
        ]);
        leaf.prop_recursive(6, 48, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..5)
                    .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(events in prop::collection::vec(nonsense(), 0..6), status in 100_u16..600) {
            let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            let streamed = Answer::read(&attempt(status, "text/event-stream", &[text.as_bytes()]));
            prop_assert_eq!(streamed.events.len(), events.len());
            prop_assert!(streamed.subject().is_object());
            for event in &events {
                let whole = Answer::read(&attempt(status, "application/json", &[event.to_string().as_bytes()]));
                prop_assert_eq!(&whole.subject()["body"], event);
                prop_assert!(status < 400 || whole.error.is_some());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in "(text/event-stream|application/json|)") {
            prop_assert!(Answer::read(&attempt(200, &kind, &[&bytes])).subject().is_object());
        }
    }
}
