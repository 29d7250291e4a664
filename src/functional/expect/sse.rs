//! How a stream is built: `sse: [framing, done, role_first, …]`. Must not know how bytes became events.
//!
//! 流式响应的结构断言。

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Broken, Scope, exact::same, show};

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SseRule {
    /// `text/event-stream`; every event closed by a blank line, without a type of its own, and a JSON object; no line
    /// that is no field of an event.
    Framing,
    /// Exactly one `[DONE]`, and nothing after it.
    Done,
    /// Each choice's first delta has the role `assistant`, and no later one has a role.
    RoleFirst,
    /// Each choice has exactly one finish_reason that is not null, in its last event.
    FinishOnce,
    /// `id`, `object`, `created` and `model` are there and the same on every event.
    Constant,
    /// Exactly one event has usage: the last one, without choices.
    UsageChunk,
    /// No event has usage.
    NoUsage,
    /// The events are spread over the time of the answer: nothing on the way buffers. An answer of less than 20 ms
    /// is not judged; inconclusive where this machine was too busy to look in time.
    Incremental,
    /// The headers do not wait for the end of the answer. Judged as `incremental` is.
    HeadersEarly,
}

/// Checks `rules` over the whole answer.
pub(super) fn check(rules: &[SseRule], scope: &Scope<'_>, out: &mut Vec<Broken>) {
    let events: Vec<&Value> =
        scope.answer["events"].as_array().into_iter().flatten().map(|event| &event["json"]).collect();
    if events.is_empty() {
        let actual = format!("no event, and content-type {}", show(&scope.answer["headers"]["content-type"]));
        out.push(scope.broken("sse", "a stream of events", actual));
        return;
    }
    for (index, rule) in rules.iter().enumerate() {
        let scope = scope.down(index);
        let mut tell = |expected: String, actual: String| out.push(scope.broken("sse", expected, actual));
        match rule {
            SseRule::Framing => framing(scope.answer, &events, &mut tell),
            SseRule::Done => done(scope.answer, &mut tell),
            SseRule::RoleFirst => role_first(&events, &mut tell),
            SseRule::FinishOnce => finish_once(&events, &mut tell),
            SseRule::Constant => constant(&events, &mut tell),
            SseRule::UsageChunk => usage_chunk(&events, &mut tell),
            SseRule::NoUsage => no_usage(&events, &mut tell),
            SseRule::Incremental => out.extend(incremental(scope.answer, &scope)),
            SseRule::HeadersEarly => out.extend(headers_early(scope.answer, &scope)),
        }
    }
}

type Tell<'a> = dyn FnMut(String, String) + 'a;

fn framing(answer: &Value, events: &[&Value], tell: &mut Tell<'_>) {
    let content_type = &answer["headers"]["content-type"];
    if !content_type.as_str().is_some_and(|text| text.starts_with("text/event-stream")) {
        tell("the content-type text/event-stream".to_owned(), show(content_type));
    }
    if answer["stream"]["trailing_bytes"] != 0 {
        let actual = format!("{} bytes after it", answer["stream"]["trailing_bytes"]);
        tell("a blank line at the end of the last event".to_owned(), actual);
    }
    if let Some(foreign @ 1..) = answer["stream"]["foreign_lines"].as_u64() {
        let lines = if foreign == 1 { "line" } else { "lines" };
        tell(
            "only lines that are fields of an event".to_owned(),
            format!("{foreign} {lines} of another kind"),
        );
    }
    if let Some(at) = events.iter().position(|event| !event.is_object()) {
        tell(format!("events.{at} to be a JSON object"), show(&answer["events"][at]["data"]));
    }
    let typed = answer["events"].as_array().into_iter().flatten().find(|event| event["event"] != "message");
    if let Some(typed) = typed {
        tell("events without a type".to_owned(), show(&typed["event"]));
    }
}

fn done(answer: &Value, tell: &mut Tell<'_>) {
    let stream = &answer["stream"];
    if stream["done_count"] != 1 {
        tell("exactly one [DONE]".to_owned(), show(&stream["done_count"]));
    } else if stream["done_last"] != true {
        tell("nothing after [DONE]".to_owned(), "more events".to_owned());
    }
}

/// The events of each choice, by index, with their number: `(event, choice)`.
fn by_choice<'a>(events: &[&'a Value]) -> BTreeMap<u64, Vec<(usize, &'a Value)>> {
    let mut choices = BTreeMap::<u64, Vec<(usize, &Value)>>::new();
    for (at, event) in events.iter().enumerate() {
        for choice in event["choices"].as_array().into_iter().flatten() {
            choices.entry(choice["index"].as_u64().unwrap_or(0)).or_default().push((at, choice));
        }
    }
    choices
}

fn role_first(events: &[&Value], tell: &mut Tell<'_>) {
    let choices = by_choice(events);
    if choices.is_empty() {
        tell("choices in the stream".to_owned(), "none".to_owned());
    }
    for (index, seen) in choices {
        for (nth, (at, choice)) in seen.iter().enumerate() {
            let role = &choice["delta"]["role"];
            if nth == 0 && role != "assistant" {
                tell(
                    format!("the first delta of choice {index} (events.{at}) to have the role assistant"),
                    show(role),
                );
            } else if nth > 0 && !role.is_null() {
                tell(
                    format!("no role after the first delta of choice {index}"),
                    format!("{} in events.{at}", show(role)),
                );
                break;
            }
        }
    }
}

