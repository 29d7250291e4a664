//! `POST /v1/completions`: [`answer`]. Must not know chat, tools or reasoning.
//!
//! 文本补全接口。

use super::reply::{Event, Reply};
use super::server::{Asked, Server};
use super::talk::{self, FINGERPRINT, Talk};
use super::text::{Generated, Sampling};
use super::tokenizer::{self, Id};
use super::validate::{self, Checked, Refusal};
use serde_json::{Map, Value, json};

const OBJECT: &str = "text_completion";

/// One choice: its prompt and what continues it.
struct Choice {
    prompt: Vec<Id>,
    made: Generated,
}

pub(super) fn answer(server: &Server, asked: &Asked<'_>, body: Map<String, Value>) -> Checked<Reply> {
    let body = validate::completions(talk::lenient(server, body))?;
    validate::stream_interval(&body)?;
    let talk = Talk::new(server, asked, &body, "cmpl")?;
    if body.get("suffix").is_some_and(|s| !s.is_null()) && !server.options.capabilities.suffix {
        let message = "suffix is only supported for models with FIM completion rendering".to_owned();
        return Err(Refusal { param: Some("suffix".to_owned()), ..Refusal::bad(message) });
    }
    let limit = server.options.max_model_len;
    let prompts = prompts(&body)?.into_iter().map(|prompt| validate::truncated(&body, prompt, limit));
    let prompts = prompts.collect::<Checked<Vec<_>>>()?;
    let echo = validate::flag(&body, "echo");
    let mut choices = Vec::new();
    let mut longest = 0;
    for prompt in &prompts {
        let sampling = sampling(server, &body, prompt.len(), echo)?;
        longest = longest.max(sampling.max_tokens);
        let plan = talk.plan(&tokenizer::decode(prompt))?;
        for index in 0..talk.choices() {
            let made = talk.draw(prompt, &plan, &sampling, index);
            choices.push(Choice { prompt: prompt.clone(), made });
        }
    }
    let made: Vec<&Generated> = choices.iter().map(|choice| &choice.made).collect();
    let account = talk.account(prompts.iter().map(Vec::len).sum(), &made, longest);
    if talk.streams() {
        let mut events = stream(&talk, &choices, echo);
        talk.close(&mut events, OBJECT, &account);
        return Ok(Reply { account, ..Reply::events(events) });
    }
    let shown: Vec<Value> =
        choices.iter().enumerate().map(|(k, choice)| whole(&talk, choice, k, echo)).collect();
    let value = json!({
        "id": talk.id, "object": OBJECT, "created": talk.created, "model": talk.model, "choices": shown,
        "service_tier": null, "system_fingerprint": FINGERPRINT, "usage": talk::full_usage(&account),
        "kv_transfer_params": null, "ec_transfer_params": null, "metrics": null,
    });
    Ok(Reply { account, ..Reply::json(200, value) })
}

/// The parameters of one prompt. With `echo` no token at all may be asked for.
fn sampling(server: &Server, body: &Map<String, Value>, prompt: usize, echo: bool) -> Checked<Sampling> {
    let limit = server.options.max_model_len;
    if echo && validate::int(body, "max_tokens") == Some(0) {
        return Ok(Sampling { max_tokens: 0, ..validate::sampling(body, 1)? });
    }
    validate::sampling(body, validate::room(body, &["max_tokens"], Some(16), prompt, limit)?)
}

/// A text, a list of texts, tokens, or a list of lists of tokens.
fn prompts(body: &Map<String, Value>) -> Checked<Vec<Vec<Id>>> {
    let none = || Refusal::param("prompt", "Either prompt or prompt_embeds must be provided and non-empty.");
    let ids = |items: &[Value]| -> Option<Vec<Id>> {
        items
            .iter()
            .map(|v| v.as_u64().and_then(|n| Id::try_from(n).ok()).filter(|id| *id < tokenizer::VOCABULARY))
            .collect()
    };
    let unread = || Refusal::bad("Token id is out of vocabulary, or the prompt is neither text nor tokens.");
    let prompts: Vec<Vec<Id>> = match body.get("prompt") {
        Some(Value::String(text)) => vec![tokenizer::encode(text)],
        Some(Value::Array(items)) if items.iter().all(Value::is_number) => {
            vec![ids(items).ok_or_else(unread)?]
        }
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(tokenizer::encode(text)),
                Value::Array(tokens) => ids(tokens).ok_or_else(unread),
                _ => Err(unread()),
            })
            .collect::<Checked<_>>()?,
        _ => return Err(none()),
    };
    if prompts.is_empty() || prompts.iter().any(Vec::is_empty) { Err(none()) } else { Ok(prompts) }
}

