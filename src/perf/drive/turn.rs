//! One epoch under way: [`Turn`] is what its workers share, and what a worker does. Must not know on which threads
//! they run.
//!
//! 一轮负载：工作者共享的状态与行为。

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Barrier, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Epoch, Plan, Stopped, Transport,
    conversation::History,
    gate::{Gate, Pass},
    pacer::{Due, Pacer},
};
use crate::{
    client::{Event, Limits, Listener, Stamp},
    perf::{
        record::{Outcome, Record, Turn as Place},
        schedule::Pace,
        spec::Stop,
        timeline::{Slot, Timeline},
    },
    timer::Timer,
};

/// How long before it begins a worker of a climb opens its connection: late enough for a server that closes idle ones,
/// early enough for a handshake.
const CONNECT_AHEAD: Duration = Duration::from_millis(300);

/// What the workers of one epoch share.
pub(super) struct Turn<'a, R, K> {
    epoch: &'a Epoch<R>,
    number: u32,
    /// The index of its first request over all epochs.
    first: u64,
    limits: &'a Limits,
    stop: &'a Stop,
    keep: &'a K,
    /// Cuts off what is in flight.
    cancel: &'a CancellationToken,
    /// Nothing more is sent, what is in flight is waited for.
    over: CancellationToken,
    /// No request is left: nobody needs to join any more.
    exhausted: CancellationToken,
    stopped: OnceLock<Stopped>,
    next: AtomicUsize,
    in_flight: &'a AtomicU32,
    /// Senders of an open loop that stand ready for the next arrival.
    idle: AtomicU32,
    pacer: Pacer,
    /// Where prefill and decode are limited apart.
    gate: Option<Gate>,
    ready: Barrier,
    begin: OnceLock<Stamp>,
    /// Nobody begins before.
    not_before: Option<Stamp>,
    opened: watch::Sender<Option<Stamp>>,
    judged: Mutex<Judged>,
}

/// What is known of a request before it is sent.
#[derive(Clone, Copy)]
struct Sent {
    index: u64,
    warmup: bool,
    worker: u32,
    conversation: Option<Place>,
    scheduled: Stamp,
    admitted: Stamp,
}

impl Sent {
    /// The next turn of the same conversation, which no cap holds back once it is due.
    fn next(self, due: Stamp) -> Self {
        let conversation = self.conversation.map(|place| Place { turn: place.turn + 1, ..place });
        Self { index: self.index + 1, conversation, scheduled: due, admitted: due, ..self }
    }
}

#[derive(Debug, Default)]
struct Judged {
    ended: u64,
    failed: u64,
}

/// Asks for one more sender: all others have a request in flight.
pub(super) type Grow = tokio::sync::mpsc::UnboundedSender<()>;

