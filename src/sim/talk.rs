//! What chat and completions share: who is asked, what is planned, drawn and counted ([`Talk`]).
//! Must not know the shape of either answer.
//!
//! 聊天与补全的公共部分：计划、生成、计数。

use super::answering::Outcome;
use super::chance::{Chance, hash};
use super::grammar;
use super::reply::{Account, Data, Event};
use super::server::{Asked, Server};
use super::text::{self, Generated, Plan, Sampling, Step, Stopped};
use super::tokenizer::{self, EOS, Id};
use super::validate::{self, Checked, Refusal};
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The build that answers, where a real server names its own.
pub(super) const FINGERPRINT: &str = "vllm-0.32.0-sim00000";

/// One request of a generating route, checked as to its shape.
pub(super) struct Talk<'a> {
    pub(super) server: &'a Server,
    pub(super) body: &'a Map<String, Value>,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: &'a str,
    number: u64,
}

impl<'a> Talk<'a> {
    /// # Errors
    /// If the model is not served here.
    pub(super) fn new(
        server: &'a Server,
        asked: &Asked<'_>,
        body: &'a Map<String, Value>,
        prefix: &str,
    ) -> Checked<Self> {
        let served = server.options.model.as_str();
        match body.get("model").and_then(Value::as_str) {
            Some(other) if !other.is_empty() && other != served => {
                return Err(Refusal::not_found(other, served));
            }
            _ => {}
        }
        let wanted = asked.headers.get("x-request-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let drawn =
            || format!("{:016x}", hash(&[server.options.seed, asked.number, now().as_nanos() as u64]));
        let id = format!("{prefix}-{}", wanted.unwrap_or_else(drawn));
        Ok(Talk { server, body, id, created: now().as_secs(), model: served, number: asked.number })
    }

    pub(super) fn streams(&self) -> bool {
        validate::flag(self.body, "stream")
    }

    pub(super) fn choices(&self) -> usize {
        validate::int(self.body, "n").and_then(|n| usize::try_from(n).ok()).unwrap_or(1)
    }

    /// Which tokens of `count` travel together in a stream: the first alone, then as many as were asked for.
    pub(super) fn bursts(&self, count: usize) -> Vec<Range<usize>> {
        let interval = validate::stream_interval(self.body).unwrap_or(1);
        let starts = std::iter::once(0).chain((1..count).step_by(interval));
        starts.map(|from| from..count.min(if from == 0 { 1 } else { from + interval })).collect()
    }

    /// The ids of these tokens, where they are asked for.
    pub(super) fn token_ids(&self, steps: &[Step]) -> Value {
        if validate::flag(self.body, "return_token_ids") {
            steps.iter().map(|step| json!(step.id)).collect()
        } else {
            Value::Null
        }
    }

    /// The ids of the prompt, where they are asked for.
    pub(super) fn prompt_ids(&self, prompt: &[Id]) -> Value {
        if validate::flag(self.body, "return_token_ids") { json!(prompt) } else { Value::Null }
    }

    /// A token as log-probabilities name it: by its text, or by its id where that is asked for.
    pub(super) fn named(&self, text: String, id: Id) -> String {
        if validate::flag(self.body, "return_tokens_as_token_ids") { format!("token_id:{id}") } else { text }
    }

    /// `stream_options.NAME`.
    pub(super) fn stream_option(&self, name: &str) -> bool {
        self.body.get("stream_options").is_some_and(|options| options[name] == true)
    }

    /// What is said to `prompt`, if that is laid down: by a grammar, or because the answer is known.
    ///
    /// # Errors
    /// If the grammar is none, or this question is one that fails.
    pub(super) fn plan(&self, prompt: &str) -> Checked<Plan> {
        let key = hash(&[validate::int(self.body, "seed").unwrap_or(0) as u64, prompt.len() as u64]);
        if let Some(text) = grammar::constrained(self.body, self.server.options.capabilities.guided, key)? {
            return Ok(Plan::Say(text));
        }
        match self.server.options.accuracy.outcome(prompt, self.server.options.seed) {
            Some(Outcome::Text(text)) => Ok(Plan::Say(text)),
            Some(Outcome::Endless) => Ok(Plan::Endless),
            Some(Outcome::Failure) => Err(Refusal {
                status: 500,
                kind: "InternalServerError",
                message: "EngineCore encountered an issue. See stack trace (above) for the root cause."
                    .to_owned(),
                param: None,
            }),
            None => Ok(echoed(prompt).map_or(Plan::Free, Plan::Say)),
        }
    }

    /// The continuation of choice `index`. The same seed and prompt give the same; without a seed it is the number
    /// of the request that decides.
    pub(super) fn draw(&self, prompt: &[Id], plan: &Plan, sampling: &Sampling, index: usize) -> Generated {
        let key = match validate::int(self.body, "seed") {
            Some(seed) => hash(&[seed as u64, index as u64]),
            None => hash(&[self.server.options.seed, self.number, index as u64, 1]),
        };
        text::generate(prompt, plan, sampling, key)
    }

    /// When token `k` is due.
    pub(super) fn due(&self, k: usize) -> Duration {
        let timing = self.server.options.timing;
        let unit = Chance::new(hash(&[self.server.options.seed, self.number, k as u64])).unit() * 2.0 - 1.0;
        timing.due(k, unit)
    }

    /// The books of an answer whose choices continue `prompts`.
    pub(super) fn account(&self, prompt_tokens: usize, made: &[&Generated], max_tokens: usize) -> Account {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Account {
            id: self.id.clone(),
            prompt_tokens: count(prompt_tokens),
            completion_tokens: count(made.iter().map(|g| g.steps.len()).sum()),
            max_tokens: count(max_tokens),
            finishes: made.iter().map(|g| g.finish).collect(),
            last_due: made
                .iter()
                .map(|g| self.due(g.steps.len().saturating_sub(1)))
                .max()
                .unwrap_or_default(),
        }
    }

    /// The end of a stream: the usage chunk where it is asked for, else the fingerprint on the last chunk; `[DONE]`.
    pub(super) fn close(&self, events: &mut Vec<Event>, object: &str, account: &Account) {
        let due = events.last().map_or(Duration::ZERO, |event| event.due);
        if self.stream_option("include_usage") {
            events.push(Event::json(due, 0, json!({
                "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": [],
                "usage": usage(account.prompt_tokens, account.completion_tokens), "system_fingerprint": FINGERPRINT,
            })));
        } else if let Some(Event { data: Data::Json(last), .. }) = events.last_mut() {
            last["system_fingerprint"] = json!(FINGERPRINT);
        }
        events.push(Event { due, tokens: 0, data: Data::Done });
    }
}

/// The body, with `top_p: 0` read as the least value, where the server takes it.
pub(super) fn lenient(server: &Server, mut body: Map<String, Value>) -> Map<String, Value> {
    if server.options.capabilities.top_p_zero && body.get("top_p").and_then(Value::as_f64) == Some(0.0) {
        body.insert("top_p".to_owned(), json!(f64::MIN_POSITIVE));
    }
    body
}

/// The model repeats what it is told to: cases of stop texts know by that what comes.
fn echoed(prompt: &str) -> Option<String> {
    prompt.strip_prefix("Repeat: ").map(str::to_owned)
}

/// The three counts, as every `usage` begins.
pub(super) fn usage(prompt: u32, completion: u32) -> Value {
    json!({"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion})
}

/// The usage of an answer that is no stream.
pub(super) fn full_usage(account: &Account) -> Value {
    let mut usage = usage(account.prompt_tokens, account.completion_tokens);
    usage["prompt_tokens_details"] = Value::Null;
    usage["completion_tokens_details"] = Value::Null;
    usage
}

/// `stop_reason`: the string or the token that stopped it, null for the end of the text.
pub(super) fn stop_reason(made: &Generated) -> Value {
    match &made.stop_reason {
        Some(Stopped::Text(text)) => json!(text),
        Some(Stopped::Token(id)) => json!(id),
        None => Value::Null,
    }
}

/// The text of each token by itself. Of a character that several tokens make up, the last has all of it and the
/// others nothing, as on the recorded server.
pub(super) fn raw_texts(steps: &[Step]) -> Vec<String> {
    let mut torn = Vec::new();
    let texts = steps.iter().map(|step| {
        torn.extend(tokenizer::bytes(step.id));
        match std::str::from_utf8(&torn) {
            Ok(text) => {
                let text = text.to_owned();
                torn.clear();
                text
            }
            Err(_) => String::new(),
        }
    });
    texts.collect()
}

/// `prompt_logprobs`: nothing for the first token, and a made-up but steady value for each of the others.
pub(super) fn prompt_logprobs(prompt: &[Id]) -> Value {
    let entries = prompt.iter().enumerate().map(|(k, id)| {
        if k == 0 {
            return Value::Null;
        }
        let logprob = prompt_logprob(prompt[k - 1], *id);
        let rank = 1 + (-logprob * 10.0) as u64;
        json!({id.to_string(): {"logprob": logprob, "rank": rank, "decoded_token": tokenizer::decode(&[*id])}})
    });
    Value::Array(entries.collect())
}

/// The log-probability of a token of a prompt after the one before it.
pub(super) fn prompt_logprob(before: Id, id: Id) -> f64 {
    -0.1 - 9.0 * Chance::new(hash(&[u64::from(before), u64::from(id)])).unit()
}

/// Whether the last token is there only to end the text.
pub(super) fn is_end(step: &Step) -> bool {
    step.id == EOS
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
