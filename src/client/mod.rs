//! The HTTP client: sends a [`Request`] as it is written, keeps every chunk with the time of its arrival, and
//! every attempt. [`Client::perform`] hands out [`Event`]s as they happen; [`Client::exchange`] collects them.
//! Must not know what is asked or expected: no assertions here.
//!
//! HTTP 客户端：原样发送，逐块记时，保留每次尝试。

mod address;
mod away;
mod connect;
mod curl;
mod direct;
mod exchange;
mod frames;
mod http;
mod limits;
mod retry;
mod sse;
mod tape;
mod tape_file;
mod target;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod wire_tests;

use std::{sync::Arc, time::Duration};

pub use address::ClientError;
pub(crate) use curl::quoted;
pub use curl::{curl_line, curl_line_from};
pub use direct::{Direct, Outgoing};
pub use exchange::{
    Attempt, Connection, End, Event, Exchange, Fault, Listener, Phase, Request, Route, Stamp,
};
pub use frames::Frames;
pub use limits::Limits;
pub use retry::Retry;
use secrecy::SecretString;
pub use sse::{Comment, SseEnd, SseEvent, SseFault, SseReader};
pub use tape::{Recorder, Recordings, TapeError, read_recording};
pub use target::{Engine, Target};
use tokio_util::sync::CancellationToken;

use crate::client::{address::Address, http::Http};

/// Talks to one server. Cheap to clone: all clones share their connections.
#[derive(Clone)]
pub struct Client {
    address: Arc<Address>,
    wire: Wire,
    recorder: Option<Recorder>,
    scope: Arc<str>,
}

#[derive(Clone)]
enum Wire {
    Http(Http),
    Replay(Recordings),
}

/// One attempt that is to be made.
struct Order<'a> {
    request: &'a Request,
    limits: &'a Limits,
    cancel: &'a CancellationToken,
    begun: Stamp,
    /// Keep a beat beside it, to know how late this machine was to look. Too dear for thousands at once.
    watched: bool,
}

/// How one went; what came is told by events.
struct Carried {
    result: Result<(), Fault>,
    ended: Stamp,
    away: Option<Duration>,
}

impl Client {
    /// A client of the server at `base_url`, which ends in `/v1`; a slash behind it does no harm.
    ///
    /// # Errors
    /// When `base_url` is no such address, or `api_key` cannot stand in a header.
    pub fn new(base_url: &str, api_key: Option<SecretString>) -> Result<Self, ClientError> {
        let address = Address::parse(base_url)?;
        let http = Http::new(&address, api_key)?;
        Ok(Self { address: Arc::new(address), wire: Wire::Http(http), recorder: None, scope: "".into() })
    }

    /// A client that asks no server, but answers from `recordings`.
    ///
    /// # Errors
    /// When `base_url`, which only serves to show and to tell routes apart, is no address.
    pub fn replaying(base_url: &str, recordings: Recordings) -> Result<Self, ClientError> {
        let address = Arc::new(Address::parse(base_url)?);
        Ok(Self { address, wire: Wire::Replay(recordings), recorder: None, scope: "".into() })
    }

    /// The same client, leaving every attempt with `recorder`.
    #[must_use]
    pub fn recording(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// The same client with connections of its own: it shares none with the others, and can be used on a thread of
    /// its own without waiting for theirs.
    ///
    /// # Errors
    /// When there can be no further pool of connections.
    pub fn apart(&self) -> Result<Self, ClientError> {
        let wire = match &self.wire {
            Wire::Http(http) => Wire::Http(http.apart()?),
            Wire::Replay(recordings) => Wire::Replay(recordings.clone()),
        };
        Ok(Self { wire, ..self.clone() })
    }

    /// The same client, whose recordings are kept and looked up under `scope`: the id of a trial.
    #[must_use]
    pub fn scoped(mut self, scope: &str) -> Self {
        self.scope = scope.into();
        self
    }

    /// The key, where there is one, for a process that is to talk to the same server.
    ///
    /// # Errors
    /// In words, where another process cannot do what this client does.
    pub(crate) fn handed_on(&self) -> Result<Option<String>, String> {
        match (&self.wire, &self.recorder) {
            (Wire::Replay(_), _) => Err("a replay cannot be asked by processes of the load".to_owned()),
            (_, Some(_)) => Err("exchanges of processes of the load cannot be recorded".to_owned()),
            (Wire::Http(http), None) => Ok(http.api_key()),
        }
    }

    /// The same client, leaving nothing with a recorder: for what may not be passed on.
    #[must_use]
    pub fn unrecorded(self) -> Self {
        Self { recorder: None, ..self }
    }

    /// Whether recordings answer, and no server.
    pub(crate) fn is_replay(&self) -> bool {
        matches!(self.wire, Wire::Replay(_))
    }

    /// The base URL, ending in `/v1`.
    pub fn base_url(&self) -> &str {
        self.address.base()
    }

    /// The base URL's parent, without a slash at its end: where `/health` and `/metrics` are.
    pub fn root_url(&self) -> &str {
        self.address.root()
    }

    /// Sends `request` once and calls `on` with everything that happens, as it happens; the last call is an
    /// [`Event::End`], and there is exactly one. When `cancel` is set the connection is dropped at once.
    pub async fn perform(
        &self,
        request: &Request,
        limits: &Limits,
        cancel: &CancellationToken,
        on: impl FnMut(Event<'_>) + Send,
    ) {
        self.carry_out(&Order { request, limits, cancel, begun: Stamp::now(), watched: false }, on).await;
    }

    /// As [`Self::perform`]; how late this machine was to look, if that is known.
    async fn carry_out(&self, order: &Order<'_>, mut on: impl FnMut(Event<'_>) + Send) -> Option<Duration> {
        let mut seen = self.recorder.as_ref().map(|_| Attempt::begin(order.begun));
        let mut hear = |event: Event<'_>| {
            if let Some(attempt) = &mut seen {
                attempt.take(copy(&event));
            }
            cut(event, order.request.read_size, &mut on);
        };
        let Carried { result, ended, away } = match &self.wire {
            Wire::Http(http) => self.asked(http, order, &mut hear).await,
            Wire::Replay(recordings) => recordings.answer(&self.scope, order, &mut hear),
        };
        hear(Event::End(ended, result.map_or_else(End::Broken, |()| End::Complete)));
        if let (Some(recorder), Some(attempt)) = (&self.recorder, seen) {
            recorder.keep(&self.scope, order.request, &Attempt { away, ..attempt });
        }
        away
    }

