//! The HTTP client: sends a [`Request`] as it is written, keeps every chunk with the time of its arrival, and
//! every attempt. `Client::perform` hands out [`Event`]s as they happen; `Client::exchange` collects them.
//! Must not know what is asked or expected: no assertions here.
//!
//! HTTP 客户端：原样发送，逐块记时，保留每次尝试。

mod exchange;

pub use exchange::{Attempt, End, Event, Exchange, Fault, Phase, Request, Route, Stamp};
