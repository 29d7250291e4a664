//! Reads `/metrics` while load is made: a [`Scraper`] has a thread, a runtime and connections of its own, so that it
//! disturbs none of those that measure. Must not know what a reading means.
//!
//! 独立线程低频读取 /metrics，不干扰压测线程。

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread::JoinHandle,
    time::Duration,
};

use st_harness::{
    folder::{LineWriter, TrialFolder},
    verdict::Artifact,
};
use tokio::{
    runtime::Builder,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Moment, Reading};
use crate::{
    client::{Client, End, Limits, Request, Retry, Route, Stamp, Target},
    perf::record::Record,
};

/// The file of the readings in the trial's folder.
pub const NAME: &str = "gauges.jsonl";
/// How often the server is read meanwhile: seldom, since answering costs it some milliseconds.
const EVERY: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long is waited at most until it shows itself idle again, and how often it is asked meanwhile.
const SETTLE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(100));

/// Reads the server's metrics until it is told to finish.
pub struct Scraper {
    orders: UnboundedSender<Order>,
    thread: JoinHandle<Scraped>,
    warm_up: u64,
}

/// All that was read.
#[derive(Debug)]
pub struct Scraped {
    /// In the order of time.
    pub readings: Vec<Reading>,
    /// The file they went to, or why it could not be written.
    pub written: Result<Artifact, String>,
}

enum Order {
    /// The warm-up is over.
    Warm,
    /// So is the load.
    Finish,
}

impl Scraper {
    /// Reads the server once, and goes on from then. `warm_up` requests, of which the [`listener`](Self::listener)
    /// hears, are the warm-up, or so many conversations. A server without metrics is asked only that once.
    ///
    /// # Errors
    /// In words, when there can be no thread or no connection for it.
    pub async fn begin(target: &Target, folder: &TrialFolder, warm_up: u64) -> Result<Self, String> {
        let client = target.client.apart().map_err(|error| error.to_string())?;
        let (orders, told) = unbounded_channel();
        let (ready, begun) = oneshot::channel();
        let work = Work { client, model: target.model.clone(), folder: folder.clone() };
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || work.on_this_thread(ready, told))
            .map_err(|error| format!("no thread to read /metrics from: {error}"))?;
        // An error means that the thread is gone: `finish` tells of it.
        let _ = begun.await;
        Ok(Self { orders, thread, warm_up })
    }

    /// Is to hear of every request as it ends. Cheap, and waits for nothing.
    pub fn listener(&self) -> impl Fn(&Record) + Send + Sync + use<> {
        let (orders, left) = (self.orders.clone(), AtomicU64::new(self.warm_up));
        move |record| {
            if record.warmup && record.closes() && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                let _ = orders.send(Order::Warm);
            }
        }
    }

    /// All requests have ended: reads the server a last time, once it is idle.
    pub async fn finish(self) -> Scraped {
        let _ = self.orders.send(Order::Finish);
        let thread = self.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined.ok().and_then(Result::ok).unwrap_or_else(|| Scraped {
            readings: Vec::new(),
            written: Err("the thread that reads /metrics failed".to_owned()),
        })
    }
}

struct Work {
    client: Client,
    model: String,
    folder: TrialFolder,
}

/// Readings, and the file they go to as they are taken.
struct Kept {
    readings: Vec<Reading>,
    lines: Result<LineWriter, String>,
}

