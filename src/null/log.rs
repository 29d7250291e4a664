//! What the null server really sent, and when: a [`Log`] of one [`Answer`] a request, kept in memory and written as
//! fixed-width binary at the end. The simulator's log has a line of JSON with every token's time; at fifty thousand
//! tokens a second that would be most of this server's work. Must not know how it came about.
//!
//! 二进制真实发送日志。

use std::io::{self, Read, Write};

/// What became of one request. Times are nanoseconds of CLOCK_MONOTONIC, taken right before the write: what the
/// write itself takes is in the client's error, never in its favour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// The number at the end of its `x-request-id`, where it had one.
    pub id: Option<u64>,
    /// When its last byte had been read.
    pub received: u64,
    /// When its first token was written; none where the client went away before.
    pub first: Option<u64>,
    /// When its last token so far was written.
    pub last: Option<u64>,
    /// How many were.
    pub tokens: u32,
    /// Whether it was sent to its end.
    pub whole: bool,
}

/// How late the server itself was: writes of tokens against its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lateness {
    /// Writes.
    pub writes: u64,
    /// Of all, in nanoseconds.
    pub sum_ns: u64,
    /// The worst.
    pub max_ns: u64,
    /// Writes more than a millisecond late.
    pub over_1ms: u64,
    /// Writes that the socket did not take whole, because the client read too slowly.
    pub blocked: u64,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// Processor time of the server's process, user and system, from the first request to the end of the last answer.
    pub cpu_ns: u64,
    /// Bytes of the answers, headers included.
    pub bytes: u64,
    /// See there.
    pub late: Lateness,
    /// In the order of their end.
    pub answers: Vec<Answer>,
}

const MAGIC: &[u8; 8] = b"nulllog1";
const NONE: u64 = u64::MAX;

impl Log {
    /// Events with a token that were sent.
    pub fn events(&self) -> u64 {
        self.answers.iter().map(|answer| u64::from(answer.tokens)).sum()
    }

    /// As bytes.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        let Lateness { writes, sum_ns, max_ns, over_1ms, blocked } = self.late;
        put(out, [self.cpu_ns, self.bytes, writes, sum_ns, max_ns, over_1ms, blocked])?;
        for answer in &self.answers {
            let none = |value: Option<u64>| value.unwrap_or(NONE);
            let tokens = u64::from(answer.tokens) | u64::from(answer.whole) << 32;
            put(out, [none(answer.id), answer.received, none(answer.first), none(answer.last), tokens])?;
        }
        out.flush()
    }

    /// From bytes.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "this is no log of a null server");
        let numbers = bytes.strip_prefix(MAGIC).filter(|rest| rest.len() % 8 == 0).ok_or_else(broken)?;
        let numbers: Vec<u64> =
            numbers.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect();
        let (head, answers) = numbers.split_first_chunk::<7>().ok_or_else(broken)?;
        if answers.len() % 5 != 0 {
            return Err(broken());
        }
        let [cpu_ns, bytes, writes, sum_ns, max_ns, over_1ms, blocked] = *head;
        let some = |value: u64| (value != NONE).then_some(value);
        let answer = |words: &[u64]| Answer {
            id: some(words[0]),
            received: words[1],
            first: some(words[2]),
            last: some(words[3]),
            tokens: words[4] as u32,
            whole: words[4] >> 32 == 1,
        };
        let late = Lateness { writes, sum_ns, max_ns, over_1ms, blocked };
        Ok(Self { cpu_ns, bytes, late, answers: answers.chunks_exact(5).map(answer).collect() })
    }
}

fn put<const N: usize>(out: &mut impl Write, words: [u64; N]) -> io::Result<()> {
    words.into_iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_nothing_else_is() {
        let whole =
            Answer { id: Some(3), received: 5, first: Some(7), last: Some(9), tokens: 4, whole: true };
        let log = Log {
            cpu_ns: 1,
            bytes: 2,
            late: Lateness { writes: 1, sum_ns: 2, max_ns: 3, over_1ms: 4, blocked: 5 },
            answers: vec![whole, Answer { received: 1, ..Answer::default() }],
        };
        let mut bytes = Vec::new();
        log.write(&mut bytes).unwrap();
        assert_eq!(Log::read(&mut bytes.as_slice()).unwrap(), log);
        assert_eq!(log.events(), 4);
        for cut in [0, 7, 20, bytes.len() - 1, bytes.len() - 8] {
            assert!(Log::read(&mut &bytes[..cut]).is_err(), "{cut}");
        }
    }
}
