//! What a performance case says: [`Spec`], and what it expects. Must not know how load is made.
//!
//! 性能用例的规格与期望。

mod amount;
mod check;
mod conversation;
mod expectation;
mod job;
mod key;
mod load;
mod workload;

use std::time::Duration;

pub use amount::{Amount, Law};
pub use conversation::Conversation;
pub use expectation::{AtStat, Bound, Expectation, Goodput, Slo, Stat};
pub use job::{Job, NO_JOBS};
pub use key::level_of;
pub use load::{
    Climb, ClimbMode, ConcurrencyBackend, ControlMethod, FailureStop, PdDynamic, PhaseLimits, Rate, Replay,
    RequestMode, Stop,
};
pub use workload::{Layout, Source, Spread, TokenizerFile};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_harness::suite::Mistakes;

use crate::tools::Use;

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
    /// What admits a request that is due, beside `concurrency`.
    #[serde(default)]
    pub request_mode: RequestMode,
    /// How many requests are in flight: all the time (`fixed`), at the end of the climb (`climb`), at most (`rate`).
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Who carries them.
    #[serde(default)]
    pub concurrency_backend: ConcurrencyBackend,
    /// How many processes do, with `processing-pool`, or pods, with `k8s-job`: at most as many as there are requests in
    /// flight at the beginning.
    #[serde(default)]
    pub num_process: Option<u32>,
    /// The Job of `k8s-job`.
    #[serde(default)]
    pub job: Option<Job>,
    /// Where the prompts come from, several sources by their weights. Default: seeded random text.
    #[serde(default)]
    pub dataset: Vec<Source>,
    /// Tokens of a prompt as the server counts them. Of a data set in files every item must have it; without it
    /// its items are as long as they are.
    #[serde(default)]
    pub input_len: Option<u32>,
    /// By how much prompts may be longer or shorter.
    #[serde(default)]
    pub input_range: Spread,
    /// Whether `input_len` counts what the server adds too: the chat template. Left out, it does where the server
    /// counts.
    #[serde(default)]
    pub count_template: Option<bool>,
    /// Who counts prompts where the server does not.
    #[serde(default)]
    pub tokenizer: Option<TokenizerFile>,
    /// So many tokens at the beginning of random prompts are the same in all of them; part of `input_len`.
    #[serde(default)]
    pub prefix_len: u32,
    /// Tokens asked for: `max_tokens`. Without it each item of a data set says its own.
    #[serde(default)]
    pub output_len: Option<u32>,
    /// By how much requests may ask for more or less.
    #[serde(default)]
    pub output_range: Spread,
    /// Hold conversations of several turns instead of sending single requests.
    #[serde(default)]
    pub conversation: Option<Conversation>,
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
    /// follow without a pause. With `conversation`: how many of those.
    #[serde(default)]
    pub warmup: u32,
    /// In which language prompts are written.
    #[serde(default)]
    pub language: Language,
    /// How the server is asked to sample.
    #[serde(default)]
    pub sampling: Sampling,
    /// Ask for a count of the tokens with every event (`continuous_usage_stats`), without which events that hold
    /// several tokens cannot be told from others.
    #[serde(default = "yes")]
    pub continuous_usage: bool,
    /// Seed of the prompts and of the arrivals.
    #[serde(default)]
    pub seed: u64,
    /// The longest a single request may take, in seconds.
    #[serde(default = "request_timeout_s")]
    pub request_timeout_s: f64,
    /// Hand answers on in pieces of at most so many bytes, as if they had been read so. Default: as they come.
    #[serde(default)]
    pub read_size: Option<u32>,
    /// Length of the intervals of the values over time, in milliseconds.
    #[serde(default = "bucket_interval_ms")]
    pub bucket_interval_ms: f64,
    /// Limits that a good request keeps, in seconds: what share of requests did, and how many a second, are figures.
    #[serde(default)]
    pub slo: Option<Slo>,
    /// Let somebody else's tool make the load and measure, instead of us.
    #[serde(default)]
    pub tool: Option<Use>,
    /// Have the server profile itself from the end of the warm-up on (`/start_profile`, `/stop_profile`).
    #[serde(default)]
    pub profile: bool,
    /// Leave the requests as a Chrome trace, `perf/<trial>.trace.json`.
    #[serde(default)]
    pub trace: bool,
    /// What must hold of the figures. Without any, a trial passes when a request succeeded.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

fn request_timeout_s() -> f64 {
    1000.0
}

fn bucket_interval_ms() -> f64 {
    1000.0
}

fn yes() -> bool {
    true
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

    /// How many workers' turns an epoch measures, requests or conversations; nothing where only time ends an open loop.
    pub fn items(&self) -> Option<u32> {
        match self.conversation {
            Some(conversation) => conversation.num_conversations,
            None => self.requests(),
        }
    }

    /// How many requests an epoch measures; nothing where only time ends an open loop, and of conversations.
    pub fn requests(&self) -> Option<u32> {
        self.requests.or_else(|| self.requests_per_concurrency?.checked_mul(self.concurrency?))
    }

    /// The same with so many requests, or conversations, in an epoch.
    #[must_use]
    pub fn sized(mut self, items: u32) -> Self {
        match &mut self.conversation {
            Some(conversation) => conversation.num_conversations = Some(items),
            None => (self.requests, self.requests_per_concurrency) = (Some(items), None),
        }
        self
    }

    /// What prefill and decode are limited to apart; nothing where they are not.
    pub fn phase_limits(&self) -> Option<PhaseLimits> {
        let RequestMode::PdDynamic(asked) = self.request_mode else { return None };
        Some(PhaseLimits {
            prefill: asked.prefill_concurrency.or(self.concurrency)?,
            decode: asked.decode_concurrency.or(self.concurrency)?,
        })
    }

    /// The longest a single request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.request_timeout_s).unwrap_or(Duration::MAX)
    }

    /// Length of the intervals of the values over time, in nanoseconds.
    pub fn bucket_interval_ns(&self) -> u64 {
        (self.bucket_interval_ms * 1e6) as u64
    }

    /// Whether the server's count holds what it adds.
    pub fn counts_template(&self) -> bool {
        self.count_template.unwrap_or(true)
    }

    /// Whether any prompt is random text.
    pub fn draws_text(&self) -> bool {
        self.dataset.is_empty() || self.dataset.iter().any(|source| source.layout == Layout::Random)
    }

    /// The data set's name in reports and file names: its layout, or `mixture`.
    pub fn dataset_name(&self) -> &'static str {
        match self.dataset.as_slice() {
            [] => Layout::Random.name(),
            [only] => only.layout.name(),
            _ => "mixture",
        }
    }
}
