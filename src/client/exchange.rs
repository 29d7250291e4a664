//! The types of an exchange with a server: what is sent, what happens, what is kept.
//! Must not know any transport.
//!
//! 一次 HTTP 交换的类型。

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Nanoseconds on the process's monotonic clock, since an anchor that is the same for the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);

/// Which address a path belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Below the base URL, which ends in `/v1`: `/chat/completions`.
    Api(String),
    /// Below the base URL's parent: `/health`, `/metrics`, `/version`, `/tokenize`.
    Root(String),
}

/// What is sent: bytes as written, legal or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`…
    pub method: String,
    /// Where to.
    pub route: Route,
    /// Headers beside the authorisation, which the client adds, and which one here of the same name replaces.
    pub headers: Vec<(String, String)>,
    /// The body, where there is one; `content-type: application/json` is added where no header says otherwise.
    pub body: Option<Bytes>,
    /// Hand the answer on in pieces of at most this many bytes, as if they had been read so.
    pub read_size: Option<usize>,
}

/// What happens, in this order: `Sent? (Headers Bytes*)? End`.
#[derive(Debug)]
pub enum Event<'a> {
    /// The last byte of the request was written; left out by a transport that cannot tell.
    Sent(Stamp),
    /// The status line and the headers have arrived.
    Headers {
        /// When.
        at: Stamp,
        /// The status.
        status: u16,
        /// Names in lower case, in order.
        headers: Vec<(String, String)>,
    },
    /// A piece of the body, stamped before anything looked at it.
    Bytes(Stamp, &'a [u8]),
    /// It is over.
    End(Stamp, End),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The body's last byte was read.
    Complete,
    /// It broke off.
    Broken(Fault),
}

/// Where in an exchange something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No connection yet.
    Connect,
    /// Connected, no status line yet.
    Headers,
    /// In the body.
    Body,
}

/// Why an attempt broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Refused, reset, cut, unreachable, not HTTP.
    #[error("transport fault while {phase:?}: {message}")]
    Transport {
        /// Where.
        phase: Phase,
        /// The innermost cause, in words.
        message: String,
    },
    /// Nothing came in time.
    #[error("no answer within {limit_ms} ms while {phase:?}")]
    Timeout {
        /// Where.
        phase: Phase,
        /// The limit.
        limit_ms: u64,
    },
    /// We stopped it.
    #[error("cancelled")]
    Cancelled,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When we began: before connecting.
    pub begun: Stamp,
    /// When the last byte of the request was written; null where the transport cannot tell.
    pub sent: Option<Stamp>,
    /// When the headers had arrived.
    pub headers_at: Option<Stamp>,
    /// The status, once there is one.
    pub status: Option<u16>,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub chunks: Vec<(Stamp, Bytes)>,
    /// How it ended.
    pub end: End,
    /// When.
    pub ended: Stamp,
}

/// A request and all that was tried for it. The last attempt is the one that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What was sent.
    pub request: Request,
    /// At least one.
    pub attempts: Vec<Attempt>,
}
