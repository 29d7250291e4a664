//! What every answer must do, whatever a case expects: the wire layer, never relaxed. Must not know any case.
//!
//! 每个应答都必须满足的约束。

use super::{
    expect::{Broken, Layer, excerpt},
    leg::Leg,
};
use crate::{
    api::{Body, ErrorShape, StreamEnd},
    client::Fault,
};

/// The kinds of break that are told here and nowhere else.
pub const KINDS: &[&str] = &["server-error", "json", "utf8", "error-event", "disguised-error", "truncated"];

/// All that is wrong with the answer as such. `error_event_allowed`: the case expects an error, and says that it
/// may come inside a stream.
pub(super) fn check(leg: &Leg, error_event_allowed: bool) -> Vec<Broken> {
    let broken = [
        server_error(leg),
        content_type(leg),
        text(leg),
        error_in_success(leg, error_event_allowed),
        stream_end(leg),
        malformed(leg),
    ];
    broken.into_iter().flatten().collect()
}

fn broken(kind: &'static str, expected: &str, actual: impl Into<String>) -> Broken {
    let pointer = String::new();
    let (expected, actual) = (expected.to_owned(), actual.into());
    Broken { pointer, layer: Layer::Wire, kind, expected, actual, doubtful: false }
}

fn server_error(leg: &Leg) -> Option<Broken> {
    let status = leg.answer.status.filter(|status| *status >= 500)?;
    Some(broken("server-error", "no server error, whatever is sent", format!("status {status}")))
}

fn content_type(leg: &Leg) -> Option<Broken> {
    let says_json = leg.exchange.last().header("content-type").is_some_and(|text| text.contains("json"));
    match &leg.answer.body {
        Body::Text { text, .. } if says_json => {
            let actual = format!("this: {}", excerpt(text, 120));
            Some(broken("json", "a JSON body, as its content-type says", actual))
        }
        Body::None if says_json => Some(broken("json", "a JSON body, as its content-type says", "no body")),
        _ => None,
    }
}

fn text(leg: &Leg) -> Option<Broken> {
    match &leg.answer.body {
        Body::Text { text, utf8: false } => {
            Some(broken("utf8", "a body in UTF-8", format!("torn characters: {}", excerpt(text, 120))))
        }
        _ => None,
    }
}

fn error_in_success(leg: &Leg, allowed: bool) -> Option<Broken> {
    let error = leg.answer.error.as_ref()?;
    let message = format!("\"{}\"", excerpt(&error.message, 200));
    match error.shape {
        ErrorShape::Sse if !allowed => {
            Some(broken("error-event", "no error inside a stream that began with success", message))
        }
        ErrorShape::Disguised => {
            Some(broken("disguised-error", "no error in an answer that says success", message))
        }
        _ => None,
    }
}

fn stream_end(leg: &Leg) -> Option<Broken> {
    let facts = leg.answer.stream.as_ref().filter(|_| leg.answer.fault != Some(Fault::Left))?;
    let why = facts.why.clone().unwrap_or_else(|| "it ended early".to_owned());
    match facts.ended {
        StreamEnd::Truncated | StreamEnd::Cut => Some(broken("truncated", "a stream that is whole", why)),
        StreamEnd::Done | StreamEnd::Error => None,
    }
}

fn malformed(leg: &Leg) -> Option<Broken> {
    let event = leg.answer.events.iter().position(|event| event.json.is_none())?;
    let data = excerpt(&leg.answer.events[event].data, 120);
    Some(broken("json", "JSON in every event of a stream", format!("events.{event}: {data}")))
}
