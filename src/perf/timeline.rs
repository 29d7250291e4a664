//! From the events of one exchange to what happened when: [`Timeline`] takes the events, a [`Record`] is
//! what remains. Pure: no clock, no network. Must not know how a request was made, nor which figures follow.
//!
//! 单个请求的时间线：由交换事件得出各时刻、逐事件 token 数与结局。

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::{
    client::{End, Event, Fault, SseReader, Stamp},
    perf::record::{Outcome, Record, TokenEvent, TokenSource},
};

/// Which request a timeline is of, known before it starts.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// See [`Record::index`].
    pub index: u64,
    /// See [`Record::warmup`].
    pub warmup: bool,
    /// See [`Record::epoch`].
    pub epoch: u32,
    /// See [`Record::worker`].
    pub worker: u32,
    /// See [`Record::in_flight`].
    pub in_flight: u32,
    /// See [`Record::scheduled`].
    pub scheduled: Stamp,
    /// See [`Record::admitted`].
    pub admitted: Stamp,
    /// See [`Record::started`].
    pub started: Stamp,
}

/// How much of a refusal's body is kept for its message.
const REFUSAL_KEPT: usize = 4096;

/// Takes the events of one exchange as they happen.
pub struct Timeline {
    record: Record,
    sse: SseReader,
    event_stream: bool,
    refusal: Vec<u8>,
    /// The server's running count, where its events carry one.
    running: Option<u64>,
    total: Option<u64>,
    /// What is wrong with the stream; the first finding stands.
    fault: Option<Outcome>,
}

impl Timeline {
    /// A request that is about to start.
    pub fn new(slot: Slot) -> Self {
        Self {
            record: Record {
                index: slot.index,
                warmup: slot.warmup,
                epoch: slot.epoch,
                worker: slot.worker,
                in_flight: slot.in_flight,
                scheduled: slot.scheduled,
                admitted: slot.admitted,
                started: slot.started,
                sent: None,
                headers: None,
                first_event: None,
                first_token: None,
                first_answer: None,
                last_token: None,
                finish: None,
                done: None,
                ended: slot.started,
                status: None,
                finish_reason: None,
                prompt_tokens: None,
                cached_tokens: None,
                output_tokens: 0,
                token_source: TokenSource::Events,
                events: Vec::new(),
                bytes: 0,
                outcome: Outcome::Cancelled,
            },
            sse: SseReader::new(),
            event_stream: false,
            refusal: Vec::new(),
            running: None,
            total: None,
            fault: None,
        }
    }