    /// One attempt over the wire.
    async fn asked(&self, http: &Http, order: &Order<'_>, on: &mut (dyn FnMut(Event<'_>) + Send)) -> Carried {
        let work = async {
            tokio::select! {
                biased;
                () = order.cancel.cancelled() => Err(Fault::Cancelled),
                result = http.attempt(&self.address, order.request, order.limits, on) => result,
            }
        };
        let (result, away) = if order.watched {
            let (result, away) = away::during(work).await;
            (result, Some(away))
        } else {
            (work.await, None)
        };
        Carried { result, ended: Stamp::now(), away }
    }

    /// Sends `request`, again where `retry` says so, and keeps every attempt.
    pub async fn exchange(
        &self,
        request: &Request,
        limits: &Limits,
        retry: &Retry,
        cancel: &CancellationToken,
    ) -> Exchange {
        let mut attempts = Vec::new();
        loop {
            let mut attempt = Attempt::begin(Stamp::now());
            let order = Order { request, limits, cancel, begun: attempt.begun, watched: true };
            attempt.away = self.carry_out(&order, |event| attempt.take(event)).await;
            let wait = retry.wait_after(&attempt, attempts.len());
            attempts.push(attempt);
            let Some(wait) = wait else { break };
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        Exchange { request: request.clone(), attempts }
    }

    /// Sends `request` once and goes away as soon as `enough` says so of a piece of the body, as a user does who loses
    /// interest: the attempt ends with [`Fault::Left`]. Where it never says so this is [`Client::exchange`] without
    /// a second try.
    pub async fn leave(
        &self,
        request: &Request,
        limits: &Limits,
        cancel: &CancellationToken,
        mut enough: impl FnMut(Stamp, &[u8]) -> bool + Send,
    ) -> Exchange {
        let gone = cancel.child_token();
        let mut attempt = Attempt::begin(Stamp::now());
        let order = Order { request, limits, cancel: &gone, begun: attempt.begun, watched: true };
        let mut left = false;
        let hear = |event: Event<'_>| {
            let piece = match &event {
                Event::Bytes(at, bytes) => Some((*at, *bytes)),
                _ => None,
            };
            // What was on its way already is not looked at any more.
            if !(left && piece.is_some()) {
                attempt.take(event);
            }
            if let Some((at, bytes)) = piece.filter(|_| !left)
                && enough(at, bytes)
            {
                left = true;
                gone.cancel();
            }
        };
        attempt.away = self.carry_out(&order, hear).await;
        if left {
            attempt.end = End::Broken(Fault::Left);
        }
        Exchange { request: request.clone(), attempts: vec![attempt] }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base_url", &self.base_url()).finish_non_exhaustive()
    }
}

/// The same event once more, for a second listener.
fn copy<'a>(event: &Event<'a>) -> Event<'a> {
    match event {
        Event::Connected(connection) => Event::Connected(*connection),
        Event::Sent(at) => Event::Sent(*at),
        Event::Headers { at, status, headers } => {
            Event::Headers { at: *at, status: *status, headers: headers.clone() }
        }
        Event::Bytes(at, bytes) => Event::Bytes(*at, bytes),
        Event::End(at, end) => Event::End(*at, end.clone()),
    }
}

/// Hands `event` on, a piece of body in pieces of at most `size` bytes. What was read at one moment keeps it.
fn cut(event: Event<'_>, size: Option<usize>, on: &mut (dyn FnMut(Event<'_>) + Send)) {
    match (event, size) {
        (Event::Bytes(at, bytes), Some(size)) if size > 0 => {
            bytes.chunks(size).for_each(|piece| on(Event::Bytes(at, piece)));
        }
        (event, _) => on(event),
    }
}
