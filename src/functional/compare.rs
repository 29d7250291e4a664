//! Several legs of one case side by side: the stream twin, and repetitions. Must not know how they were sent.
//!
//! 多次请求之间的比较：流式孪生与重复。

use serde_json::{Value, json};

use super::{
    expect::{Broken, Layer, Paths, same, show},
    leg::Leg,
    path::{Found, Path},
    spec::Repeat,
};

/// What must not depend on whether the answer is streamed: status, texts, finish reasons, tool calls, usage.
pub(super) fn twin(plain: &Leg, stream: &Leg) -> Vec<Broken> {
    let (plain, stream) = (&plain.subject, &stream.subject);
    if plain["status"] != stream["status"] {
        let expected = format!("the streaming twin to have status {}", plain["status"]);
        return vec![broken("/twin", "twin", expected, show(&stream["status"]))];
    }
    let (plain, stream) = (comparable(&plain["final"]), comparable(&stream["final"]));
    let mut found = Vec::new();
    differences(&plain, &stream, "final", &mut found);
    found
}

/// The parts of an answer that a stream has too.
fn comparable(answer: &Value) -> Value {
    if answer.is_null() {
        return Value::Null;
    }
    let choices: Vec<Value> = answer["choices"].as_array().into_iter().flatten().map(choice).collect();
    let usage = &answer["usage"];
    json!({
        "choices": choices,
        "usage": {
            "prompt_tokens": usage["prompt_tokens"],
            "completion_tokens": usage["completion_tokens"],
            "total_tokens": usage["total_tokens"],
        },
    })
}

/// Ids are made anew for every request, and an answer of nothing may be null or empty.
fn choice(choice: &Value) -> Value {
    let text = |key: &str| choice[key].as_str().unwrap_or_default().to_owned();
    let calls = choice["tool_calls"].as_array().into_iter().flatten();
    let calls: Vec<Value> =
        calls.map(|call| json!({"name": call["name"], "arguments": meant(&call["arguments"])})).collect();
    json!({
        "content": text("content"),
        "reasoning": text("reasoning"),
        "tool_calls": calls,
        "finish_reason": choice["finish_reason"],
    })
}

/// Arguments as what they mean: blanks between the tokens of JSON say nothing. What is no JSON is compared as text.
fn meant(arguments: &Value) -> Value {
    let parsed = arguments.as_str().and_then(|text| serde_json::from_str(text).ok());
    parsed.unwrap_or_else(|| arguments.clone())
}

/// One break for each part that differs, named by its path.
fn differences(plain: &Value, stream: &Value, at: &str, found: &mut Vec<Broken>) {
    match (plain, stream) {
        (Value::Object(one), Value::Object(other)) => {
            let more = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(more) {
                differences(&plain[key], &stream[key], &format!("{at}.{key}"), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let both = one.iter().zip(other).enumerate();
            both.for_each(|(index, (a, b))| differences(a, b, &format!("{at}.{index}"), found));
        }
        _ if same(plain, stream) => {}
        _ => {
            let expected = format!("{at} of the streaming twin to be {}", show(plain));
            found.push(broken("/twin", "twin", expected, show(stream)));
        }
    }
}

/// What repetitions have in common, and what they have not.
pub(super) fn repeat(repeat: &Repeat, legs: &[Leg]) -> Vec<Broken> {
    let mut found = Vec::new();
    for (index, path) in listed(repeat.same.as_ref()) {
        let pointer = format!("/repeat/same/{index}");
        let values = values(path, &pointer, legs, &mut found);
        let Some((first, rest)) = values.split_first() else { continue };
        if let Some((leg, value)) = rest.iter().find(|(_, value)| !same(value, first.1)) {
            let expected = format!("{path} to be {} again", show(first.1));
            found.push(broken(&pointer, "repeat", expected, format!("{} in {leg}", show(value))));
        }
    }
    for (index, path) in listed(repeat.differ.as_ref()) {
        let pointer = format!("/repeat/differ/{index}");
        let values = values(path, &pointer, legs, &mut found);
        let Some((first, rest)) = values.split_first() else { continue };
        if !rest.is_empty() && rest.iter().all(|(_, value)| same(value, first.1)) {
            let expected = format!("{path} not to be the same in all {} answers", values.len());
            found.push(broken(&pointer, "repeat", expected, format!("{} in each", show(first.1))));
        }
    }
    distinct(repeat, legs, &mut found);
    for (path, least) in repeat.similar.iter().flat_map(|at| &at.0) {
        let pointer = format!("/repeat/similar/{path}");
        let values = values(path, &pointer, legs, &mut found);
        let Some((first, rest)) = values.split_first() else { continue };
        let worst = rest.iter().map(|(leg, value)| (similarity(first.1, value), *leg, *value));
        let worst = worst.min_by(|one, other| one.0.total_cmp(&other.0));
        if let Some((degree, leg, value)) = worst.filter(|(degree, ..)| *degree < least.0) {
            let expected = format!("{path} to be like {}, to {} or more", show(first.1), least.0);
            found.push(broken(
                &pointer,
                "repeat",
                expected,
                format!("{} in {leg}, which is {degree:.2}", show(value)),
            ));
        }
    }
    found
}

/// From 0 to 1, by the edits that lead from one text to the other; what is no text is the same or not.
fn similarity(one: &Value, other: &Value) -> f64 {
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => strsim::normalized_levenshtein(one, other),
        _ => f64::from(u8::from(same(one, other))),
    }
}

/// How many different answers there are.
fn distinct(repeat: &Repeat, legs: &[Leg], found: &mut Vec<Broken>) {
    for (path, wanted) in repeat.distinct.iter().flat_map(|at| &at.0) {
        let pointer = format!("/repeat/distinct/{path}");
        let mut different: Vec<&Value> = Vec::new();
        for (_, value) in values(path, &pointer, legs, found) {
            if !different.iter().any(|one| same(one, value)) {
                different.push(value);
            }
        }
        if !wanted.holds(different.len()) {
            let expected = format!("{} different values of {path} in {} answers", wanted.text(), legs.len());
            let shown =
                different.first().map_or_else(String::new, |first| format!(": {} first", show(first)));
            found.push(broken(&pointer, "repeat", expected, format!("{}{shown}", different.len())));
        }
    }
}

fn listed(paths: Option<&Paths>) -> impl Iterator<Item = (usize, &Path)> {
    paths.into_iter().flat_map(|paths| paths.0.iter().enumerate())
}

/// What `path` leads to in each leg; a leg where it leads nowhere is a break.
fn values<'a>(
    path: &Path,
    pointer: &str,
    legs: &'a [Leg],
    found: &mut Vec<Broken>,
) -> Vec<(&'a str, &'a Value)> {
    let mut values = Vec::new();
    for leg in legs {
        let before = values.len();
        for spot in path.spots(&leg.subject, "") {
            if let Found::Value(value) = spot.found {
                values.push((leg.name.as_str(), value));
            }
        }
        if values.len() == before {
            found.push(broken(
                pointer,
                "repeat",
                format!("a value at {path} in {}", leg.name),
                "nothing there".to_owned(),
            ));
        }
    }
    values
}