    /// Takes the next event.
    pub fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Sent(at) => self.record.sent = Some(*at),
            Event::Headers { at, status, headers } => self.headers(*at, *status, headers),
            Event::Bytes(at, bytes) => self.bytes(*at, bytes),
            Event::End(at, end) => self.end(*at, end),
        }
    }

    /// What happened, once the exchange has ended.
    pub fn finish(mut self) -> Record {
        let shown: u64 = self.record.events.iter().map(|event| event.tokens).sum();
        (self.record.output_tokens, self.record.token_source) = match (self.running, self.total) {
            (Some(running), total) => (total.unwrap_or(running), TokenSource::UsagePerEvent),
            (None, Some(total)) => (total, TokenSource::UsageTotal),
            (None, None) => (shown, TokenSource::Events),
        };
        self.record
    }

    fn headers(&mut self, at: Stamp, status: u16, headers: &[(String, String)]) {
        self.record.headers = Some(at);
        self.record.status = Some(status);
        self.event_stream = (200..300).contains(&status)
            && headers.iter().any(|(name, value)| {
                name == "content-type" && value.to_ascii_lowercase().starts_with("text/event-stream")
            });
    }

    fn bytes(&mut self, at: Stamp, bytes: &[u8]) {
        self.record.bytes += bytes.len() as u64;
        if !self.event_stream {
            let room = REFUSAL_KEPT.saturating_sub(self.refusal.len());
            self.refusal.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return;
        }
        for event in self.sse.push(at, bytes) {
            self.message(event.at, &event.event, &event.data);
        }
        if let Some(fault) = self.sse.fault() {
            let message = fault.to_string();
            self.blame(Outcome::Malformed { message });
        }
    }

    /// One event of the stream.
    fn message(&mut self, at: Stamp, name: &str, data: &str) {
        self.record.first_event.get_or_insert(at);
        if data == "[DONE]" {
            self.record.done.get_or_insert(at);
            return;
        }
        match serde_json::from_str::<Chunk<'_>>(data) {
            Ok(chunk) => match chunk.error(name) {
                Some(message) => self.blame(Outcome::StreamError { message }),
                None => self.chunk(at, &chunk),
            },
            Err(_) if name == "error" => self.blame(Outcome::StreamError { message: excerpt(data) }),
            Err(error) => self.blame(Outcome::Malformed {
                message: format!("an event is no completion chunk ({error}): {}", excerpt(data)),
            }),
        }
    }

    fn chunk(&mut self, at: Stamp, chunk: &Chunk<'_>) {
        let choices = chunk.choices.as_deref().unwrap_or_default();
        let answer = choices.iter().any(Choice::has_answer);
        let tokens = answer || choices.iter().any(Choice::has_reasoning);
        if let Some(usage) = &chunk.usage {
            self.usage(usage, choices.is_empty());
        }
        if tokens {
            self.tokens(at, chunk.usage.as_ref().and_then(|usage| usage.completion_tokens));
        }
        if answer {
            self.record.first_answer.get_or_insert(at);
        }
        if let Some(reason) = choices.iter().find_map(|choice| choice.finish_reason.as_deref()) {
            self.record.finish.get_or_insert(at);
            self.record.finish_reason = Some(reason.to_owned());
        }
    }

    fn usage(&mut self, usage: &Usage, closing: bool) {
        if usage.prompt_tokens.is_some() {
            self.record.prompt_tokens = usage.prompt_tokens;
        }
        if let Some(cached) = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens) {
            self.record.cached_tokens = Some(cached);
        }
        if closing {
            self.total = usage.completion_tokens.or(self.total);
        }
    }

    /// An event with tokens: as many as the server's running count grew by, else one.
    fn tokens(&mut self, at: Stamp, running: Option<u64>) {
        let tokens = match running {
            Some(now) => now.saturating_sub(self.running.replace(now).unwrap_or(0)).max(1),
            None => 1,
        };
        self.record.first_token.get_or_insert(at);
        self.record.last_token = Some(at);
        self.record.events.push(TokenEvent { at, tokens });
    }

    fn blame(&mut self, outcome: Outcome) {
        self.fault.get_or_insert(outcome);
    }

    fn end(&mut self, at: Stamp, end: &End) {
        self.record.ended = at;
        let by_transport = match end {
            End::Complete => None,
            End::Broken(Fault::Cancelled) => Some(Outcome::Cancelled),
            End::Broken(fault @ Fault::Timeout { .. }) => {
                Some(Outcome::Timeout { message: fault.to_string() })
            }
            End::Broken(fault) => Some(Outcome::Transport { message: fault.to_string() }),
        };
        // An error that the server told explains the broken connection after it.
        self.record.outcome = self.fault.take().or(by_transport).unwrap_or_else(|| self.judge_complete());
    }

    fn judge_complete(&self) -> Outcome {
        let record = &self.record;
        match record.status {
            None => Outcome::Malformed { message: "the exchange ended without a status line".to_owned() },
            Some(status) if !(200..300).contains(&status) => {
                Outcome::Status { status, message: refusal_message(&self.refusal) }
            }
            Some(_) if !self.event_stream => Outcome::Malformed {
                message: format!(
                    "expected content-type text/event-stream, found a body that begins with {}",
                    excerpt(&String::from_utf8_lossy(&self.refusal))
                ),
            },
            Some(_) if record.done.is_none() || record.finish.is_none() => Outcome::Truncated,
            Some(_) if record.events.is_empty() => Outcome::Empty,
            Some(_) => Outcome::Ok,
        }
    }
}

/// What is read of an event; everything else in it is passed over.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage>,
    error: Option<Value>,
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    tool_calls: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Chunk<'_> {
    /// The error that it is, under whichever shape.
    fn error(&self, name: &str) -> Option<String> {
        let nested = self.error.as_ref().filter(|error| !error.is_null()).map(|error| {
            error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned)
        });
        let flat = || {
            (name == "error" || self.object.as_deref() == Some("error"))
                .then(|| self.message.as_deref().unwrap_or("an error without a message").to_owned())
        };
        nested.or_else(flat)
    }
}

impl Choice<'_> {
    fn has_answer(&self) -> bool {
        let filled = |text: &Option<Cow<'_, str>>| text.as_deref().is_some_and(|text| !text.is_empty());
        filled(&self.text)
            || self.delta.as_ref().is_some_and(|delta| {
                filled(&delta.content) || delta.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty())
            })
    }

    fn has_reasoning(&self) -> bool {
        self.delta.as_ref().is_some_and(|delta| {
            [&delta.reasoning, &delta.reasoning_content]
                .into_iter()
                .any(|text| text.as_deref().is_some_and(|text| !text.is_empty()))
        })
    }
}

