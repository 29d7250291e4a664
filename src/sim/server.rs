//! The road of a request: read, number, strike by a fault, answer, send, log. [`Server`] holds what lives as long as
//! the simulator. Must not know what an answer says, nor what a fault changes.
//!
//! 请求的流程：读取、编号、注入故障、应答、发送、记录。

use super::fault::Fault;
use super::log::{How, KEPT, Record, Sent};
use super::metrics::Metrics;
use super::options::Options;
use super::reply::{Account, Body, Ending, Piece, Reply};
use super::timing_log::TimingLog;
use super::wire::{Control, Door};
use super::{sabotage, service};
use crate::timer::Timer;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Larger bodies are refused.
const BODY_LIMIT: usize = 64 << 20;

/// What lives as long as the simulator.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) options: Options,
    pub(super) metrics: Metrics,
    started: Instant,
    requests: AtomicU64,
    /// How many requests each rule has covered.
    covered: Vec<AtomicU64>,
    log: Mutex<VecDeque<Record>>,
    timing_log: Option<TimingLog>,
}

/// A request, read whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) number: u64,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: std::net::TcpListener, server: Arc<Server>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let router = Router::new().fallback(handle).with_state(server);
    let service = router.into_make_service_with_connect_info::<Control>();
    // The listener mends its own errors, so this ends only by being dropped.
    let _ = axum::serve(Door(listener), service).await;
}

impl Server {
    pub(super) fn new(options: Options, timing_log: Option<TimingLog>) -> Self {
        Server {
            metrics: Metrics::new(),
            started: timing_log.as_ref().map_or_else(Instant::now, TimingLog::started),
            timing_log,
            requests: AtomicU64::new(0),
            covered: options.faults.iter().map(|_| AtomicU64::new(0)).collect(),
            log: Mutex::default(),
            options,
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// How many answers are on their way.
    pub(super) fn load(&self) -> i64 {
        self.metrics.running()
    }

    pub(super) fn log(&self) -> Vec<Sent> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(Record::snapshot).collect()
    }

    fn open(&self, path: String, received: Instant) -> (u64, Record) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let record = Record::new(self.started, received, number, path);
        if log.len() == KEPT {
            log.pop_front();
        }
        log.push_back(record.clone());
        (number, record)
    }

    /// The fault of the first rule that strikes this request. Every rule that covers it counts it.
    fn fault(&self, path: &str, body: &[u8]) -> Option<&Fault> {
        if self.options.faults.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(body);
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let model = json["model"].as_str();
        let mut struck = None;
        for (rule, covered) in self.options.faults.iter().zip(&self.covered) {
            if rule.when.covers(path, &text, model) {
                let count = covered.fetch_add(1, Ordering::Relaxed) + 1;
                if struck.is_none() && rule.when.strikes(count) {
                    struck = Some(&rule.fault);
                }
            }
        }
        struck
    }

    /// Whether the request brings the key that is wanted.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.options.api_key else { return true };
        let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        given.and_then(|v| v.strip_prefix("Bearer ")) == Some(key.expose_secret())
    }
}

async fn handle(
    State(server): State<Arc<Server>>,
    ConnectInfo(control): ConnectInfo<Control>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    let received = control.arrived();
    let (number, record) = server.open(format!("{} {path}", parts.method), received);
    control.carry(record.clone());
    let generates = service::generates(path);
    let (reply, pieces, fault) = match tokio::task::spawn_blocking({
        let server = server.clone();
        move || server.answer(number, &parts, &body)
    })
    .await
    {
        Ok(made) => made,
        // Only a panic ends so; the client sees what it would see of any server that has one.
        Err(_) => {
            let reply = Reply::detail(500, "Internal Server Error");
            let pieces = reply.pieces(Duration::ZERO);
            (reply, pieces, None)
        }
    };
    record.edit(|sent| {
        sent.id.clone_from(&reply.account.id);
        sent.status = reply.status;
        sent.fault = fault.map(str::to_owned);
        sent.prompt_tokens = reply.account.prompt_tokens;
        sent.completion_tokens = reply.account.completion_tokens;
    });
    let counts = generates && reply.status == 200 && fault != Some(Fault::CountersStuck.name());
    if counts {
        server.metrics.begin(reply.account.finishes.len());
    }
    let flight = Flight {
        record,
        pieces: pieces.into(),
        received,
        timer: None,
        timing_log: server.timing_log.clone(),
        ending: reply.delivery.ending,
        server: counts.then_some(server),
        account: reply.account.clone(),
        control,
    };
    send(&reply, flight).await
}

