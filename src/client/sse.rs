//! Server-sent events with the time of their arrival: [`SseReader`] takes chunks as they come and hands out each
//! event with the stamp of the chunk that completed it. It frames the lines itself, once over every byte, and
//! leaves their meaning to `eventsource-stream`, which keeps no stamps, has no limit, drops what is not terminated
//! and reads an unfinished line anew with every chunk. Must not know what events say.
//!
//! 带到达时间的 SSE 解析。

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use eventsource_stream::EventStream;
use futures_util::Stream;

use super::Stamp;

/// One event, closed by a blank line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// When the chunk arrived that completed it.
    pub at: Stamp,
    /// Its type; `message` where the server named none.
    pub event: String,
    /// Its data, several `data:` lines joined by a line feed.
    pub data: String,
    /// The last id that the server gave; empty where it gave none.
    pub id: String,
}

/// A comment: servers send them to keep a connection alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// When the chunk arrived that completed its line.
    pub at: Stamp,
    /// What follows the colon.
    pub text: String,
}

/// Why the rest of a stream could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SseFault {
    /// A line that does not end.
    #[error("the line that begins at byte {at} of the stream is longer than {limit} bytes")]
    LongLine {
        /// Where it begins, in bytes from the start of the stream.
        at: u64,
        /// What is allowed.
        limit: usize,
    },
    /// Not text.
    #[error("byte {at} of the stream is not valid UTF-8")]
    Utf8 {
        /// Where, in bytes from the start of the stream.
        at: u64,
    },
    /// The parser refused a line.
    #[error("the line that begins at byte {at} of the stream is no event-stream line: {message}")]
    Line {
        /// Where it begins, in bytes from the start of the stream.
        at: u64,
        /// What the parser said.
        message: String,
    },
}

/// How a stream of events ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEnd {
    /// A last event that no blank line closes. A browser would drop it; it is a sign of a cut stream.
    pub unterminated: Option<SseEvent>,
    /// How many bytes follow the last event that was closed, comments and blank lines aside.
    pub trailing_bytes: u64,
    /// All comments, in order.
    pub comments: Vec<Comment>,
    /// How many lines are no field that an event can have; a browser passes over them.
    pub foreign_lines: u64,
    /// Why the rest was not read.
    pub fault: Option<SseFault>,
}

/// Reads a stream of events chunk by chunk; what it hands out does not depend on where the chunks are cut.
pub struct SseReader {
    parser: Parser,
    line: Vec<u8>,
    line_at: u64,
    seen: u64,
    after_cr: bool,
    end: SseEnd,
    last: Stamp,
    limit: usize,
}

/// The longest line: 8 MiB.
const LONGEST_LINE: usize = 8 << 20;
const BOM: &[u8] = b"\xEF\xBB\xBF";

impl Default for SseReader {
    fn default() -> Self {
        Self::new()
    }
}

impl SseReader {
    /// A reader at the start of a stream. A line may be 8 MiB long.
    pub fn new() -> Self {
        Self::with_limit(LONGEST_LINE)
    }

