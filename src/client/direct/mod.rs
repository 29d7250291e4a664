//! The transport for load over plain `http://`: [`Direct`] writes request bytes that were built before, reads answers
//! off its own sockets, stamps each read with the arrival of its last byte before anything looks at it, and hands its
//! bytes on where they lie. It does HTTP/1.1 and nothing else; everything else stays with [`Http`](super::http::Http).
//! Must not know what is asked or expected.
//!
//! ```text
//! Outgoing ─write─▶ Link ┐
//!                        ├─ Reactor: wait, read, stamp ─▶ Exchange ─▶ Answer: head ─▶ body: length | chunks | until close
//! perform ◀── its end ───┘                                   └─ Event ─▶ Listener
//! ```
//!
//! 面向 http:// 压测的直连传输层：预构造请求、逐读记时、零拷贝分帧。

mod acks;
mod answer;
mod body;
mod exchange;
mod head;
mod link;
mod reactor;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::{
    acks::Acks,
    exchange::{Exchange, Progress},
    reactor::{Held, Reactor},
};
use super::{
    Client, Connection, End, Event, Fault, Limits, Listener, Phase, Request, Route, Stamp, Wire,
    address::Address,
    http::{Clock, Http, timeout, url, words},
};

/// So many connections are being made ahead at a time: more would overflow the queue of a listening server, and wait a
/// second for the repetition. A request that needs one waits for no one.
const AHEAD: usize = 64;

/// A client of one server for the threads of a load; each has [one of its own](Self::apart), and beside its requests
/// [runs](Self::run) what reads the answers.
pub struct Direct {
    http: Http,
    address: Arc<Address>,
    /// Resolved once, so that no request waits for a name.
    resolved: Arc<Result<Vec<SocketAddr>, String>>,
    ahead: Arc<Semaphore>,
    acks: Arc<Acks>,
    /// Where the last request goes that was prepared.
    last: Mutex<Option<(Route, Arc<Url>)>>,
    reactor: Reactor,
}

/// A request as the bytes that go out, or why it cannot.
pub struct Outgoing {
    bytes: Result<Vec<u8>, Fault>,
    /// Its answer has no body, whatever the head says.
    head_only: bool,
    read_size: Option<usize>,
}

impl Direct {
    /// The same server as `client`'s, where it is one for this transport: over plain HTTP, neither replayed nor
    /// recorded. Its name is resolved here, which blocks.
    pub fn of(client: &Client) -> Option<Self> {
        let Wire::Http(http) = &client.wire else { return None };
        if client.recorder.is_some() || client.address.is_https() {
            return None;
        }
        let reactor = Reactor::new().ok()?;
        let resolved = client.address.resolve();
        Some(Self {
            http: http.clone(),
            address: Arc::clone(&client.address),
            resolved: Arc::new(resolved),
            ahead: Arc::new(Semaphore::new(AHEAD)),
            acks: Arc::default(),
            last: Mutex::default(),
            reactor,
        })
    }

    /// Another one to the same server, with connections of its own.
    ///
    /// # Errors
    /// When the system has no event loop for it.
    pub fn apart(&self) -> io::Result<Self> {
        Ok(Self {
            http: self.http.clone(),
            address: Arc::clone(&self.address),
            resolved: Arc::clone(&self.resolved),
            ahead: Arc::clone(&self.ahead),
            acks: Arc::clone(&self.acks),
            last: Mutex::default(),
            reactor: Reactor::new()?,
        })
    }

    /// How many reads of this process had no word of the system when their bytes arrived.
    pub fn unstamped_reads() -> u64 {
        link::unstamped_reads()
    }

    /// Builds the bytes of `request`.
    pub fn prepare(&self, request: &Request) -> Outgoing {
        let url = self.url(&request.route);
        Outgoing {
            bytes: url.and_then(|url| self.http.written(&url, request)),
            head_only: request.method == "HEAD",
            read_size: request.read_size,
        }
    }

