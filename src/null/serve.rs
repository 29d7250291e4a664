//! The server: [`serve`], one thread with an epoll loop of its own. What is due lies in three queues that are in order
//! by themselves, since every answer has the same delays; a token costs one look at the clock and one write. Must not
//! know what the bytes mean.
//!
//! 单线程 epoll 事件循环，按绝对时刻表发送。

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    rc::Rc,
    time::Duration,
};

use rustix::{
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    fd::OwnedFd,
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
        timerfd_create, timerfd_settime,
    },
};

use crate::arrival::{self, Read};

use super::{
    Answer, Line, Log, Script,
    asked::{self, Asked, Endpoint},
    monotonic_ns,
    wire::{self, Reply},
};

/// After so many writes the loop looks for what came in: a request that waits is stamped late.
const WRITES_AT_ONCE: usize = 32;
/// How long after its first half the second half of an event is sent.
const CUT_APART: Duration = Duration::from_millis(1);
/// Connections that may wait to be accepted; the system may know a lower limit (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

const LISTENER: u64 = u64::MAX;
const PARENT: u64 = u64::MAX - 1;
const TIMER: u64 = u64::MAX - 2;

/// Serves until standard input ends, telling `hear` what happens; then the log is written.
///
/// # Errors
/// When the port is taken, or the system refuses an event loop.
pub fn serve(script: &Script, mut hear: impl FnMut(Line)) -> io::Result<()> {
    let mut server = Server::new(script)?;
    hear(Line::Url(format!("http://{}", server.listener.local_addr()?)));
    while server.turn(&mut hear)? {}
    match &script.log {
        Some(path) => server.into_log().write(&mut io::BufWriter::new(std::fs::File::create(path)?)),
        None => Ok(()),
    }
}

/// What is due, and of which connection; `life` tells whether that one is still the one that was meant.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: u64,
    slot: usize,
    life: u64,
}

struct Connection {
    stream: TcpStream,
    life: u64,
    inbox: Vec<u8>,
    /// What the socket did not take.
    outbox: Vec<u8>,
    answering: Option<Answering>,
}

struct Answering {
    reply: Rc<Reply>,
    step: usize,
    /// When its next whole step is due.
    due: u64,
    answer: Answer,
}

struct Server<'a> {
    script: &'a Script,
    listener: TcpListener,
    epoll: OwnedFd,
    timer: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    lives: u64,
    replies: HashMap<(Endpoint, u32), Rc<Reply>>,
    /// First tokens, later ones, and second halves: each in order of time.
    queues: [VecDeque<Due>; 3],
    log: Log,
    began: Option<u64>,
    scratch: Box<[u8]>,
    ready: Vec<Event>,
}

const FIRSTS: usize = 0;
const LATER: usize = 1;
const HALVES: usize = 2;

