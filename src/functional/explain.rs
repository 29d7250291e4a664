//! A broken expectation as its reader needs it: [`reasons`] turns each into a [`Reason`] with the line that asked
//! for it, what was expected and found, and once per trial the answer, the request as a `curl` line and the saved
//! exchange. Must not know how an expectation is checked.
//!
//! 失败说明：给读者看的全部信息。

use std::fmt::Write as _;

use serde_json::{Value, json};
use st_harness::{
    read::Origin,
    verdict::{Artifact, Reason},
};

use super::{
    expect::{Broken, excerpt},
    leg::Leg,
};
use crate::client::{Attempt, End, Stamp, curl_line, curl_line_from};

/// How many characters of an answer a reason shows.
const EXCERPT: usize = 1_200;
/// The role of a file that holds nothing but a request's body.
pub(super) const BODY: &str = "body";
/// A longer body makes a command line that nobody reads, and one of 128 KiB one that no system takes.
const LINE: usize = 16 << 10;

/// One reason for each break; the first one also shows the legs.
pub(super) fn reasons(
    broken: &[Broken],
    legs: &[Leg],
    artifacts: &[Artifact],
    origin: &Origin,
) -> Vec<Reason> {
    let told = broken.iter().enumerate().map(|(index, one)| {
        let mut detail = expectation(one, origin);
        if index == 0 {
            legs.iter().for_each(|leg| detail.push_str(&told_leg(leg, artifacts)));
            artifacts.iter().for_each(|artifact| {
                let _ = writeln!(detail, "saved: {}", artifact.path);
            });
        }
        let reason = Reason::new(one.kind.replace('_', "-"), one.summary()).with_detail(detail);
        match origin.place(&one.pointer) {
            Some(place) => reason.at(place),
            None => reason,
        }
    });
    told.collect()
}

fn expectation(broken: &Broken, origin: &Origin) -> String {
    let mut text = String::new();
    if let Some(snippet) = origin.snippet(&broken.pointer, &format!("found {}", broken.actual)) {
        let _ = writeln!(text, "{}", snippet.trim_end());
    }
    let _ = writeln!(text, "expected: {}", broken.expected);
    let _ = writeln!(text, "found:    {}", broken.actual);
    let _ = writeln!(text, "layer:    {}", broken.layer.name());
    text
}

/// The body of `leg` as a text, where it is too long for a command line.
pub(super) fn large_body(leg: &Leg) -> Option<&str> {
    let body = leg.exchange.request.body.as_deref().filter(|body| body.len() > LINE)?;
    std::str::from_utf8(body).ok()
}

/// The line that sends the request again: a large body from the file in which it was saved.
fn again(leg: &Leg, artifacts: &[Artifact]) -> String {
    let name = format!("/{}.body", leg.name);
    let file = artifacts.iter().find(|one| one.role == BODY && one.path.as_str().ends_with(&name));
    match file {
        Some(file) => curl_line_from(&leg.exchange.request, file.path.as_str()),
        None => curl_line(&leg.exchange.request),
    }
}

/// The answer, and how to ask for it again.
pub(super) fn told_leg(leg: &Leg, artifacts: &[Artifact]) -> String {
    let attempt = leg.exchange.last();
    let status = attempt.status.map_or("no status".to_owned(), |status| format!("status {status}"));
    let id = leg.request_id().map_or(String::new(), |id| format!(", request {id}"));
    let tries = match leg.exchange.attempts.len() {
        1 => String::new(),
        many => format!(", attempt {many}"),
    };
    let body = attempt.body();
    let text = excerpt(&String::from_utf8_lossy(&body), EXCERPT);
    let indented = text.trim_end().lines().fold(String::new(), |all, line| all + "\n  " + line);
    let shown = if text.is_empty() { "\n  (no body)".to_owned() } else { indented };
    let curl = again(leg, artifacts);
    format!("\nanswer ({}: {status}{id}{tries}, {} bytes):{shown}\nagain: {curl}\n", leg.name, body.len())
}

/// The exchange as it is saved: everything that was sent and received, times in seconds since the first attempt.
pub(super) fn saved(leg: &Leg) -> Value {
    let request = &leg.exchange.request;
    let begun = leg.exchange.attempts.first().map_or(Stamp(0), |attempt| attempt.begun);
    let attempts: Vec<Value> =
        leg.exchange.attempts.iter().map(|attempt| saved_attempt(attempt, begun)).collect();
    json!({
        "leg": leg.name,
        "request": {
            "method": request.method,
            "path": request.route.path(),
            "headers": request.headers,
            "body": request.body.as_ref().map(|body| String::from_utf8_lossy(body)),
        },
        "attempts": attempts,
        "final": leg.subject["final"],
        "error": leg.subject["error"],
    })
}

fn saved_attempt(attempt: &Attempt, begun: Stamp) -> Value {
    let since = |at: Stamp| at.since(begun).as_secs_f64();
    let chunk = |(at, bytes): &(Stamp, bytes::Bytes)| json!({"t_s": since(*at), "text": String::from_utf8_lossy(bytes)});
    json!({
        "begun_s": since(attempt.begun),
        "headers_s": attempt.headers_at.map(since),
        "ended_s": since(attempt.ended),
        "status": attempt.status,
        "headers": attempt.headers,
        "chunks": attempt.chunks.iter().map(chunk).collect::<Vec<_>>(),
        "fault": match &attempt.end {
            End::Complete => None,
            End::Broken(fault) => Some(fault.to_string()),
        },
    })
}
