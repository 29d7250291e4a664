//! What carries the requests of a load: a [`Transport`]. There is the direct one, for plain HTTP, and the general one,
//! for everything. Must not know when a request is due.
//!
//! 传输层接口：直连与通用两种实现。

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::client::{Client, Direct, Limits, Listener, Outgoing, Request, Route};

/// Carries one request and tells what happens, ending with exactly one [`Event::End`]; soon after `cancel` is
/// set that end is there too. It never repeats a request by itself.
pub trait Transport: Sized + Send + Sync {
    /// Its name in results.
    const NAME: &'static str;

    /// A request as it is sent.
    type Outgoing: Send + Sync;

    /// Does ahead what can be done before the clock starts.
    fn prepare(&self, request: Request) -> Self::Outgoing;

    /// See the trait. Gives `listener` back, which has heard all of it.
    fn perform<L: Listener>(
        &self,
        request: &Self::Outgoing,
        limits: &Limits,
        cancel: &CancellationToken,
        listener: L,
    ) -> impl Future<Output = L> + Send;

    /// What has to be polled on the thread of its requests for them to go on. It ends where it cannot: with why.
    fn run(&self) -> impl Future<Output = String> + Send {
        std::future::pending()
    }

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

    fn perform<L: Listener>(
        &self,
        request: &Outgoing,
        limits: &Limits,
        cancel: &CancellationToken,
        listener: L,
    ) -> impl Future<Output = L> + Send {
        Direct::perform(self, request, limits, cancel, listener)
    }

    async fn run(&self) -> String {
        let Err(error) = Direct::run(self).await;
        no_loop(&error)
    }

    fn apart(&self) -> Result<Self, String> {
        Direct::apart(self).map_err(|error| no_loop(&error))
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

    async fn perform<L: Listener>(
        &self,
        request: &Request,
        limits: &Limits,
        cancel: &CancellationToken,
        mut listener: L,
    ) -> L {
        Client::perform(self, request, limits, cancel, |event| listener.hear(event)).await;
        listener
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

fn no_loop(error: &std::io::Error) -> String {
    format!("no event loop for the connections of the load: {error}")
}
