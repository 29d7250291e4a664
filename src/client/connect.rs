//! Watches one connection come into being: a [`Watch`] tells how far it has come and ends it after its limit.
//! reqwest has a connect limit for a whole client only and does not say whether a connection stands; both are
//! needed per attempt. Must not know what the connection is for.
//!
//! 连接阶段的观察与限时。

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use super::{Connection, Phase, Stamp};

type Error = Box<dyn std::error::Error + Send + Sync>;

tokio::task_local! {
    static CURRENT: Arc<Watch>;
}

/// How far the connection of one attempt has come.
#[derive(Debug)]
pub(crate) struct Watch {
    limit: Duration,
    state: AtomicU8,
    /// How long it took, in nanoseconds, once it stands.
    took: AtomicU64,
}

const REUSED: u8 = 0;
const CONNECTING: u8 = 1;
const CONNECTED: u8 = 2;
const TIMED_OUT: u8 = 3;

impl Watch {
    pub(crate) fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self { limit, state: AtomicU8::new(REUSED), took: AtomicU64::new(0) })
    }

    /// Runs `attempt`; a connection that it opens is watched by `self`.
    pub(crate) async fn over<F: Future>(self: &Arc<Self>, attempt: F) -> F::Output {
        CURRENT.scope(Arc::clone(self), attempt).await
    }

    /// Where an attempt is that has no headers yet.
    pub(crate) fn phase(&self) -> Phase {
        match self.state.load(Ordering::Acquire) {
            CONNECTING | TIMED_OUT => Phase::Connect,
            _ => Phase::Headers,
        }
    }

    /// Where the connection came from; nothing where there was none, or where nobody can tell: of an attempt that was
    /// not `answered`.
    pub(crate) fn connection(&self, answered: bool) -> Option<Connection> {
        match self.state.load(Ordering::Acquire) {
            CONNECTED => Some(Connection::Opened(Duration::from_nanos(self.took.load(Ordering::Acquire)))),
            _ => answered.then_some(Connection::Reused),
        }
    }

    /// The limit, where it was passed.
    pub(crate) fn passed(&self) -> Option<Duration> {
        (self.state.load(Ordering::Acquire) == TIMED_OUT).then_some(self.limit)
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Release);
    }
}

/// The layer round reqwest's connector.
pub(crate) fn watched<S>() -> impl Layer<S, Service = Watched<S>> + Clone {
    layer_fn(|inner| Watched { inner })
}

/// A connector that reports to the [`Watch`] of the attempt that opens the connection.
#[derive(Clone)]
pub(crate) struct Watched<S> {
    inner: S,
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Error = Error>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let connecting = self.inner.call(target);
        // Called on the attempt's own task, though it may be finished on another.
        let Ok(watch) = CURRENT.try_with(Arc::clone) else { return Box::pin(connecting) };
        watch.set(CONNECTING);
        let begun = Stamp::now();
        Box::pin(async move {
            match tokio::time::timeout(watch.limit, connecting).await {
                Ok(result) => {
                    if result.is_ok() {
                        watch.took.store(Stamp::now().0.saturating_sub(begun.0), Ordering::Release);
                        watch.set(CONNECTED);
                    }
                    result
                }
                Err(elapsed) => {
                    watch.set(TIMED_OUT);
                    Err(elapsed.into())
                }
            }
        })
    }
}
