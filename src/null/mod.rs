//! The null server: answers completions with prepared bytes on a schedule, so cheaply that a client of it measures
//! nothing but itself, and logs what it really sent and when. [`Script`] says what it answers, [`serve`] is the
//! server, [`Child`] one in a process of its own, [`Log`] what it left. The simulator is the one that behaves like
//! vLLM; this one only has its shape. Must not know who asks, nor what is measured.
//!
//! ```text
//! Child ─spawns─▶ this program ─▶ serve(Script) ◀── requests ── a client
//!   ▲ lines: address, began, ended            │
//!   └────────────── Log, at the end ◀─────────┘
//! ```
//!
//! 空服务器：按时刻表发送预制字节，开销极小，并记录真实发送时刻。

mod asked;
mod child;
mod log;
#[cfg(target_os = "linux")]
mod serve;
mod wire;

use std::{path::PathBuf, time::Duration};

pub use child::{Child, Line, at_the_door};
pub use log::{Answer, Lateness, Log};
use serde::{Deserialize, Serialize};
#[cfg(target_os = "linux")]
pub use serve::serve;

/// What the null server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// From the last byte of a request to the first token.
    pub first: Duration,
    /// From a token to the next, on an absolute schedule: a late token moves none after it.
    pub interval: Duration,
    /// Tokens of an answer whose request does not say how many (`max_tokens`).
    pub tokens: u32,
    /// How events come.
    pub pattern: Pattern,
    /// Bytes of text in every event beside its word.
    pub padding: u32,
    /// The port of 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Say when so many answers have ended.
    pub expected: Option<u64>,
    /// Where the log goes at the end.
    pub log: Option<PathBuf>,
}

/// How the events of an answer come: the patterns that recordings of real servers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// One token an event, one event a write, the server's running count in each, as vLLM sends where
    /// `continuous_usage_stats` is asked for.
    #[default]
    Usage,
    /// The same without counts before the closing event.
    Plain,
    /// As `usage`, each event in two writes 1 ms apart: a proxy cut it.
    Split,
    /// As `usage`, after the first token four events in one write, at the time of the last: the server or a proxy held
    /// them together.
    Coalesced,
}

impl Pattern {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Plain => "plain",
            Self::Split => "split",
            Self::Coalesced => "coalesced",
        }
    }

    /// Tokens that come in one write after the first one.
    fn together(self) -> u32 {
        if self == Self::Coalesced { 4 } else { 1 }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Nothing else has an event loop of this kind.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn serve(_: &Script, _: impl FnMut(Line)) -> std::io::Result<()> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "the null server needs Linux (epoll)"))
}
