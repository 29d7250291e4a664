//! What a process that carries a share of the load is told, and what it tells: one JSON value a line, [`Order`] on its
//! standard input and [`Told`] on its standard output. Must not know who speaks.
//!
//! 父子进程间的消息。

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::{Conversation, Epoch, Later, Plan, Turned};
use crate::{
    client::{Client, Limits, Request, Route, Stamp},
    perf::{
        record::Record,
        schedule::Pace,
        spec::{ConcurrencyBackend, Stop},
    },
};

/// What a process is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Make ready to carry this.
    Carry(Box<Share>),
    /// Begin at this stamp.
    Begin(Stamp),
    /// Cut off what is in flight.
    Cancel,
}

/// What a process tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// It is ready to begin.
    Ready,
    /// A request has ended; so many of its own are still on their way.
    Ended(Box<Record>, u32),
    /// Its share is carried, by this transport.
    Turned(String, Box<Turned>),
    /// It cannot.
    Failed(String),
}

/// One process's part of an epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::perf::drive) struct Share {
    base_url: String,
    /// The key goes the same way as all else: no other process of the machine can read it there.
    api_key: Option<String>,
    requests: Vec<Sent>,
    conversations: Vec<Talk>,
    warmup: usize,
    pace: Pace,
    timeout: Duration,
    stop_after: Option<Duration>,
}

/// A conversation.
#[derive(Debug, Serialize, Deserialize)]
struct Talk {
    number: u32,
    index: u64,
    opening: String,
    request: Sent,
    later: Vec<Later>,
}

/// A request.
#[derive(Debug, Serialize, Deserialize)]
struct Sent {
    method: String,
    route: Route,
    headers: Vec<(String, String)>,
    body: Option<String>,
    read_size: Option<usize>,
}

impl Share {
    /// `epoch` for whoever has neither this client nor this plan.
    ///
    /// # Errors
    /// In words, where it cannot be handed on.
    pub(in crate::perf::drive) fn of(client: &Client, plan: &Plan, epoch: Epoch) -> Result<Self, String> {
        let api_key = client.handed_on()?;
        Ok(Self {
            base_url: client.base_url().to_owned(),
            api_key,
            requests: epoch.requests.into_iter().map(Sent::of).collect::<Result<_, _>>()?,
            conversations: epoch.conversations.into_iter().map(Talk::of).collect::<Result<_, _>>()?,
            warmup: epoch.warmup,
            pace: epoch.pace,
            timeout: plan.limits.total,
            stop_after: plan.stop.duration,
        })
    }

    /// The same for a server that is at `base_url` from where it will be carried, and the key apart: it goes another
    /// way.
    pub(in crate::perf::drive) fn to(mut self, base_url: &str) -> (Self, Option<String>) {
        base_url.clone_into(&mut self.base_url);
        let key = self.api_key.take();
        (self, key)
    }

    /// The same with its key again.
    pub(in crate::perf::drive) fn with_key(self, api_key: Option<String>) -> Self {
        Self { api_key, ..self }
    }

    /// The client and the plan that it came from.
    ///
    /// # Errors
    /// In words, where no client can be made.
    pub(in crate::perf::drive) fn unpacked(self) -> Result<(Client, Plan), String> {
        let client = Client::new(&self.base_url, self.api_key.map(Into::into));
        let epoch = Epoch {
            requests: self.requests.into_iter().map(Sent::unpacked).collect(),
            conversations: self.conversations.into_iter().map(Talk::unpacked).collect(),
            warmup: self.warmup,
            pace: self.pace,
        };
        let plan = Plan {
            epochs: vec![epoch],
            backend: ConcurrencyBackend::Asyncio,
            processes: 1,
            begin: None,
            elsewhere: None,
            phases: None,
            limits: Limits { idle: None, ..Limits::within(self.timeout) },
            stop: Stop { duration: self.stop_after, failures: None },
        };
        Ok((client.map_err(|error| error.to_string())?, plan))
    }
}

impl Talk {
    fn of(conversation: Conversation) -> Result<Self, String> {
        let Conversation { number, index, opening, request, later } = conversation;
        Ok(Self { number, index, opening, request: Sent::of(request)?, later })
    }

    fn unpacked(self) -> Conversation {
        let Self { number, index, opening, request, later } = self;
        Conversation { number, index, opening, request: request.unpacked(), later }
    }
}

impl Sent {
    fn of(request: Request) -> Result<Self, String> {
        let body = request.body.map(|body| String::from_utf8(body.to_vec())).transpose();
        Ok(Self {
            method: request.method,
            route: request.route,
            headers: request.headers,
            body: body
                .map_err(|_| "a request whose body is no text cannot be handed to a process".to_owned())?,
            read_size: request.read_size,
        })
    }

    fn unpacked(self) -> Request {
        Request {
            method: self.method,
            route: self.route,
            headers: self.headers,
            body: self.body.map(Into::into),
            read_size: self.read_size,
        }
    }
}
