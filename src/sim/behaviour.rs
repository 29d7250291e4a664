//! For tests only: what the simulator as a whole does, seen from outside over a socket.
//!
//! 测试：从外部观察模拟器的整体行为。

use super::probe::{Seen, ask, ask_with, get, post};
use super::{Answering, Fault, FaultRule, Features, How, Known, Match, Options, Sim, Stall, Status, Timing};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn sim() -> Sim {
    Sim::start(Options::default()).expect("a free port")
}

fn with(fault: Fault) -> Sim {
    Sim::start(Options { faults: vec![fault.into()], ..Options::default() }).expect("a free port")
}

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "sim", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 16, "temperature": 0});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

fn said(sim: &Sim, more: Value) -> String {
    let seen = post(sim, CHAT, &chat(more));
    assert_eq!(seen.status, 200, "{}", seen.text());
    seen.json()["choices"][0]["message"]["content"].as_str().expect("content").to_owned()
}

#[test]
fn a_stream_says_what_the_document_says() {
    let sim = sim();
    for more in [
        json!({}),
        json!({"temperature": 0.8, "seed": 42}),
        json!({"stop": ["e"], "max_tokens": 64}),
        json!({"messages": [{"role": "user", "content": "用中文介绍你自己 😀"}], "max_tokens": 40}),
        json!({"response_format": {"type": "json_object"}, "max_tokens": 64}),
    ] {
        let whole = post(&sim, CHAT, &chat(more.clone())).json();
        let mut streaming = chat(more);
        streaming["stream"] = json!(true);
        streaming["stream_options"] = json!({"include_usage": true});
        let stream = post(&sim, CHAT, &streaming);
        assert_eq!(stream.said(), whole["choices"][0]["message"]["content"].as_str().expect("content"));
        let chunks = stream.chunks();
        let finishes: Vec<&Value> =
            chunks.iter().map(|c| &c["choices"][0]["finish_reason"]).filter(|f| f.is_string()).collect();
        assert_eq!(finishes, [&whole["choices"][0]["finish_reason"]]);
        let usage = &chunks.last().expect("the usage chunk")["usage"];
        for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            assert_eq!(usage[count], whole["usage"][count]);
        }
        assert_eq!(stream.events().last().map(String::as_str), Some("[DONE]"));
    }
}

#[test]
fn a_seed_decides_the_answer_and_without_one_answers_vary() {
    let sim = sim();
    let seeded = |seed: u64| said(&sim, json!({"temperature": 1, "seed": seed}));
    assert_eq!(seeded(1), seeded(1));
    assert_ne!(seeded(1), seeded(2));
    let free = || said(&sim, json!({"temperature": 1}));
    assert_ne!(free(), free());
    assert_eq!(said(&sim, json!({})), said(&sim, json!({})));
}

#[test]
fn a_prompt_has_as_many_tokens_as_tokenize_counts() {
    let sim = sim();
    for messages in [
        json!([{"role": "user", "content": "Say hi."}]),
        json!([{"role": "system", "content": "简短"}, {"role": "user", "content": "你好 😀"}]),
        json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]),
    ] {
        let usage = post(&sim, CHAT, &chat(json!({"messages": messages}))).json()["usage"].clone();
        let counted = post(&sim, "/tokenize", &json!({"model": "sim", "messages": messages})).json();
        assert_eq!(usage["prompt_tokens"], counted["count"]);
    }
    let tokens = post(&sim, "/tokenize", &json!({"prompt": "Hello 世界 👩‍🚀"})).json()["tokens"].clone();
    assert_eq!(post(&sim, "/detokenize", &json!({"tokens": tokens})).json()["prompt"], "Hello 世界 👩‍🚀");
}

#[test]
fn the_counters_have_moved_by_what_usage_says_once_the_answer_is_read() {
    let sim = sim();
    let counter = |name: &str| -> f64 {
        let text = get(&sim, "/metrics").text();
        let line =
            text.lines().find(|line| line.starts_with(&format!("vllm:{name}{{"))).expect("the counter");
        line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a number")
    };
    let names = ["prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_count"];
    for stream in [false, true] {
        let before = names.map(counter);
        let body = chat(json!({"stream": stream}));
        let usage = post(&sim, CHAT, &chat(json!({}))).json()["usage"].clone();
        post(&sim, CHAT, &body);
        let moved: Vec<f64> =
            names.map(counter).iter().zip(before).map(|(after, before)| after - before).collect();
        let twice = |count: &str| usage[count].as_f64().expect("a count") * 2.0;
        assert_eq!(moved, [twice("prompt_tokens"), twice("completion_tokens"), 2.0]);
    }
    assert_eq!(counter("num_requests_running"), 0.0);
}

