//! A request on its way and its answer: [`Exchange`] takes what is read, tells its listener, and says when it is over.
//! Must not know who reads, nor who waits for the end.
//!
//! 一次进行中的交换：读到的内容、监听者与结局。

use std::{any::Any, io, task::Waker};

use tokio::time::Instant;

use super::{Outgoing, answer::Answer};
use crate::client::{
    Event, Fault, Listener, Phase, Stamp, cut,
    http::{Clock, timeout, words},
};

/// How far an exchange has come.
pub(super) enum Progress {
    /// It ended, then or so.
    Over(Result<Stamp, Fault>),
    /// The next thing has to come until then, or else this is what it is.
    Until(Instant, Fault),
}

/// A request on its way and its answer.
pub(super) struct Exchange {
    listener: Box<dyn Listener>,
    read_size: Option<usize>,
    answer: Answer,
    /// Why the rest of the request cannot be written. The server may have answered all the same, and said why.
    unwritten: Option<io::Error>,
    /// When what happened last did.
    latest: Stamp,
    ended: Option<Result<Stamp, Fault>>,
    /// Of whoever waits for the end.
    waker: Option<Waker>,
}

impl Exchange {
    pub(super) fn new(outgoing: &Outgoing, listener: impl Listener) -> Self {
        Self {
            listener: Box::new(listener),
            read_size: outgoing.read_size,
            answer: Answer::to(outgoing.head_only),
            unwritten: None,
            latest: Stamp::now(),
            ended: None,
            waker: None,
        }
    }

    pub(super) fn hear(&mut self, event: Event<'_>) {
        let Self { listener, read_size, .. } = self;
        cut(event, *read_size, &mut |event| listener.hear(event));
    }

    /// The last byte of the request was written.
    pub(super) fn sent(&mut self, at: Stamp) {
        self.latest = at;
        self.hear(Event::Sent(at));
    }

    /// Takes what was read, of which nothing is the end, on a connection that had answered so many requests.
    pub(super) fn take(&mut self, at: Stamp, read: io::Result<&[u8]>, served: u64) {
        let before = self.answer.phase();
        // The wall clock told how long ago it arrived. Whatever that is set to, nothing goes behind what was before.
        let at = at.max(self.latest);
        self.latest = at;
        self.ended = match read {
            Err(error) => Some(Err(self.lost(&error))),
            Ok([]) => Some(self.closed(at, served)),
            Ok(bytes) => {
                let Self { listener, read_size, answer, .. } = self;
                let mut on = |event: Event<'_>| cut(event, *read_size, &mut |event| listener.hear(event));
                match answer.take(at, bytes, &mut on) {
                    Ok(false) => None,
                    Ok(true) => Some(Ok(at)),
                    Err(fault) => Some(Err(fault)),
                }
            }
        };
        // Another limit holds in the body.
        if self.ended.is_some() || before != self.answer.phase() {
            self.wake();
        }
    }

    fn closed(&self, at: Stamp, served: u64) -> Result<Stamp, Fault> {
        match &self.unwritten {
            Some(error) if self.answer.phase() == Phase::Headers => Err(self.lost(error)),
            _ => self.answer.closed(served).map(|()| at),
        }
    }

    fn lost(&self, error: &io::Error) -> Fault {
        Fault::Transport { phase: self.answer.phase(), message: words(error) }
    }

    /// The rest of the request cannot be written.
    pub(super) fn cannot_write(&mut self, error: io::Error) {
        self.unwritten = Some(error);
    }

    pub(super) fn can_write(&self) -> bool {
        self.unwritten.is_none() && self.ended.is_none()
    }

    pub(super) fn is_in_body(&self) -> bool {
        self.answer.phase() == Phase::Body
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// How far it has come as of now; `waker` hears when that may have changed.
    pub(super) fn progress(&mut self, clock: &Clock<'_>, waker: &Waker) -> Progress {
        if let Some(result) = &self.ended {
            return Progress::Over(result.clone());
        }
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
        let phase = self.answer.phase();
        let (until, limit) = match phase {
            Phase::Body => clock.piece(Stamp::now().since(self.latest)),
            _ => clock.headers(),
        };
        Progress::Until(until, timeout(phase, limit))
    }

    /// Has whoever waits look at it.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Whether the connection can carry another request now that it is over.
    pub(super) fn may_go_on(&self) -> bool {
        self.answer.may_go_on()
    }

    /// The listener that it was begun with.
    pub(super) fn into_listener<L: Listener>(self) -> L {
        let listener: Box<dyn Any> = self.listener;
        match listener.downcast() {
            Ok(listener) => *listener,
            Err(_) => unreachable!("an exchange keeps the listener that it was begun with"),
        }
    }
}
