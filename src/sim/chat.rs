//! `POST /v1/chat/completions`: [`answer`]. A choice is drawn whole and then laid out ([`Choice`]): thought, text and
//! tool calls, each token in its channel; the document and the stream are two views of that layout, so that they
//! cannot disagree. Must not know completions.
//!
//! 聊天接口：先完整生成，再以整体或流式两种方式呈现。

use super::picture;
use super::reply::{Event, Reply};
use super::server::{Asked, Server};
use super::talk::{self, FINGERPRINT, Talk};
use super::text::{Generated, Plan, Sampling};
use super::tokenizer::{self, Id};
use super::tools::{self, Calls, Way};
use super::validate::{self, Checked, Refusal};
use serde_json::{Map, Value, json};

/// Tokens that a thought has at most.
const THOUGHT: usize = 24;

/// One choice, laid out.
struct Choice {
    made: Generated,
    finish: &'static str,
    /// What is thought before anything is said.
    thought: String,
    text: String,
    calls: Vec<tools::Call>,
    /// What becomes visible with each token.
    shown: Vec<Shown>,
}

/// What one token shows.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shown {
    thought: String,
    text: String,
    calls: Vec<Value>,
}

/// How the conversation asks to be answered.
struct Setting {
    prompt: Vec<Id>,
    plan: Plan,
    calls: Option<Calls>,
    sampling: Sampling,
    thinks: bool,
}

pub(super) fn answer(server: &Server, asked: &Asked<'_>, body: Map<String, Value>) -> Checked<Reply> {
    let body = if server.options.capabilities.vision { picture::named(body) } else { body };
    let body = validate::chat(talk::lenient(server, body))?;
    validate::stream_interval(&body)?;
    let talk = Talk::new(server, asked, &body, "chatcmpl")?;
    let setting = setting(&talk)?;
    let choices: Vec<Choice> = (0..talk.choices()).map(|index| choice(&talk, &setting, index)).collect();
    let made: Vec<&Generated> = choices.iter().map(|choice| &choice.made).collect();
    let account = talk.account(setting.prompt.len(), &made, setting.sampling.max_tokens);
    if talk.streams() {
        let mut events = stream(&talk, &choices, &setting.prompt);
        talk.close(&mut events, "chat.completion.chunk", &account);
        return Ok(Reply { account, ..Reply::events(events) });
    }
    let shown: Vec<Value> = choices.iter().enumerate().map(|(k, choice)| whole(&talk, choice, k)).collect();
    let wants_prompt = validate::flag(&body, "echo") || validate::int(&body, "prompt_logprobs").is_some();
    let value = json!({
        "id": talk.id, "object": "chat.completion", "created": talk.created, "model": talk.model, "choices": shown,
        "service_tier": null, "system_fingerprint": FINGERPRINT, "usage": talk::full_usage(&account),
        "prompt_logprobs": if wants_prompt { talk::prompt_logprobs(&setting.prompt) } else { Value::Null },
        "prompt_token_ids": talk.prompt_ids(&setting.prompt), "prompt_text": null,
        "kv_transfer_params": null, "ec_transfer_params": null, "metrics": null,
    });
    Ok(Reply { account, ..Reply::json(200, value) })
}

/// The prompt of a body that has messages, as `/tokenize` counts it too.
pub(super) fn prompt(body: &Map<String, Value>) -> Checked<String> {
    let open_end = validate::flag(body, "continue_final_message");
    let add = body.get("add_generation_prompt").and_then(Value::as_bool);
    if open_end && add != Some(false) {
        return Err(Refusal::bad(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
        ));
    }
    let tools = body.get("tools").filter(|tools| !tools.is_null());
    Ok(tokenizer::template(validate::list(body, "messages"), tools, add.unwrap_or(true), open_end))
}

fn setting(talk: &Talk<'_>) -> Checked<Setting> {
    let (body, options) = (talk.body, &talk.server.options);
    let way = tools::way(body, options.capabilities.tools)?;
    let prompt = validate::truncated(body, tokenizer::encode(&prompt(body)?), options.max_model_len)?;
    let names = ["max_completion_tokens", "max_tokens"];
    let room = validate::room(body, &names, None, prompt.len(), options.max_model_len)?;
    let sampling = validate::sampling(body, room)?;
    let messages = validate::list(body, "messages");
    let calls = way.and_then(|way| Calls::planned(body, &way).transpose()).transpose()?;
    let plan = match &calls {
        Some(calls) => Plan::Say(calls.markup.clone()),
        None => match talk.plan(&asked(messages))? {
            Plan::Free => recalled(messages).map_or(Plan::Free, Plan::Say),
            plan => plan,
        },
    };
    let kwargs = body.get("chat_template_kwargs");
    let thinks =
        options.capabilities.reasoning && kwargs.is_none_or(|kwargs| kwargs["enable_thinking"] != false);
    Ok(Setting { prompt, plan, calls, sampling, thinks })
}