fn whole(talk: &Talk<'_>, choice: &Choice, index: usize, echo: bool) -> Value {
    let Choice { prompt, made } = choice;
    let before = if echo { tokenizer::decode(prompt) } else { String::new() };
    let mut told = Told::new(talk, prompt, echo);
    told.steps(talk, made, 0..made.steps.len());
    let wants_prompt = validate::int(talk.body, "prompt_logprobs").is_some();
    json!({
        "index": index, "text": before + &made.text, "logprobs": told.take(), "finish_reason": made.finish,
        "stop_reason": talk::stop_reason(made), "token_ids": talk.token_ids(&made.steps),
        "prompt_logprobs": if wants_prompt { talk::prompt_logprobs(prompt) } else { Value::Null },
        "prompt_token_ids": talk.prompt_ids(prompt), "routed_experts": null,
    })
}

fn stream(talk: &Talk<'_>, choices: &[Choice], echo: bool) -> Vec<Event> {
    let mut events = Vec::new();
    let mut told: Vec<Told> = choices.iter().map(|choice| Told::new(talk, &choice.prompt, echo)).collect();
    let bursts: Vec<_> = choices.iter().map(|choice| talk.bursts(choice.made.steps.len())).collect();
    let longest = bursts.iter().map(Vec::len).max().unwrap_or(0);
    for nth in 0..longest {
        for (index, choice) in choices.iter().enumerate() {
            let Some(burst) = bursts[index].get(nth) else { continue };
            let made = &choice.made;
            let last = burst.end == made.steps.len();
            // Of an answer without a token there is one event all the same.
            let steps = made.steps.get(burst.clone()).unwrap_or_default();
            let mut text = if echo && nth == 0 { tokenizer::decode(&choice.prompt) } else { String::new() };
            text.extend(steps.iter().map(|step| step.delta.as_str()));
            told[index].steps(talk, made, burst.clone());
            let mut chunk = json!({
                "id": talk.id, "object": OBJECT, "created": talk.created, "model": talk.model,
                "choices": [{
                    "index": index, "text": text, "logprobs": told[index].take(),
                    "finish_reason": last.then_some(made.finish),
                    "stop_reason": if last { talk::stop_reason(made) } else { Value::Null },
                    "prompt_token_ids": if nth == 0 { talk.prompt_ids(&choice.prompt) } else { Value::Null },
                    "token_ids": talk.token_ids(steps),
                }],
            });
            if talk.stream_option("include_usage") && talk.stream_option("continuous_usage_stats") {
                let done = u32::try_from(burst.end).unwrap_or(u32::MAX);
                chunk["usage"] = talk::usage(u32::try_from(choice.prompt.len()).unwrap_or(u32::MAX), done);
            }
            let carried = u32::try_from(steps.len()).unwrap_or(u32::MAX);
            events.push(Event::json(talk.due(burst.end.saturating_sub(1)), carried, chunk));
        }
    }
    events
}

/// The log-probabilities of one choice, gathered until they are told.
struct Told {
    /// How many alternatives; null where none are asked for.
    wanted: Option<usize>,
    offset: usize,
    offsets: Vec<Value>,
    logprobs: Vec<Value>,
    tokens: Vec<Value>,
    top: Vec<Value>,
}

impl Told {
    fn new(talk: &Talk<'_>, prompt: &[Id], echo: bool) -> Self {
        let wanted = validate::int(talk.body, "logprobs").and_then(|k| usize::try_from(k).ok());
        let mut told = Told {
            wanted,
            offset: 0,
            offsets: Vec::new(),
            logprobs: Vec::new(),
            tokens: Vec::new(),
            top: Vec::new(),
        };
        for (k, id) in prompt.iter().enumerate().filter(|_| echo && wanted.is_some()) {
            let text = tokenizer::decode(&[*id]);
            let logprob = k.checked_sub(1).map(|before| talk::prompt_logprob(prompt[before], *id));
            told.push(&text, json!(logprob), logprob.map_or(Value::Null, |lp| json!({text.as_str(): lp})));
        }
        told
    }

    fn push(&mut self, text: &str, logprob: Value, top: Value) {
        self.offsets.push(json!(self.offset));
        self.offset += text.chars().count();
        self.tokens.push(json!(text));
        self.logprobs.push(logprob);
        self.top.push(top);
    }

    fn steps(&mut self, talk: &Talk<'_>, made: &Generated, range: std::ops::Range<usize>) {
        let Some(wanted) = self.wanted else { return };
        for (step, text) in
            made.steps.iter().zip(talk::raw_texts(&made.steps)).take(range.end).skip(range.start)
        {
            let text = talk.named(text, step.id);
            let mut top = Map::new();
            top.insert(text.clone(), json!(step.logprob));
            for (id, logprob) in step.top.iter().take(wanted) {
                top.entry(talk.named(tokenizer::decode(&[*id]), *id)).or_insert(json!(logprob));
            }
            self.push(&text, json!(step.logprob), Value::Object(top));
        }
    }

    /// What has been gathered since it was told last.
    fn take(&mut self) -> Value {
        if self.wanted.is_none() {
            return Value::Null;
        }
        let mut take = |which: fn(&mut Told) -> &mut Vec<Value>| std::mem::take(which(self));
        json!({
            "text_offset": take(|t| &mut t.offsets), "token_logprobs": take(|t| &mut t.logprobs),
            "tokens": take(|t| &mut t.tokens), "top_logprobs": take(|t| &mut t.top),
        })
    }
}
