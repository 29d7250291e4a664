//! Every kind of expectation, kept and broken, over hand-made subjects. What is told of each break is a golden
//! text: `tests.txt` beside this file.
//!
//! 断言的单元测试：成立、不成立与失败信息。

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

/// A plain answer with one of everything.
fn plain() -> Value {
    json!({
        "status": 200,
        "headers": {"content-type": "application/json", "allow": "GET, POST"},
        "body": {
            "id": "chatcmpl-1", "zero": 0, "no": false, "nothing": null, "empty": "", "half": 0.5, "one": 1.0,
            "text": "Hello 世界", "list": [1, 2, 2], "bytes": [[72, 101], [108, 108, 111]], "none": [], "call": "{\"city\":\"Paris\"}", "torn": "a\u{fffd}b",
            "leak": "Traceback (most recent call last): x", "items": [{"n": 1}, {"n": 2, "extra": null}],
        },
        "events": [],
        "final": {
            "model": "m",
            "choices": [{
                "index": 0, "content": "Hello", "finish_reason": "length", "logprobs": chat_logprobs(["Hel", "Help"], -0.7, -0.69),
                "tool_calls": [{"name": "weather", "arguments": "{\"city\": 5}"}],
            }],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        },
        "error": null,
        "stream": null,
        "timing": {"headers_s": 0.05, "total_s": 0.2, "away_s": 0.0},
        "request": {
            "model": "m", "max_tokens": 2,
            "response_format": {"json_schema": {"schema": {"type": "object", "required": ["city"]}}},
            "tools": [{"function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}}],
        },
        "legs": {
            "tokenize": {"body": {"count": 5}},
            "same": {"content": "Hello"},
            "tie": {"content": "Help", "logprobs": chat_logprobs(["Help", "Hel"], -0.69, -0.82)},
            "other": {"content": "Bye", "logprobs": {
                "tokens": ["Bye", "!"], "top_logprobs": [{"Bye": -0.1, "Hel": -2.5}, {"!": 0.0}],
            }},
            "bare": {"content": "Bye", "logprobs": null},
            "metrics_before": {"body": "# HELP x_total x\nx_total{k=\"a\"} 1\nx_total{k=\"b\"} 4.0\n"},
            "metrics_after": {"body": "x_total{k=\"a\"} 3\nx_total{k=\"b\"} 5.0\nx_total_more 9\nnew_total 1\n"},
        },
    })
}

/// Two tokens in chat's form, the first with an alternative.
fn chat_logprobs([first, second]: [&str; 2], logprob: f64, next: f64) -> Value {
    let top = json!([{"token": first, "logprob": logprob}, {"token": second, "logprob": next}]);
    json!({"content": [{"token": first, "top_logprobs": top}, {"token": "lo", "top_logprobs": []}]})
}

/// The same with `pointer` set to `value`.
fn but(subject: Value, pointer: &str, value: Value) -> Value {
    let mut subject = subject;
    *subject.pointer_mut(pointer).expect("the subject has this place") = value;
    subject
}

fn refused() -> Value {
    let error = json!({
        "shape": "nested", "status": 400, "code": 400, "type": "BadRequestError", "param": "temperature",
        "message": "temperature must be non-negative, got -1.0",
    });
    but(but(plain(), "/status", json!(400)), "/error", error)
}

fn refused_in_stream() -> Value {
    but(but(refused(), "/status", json!(200)), "/error/shape", json!("sse"))
}

fn event(t_s: f64, json: &Value) -> Value {
    json!({"t_s": t_s, "event": "message", "data": json.to_string(), "json": json})
}

fn chunk(delta: Value, finish: Value) -> Value {
    json!({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    })
}

/// A stream of role, text, end and usage.
fn streamed() -> Value {
    let usage = json!({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    });
    let mut subject = plain();
    subject["headers"]["content-type"] = json!("text/event-stream; charset=utf-8");
    subject["events"] = json!([
        event(0.1, &chunk(json!({"role": "assistant", "content": ""}), Value::Null)),
        event(0.2, &chunk(json!({"content": "Hello"}), Value::Null)),
        event(0.3, &chunk(json!({}), json!("stop"))),
        event(0.3, &usage),
    ]);
    subject["stream"] = json!({"ended": "done", "done_count": 1, "done_last": true, "malformed": 0, "foreign_lines": 0, "trailing_bytes": 0});
    subject
}

fn read(expect: Value) -> Vec<Expect> {
    serde_json::from_value(json!([expect.clone()])).unwrap_or_else(|e| panic!("{expect}: {e}"))
}

fn broken(expect: &Value, subject: &Value) -> Vec<Broken> {
    check_all(&read(expect.clone()), &Scope::new(subject, "/expect"))
}

#[test]
fn what_holds_is_not_told() {
    let holds = [
        json!({"status": 200}),
        json!({"status": "2xx"}),
        json!({"status": [404, "2xx"]}),
        json!({"eq": {"body.zero": 0, "body.no": false, "body.nothing": null, "body.empty": "", "body.one": 1}}),
        json!({"eq": {"body.list": [1, 2.0, 2], "body.none": []}}),
        json!({"ne": {"body.zero": false, "body.no": 0, "body.nothing": false, "body.empty": null}}),
        json!({"one_of": {"body.nothing": [1, null], "status": [200, 201]}}),
        json!({"same": {"final.model": "request.model"}}),
        json!({"differs": {"final.model": "final.choices.0.content"}}),
        json!({"same_up_to_ties": {"final.choices.0": "legs.same"}}),
        json!({"concat": {"final.choices.0.logprobs.content.*.token": "final.choices.0.content"}}),
        json!({"concat": {"body.bytes.*": "legs.same.content"}}),
        json!({"monotone": {"body.list": "rising", "body.items.*.n": "strictly_rising"}}),
        json!({"json_schema": {"body.call": "@request"}}),
        json!({"metrics_delta": {
            "x_total": 3, "x_total{k=\"a\"}": "final.usage.completion_tokens", "new_total": 1,
        }}),
        json!({"usage": ["tokenize", "logprobs"]}),
        json!({"unique": ["body.items.*.n"]}),
        json!({"type": {"body.one": "number", "body.zero": "int", "body.nothing": "string|null", "body.no": "bool"}}),
        json!({"exists": ["body.nothing", "body.items.1.extra"]}),
        json!({"absent": ["body.items.0.extra", "final.choices.0.reasoning"]}),
        json!({"null_or_absent": ["body.nothing", "body.items.*.extra"]}),
        json!({"keys": {"body.items.0": {"required": ["n"], "forbidden": ["m"], "allowed": ["n"]}}}),
        json!({"len": {"body.text": 8, "body.none": 0, "body.items": {"min": 1, "max": 2}}}),
        json!({"range": {"body.half": {"above": 0, "below": 1}, "body.zero": {"min": 0, "max": 0}}}),
        json!({"matches": {"body.text": "世界$"}}),
        json!({"not_matches": {"body.text": "^世界"}}),
        json!({"contains": {"body.text": "世", "body.list": 2, "headers.allow": "POST"}}),
        json!({"not_contains": {"body.text": "x", "body.list": "2", "body.none": null}}),
        json!({"starts": {"body.text": "Hello"}}),
        json!({"ends": {"body.text": "界"}}),
        json!({"no_replacement_char": ["body.text", "body.items"]}),
        json!({"no_leak": ["body.text", "final"]}),
        json!({"json_parse": {"body.call": "object"}}),
        json!({"json_schema": {"body.call": {"type": "object", "required": ["city"]}, "body.half": {"maximum": 1}}}),
        json!({"each": {"body.items": [{"type": {"n": "int"}}, {"range": {"$.n": {"min": 1}}}]}}),
        json!({"any": {"body.items": [{"eq": {"n": 2}}]}}),
        json!({"none": {"body.items": [{"eq": {"n": 3}}], "body.none": [{"exists": ["n"]}]}}),
        json!({"either": {"refused": [{"error": {}}], "answered": [{"status": 200}]}}),
        json!({"when": {"if": [{"status": 200}], "then": [{"exists": ["final.usage"]}]}}),
        json!({"when": {"if": [{"status": 400}], "then": [{"absent": ["status"]}], "else": [{"status": 200}]}}),
        json!({"usage": ["sum", "length_exact"]}),
        json!({"wire": [{"status": 200}]}),
        json!({"engine": [{"status": 200}]}),
    ];
    for expect in holds {
        assert_eq!(broken(&expect, &plain()), [], "{expect}");
    }
    for expect in [
        json!({"error": {}}),
        json!({"error": {"status": 400, "shape": ["flat", "nested"], "param": "^temperature$", "message": "negative"}}),
        json!({"error": {"names": "temperature", "type": "BadRequest"}}),
    ] {
        assert_eq!(broken(&expect, &refused()), [], "{expect}");
    }
    assert_eq!(broken(&json!({"error": {"allow_sse": true, "status": 400}}), &refused_in_stream()), []);
    let all = json!({"sse": [
        "framing", "done", "role_first", "finish_once", "constant", "usage_chunk", "incremental", "headers_early",
    ]});
    assert_eq!(broken(&all, &streamed()), []);
    assert_eq!(broken(&json!({"event_order": "R[CE]+FU?D"}), &streamed()), []);
    assert_eq!(broken(&json!({"event_order": "a.begun (a.delta )+a.done"}), &named()), []);
    let usage = but(streamed(), "/events/3/json/usage", Value::Null);
    assert_eq!(broken(&json!({"sse": ["no_usage"]}), &usage), []);
}

/// An expectation, and a subject that breaks it.
fn breaks() -> Vec<(Value, Value)> {
    let plain_breaks = [
        json!({"status": 404}),
        json!({"status": ["4xx", 500]}),
        json!({"eq": {"body.zero": false}}),
        json!({"eq": {"body.no": 0}}),
        json!({"eq": {"body.nothing": false}}),
        json!({"eq": {"body.gone": null}}),
        json!({"eq": {"body.gone.deeper": 1}}),
        json!({"eq": {"body.none.*.n": 1}}),
        json!({"eq": {"body.items.*.n": 1}}),
        json!({"ne": {"body.one": 1}}),
        json!({"one_of": {"body.text": ["stop", "length", null]}}),
        json!({"same": {"final.choices.0.content": "request.model"}}),
        json!({"same": {"final.model": "request.gone"}}),
        json!({"differs": {"final.choices.0.content": "legs.same.content"}}),
        json!({"differs": {"final.choices.0.gone": "legs.same.content"}}),
        json!({"same_up_to_ties": {"final.choices.0": "legs.tie"}}),
        json!({"same_up_to_ties": {"final.choices.0": "legs.other"}}),
        json!({"same_up_to_ties": {"final.choices.0": "legs.bare"}}),
        json!({"same_up_to_ties": {"final.choices.0": "final.choices.1"}}),
        json!({"concat": {"final.choices.0.logprobs.content.*.token": "legs.tie.content"}}),
        json!({"concat": {"body.list.*": "final.choices.0.content"}}),
        json!({"concat": {"body.text": "body.zero"}}),
        json!({"monotone": {"body.list": "strictly_rising"}}),
        json!({"monotone": {"body.items.*.n": "falling"}}),
        json!({"monotone": {"body.text": "rising"}}),
        json!({"monotone": {"body.none": "rising"}}),
        json!({"json_schema": {"final.choices.0.tool_calls.0.arguments": "@request"}}),
        json!({"json_schema": {"body.half": "@request"}}),
        json!({"metrics_delta": {"x_total": 2, "x_total{k=\"b\"}": "final.usage.prompt_tokens"}}),
        json!({"metrics_delta": {"gone_total": 1, "x_total": "final.usage.gone"}}),
        json!({"unique": ["body.list.*"]}),
        json!({"type": {"body.half": "int|null"}}),
        json!({"exists": ["body.items.0.extra"]}),
        json!({"absent": ["body.nothing"]}),
        json!({"absent": ["body.gone.deeper"]}),
        json!({"null_or_absent": ["body.zero"]}),
        json!({"keys": {"body.items.1": {"required": ["id"], "forbidden": ["extra"], "allowed": ["id"]}}}),
        json!({"len": {"body.text": {"min": 9}}}),
        json!({"len": {"body.none": {"min": 1}}}),
        json!({"len": {"body.zero": 0}}),
        json!({"range": {"body.zero": {"above": 0, "max": 1}}}),
        json!({"range": {"body.text": {"min": 0}}}),
        json!({"matches": {"body.text": "^世"}}),
        json!({"not_matches": {"body.text": "世"}}),
        json!({"matches": {"body.nothing": "x"}}),
        json!({"contains": {"body.list": 3}}),
        json!({"not_contains": {"body.text": "世"}}),
        json!({"starts": {"headers.content-type": "text/event-stream"}}),
        json!({"ends": {"body.text": "Hello"}}),
        json!({"no_replacement_char": ["body"]}),
        json!({"no_leak": ["body.leak"]}),
        json!({"json_parse": {"body.text": "any"}}),
        json!({"json_parse": {"body.call": "array"}}),
        json!({"json_schema": {"body.call": {"type": "object", "properties": {"city": {"type": "integer"}}}}}),
        json!({"each": {"body.items": [{"absent": ["extra"]}]}}),
        json!({"each": {"body.none": [{"exists": ["n"]}]}}),
        json!({"each": {"body.text": [{"exists": ["n"]}]}}),
        json!({"any": {"body.items": [{"eq": {"n": 3}}]}}),
        json!({"none": {"body.items": [{"eq": {"n": 2}}]}}),
        json!({"either": {"refused": [{"error": {}}], "short": [{"eq": {"final.choices.0.finish_reason": "stop"}}]}}),
        json!({"when": {"if": [{"status": 200}], "then": [{"exists": ["body.gone"]}]}}),
        json!({"error": {}}),
        json!({"sse": ["done"]}),
        json!({"wire": [{"engine": [{"status": 201}]}]}),
        json!({"engine": [{"status": 201}]}),
    ];
    let mut breaks: Vec<(Value, Value)> = plain_breaks.into_iter().map(|expect| (expect, plain())).collect();
    breaks.extend([
        (json!({"usage": ["sum"]}), but(plain(), "/final/usage/total_tokens", json!(8))),
        (json!({"usage": ["sum"]}), but(plain(), "/final/usage", Value::Null)),
        (json!({"usage": ["tokenize"]}), but(plain(), "/legs/tokenize/body/count", json!(6))),
        (json!({"usage": ["logprobs"]}), but(plain(), "/final/choices/0/logprobs", Value::Null)),
        (json!({"usage": ["length_exact"]}), but(plain(), "/final/usage/completion_tokens", json!(3))),
        (
            json!({"error": {"status": 404, "shape": ["detail"], "param": "model", "names": "top_p"}}),
            refused(),
        ),
        (json!({"error": {}}), but(refused(), "/error/message", json!(" "))),
        (json!({"error": {}}), refused_in_stream()),
        (json!({"sse": ["framing"]}), but(streamed(), "/headers/content-type", json!("application/json"))),
        (
            json!({"sse": ["framing"]}),
            but(streamed(), "/events/1", json!({"event": "x", "data": "{", "json": null})),
        ),
        (json!({"sse": ["framing"]}), but(streamed(), "/stream/trailing_bytes", json!(7))),
        (json!({"sse": ["framing"]}), but(streamed(), "/stream/foreign_lines", json!(1))),
        (json!({"sse": ["done"]}), but(streamed(), "/stream/done_count", json!(0))),
        (json!({"sse": ["done"]}), but(streamed(), "/stream/done_last", json!(false))),
        (
            json!({"sse": ["role_first"]}),
            but(streamed(), "/events/0/json/choices/0/delta", json!({"content": ""})),
        ),
        (
            json!({"sse": ["role_first"]}),
            but(streamed(), "/events/1/json/choices/0/delta", json!({"role": "assistant"})),
        ),
        (
            json!({"sse": ["finish_once"]}),
            but(streamed(), "/events/2/json/choices/0/finish_reason", Value::Null),
        ),
        (
            json!({"sse": ["finish_once"]}),
            but(streamed(), "/events/1/json/choices/0/finish_reason", json!("stop")),
        ),
        (json!({"sse": ["constant"]}), but(streamed(), "/events/2/json/id", json!("d"))),
        (json!({"sse": ["usage_chunk"]}), but(streamed(), "/events/3/json/usage", Value::Null)),
        (json!({"sse": ["usage_chunk"]}), but(streamed(), "/events/3/json/choices", json!([{"index": 0}]))),
        (json!({"sse": ["no_usage"]}), streamed()),
        (
            json!({"sse": ["incremental"]}),
            but(streamed(), "/events", json!([event(0.1, &json!({})), event(0.1, &json!({}))])),
        ),
        (json!({"sse": ["headers_early"]}), but(streamed(), "/timing/headers_s", json!(0.299))),
        (
            json!({"event_order": "R[CE]+FU?D"}),
            but(streamed(), "/events/0/json/choices/0/delta/role", Value::Null),
        ),
        (json!({"event_order": "RC"}), plain()),
        (json!({"event_order": "a.begun a.done"}), named()),
    ]);
    breaks
}

/// A stream whose events have names.
fn named() -> Value {
    let events = ["a.begun", "a.delta", "a.delta", "a.done"]
        .map(|name| json!({"event": name, "json": {"type": name}}));
    but(streamed(), "/events", json!(events))
}

#[test]
fn what_is_broken_is_told_in_one_line_with_its_pointer() {
    let mut told = String::new();
    for (expect, subject) in breaks() {
        let broken = broken(&expect, &subject);
        assert!(!broken.is_empty(), "{expect} holds");
        let _ = writeln!(told, "{expect}");
        for one in broken {
            let _ = writeln!(told, "  {} [{}] {}", one.pointer, one.layer.name(), one.summary());
        }
    }
    snapbox::assert_data_eq!(told, snapbox::file!["tests.txt"]);
}

#[test]
fn every_kind_has_a_break_in_the_table() {
    let kinds: std::collections::BTreeSet<&str> =
        breaks().into_iter().map(|(expect, _)| read(expect)[0].kind()).collect();
    let schema = serde_json::to_value(schemars::schema_for!(Expect)).unwrap();
    let variants = schema["oneOf"].as_array().expect("an externally tagged enum is a oneOf");
    for variant in variants {
        let kind = variant["required"][0].as_str().expect("a variant is a mapping of one key");
        assert!(kinds.contains(kind), "no break of `{kind}` in the table");
    }
}

#[test]
fn every_rule_of_a_list_has_a_break_in_the_table() {
    let names = |schema: schemars::Schema| -> Vec<String> {
        let schema = serde_json::to_value(schema).unwrap();
        let variants = schema["oneOf"].as_array().expect("documented variants").iter();
        variants.map(|variant| variant["const"].as_str().expect("a name").to_owned()).collect()
    };
    for (kind, rules) in
        [("sse", names(schemars::schema_for!(SseRule))), ("usage", names(schemars::schema_for!(UsageRule)))]
    {
        for rule in rules {
            let breaks_it = |(expect, _): &(Value, Value)| expect[kind] == json!([rule]);
            assert!(breaks().iter().any(breaks_it), "no break of `{kind}: [{rule}]` in the table");
        }
    }
}

#[test]
fn a_mistake_in_an_expectation_is_told_when_the_file_is_read() {
    let cases = [
        (
            json!({"status": "6xx"}),
            "expected a status such as 200, a class such as 4xx, or a list of them, found \"6xx\"",
        ),
        (
            json!({"status": []}),
            "expected a status such as 200, a class such as 4xx, or a list of them, found []",
        ),
        (
            json!({"type": {"status": "text"}}),
            "expected a type (string, int, number, bool, null, array, object, joined by `|`), found `text`",
        ),
        (json!({"eq": {}}), "expected at least one entry, found an empty mapping: it asserts nothing"),
        (json!({"exists": []}), "expected at least one path, found an empty list: it asserts nothing"),
        (
            json!({"eq": {"a[0]": 1}}),
            "path `a[0]`: expected a name in double quotes (an index is written `.0`, each item `.*`) at character 3, found `0`",
        ),
        (json!({"len": {"a": "x"}}), "expected a length or bounds such as {min: 1, max: 20}, found \"x\""),
        (
            json!({"len": {"a": {}}}),
            "expected at least one of min, max, above, below: without a bound it asserts nothing",
        ),
        (
            json!({"metrics_delta": {"a b": 1}}),
            "expected a counter such as vllm:x_total or vllm:x_total{k=\"v\"}, found `a b`",
        ),
        (json!({"metrics_delta": {"a_total": null}}), "expected a number or the path of one, found null"),
        (json!({"range": {"a": {"min": 2, "max": 1}}}), "expected a range, found one that is empty: 2 to 1"),
    ];
    for (expect, message) in cases {
        let error = serde_json::from_value::<Expect>(expect.clone()).expect_err("a mistake");
        assert_eq!(error.to_string(), message, "{expect}");
    }
    for expect in [
        json!({"matches": {"a": "("}}),
        json!({"json_schema": {"a": {"type": "nonsense"}}}),
        json!({"stats": 200}),
        json!({"sse": ["role"]}),
        json!({"event_order": "R("}),
        json!({"error": {"sttus": 1}}),
    ] {
        assert!(serde_json::from_value::<Expect>(expect.clone()).is_err(), "{expect}");
    }
}

#[test]
fn whole_numbers_beyond_a_float_stay_distinct() {
    assert!(!same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
    assert!(same(&json!(1), &json!(1.0)));
    assert!(!same(&json!(1), &json!(true)));
}

#[test]
fn a_client_that_may_have_looked_too_late_does_not_tell_who_held_back() {
    let doubtful = |away: f64| {
        let together = but(streamed(), "/events", json!([event(0.1, &json!({})), event(0.1, &json!({}))]));
        let late = but(together, "/timing/headers_s", json!(0.099));
        let subject = but(late, "/timing/away_s", json!(away));
        let found = broken(&json!({"sse": ["incremental", "headers_early"]}), &subject);
        found.iter().map(|one| (one.doubtful, one.actual.contains("this machine looked"))).collect::<Vec<_>>()
    };
    assert_eq!(doubtful(0.003), [(false, false); 2]);
    assert_eq!(doubtful(0.006), [(true, true); 2]);
}

#[test]
fn only_a_tie_leaves_a_difference_of_texts_undecided() {
    let doubtful = |other: &str| {
        let expect = json!({"same_up_to_ties": {"final.choices.0": other}});
        broken(&expect, &plain()).iter().map(|one| one.doubtful).collect::<Vec<_>>()
    };
    assert_eq!(doubtful("legs.tie"), [true]);
    for other in ["legs.other", "legs.bare", "final.choices.1"] {
        assert_eq!(doubtful(other), [false], "{other}");
    }
}