#[test]
fn several_choices_and_prompts_are_numbered_and_counted_together() {
    let sim = sim();
    let two = post(&sim, CHAT, &chat(json!({"n": 2, "temperature": 1, "seed": 3}))).json();
    assert_eq!([&two["choices"][0]["index"], &two["choices"][1]["index"]], [0, 1]);
    assert_ne!(two["choices"][0]["message"], two["choices"][1]["message"]);
    let body =
        json!({"prompt": ["One", "Two"], "n": 2, "max_tokens": 4, "temperature": 1, "ignore_eos": true});
    let four = post(&sim, TEXT, &body).json();
    let indices: Vec<&Value> =
        four["choices"].as_array().expect("choices").iter().map(|c| &c["index"]).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(four["usage"]["completion_tokens"], 16);
    let list = post(&sim, TEXT, &json!({"prompt": ["One", "Two"], "temperature": 0})).json();
    let single = post(&sim, TEXT, &json!({"prompt": "Two", "temperature": 0})).json();
    assert_eq!(list["choices"][1]["text"], single["choices"][0]["text"]);
}

#[test]
fn echo_gives_the_prompt_back_and_may_ask_for_nothing_more() {
    let sim = sim();
    let seen = post(&sim, TEXT, &json!({"prompt": "Hello 世界", "echo": true, "max_tokens": 0})).json();
    assert_eq!(seen["choices"][0]["text"], "Hello 世界");
    assert_eq!(seen["usage"]["completion_tokens"], 0);
    let seen = post(
        &sim,
        TEXT,
        &json!({"prompt": "Hello", "echo": true, "max_tokens": 3, "logprobs": 1, "temperature": 0}),
    )
    .json();
    let logprobs = &seen["choices"][0]["logprobs"];
    assert_eq!(logprobs["token_logprobs"][0], Value::Null);
    assert_eq!(logprobs["tokens"].as_array().map(Vec::len), Some(4));
    assert_eq!(logprobs["text_offset"][1], 5);
}

#[test]
fn a_thinking_model_thinks_first_and_apart_from_the_answer() {
    let capabilities = Features { reasoning: true, ..Features::default() };
    let sim = Sim::start(Options { capabilities, ..Options::default() }).expect("a free port");
    let whole = post(&sim, CHAT, &chat(json!({"max_tokens": 64}))).json();
    let message = &whole["choices"][0]["message"];
    let thought = message["reasoning"].as_str().expect("a thought");
    assert!(!thought.is_empty() && !message["content"].as_str().expect("content").is_empty());
    let stream = post(&sim, CHAT, &chat(json!({"max_tokens": 64, "stream": true})));
    let deltas: Vec<Value> = stream.chunks().iter().map(|c| c["choices"][0]["delta"].clone()).collect();
    let thoughts: String = deltas.iter().filter_map(|d| d["reasoning"].as_str()).collect();
    assert_eq!(thoughts, thought);
    assert_eq!(stream.said(), message["content"].as_str().expect("content"));
    let off = json!({"max_tokens": 64, "chat_template_kwargs": {"enable_thinking": false}});
    assert_eq!(post(&sim, CHAT, &chat(off)).json()["choices"][0]["message"]["reasoning"], Value::Null);
}

#[test]
fn a_key_is_wanted_below_v1_and_nowhere_else() {
    let key = Some("sk-test".to_owned().into());
    let sim = Sim::start(Options { api_key: key, ..Options::default() }).expect("a free port");
    assert_eq!(get(&sim, "/v1/models").status, 401);
    assert_eq!(get(&sim, "/health").status, 200);
    assert_eq!(ask_with(&sim, "GET", "/v1/models", None, "authorization: Bearer sk-test\r\n").status, 200);
    assert_eq!(ask_with(&sim, "GET", "/v1/models", None, "authorization: Bearer sk-tost\r\n").status, 401);
}