/// The text of the last user's turn.
fn asked(messages: &[Value]) -> String {
    let user = messages.iter().rev().find(|m| m["role"] == "user");
    user.map(tokenizer::content).unwrap_or_default()
}

/// The model remembers a name that it was told.
fn recalled(messages: &[Value]) -> Option<String> {
    if !asked(messages).to_lowercase().contains("what is my name") {
        return None;
    }
    let told = messages.iter().filter(|m| m["role"] == "user").map(tokenizer::content);
    let name = told
        .filter_map(|text| text.split_once("My name is ").map(|(_, name)| name.to_owned()))
        .next_back()?;
    let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
    Some(format!("Your name is {name}."))
}

fn choice(talk: &Talk<'_>, setting: &Setting, index: usize) -> Choice {
    let thought = if setting.thinks { Some(think(talk, setting, index)) } else { None };
    let used = thought.as_ref().map_or(0, |thought| thought.steps.len());
    let sampling = Sampling { max_tokens: setting.sampling.max_tokens - used, ..setting.sampling.clone() };
    let mut made = talk.draw(&setting.prompt, &setting.plan, &sampling, index);
    let mut shown: Vec<Shown> = Vec::new();
    let mut text = made.text.clone();
    let mut calls = Vec::new();
    let planned = setting.calls.as_ref().map(|planned| planned.of_choice(index));
    match &planned {
        // A call that was cut is no call, and its markup is no text.
        Some(planned) => {
            text = String::new();
            let whole = made.text == planned.markup;
            let fragments =
                if whole { planned.fragments(&made.steps) } else { vec![Vec::new(); made.steps.len()] };
            shown.extend(fragments.into_iter().map(|calls| Shown { calls, ..Shown::default() }));
            if whole {
                calls.clone_from(&planned.calls);
            }
        }
        None => shown.extend(made.steps.iter().map(|s| Shown { text: s.delta.clone(), ..Shown::default() })),
    }
    let finish = match (&setting.calls, made.finish) {
        (Some(Calls { way: Way::Auto | Way::Required, .. }), "stop") if !calls.is_empty() => "tool_calls",
        (_, finish) => finish,
    };
    let mut before = String::new();
    if let Some(thought) = thought {
        let hidden = talk.body.get("include_reasoning") == Some(&Value::Bool(false));
        let mut steps = thought.steps;
        let deltas = steps.iter().map(|step| if hidden { String::new() } else { step.delta.clone() });
        shown = deltas.map(|thought| Shown { thought, ..Shown::default() }).chain(shown).collect();
        before = if hidden { String::new() } else { thought.text };
        steps.append(&mut made.steps);
        made.steps = steps;
    }
    if index == 0 && validate::flag(talk.body, "echo") {
        let said = validate::list(talk.body, "messages").last().map(tokenizer::content).unwrap_or_default();
        text.insert_str(0, &said);
        if let Some(first) = shown.first_mut() {
            first.text.insert_str(0, &said);
        }
    }
    Choice { made, finish, thought: before, text, calls, shown }
}

/// A thought: as long as it likes, but not longer than the answer may be.
fn think(talk: &Talk<'_>, setting: &Setting, index: usize) -> Generated {
    let max_tokens = THOUGHT.min(setting.sampling.max_tokens);
    let sampling = Sampling {
        max_tokens,
        min_tokens: 0,
        stop: Vec::new(),
        ignore_eos: false,
        ..setting.sampling.clone()
    };
    let mut prompt = setting.prompt.clone();
    prompt.extend(tokenizer::encode("<think>"));
    talk.draw(&prompt, &Plan::Free, &sampling, index)
}

fn whole(talk: &Talk<'_>, choice: &Choice, index: usize) -> Value {
    // Where the bound cut the thought, nothing was said.
    let only_thought = choice.text.is_empty() && !choice.thought.is_empty();
    let mut message = json!({
        "role": "assistant", "content": (!only_thought).then_some(choice.text.as_str()), "refusal": null, "annotations": null, "audio": null,
        "function_call": null,
    });
    if !choice.calls.is_empty() {
        message["tool_calls"] = choice.calls.iter().map(tools::Call::value).collect();
    }
    message["reasoning"] = if choice.thought.is_empty() { Value::Null } else { json!(choice.thought) };
    let all = 0..choice.made.steps.len();
    json!({
        "index": index, "message": message, "logprobs": logprobs(talk, &choice.made, all),
        "finish_reason": choice.finish, "stop_reason": talk::stop_reason(&choice.made),
        "token_ids": talk.token_ids(&choice.made.steps), "routed_experts": null,
    })
}