impl<'a> Server<'a> {
    fn new(script: &'a Script) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, script.port))?;
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, BACKLOG)?;
        // What every system has, and does nothing here. Pacing, such as BBR's, would be timers that both sides pay for.
        let _ = rustix::net::sockopt::set_tcp_congestion(&listener, "reno");
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        // A file cannot be waited for: then only a signal ends us.
        let _ = epoll::add(&epoll, io::stdin(), EventData::new_u64(PARENT), EventFlags::IN);
        Ok(Self {
            script,
            listener,
            epoll,
            timer,
            connections: Vec::new(),
            free: Vec::new(),
            lives: 0,
            replies: HashMap::new(),
            queues: Default::default(),
            log: Log::default(),
            began: None,
            scratch: vec![0; 64 * 1024].into(),
            ready: Vec::with_capacity(1024),
        })
    }

    /// Sends what is due, waits for what comes next and takes it; false when it is over.
    fn turn(&mut self, hear: &mut impl FnMut(Line)) -> io::Result<bool> {
        let timeout = match self.send_due(hear) {
            Some(0) => Some(Timespec { tv_sec: 0, tv_nsec: 0 }),
            Some(wait) => {
                self.wake_after(wait)?;
                None
            }
            None => None,
        };
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut on = true;
        for event in &ready {
            match event.data.u64() {
                LISTENER => self.accept()?,
                PARENT => on = !self.parent_is_gone(),
                // It was waited for, and has nothing to say.
                TIMER => drop(rustix::io::read(&self.timer, &mut [0_u8; 8])),
                slot => self.serve_one(slot as usize, event.flags, hear),
            }
        }
        self.ready = ready;
        Ok(on)
    }

    /// The timeout of `epoll_wait` itself is rounded up to a millisecond.
    fn wake_after(&self, wait_ns: u64) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(wait_ns / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(wait_ns % 1_000_000_000).unwrap_or(0),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    fn parent_is_gone(&mut self) -> bool {
        matches!(io::stdin().read(&mut self.scratch), Ok(0) | Err(_))
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            arrival::ask(&stream);
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            epoll::add(&self.epoll, &stream, EventData::new_u64(slot as u64), EventFlags::IN)?;
            self.lives += 1;
            let connection = Connection {
                stream,
                life: self.lives,
                inbox: Vec::new(),
                outbox: Vec::new(),
                answering: None,
            };
            self.connections[slot] = Some(connection);
        }
    }

    /// Something came from a connection, or it takes bytes again.
    fn serve_one(&mut self, slot: usize, flags: EventFlags, hear: &mut impl FnMut(Line)) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        if flags.contains(EventFlags::OUT) && !connection.drain(&self.epoll, slot) {
            return self.close(slot);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        let received = match arrival::read(&connection.stream, &mut self.scratch) {
            Ok(Read { bytes: 0, .. }) => return self.close(slot),
            Ok(Read { bytes, ago }) => {
                connection.inbox.extend_from_slice(&self.scratch[..bytes]);
                monotonic_ns() - nanos(ago.unwrap_or_default())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => return self.close(slot),
        };
        match asked::read(&connection.inbox) {
            Asked::More => {}
            Asked::Unreadable => self.close(slot),
            Asked::Other(path, length) => {
                connection.inbox.drain(..length);
                self.write(slot, &wire::plain(&path));
            }
            Asked::Generate { endpoint, id, tokens, length } => {
                connection.inbox.drain(..length);
                self.begin(slot, (endpoint, tokens.unwrap_or(self.script.tokens)), id, received, hear);
            }
        }
    }

    fn begin(
        &mut self,
        slot: usize,
        wanted: (Endpoint, u32),
        id: Option<u64>,
        received: u64,
        hear: &mut impl FnMut(Line),
    ) {
        if self.began.is_none() {
            self.began = Some(cpu_ns());
            hear(Line::Began);
        }
        let Script { pattern, padding, .. } = *self.script;
        let made = || Rc::new(Reply::new(wanted.0, wanted.1, pattern, padding));
        let reply = Rc::clone(self.replies.entry(wanted).or_insert_with(made));
        let due = received + nanos(self.script.first);
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let answer = Answer { id, received, ..Answer::default() };
        connection.answering = Some(Answering { reply, step: 0, due, answer });
        self.queues[FIRSTS].push_back(Due { at: due, slot, life: connection.life });
        self.write(slot, wire::HEAD);
    }

    /// Sends a handful of what is due; how long nothing more is, or nothing where nothing waits.
    fn send_due(&mut self, hear: &mut impl FnMut(Line)) -> Option<u64> {
        for _ in 0..WRITES_AT_ONCE {
            let (queue, due) = self
                .queues
                .iter()
                .enumerate()
                .filter_map(|(queue, all)| Some((queue, *all.front()?)))
                .min_by_key(|(_, due)| due.at)?;
            let now = monotonic_ns();
            if due.at > now {
                return Some(due.at - now);
            }
            self.queues[queue].pop_front();
            self.send(queue, due, now, hear);
        }
        Some(0)
    }

    fn send(&mut self, queue: usize, due: Due, now: u64, hear: &mut impl FnMut(Line)) {
        let Some(connection) = self.connections[due.slot].as_mut().filter(|one| one.life == due.life) else {
            return;
        };
        let Some(answering) = connection.answering.as_mut() else { return };
        let reply = Rc::clone(&answering.reply);
        let step = &reply.steps[answering.step];
        if let (Some(cut), true) = (step.cut, queue != HALVES) {
            let at = due.at + nanos(CUT_APART);
            self.queues[HALVES].push_back(Due { at, ..due });
            return self.write(due.slot, &step.bytes[..cut]);
        }
        let late = &mut self.log.late;
        (late.writes, late.sum_ns) = (late.writes + 1, late.sum_ns + (now - due.at));
        late.max_ns = late.max_ns.max(now - due.at);
        late.over_1ms += u64::from(now - due.at > 1_000_000);
        answering.answer.first.get_or_insert(now);
        answering.answer.last = Some(now);
        answering.answer.tokens += step.tokens;
        answering.step += 1;
        answering.due += nanos(self.script.interval) * u64::from(self.script.pattern.together());
        let next = (answering.step < reply.steps.len()).then_some(answering.due);
        match next {
            Some(at) => self.queues[LATER].push_back(Due { at, ..due }),
            None => answering.answer.whole = true,
        }
        self.write(due.slot, &step.bytes[step.cut.unwrap_or(0)..]);
        if next.is_none() {
            self.end(due.slot, hear);
        }
    }

    /// An answer is over.
    fn end(&mut self, slot: usize, hear: &mut impl FnMut(Line)) {
        let answering = self.connections[slot].as_mut().and_then(|connection| connection.answering.take());
        self.log.answers.extend(answering.map(|answering| answering.answer));
        self.log.cpu_ns = cpu_ns() - self.began.unwrap_or_default();
        if self.script.expected == Some(self.log.answers.len() as u64) {
            hear(Line::Ended);
        }
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        self.log.bytes += bytes.len() as u64;
        let taken = if connection.outbox.is_empty() { connection.stream.write(bytes) } else { Ok(0) };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return self.close(slot),
        };
        if taken < bytes.len() {
            self.log.late.blocked += 1;
            connection.outbox.extend_from_slice(&bytes[taken..]);
            connection.want_out(&self.epoll, slot, true);
        }
    }

    fn close(&mut self, slot: usize) {
        // Closing takes it out of the event loop; what it waits for in a queue is passed over.
        let Some(connection) = self.connections[slot].take() else { return };
        self.free.push(slot);
        self.log.answers.extend(connection.answering.map(|answering| answering.answer));
    }

    fn into_log(mut self) -> Log {
        for slot in 0..self.connections.len() {
            self.close(slot);
        }
        self.log
    }
}

impl Connection {
    /// Sends what waits; false when the client is gone.
    fn drain(&mut self, epoll: &OwnedFd, slot: usize) -> bool {
        match self.stream.write(&self.outbox) {
            Ok(taken) => {
                self.outbox.drain(..taken);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        if self.outbox.is_empty() {
            self.want_out(epoll, slot, false);
        }
        true
    }

    fn want_out(&self, epoll: &OwnedFd, slot: usize, out: bool) {
        let flags = if out { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        // It is there: that was seen when it was added.
        let _ = epoll::modify(epoll, &self.stream, EventData::new_u64(slot as u64), flags);
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Of this process.
fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