#[test]
fn what_is_switched_off_is_refused_or_gone() {
    let capabilities =
        Features { tools: false, guided: false, tokenize: false, metrics: false, ..Features::default() };
    let sim = Sim::start(Options { capabilities, ..Options::default() }).expect("a free port");
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    assert_eq!(post(&sim, CHAT, &chat(json!({"tools": tool}))).status, 400);
    assert_eq!(post(&sim, CHAT, &chat(json!({"response_format": {"type": "json_object"}}))).status, 400);
    assert_eq!(post(&sim, "/tokenize", &json!({"prompt": "a"})).status, 404);
    assert_eq!(get(&sim, "/metrics").status, 404);
}

#[test]
fn known_questions_are_answered_rightly_cut_or_refused() {
    let item = Known {
        question: "6 times 7".into(),
        image: None,
        right: "Answer: 42".into(),
        wrong: "Answer: 41".into(),
        choice: false,
    };
    let outcome = |right, truncate, fail| {
        let accuracy = Answering { items: vec![item.clone()], right, truncate, fail, dealt: false };
        let sim = Sim::start(Options { accuracy, ..Options::default() }).expect("a free port");
        let body = json!({"messages": [{"role": "user", "content": "What is 6 times 7?"}], "temperature": 0.6, "max_tokens": 32});
        let seen = post(&sim, CHAT, &body);
        let choice = seen.json()["choices"][0].clone();
        (seen.status, choice["message"]["content"].clone(), choice["finish_reason"].clone())
    };
    assert_eq!(outcome(1.0, 0.0, 0.0), (200, json!("Answer: 42"), json!("stop")));
    assert_eq!(outcome(0.0, 0.0, 0.0), (200, json!("Answer: 41"), json!("stop")));
    assert_eq!(outcome(1.0, 1.0, 0.0).2, "length");
    assert_eq!(outcome(1.0, 1.0, 1.0).0, 500);
}

#[test]
fn tokens_are_sent_when_they_are_due_and_the_log_says_when_they_were() {
    let timing = Timing { ttft_ms: 60.0, tpot_ms: 15.0, jitter_ms: 0.0 };
    let sim = Sim::start(Options { timing, ..Options::default() }).expect("a free port");
    let body = chat(json!({"stream": true, "max_tokens": 8, "ignore_eos": true}));
    post(&sim, CHAT, &body);
    let log = sim.log();
    let sent = log.last().expect("a record");
    assert_eq!((sent.tokens.len(), sent.how, sent.status), (8, How::Complete, 200));
    for (k, at) in sent.tokens.iter().enumerate() {
        let late = (at - sent.received) as f64 / 1e6 - (60.0 + 15.0 * k as f64);
        assert!((-0.01..60.0).contains(&late), "token {k} is {late} ms late");
    }
    assert!(
        sent.first_byte.expect("a head") - sent.received < 50_000_000,
        "the head does not wait for a token"
    );
    assert!(sent.ended >= sent.tokens.last().copied());
    assert_eq!(get(&sim, "/sim/log").json()[0]["tokens"], json!(sent.tokens));
}

