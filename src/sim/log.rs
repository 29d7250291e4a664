//! What was really sent, and when: [`Sent`], one record a request. The times are taken at the socket: of a request
//! when the kernel had it, of an answer after the write.
//! Must not know what was asked for.
//!
//! 实际发送日志：在套接字写完之后记时。

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The log keeps the latest records only, this many.
pub(super) const KEPT: usize = 100_000;

/// One request as the simulator saw it. Times are nanoseconds on the monotonic clock since the simulator's start
/// ([`super::Sim::started`]); one that never came is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The number of the request, from 1, in the order of arrival.
    pub number: u64,
    /// The id in the answer; empty where the route has none.
    pub id: String,
    /// The method and the path.
    pub path: String,
    /// When the last byte of the request had arrived.
    pub received: u64,
    /// The status that was to be sent.
    pub status: u16,
    /// When the first byte of the answer, its status line, was written.
    pub first_byte: Option<u64>,
    /// When each token was written, in order; of an answer that is no stream, all at its end.
    pub tokens: Vec<u64>,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer as generated, written or not.
    pub completion_tokens: u32,
    /// When the last byte was written, or the client found gone.
    pub ended: Option<u64>,
    /// How it ended.
    pub how: How,
    /// The fault that struck it.
    pub fault: Option<String>,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Not yet.
    Open,
    /// The body was sent to its end.
    Complete,
    /// A fault closed or reset the connection.
    Broken,
    /// The client went away.
    Gone,
}

/// A record under way, shared by the handler and the socket.
#[derive(Debug, Clone)]
pub(super) struct Record(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    start: Instant,
    sent: Sent,
    /// Tokens handed to the socket and not yet written.
    queued: u32,
}

impl Record {
    pub(super) fn new(start: Instant, received: Instant, number: u64, path: String) -> Self {
        let sent = Sent {
            number,
            id: String::new(),
            path,
            received: nanos(received.saturating_duration_since(start)),
            status: 0,
            first_byte: None,
            tokens: Vec::new(),
            prompt_tokens: 0,
            completion_tokens: 0,
            ended: None,
            how: How::Open,
            fault: None,
        };
        Record(Arc::new(Mutex::new(Open { start, sent, queued: 0 })))
    }

    /// Tokens are on their way to the socket.
    pub(super) fn queue(&self, tokens: u32) {
        self.with(|open| open.queued += tokens);
    }

    /// The socket has written what it had.
    pub(super) fn written(&self) {
        self.with(|open| {
            let now = nanos(open.start.elapsed());
            open.sent.first_byte.get_or_insert(now);
            let queued = std::mem::take(&mut open.queued) as usize;
            open.sent.tokens.extend(std::iter::repeat_n(now, queued));
            if open.sent.how == How::Complete {
                open.sent.ended = Some(now);
            }
        });
    }

    pub(super) fn end(&self, how: How) {
        self.with(|open| {
            if open.sent.how == How::Open {
                open.sent.how = how;
                open.sent.ended = Some(nanos(open.start.elapsed()));
            }
        });
    }

    pub(super) fn edit(&self, change: impl FnOnce(&mut Sent)) {
        self.with(|open| change(&mut open.sent));
    }

    /// The record as it will be when what is queued has been written and it has ended so.
    pub(super) fn outlook(&self, how: How) -> Sent {
        self.with(|open| {
            let now = nanos(open.start.elapsed());
            let mut sent = open.sent.clone();
            sent.tokens.extend(std::iter::repeat_n(now, open.queued as usize));
            Sent { how, ended: Some(now), ..sent }
        })
    }

    /// Whether all that was handed to the socket has been written.
    pub(super) fn is_settled(&self) -> bool {
        self.with(|open| open.queued == 0 && open.sent.ended.is_some())
    }

    pub(super) fn snapshot(&self) -> Sent {
        self.with(|open| open.sent.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Open) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &str) -> Record {
        let now = Instant::now();
        Record::new(now, now, 1, path.to_owned())
    }

    #[test]
    fn a_token_is_stamped_when_it_was_written_not_when_it_was_queued() {
        let record = opened("POST /v1/completions");
        record.queue(2);
        assert_eq!(record.snapshot().tokens.len(), 0);
        record.written();
        let sent = record.snapshot();
        assert_eq!(sent.tokens.len(), 2);
        assert!(sent.tokens[0] >= sent.received && sent.first_byte.is_some());
        assert_eq!((sent.ended, sent.how), (None, How::Open));
    }

    #[test]
    fn the_first_ending_is_the_one_that_counts() {
        let record = opened("GET /health");
        record.end(How::Broken);
        record.end(How::Gone);
        assert_eq!(record.snapshot().how, How::Broken);
    }
}