    /// A reader that takes lines of at most `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            parser: Parser::new(),
            line: Vec::new(),
            line_at: 0,
            seen: 0,
            after_cr: false,
            end: SseEnd::default(),
            last: Stamp(0),
            limit,
        }
    }

    /// Takes the next chunk, which arrived at `at`, and returns the events that it completes. After a fault, which
    /// [`finish`](Self::finish) tells, nothing more is read.
    pub fn push(&mut self, at: Stamp, bytes: &[u8]) -> Vec<SseEvent> {
        self.last = at;
        let mut events = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() && self.end.fault.is_none() {
            rest = self.step(at, rest, &mut events);
        }
        events
    }

    /// What went wrong so far.
    pub fn fault(&self) -> Option<&SseFault> {
        self.end.fault.as_ref()
    }

    /// The stream is over: what is left of it.
    pub fn finish(mut self) -> SseEnd {
        if self.end.fault.is_none() && !self.line.is_empty() {
            self.end.trailing_bytes += self.line.len() as u64;
            // An unfinished line may still hold half a character: that is no fault of its own.
            let whole = std::str::from_utf8(&self.line).map_or_else(|e| e.valid_up_to(), str::len);
            self.line.truncate(whole);
            let line = std::mem::take(&mut self.line);
            if !is_comment(&line) {
                let _ = self.parser.line(line);
            }
        }
        if self.end.fault.is_none() {
            let at = self.last;
            self.end.unterminated =
                self.parser.line(Vec::new()).ok().flatten().map(|event| stamped(at, event));
        }
        self.end
    }

    /// Takes in `bytes` up to the end of a line, or all of them, and returns the rest.
    fn step<'b>(&mut self, at: Stamp, bytes: &'b [u8], events: &mut Vec<SseEvent>) -> &'b [u8] {
        if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
            self.seen += 1;
            self.line_at = self.seen;
            return &bytes[1..];
        }
        let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        if self.line.len() + piece.len() > self.limit {
            self.end.fault = Some(SseFault::LongLine { at: self.line_at, limit: self.limit });
            return &[];
        }
        self.line.extend_from_slice(piece);
        self.seen += piece.len() as u64;
        let Some(end) = end else { return &[] };
        self.seen += 1;
        self.after_cr = bytes[end] == b'\r';
        events.extend(self.close_line(at));
        self.line_at = self.seen;
        &bytes[end + 1..]
    }

    /// A line has ended: what event, if any, does it complete?
    fn close_line(&mut self, at: Stamp) -> Option<SseEvent> {
        let mut line = std::mem::take(&mut self.line);
        if let Err(error) = std::str::from_utf8(&line) {
            self.end.fault = Some(SseFault::Utf8 { at: self.line_at + error.valid_up_to() as u64 });
            return None;
        }
        if self.line_at == 0 && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if is_comment(&line) {
            let text = String::from_utf8_lossy(&line[1..]).into_owned();
            self.end.comments.push(Comment { at, text });
            return None;
        }
        self.end.foreign_lines += u64::from(is_foreign(&line));
        self.end.trailing_bytes =
            if line.is_empty() { 0 } else { self.end.trailing_bytes + line.len() as u64 };
        match self.parser.line(line) {
            Ok(event) => event.map(|event| stamped(at, event)),
            Err(message) => {
                self.end.fault = Some(SseFault::Line { at: self.line_at, message });
                None
            }
        }
    }
}

fn is_comment(line: &[u8]) -> bool {
    line.first() == Some(&b':')
}

/// Whether a line that is no comment is neither blank nor one of the four fields of an event.
fn is_foreign(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    !line.is_empty() && ![&b"data"[..], b"event", b"id", b"retry"].contains(&name)
}

fn stamped(at: Stamp, event: eventsource_stream::Event) -> SseEvent {
    SseEvent { at, event: event.event, data: event.data, id: event.id }
}

/// `eventsource-stream`, fed one whole line at a time.
struct Parser {
    feed: Feed,
    events: EventStream<Feed>,
}

/// The lines that the parser has not yet taken; never ends, so that nothing is thrown away.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Parser {
    fn new() -> Self {
        let feed = Feed::default();
        // The parser looks for a byte order mark in the first thing it gets, and cannot step over one: it gets an
        // empty comment instead.
        feed.put(b":\n".to_vec());
        Self { events: EventStream::new(feed.clone()), feed }
    }

    /// Hands in one line without its end, and takes the event that it completes.
    fn line(&mut self, mut line: Vec<u8>) -> Result<Option<eventsource_stream::Event>, String> {
        line.push(b'\n');
        self.feed.put(line);
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.events).poll_next(&mut cx) {
            Poll::Ready(Some(Ok(event))) => Ok(Some(event)),
            Poll::Ready(Some(Err(error))) => Err(error.to_string()),
            Poll::Ready(None) | Poll::Pending => Ok(None),
        }
    }
}

impl Feed {
    fn put(&self, line: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(line);
    }
}

