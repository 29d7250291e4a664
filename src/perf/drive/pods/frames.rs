//! What a worker tells, as lines of its log: [`Writer`] makes frames, [`Reader`] takes them in. A log is read by whoever
//! likes, may be read again from its beginning, may lose its head when the node turns it over, and holds what others
//! print. So each frame has its number and a digest, and what all of them hold is one compressed stream whose end is
//! marked. Must not know what is said.
//!
//! 日志中的帧：编号、摘要、压缩流。

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{
    Compression,
    write::{ZlibDecoder, ZlibEncoder},
};
use serde::Serialize;

use crate::workload::sha256_hex;

/// Begins every frame.
const MARK: &str = "vllm-cibench-load";
/// Bytes in a frame at most, before they become text: container runtimes cut lines of 16 KiB.
const MOST: usize = 9000;
/// Other lines of a log that are kept, the latest.
const KEPT: usize = 20;

/// Makes frames.
pub(super) struct Writer<W> {
    out: W,
    number: u64,
    pack: ZlibEncoder<Vec<u8>>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, number: 0, pack: ZlibEncoder::new(Vec::new(), Compression::fast()) }
    }

    /// Takes one value; it is on its way after [`flush`](Self::flush).
    pub(super) fn say(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.pack, value)?;
        self.pack.write_all(b"\n")
    }

    /// Sends all that was said.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.pack.flush()?;
        self.send()
    }

    /// The last frames.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.pack.try_finish()?;
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(self.pack.get_mut());
        for piece in bytes.chunks(MOST) {
            let text = STANDARD.encode(piece);
            writeln!(self.out, "{MARK} {} {} {text}", self.number, digest(&text))?;
            self.number += 1;
        }
        self.out.flush()
    }
}

/// Of a frame's text; eight digits tell a line that was cut or changed.
fn digest(text: &str) -> String {
    sha256_hex(text.as_bytes()).chars().take(8).collect()
}

/// Takes the lines of one log in.
pub(super) struct Reader {
    next: u64,
    unpack: ZlibDecoder<Vec<u8>>,
    others: VecDeque<String>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { next: 0, unpack: ZlibDecoder::new(Vec::new()), others: VecDeque::new() }
    }
}

impl Reader {
    /// What a line adds: whole values, as JSON texts. A frame that was read before adds nothing, nor does a line of
    /// somebody else's, which is kept for [`others`](Self::others).
    ///
    /// # Errors
    /// In words: a frame is missing, or not as it was written.
    pub(super) fn take(&mut self, line: &str) -> Result<Vec<String>, String> {
        let Some(frame) = line.strip_prefix(MARK).and_then(|rest| rest.strip_prefix(' ')) else {
            self.keep(line);
            return Ok(Vec::new());
        };
        let mut words = frame.split(' ');
        let (number, told, text) = (words.next(), words.next(), words.next().unwrap_or_default());
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
            return Err("a frame of its log has no number".to_owned());
        };
        if number < self.next {
            return Ok(Vec::new());
        }
        if number > self.next {
            let missing = match number - self.next {
                1 => format!("frame {} of its log is", self.next),
                _ => format!("frames {} to {} of its log are", self.next, number - 1),
            };
            return Err(format!(
                "{missing} missing: the log was cut before it was read (a node turns logs over at containerLogMaxSize)"
            ));
        }
        if told != Some(digest(text).as_str()) {
            return Err(format!("frame {number} of its log is not as it was written"));
        }
        self.next += 1;
        let changed =
            |error: &dyn std::fmt::Display| format!("frame {number} of its log cannot be read: {error}");
        let bytes = STANDARD.decode(text).map_err(|error| changed(&error))?;
        self.unpack.write_all(&bytes).and_then(|()| self.unpack.flush()).map_err(|error| changed(&error))?;
        self.whole().map_err(|error| changed(&error))
    }

    /// The lines that have ended; the beginning of the next stays.
    fn whole(&mut self) -> Result<Vec<String>, std::string::FromUtf8Error> {
        let text = self.unpack.get_mut();
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let rest = text.split_off(end + 1);
        let lines = String::from_utf8(std::mem::replace(text, rest))?;
        Ok(lines.lines().map(str::to_owned).collect())
    }

    fn keep(&mut self, line: &str) {
        if self.others.len() == KEPT {
            self.others.pop_front();
        }
        self.others.push_back(line.to_owned());
    }

    /// The log is read again from its beginning.
    pub(super) fn again(&mut self) {
        self.others.clear();
    }

    /// The latest lines that are no frames, for a person; empty where there is none.
    pub(super) fn others(&self) -> String {
        self.others.iter().map(|line| format!("{line}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(values: &[String], flush_every: usize) -> Vec<String> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for (n, value) in values.iter().enumerate() {
            writer.say(value).unwrap();
            if n % flush_every == 0 {
                writer.flush().unwrap();
            }
        }
        writer.finish().unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn read(reader: &mut Reader, lines: &[String]) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for line in lines {
            let values = reader.take(line)?;
            all.extend(values.iter().map(|text| serde_json::from_str::<String>(text).unwrap()));
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn what_was_said_arrives_once_however_often_the_log_is_read(
            values in prop::collection::vec(".{0,40}", 1..40), flush_every in 1_usize..9, cut in 0_usize..50,
        ) {
            let mut lines = written(&values, flush_every);
            let again = lines[..cut.min(lines.len())].to_vec();
            let at = cut.min(lines.len());
            lines.splice(at..at, again);
            lines.insert(0, "thread 'main' panicked".to_owned());
            let mut reader = Reader::default();
            prop_assert_eq!(read(&mut reader, &lines).unwrap(), values);
            prop_assert_eq!(reader.others(), "thread 'main' panicked\n");
        }
    }

    #[test]
    fn no_line_is_longer_than_a_runtime_leaves_whole() {
        // What does not compress: every value another digest.
        let values: Vec<String> = (0..2000).map(|n: u32| sha256_hex(&n.to_le_bytes())).collect();
        let lines = written(&values, 5000);
        assert!(lines.len() > 5 && lines.iter().all(|line| line.len() < 16 * 1024));
        assert_eq!(read(&mut Reader::default(), &lines).unwrap(), values);
    }

    #[test]
    fn a_frame_that_is_missing_or_changed_is_named() {
        let lines = written(&["a".to_owned(), "b".to_owned(), "c".to_owned(), "d".to_owned()], 1);
        let error = read(&mut Reader::default(), &lines[1..]).unwrap_err();
        assert!(error.starts_with("frame 0 of its log is missing"), "{error}");
        let gap: Vec<String> = [&lines[..1], &lines[3..]].concat();
        let error = read(&mut Reader::default(), &gap).unwrap_err();
        assert!(error.starts_with("frames 1 to 2 of its log are missing: the log was cut"), "{error}");
        let mut short = lines.clone();
        short[2].pop();
        let error = read(&mut Reader::default(), &short).unwrap_err();
        assert_eq!(error, "frame 2 of its log is not as it was written");
    }
}
