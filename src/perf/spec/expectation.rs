//! What a case may expect of the figures: [`Expectation`]. Must not know how they are measured.
//!
//! 性能期望：阈值与 goodput。

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Share of conversations that broke off with a turn that failed.
    ConversationFailureRatio(Bound),
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

impl Expectation {
    /// What is wrong with it, one sentence a mistake.
    pub(super) fn mistakes(&self) -> Vec<String> {
        match self {
            Self::Ttft(at) | Self::Ttst(at) | Self::Tpot(at) | Self::Itl(at) | Self::E2e(at) => {
                limit("at_most", Some(at.at_most)).into_iter().collect()
            }
            Self::FailureRatio(bound)
            | Self::ConversationFailureRatio(bound)
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

/// Limits that a good request keeps, in seconds; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Limit of its time to first token.
    #[serde(default)]
    pub ttft: Option<f64>,
    /// Limit of its time per output token.
    #[serde(default)]
    pub tpot: Option<f64>,
    /// Limit of its time to the last token.
    #[serde(default)]
    pub e2e: Option<f64>,
    /// The share of requests that must keep them for a load to be within: the highest such load is the knee.
    #[serde(default = "nine_in_ten")]
    pub share: f64,
    /// Skip higher loads of the same workload once one was beyond.
    #[serde(default)]
    pub stop_beyond: bool,
}

fn nine_in_ten() -> f64 {
    0.9
}

impl Default for Slo {
    fn default() -> Self {
        Self { ttft: None, tpot: None, e2e: None, share: nine_in_ten(), stop_beyond: false }
    }
}

impl Slo {
    /// The limits by name.
    pub fn limits(self) -> [(&'static str, Option<f64>); 3] {
        [("ttft", self.ttft), ("tpot", self.tpot), ("e2e", self.e2e)]
    }

    /// What is wrong with it, one sentence a mistake.
    pub(super) fn mistakes(self) -> Vec<String> {
        let mut found: Vec<_> =
            self.limits().iter().filter_map(|&(name, value)| limit(name, value)).collect();
        if self.limits().iter().all(|(_, value)| value.is_none()) {
            found.push("expected a limit: `ttft`, `tpot`, `e2e` or several, found none".to_owned());
        }
        if !(0.0..=1.0).contains(&self.share) {
            found.push(format!("expected `share` from 0 to 1, found {}", self.share));
        }
        found
    }
}

impl Goodput {
    /// Its limits.
    pub fn slo(self) -> Slo {
        Slo { ttft: self.ttft, tpot: self.tpot, e2e: self.e2e, ..Slo::default() }
    }

    fn mistakes(self) -> Vec<String> {
        let mut found = self.slo().mistakes();
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
