//! What is kept of one request: a [`Record`] with its stamps, tokens and [`Outcome`], and the latencies that follow
//! from them. Must not know how it came to be.
//!
//! 单个请求的记录：时刻、token 与结局。

use serde::{Deserialize, Serialize};

use crate::client::{self, Stamp};

/// How one request ended. Only [`Outcome::Ok`] gives latency samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Tokens, a finish reason, `[DONE]`.
    Ok,
    /// The server refused.
    Status {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// An error object inside a stream that had begun with 200.
    StreamError {
        /// What it said.
        message: String,
    },
    /// The stream ended without a finish reason or without `[DONE]`.
    Truncated,
    /// A whole stream without a single token, by whatever the server says of it.
    Empty,
    /// An answer that is no event stream of completions.
    Malformed {
        /// What is wrong with it.
        message: String,
    },
    /// Nothing came in time.
    Timeout {
        /// Which limit.
        message: String,
    },
    /// The connection failed.
    Transport {
        /// How.
        message: String,
    },
    /// We cut it off; it says nothing about the server.
    Cancelled,
}

impl Outcome {
    /// The word it is counted under.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Status { .. } => "status",
            Self::StreamError { .. } => "stream_error",
            Self::Truncated => "truncated",
            Self::Empty => "empty",
            Self::Malformed { .. } => "malformed",
            Self::Timeout { .. } => "timeout",
            Self::Transport { .. } => "transport",
            Self::Cancelled => "cancelled",
        }
    }

    /// In words, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Status { status, message } => format!("status {status}: {message}"),
            Self::StreamError { message } => format!("error inside the stream: {message}"),
            Self::Malformed { message } | Self::Timeout { message } | Self::Transport { message } => {
                message.clone()
            }
            Self::Truncated => "the stream ended without a finish reason and [DONE]".to_owned(),
            Self::Empty => "the stream held no token".to_owned(),
            Self::Ok | Self::Cancelled => self.name().to_owned(),
        }
    }
}

/// Where token counts come from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// Each event carried the server's running count.
    UsagePerEvent,
    /// The server gave a total; one token an event is assumed between.
    UsageTotal,
    /// The server gave none; events are counted as one token each.
    Events,
}

impl TokenSource {
    /// Its word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsagePerEvent => "usage_per_event",
            Self::UsageTotal => "usage_total",
            Self::Events => "events",
        }
    }
}

/// What the text of an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channel {
    /// The answer, tool calls included.
    #[serde(rename = "a")]
    Answer,
    /// The reasoning before it.
    #[serde(rename = "r")]
    Reasoning,
    /// Nothing was shown yet: the server counts tokens that have no text, or whose text it holds back.
    #[serde(rename = "u")]
    Unshown,
}

/// An event that held tokens. In the sidecar it is `[at, tokens, "a"]`: there are thousands of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Stamp, u32, Channel)", into = "(Stamp, u32, Channel)")]
pub struct TokenEvent {
    /// When the read that completed it came.
    pub at: Stamp,
    /// How many tokens, at least 1. 32 bits, since there are hundreds of thousands of these in a run.
    pub tokens: u32,
    /// Of what.
    pub channel: Channel,
}

impl From<(Stamp, u32, Channel)> for TokenEvent {
    fn from((at, tokens, channel): (Stamp, u32, Channel)) -> Self {
        Self { at, tokens, channel }
    }
}

impl From<TokenEvent> for (Stamp, u32, Channel) {
    fn from(event: TokenEvent) -> Self {
        (event.at, event.tokens, event.channel)
    }
}

/// Where the connection of a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// It stood before the request was due.
    Reused,
    /// It was opened for the request, which waited for it.
    Opened,
    /// So it was, since the server had closed the one that stood.
    Replaced,
}

impl Connection {
    /// Its word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::Opened => "opened",
            Self::Replaced => "replaced",
        }
    }

    /// What the transport says of one, and how long making it took.
    pub(super) fn told(connection: client::Connection) -> (Self, Option<u64>) {
        let ns = |took: std::time::Duration| u64::try_from(took.as_nanos()).ok();
        match connection {
            client::Connection::Reused => (Self::Reused, None),
            client::Connection::Opened(took) => (Self::Opened, ns(took)),
            client::Connection::Replaced(took) => (Self::Replaced, ns(took)),
        }
    }
}

/// The place of a request in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Which conversation of the trial, from 0.
    pub number: u32,
    /// Which turn of it, from 0.
    pub turn: u32,
    /// How many turns it was to have.
    pub turns: u32,
}