fn broken(pointer: &str, kind: &'static str, expected: String, actual: String) -> Broken {
    Broken { pointer: pointer.to_owned(), layer: Layer::Openai, kind, expected, actual, doubtful: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Attempt, End, Exchange, Request, Route, Stamp};

    /// A leg whose subject is this.
    fn leg(name: &str, status: u16, said: &Value) -> Leg {
        let attempt = Attempt {
            begun: Stamp(0),
            sent: None,
            headers_at: None,
            status: Some(status),
            headers: Vec::new(),
            chunks: Vec::new(),
            end: End::Complete,
            ended: Stamp(0),
            away: None,
        };
        let request = Request::get(Route::Root("/".to_owned()));
        let mut leg = Leg::new(name, Exchange { request, attempts: vec![attempt] }, None);
        leg.subject["final"] = said.clone();
        leg
    }

    fn said(content: &str, tokens: u64) -> Value {
        let choice = json!({"content": content, "finish_reason": "stop", "tool_calls": [{"name": "w", "arguments": "{}"}]});
        json!({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}})
    }

    /// What is told of each way in which requests of one case can differ, or not differ.
    #[test]
    fn what_differs_between_requests_is_told_in_one_line_with_its_pointer() {
        let (hello, bye) = (said("Hello", 2), said("Bye", 2));
        let calls = {
            let mut other = said("Hello", 2);
            other["choices"][0]["tool_calls"][0]["arguments"] = json!("{\"city\": 5}");
            other
        };
        let twins = [
            (200, &bye),
            (200, &said("Hello", 4)),
            (200, &calls),
            (200, &json!({"choices": []})),
            (400, &hello),
        ];
        let mut told = String::new();
        for (status, streamed) in twins {
            tell(
                &mut told,
                "twin: stream",
                &twin(&leg("main", 200, &hello), &leg("stream", status, streamed)),
            );
        }
        let legs = [leg("main", 200, &hello), leg("repeat_2", 200, &bye), leg("repeat_3", 200, &hello)];
        let same = [leg("main", 200, &hello), leg("repeat_2", 200, &hello)];
        let content = "final.choices.0.content";
        for (spec, legs) in [
            (json!({"times": 3, "same": [content]}), legs.as_slice()),
            (json!({"times": 2, "differ": [content]}), same.as_slice()),
            (json!({"times": 3, "distinct": {content: {"min": 3}}}), legs.as_slice()),
            (json!({"times": 3, "similar": {content: 0.9}}), legs.as_slice()),
            (json!({"times": 2, "same": ["final.gone"]}), same.as_slice()),
        ] {
            let read: Repeat = serde_json::from_value(spec.clone()).unwrap();
            tell(&mut told, &spec.to_string(), &repeat(&read, legs));
        }
        snapbox::assert_data_eq!(told, snapbox::file!["compare.txt"]);
    }

    fn tell(told: &mut String, spec: &str, broken: &[Broken]) {
        assert!(!broken.is_empty(), "{spec} holds");
        let lines =
            broken.iter().map(|one| format!("  {} [{}] {}\n", one.pointer, one.layer.name(), one.summary()));
        *told += &format!("{spec}\n{}", lines.collect::<String>());
    }

    #[test]
    fn arguments_are_the_same_if_they_mean_the_same() {
        assert_eq!(meant(&json!("{\n \"a\" : 1\n}")), meant(&json!("{\"a\": 1}")));
        assert_ne!(meant(&json!("{\"a\": 2}")), meant(&json!("{\"a\": 1}")));
        assert_ne!(meant(&json!("{\"a\": 1")), meant(&json!("{\"a\": 1}")), "no JSON is compared as text");
    }
}
