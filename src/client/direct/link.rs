//! One connection: [`Link`] writes and reads for the exchange that is under way on it. Must not know HTTP, nor when it
//! is its turn.
//!
//! 单个连接：写出请求、逐读记时。

use std::{
    io::{ErrorKind, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use rustix::{
    event::epoll::EventFlags,
    io::Errno,
    net::{RecvFlags, recv},
};

use super::{
    acks::{Acks, Putting},
    exchange::{Exchange, Progress},
};
use crate::{
    arrival::{self, Read},
    client::{
        Stamp,
        http::{Clock, IDLE},
    },
};

/// Reads whose arrival the system did not tell.
static UNSTAMPED: AtomicU64 = AtomicU64::new(0);

/// A connection to the server.
pub(super) struct Link {
    stream: TcpStream,
    exchange: Option<Exchange>,
    served: u64,
    free_since: Stamp,
    /// Something happened on it while no exchange was there to hear it.
    stirred: bool,
    /// It takes no more of the request for now.
    full: bool,
    acks: Putting,
}

impl Link {
    /// One that stands, and does not block.
    pub(super) fn new(stream: TcpStream, acks: Arc<Acks>) -> Self {
        arrival::ask(&stream);
        Self {
            stream,
            exchange: None,
            served: 0,
            free_since: Stamp::now(),
            stirred: false,
            full: false,
            acks: Putting::off(acks),
        }
    }

    /// Whether a request can go out on it. The system is asked, not the event loop, which may not have heard yet. A
    /// server closes a connection some time after its last answer; one that had none is let be.
    pub(super) fn is_good(&self) -> bool {
        let quiet = matches!(
            recv(&self.stream, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT),
            Err(Errno::AGAIN)
        );
        quiet && (self.served == 0 || Stamp::now().since(self.free_since) < IDLE)
    }

    /// Has `exchange` under way from now on.
    pub(super) fn begin(&mut self, exchange: Exchange, scratch: &mut [u8]) {
        self.exchange = Some(exchange);
        self.acks.begin();
        if std::mem::take(&mut self.stirred) {
            self.read(true, scratch);
        }
    }

    /// Writes what can be written of `rest` now, which then is what remains, and says how far the exchange has come.
    pub(super) fn advance(&mut self, rest: &mut &[u8], clock: &Clock<'_>, waker: &Waker) -> Progress {
        let exchange = self.exchange.as_mut().expect("it was begun");
        self.full = false;
        while !rest.is_empty() && exchange.can_write() {
            match (&self.stream).write(rest) {
                Ok(n) => {
                    *rest = &rest[n..];
                    if rest.is_empty() {
                        exchange.sent(Stamp::now());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.full = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => exchange.cannot_write(error),
            }
        }
        exchange.progress(clock, waker)
    }

    /// The exchange, which is over, and whether another one can follow.
    pub(super) fn end(&mut self) -> (Exchange, bool) {
        let exchange = self.exchange.take().expect("it was begun");
        self.served += 1;
        self.free_since = Stamp::now();
        let goes_on = exchange.may_go_on();
        (exchange, goes_on)
    }

    /// The event loop says that something happened.
    pub(super) fn stir(&mut self, flags: EventFlags, scratch: &mut [u8]) {
        let closing = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(EventFlags::IN | closing) {
            self.read(flags.intersects(closing), scratch);
        }
        if let (true, Some(exchange)) = (self.full && flags.contains(EventFlags::OUT), &self.exchange) {
            exchange.wake();
        }
    }

    /// Reads what is there. Where a read leaves room nothing more is there, but for the end of a connection that closes.
    fn read(&mut self, closing: bool, scratch: &mut [u8]) {
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| !exchange.has_ended()) else {
            self.stirred = true;
            return;
        };
        while !exchange.has_ended() {
            let read = arrival::read(&self.stream, scratch);
            let at = stamp(read.as_ref().ok());
            match read {
                Ok(Read { bytes: n, .. }) => {
                    // The head comes at its own time, long before the first token.
                    let of_the_body = exchange.is_in_body();
                    exchange.take(at, Ok(&scratch[..n]), self.served);
                    if of_the_body {
                        self.acks.read(at, n, &self.stream);
                    }
                    if n < scratch.len() && !closing {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => exchange.take(at, Err(error), self.served),
            }
        }
    }
}

/// How many reads of this process had no word of the system when their bytes arrived.
pub(super) fn unstamped_reads() -> u64 {
    UNSTAMPED.load(Ordering::Relaxed)
}

/// When what was read arrived, or else now.
fn stamp(read: Option<&Read>) -> Stamp {
    let now = Stamp::now();
    match read {
        Some(Read { ago: Some(ago), .. }) => now.before(*ago),
        Some(Read { ago: None, bytes: 1.. }) => {
            UNSTAMPED.fetch_add(1, Ordering::Relaxed);
            now
        }
        Some(_) | None => now,
    }
}