    /// Where `route` lies; read once for all requests in a row that go there.
    fn url(&self, route: &Route) -> Result<Arc<Url>, Fault> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, url)) if known == route => Ok(Arc::clone(url)),
            _ => {
                let url = Arc::new(url(&self.address, route)?);
                *last = Some((route.clone(), Arc::clone(&url)));
                Ok(url)
            }
        }
    }

    /// Reads the answers of all requests under way, as long as it is polled: beside them, on the same thread.
    ///
    /// # Errors
    /// When the system ends it.
    pub async fn run(&self) -> io::Result<Infallible> {
        self.reactor.run().await
    }

    /// Opens a connection for a request to come. What goes wrong is left for that request to meet again.
    pub async fn connect(&self, limits: &Limits, cancel: &CancellationToken) {
        let open = async {
            let _turn = self.ahead.acquire().await;
            tokio::time::timeout(limits.connect, self.open()).await
        };
        if let Some(Ok(Ok((held, _)))) = cancel.run_until_cancelled(open).await {
            held.put_back();
        }
    }

    /// As [`Client::perform`], as long as it [runs](Self::run); gives `listener` back.
    pub async fn perform<L: Listener>(
        &self,
        outgoing: &Outgoing,
        limits: &Limits,
        cancel: &CancellationToken,
        mut listener: L,
    ) -> L {
        let clock = Clock { begun: Instant::now(), limits };
        let held = match &outgoing.bytes {
            Ok(_) => self.link(&clock, cancel, &mut listener).await,
            Err(fault) => Err(fault.clone()),
        };
        let (result, mut listener) = match held {
            Ok(held) => carry(held, outgoing, &clock, cancel, listener).await,
            Err(fault) => (Err(fault), listener),
        };
        listener.hear(match result {
            Ok(at) => Event::End(at, End::Complete),
            Err(fault) => Event::End(Stamp::now(), End::Broken(fault)),
        });
        listener
    }

    /// A connection that stands: one that was there, or a new one.
    async fn link(
        &self,
        clock: &Clock<'_>,
        cancel: &CancellationToken,
        listener: &mut impl Listener,
    ) -> Result<Held<'_>, Fault> {
        let (found, closed) = self.reactor.take();
        if let Some(held) = found {
            listener.hear(Event::Connected(Connection::Reused));
            return Ok(held);
        }
        let (until, limit) = clock.connection();
        let open = tokio::time::timeout_at(until, self.open());
        let Some(opened) = cancel.run_until_cancelled(open).await else { return Err(Fault::Cancelled) };
        let (held, took) = opened.map_err(|_| timeout(Phase::Connect, limit))??;
        let connection = if closed { Connection::Replaced(took) } else { Connection::Opened(took) };
        listener.hear(Event::Connected(connection));
        Ok(held)
    }

    async fn open(&self) -> Result<(Held<'_>, Duration), Fault> {
        let broken = |message: String| Fault::Transport { phase: Phase::Connect, message };
        let addresses = self.resolved.as_ref().as_ref().map_err(|message| broken(message.clone()))?;
        let begun = Stamp::now();
        let opened = TcpStream::connect(addresses.as_slice()).await;
        let held = opened.and_then(|stream| self.reactor.add(stream, Arc::clone(&self.acks)));
        Ok((held.map_err(|error| broken(words(&error)))?, Stamp::now().since(begun)))
    }
}

/// Has a request go out and waits until its answer is over: when that was, or what went wrong.
async fn carry<L: Listener>(
    held: Held<'_>,
    outgoing: &Outgoing,
    clock: &Clock<'_>,
    cancel: &CancellationToken,
    listener: L,
) -> (Result<Stamp, Fault>, L) {
    held.begin(Exchange::new(outgoing, listener));
    let mut rest = outgoing.bytes.as_deref().unwrap_or_default();
    let mut cancelled = pin!(cancel.cancelled());
    let mut alarm = pin!(sleep_until(clock.headers().0));
    let result = poll_fn(|cx| {
        let (until, too_late) = match held.advance(&mut rest, clock, cx.waker()) {
            Progress::Over(result) => return Poll::Ready(result),
            Progress::Until(until, too_late) => (until, too_late),
        };
        if cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Fault::Cancelled));
        }
        if until <= Instant::now() {
            return Poll::Ready(Err(too_late));
        }
        if until != alarm.deadline() {
            alarm.as_mut().reset(until);
        }
        alarm.as_mut().poll(cx).map(|()| Err(too_late))
    })
    .await;
    let exchange = held.end(result.is_ok() && rest.is_empty());
    (result, exchange.into_listener())
}
