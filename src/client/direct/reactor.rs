//! All connections of one thread: [`Reactor`] waits for them together and reads them one after another, all into the
//! same buffer. What it costs an event is a share of a wait, a read, and what the exchange does with it: nobody is
//! woken before an exchange is over. Must not know what is sent.
//!
//! 单线程的全部连接：一个 epoll，逐个读取。

use std::{
    convert::Infallible,
    io,
    mem::MaybeUninit,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::TcpStream,
};

use super::{
    acks::Acks,
    exchange::{Exchange, Progress},
    link::Link,
};
use crate::client::http::Clock;

/// Of one read.
const READ: usize = 64 << 10;
/// After so many connections whoever shares the thread gets a turn: requests that are due.
const AT_ONCE: usize = 128;
const NOT_AT_ALL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The connections of one thread.
pub(super) struct Reactor {
    epoll: Arc<OwnedFd>,
    state: Mutex<State>,
}

struct State {
    links: Vec<Option<Link>>,
    free: Vec<usize>,
    /// Those without a request, the one that was used last at the end.
    idle: Vec<usize>,
    /// Reads go here, one at a time.
    scratch: Box<[u8]>,
}

impl Reactor {
    /// # Errors
    /// When the system has no event loop for us.
    pub(super) fn new() -> io::Result<Self> {
        let state = State {
            links: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            scratch: vec![0; READ].into_boxed_slice(),
        };
        Ok(Self { epoll: Arc::new(epoll::create(CreateFlags::CLOEXEC)?), state: Mutex::new(state) })
    }

    /// Reads what comes, as long as it is polled.
    ///
    /// # Errors
    /// When it cannot go on: the system's fault.
    pub(super) async fn run(&self) -> io::Result<Infallible> {
        #[expect(
            deprecated,
            reason = "what takes its place is unsafe code, for descriptors that can be closed behind its back; this \
                      one is owned and stays"
        )]
        let ready = AsyncFd::with_interest(Arc::clone(&self.epoll), Interest::READABLE)?;
        loop {
            let mut guard = ready.readable().await?;
            while self.turn()? {
                tokio::task::yield_now().await;
            }
            guard.clear_ready();
        }
    }

    /// Reads every connection that has something, up to a limit: whether it was reached.
    fn turn(&self) -> io::Result<bool> {
        let mut ready = [const { MaybeUninit::<Event>::uninit() }; AT_ONCE];
        let (ready, _) = match epoll::wait(&self.epoll, &mut ready, Some(&NOT_AT_ALL)) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let State { links, scratch, .. } = &mut *self.lock();
        for event in &*ready {
            let slot = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some(Some(link)) = links.get_mut(slot) {
                link.stir(event.flags, scratch);
            }
        }
        Ok(ready.len() == AT_ONCE)
    }

    /// Takes in a connection that stands.
    pub(super) fn add(&self, stream: TcpStream, acks: Arc<Acks>) -> io::Result<Held<'_>> {
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let mut state = self.lock();
        let slot = state.free.pop().unwrap_or_else(|| {
            state.links.push(None);
            state.links.len() - 1
        });
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, &stream, EventData::new_u64(slot as u64), flags) {
            state.free.push(slot);
            return Err(error.into());
        }
        state.links[slot] = Some(Link::new(stream, acks));
        Ok(self.held(slot))
    }

    /// A connection without a request, the one that was used last; and whether the server had closed another one
    /// meanwhile, or was about to.
    pub(super) fn take(&self) -> (Option<Held<'_>>, bool) {
        let mut state = self.lock();
        let mut closed = false;
        while let Some(slot) = state.idle.pop() {
            if state.links[slot].as_ref().is_some_and(Link::is_good) {
                return (Some(self.held(slot)), closed);
            }
            state.close(slot);
            closed = true;
        }
        (None, closed)
    }

    fn held(&self, slot: usize) -> Held<'_> {
        Held { reactor: self, slot, goes_on: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The system forgets what it was to tell of a connection that is closed.
    fn close(&mut self, slot: usize) {
        self.links[slot] = None;
        self.free.push(slot);
    }
}

/// A connection that somebody has for a request. Dropped, it is closed, unless it goes on.
pub(super) struct Held<'a> {
    reactor: &'a Reactor,
    slot: usize,
    goes_on: bool,
}

impl Held<'_> {
    /// Has `exchange` under way.
    pub(super) fn begin(&self, exchange: Exchange) {
        let State { links, scratch, .. } = &mut *self.reactor.lock();
        of(links, self.slot).begin(exchange, scratch);
    }

    /// Writes what can be written of `rest`, and says how far its exchange has come; `waker` hears when that may have
    /// changed.
    pub(super) fn advance(&self, rest: &mut &[u8], clock: &Clock<'_>, waker: &Waker) -> Progress {
        of(&mut self.reactor.lock().links, self.slot).advance(rest, clock, waker)
    }

    /// Its exchange, which is over. Where it `may` and the server lets it, the connection waits for another one.
    pub(super) fn end(mut self, may: bool) -> Exchange {
        let (exchange, goes_on) = of(&mut self.reactor.lock().links, self.slot).end();
        self.goes_on = may && goes_on;
        exchange
    }

    /// It waits for a request.
    pub(super) fn put_back(mut self) {
        self.goes_on = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.reactor.lock();
        if self.goes_on {
            state.idle.push(self.slot);
        } else {
            state.close(self.slot);
        }
    }
}

/// A connection that is held is there.
fn of(links: &mut [Option<Link>], slot: usize) -> &mut Link {
    links[slot].as_mut().expect("a connection that is held stays")
}
