//! The types of an exchange with a server: what is sent, what happens, what is kept.
//! Must not know any transport.
//!
//! 一次 HTTP 交换的类型。

use std::{
    any::Any,
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Nanoseconds on the process's monotonic clock, since an anchor that is the same for the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);

/// When all stamps of this process are 0.
static ANCHOR: OnceLock<Instant> = OnceLock::new();

impl Stamp {
    /// This very moment. The first call of the process is the anchor, and reads as 0.
    pub fn now() -> Self {
        let anchor = *ANCHOR.get_or_init(Instant::now);
        Self(u64::try_from(anchor.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The moment at which the stamps of this process are 0, on the machine's monotonic clock, in nanoseconds: from it
    /// another process of the machine can count too.
    pub fn zero_ns() -> u64 {
        let now = monotonic_ns();
        now.saturating_sub(Self::now().0)
    }

    /// Has the stamps of this process count from the zero of another one's. Whether it could: only before the first.
    pub fn count_from(zero_ns: u64) -> bool {
        let since = monotonic_ns().checked_sub(zero_ns).map(Duration::from_nanos);
        let anchor = since.and_then(|since| Instant::now().checked_sub(since));
        anchor.is_some_and(|anchor| ANCHOR.set(anchor).is_ok())
    }

    /// This much earlier; 0 where that is before all stamps.
    pub(crate) fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// This much later.
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; nothing where it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).unwrap_or_default()
}

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
    /// Headers beside the authorisation, which the client adds, and which one here of the same name replaces; where
    /// that one is empty, no key is sent at all. `transfer-encoding: chunked` sends the body in chunks, its length untold.
    pub headers: Vec<(String, String)>,
    /// The body, where there is one; `content-type: application/json` is added where no header says otherwise.
    pub body: Option<Bytes>,
    /// Hand the answer on in pieces of at most this many bytes, as if they had been read so.
    pub read_size: Option<usize>,
}

/// Where the connection of an attempt came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It stood before the attempt began.
    Reused,
    /// It was opened for the attempt, which took so long.
    Opened(Duration),
    /// So it was, since the server had closed the one that stood before the request went out.
    Replaced(Duration),
}

/// What happens, in this order: `Connected? Sent? (Headers Bytes*)? End`.
#[derive(Debug)]
pub enum Event<'a> {
    /// There is a connection; left out where there is none, or where the transport cannot tell.
    Connected(Connection),
    /// The last byte of the request was written; left out by a transport that cannot tell, as the general one.
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

/// Takes the events of one exchange as they happen, on whichever thread sees them.
pub trait Listener: Any + Send {
    /// Takes the next one. Must not block: other exchanges wait meanwhile.
    fn hear(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>) + Send + 'static> Listener for F {
    fn hear(&mut self, event: Event<'_>) {
        self(event);
    }
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

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "while connecting",
            Self::Headers => "while waiting for the headers",
            Self::Body => "while reading the body",
        })
    }
}

/// Why an attempt broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Refused, reset, cut, unreachable, not HTTP.
    #[error("{phase}: {message}")]
    Transport {
        /// Where.
        phase: Phase,
        /// The innermost cause, in words.
        message: String,
    },
    /// Nothing came in time.
    #[error("{phase}: nothing came within {limit_ms} ms")]
    Timeout {
        /// Where.
        phase: Phase,
        /// The limit.
        limit_ms: u64,
    },
    /// We stopped it.
    #[error("cancelled")]
    Cancelled,
    /// We went away in the middle of the body, and meant to.
    #[error("the client went away in the middle, as it was told to")]
    Left,
    /// It was never sent: no HTTP can be made of this request.
    #[error("the request cannot be sent: {message}")]
    Unsendable {
        /// Which part of it, and why.
        message: String,
    },
    /// A replay has no answer to it, or none that can be read.
    #[error("no recording to answer from: {message}")]
    Recording {
        /// What was looked for, where, and what to do.
        message: String,
    },
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
    /// The longest that this machine was too busy to look; null where nobody kept watch.
    pub away: Option<Duration>,
}

/// A request and all that was tried for it. The last attempt is the one that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What was sent.
    pub request: Request,
    /// At least one.
    pub attempts: Vec<Attempt>,
}

impl Attempt {
    /// An attempt that has only begun.
    pub(crate) fn begin(begun: Stamp) -> Self {
        Self {
            begun,
            sent: None,
            headers_at: None,
            status: None,
            headers: Vec::new(),
            chunks: Vec::new(),
            end: End::Broken(Fault::Cancelled),
            ended: begun,
            away: None,
        }
    }

    /// Takes in what happened next.
    pub(crate) fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Connected(_) => {}
            Event::Sent(at) => self.sent = Some(at),
            Event::Headers { at, status, headers } => {
                self.headers_at = Some(at);
                self.status = Some(status);
                self.headers = headers;
            }
            Event::Bytes(at, bytes) => self.chunks.push((at, Bytes::copy_from_slice(bytes))),
            Event::End(at, end) => {
                self.ended = at;
                self.end = end;
            }
        }
    }

    /// The value of header `name` (lower case), the first where there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }
}

impl Exchange {
    /// The attempt that counts: the last one.
    pub fn last(&self) -> &Attempt {
        self.attempts.last().expect("an exchange has at least one attempt")
    }
}

impl Request {
    /// `GET` without a body.
    pub fn get(route: Route) -> Self {
        Self { method: "GET".into(), route, headers: Vec::new(), body: None, read_size: None }
    }

    /// `POST` with `body`, whatever it is.
    pub fn post(route: Route, body: impl Into<Bytes>) -> Self {
        Self { method: "POST".into(), route, headers: Vec::new(), body: Some(body.into()), read_size: None }
    }

    /// `POST` with `body` as JSON.
    pub fn post_json(route: Route, body: &serde_json::Value) -> Self {
        Self::post(route, body.to_string())
    }
}

impl Route {
    /// The path as written.
    pub fn path(&self) -> &str {
        match self {
            Self::Api(path) | Self::Root(path) => path,
        }
    }
}
