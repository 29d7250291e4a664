//! Server-sent events at the cost of finding their ends: [`Frames`] hands each event on as borrowed text, straight out
//! of the read where the read holds it whole, and allocates nothing per event. What it hands on is what
//! [`SseReader`](super::SseReader) reads, which also keeps ids, comments and leftovers. Must not know what events say.
//!
//! 零分配的 SSE 分帧，用于压测热路径。

use memchr::memchr2;

use super::SseFault;

/// The longest line: 8 MiB.
const LONGEST_LINE: usize = 8 << 20;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Cuts a stream into events read by read; what it hands on does not depend on where the reads are cut.
#[derive(Debug)]
pub struct Frames {
    /// A line that has not ended yet.
    line: Vec<u8>,
    /// Where the line that is being read begins, in bytes from the start of the stream.
    line_at: u64,
    after_cr: bool,
    event: Event,
    fault: Option<SseFault>,
    limit: usize,
}

/// What the lines since the last blank one say.
#[derive(Debug, Default)]
struct Event {
    name: String,
    data: String,
    has_data: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            line: Vec::new(),
            line_at: 0,
            after_cr: false,
            event: Event::default(),
            fault: None,
            limit: LONGEST_LINE,
        }
    }
}

impl Frames {
    /// Takes the next read and calls `on` with the name (`message` where there is none) and the data of each event
    /// that it completes. After a [`fault`](Self::fault) nothing more is read.
    pub fn push(&mut self, bytes: &[u8], on: &mut impl FnMut(&str, &str)) {
        let mut rest = bytes;
        while !rest.is_empty() && self.fault.is_none() {
            rest = self.step(rest, on);
        }
    }

    /// What went wrong so far.
    pub fn fault(&self) -> Option<&SseFault> {
        self.fault.as_ref()
    }

    /// Takes in `bytes` up to the end of a line, or all of them, and returns the rest.
    fn step<'b>(&mut self, bytes: &'b [u8], on: &mut impl FnMut(&str, &str)) -> &'b [u8] {
        if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
            self.line_at += 1;
            return &bytes[1..];
        }
        let end = memchr2(b'\n', b'\r', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        if self.line.len() + piece.len() > self.limit {
            self.fault = Some(SseFault::LongLine { at: self.line_at, limit: self.limit });
            return &[];
        }
        let Some(end) = end else {
            self.line.extend_from_slice(piece);
            return &[];
        };
        self.after_cr = bytes[end] == b'\r';
        let mut rest = &bytes[end + 1..];
        if self.line.is_empty() {
            // Whole in this read. Where the blank line follows at once, its data need not be kept for it.
            let closed = bytes[end] == b'\n' && rest.first() == Some(&b'\n');
            if self.close_line(piece, closed, on) {
                self.line_at += 1;
                rest = &rest[1..];
            }
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(piece);
            self.close_line(&line, false, on);
            line.clear();
            self.line = line;
        }
        rest
    }

    /// A line has ended. `closed` says that a blank one follows: whether that was made use of is what is returned.
    fn close_line(&mut self, line: &[u8], closed: bool, on: &mut impl FnMut(&str, &str)) -> bool {
        let at = self.line_at;
        self.line_at += line.len() as u64 + 1;
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(error) => {
                self.fault = Some(SseFault::Utf8 { at: at + error.valid_up_to() as u64 });
                return false;
            }
        };
        let text = if at == 0 && line.starts_with(BOM) { &text[BOM.len()..] } else { text };
        if text.is_empty() {
            self.event.close(on);
            return false;
        }
        // A comment is a field without a name.
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" if closed && !self.event.has_data => {
                on(self.event.name(), value);
                self.event.name.clear();
                return true;
            }
            "data" => self.event.add(value),
            "event" => value.clone_into(&mut self.event.name),
            _ => {}
        }
        false
    }
}

impl Event {
    fn name(&self) -> &str {
        if self.name.is_empty() { "message" } else { &self.name }
    }

    fn add(&mut self, value: &str) {
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push('\n');
        }
        self.data.push_str(value);
    }

    /// A blank line: without data there is no event.
    fn close(&mut self, on: &mut impl FnMut(&str, &str)) {
        if std::mem::take(&mut self.has_data) {
            on(self.name(), &self.data);
        }
        self.data.clear();
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::{SseReader, Stamp};

    type Read = (Vec<(String, String)>, Option<SseFault>);

    fn frames<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Read {
        let mut frames = Frames::default();
        let mut events = Vec::new();
        for read in reads {
            frames.push(read, &mut |name, data| events.push((name.to_owned(), data.to_owned())));
        }
        (events, frames.fault().cloned())
    }

    /// What the reader that keeps everything says of the same bytes.
    fn reader(text: &[u8]) -> Read {
        let mut reader = SseReader::new();
        let events = reader.push(Stamp(0), text).into_iter().map(|e| (e.event, e.data)).collect();
        (events, reader.fault().cloned())
    }

    #[test]
    fn an_event_that_a_read_holds_whole_is_handed_on_as_it_lies_there() {
        let read = b"data: {\"a\":1}\n\nevent: error\ndata:x\n\ndata: half".to_vec();
        let range = read.as_ptr_range();
        let mut inside = Vec::new();
        Frames::default()
            .push(&read, &mut |name, data| inside.push((name.to_owned(), range.contains(&data.as_ptr()))));
        assert_eq!(inside, [("message".to_owned(), true), ("error".to_owned(), true)]);
    }

    #[test]
    fn a_line_past_the_limit_is_a_fault_and_ends_the_reading() {
        let mut frames = Frames { limit: 10, ..Frames::default() };
        let mut heard = 0;
        for read in [b"data: 1\n\ndata: 56".as_slice(), b"7890", b"\n\ndata: 2\n\n"] {
            frames.push(read, &mut |_, _| heard += 1);
        }
        assert_eq!((heard, frames.fault()), (1, Some(&SseFault::LongLine { at: 9, limit: 10 })));
    }

    #[test]
    fn wherever_a_stream_is_cut_in_two_the_events_are_the_same() {
        let text = "\u{feff}data: 世\r\n\r\n: ping\n\nid: 1\nevent: x\ndata:a\ndata\n\nfoo: 1\rdata: b\r\rdata: c\n\n";
        let whole = reader(text.as_bytes());
        assert_eq!(whole.0.len(), 4);
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(frames([head, tail]), whole, "cut at byte {at}");
        }
    }

    fn stream_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => Just(b"data: ".to_vec()), 2 => Just(b"data".to_vec()), 2 => Just(b"event: ".to_vec()),
            1 => Just(b"event".to_vec()), 1 => Just(b"id:".to_vec()), 1 => Just(b":".to_vec()),
            1 => Just(BOM.to_vec()), 6 => Just(b"\n".to_vec()), 2 => Just(b"\n\n".to_vec()),
            2 => Just(b"\r\n".to_vec()), 2 => Just(b"\r".to_vec()),
            3 => "[a-z :好🎉]{0,6}".prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 0..3),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn it_reads_what_the_other_reader_reads_however_it_is_cut(
            bytes in stream_bytes(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let reads = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(frames(reads), reader(&bytes));
        }
    }
}
