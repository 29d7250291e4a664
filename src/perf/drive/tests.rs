use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    client::{End, Event, Fault, Limits, Listener, Route},
    perf::spec::FailureStop,
};

/// Answers every request with one token after `takes`, and notes who asked.
#[derive(Default, Clone)]
struct OneToken {
    takes: Duration,
    /// How long it goes on after its token.
    decodes: Duration,
    refuses: bool,
    seen: std::sync::Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    in_flight: AtomicU32,
    peak: AtomicU32,
    /// How many requests each thread had in flight at most, by the name that the system shows of it.
    threads: Mutex<BTreeMap<String, (u32, u32)>>,
    bodies: Mutex<Vec<Option<bytes::Bytes>>>,
    connects: AtomicU32,
    aparts: AtomicU32,
}

/// What the system calls this thread.
fn comm() -> String {
    std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default().trim().to_owned()
}

impl OneToken {
    fn taking(ms: u64) -> Self {
        Self { takes: Duration::from_millis(ms), ..Self::default() }
    }

    fn enter(&self, request: &Request) {
        self.seen.bodies.lock().unwrap().push(request.body.clone());
        let now = self.seen.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen.peak.fetch_max(now, Ordering::SeqCst);
        let mut threads = self.seen.threads.lock().unwrap();
        let (now, most) = threads.entry(comm()).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    fn leave(&self) {
        self.seen.in_flight.fetch_sub(1, Ordering::SeqCst);
        if let Some((now, _)) = self.seen.threads.lock().unwrap().get_mut(&comm()) {
            *now -= 1;
        }
    }
}

impl Transport for OneToken {
    const NAME: &'static str = "one token";

    type Outgoing = Request;

    fn prepare(&self, request: Request) -> Request {
        request
    }

    async fn perform<L: Listener>(
        &self,
        request: &Request,
        _: &Limits,
        cancel: &CancellationToken,
        mut listener: L,
    ) -> L {
        self.enter(request);
        let cut = cancel.run_until_cancelled(tokio::time::sleep(self.takes)).await.is_none();
        let mut on = |event: Event<'_>| listener.hear(event);
        if cut {
            self.leave();
            on(Event::End(Stamp::now(), End::Broken(Fault::Cancelled)));
            return listener;
        }
        let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
        let status = if self.refuses { 503 } else { 200 };
        on(Event::Headers { at: Stamp::now(), status, headers });
        let body = b"data: {\"choices\":[{\"text\":\"x\",\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
        on(Event::Bytes(Stamp::now(), body));
        if !self.decodes.is_zero() {
            tokio::time::sleep(self.decodes).await;
        }
        self.leave();
        on(Event::End(Stamp::now(), End::Complete));
        listener
    }

    fn apart(&self) -> Result<Self, String> {
        self.seen.aparts.fetch_add(1, Ordering::SeqCst);
        Ok(self.clone())
    }

