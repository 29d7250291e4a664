//! The transport for load over plain `http://`: [`Direct`] writes request bytes that were built before, reads answers
//! off its own sockets, stamps each read before anything looks at it, and hands its bytes on where they lie. It does
//! HTTP/1.1 and nothing else; everything else stays with [`Http`](super::http::Http). Must not know what is asked or
//! expected.
//!
//! ```text
//! Outgoing ─write─▶ Link ─read, stamp─▶ Answer: head ─▶ body: length | chunks | until close ─▶ Event
//! ```
//!
//! 面向 http:// 压测的直连传输层：预构造请求、逐读记时、零拷贝分帧。

mod answer;
mod body;
mod head;
mod link;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    answer::Answer,
    link::{Link, Links},
};
use super::{
    Client, Connection, End, Event, Fault, Limits, Phase, Request, Stamp, Wire,
    address::Address,
    cut,
    http::{Clock, Http, timeout, words},
};

/// Of one read.
const READ: usize = 64 << 10;
/// So many connections are being made ahead at a time: more would overflow the queue of a listening server, and wait a
/// second for the repetition. A request that needs one waits for no one.
const AHEAD: usize = 64;

/// A client of one server for the threads of a load; each has [one of its own](Self::apart).
pub struct Direct {
    http: Http,
    address: Arc<Address>,
    /// Resolved once, so that no request waits for a name.
    resolved: Arc<Result<Vec<SocketAddr>, String>>,
    ahead: Arc<Semaphore>,
    idle: Links,
    /// Reads go here, one at a time.
    scratch: Mutex<Box<[u8]>>,
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
        let resolved = client.address.resolve();
        Some(Self {
            http: http.clone(),
            address: Arc::clone(&client.address),
            resolved: Arc::new(resolved),
            ahead: Arc::new(Semaphore::new(AHEAD)),
            idle: Links::default(),
            scratch: scratch(),
        })
    }

    /// Another one to the same server, with connections of its own.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            http: self.http.clone(),
            address: Arc::clone(&self.address),
            resolved: Arc::clone(&self.resolved),
            ahead: Arc::clone(&self.ahead),
            idle: Links::default(),
            scratch: scratch(),
        }
    }

    /// Builds the bytes of `request`.
    pub fn prepare(&self, request: &Request) -> Outgoing {
        Outgoing {
            bytes: self.http.written(&self.address, request),
            head_only: request.method == "HEAD",
            read_size: request.read_size,
        }
    }

    /// Opens a connection for a request to come. What goes wrong is left for that request to meet again.
    pub async fn connect(&self, limits: &Limits, cancel: &CancellationToken) {
        let open = async {
            let _turn = self.ahead.acquire().await;
            tokio::time::timeout(limits.connect, self.open()).await
        };
        if let Some(Ok(Ok((link, _)))) = cancel.run_until_cancelled(open).await {
            self.idle.put(link);
        }
    }

    /// As [`Client::perform`].
    pub async fn perform(
        &self,
        outgoing: &Outgoing,
        limits: &Limits,
        cancel: &CancellationToken,
        mut on: impl FnMut(Event<'_>) + Send,
    ) {
        let mut hear = |event: Event<'_>| cut(event, outgoing.read_size, &mut on);
        let result = self.attempt(outgoing, limits, cancel, &mut hear).await;
        let (at, end) = match result {
            Ok(at) => (at, End::Complete),
            Err(fault) => (Stamp::now(), End::Broken(fault)),
        };
        hear(Event::End(at, end));
    }

    /// One attempt: hands on everything but the end, and says when it was.
    async fn attempt(
        &self,
        outgoing: &Outgoing,
        limits: &Limits,
        cancel: &CancellationToken,
        on: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Stamp, Fault> {
        let bytes = outgoing.bytes.as_ref().map_err(Clone::clone)?;
        let clock = Clock { begun: Instant::now(), limits };
        let cancelled = pin!(cancel.cancelled());
        let link = self.link(&clock, cancel, on).await?;
        let mut exchange = Exchange {
            link,
            rest: bytes,
            unwritten: None,
            answer: Answer::to(outgoing.head_only),
            deadline: clock.headers(),
        };
        let result = exchange.run(&clock, cancelled, &self.scratch, on).await;
        if result.is_ok() && exchange.rest.is_empty() && exchange.answer.may_go_on() {
            exchange.link.has_served();
            self.idle.put(exchange.link);
        }
        result
    }

    /// A connection that stands: one that was there, or a new one.
    async fn link(
        &self,
        clock: &Clock<'_>,
        cancel: &CancellationToken,
        on: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Link, Fault> {
        let (found, closed) = self.idle.take();
        if let Some(link) = found {
            on(Event::Connected(Connection::Reused));
            return Ok(link);
        }
        let (until, limit) = clock.connection();
        let open = tokio::time::timeout_at(until, self.open());
        let Some(opened) = cancel.run_until_cancelled(open).await else { return Err(Fault::Cancelled) };
        let (link, took) = opened.map_err(|_| timeout(Phase::Connect, limit))??;
        on(Event::Connected(if closed { Connection::Replaced(took) } else { Connection::Opened(took) }));
        Ok(link)
    }

    async fn open(&self) -> Result<(Link, Duration), Fault> {
        let broken = |message: String| Fault::Transport { phase: Phase::Connect, message };
        let addresses = self.resolved.as_ref().as_ref().map_err(|message| broken(message.clone()))?;
        let begun = Stamp::now();
        let link = Link::open(addresses).await.map_err(|error| broken(words(&error)))?;
        Ok((link, Stamp::now().since(begun)))
    }
}

fn scratch() -> Mutex<Box<[u8]>> {
    Mutex::new(vec![0; READ].into_boxed_slice())
}

/// A request on its way and its answer.
struct Exchange<'a> {
    link: Link,
    /// What is still to be written.
    rest: &'a [u8],
    /// Why the rest cannot be written. The server may have answered all the same, and said why.
    unwritten: Option<std::io::Error>,
    answer: Answer,
    /// When something has to have happened, and which limit says so.
    deadline: (Instant, Duration),
}

impl Exchange<'_> {
    /// To its end; says when that was.
    async fn run(
        &mut self,
        clock: &Clock<'_>,
        mut cancelled: Pin<&mut impl Future<Output = ()>>,
        scratch: &Mutex<Box<[u8]>>,
        on: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Stamp, Fault> {
        let mut alarm = pin!(sleep_until(self.deadline.0));
        poll_fn(|cx| {
            let before = self.deadline;
            let moved = {
                let mut scratch = scratch.lock().unwrap_or_else(PoisonError::into_inner);
                self.advance(cx, clock, &mut scratch, on)
            };
            if moved.is_ready() {
                return moved;
            }
            if before.0 != self.deadline.0 {
                alarm.as_mut().reset(self.deadline.0);
            }
            if cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Fault::Cancelled));
            }
            alarm.as_mut().poll(cx).map(|()| Err(timeout(self.answer.phase(), self.deadline.1)))
        })
        .await
    }

    /// As far as it goes without waiting.
    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock<'_>,
        scratch: &mut [u8],
        on: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Poll<Result<Stamp, Fault>> {
        self.write(cx, on);
        loop {
            let mut into = ReadBuf::new(scratch);
            let Poll::Ready(read) = Pin::new(&mut self.link.stream).poll_read(cx, &mut into) else {
                return Poll::Pending;
            };
            let at = Stamp::now();
            match read {
                Err(error) => return Poll::Ready(Err(self.lost(&error))),
                Ok(()) if into.filled().is_empty() => {
                    return Poll::Ready(match &self.unwritten {
                        Some(error) if self.answer.phase() == Phase::Headers => Err(self.lost(error)),
                        _ => self.answer.closed(self.link.served()).map(|()| at),
                    });
                }
                Ok(()) => match self.answer.take(at, into.filled(), on) {
                    Ok(false) => {}
                    Ok(true) => return Poll::Ready(Ok(at)),
                    Err(fault) => return Poll::Ready(Err(fault)),
                },
            }
            if self.answer.phase() == Phase::Body {
                self.deadline = clock.piece();
            }
        }
    }

    /// Writes what can be written now.
    fn write(&mut self, cx: &mut Context<'_>, on: &mut (dyn FnMut(Event<'_>) + Send)) {
        while !self.rest.is_empty() && self.unwritten.is_none() {
            match Pin::new(&mut self.link.stream).poll_write(cx, self.rest) {
                Poll::Pending => return,
                Poll::Ready(Ok(n)) => {
                    self.rest = &self.rest[n..];
                    if self.rest.is_empty() {
                        on(Event::Sent(Stamp::now()));
                    }
                }
                Poll::Ready(Err(error)) => self.unwritten = Some(error),
            }
        }
    }

    fn lost(&self, error: &std::io::Error) -> Fault {
        Fault::Transport { phase: self.answer.phase(), message: words(error) }
    }
}
