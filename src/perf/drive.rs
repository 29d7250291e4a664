//! Makes load: [`closed_loop`] keeps a number of requests in flight until all are sent. It sees exchange events
//! only, through [`Transport`], so that a faster transport can take the client's place. Must not know what the
//! figures mean.
//!
//! 施加负载：固定并发的闭环；一次尝试即一个样本，不重试。

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, Event, Limits, Request, Stamp},
    perf::{
        record::Record,
        timeline::{Slot, Timeline},
    },
};

/// Carries one request and tells what happens, ending with exactly one [`Event::End`]; soon after `cancel` is
/// set that end is there too. It never repeats a request by itself.
pub trait Transport: Send + Sync {
    /// See the trait.
    fn perform(
        &self,
        request: &Request,
        limits: &Limits,
        cancel: &CancellationToken,
        on: impl FnMut(Event<'_>) + Send,
    ) -> impl Future<Output = ()> + Send;
}

impl Transport for Client {
    fn perform(
        &self,
        request: &Request,
        limits: &Limits,
        cancel: &CancellationToken,
        on: impl FnMut(Event<'_>) + Send,
    ) -> impl Future<Output = ()> + Send {
        Client::perform(self, request, limits, cancel, on)
    }
}

/// What is sent, built whole before the first of it goes out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In this order.
    pub requests: Vec<Request>,
    /// The first so many are the warm-up; the measured ones follow without a pause, so that no opening burst of
    /// their own falls into the window.
    pub warmup: usize,
    /// How many are in flight.
    pub concurrency: u32,
    /// Of each request.
    pub limits: Limits,
}

/// Sends `plan` with `concurrency` workers, each with one request in flight, and hands every [`Record`] to `keep`
/// as it ends. Ends when all are done, or soon after `cancel` is set. All workers share one task: `keep` must not
/// block.
pub async fn closed_loop<T: Transport>(
    transport: &T,
    plan: &Plan,
    cancel: &CancellationToken,
    keep: &(impl Fn(Record) + Send + Sync),
) {
    let next = AtomicUsize::new(0);
    let begin = Stamp::now();
    let workers =
        (0..plan.concurrency).map(|worker| work(transport, plan, cancel, keep, &next, worker, begin));
    join_all(workers).await;
}

async fn work<T: Transport>(
    transport: &T,
    plan: &Plan,
    cancel: &CancellationToken,
    keep: &(impl Fn(Record) + Send + Sync),
    next: &AtomicUsize,
    worker: u32,
    begin: Stamp,
) {
    let mut free_since = begin;
    while !cancel.is_cancelled() {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = plan.requests.get(index) else { return };
        let mut timeline = Timeline::new(Slot {
            index: index as u64,
            warmup: index < plan.warmup,
            epoch: 0,
            worker,
            in_flight: 1,
            scheduled: free_since,
            admitted: free_since,
            started: Stamp::now(),
        });
        transport.perform(request, &plan.limits, cancel, |event| timeline.on(&event)).await;
        let record = timeline.finish();
        free_since = record.ended;
        keep(record);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, atomic::AtomicU32},
        time::Duration,
    };

    use super::*;
    use crate::client::{End, Fault, Route};

    /// Answers every request with one token after 5 ms, and counts how many are in flight.
    #[derive(Default)]
    struct OneToken {
        in_flight: AtomicU32,
        peak: AtomicU32,
        seen: Mutex<Vec<Option<bytes::Bytes>>>,
    }

    impl Transport for OneToken {
        async fn perform(
            &self,
            request: &Request,
            _: &Limits,
            cancel: &CancellationToken,
            mut on: impl FnMut(Event<'_>) + Send,
        ) {
            self.seen.lock().unwrap().push(request.body.clone());
            let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            self.peak.fetch_max(now, Ordering::SeqCst);
            let cut =
                cancel.run_until_cancelled(tokio::time::sleep(Duration::from_millis(5))).await.is_none();
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            if cut {
                return on(Event::End(Stamp::now(), End::Broken(Fault::Cancelled)));
            }
            let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
            on(Event::Headers { at: Stamp::now(), status: 200, headers });
            let body =
                b"data: {\"choices\":[{\"text\":\"x\",\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
            on(Event::Bytes(Stamp::now(), body));
            on(Event::End(Stamp::now(), End::Complete));
        }
    }

    fn plan(requests: usize, warmup: usize, concurrency: u32) -> Plan {
        let request = |index: usize| Request {
            method: "POST".to_owned(),
            route: Route::Api("/completions".to_owned()),
            headers: Vec::new(),
            body: Some(index.to_string().into()),
            read_size: None,
        };
        let requests = (0..requests).map(request).collect();
        Plan { requests, warmup, concurrency, limits: Limits::default() }
    }

    async fn run(transport: &OneToken, plan: &Plan, cancel: &CancellationToken) -> Vec<Record> {
        let records = Mutex::new(Vec::new());
        closed_loop(transport, plan, cancel, &|record| records.lock().unwrap().push(record)).await;
        let mut records = records.into_inner().unwrap();
        records.sort_by_key(|record| record.index);
        records
    }

    #[tokio::test]
    async fn every_request_is_sent_once_and_the_concurrency_is_reached_and_kept() {
        let transport = OneToken::default();
        let records = run(&transport, &plan(20, 0, 4), &CancellationToken::new()).await;
        assert_eq!(records.iter().map(|r| r.index).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        assert!(records.iter().all(Record::is_ok));
        assert_eq!(transport.peak.load(Ordering::SeqCst), 4);
        let mut bodies: Vec<_> = transport.seen.lock().unwrap().iter().flatten().cloned().collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), 20);
    }

    #[tokio::test]
    async fn the_first_requests_are_the_warm_up_and_are_marked_so() {
        let records = run(&OneToken::default(), &plan(7, 3, 2), &CancellationToken::new()).await;
        assert_eq!(
            records.iter().map(|r| r.warmup).collect::<Vec<_>>(),
            [true, true, true, false, false, false, false]
        );
    }

    #[tokio::test]
    async fn a_worker_is_due_again_when_its_request_has_ended() {
        let records = run(&OneToken::default(), &plan(3, 0, 1), &CancellationToken::new()).await;
        for pair in records.windows(2) {
            assert_eq!(pair[1].scheduled, pair[0].ended);
            assert!(pair[1].started >= pair[1].scheduled);
        }
    }

    #[tokio::test]
    async fn cancelling_keeps_what_is_done_and_says_what_was_cut() {
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(32)).await;
            stop.cancel();
        });
        let records = run(&OneToken::default(), &plan(100_000, 0, 2), &cancel).await;
        assert!(records.len() < 100_000);
        assert!(records.iter().any(Record::is_ok));
        let cut = records.iter().filter(|r| r.outcome.name() == "cancelled").count();
        assert!((1..=2).contains(&cut), "{cut} requests were in flight when it was cancelled");
    }
}
