//! Who may go out where prefill and decode are limited apart: a [`Gate`] gives a [`Pass`] for each request. No client
//! can hold a request back between its two phases, so that both limits are kept at the door. Must not know what is sent.
//!
//! prefill/decode 分别限流的准入闸门。

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{client::Stamp, perf::spec::PhaseLimits};

/// Lets requests through, in the order in which they came.
#[derive(Debug)]
pub(super) struct Gate {
    /// In both phases together.
    in_flight: Arc<Semaphore>,
    prefill: Arc<Semaphore>,
}

/// What a request holds while it is in flight.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Given back with its first token.
    prefill: Option<OwnedSemaphorePermit>,
    /// Given back at its end, by being dropped.
    _in_flight: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(super) fn of(limits: PhaseLimits) -> Self {
        let PhaseLimits { prefill, decode } = limits;
        Self {
            in_flight: Arc::new(Semaphore::new(prefill as usize + decode as usize)),
            prefill: Arc::new(Semaphore::new(prefill as usize)),
        }
    }

    /// Waits for its turn, and says since when it is admitted: `since`, where it need not wait.
    pub(super) async fn pass(&self, since: Stamp) -> (Pass, Stamp) {
        let [in_flight, prefill] = [&self.in_flight, &self.prefill].map(Arc::clone);
        if let (Ok(in_flight), Ok(prefill)) =
            (Arc::clone(&in_flight).try_acquire_owned(), Arc::clone(&prefill).try_acquire_owned())
        {
            return (Pass { prefill: Some(prefill), _in_flight: Some(in_flight) }, since);
        }
        // Neither is ever closed. Whoever waits with a permit in hand keeps nobody out: all others need the same.
        let in_flight = in_flight.acquire_owned().await.ok();
        let prefill = prefill.acquire_owned().await.ok();
        (Pass { prefill, _in_flight: in_flight }, Stamp::now())
    }
}

impl Pass {
    /// The request has its first token: it decodes.
    pub(super) fn decodes(&mut self) {
        self.prefill = None;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const DUE: Stamp = Stamp(0);

    fn now(gate: &Gate) -> Option<Pass> {
        gate.pass(DUE).now_or_never().map(|(pass, since)| {
            assert_eq!(since, DUE, "who need not wait is admitted when it is due");
            pass
        })
    }

    #[test]
    fn no_more_than_the_limit_are_in_prefill_and_no_more_than_both_limits_in_flight() {
        let gate = Gate::of(PhaseLimits { prefill: 2, decode: 3 });
        let mut first = now(&gate).expect("the first of two");
        let second = now(&gate).expect("the second");
        assert!(now(&gate).is_none(), "two are in prefill");
        first.decodes();
        let mut passes = vec![first, second];
        while let Some(mut pass) = now(&gate) {
            pass.decodes();
            passes.push(pass);
        }
        assert_eq!(passes.len(), 5, "one in prefill, and four that decode: the fifth could not be held back");
        passes.pop();
        assert!(now(&gate).is_some(), "one of those that decode has ended");
    }

    #[tokio::test]
    async fn who_waits_goes_in_its_order_and_since_then() {
        let gate = Gate::of(PhaseLimits { prefill: 1, decode: 1 });
        let mut first = now(&gate).expect("nobody is there");
        let order = std::sync::Mutex::new(Vec::new());
        let waits = async |number: u32| {
            let (pass, since) = gate.pass(DUE).await;
            order.lock().unwrap().push((number, since > DUE));
            drop(pass);
        };
        let lets_go = async {
            tokio::task::yield_now().await;
            first.decodes();
        };
        tokio::join!(waits(1), waits(2), waits(3), lets_go);
        assert_eq!(*order.lock().unwrap(), [(1, true), (2, true), (3, true)]);
    }

    #[tokio::test]
    async fn who_stops_waiting_takes_nothing_along() {
        let gate = Gate::of(PhaseLimits { prefill: 1, decode: 0 });
        let first = now(&gate).expect("nobody is there");
        let mut waiting = Box::pin(gate.pass(DUE));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        drop(waiting);
        assert!(now(&gate).is_some());
    }
}
