//! The server under test, asked for one streamed answer at a time: [`Model`]. Must not know what is asked.
//!
//! 被测模型：流式请求、连接/首词/间隔/总时限、重试。

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    accuracy::{
        evaluator::Question,
        reply::Reply,
        row::Sent,
        run::{Ask, Asked, Responder},
        spec::Spec,
    },
    api::Answer,
    client::{Attempt, End, Event, Fault, Limits, Phase, Request, Retry, Route, Stamp, Target},
    workload::{sha256_hex, workload},
};

/// Only what says nothing about the model is tried again: transport faults and a busy server.
const RETRY: Retry = Retry { max: 4, backoff: Duration::from_millis(500), longest: Duration::from_secs(30) };

/// The server under test.
pub(crate) struct Model<'a> {
    target: &'a Target,
    limits: Limits,
    first_token: Duration,
    idle: Duration,
    cancel: &'a CancellationToken,
}

impl<'a> Model<'a> {
    pub(crate) fn new(target: &'a Target, spec: &Spec, cancel: &'a CancellationToken) -> Self {
        let seconds = Duration::from_secs;
        let total = spec.request_timeout();
        // Silence is watched here: before its first token a busy server may be silent for longer than between two,
        // whether it has sent its headers or not.
        let limits = Limits { connect: seconds(spec.connect_timeout_s), first_byte: None, idle: None, total };
        let first_token = spec.first_token_timeout_s.map_or(total, seconds);
        Self { target, limits, first_token, idle: seconds(spec.idle_timeout_s), cancel }
    }

    async fn attempt(&self, request: &Request) -> Attempt {
        let heard = Notify::new();
        let mut attempt = Attempt::begin(Stamp::now());
        let hear = |event: Event<'_>| {
            if matches!(event, Event::Bytes(..)) {
                heard.notify_one();
            }
            attempt.take(event);
        };
        let silent = tokio::select! {
            biased;
            () = self.target.client.perform(request, &self.limits, self.cancel, hear) => None,
            limit = self.silence(&heard) => Some(limit),
        };
        if let Some(limit) = silent {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let fault = Fault::Timeout { phase: Phase::Body, limit_ms };
            attempt.take(Event::End(Stamp::now(), End::Broken(fault)));
        }
        attempt
    }

    /// Ends when nothing has come for too long: before the first piece, or between two.
    async fn silence(&self, heard: &Notify) -> Duration {
        let mut limit = self.first_token;
        while tokio::time::timeout(limit, heard.notified()).await.is_ok() {
            limit = self.idle;
        }
        limit
    }
}

impl Responder for Model<'_> {
    async fn ask(&self, ask: &Ask) -> Asked {
        let request = Request::post(Route::Api("/chat/completions".to_owned()), ask.body.clone());
        let begun = Stamp::now();
        let mut attempts = 0;
        loop {
            let attempt = self.attempt(&request).await;
            let wait = RETRY.wait_after(&attempt, attempts);
            attempts += 1;
            let again = match wait {
                Some(wait) => self.cancel.run_until_cancelled(tokio::time::sleep(wait)).await.is_some(),
                None => false,
            };
            if !again {
                return asked(&attempt, attempts, begun);
            }
        }
    }
}

fn asked(attempt: &Attempt, attempts: usize, begun: Stamp) -> Asked {
    let answer = Answer::read(attempt);
    let usage = answer.complete.as_ref().and_then(|whole| whole.usage.as_ref());
    let count = |name: &str| usage.and_then(|usage| usage.get(name)).and_then(Value::as_u64);
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Asked {
        whole: attempt.end == End::Complete,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        took_ns: nanos(attempt.ended.since(begun)),
        first_token_ns: attempt.chunks.first().map(|(at, _)| nanos(at.since(attempt.begun))),
        prompt_tokens: count("prompt_tokens"),
        completion_tokens: count("completion_tokens"),
        reply: Reply::read(&answer),
    }
}

/// The request for `question`, and the hashes by which it is known. `identity` tells the server.
pub(crate) fn request(spec: &Spec, target: &Target, identity: &str, question: &Question) -> (Ask, Sent) {
    let body = json!({
        "messages": spec.messages(question),
        "temperature": spec.temperature,
        "max_tokens": spec.max_tokens,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let request_sha256 = match &body {
        Value::Object(fields) => workload(fields.clone()).hash,
        _ => unreachable!("json! of braces is an object"),
    };
    let body = target.with_model(&body).to_string();
    let name = format!("{identity}\n{}\n{}\n{body}", question.id, question.repeat);
    let answer_key = sha256_hex(name.as_bytes());
    (Ask { body, key: answer_key.clone() }, Sent { request_sha256, answer_key })
}
