//! What a performance case says: [`Spec`], and what it expects. Must not know how load is made.
//!
//! 性能用例的规格与期望。

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use st_harness::suite::Mistakes;

/// One performance case, beside the keys that every case has.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Which endpoint is loaded; always streaming.
    #[serde(default)]
    pub endpoint: Endpoint,
    /// How load is made.
    #[serde(default)]
    pub control_method: ControlMethod,
    /// How many requests are in flight.
    pub concurrency: u32,
    /// Tokens of a prompt as the server counts them, chat template included.
    pub input_len: u32,
    /// Tokens asked for: `max_tokens`.
    pub output_len: u32,
    /// How many requests are measured.
    pub requests: u32,
    /// How many are sent before them, with prompts of their own, in no figure; the measured ones follow
    /// without a pause.
    #[serde(default)]
    pub warmup: u32,
    /// In which language prompts are written.
    #[serde(default)]
    pub language: Language,
    /// How the server is asked to sample.
    #[serde(default)]
    pub sampling: Sampling,
    /// Seed of the prompts.
    #[serde(default)]
    pub seed: u64,
    /// The longest a single request may take, in seconds.
    #[serde(default = "request_timeout_s")]
    pub request_timeout_s: u64,
    /// What must hold of the figures. Without any, a trial passes when a request succeeded.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

fn request_timeout_s() -> u64 {
    1000
}

/// An endpoint that generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    #[default]
    Chat,
    /// `/v1/completions`.
    Completions,
}

impl Endpoint {
    /// The name that reports and metrics use for it.
    pub fn backend(self) -> &'static str {
        match self {
            Self::Chat => "openai-chat",
            Self::Completions => "openai",
        }
    }
}

/// How load is made. A method with parameters becomes a variant that holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ControlMethod {
    /// A closed loop: `concurrency` workers, each with one request in flight, until all are sent.
    #[default]
    Fixed,
}

impl ControlMethod {
    /// Its name in reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
        }
    }
}

/// The language of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English words.
    En,
    /// Chinese words.
    Zh,
    /// Both.
    #[default]
    Mixed,
}

/// How the server is asked to sample. What is absent is left to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// `temperature`.
    #[serde(default = "temperature")]
    pub temperature: f64,
    /// `top_p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// `top_k`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<i64>,
    /// Generate `output_len` tokens whatever the model says; vLLM's own field.
    #[serde(default = "ignore_eos")]
    pub ignore_eos: bool,
}

fn temperature() -> f64 {
    0.6
}

fn ignore_eos() -> bool {
    true
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: temperature(), top_p: None, top_k: None, ignore_eos: ignore_eos() }
    }
}

/// Something that must hold of the figures. Latencies are in seconds.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// Time to first token.
    Ttft(AtStat),
    /// Time from the first to the second token.
    Ttst(AtStat),
    /// Time per output token of a request.
    Tpot(AtStat),
    /// Gap between adjacent tokens.
    Itl(AtStat),
    /// Start to last token.
    E2e(AtStat),
    /// Share of requests that failed.
    FailureRatio(Bound),
    /// Successful requests per second.
    RequestsPerSecond(Bound),
    /// Output tokens per second.
    OutputTokenThroughput(Bound),
    /// Prompt and output tokens per second.
    TotalTokenThroughput(Bound),
    /// Share of requests within limits of their own.
    Goodput(Goodput),
}

/// A bound on one figure of a latency, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AtStat {
    /// Which figure of it.
    pub stat: Stat,
    /// The largest that is accepted, in seconds.
    pub at_most: f64,
}

/// A figure of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Stat {
    Mean,
    P50,
    P75,
    P90,
    P95,
    P99,
    Max,
}

impl Stat {
    /// As measurements name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P75 => "p75",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }
}

/// A bound on a figure that has only one value; at least one side.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The smallest that is accepted.
    #[serde(default)]
    pub at_least: Option<f64>,
    /// The largest that is accepted.
    #[serde(default)]
    pub at_most: Option<f64>,
}

