//! What carries the requests of a load: a [`Transport`]. There is the direct one, for plain HTTP, and the general one,
//! for everything. Must not know when a request is due.
//!
//! 传输层接口：直连与通用两种实现。

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::client::{Client, Direct, Event, Limits, Outgoing, Request, Route};

/// Carries one request and tells what happens, ending with exactly one [`Event::End`]; soon after `cancel` is
/// set that end is there too. It never repeats a request by itself.
pub trait Transport: Sized + Send + Sync {
    /// Its name in results.
    const NAME: &'static str;

    /// A request as it is sent.
    type Outgoing: Send + Sync;

    /// Does ahead what can be done before the clock starts.
    fn prepare(&self, request: Request) -> Self::Outgoing;

    /// See the trait.
    fn perform(
        &self,
        request: &Self::Outgoing,
        limits: &Limits,
        cancel: &CancellationToken,
        on: impl FnMut(Event<'_>) + Send,
    ) -> impl Future<Output = ()> + Send;

    /// Another one to the same server that shares no connection and no lock with this one: every thread that makes
    /// load has its own.
    ///
    /// # Errors
    /// In words, when there can be none.
    fn apart(&self) -> Result<Self, String>;

    /// Opens a connection for the next request, where it can, so that no request measures the making of one.
    fn connect(&self, limits: &Limits, cancel: &CancellationToken) -> impl Future<Output = ()> + Send;
}

impl Transport for Direct {
    const NAME: &'static str = "direct";

    type Outgoing = Outgoing;

    fn prepare(&self, request: Request) -> Outgoing {
        Direct::prepare(self, &request)
    }

    fn perform(
        &self,
        request: &Outgoing,
        limits: &Limits,
        cancel: &CancellationToken,
        on: impl FnMut(Event<'_>) + Send,
    ) -> impl Future<Output = ()> + Send {
        Direct::perform(self, request, limits, cancel, on)
    }

    fn apart(&self) -> Result<Self, String> {
        Ok(Direct::apart(self))
    }

    fn connect(&self, limits: &Limits, cancel: &CancellationToken) -> impl Future<Output = ()> + Send {
        Direct::connect(self, limits, cancel)
    }
}

impl Transport for Client {
    const NAME: &'static str = "general";

    type Outgoing = Request;

    fn prepare(&self, request: Request) -> Request {
        request
    }

    fn perform(
        &self,
        request: &Request,
        limits: &Limits,
        cancel: &CancellationToken,
        on: impl FnMut(Event<'_>) + Send,
    ) -> impl Future<Output = ()> + Send {
        Client::perform(self, request, limits, cancel, on)
    }

    fn apart(&self) -> Result<Self, String> {
        Client::apart(self).map_err(|error| error.to_string())
    }

    /// Its connections come into being with a request only: one that costs the server nothing.
    async fn connect(&self, limits: &Limits, cancel: &CancellationToken) {
        let health = Request::get(Route::Root("/health".to_owned()));
        let limits = Limits { total: limits.connect, ..*limits };
        Client::perform(self, &health, &limits, cancel, |_| {}).await;
    }
}
