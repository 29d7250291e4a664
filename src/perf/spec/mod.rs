//! What a performance case says: [`Spec`], and what it expects. Must not know how load is made.
//!
//! 性能用例的规格与期望。

mod check;
mod expectation;
mod load;

pub use expectation::{AtStat, Bound, Expectation, Goodput, Stat};
pub use load::{Climb, ClimbMode, ConcurrencyBackend, ControlMethod, FailureStop, Rate, Stop};

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
    /// How many requests are in flight: all the time (`fixed`), at the end of the climb (`climb`), at most (`rate`).
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Who carries them.
    #[serde(default)]
    pub concurrency_backend: ConcurrencyBackend,
    /// Tokens of a prompt as the server counts them, chat template included.
    pub input_len: u32,
    /// Tokens asked for: `max_tokens`.
    pub output_len: u32,
    /// How many requests are measured, in each epoch.
    #[serde(default)]
    pub requests: Option<u32>,
    /// The same as a multiple of `concurrency`.
    #[serde(default)]
    pub requests_per_concurrency: Option<u32>,
    /// When sending ends although requests are left.
    #[serde(default)]
    pub stop: Stop,
    /// How often the load is repeated, from warm-up to drain. The figures are those of all repetitions together.
    #[serde(default = "one")]
    pub epochs: u32,
    /// How many are sent before them, in each epoch, with prompts of their own, in no figure; the measured ones
    /// follow without a pause.
    #[serde(default)]
    pub warmup: u32,
    /// In which language prompts are written.
    #[serde(default)]
    pub language: Language,
    /// How the server is asked to sample.
    #[serde(default)]
    pub sampling: Sampling,
    /// Seed of the prompts and of the arrivals.
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

fn one() -> u32 {
    1
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

impl Spec {
    /// What the types cannot say.
    pub fn check(&self, mistakes: &mut Mistakes<'_>) {
        check::check(self, mistakes);
    }

    /// How many requests an epoch measures; nothing where only time ends an open loop.
    pub fn requests(&self) -> Option<u32> {
        self.requests.or_else(|| self.requests_per_concurrency?.checked_mul(self.concurrency?))
    }

    /// What runs must share to be comparable; see the architecture's `workload_key`.
    pub fn workload_key(&self) -> Map<String, Value> {
        let common = json!({
            "endpoint": self.endpoint,
            "backend": self.endpoint.backend(),
            "dataset": "random",
            "language": self.language,
            "tokenizer": "server",
            "input_len": self.input_len,
            "output_len": self.output_len,
            "concurrency": self.concurrency,
            "concurrency_backend": self.concurrency_backend,
            "control_method": self.control_method.name(),
            "sampling": self.sampling,
            "stream": true,
        });
        let control = match self.control_method {
            ControlMethod::Fixed => json!({}),
            ControlMethod::Climb(climb) => json!({
                "climb_mode": climb.mode,
                "init_concurrency": climb.init_concurrency,
                "growth_rate": climb.growth_rate,
                "growth_interval_ms": climb.growth_interval_ms,
            }),
            ControlMethod::Rate(rate) => json!({
                "request_rate": rate.requests_per_second,
                "burstiness": rate.burstiness,
            }),
        };
        let fields = |part| match part {
            Value::Object(map) => map,
            _ => unreachable!("json! of braces is an object"),
        };
        fields(common).into_iter().chain(fields(control)).collect()
    }
}