impl Server {
    /// The answer and its bytes, as the fault leaves them, and the fault's name. It may take a while: not for the
    /// thread that keeps the time.
    fn answer(&self, number: u64, parts: &Parts, body: &[u8]) -> (Reply, Vec<Piece>, Option<&'static str>) {
        let path = parts.uri.path();
        let asked = Asked { number, method: parts.method.as_str(), path, headers: &parts.headers, body };
        let Some(fault) = self.fault(path, body) else {
            let reply = service::answer(self, &asked);
            let pieces = reply.pieces(reply.account.last_due);
            return (reply, pieces, None);
        };
        let json = serde_json::from_slice::<Map<String, Value>>(body).ok();
        let streams = json.as_ref().is_some_and(|body| body.get("stream") == Some(&Value::Bool(true)));
        let mut reply = match json {
            Some(mut body) => {
                sabotage::on_request(fault, number, &mut body);
                service::answer(self, &Asked { body: Value::Object(body).to_string().as_bytes(), ..asked })
            }
            None => service::answer(self, &asked),
        };
        if *fault == Fault::AcceptInvalid && reply.status >= 400 {
            reply = service::answer(self, &Asked { body: self.harmless(streams).as_bytes(), ..asked });
        }
        sabotage::on_reply(fault, streams, &mut reply);
        let mut pieces = reply.pieces(reply.account.last_due);
        sabotage::on_pieces(fault, matches!(reply.body, Body::Events(_)), &mut pieces);
        (reply, pieces, Some(fault.name()))
    }

    /// A request that nothing is wrong with, for chat and completions alike.
    fn harmless(&self, stream: bool) -> String {
        json!({"model": self.options.model, "messages": [{"role": "user", "content": "Say hi."}],
               "prompt": "Say hi.", "input": "Say hi.", "max_tokens": 8, "stream": stream})
        .to_string()
    }
}

/// Sends the head when it is due, and leaves the body to the connection.
async fn send(reply: &Reply, mut flight: Flight) -> Response {
    let streams = matches!(reply.body, Body::Events(_));
    let first = flight.pieces.front().map_or(Duration::ZERO, |piece| piece.due);
    let due = reply.delivery.before_head.max(if streams { Duration::ZERO } else { first });
    flight.wait(due).await;
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let written: usize = flight.pieces.iter().map(|piece| piece.bytes.len()).sum();
    // A body that is to be cut announces the length it would have had.
    let length = if reply.delivery.ending == Ending::Clean { written } else { reply.body.length() };
    head(reply, (!streams).then_some(length), response.headers_mut());
    if reply.delivery.no_head {
        flight.record.end(How::Broken);
        flight.control.refuse();
        return response;
    }
    if !reply.delivery.head_over.is_zero() {
        let lines = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        flight.control.dribble(reply.delivery.head_over, lines.sum::<usize>() + 17);
    }
    if flight.pieces.is_empty() && reply.delivery.ending == Ending::Clean {
        flight.record.end(How::Complete);
        return response;
    }
    *response.body_mut() = axum::body::Body::from_stream(stream::unfold(flight, Flight::step));
    response
}

fn head(reply: &Reply, length: Option<usize>, headers: &mut HeaderMap) {
    headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(kind) = reply.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    for (name, value) in &reply.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(*name, value);
        }
    }
}

/// An answer on its way. Dropped before its end, the client has gone.
struct Flight {
    record: Record,
    pieces: VecDeque<Piece>,
    received: Instant,
    /// Made where something is to be waited for.
    timer: Option<Timer>,
    timing_log: Option<TimingLog>,
    ending: Ending,
    /// Whose counters still wait for it.
    server: Option<Arc<Server>>,
    account: Account,
    control: Control,
}

impl Flight {
    async fn step(mut self) -> Option<(io::Result<Bytes>, Flight)> {
        let Some(piece) = self.pieces.pop_front() else {
            if self.ending == Ending::Clean {
                self.record.end(How::Complete);
                return None;
            }
            // What was handed over must be on the wire before the connection breaks.
            sleep(Duration::from_millis(20)).await;
            if self.ending == Ending::Reset {
                self.control.reset();
            }
            self.record.end(How::Broken);
            return Some((Err(io::ErrorKind::ConnectionAborted.into()), self));
        };
        self.wait(piece.due).await;
        self.record.queue(piece.tokens);
        if self.pieces.is_empty() && self.ending == Ending::Clean {
            // Whoever reads the counters after the last byte finds the answer in them.
            self.settle(How::Complete);
        }
        Some((Ok(Bytes::from(piece.bytes)), self))
    }

    /// Until `due` after the request was received.
    async fn wait(&mut self, due: Duration) {
        let left = (self.received + due).saturating_duration_since(Instant::now());
        if !left.is_zero() {
            self.timer.get_or_insert_with(Timer::new).sleep(left).await;
        }
    }

    fn settle(&mut self, how: How) {
        if let Some(server) = self.server.take() {
            server.metrics.finish(&self.account, &self.record.outlook(how));
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.record.end(How::Gone);
        let Sent { how, fault, .. } = self.record.snapshot();
        let forgotten = how == How::Gone && fault.as_deref() == Some(Fault::AbortIgnored.name());
        if !forgotten {
            self.settle(how);
        }
        if let Some(log) = &self.timing_log {
            log.take(self.record.clone());
        }
    }
}