/// What is kept of one request: stamps in nanoseconds of the process's monotonic clock, null where a thing did
/// not happen or cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts up over the trial in the order of sending, warm-up first; of conversations in that of their beginnings, each
    /// with all of its turns.
    pub index: u64,
    /// Whether it belongs to the warm-up: kept, and in no figure.
    pub warmup: bool,
    /// Which repetition of the load it belongs to, from 0.
    pub epoch: u32,
    /// Which conversation it is part of, and where in it; absent where it stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Turn>,
    /// Which of the concurrent workers sent it.
    pub worker: u32,
    /// How many requests of this run were in flight once it had been sent, itself included.
    pub in_flight: u32,
    /// When it was due: in an open loop by the schedule, in a closed one when its worker became free, in a conversation
    /// when the think time after the answer before was over.
    pub scheduled: Stamp,
    /// When it was let through by the cap on requests in flight; `scheduled` where there was no wait.
    pub admitted: Stamp,
    /// When the finished request was handed to the transport.
    pub started: Stamp,
    /// Where its connection came from; null where it had none, or where the transport cannot tell.
    #[serde(default)]
    pub connection: Option<Connection>,
    /// How long it took to make that connection, in nanoseconds, within the request; null where none was made.
    #[serde(default)]
    pub connect_ns: Option<u64>,
    /// When its last byte was written; null where the transport cannot tell.
    pub sent: Option<Stamp>,
    /// The status line and the headers.
    pub headers: Option<Stamp>,
    /// The first event of any kind; often the role alone.
    pub first_event: Option<Stamp>,
    /// The first event with a token, of any channel.
    pub first_token: Option<Stamp>,
    /// The first event that shows the answer itself, after reasoning.
    pub first_answer: Option<Stamp>,
    /// The last event with a token.
    pub last_token: Option<Stamp>,
    /// The event that gave the finish reason.
    pub finish: Option<Stamp>,
    /// `[DONE]`.
    pub done: Option<Stamp>,
    /// The end of the response, or of the attempt.
    pub ended: Stamp,
    /// The status.
    pub status: Option<u16>,
    /// The server's own id of the answer, for its log.
    pub request_id: Option<String>,
    /// Why the server stopped.
    pub finish_reason: Option<String>,
    /// As the server counts them, chat template included.
    pub prompt_tokens: Option<u64>,
    /// Prompt tokens answered from a prefix cache, where the server says so.
    pub cached_tokens: Option<u64>,
    /// Output tokens, by `token_source`.
    pub output_tokens: u64,
    /// Those of the reasoning: as the server counts them, else by the events that showed reasoning; null where its
    /// total cannot be divided.
    pub reasoning_tokens: Option<u64>,
    /// The others.
    pub content_tokens: Option<u64>,
    /// Who counted.
    pub token_source: TokenSource,
    /// Every event with tokens.
    pub events: Vec<TokenEvent>,
    /// Bytes of the response's body.
    pub bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Record {
    /// Whether its latencies count.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Whether it is the first of its conversation, as every one that stands alone is.
    pub fn opens(&self) -> bool {
        self.conversation.is_none_or(|place| place.turn == 0)
    }

    /// Whether nothing of its conversation follows: it is the last one, or it failed.
    pub fn closes(&self) -> bool {
        !self.is_ok() || self.conversation.is_none_or(|place| place.turn + 1 >= place.turns)
    }

    /// How many turns were never sent because this one failed. One that we cut off says nothing about the server.
    pub fn silenced(&self) -> u64 {
        let failed = !self.is_ok() && self.outcome != Outcome::Cancelled;
        let left =
            self.conversation.filter(|_| failed).map(|place| place.turns.saturating_sub(place.turn + 1));
        left.unwrap_or(0).into()
    }

    /// Whether it holds tokens and shows none of them.
    pub fn shows_nothing(&self) -> bool {
        self.events.last().is_some_and(|event| event.channel == Channel::Unshown)
    }

    /// `ttft/2` in nanoseconds.
    pub fn ttft(&self) -> Option<u64> {
        Some(self.first_token?.0.saturating_sub(self.started.0))
    }

    /// `ttfa/1` in nanoseconds.
    pub fn ttfa(&self) -> Option<u64> {
        Some(self.first_answer?.0.saturating_sub(self.started.0))
    }

    /// `e2e/2` in nanoseconds.
    pub fn e2e(&self) -> Option<u64> {
        Some(self.last_token?.0.saturating_sub(self.started.0))
    }

    /// `ttst/2` in nanoseconds.
    pub fn ttst(&self) -> Option<u64> {
        let (first, rest) = self.events.split_first()?;
        let second = rest.first().filter(|_| first.tokens == 1)?;
        Some(second.at.0 - first.at.0)
    }

    /// `tpot/2` in nanoseconds, not rounded.
    pub fn tpot(&self) -> Option<f64> {
        let (first, last) = (self.events.first()?, self.events.last()?);
        let streamed = match self.token_source {
            TokenSource::UsagePerEvent | TokenSource::Events => {
                self.events.iter().map(|e| u64::from(e.tokens)).sum()
            }
            TokenSource::UsageTotal => self.output_tokens,
        };
        let after_first =
            streamed.checked_sub(u64::from(first.tokens)).filter(|&n| n > 0 && self.events.len() > 1)?;
        Some((last.at.0 - first.at.0) as f64 / after_first as f64)
    }

    /// `response_time/1` in nanoseconds.
    pub fn response_time(&self) -> u64 {
        self.ended.0.saturating_sub(self.started.0)
    }

    /// `normalized_latency/2` in nanoseconds, not rounded.
    pub fn normalized_latency(&self) -> Option<f64> {
        let took = self.last_token?.0.saturating_sub(self.scheduled.0);
        (self.output_tokens > 0).then(|| took as f64 / self.output_tokens as f64)
    }

    /// `icl/2`: one sample for each token event after the first, in nanoseconds.
    pub fn icl(&self) -> impl Iterator<Item = u64> + '_ {
        self.events.windows(2).map(|pair| pair[1].at.0 - pair[0].at.0)
    }

    /// When each token came, as far as events tell.
    pub fn token_stamps(&self) -> impl Iterator<Item = Stamp> + '_ {
        self.events.iter().flat_map(|event| {
            std::iter::repeat_n(event.at, usize::try_from(event.tokens).unwrap_or(usize::MAX))
        })
    }

    /// `itl/2`: one sample for each token after the first event, in nanoseconds, not rounded.
    pub fn itl(&self) -> impl Iterator<Item = f64> + '_ {
        self.events.windows(2).flat_map(|pair| {
            let gap = (pair[1].at.0 - pair[0].at.0) as f64 / f64::from(pair[1].tokens);
            std::iter::repeat_n(gap, usize::try_from(pair[1].tokens).unwrap_or(usize::MAX))
        })
    }
}
