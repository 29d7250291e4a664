//! On which threads the load runs: [`carry`]. Each backend is what its name says: a pool of threads with one request
//! each, or one event loop. Must not know when a request is due.
//!
//! 并发后端：线程池或单事件循环。

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread::{Builder, Scope, ScopedJoinHandle, scope},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{Transport, Turned, turn::Turn};
use crate::{
    client::{Direct, Stamp},
    perf::{
        record::Record,
        spec::ConcurrencyBackend,
        watch::{self, Canary, ThreadUse},
    },
};

/// How the threads of a pool are called; the system shows it.
pub(crate) const POOL: &str = "load-";
/// How the thread of the one event loop is called.
pub(crate) const LOOP: &str = "loadloop";
/// How the thread beside a pool is called that only wakes, to see how late threads wake here.
const BESIDE: &str = "canary";
/// How long after one wait the one event loop waits again at the earliest. Under a thousand streams an event comes
/// every few microseconds, and to be woken for each of them costs more than the event: what has come meanwhile is then
/// taken together. A loop with less to do waits less often anyhow, and is not held up.
const APART: Duration = Duration::from_micros(50);
/// After so many events timers are looked at again, and requests that are due go out.
const AT_ONCE: usize = 128;

/// Runs one epoch to its end.
///
/// # Errors
/// In words, when there can be no thread, no runtime or no transport for it. Nothing has been sent then.
pub(super) fn carry<T: Transport, K: Fn(Record) + Send + Sync>(
    transport: &T,
    backend: ConcurrencyBackend,
    turn: &Turn<'_, T::Outgoing, K>,
) -> Result<Turned, String> {
    let canary = Canary::default();
    let unstamped = Direct::unstamped_reads();
    let threads = match backend {
        ConcurrencyBackend::ThreadingPool => pool(transport, turn, &canary)?,
        // Of a pool of processes this is one.
        ConcurrencyBackend::Asyncio | ConcurrencyBackend::ProcessingPool | ConcurrencyBackend::K8sJob => {
            one_loop(transport, turn, &canary)?
        }
    };
    Ok(Turned {
        begin: turn.begin(),
        opened: turn.opened(),
        ended: Stamp::now(),
        stopped: turn.stopped(),
        shifted: turn.shifted(),
        threads,
        wakeups: canary.heard(),
        unstamped_reads: Direct::unstamped_reads() - unstamped,
    })
}

/// Worker threads, one request each at a time, with a runtime and connections of their own.
fn pool<T: Transport, K: Fn(Record) + Send + Sync>(
    transport: &T,
    turn: &Turn<'_, T::Outgoing, K>,
    canary: &Canary,
) -> Result<Vec<ThreadUse>, String> {
    let workers = turn.workers().unwrap_or(1);
    // All that can fail comes before the first thread: half a pool would wait for its other half for ever.
    let prepared: Vec<(Runtime, T)> =
        (0..workers).map(|_| Ok((runtime()?, transport.apart()?))).collect::<Result<_, String>>()?;
    let beside = runtime()?;
    let (go, done) = (CancellationToken::new(), CancellationToken::new());
    scope(|scope| {
        // Dropped when this closure ends, even by a panic of a worker: the scope waits for the canary too.
        let _done = done.clone().drop_guard();
        let mut running = Vec::new();
        let listen = || beside.block_on(done.run_until_cancelled(canary.sing()));
        spawn(scope, BESIDE, listen)?;
        for ((runtime, transport), worker) in prepared.into_iter().zip(0..) {
            let go = &go;
            let work = move || {
                runtime.block_on(go.cancelled());
                let load = async {
                    tokio::select! {
                        biased;
                        why = transport.run() => Err(why),
                        () = turn.work(&transport, worker) => Ok(()),
                    }
                };
                watch::thread(|| runtime.block_on(load))
            };
            match spawn(scope, &format!("{POOL}{worker}"), work) {
                Ok(thread) => running.push(thread),
                Err(message) => {
                    turn.give_up();
                    go.cancel();
                    return Err(format!("{message}; `concurrency_backend: asyncio` needs a single one"));
                }
            }
        }
        go.cancel();
        running.into_iter().map(join).map(|(result, thread)| result.map(|()| thread)).collect()
    })
}

/// One thread with one event loop.
fn one_loop<T: Transport, K: Fn(Record) + Send + Sync>(
    transport: &T,
    turn: &Turn<'_, T::Outgoing, K>,
    canary: &Canary,
) -> Result<Vec<ThreadUse>, String> {
    let (mut builder, transport) = (current_thread(), transport.apart()?);
    let runtime = built(builder.on_thread_park(apart()).max_io_events_per_tick(AT_ONCE))?;
    scope(|scope| {
        let load = async {
            tokio::select! {
                biased;
                // What has come is stamped before anything else is done.
                why = transport.run() => Err(why),
                () = all(&transport, turn) => Ok(()),
                () = canary.sing() => Ok(()),
            }
        };
        let work = || watch::thread(|| runtime.block_on(load));
        let (result, thread) = join(spawn(scope, LOOP, work)?);
        result.map(|()| vec![thread])
    })
}

/// All workers on this loop, and one more whenever an uncapped arrival finds none free.
async fn all<T: Transport, K: Fn(Record) + Send + Sync>(transport: &T, turn: &Turn<'_, T::Outgoing, K>) {
    match turn.workers() {
        Some(workers) => {
            let mut working: FuturesUnordered<_> =
                (0..workers).map(|worker| turn.work(transport, worker)).collect();
            while working.next().await.is_some() {}
        }
        None => {
            let (grow, mut wanted) = mpsc::unbounded_channel();
            let mut working = FuturesUnordered::new();
            working.push(turn.work_uncapped(transport, 0, &grow));
            let mut workers = 1;
            while !working.is_empty() {
                tokio::select! {
                    biased;
                    Some(()) = wanted.recv() => {
                        working.push(turn.work_uncapped(transport, workers, &grow));
                        workers += 1;
                    }
                    _ = working.next() => {}
                }
            }
        }
    }
}

fn runtime() -> Result<Runtime, String> {
    built(&mut current_thread())
}

fn current_thread() -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all();
    builder
}

fn built(builder: &mut tokio::runtime::Builder) -> Result<Runtime, String> {
    builder.build().map_err(|error| format!("no event loop for the load: {error}"))
}

/// What keeps two waits of a loop [`APART`].
fn apart() -> impl Fn() + Send + Sync {
    let last = AtomicU64::new(0);
    move || {
        let since = Stamp::now().since(Stamp(last.load(Ordering::Relaxed)));
        if let Some(early) = APART.checked_sub(since) {
            std::thread::sleep(early);
        }
        last.store(Stamp::now().0, Ordering::Relaxed);
    }
}

fn spawn<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> R + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, R>, String> {
    Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .map_err(|error| format!("no thread for the load: {error}"))
}

fn join<R>(thread: ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