/// The log-probabilities of a range of tokens; null where none are asked for.
fn logprobs(talk: &Talk<'_>, made: &Generated, range: std::ops::Range<usize>) -> Value {
    if !validate::flag(talk.body, "logprobs") || !talk.server.options.capabilities.logprobs {
        return Value::Null;
    }
    let wanted = validate::int(talk.body, "top_logprobs").and_then(|k| usize::try_from(k).ok()).unwrap_or(0);
    let entry = |id: Id, text: &str, logprob: f64| {
        let token = talk.named(text.to_owned(), id);
        json!({"token": token, "logprob": logprob, "bytes": text.as_bytes()})
    };
    let texts = talk::raw_texts(&made.steps);
    let content = made.steps.iter().zip(texts).take(range.end).skip(range.start).map(|(step, text)| {
        let top = step.top.iter().take(wanted).map(|(id, lp)| entry(*id, &tokenizer::decode(&[*id]), *lp));
        let mut told = entry(step.id, &text, step.logprob);
        told["top_logprobs"] = top.collect();
        told
    });
    json!({"content": content.collect::<Vec<_>>()})
}

fn stream(talk: &Talk<'_>, choices: &[Choice], prompt: &[Id]) -> Vec<Event> {
    let chunk = |choice: Value, done: usize| {
        let mut chunk = json!({
            "id": talk.id, "object": "chat.completion.chunk", "created": talk.created, "model": talk.model,
            "choices": [choice],
        });
        if talk.stream_option("include_usage") && talk.stream_option("continuous_usage_stats") {
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            chunk["usage"] = talk::usage(count(prompt.len()), count(done));
            chunk["usage"]["completion_tokens_details"] = Value::Null;
        }
        chunk
    };
    let mut events = Vec::new();
    for index in 0..choices.len() {
        let delta = json!({"role": "assistant", "content": ""});
        let mut first =
            chunk(json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}), 0);
        first["prompt_token_ids"] = talk.prompt_ids(prompt);
        first["prompt_text"] = Value::Null;
        events.push(Event::json(talk.due(0), 0, first));
    }
    let bursts: Vec<_> = choices.iter().map(|choice| talk.bursts(choice.shown.len())).collect();
    let longest = bursts.iter().map(Vec::len).max().unwrap_or(0);
    // Tokens that showed nothing travel with the next that does.
    let mut silent = vec![0_u32; choices.len()];
    for nth in 0..longest {
        for (index, choice) in choices.iter().enumerate() {
            let Some(burst) = bursts[index].get(nth).filter(|burst| burst.start < choice.shown.len()) else {
                continue;
            };
            silent[index] += u32::try_from(burst.len()).unwrap_or(u32::MAX);
            let last = burst.end == choice.shown.len();
            let told = logprobs(talk, &choice.made, burst.clone());
            let ids = talk.token_ids(choice.made.steps.get(burst.clone()).unwrap_or_default());
            let mut deltas = Shown::together(&choice.shown[burst.clone()]).deltas();
            if deltas.is_empty() && (last || !told.is_null() || !ids.is_null()) {
                deltas.push(json!({}));
            }
            let final_delta = deltas.len();
            for (nth, delta) in deltas.into_iter().enumerate() {
                let ends = last && nth + 1 == final_delta;
                let mut shown = json!({
                    "index": index, "delta": delta,
                    "logprobs": if nth == 0 { told.clone() } else { Value::Null },
                    "finish_reason": ends.then_some(choice.finish),
                });
                if ends {
                    shown["stop_reason"] = talk::stop_reason(&choice.made);
                }
                shown["token_ids"] = if nth == 0 { ids.clone() } else { Value::Null };
                events.push(Event::json(
                    talk.due(burst.end - 1),
                    std::mem::take(&mut silent[index]),
                    chunk(shown, burst.end),
                ));
            }
        }
    }
    events
}

impl Shown {
    /// What several tokens show together.
    fn together(all: &[Shown]) -> Shown {
        let text = |part: fn(&Shown) -> &str| -> String { all.iter().map(part).collect() };
        Shown {
            thought: text(|one| &one.thought),
            text: text(|one| &one.text),
            calls: all.iter().flat_map(|one| one.calls.clone()).collect(),
        }
    }

    /// One delta for each channel that shows something.
    fn deltas(&self) -> Vec<Value> {
        let mut deltas = Vec::new();
        if !self.thought.is_empty() {
            deltas.push(json!({"reasoning": self.thought}));
        }
        if !self.text.is_empty() {
            deltas.push(json!({"content": self.text}));
        }
        deltas.extend(self.calls.iter().map(|call| json!({"content": null, "tool_calls": [call]})));
        deltas
    }
}