/// The first words of something unexpected, quoted.
fn excerpt(text: &str) -> String {
    let kept: String = text.chars().take(200).collect();
    if kept.len() < text.len() { format!("{kept:?}…") } else { format!("{kept:?}") }
}

/// What a refusal says: the error's message where there is one, else how the body begins.
fn refusal_message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|value| {
            let message = value.pointer("/error/message").or_else(|| value.get("message"))?;
            message.as_str().map(str::to_owned)
        })
        .unwrap_or_else(|| excerpt(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Phase;

    const MS: u64 = 1_000_000;

    fn stamp(ms: u64) -> Stamp {
        Stamp(ms * MS)
    }

    /// A request due at 90 ms and started at 100 ms, which is answered by `parts`, each at its own millisecond.
    struct Told(Timeline);

    impl Told {
        fn new() -> Self {
            Self(Timeline::new(Slot {
                index: 0,
                warmup: false,
                epoch: 0,
                worker: 0,
                in_flight: 1,
                scheduled: stamp(90),
                admitted: stamp(95),
                started: stamp(100),
            }))
        }

        fn headers(mut self, ms: u64, status: u16, content_type: &str) -> Self {
            let headers = vec![("content-type".to_owned(), content_type.to_owned())];
            self.0.on(&Event::Headers { at: stamp(ms), status, headers });
            self
        }

        fn stream(self) -> Self {
            self.headers(110, 200, "text/event-stream; charset=utf-8")
        }

        fn raw(mut self, ms: u64, bytes: &[u8]) -> Self {
            self.0.on(&Event::Bytes(stamp(ms), bytes));
            self
        }

        fn event(self, ms: u64, data: &str) -> Self {
            self.raw(ms, format!("data: {data}\n\n").as_bytes())
        }

        /// A chat delta, with the server's running count where `count` is given.
        fn delta(self, ms: u64, delta: &str, count: Option<u64>) -> Self {
            let usage = count.map_or_else(String::new, |n| {
                format!(r#","usage":{{"prompt_tokens":7,"completion_tokens":{n}}}"#)
            });
            self.event(ms, &format!(r#"{{"choices":[{{"delta":{delta},"finish_reason":null}}]{usage}}}"#))
        }

        fn finish(self, ms: u64) -> Self {
            self.event(ms, r#"{"choices":[{"delta":{"content":""},"finish_reason":"length"}]}"#)
        }

        fn done(self, ms: u64) -> Self {
            self.event(ms, "[DONE]")
        }

        fn end(mut self, ms: u64, end: End) -> Record {
            self.0.on(&Event::End(stamp(ms), end));
            self.0.finish()
        }

        fn complete(self, ms: u64) -> Record {
            self.end(ms, End::Complete)
        }
    }

    /// Role at 150, then tokens at 200 (1), 210 (1), 240 (3); finish at 300, usage at 310, done at 320.
    fn whole() -> Record {
        Told::new()
            .stream()
            .delta(150, r#"{"role":"assistant","content":""}"#, Some(0))
            .delta(200, r#"{"content":"a"}"#, Some(1))
            .delta(210, r#"{"content":"b"}"#, Some(2))
            .delta(240, r#"{"content":"cde"}"#, Some(5))
            .finish(300)
            .event(310, r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":6}}"#)
            .done(320)
            .complete(330)
    }

    #[test]
    fn ttft_waits_for_a_token_and_not_for_the_role() {
        let record = whole();
        assert_eq!(record.first_event, Some(stamp(150)));
        assert_eq!(record.ttft(), Some(100 * MS));
    }

    #[test]
    fn finish_usage_done_and_close_do_not_move_the_last_token() {
        let record = whole();
        assert_eq!(record.e2e(), Some(140 * MS));
        assert_eq!(
            (record.finish, record.done, record.ended),
            (Some(stamp(300)), Some(stamp(320)), stamp(330))
        );
    }

    #[test]
    fn an_event_of_several_tokens_counts_as_so_many() {
        let record = whole();
        assert_eq!(record.events.iter().map(|event| event.tokens).collect::<Vec<_>>(), [1, 1, 3]);
        assert_eq!(record.tpot(), Some((40 * MS) as f64 / 4.0));
        let gaps: Vec<f64> = record.itl().collect();
        assert_eq!(gaps, [10e6, 10e6, 10e6, 10e6]);
        assert_eq!((record.output_tokens, record.token_source), (6, TokenSource::UsagePerEvent));
    }

    #[test]
    fn the_second_token_has_no_time_of_its_own_when_it_came_with_the_first() {
        assert_eq!(whole().ttst(), Some(10 * MS));
        let bundled = Told::new()
            .stream()
            .delta(200, r#"{"content":"ab"}"#, Some(2))
            .delta(230, r#"{"content":"c"}"#, Some(3))
            .finish(240)
            .done(240)
            .complete(240);
        assert_eq!(bundled.ttst(), None);
        assert_eq!(bundled.tpot(), Some(30e6));
    }

    #[test]
    fn a_single_token_has_no_time_per_output_token() {
        let one =
            Told::new().stream().delta(200, r#"{"content":"a"}"#, None).finish(210).done(210).complete(210);
        assert_eq!(one.outcome, Outcome::Ok);
        assert_eq!((one.tpot(), one.ttst(), one.itl().count()), (None, None, 0));
        assert_eq!((one.output_tokens, one.token_source), (1, TokenSource::Events));
    }

    #[test]
    fn reasoning_is_a_token_too_under_both_of_its_names() {
        for key in ["reasoning", "reasoning_content"] {
            let record = Told::new()
                .stream()
                .delta(200, &format!(r#"{{"{key}":"hm"}}"#), None)
                .delta(250, r#"{"content":"yes"}"#, None)
                .finish(260)
                .done(260)
                .complete(260);
            assert_eq!(record.ttft(), Some(100 * MS), "{key}");
            assert_eq!(record.first_answer, Some(stamp(250)), "{key}");
        }
    }

    #[test]
    fn a_tool_call_is_a_token_and_a_total_is_taken_from_the_closing_usage() {
        let record = Told::new()
            .stream()
            .delta(200, r#"{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}"#, None)
            .delta(220, r#"{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}"#, None)
            .finish(230)
            .event(230, r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}"#)
            .done(230)
            .complete(230);
        assert_eq!(record.outcome, Outcome::Ok);
        assert_eq!((record.output_tokens, record.token_source), (5, TokenSource::UsageTotal));
        assert_eq!(record.tpot(), Some(20e6 / 4.0));
    }

    #[test]
    fn what_is_split_over_reads_bears_the_time_of_the_read_that_completed_it() {
        let text = "data: {\"choices\":[{\"text\":\"世\"}]}\n\n".as_bytes();
        let (head, tail) = text.split_at(text.len() - 9);
        let record = Told::new().stream().raw(200, head).raw(250, tail).complete(260);
        assert_eq!(record.ttft(), Some(150 * MS));
        assert_eq!(record.bytes, text.len() as u64);
    }

    #[test]
    fn every_way_to_fail_is_an_outcome_of_its_own() {
        let token = || Told::new().stream().delta(200, r#"{"content":"a"}"#, None);
        let transport = Fault::Transport { phase: Phase::Body, message: "reset".to_owned() };
        let timeout = Fault::Timeout { phase: Phase::Body, limit_ms: 5 };
        let refused = Told::new().headers(110, 503, "application/json");
        let cases = [
            ("truncated", token().complete(300)),
            ("truncated", token().finish(210).complete(300)),
            ("truncated", token().done(210).complete(300)),
            ("empty", Told::new().stream().finish(200).done(200).complete(300)),
            ("stream_error", token().event(210, r#"{"error":{"message":"boom"}}"#).done(220).complete(300)),
            ("stream_error", token().raw(210, b"event: error\ndata: boom\n\n").complete(300)),
            ("stream_error", token().event(210, r#"{"object":"error","message":"boom"}"#).complete(300)),
            ("malformed", token().event(210, r#"{"choices":"#).finish(220).done(220).complete(300)),
            ("malformed", token().raw(210, b"data: \xff\n\n").complete(300)),
            ("malformed", Told::new().headers(110, 200, "application/json").raw(120, b"{}").complete(130)),
            ("status", refused.raw(120, br#"{"error":{"message":"busy"}}"#).complete(130)),
            ("transport", token().end(300, End::Broken(transport))),
            ("timeout", token().end(300, End::Broken(timeout))),
            ("cancelled", token().end(300, End::Broken(Fault::Cancelled))),
        ];
        for (expected, record) in cases {
            assert_eq!(record.outcome.name(), expected, "{:?}", record.outcome);
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_own_words() {
        let record = Told::new()
            .headers(110, 400, "application/json")
            .raw(120, br#"{"error":{"message":"max_tokens must be at least 1"}}"#)
            .complete(130);
        assert_eq!(record.outcome.describe(), "status 400: max_tokens must be at least 1");
    }

    #[test]
    fn a_record_survives_its_line_in_the_sidecar() {
        let record = whole();
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }
}