    async fn connect(&self, _: &Limits, _: &CancellationToken) {
        self.seen.connects.fetch_add(1, Ordering::SeqCst);
    }
}

fn epoch(requests: usize, warmup: usize, pace: Pace) -> Epoch {
    let request = |index: usize| Request {
        method: "POST".to_owned(),
        route: Route::Api("/completions".to_owned()),
        headers: Vec::new(),
        body: Some(index.to_string().into()),
        read_size: None,
    };
    Epoch { requests: (0..requests).map(request).collect(), warmup, pace, conversations: Vec::new() }
}

fn fixed(concurrency: usize) -> Pace {
    Pace::Closed { starts_ns: vec![0; concurrency] }
}

fn climb(starts_ms: &[u64]) -> Pace {
    Pace::Closed { starts_ns: starts_ms.iter().map(|ms| ms * 1_000_000).collect() }
}

fn open(n: u64, every_ms: u64, cap: Option<u32>) -> Pace {
    Pace::Open { arrivals_ns: (1..=n).map(|k| k * every_ms * 1_000_000).collect(), cap }
}

pub(super) fn plan<R>(backend: ConcurrencyBackend, epochs: Vec<Epoch<R>>) -> Plan<R> {
    Plan {
        epochs,
        backend,
        processes: 1,
        begin: None,
        elsewhere: None,
        phases: None,
        limits: Limits::default(),
        stop: Stop::default(),
    }
}

const BOTH: [ConcurrencyBackend; 2] = [ConcurrencyBackend::ThreadingPool, ConcurrencyBackend::Asyncio];

fn run_until(transport: &OneToken, plan: &Plan, cancel: &CancellationToken) -> (Driven, Vec<Record>) {
    let records = Mutex::new(Vec::new());
    let in_flight = AtomicU32::new(0);
    let driven =
        drive(transport, plan.clone(), cancel, &in_flight, &|record| records.lock().unwrap().push(record))
            .unwrap();
    assert_eq!(in_flight.load(Ordering::SeqCst), 0, "all have ended");
    let mut records = records.into_inner().unwrap();
    records.sort_by_key(|record: &Record| record.index);
    (driven, records)
}

fn run(transport: &OneToken, plan: &Plan) -> (Driven, Vec<Record>) {
    run_until(transport, plan, &CancellationToken::new())
}

#[test]
fn every_request_is_sent_once_and_the_concurrency_is_reached_and_kept() {
    for backend in BOTH {
        let transport = OneToken::taking(5);
        let (driven, records) = run(&transport, &plan(backend, vec![epoch(20, 0, fixed(4))]));
        assert_eq!(records.iter().map(|r| r.index).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        assert!(records.iter().all(Record::is_ok));
        assert_eq!(transport.seen.peak.load(Ordering::SeqCst), 4, "{backend:?}");
        assert_eq!(records.iter().map(|r| r.in_flight).max(), Some(4));
        let bodies: BTreeSet<_> = transport.seen.bodies.lock().unwrap().iter().flatten().cloned().collect();
        assert_eq!(bodies.len(), 20);
        assert_eq!(driven.stopped(), Stopped::Exhausted);
        assert_eq!(transport.seen.connects.load(Ordering::SeqCst), 4, "before the first is sent");
    }
}

/// What stands in `/proc/self/task` decides, and not what we call it.
#[cfg(target_os = "linux")]
#[test]
fn a_pool_is_threads_with_one_request_each_and_a_loop_is_one_thread() {
    let threads = |backend| {
        let transport = OneToken::taking(20);
        let (driven, records) = run(&transport, &plan(backend, vec![epoch(12, 0, fixed(3))]));
        assert_eq!(records.len(), 12);
        let used = driven.epochs.into_iter().flat_map(|epoch| epoch.threads).collect::<Vec<_>>();
        let ids: BTreeSet<_> = used.iter().map(|thread| thread.id.unwrap()).collect();
        assert_eq!(ids.len(), used.len(), "every thread is one of its own");
        assert_eq!(
            transport.seen.aparts.load(Ordering::SeqCst) as usize,
            used.len(),
            "with its own connections"
        );
        transport.seen.threads.lock().unwrap().clone()
    };
    let pool = threads(ConcurrencyBackend::ThreadingPool);
    assert_eq!(pool.keys().collect::<Vec<_>>(), ["load-0", "load-1", "load-2"]);
    assert!(pool.values().all(|(_, most)| *most == 1), "{pool:?}");
    let single = threads(ConcurrencyBackend::Asyncio);
    assert_eq!(single.into_iter().collect::<Vec<_>>(), [("loadloop".to_owned(), (0, 3))]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_counts_as_many_threads_of_load_as_the_backend_says() {
    let alive = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("probe-")).count()
    };
    // Other tests of this process make load too: these threads get a name of their own.
    struct Renamed;
    impl Transport for Renamed {
        const NAME: &'static str = "renamed";

        type Outgoing = Request;

        fn prepare(&self, request: Request) -> Request {
            request
        }

        async fn perform<L: Listener>(
            &self,
            _: &Request,
            _: &Limits,
            _: &CancellationToken,
            mut listener: L,
        ) -> L {
            std::fs::write("/proc/thread-self/comm", format!("probe-{}", comm())).unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
            listener.hear(Event::End(Stamp::now(), End::Complete));
            listener
        }

        fn apart(&self) -> Result<Self, String> {
            Ok(Self)
        }

        async fn connect(&self, _: &Limits, _: &CancellationToken) {}
    }
    for (backend, expected) in [(ConcurrencyBackend::ThreadingPool, 3), (ConcurrencyBackend::Asyncio, 1)] {
        let most = std::sync::atomic::AtomicUsize::new(0);
        let one_each = plan(backend, vec![epoch(3, 0, fixed(3))]);
        std::thread::scope(|scope| {
            let load = scope
                .spawn(|| drive(&Renamed, one_each, &CancellationToken::new(), &AtomicU32::new(0), &|_| {}));
            while !load.is_finished() {
                most.fetch_max(alive(), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), expected, "{backend:?}");
    }
}

#[test]
fn the_warm_up_is_handed_over_without_draining_and_opens_no_window() {
    for backend in BOTH {
        let (driven, records) = run(&OneToken::taking(10), &plan(backend, vec![epoch(7, 3, fixed(2))]));
        let warm: Vec<_> = records.iter().map(|r| r.warmup).collect();
        assert_eq!(warm, [true, true, true, false, false, false, false]);
        let opened = records.iter().filter(|r| !r.warmup).map(|r| r.started).min();
        assert_eq!(driven.epochs[0].opened, opened);
        // The third warm-up request is still on its way when the first measured one is sent.
        assert!(records[2].ended > opened.unwrap(), "{backend:?}");
    }
}

#[test]
fn a_climb_grows_while_it_runs_and_drains_nothing() {
    for backend in BOTH {
        let (driven, records) =
            run(&OneToken::taking(10), &plan(backend, vec![epoch(24, 1, climb(&[0, 60, 120]))]));
        let opened = driven.epochs[0].opened.unwrap();
        for (worker, start) in [(1, 60), (2, 120)] {
            let first = records.iter().find(|r| r.worker == worker).expect("every worker joins");
            assert_eq!(first.scheduled.since(opened), Duration::from_millis(start), "{backend:?}");
            assert!(first.started >= first.scheduled);
            let others = records.iter().filter(|r| r.worker < worker);
            let meanwhile = others.filter(|r| r.started < first.started && r.ended > first.scheduled).count();
            assert!(meanwhile >= 1, "{backend:?}: the others go on");
        }
        let in_flight = |worker| records.iter().filter(|r| r.worker == worker).map(|r| r.in_flight).max();
        assert_eq!(in_flight(2), Some(3));
    }
}

#[test]
fn a_climb_whose_requests_run_out_ends_at_once() {
    for backend in BOTH {
        let begun = std::time::Instant::now();
        let (driven, records) =
            run(&OneToken::taking(2), &plan(backend, vec![epoch(4, 0, climb(&[0, 3_600_000]))]));
        assert_eq!((records.len(), driven.stopped()), (4, Stopped::Exhausted));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_worker_is_due_again_when_its_request_has_ended() {
    let (_, records) =
        run(&OneToken::taking(2), &plan(ConcurrencyBackend::Asyncio, vec![epoch(3, 0, fixed(1))]));
    for pair in records.windows(2) {
        assert_eq!(pair[1].scheduled, pair[0].ended);
        assert!(pair[1].started >= pair[1].scheduled);
    }
}

#[test]
fn arrivals_keep_to_their_times_however_slow_the_answers_are() {
    let transport = OneToken::taking(100);
    let (driven, records) =
        run(&transport, &plan(ConcurrencyBackend::Asyncio, vec![epoch(10, 0, open(10, 10, None))]));
    let (begin, shifted) = (driven.epochs[0].begin, driven.epochs[0].shifted);
    for record in &records {
        let planned = Duration::from_millis((record.index + 1) * 10);
        let due = record.scheduled.since(begin);
        assert!(
            due >= planned && due <= planned + shifted,
            "{due:?} for {planned:?}, shifted by {shifted:?}"
        );
        assert_eq!(record.admitted, record.scheduled, "nobody waits where there is no cap");
        assert!(record.started >= record.admitted);
    }
    assert!(transport.seen.peak.load(Ordering::SeqCst) >= 5, "they do not wait for one another");
}

#[test]
fn a_full_cap_is_a_wait_of_its_own_between_schedule_and_sending() {
    for backend in BOTH {
        let transport = OneToken::taking(40);
        let (_, records) = run(&transport, &plan(backend, vec![epoch(8, 0, open(8, 5, Some(2)))]));
        assert_eq!(records.len(), 8);
        assert!(transport.seen.peak.load(Ordering::SeqCst) <= 2);
        assert!(records.iter().all(|r| r.scheduled <= r.admitted && r.admitted <= r.started));
        let waited = records[7].admitted.since(records[7].scheduled);
        // Three pairs of 40 ms lie before the last one, due at 40 ms itself.
        assert!(waited >= Duration::from_millis(70), "{backend:?}: {waited:?}");
    }
}

/// What the limits let through, whoever carries it and however it becomes due.
#[test]
fn prefill_and_decode_are_limited_apart_and_waiting_for_them_is_a_phase_of_its_own() {
    for (backend, pace) in [
        (ConcurrencyBackend::ThreadingPool, fixed(6)),
        (ConcurrencyBackend::Asyncio, fixed(6)),
        (ConcurrencyBackend::ThreadingPool, open(18, 1, Some(6))),
        (ConcurrencyBackend::Asyncio, open(18, 1, None)),
    ] {
        let closed = matches!(pace, Pace::Closed { .. });
        let transport = OneToken { decodes: Duration::from_millis(15), ..OneToken::taking(10) };
        let mut plan = plan(backend, vec![epoch(18, 0, pace)]);
        plan.phases = Some(PhaseLimits { prefill: 2, decode: 2 });
        let (_, records) = run(&transport, &plan);
        assert_eq!(records.iter().filter(|record| record.is_ok()).count(), 18, "{backend:?}");
        let most = |from: fn(&Record) -> Stamp, to: fn(&Record) -> Stamp| {
            let at = |moment: Stamp| records.iter().filter(|r| from(r) <= moment && moment < to(r)).count();
            records.iter().map(|record| at(from(record))).max()
        };
        let first = |record: &Record| record.first_token.unwrap();
        assert_eq!(most(|r| r.started, first), Some(2), "{backend:?}: in prefill");
        assert_eq!(most(|r| r.started, |r| r.ended), Some(4), "{backend:?}: in flight");
        let waited = records.iter().filter(|r| r.admitted.since(r.scheduled) > Duration::from_millis(5));
        assert!(waited.count() >= 10, "{backend:?}: it is told since when they were admitted");
        assert!(records.iter().all(|r| r.scheduled <= r.admitted && r.admitted <= r.started));
        assert!(!closed || records.iter().all(|r| r.worker < 6));
    }
}

#[test]
fn who_waits_for_the_limits_when_time_is_over_is_not_sent() {
    for backend in BOTH {
        let mut plan = plan(backend, vec![epoch(1000, 0, fixed(4))]);
        plan.phases = Some(PhaseLimits { prefill: 1, decode: 1 });
        plan.stop.duration = Some(Duration::from_millis(60));
        let (driven, records) = run(&OneToken::taking(25), &plan);
        assert_eq!(driven.stopped(), Stopped::Duration);
        let opened = driven.epochs[0].opened.unwrap();
        assert!(records.iter().all(|r| r.admitted.since(opened) < Duration::from_millis(60)), "{backend:?}");
    }
}

#[test]
fn a_closed_loop_stops_after_its_time_and_waits_for_what_is_in_flight() {
    let mut plan = plan(ConcurrencyBackend::Asyncio, vec![epoch(100_000, 0, fixed(2))]);
    plan.stop.duration = Some(Duration::from_millis(60));
    let (driven, records) = run(&OneToken::taking(10), &plan);
    assert_eq!(driven.stopped(), Stopped::Duration);
    assert!(records.len() < 100 && records.iter().all(Record::is_ok), "{}", records.len());
    let opened = driven.epochs[0].opened.unwrap();
    assert!(records.iter().all(|r| r.scheduled.since(opened) < Duration::from_millis(60)));
}

#[test]
fn too_many_failures_stop_the_load_and_the_epochs_after_it() {
    for backend in BOTH {
        let transport = OneToken { refuses: true, ..OneToken::taking(1) };
        let mut plan = plan(backend, vec![epoch(10_000, 0, fixed(2)), epoch(10, 0, fixed(2))]);
        plan.stop.failures = Some(FailureStop { ratio_above: 0.5, of_at_least: 5 });
        let (driven, records) = run(&transport, &plan);
        assert!(
            matches!(driven.stopped(), Stopped::Failures { failed, ended } if failed == ended && ended >= 5)
        );
        assert_eq!(driven.epochs.len(), 1);
        assert!((5..=7).contains(&records.len()), "{}", records.len());
    }
}

#[test]
fn epochs_follow_one_another_and_count_on() {
    let (driven, records) = run(
        &OneToken::taking(2),
        &plan(ConcurrencyBackend::Asyncio, vec![epoch(4, 1, fixed(2)), epoch(4, 1, fixed(2))]),
    );
    assert_eq!(driven.epochs.len(), 2);
    assert_eq!(records.iter().map(|r| r.epoch).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(records.iter().map(|r| r.index).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    let drained = records.iter().filter(|r| r.epoch == 0).map(|r| r.ended).max();
    assert!(records.iter().filter(|r| r.epoch == 1).all(|r| Some(r.started) > drained));
}

#[test]
fn cancelling_keeps_what_is_done_and_says_what_was_cut() {
    for backend in BOTH {
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            stop.cancel();
        });
        let (driven, records) =
            run_until(&OneToken::taking(7), &plan(backend, vec![epoch(100_000, 0, fixed(2))]), &cancel);
        stopper.join().unwrap();
        assert!(records.len() < 100_000);
        assert_eq!(driven.stopped(), Stopped::Cancelled);
        let cut = records.iter().filter(|r| r.outcome.name() == "cancelled").count();
        assert!(cut <= 2, "{cut} requests were in flight when it was cancelled");
    }
}

#[test]
fn cancelling_wakes_who_waits_for_a_start_or_an_arrival() {
    for (backend, pace) in [
        (ConcurrencyBackend::ThreadingPool, climb(&[0, 3_600_000])),
        (ConcurrencyBackend::ThreadingPool, open(5, 3_600_000, Some(3))),
        (ConcurrencyBackend::Asyncio, open(5, 3_600_000, None)),
    ] {
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            stop.cancel();
        });
        let (driven, _) =
            run_until(&OneToken::taking(3_600_000), &plan(backend, vec![epoch(5, 0, pace)]), &cancel);
        stopper.join().unwrap();
        assert_eq!(driven.stopped(), Stopped::Cancelled);
    }
}

/// `talks` conversations of as many turns each, `think_ms` between them.
fn talking(talks: u32, warmup: usize, turns: u32, think_ms: u64, pace: Pace) -> Epoch {
    let mut epoch = epoch(talks as usize, warmup, pace);
    let later = |number: u32, turn: u32| Later {
        think_ns: think_ms * 1_000_000,
        message: format!("m{turn}"),
        closing: "]".to_owned(),
        id: format!("{number}.{turn}"),
    };
    epoch.conversations = (0..talks)
        .map(|number| Conversation {
            number,
            index: u64::from(number * turns),
            opening: format!("c{number}[m0"),
            request: Request { body: None, ..epoch.requests[0].clone() },
            later: (1..turns).map(|turn| later(number, turn)).collect(),
        })
        .collect();
    epoch
}

#[test]
fn a_turn_is_due_a_think_time_after_the_answer_before_and_carries_what_was_said() {
    for backend in BOTH {
        let transport = OneToken::taking(5);
        let (_, records) = run(&transport, &plan(backend, vec![talking(3, 1, 3, 20, fixed(2))]));
        assert_eq!(records.iter().map(|r| r.index).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        assert_eq!(records.iter().filter(|r| r.warmup).count(), 3, "all turns of the first are the warm-up");
        for (record, n) in records.iter().zip(0..) {
            let place = record.conversation.unwrap();
            assert_eq!((place.number, place.turn, place.turns), (n / 3, n % 3, 3));
        }
        for turns in records.chunks(3) {
            assert!(turns.iter().all(|turn| turn.worker == turns[0].worker));
            for pair in turns.windows(2) {
                assert_eq!(pair[1].scheduled, Stamp(pair[0].ended.0 + 20_000_000));
                assert!(pair[1].started >= pair[1].scheduled && pair[1].admitted == pair[1].scheduled);
            }
        }
        let bodies = transport.seen.bodies.lock().unwrap();
        let said = r#"{"role":"assistant","content":"x"}"#;
        for number in 0..3 {
            let last = format!("c{number}[m0,{said},m1,{said},m2]");
            assert_eq!(bodies.iter().filter(|body| body.as_deref() == Some(last.as_bytes())).count(), 1);
        }
        assert_eq!(transport.seen.peak.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn an_open_loop_begins_conversations_at_its_arrivals() {
    let epochs = vec![talking(4, 0, 2, 1, open(4, 10, None))];
    let (_, records) = run(&OneToken::taking(300), &plan(ConcurrencyBackend::Asyncio, epochs));
    let begun: Vec<Stamp> = records.iter().filter(|r| r.opens()).map(|r| r.scheduled).collect();
    assert_eq!(begun.len(), 4);
    assert!(begun.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_millis(10)));
    // The third arrives while the first one's answer is still on its way.
    assert!(records[4].started < records[0].ended, "{records:?}");
}

#[test]
fn a_conversation_ends_with_the_turn_that_failed_and_says_how_many_were_not_sent() {
    let transport = OneToken { refuses: true, ..OneToken::taking(1) };
    let (_, records) =
        run(&transport, &plan(ConcurrencyBackend::Asyncio, vec![talking(2, 0, 4, 0, fixed(1))]));
    assert_eq!(records.iter().map(|r| (r.index, r.silenced())).collect::<Vec<_>>(), [(0, 3), (4, 3)]);
    assert_eq!(transport.seen.bodies.lock().unwrap().len(), 2);
}

#[test]
fn a_closed_loop_that_is_over_sends_no_further_turn_and_none_counts_as_failed() {
    let mut plan = plan(ConcurrencyBackend::Asyncio, vec![talking(2, 0, 50, 10, fixed(1))]);
    plan.stop.duration = Some(Duration::from_millis(60));
    let (driven, records) = run(&OneToken::taking(1), &plan);
    assert_eq!(driven.stopped(), Stopped::Duration);
    assert!((1..20).contains(&records.len()), "{}", records.len());
    assert_eq!(records.iter().map(Record::silenced).sum::<u64>(), 0);
}
