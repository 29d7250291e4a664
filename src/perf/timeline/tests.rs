//! What a record keeps of a stream, event by event and byte by byte.
//!
//! 时间线测试。

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
            conversation: None,
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
    assert_eq!((record.finish, record.done, record.ended), (Some(stamp(300)), Some(stamp(320)), stamp(330)));
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
    let one = Told::new().stream().delta(200, r#"{"content":"a"}"#, None).finish(210).done(210).complete(210);
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

/// Reasoning of 3 tokens in two events, then an answer of 2 in one; `count` says what usage tells of an event.
fn reasoned(count: impl Fn(u64) -> Option<u64>, closing: &str) -> Record {
    Told::new()
        .stream()
        .delta(200, r#"{"reasoning":"h"}"#, count(1))
        .delta(210, r#"{"reasoning":"m"}"#, count(3))
        .delta(250, r#"{"content":"yes"}"#, count(5))
        .finish(260)
        .event(260, closing)
        .done(260)
        .complete(260)
}

#[test]
fn reasoning_and_answer_are_counted_apart_where_that_can_be_known() {
    let total = r#"{"choices":[],"usage":{"completion_tokens":5}}"#;
    let detailed = r#"{"choices":[],"usage":{"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":4}}}"#;
    let split = |record: Record| (record.reasoning_tokens, record.content_tokens);
    assert_eq!(split(reasoned(Some, total)), (Some(3), Some(2)));
    assert_eq!(split(reasoned(|_| None, detailed)), (Some(4), Some(1)));
    assert_eq!(split(reasoned(|_| None, total)), (None, None), "a total alone cannot be divided");
    assert_eq!(split(reasoned(|_| None, r#"{"choices":[]}"#)), (Some(2), Some(1)), "events are counted");
    assert_eq!(split(whole()), (Some(0), Some(6)));
}

#[test]
fn a_token_whose_text_is_held_back_is_a_token() {
    let record = Told::new()
        .stream()
        .event(200, r#"{"choices":[{"delta":{"content":""},"token_ids":[228]}]}"#)
        .event(210, r#"{"choices":[{"delta":{"content":"é"},"token_ids":[102]}]}"#)
        .finish(220)
        .done(220)
        .complete(220);
    assert_eq!((record.ttft(), record.output_tokens), (Some(100 * MS), 2));
}

/// An event that shows nothing, with the server's running count; it may finish.
fn silent(count: u64, finish: &str) -> String {
    format!(
        r#"{{"choices":[{{"delta":{{"content":""}},"finish_reason":{finish}}}],"usage":{{"prompt_tokens":7,"completion_tokens":{count}}}}}"#
    )
}

#[test]
fn a_token_without_text_is_a_token_where_the_running_count_grows() {
    let record = Told::new()
        .stream()
        .event(150, &silent(0, "null"))
        .event(200, &silent(1, r#""length""#))
        .event(200, r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#)
        .done(200)
        .complete(210);
    assert_eq!((&record.outcome, record.ttft(), record.output_tokens), (&Outcome::Ok, Some(100 * MS), 1));
    assert_eq!((record.token_source, record.tpot()), (TokenSource::UsagePerEvent, None));
    assert!(record.shows_nothing());
    assert_eq!((record.ttfa(), record.reasoning_tokens), (None, None), "nobody can say of what it is");
}

#[test]
fn tokens_that_are_held_back_have_the_time_at_which_they_were_counted() {
    let record = Told::new()
        .stream()
        .event(150, &silent(0, "null"))
        .event(200, &silent(1, "null"))
        .event(210, &silent(1, "null"))
        .delta(220, r#"{"content":"é"}"#, Some(2))
        .event(230, &silent(4, "null"))
        .event(240, &silent(5, r#""stop""#))
        .done(250)
        .complete(260);
    let events: Vec<_> = record.events.iter().map(|event| (event.at, event.tokens, event.channel)).collect();
    assert_eq!(
        events,
        [
            (stamp(200), 1, Channel::Unshown),
            (stamp(220), 1, Channel::Answer),
            (stamp(230), 2, Channel::Answer),
            (stamp(240), 1, Channel::Answer),
        ]
    );
    assert_eq!(
        (record.ttft(), record.ttfa(), record.e2e()),
        (Some(100 * MS), Some(120 * MS), Some(140 * MS))
    );
    assert_eq!((record.output_tokens, record.tpot()), (5, Some(10e6)));
    assert!(!record.shows_nothing());
}

#[test]
fn silence_within_the_reasoning_is_reasoning() {
    let record = Told::new()
        .stream()
        .delta(200, r#"{"reasoning":"h"}"#, Some(1))
        .event(210, &silent(3, "null"))
        .delta(220, r#"{"content":"y"}"#, Some(4))
        .finish(230)
        .done(230)
        .complete(230);
    assert_eq!((record.reasoning_tokens, record.content_tokens), (Some(3), Some(1)));
}

#[test]
fn a_total_without_a_token_event_belongs_to_the_event_that_finished() {
    let told = |closing: &str| Told::new().stream().finish(200).event(210, closing).done(220).complete(230);
    let record = told(r#"{"choices":[],"usage":{"completion_tokens":3}}"#);
    assert_eq!(
        (&record.outcome, record.ttft(), record.e2e()),
        (&Outcome::Ok, Some(100 * MS), Some(100 * MS))
    );
    assert_eq!((record.output_tokens, record.token_source), (3, TokenSource::UsageTotal));
    assert_eq!((record.tpot(), record.itl().count()), (None, 0));
    assert!(record.shows_nothing());
    for none in [r#"{"choices":[],"usage":{"completion_tokens":0}}"#, r#"{"choices":[],"usage":null}"#] {
        assert_eq!(told(none).outcome, Outcome::Empty, "{none}");
    }
}

#[test]
fn usage_that_comes_with_the_finish_alone_is_a_total() {
    for last in [r#"{"content":"c"}"#, r#"{"content":""}"#] {
        let finish = format!(
            r#"{{"choices":[{{"delta":{last},"finish_reason":"stop"}}],"usage":{{"completion_tokens":9}}}}"#
        );
        let record = Told::new()
            .stream()
            .delta(200, r#"{"content":"a"}"#, None)
            .delta(210, r#"{"content":"b"}"#, None)
            .event(220, &finish)
            .done(230)
            .complete(240);
        assert!(record.events.iter().all(|event| event.tokens == 1), "{last}");
        assert_eq!((record.output_tokens, record.token_source), (9, TokenSource::UsageTotal), "{last}");
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
        ("empty", Told::new().stream().event(150, &silent(0, r#""stop""#)).done(200).complete(300)),
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
fn a_count_that_nobody_can_believe_is_an_outcome_and_fills_no_memory() {
    let record = Told::new()
        .stream()
        .delta(200, r#"{"content":"a"}"#, Some(u64::MAX / 2))
        .finish(210)
        .done(210)
        .complete(220);
    assert_eq!(record.outcome.name(), "malformed");
    assert!(record.events.is_empty());
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
    assert!(line.contains(r#"[200000000,1,"a"]"#), "{line}");
    assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
}

#[test]
fn when_the_request_was_written_is_null_where_the_transport_does_not_say() {
    assert_eq!(whole().sent, None);
    let mut told = Told::new();
    told.0.on(&Event::Sent(stamp(105)));
    assert_eq!(told.stream().complete(110).sent, Some(stamp(105)));
}

/// The stream of [`whole`] in bytes, with what networks and proxies put between.
fn bytes_of_a_stream() -> Vec<u8> {
    let delta = |text: &str, n: u64| {
        format!(
            "data: {{\"id\":\"x\",\"choices\":[{{\"delta\":{{\"content\":{text:?}}},\"finish_reason\":null}}],\
             \"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{n}}}}}"
        )
    };
    let parts = [
        delta("", 0),
        ": ping".to_owned(),
        delta("世界", 1),
        delta(" 🦀\n", 2).replace("data: ", "data:"),
        r#"data: {"choices":[{"delta":{"content":""},"finish_reason":"length"}]}"#.to_owned(),
        "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}".to_owned(),
        "data: [DONE]".to_owned(),
    ];
    parts.map(|part| part + "\n\n").concat().into_bytes()
}

/// What a record says when every read has the same stamp.
fn read_in(pieces: &[&[u8]]) -> Record {
    let told = pieces.iter().fold(Told::new().stream(), |told, piece| told.raw(200, piece));
    told.complete(300)
}

#[test]
fn wherever_a_stream_is_cut_in_two_the_record_is_the_same() {
    for line_end in ["\n", "\r\n", "\r"] {
        let text = String::from_utf8(bytes_of_a_stream()).unwrap().replace('\n', line_end);
        let whole = read_in(&[text.as_bytes()]);
        assert_eq!((whole.outcome.name(), whole.output_tokens), ("ok", 2), "{line_end:?}");
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(read_in(&[head, tail]), whole, "cut at byte {at} of {line_end:?}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn however_a_stream_is_cut_the_record_is_the_same(cuts in proptest::collection::vec(0usize..1000, 0..40)) {
        let bytes = bytes_of_a_stream();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        proptest::prop_assert_eq!(read_in(&pieces), read_in(&[&bytes]));
    }
}

#[test]
fn what_the_answer_said_is_kept_for_whoever_listens_and_reasoning_is_not() {
    let mut told = Told::new();
    told.0 = told.0.listening();
    let mut told = told
        .stream()
        .delta(150, r#"{"role":"assistant","content":""}"#, Some(0))
        .delta(160, r#"{"reasoning_content":"hm"}"#, Some(1))
        .delta(170, r#"{"reasoning_content":"so"}"#, Some(2))
        .delta(200, r#"{"content":"one"}"#, Some(3))
        .delta(210, r#"{"content":" two"}"#, Some(4))
        .delta(220, r#"{"content":"\n\"three\" \u4e09"}"#, Some(5))
        .delta(230, r#"{"content":" 四"}"#, Some(6))
        .event(240, r#"{"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}"#)
        .done(250);
    told.0.on(&Event::End(stamp(260), End::Complete));
    let (record, said) = told.0.finish_with_answer();
    assert!(record.is_ok());
    let text: String = serde_json::from_str(&format!("\"{said}\"")).unwrap();
    assert_eq!(text, "one two\n\"three\" 三 四!");
    let silent = Told::new().stream().delta(200, r#"{"content":"one"}"#, Some(1));
    assert_eq!(silent.0.finish_with_answer().1, "");
}