impl<'a, R, K: Fn(Record) + Send + Sync> Turn<'a, R, K> {
    pub(super) fn new(
        plan: &'a Plan<R>,
        (epoch, number, first): (&'a Epoch<R>, u32, u64),
        cancel: &'a CancellationToken,
        in_flight: &'a AtomicU32,
        keep: &'a K,
    ) -> Self {
        let over = cancel.child_token();
        let mut turn = Self {
            epoch,
            number,
            first,
            limits: &plan.limits,
            stop: &plan.stop,
            keep,
            cancel,
            exhausted: over.child_token(),
            over,
            stopped: OnceLock::new(),
            next: AtomicUsize::new(0),
            in_flight,
            idle: AtomicU32::new(0),
            pacer: Pacer::default(),
            gate: plan.phases.map(Gate::of),
            ready: Barrier::new(1),
            begin: OnceLock::new(),
            not_before: plan.begin,
            opened: watch::Sender::new(None),
            judged: Mutex::default(),
        };
        turn.ready = Barrier::new(turn.initial().max(1));
        turn
    }

    /// How many workers there are; nothing where as many as are needed come by themselves.
    pub(super) fn workers(&self) -> Option<u32> {
        match &self.epoch.pace {
            Pace::Closed { starts_ns } => Some(starts_ns.len() as u32),
            Pace::Open { cap, .. } => {
                cap.map(|cap| cap.min(u32::try_from(self.epoch.requests.len()).unwrap_or(u32::MAX)).max(1))
            }
        }
    }

    /// How many are there from the beginning.
    fn initial(&self) -> usize {
        match &self.epoch.pace {
            Pace::Closed { starts_ns } => starts_ns.iter().filter(|ns| **ns == 0).count(),
            Pace::Open { .. } => self.workers().unwrap_or(1) as usize,
        }
    }

    /// What worker `worker` does until nothing is left to send.
    pub(super) async fn work<T: Transport<Outgoing = R>>(&self, transport: &T, worker: u32) {
        if self.over.is_cancelled() {
            return;
        }
        match &self.epoch.pace {
            Pace::Open { arrivals_ns, .. } => {
                let begin = self.begin_together(transport).await;
                self.send_arrivals(transport, worker, begin, arrivals_ns, None).await;
            }
            Pace::Closed { starts_ns } => match starts_ns.get(worker as usize) {
                None | Some(0) => {
                    let begin = self.begin_together(transport).await;
                    self.send_one_after_another(transport, worker, begin).await;
                }
                Some(start) => {
                    if let Some(due) = self.join(transport, *start).await {
                        self.send_one_after_another(transport, worker, due).await;
                    }
                }
            },
        }
    }

    /// A sender of an open loop without a cap, of which there are as many as requests in flight and one that waits.
    pub(super) async fn work_uncapped<T: Transport<Outgoing = R>>(
        &self,
        transport: &T,
        worker: u32,
        grow: &Grow,
    ) {
        let Pace::Open { arrivals_ns, .. } = &self.epoch.pace else { return };
        let begin = match self.begin.get() {
            Some(begin) => *begin,
            None => self.begin_together(transport).await,
        };
        self.send_arrivals(transport, worker, begin, arrivals_ns, Some(grow)).await;
    }

    /// Opens a connection, waits for the others, and says when all of them began.
    async fn begin_together<T: Transport<Outgoing = R>>(&self, transport: &T) -> Stamp {
        transport.connect(self.limits, self.cancel).await;
        self.over.run_until_cancelled(self.ready.wait()).await;
        if let Some(at) = self.not_before {
            self.over.run_until_cancelled(Timer::new().sleep(at.since(Stamp::now()))).await;
        }
        self.begin()
    }

    /// Waits until a climb has grown to this worker; nothing where it never does.
    async fn join<T: Transport<Outgoing = R>>(&self, transport: &T, start_ns: u64) -> Option<Stamp> {
        let mut opened = self.opened.subscribe();
        let opened = self.exhausted.run_until_cancelled(opened.wait_for(Option::is_some)).await?;
        let due = Stamp(opened.ok().and_then(|stamp| *stamp)?.0.saturating_add(start_ns));
        // Thousands may come here in one moment, and nothing is due yet: the coarse timer costs no call to the system.
        let ahead = due.since(Stamp::now()).saturating_sub(CONNECT_AHEAD);
        self.exhausted.run_until_cancelled(tokio::time::sleep(ahead)).await?;
        transport.connect(self.limits, self.cancel).await;
        self.exhausted.run_until_cancelled(Timer::new().sleep(due.since(Stamp::now()))).await?;
        Some(due)
    }

    async fn send_one_after_another<T: Transport<Outgoing = R>>(
        &self,
        transport: &T,
        worker: u32,
        begin: Stamp,
    ) {
        let mut free_since = begin;
        while let Some(index) = self.take() {
            free_since = self.converse(transport, index, worker, free_since, free_since).await;
        }
    }

    async fn send_arrivals<T: Transport<Outgoing = R>>(
        &self,
        transport: &T,
        worker: u32,
        begin: Stamp,
        arrivals_ns: &[u64],
        grow: Option<&Grow>,
    ) {
        let timer = Timer::new();
        while let Some(index) = self.take() {
            let free = Stamp::now();
            self.idle.fetch_add(1, Ordering::SeqCst);
            let due = self.until_due(&timer, begin, arrivals_ns[index], grow.is_none().then_some(free)).await;
            let nobody_waits = self.idle.fetch_sub(1, Ordering::SeqCst) == 1;
            let Some(due) = due else { return };
            if let (true, Some(grow)) = (nobody_waits, grow) {
                // Whoever takes them in lives as long as there are senders.
                let _ = grow.send(());
            }
            // Without a cap nobody waits for admission, however late the next sender came.
            let admitted = if grow.is_none() { due.max(free) } else { due };
            self.converse(transport, index, worker, due, admitted).await;
        }
    }

    /// Waits for an arrival, and says since when it is due; nothing where sending is over before.
    async fn until_due(
        &self,
        timer: &Timer,
        begin: Stamp,
        offset_ns: u64,
        free: Option<Stamp>,
    ) -> Option<Stamp> {
        let planned = Stamp(begin.0.saturating_add(offset_ns));
        let waited = free.is_none_or(|free| free <= planned);
        loop {
            if self.over.is_cancelled() {
                return None;
            }
            match self.pacer.ask(begin, offset_ns, Stamp::now(), waited) {
                Due::Since(due) => return Some(due),
                Due::At(due) => {
                    self.over.run_until_cancelled(timer.sleep(due.since(Stamp::now()))).await?;
                }
            }
        }
    }

    /// Waits until prefill and decode have room, where they are limited apart, and says since when the request is
    /// admitted; nothing where sending is over before.
    async fn admit(&self, since: Stamp) -> Option<(Pass, Stamp)> {
        let Some(gate) = &self.gate else { return Some((Pass::default(), since)) };
        let admitted = self.over.run_until_cancelled(gate.pass(since)).await?;
        (!self.is_over()).then_some(admitted)
    }

    /// Sends one request, and where it begins a conversation all that follows; says when the last of them ended.
    async fn converse<T: Transport<Outgoing = R>>(
        &self,
        transport: &T,
        index: usize,
        worker: u32,
        scheduled: Stamp,
        admitted: Stamp,
    ) -> Stamp {
        let warmup = index < self.epoch.warmup;
        let talk = self.epoch.conversations.get(index);
        let mut sent = Sent {
            index: talk.map_or(self.first + index as u64, |talk| talk.index),
            warmup,
            worker,
            conversation: talk.map(|talk| Place { number: talk.number, turn: 0, turns: talk.turns() }),
            scheduled,
            admitted,
        };
        let (mut ended, mut answer) = self.send(transport, &self.epoch.requests[index], sent).await;
        let Some(talk) = talk else { return ended };
        let (mut history, timer) = (History::of(talk), Timer::new());
        for turn in &talk.later {
            // Without the answer there is nothing to go on from.
            let Some(said) = answer.take() else { break };
            let request = transport.prepare(history.next(&said, turn));
            let due = Stamp(ended.0.saturating_add(turn.think_ns));
            let waited = self.over.run_until_cancelled(timer.sleep(due.since(Stamp::now()))).await;
            if waited.is_none() || self.is_over() {
                break;
            }
            sent = sent.next(due);
            (ended, answer) = self.send(transport, &request, sent).await;
        }
        ended
    }

    /// Sends one request and keeps its record; says when it ended, and what the answer said, where it is part of a
    /// conversation that can go on.
    async fn send<T: Transport<Outgoing = R>>(
        &self,
        transport: &T,
        request: &R,
        sent: Sent,
    ) -> (Stamp, Option<String>) {
        let Some((pass, admitted)) = self.admit(sent.admitted).await else {
            return (sent.scheduled, None);
        };
        let warmup = sent.warmup;
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let started = Stamp::now();
        if !warmup && self.opened.borrow().is_none() {
            self.opened.send_if_modified(|opened| opened.replace(opened.unwrap_or(started)).is_none());
        }
        let timeline = Timeline::new(Slot {
            index: sent.index,
            warmup,
            epoch: self.number,
            conversation: sent.conversation,
            worker: sent.worker,
            in_flight,
            scheduled: sent.scheduled,
            admitted,
            started,
        });
        let timeline = if sent.conversation.is_some() { timeline.listening() } else { timeline };
        let hearing = Hearing { timeline, pass };
        let Hearing { timeline, pass } = transport.perform(request, self.limits, self.cancel, hearing).await;
        drop(pass);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let (record, answer) = timeline.finish_with_answer();
        let (ended, goes_on) = (record.ended, !record.closes());
        self.judge(&record);
        (self.keep)(record);
        (ended, goes_on.then_some(answer))
    }

    /// Whether nothing more is sent. A closed loop ends after its time; the arrivals of an open one were drawn to end then,
    /// and their conversations go on to their ends.
    fn is_over(&self) -> bool {
        if let (Some(limit), Some(opened)) = (self.stop.duration, *self.opened.borrow())
            && matches!(self.epoch.pace, Pace::Closed { .. })
            && !self.over.is_cancelled()
            && Stamp::now().since(opened) >= limit
        {
            self.finish(Stopped::Duration);
        }
        self.over.is_cancelled()
    }

    /// The next request, or the next conversation, unless sending is over.
    fn take(&self) -> Option<usize> {
        if self.is_over() {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index < self.epoch.requests.len() {
            return Some(index);
        }
        self.exhausted.cancel();
        None
    }

    /// Whether too many have failed.
    fn judge(&self, record: &Record) {
        let Some(limit) =
            self.stop.failures.filter(|_| !record.warmup && record.outcome != Outcome::Cancelled)
        else {
            return;
        };
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.ended += 1;
        judged.failed += u64::from(!record.is_ok());
        let Judged { ended, failed } = *judged;
        if ended >= u64::from(limit.of_at_least) && failed as f64 > limit.ratio_above * ended as f64 {
            self.finish(Stopped::Failures { failed, ended });
        }
    }

    /// The first reason stands.
    fn finish(&self, why: Stopped) {
        self.stopped.get_or_init(|| why);
        self.over.cancel();
    }

    /// Nobody can carry it after all.
    pub(super) fn give_up(&self) {
        self.over.cancel();
    }

    pub(super) fn begin(&self) -> Stamp {
        *self.begin.get_or_init(|| self.not_before.unwrap_or_else(Stamp::now))
    }

    pub(super) fn opened(&self) -> Option<Stamp> {
        *self.opened.borrow()
    }

    pub(super) fn shifted(&self) -> Duration {
        self.pacer.shifted()
    }

    pub(super) fn stopped(&self) -> Stopped {
        match self.stopped.get() {
            _ if self.cancel.is_cancelled() => Stopped::Cancelled,
            Some(why) => *why,
            None => match &self.epoch.pace {
                // Its arrivals were drawn to end there.
                Pace::Open { .. } if self.stop.duration.is_some() => Stopped::Duration,
                _ => Stopped::Exhausted,
            },
        }
    }
}

/// A request's timeline, and its leave to be in flight, of which the first token gives a part back.
struct Hearing {
    timeline: Timeline,
    pass: Pass,
}

impl Listener for Hearing {
    fn hear(&mut self, event: Event<'_>) {
        self.timeline.on(&event);
        if self.timeline.decodes() {
            self.pass.decodes();
        }
    }
}
