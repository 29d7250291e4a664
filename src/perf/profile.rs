//! The server's own profiler: [`Profiler`] turns it on when the warm-up has ended and off when the load has, where the
//! server has one. Must not know what it finds.
//!
//! 服务端性能分析：预热后开启，测量后关闭。

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, End, Limits, Request, Retry, Route, Target},
    perf::record::Record,
};

/// A server writes its traces before it answers that the profiler is off.
const PATIENCE: Duration = Duration::from_secs(600);

/// A profiler that is on, or will be.
pub(super) struct Profiler {
    client: Client,
    warm: Arc<Notify>,
    warm_up: u64,
    started: JoinHandle<Result<(), String>>,
}

impl Profiler {
    /// Turns it on: now, or once `warm_up` requests, or conversations, of the warm-up have ended.
    pub(super) fn begin(target: &Target, warm_up: u64) -> Self {
        let warm = Arc::new(Notify::new());
        let (client, heard) = (target.client.clone().unrecorded(), Arc::clone(&warm));
        let asks = client.clone();
        let started = tokio::spawn(async move {
            if warm_up > 0 {
                heard.notified().await;
            }
            asked(&asks, "/start_profile").await
        });
        Self { client, warm, warm_up, started }
    }

    /// Is to hear of every request as it ends.
    pub(super) fn listener(&self) -> impl Fn(&Record) + Send + Sync + use<> {
        let (warm, left) = (Arc::clone(&self.warm), AtomicU64::new(self.warm_up));
        move |record| {
            if record.warmup && record.closes() && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                warm.notify_one();
            }
        }
    }

    /// Turns it off. What to say, where it was never on.
    pub(super) async fn finish(self) -> Option<String> {
        // A run that was cut short may never have been warm.
        self.warm.notify_one();
        let started = self.started.await.unwrap_or_else(|error| Err(error.to_string()));
        let stopped = match started {
            Ok(()) => asked(&self.client, "/stop_profile").await,
            Err(why) => Err(why),
        };
        stopped.err().map(|why| format!("the server was not profiled: {why}"))
    }
}

async fn asked(client: &Client, path: &str) -> Result<(), String> {
    let request = Request::post_json(Route::Root(path.to_owned()), &json!({}));
    let limits = Limits { idle: None, ..Limits::within(PATIENCE) };
    let exchange = client.exchange(&request, &limits, &Retry::none(), &CancellationToken::new()).await;
    let last = exchange.last();
    match (last.status, &last.end) {
        (_, End::Broken(fault)) => Err(format!("POST {path}: {fault}")),
        (Some(200), End::Complete) => Ok(()),
        (Some(404), End::Complete) => {
            Err(format!("POST {path} answered 404: start it with a profiler (vLLM: `--profiler-config`)"))
        }
        (status, End::Complete) => Err(format!("POST {path} answered {}", status.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::{Router, extract::State, http::Uri, routing::post};

    use super::*;
    use crate::perf::{record::Outcome, summary::tests::record};

    type Heard = Arc<Mutex<Vec<String>>>;

    async fn serve(profiles: bool) -> (Target, Heard) {
        let heard = Heard::default();
        let take = |State(heard): State<Heard>, uri: Uri| {
            heard.lock().unwrap().push(uri.path().to_owned());
            std::future::ready("")
        };
        let app = match profiles {
            true => Router::new().route("/start_profile", post(take)).route("/stop_profile", post(take)),
            false => Router::new(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app.with_state(Arc::clone(&heard));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (Target::at(&format!("http://{address}/v1"), "m").unwrap(), heard)
    }

    #[tokio::test]
    async fn the_warm_up_is_not_profiled() {
        let (target, heard) = serve(true).await;
        let profiler = Profiler::begin(&target, 2);
        let hears = profiler.listener();
        let warm = || Record { warmup: true, ..record(0, 0, Outcome::Ok) };
        hears(&warm());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(*heard.lock().unwrap(), [""; 0], "one of two is still warming up");
        hears(&warm());
        while heard.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(profiler.finish().await, None);
        assert_eq!(*heard.lock().unwrap(), ["/start_profile", "/stop_profile"]);
    }

    #[tokio::test]
    async fn a_server_without_a_profiler_is_told_and_never_asked_to_stop_it() {
        let (target, heard) = serve(false).await;
        let told = Profiler::begin(&target, 0).finish().await.expect("a reason");
        assert!(told.starts_with("the server was not profiled: POST /start_profile answered 404"), "{told}");
        assert!(heard.lock().unwrap().is_empty());
    }
}