impl Work {
    fn on_this_thread(self, ready: oneshot::Sender<()>, told: UnboundedReceiver<Order>) -> Scraped {
        let lines = self.folder.lines(NAME).map_err(|error| error.to_string());
        let mut kept = Kept { readings: Vec::new(), lines };
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.carry_out(&mut kept, ready, told)),
            Err(error) => {
                let why = format!("no runtime to read /metrics with: {error}");
                kept.take(Reading::failed(Moment::Before, Stamp::now(), why));
            }
        }
        let written = kept.lines.and_then(|lines| {
            lines.finish().map_err(|error| error.to_string())?;
            self.folder.artifact("gauges", NAME, "application/jsonl").map_err(|error| error.to_string())
        });
        Scraped { readings: kept.readings, written }
    }

    async fn carry_out(
        &self,
        kept: &mut Kept,
        ready: oneshot::Sender<()>,
        mut told: UnboundedReceiver<Order>,
    ) {
        let first = self.read(Moment::Before).await;
        let tells = first.error.is_none();
        kept.take(first);
        let _ = ready.send(());
        if !tells {
            return;
        }
        let mut next = Instant::now() + EVERY;
        loop {
            tokio::select! {
                biased;
                order = told.recv() => match order {
                    Some(Order::Warm) => kept.take(self.read(Moment::Warm).await),
                    Some(Order::Finish) | None => break,
                },
                () = sleep_until(next) => {
                    kept.take(self.read(Moment::During).await);
                    next = (next + EVERY).max(Instant::now());
                }
            }
        }
        kept.take(self.idle().await);
    }

    /// The server as it is once nothing runs in it any more, or as it is after a while.
    async fn idle(&self) -> Reading {
        let (patience, pause) = SETTLE;
        let until = Instant::now() + patience;
        loop {
            let reading = self.read(Moment::After).await;
            let busy = ["running", "waiting"].iter().any(|name| reading.value(name).is_some_and(|n| n > 0.0));
            if !busy || Instant::now() >= until {
                return reading;
            }
            sleep(pause).await;
        }
    }

    async fn read(&self, moment: Moment) -> Reading {
        let limits = Limits { idle: None, ..Limits::within(PATIENCE) };
        let request = Request::get(Route::Root("/metrics".to_owned()));
        let exchange =
            self.client.exchange(&request, &limits, &Retry::none(), &CancellationToken::new()).await;
        let (at, attempt) = (Stamp::now(), exchange.last());
        match (attempt.status, &attempt.end) {
            (_, End::Broken(fault)) => Reading::failed(moment, at, format!("GET /metrics: {fault}")),
            (Some(200), End::Complete) => {
                Reading::of(moment, at, &String::from_utf8_lossy(&attempt.body()), &self.model)
            }
            (status, End::Complete) => {
                let status = status.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
                Reading::failed(moment, at, format!("GET /metrics answered {status}"))
            }
        }
    }
}

impl Kept {
    /// A file that cannot be written loses no reading.
    fn take(&mut self, reading: Reading) {
        if let Ok(lines) = &mut self.lines {
            let line = serde_json::to_string(&reading).map_err(|error| error.to_string());
            let written = line.and_then(|line| lines.line(&line).map_err(|error| error.to_string()));
            if let Err(message) = written {
                self.lines = Err(message);
            }
        }
        self.readings.push(reading);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use st_harness::{case::TrialId, folder::RunFolder};

    use super::*;
    use crate::{
        perf::{record::Outcome, summary::tests::record},
        sim::{Options, Sim},
    };

    fn folder() -> (tempfile::TempDir, TrialFolder) {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let run = RunFolder::open(path, Arc::default()).unwrap();
        (dir, run.trial(&TrialId::new("perf::smoke::chat").unwrap()))
    }

    fn moments(scraped: &Scraped) -> Vec<Moment> {
        scraped.readings.iter().map(|reading| reading.moment).collect()
    }

    #[tokio::test]
    async fn the_simulator_is_read_before_when_warm_and_after() {
        let sim = Sim::start(Options { model: "m".to_owned(), ..Options::default() }).unwrap();
        let target = Target::at(&sim.base_url(), "m").unwrap();
        let (dir, folder) = folder();
        let scraper = Scraper::begin(&target, &folder, 2).await.unwrap();
        let hears = scraper.listener();
        for index in 0..3 {
            hears(&Record { warmup: index < 2, ..record(index, 0, Outcome::Ok) });
        }
        let scraped = scraper.finish().await;
        assert_eq!(moments(&scraped), [Moment::Before, Moment::Warm, Moment::After]);
        assert_eq!(scraped.readings[2].value("running"), Some(0.0));
        let text = std::fs::read_to_string(dir.path().join(scraped.written.unwrap().path)).unwrap();
        let kept: Vec<Reading> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(kept, scraped.readings);
    }

    #[tokio::test]
    async fn a_server_without_metrics_is_asked_once_and_the_reason_is_kept() {
        let app = axum::Router::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let target = Target::at(&format!("http://{address}/v1"), "m").unwrap();
        let (_dir, folder) = folder();
        let scraped = Scraper::begin(&target, &folder, 0).await.unwrap().finish().await;
        assert_eq!(moments(&scraped), [Moment::Before]);
        assert_eq!(scraped.readings[0].error.as_deref(), Some("GET /metrics answered 404"));
    }
}