/// Limits for each request, in seconds, and how many requests must keep all of them.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Goodput {
    /// Limit of its time to first token.
    #[serde(default)]
    pub ttft: Option<f64>,
    /// Limit of its time per output token.
    #[serde(default)]
    pub tpot: Option<f64>,
    /// Limit of its time to the last token.
    #[serde(default)]
    pub e2e: Option<f64>,
    /// The smallest accepted share, from 0 to 1.
    pub at_least: f64,
}

impl Spec {
    /// What the types cannot say.
    pub fn check(&self, mistakes: &mut Mistakes<'_>) {
        for (pointer, value) in [
            ("/concurrency", self.concurrency),
            ("/input_len", self.input_len),
            ("/output_len", self.output_len),
            ("/requests", self.requests),
        ] {
            if value == 0 {
                mistakes.at(pointer, "expected at least 1, found 0");
            }
        }
        if self.request_timeout_s == 0 {
            mistakes.at("/request_timeout_s", "expected at least 1 second, found 0");
        }
        if self.requests < self.concurrency {
            mistakes.at(
                "/requests",
                format!(
                    "expected at least as many requests as concurrency ({}), found {}: the asked concurrency \
                     would never be reached",
                    self.concurrency, self.requests
                ),
            );
        }
        for (index, expectation) in self.expect.iter().enumerate() {
            for message in expectation.mistakes() {
                mistakes.at(&format!("/expect/{index}"), message);
            }
        }
    }

    /// What runs must share to be comparable; see the architecture's `workload_key`.
    pub fn workload_key(&self) -> Map<String, Value> {
        let key = json!({
            "endpoint": self.endpoint,
            "backend": self.endpoint.backend(),
            "dataset": "random",
            "language": self.language,
            "tokenizer": "server",
            "input_len": self.input_len,
            "output_len": self.output_len,
            "concurrency": self.concurrency,
            "control_method": self.control_method.name(),
            "sampling": self.sampling,
            "stream": true,
        });
        match key {
            Value::Object(map) => map,
            _ => unreachable!("json! of braces is an object"),
        }
    }
}

impl Expectation {
    fn mistakes(&self) -> Vec<String> {
        match self {
            Self::Ttft(at) | Self::Ttst(at) | Self::Tpot(at) | Self::Itl(at) | Self::E2e(at) => {
                limit("at_most", Some(at.at_most)).into_iter().collect()
            }
            Self::FailureRatio(bound)
            | Self::RequestsPerSecond(bound)
            | Self::OutputTokenThroughput(bound)
            | Self::TotalTokenThroughput(bound) => bound.mistakes(),
            Self::Goodput(goodput) => goodput.mistakes(),
        }
    }
}

impl Bound {
    fn mistakes(self) -> Vec<String> {
        if self.at_least.is_none() && self.at_most.is_none() {
            return vec!["expected `at_least`, `at_most` or both, found neither".to_owned()];
        }
        [("at_least", self.at_least), ("at_most", self.at_most)]
            .into_iter()
            .filter_map(|(name, value)| limit(name, value))
            .collect()
    }
}

impl Goodput {
    fn mistakes(self) -> Vec<String> {
        let limits = [("ttft", self.ttft), ("tpot", self.tpot), ("e2e", self.e2e)];
        let mut found: Vec<_> = limits.iter().filter_map(|&(name, value)| limit(name, value)).collect();
        if limits.iter().all(|(_, value)| value.is_none()) {
            found.push("expected a limit: `ttft`, `tpot`, `e2e` or several, found none".to_owned());
        }
        if !(0.0..=1.0).contains(&self.at_least) {
            found.push(format!("expected `at_least` from 0 to 1, found {}", self.at_least));
        }
        found
    }
}

fn limit(name: &str, value: Option<f64>) -> Option<String> {
    let value = value.filter(|value| !(value.is_finite() && *value >= 0.0))?;
    Some(format!("expected `{name}` to be 0 or more, found {value}"))
}