#[test]
fn a_client_that_goes_away_is_logged_as_gone() {
    let timing = Timing { ttft_ms: 5.0, tpot_ms: 5.0, jitter_ms: 0.0 };
    let sim = Sim::start(Options { timing, ..Options::default() }).expect("a free port");
    let body = chat(json!({"stream": true, "max_tokens": 2000, "ignore_eos": true})).to_string();
    let mut stream = std::net::TcpStream::connect(sim.address()).expect("it listens");
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("it reads");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let wait = |until: &dyn Fn() -> bool| {
        while !until() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(&|| sim.log().first().is_some_and(|sent| !sent.tokens.is_empty()));
    drop(stream);
    wait(&|| sim.log()[0].how != How::Open);
    let sent = sim.log().remove(0);
    assert_eq!(sent.how, How::Gone);
    assert!(!sent.tokens.is_empty() && sent.tokens.len() < 2000);
}

#[test]
fn the_port_that_is_taken_is_named() {
    let first = sim();
    let port = first.address().port();
    let error = Sim::start(Options { port, ..Options::default() }).expect_err("taken");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    drop(first);
    assert!(
        Sim::start(Options { port, ..Options::default() }).is_ok(),
        "a dropped simulator lets its port go"
    );
}

#[test]
fn a_rule_strikes_the_requests_that_it_covers_and_no_others() {
    let when = Match { path: Some(CHAT.into()), first: Some(2), ..Match::default() };
    let fault = Fault::Status(Status { code: 429, retry_after: Some(1) });
    let sim = Sim::start(Options { faults: vec![FaultRule { when, fault }], ..Options::default() })
        .expect("a free port");
    assert_eq!(get(&sim, "/health").status, 200);
    let seen: Vec<Seen> = (0..3).map(|_| post(&sim, CHAT, &chat(json!({})))).collect();
    assert_eq!([seen[0].status, seen[1].status, seen[2].status], [429, 429, 200]);
    assert_eq!(seen[0].header("retry-after"), Some("1"));
    assert_eq!(seen[0].json()["error"]["code"], 429);
    let faults: Vec<Option<String>> = sim.log().into_iter().map(|sent| sent.fault).collect();
    assert_eq!(faults, [None, Some("status".into()), Some("status".into()), None]);
}

#[test]
fn a_broken_connection_looks_like_one() {
    let stream = chat(json!({"stream": true}));
    let cut = post(&with(Fault::CutStream(Default::default())), CHAT, &stream);
    assert!(!cut.whole && !cut.reset && cut.events().len() == 2, "{cut:?}");
    let reset = post(&with(Fault::ResetMidStream(Default::default())), CHAT, &stream);
    assert!(!reset.whole && reset.reset && reset.events().len() == 2, "{reset:?}");
    let early = post(&with(Fault::EndEarly(Default::default())), CHAT, &stream);
    assert!(early.whole && early.events().len() == 2, "{early:?}");
    let nothing = post(&with(Fault::ResetBeforeHeaders), CHAT, &stream);
    assert!(nothing.reset && nothing.status == 0, "{nothing:?}");
    let short = post(&with(Fault::CutStream(Default::default())), CHAT, &chat(json!({})));
    assert!(!short.whole && short.body.len() == 2, "{short:?}");
}

#[test]
fn silence_and_slowness_can_be_measured() {
    let stall = |after| Stall { ms: 300, after };
    let stream = chat(json!({"stream": true}));
    let late = post(&with(Fault::StallBeforeHeaders(stall(0))), CHAT, &stream);
    assert!(late.times[0] >= Duration::from_millis(300) && late.whole);
    let middle = post(&with(Fault::StallMidStream(stall(2))), CHAT, &stream);
    let (first, last) = (middle.times[0], *middle.times.last().expect("reads"));
    assert!(first < Duration::from_millis(250) && last >= Duration::from_millis(300) && middle.whole);
    let slow = post(&with(Fault::SlowHeaders(stall(0))), CHAT, &stream);
    assert!(
        slow.times.len() > 20 && *slow.times.last().expect("reads") >= Duration::from_millis(250),
        "{:?}",
        slow.times
    );
    assert_eq!(slow.said(), middle.said());
}

#[test]
fn a_buffered_stream_comes_all_at_once_at_its_end() {
    let timing = Timing { ttft_ms: 10.0, tpot_ms: 40.0, jitter_ms: 0.0 };
    let spread = |faults| {
        let sim = Sim::start(Options { timing, faults, ..Options::default() }).expect("a free port");
        let seen = post(&sim, CHAT, &chat(json!({"stream": true, "max_tokens": 8, "ignore_eos": true})));
        // The first time is that of the status line.
        let (first, last) = (seen.times[1], *seen.times.last().expect("reads"));
        (seen.said(), last - first)
    };
    let (said, apart) = spread(Vec::new());
    let (same, together) = spread(vec![Fault::Buffered.into()]);
    assert_eq!(said, same);
    assert!(apart >= Duration::from_millis(150) && together * 3 < apart, "{apart:?} and {together:?}");
}

#[test]
fn a_head_that_waits_for_the_answer_comes_with_it() {
    let timing = Timing { ttft_ms: 10.0, tpot_ms: 20.0, jitter_ms: 0.0 };
    let head = |faults| {
        let sim = Sim::start(Options { timing, faults, ..Options::default() }).expect("a free port");
        let seen = post(&sim, CHAT, &chat(json!({"stream": true, "max_tokens": 6, "ignore_eos": true})));
        (seen.said(), seen.times[0])
    };
    let ((said, early), (same, late)) = (head(Vec::new()), head(vec![Fault::LateHeaders.into()]));
    assert_eq!(said, same);
    assert!(late >= Duration::from_millis(110) && early < late, "{early:?} and {late:?}");
}

#[test]
fn tokens_travel_together_where_that_is_asked_for() {
    let sim = sim();
    let ask = |more: Value| {
        let mut body = chat(json!({"stream": true, "max_tokens": 12, "ignore_eos": true, "logprobs": true}));
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        post(&sim, CHAT, &body)
    };
    let (each, four) = (ask(json!({})), ask(json!({"stream_interval": 4})));
    // The role, then 12 tokens one by one; or the first, and twice four, and what is left.
    assert_eq!([each.chunks().len(), four.chunks().len()], [13, 5]);
    assert_eq!(each.said(), four.said());
    let told = |seen: &Seen| -> Vec<Value> {
        let chunks = seen.chunks();
        chunks
            .iter()
            .flat_map(|c| c["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_default())
            .collect()
    };
    assert_eq!(told(&each).len(), 12);
    assert_eq!(told(&each), told(&four));
    let text = json!({"prompt": "One, two", "stream": true, "stream_interval": 4, "max_tokens": 9, "ignore_eos": true});
    assert_eq!(post(&sim, TEXT, &text).chunks().len(), 3);
    assert_eq!(post(&sim, CHAT, &chat(json!({"stream_interval": 0}))).status, 400);
}

#[test]
fn a_prompt_is_cut_at_its_beginning_and_tokens_are_told_by_id() {
    let sim = sim();
    let more =
        json!({"truncate_prompt_tokens": 10, "return_token_ids": true, "max_tokens": 3, "ignore_eos": true});
    let seen = post(&sim, CHAT, &chat(more)).json();
    assert_eq!(seen["usage"]["prompt_tokens"], 10);
    assert_eq!(seen["prompt_token_ids"].as_array().map(Vec::len), Some(10));
    assert_eq!(seen["choices"][0]["token_ids"].as_array().map(Vec::len), Some(3));
    let body = json!({"prompt": [504, 575, 282], "truncate_prompt_tokens": 2, "return_token_ids": true, "max_tokens": 1});
    let text = post(&sim, TEXT, &body).json();
    assert_eq!(text["choices"][0]["prompt_token_ids"], json!([575, 282]));
    let named = post(&sim, CHAT, &chat(json!({"logprobs": true, "return_tokens_as_token_ids": true}))).json();
    let token = &named["choices"][0]["logprobs"]["content"][0]["token"];
    assert!(token.as_str().is_some_and(|token| token.starts_with("token_id:")), "{token}");
}

#[test]
fn a_thought_that_is_cut_leaves_no_content() {
    let capabilities = Features { reasoning: true, ..Features::default() };
    let sim = Sim::start(Options { capabilities, ..Options::default() }).expect("a free port");
    let cut = post(&sim, CHAT, &chat(json!({"max_tokens": 4}))).json();
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    assert_eq!(cut["choices"][0]["message"]["content"], Value::Null);
    assert!(cut["choices"][0]["message"]["reasoning"].is_string());
}

/// Requests that between them show every fault, each with what is seen of it.
fn transcript(sim: &Sim) -> Vec<String> {
    let tool = json!([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object",
        "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]);
    let bodies = [
        chat(json!({"n": 2, "temperature": 0.7, "seed": 1})),
        chat(json!({"stream": true, "stream_options": {"include_usage": true}})),
        chat(json!({"logprobs": true, "top_logprobs": 2})),
        chat(json!({"stop": "e", "max_tokens": 64})),
        chat(json!({"tools": tool, "tool_choice": "required", "max_tokens": 99})),
        chat(json!({"tools": tool, "tool_choice": "required", "max_tokens": 99, "stream": true})),
        chat(json!({"temperature": -1})),
        chat(json!({"temperature": -1, "stream": true})),
    ];
    let mut seen: Vec<String> = bodies.iter().map(|body| shown(&post(sim, CHAT, body))).collect();
    seen.push(shown(&post(sim, TEXT, &json!({"prompt": "Hi", "temperature": 0, "stream": true}))));
    let cut = json!({"input": "Hi", "max_output_tokens": 3, "temperature": 0});
    let streamed = json!({"input": "Hi", "max_output_tokens": 3, "temperature": 0, "stream": true});
    seen.push(shown(&post(sim, "/v1/responses", &cut)));
    seen.push(shown(&post(sim, "/v1/responses", &streamed)));
    seen.push(shown(&post(sim, "/v1/embeddings", &json!({"input": "Hi"}))));
    seen.push(shown(&post(
        sim,
        CHAT,
        &chat(json!({"tools": tool, "tool_choice": "required", "max_tokens": 9})),
    )));
    seen.push(shown(&post(sim, "/tokenize", &json!({"prompt": "Hi"}))));
    seen.push(shown(&get(sim, "/v1/models")));
    let counters = get(sim, "/metrics").text();
    seen.extend(
        counters.lines().filter(|l| l.starts_with("vllm:generation_tokens_total")).map(str::to_owned),
    );
    seen
}

/// An answer without what differs from run to run.
fn shown(seen: &Seen) -> String {
    let text = String::from_utf8_lossy(&seen.body).into_owned();
    let ids =
        regex::Regex::new(r#"(chatcmpl-tool-|chatcmpl-|cmpl-|resp_|msg_)[0-9a-f]{16}|"created(_at)?":\d+"#)
            .expect("a pattern");
    let same = ids.replace_all(&text, "DRAWN").into_owned();
    format!("{} {:?} {} {same}", seen.status, seen.header("content-type"), seen.whole)
}

#[test]
fn every_fault_shows_in_some_answer() {
    let reasoning = Features { reasoning: true, embeddings: true, ..Features::default() };
    let options = |faults| Options { capabilities: reasoning, faults, ..Options::default() };
    let clean = transcript(&Sim::start(options(Vec::new())).expect("a free port"));
    let again = transcript(&Sim::start(options(Vec::new())).expect("a free port"));
    assert_eq!(clean, again, "without a fault, answers repeat");
    // What these change is seen only in time, or in how bytes fall into writes; they have tests of their own.
    let unseen = [
        "torn_utf8",
        "fragmented",
        "buffered",
        "late_headers",
        "abort_ignored",
        "stall_before_headers",
        "stall_mid_stream",
        "slow_headers",
    ];
    let shown =
        |fault: Fault| transcript(&Sim::start(options(vec![fault.into()])).expect("a free port")) != clean;
    let silent: Vec<&str> = Fault::ALL
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !unseen.contains(name))
        .filter(|name| !shown(Fault::named(name).expect("listed")))
        .collect();
    assert!(silent.is_empty(), "these change nothing: {silent:?}");
}

#[test]
fn what_no_server_should_be_asked_is_refused_in_the_right_form() {
    let sim = sim();
    assert_eq!(ask(&sim, "DELETE", CHAT, None).header("allow"), Some("POST"));
    assert_eq!(
        ask_with(&sim, "POST", CHAT, None, "content-type: text/plain\r\ncontent-length: 0\r\n").status,
        400
    );
    assert_eq!(get(&sim, "/v1/models/sim").status, 404);
    let capabilities = Features { models_get: true, top_p_zero: true, ..Features::default() };
    let obliging = Sim::start(Options { capabilities, ..Options::default() }).expect("a free port");
    assert_eq!(get(&obliging, "/v1/models/sim").json()["id"], "sim");
    assert_eq!(get(&obliging, "/v1/models/nope").json()["error"]["code"], 404);
    assert_eq!(post(&obliging, CHAT, &chat(json!({"top_p": 0}))).status, 200);
    for body in ["", "null", "\"x\"", "{\"model\":", "[1]"] {
        let seen = ask(&sim, "POST", CHAT, Some(body));
        assert_eq!(seen.status, 400, "{body}");
        assert_eq!(seen.json()["error"]["type"], "Bad Request", "{body}");
    }
}