impl Stream for Feed {
    type Item = Result<Vec<u8>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let line = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        line.map_or(Poll::Pending, |line| Poll::Ready(Some(Ok(line))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use eventsource_stream::Eventsource;
    use futures_util::{FutureExt, StreamExt, stream};
    use proptest::prelude::*;

    use super::*;

    /// All events of `text`, cut into pieces of at most `size` bytes, the n-th of which arrives at n.
    fn read(text: &[u8], size: usize) -> (Vec<SseEvent>, SseEnd) {
        let mut reader = SseReader::new();
        let mut events = Vec::new();
        for (n, piece) in text.chunks(size).enumerate() {
            events.extend(reader.push(Stamp(n as u64), piece));
        }
        (events, reader.finish())
    }

    fn data(text: &str) -> Vec<String> {
        read(text.as_bytes(), usize::MAX).0.into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn an_event_has_the_stamp_of_the_chunk_that_completed_it() {
        let mut reader = SseReader::new();
        assert_eq!(reader.push(Stamp(1), b"data: a\n"), []);
        let events = reader.push(Stamp(2), b"\ndata: b\n\ndata: c\n");
        assert_eq!(
            events.iter().map(|e| (e.at.0, e.data.as_str())).collect::<Vec<_>>(),
            [(2, "a"), (2, "b")]
        );
        assert_eq!(reader.push(Stamp(3), b"\n")[0].at, Stamp(3));
    }

    #[test]
    fn lines_end_in_lf_cr_or_both() {
        for text in ["data: a\n\ndata: b\n\n", "data: a\r\rdata: b\r\r", "data: a\r\n\r\ndata: b\r\n\r\n"] {
            assert_eq!(data(text), ["a", "b"], "{text:?}");
        }
        for text in ["data: a\ndata: b\n\n", "data: a\rdata: b\r\r", "data: a\r\ndata: b\r\n\r\n"] {
            assert_eq!(data(text), ["a\nb"], "{text:?}");
        }
    }

    #[test]
    fn a_carriage_return_completes_an_event_without_waiting_for_what_follows() {
        let mut reader = SseReader::new();
        assert_eq!(reader.push(Stamp(1), b"data: a\r\n\r").len(), 1);
        assert_eq!(reader.push(Stamp(2), b"\n"), []);
    }

    #[test]
    fn fields_mean_what_the_standard_says() {
        assert_eq!(data("data: a\ndata:b\ndata:  c\ndata\n\n"), ["a\nb\n c\n"]);
        assert_eq!(data("\u{feff}data: after a mark\n\n"), ["after a mark"]);
        assert_eq!(data("\u{feff}\u{feff}data: not a field\n\n"), [""; 0]);
        assert_eq!(data("event: ping\n\nother: x\n\n"), [""; 0], "without data there is no event");
        let (events, _) = read(b"id: 7\nevent: named\ndata: 1\n\ndata: 2\n\n", 3);
        let seen: Vec<_> =
            events.iter().map(|e| (e.event.as_str(), e.data.as_str(), e.id.as_str())).collect();
        assert_eq!(seen, [("named", "1", "7"), ("message", "2", "7")]);
    }

    #[test]
    fn comments_are_kept_with_their_time() {
        let (events, end) = read(b": ping\n:\ndata: 1\n\n", 8);
        assert_eq!(events.len(), 1);
        let texts: Vec<_> = end.comments.iter().map(|c| (c.at.0, c.text.as_str())).collect();
        assert_eq!(texts, [(0, " ping"), (1, "")]);
    }

    #[test]
    fn what_no_blank_line_closes_is_told() {
        for (text, bytes) in [("data: 1\n\ndata: half", 10), ("data: 1\n\ndata: half\n", 10)] {
            let (events, end) = read(text.as_bytes(), 5);
            assert_eq!(events.len(), 1);
            assert_eq!(end.unterminated.expect("the half event").data, "half");
            assert_eq!(end.trailing_bytes, bytes);
        }
        let (_, torn) = read("data: 1\n\ndata: 好".as_bytes().split_last().unwrap().1, 99);
        assert_eq!(torn.unterminated.expect("the half event").data, "");
        let (_, clean) = read(b"data: 1\n\n: bye\n", 5);
        assert_eq!((clean.unterminated, clean.trailing_bytes, clean.fault), (None, 0, None));
    }

    #[test]
    fn a_line_past_the_limit_is_a_fault_and_ends_the_reading() {
        let mut reader = SseReader::with_limit(10);
        assert_eq!(reader.push(Stamp(0), b"data: 1\n\ndata: 56").len(), 1);
        assert_eq!(reader.push(Stamp(1), b"7890").len(), 0);
        assert_eq!(reader.push(Stamp(2), b"\n\ndata: 2\n\n").len(), 0);
        assert_eq!(reader.finish().fault, Some(SseFault::LongLine { at: 9, limit: 10 }));
    }

    #[test]
    fn bytes_that_are_no_text_are_a_fault_with_their_place() {
        let (events, end) = read(b"data: ok\n\ndata: \xff\n\ndata: more\n\n", 4);
        assert_eq!(events.len(), 1);
        assert_eq!(end.fault, Some(SseFault::Utf8 { at: 16 }));
        assert_eq!(end.fault.unwrap().to_string(), "byte 16 of the stream is not valid UTF-8");
    }

    #[test]
    fn a_huge_line_in_many_chunks_is_read_once() {
        let mut text = b"data: ".to_vec();
        text.resize(LONGEST_LINE, b'x');
        text.extend_from_slice(b"\n\n");
        let begun = Instant::now();
        let (events, end) = read(&text, LONGEST_LINE / 1024);
        assert_eq!((events.len(), end.fault), (1, None));
        assert_eq!(events[0].data.len(), LONGEST_LINE - 6);
        // eventsource-stream alone, which reads the line anew with each chunk, takes about 1,000 times this work.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    /// What `eventsource-stream` alone makes of `text`, given whole.
    fn reference(text: &str) -> Vec<(String, String)> {
        let whole = stream::iter([Ok::<_, Infallible>(text.as_bytes().to_vec())]);
        let all = whole.eventsource().map(|event| event.expect("an event")).collect::<Vec<_>>();
        let events = all.now_or_never().expect("nothing to wait for");
        events.into_iter().map(|event| (event.event, event.data)).collect()
    }

    fn stream_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => Just("data: ".to_owned()), 2 => Just("data".to_owned()), 2 => Just("event: ".to_owned()),
            1 => Just("id:".to_owned()), 1 => Just(":".to_owned()), 6 => Just("\n".to_owned()),
            2 => Just("\r\n".to_owned()), 2 => Just("\r".to_owned()), 3 => "[a-z :好🎉]{0,6}",
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_where_the_chunks_are_cut(text in stream_text(), at in any::<prop::sample::Index>()) {
            let whole = read(text.as_bytes(), usize::MAX);
            let plain = |events: &[SseEvent]| events.iter().map(|e| (e.event.clone(), e.data.clone())).collect::<Vec<_>>();
            let bytewise = read(text.as_bytes(), 1);
            prop_assert_eq!(plain(&bytewise.0), plain(&whole.0));
            prop_assert_eq!(bytewise.1.trailing_bytes, whole.1.trailing_bytes);
            let (left, right) = text.as_bytes().split_at(at.index(text.len() + 1));
            let mut reader = SseReader::new();
            let mut events = reader.push(Stamp(0), left);
            events.extend(reader.push(Stamp(1), right));
            prop_assert_eq!(plain(&events), plain(&whole.0));
        }

        #[test]
        fn the_events_are_those_of_the_reference_parser(text in stream_text()) {
            // It waits for more after a last carriage return; we do not have to.
            let text = text + "\n";
            let ours: Vec<_> = read(text.as_bytes(), 7).0.into_iter().map(|e| (e.event, e.data)).collect();
            prop_assert_eq!(ours, reference(&text));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
            let (events, end) = read(&bytes, size);
            prop_assert!(events.len() <= bytes.len());
            prop_assert!(end.trailing_bytes <= bytes.len() as u64);
        }
    }
}