fn finish_once(events: &[&Value], tell: &mut Tell<'_>) {
    let choices = by_choice(events);
    if choices.is_empty() {
        tell("choices in the stream".to_owned(), "none".to_owned());
    }
    for (index, seen) in choices {
        let finished: Vec<_> =
            seen.iter().enumerate().filter(|(_, (_, choice))| !choice["finish_reason"].is_null()).collect();
        match finished.as_slice() {
            [(nth, _)] if *nth + 1 == seen.len() => {}
            [(_, (at, choice))] => {
                let actual = format!("{} in events.{at}, with more to come", show(&choice["finish_reason"]));
                tell(format!("the finish_reason of choice {index} in its last event"), actual);
            }
            several => {
                let reasons: Vec<String> = several
                    .iter()
                    .map(|(_, (at, c))| format!("{} in events.{at}", show(&c["finish_reason"])))
                    .collect();
                let actual = if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") };
                tell(format!("exactly one finish_reason for choice {index}"), actual);
            }
        }
    }
}

fn constant(events: &[&Value], tell: &mut Tell<'_>) {
    for key in ["id", "object", "created", "model"] {
        let Some(first) = events.first().map(|event| &event[key]) else { return };
        let other =
            events.iter().enumerate().find(|(_, event)| event[key].is_null() || !same(&event[key], first));
        if let Some((at, event)) = other {
            tell(
                format!("events.{at}.json.{key} to be as in the first event, {}", show(first)),
                show(&event[key]),
            );
        }
    }
}

fn usage_chunk(events: &[&Value], tell: &mut Tell<'_>) {
    let with: Vec<usize> = (0..events.len()).filter(|at| events[*at]["usage"].is_object()).collect();
    match with.as_slice() {
        [at] if at + 1 == events.len() => {
            let choices = &events[*at]["choices"];
            if !choices.as_array().is_some_and(Vec::is_empty) {
                tell("no choices beside the usage".to_owned(), show(choices));
            }
        }
        [at] => {
            tell("the usage in the last event".to_owned(), format!("it in events.{at} of {}", events.len()))
        }
        all => tell("exactly one event with usage".to_owned(), format!("{}", all.len())),
    }
}

fn no_usage(events: &[&Value], tell: &mut Tell<'_>) {
    let with = events.iter().enumerate().find(|(_, event)| !event["usage"].is_null());
    if let Some((at, event)) = with {
        tell("no event with usage".to_owned(), format!("{} in events.{at}", show(&event["usage"])));
    }
}

/// An answer that took less than this cannot be told from a buffered one.
const TOO_QUICK_S: f64 = 0.02;
/// A stream that is handed on as it is made spreads over at least this part of the answer's time; one that was
/// held back comes within a blink at its end, though maybe in several pieces.
const SPREAD: f64 = 0.05;

/// When each event came, in seconds since the attempt began.
fn times(answer: &Value) -> Vec<f64> {
    answer["events"].as_array().into_iter().flatten().filter_map(|event| event["t_s"].as_f64()).collect()
}

/// Something that was first seen so near the end of the answer that it seems to have been held back until then.
struct HeldBack {
    seen_s: f64,
    end_s: f64,
    /// For how long the client was kept from looking.
    away_s: f64,
}

impl HeldBack {
    fn until_the_end(answer: &Value, seen_s: Option<f64>) -> Option<Self> {
        let (seen_s, end_s) = (seen_s?, *times(answer).last()?);
        let away_s = answer["timing"]["away_s"].as_f64().unwrap_or(0.0);
        (end_s > TOO_QUICK_S && end_s - seen_s < SPREAD * end_s).then_some(Self { seen_s, end_s, away_s })
    }

    /// It may have come as much earlier as the client was late to look. If that is enough, nothing is decided.
    fn broken(&self, scope: &Scope<'_>, expected: &str, actual: String, cause: &str) -> Broken {
        let doubtful = self.end_s - self.seen_s + self.away_s >= SPREAD * self.end_s;
        let why = match doubtful {
            false => cause.to_owned(),
            true => {
                format!("this machine looked {} late, so it is not known whether {cause}", ms(self.away_s))
            }
        };
        Broken { doubtful, ..scope.broken("sse", expected, format!("{actual}: {why}")) }
    }
}

fn ms(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

fn headers_early(answer: &Value, scope: &Scope<'_>) -> Option<Broken> {
    let held = HeldBack::until_the_end(answer, answer["timing"]["headers_s"].as_f64())?;
    let actual = format!("them after {} of {}", ms(held.seen_s), ms(held.end_s));
    let expected = "the headers before the end of the answer";
    Some(held.broken(scope, expected, actual, "something waits for the whole answer"))
}

fn incremental(answer: &Value, scope: &Scope<'_>) -> Option<Broken> {
    let held = HeldBack::until_the_end(answer, times(answer).first().copied())?;
    let actual =
        format!("all of them within {} at the end of {}", ms(held.end_s - held.seen_s), ms(held.end_s));
    let expected = "events spread over the time of the answer";
    Some(held.broken(scope, expected, actual, "something on the way buffers"))
}
