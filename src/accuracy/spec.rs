//! What an accuracy case says: [`Spec`]. Must not know how items are read or answers scored.
//!
//! 精度用例的规格。

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use st_harness::suite::Mistakes;

/// One accuracy case, beside the keys that every case has.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The name under which scores are told and compared; `[a-z0-9_]`.
    pub dataset: String,
    /// How items are asked and answers scored.
    pub evaluator: Evaluator,
    /// The items, one JSON object a line; relative to the file of the case.
    pub items: String,
    /// Ask only the first so many.
    #[serde(default)]
    pub limit: Option<u32>,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// Sampling temperature.
    #[serde(default = "temperature")]
    pub temperature: f64,
    /// How many items are asked at once.
    #[serde(default = "workers")]
    pub workers: u32,
    /// The longest one attempt may take, in seconds.
    #[serde(default = "request_timeout_s")]
    pub request_timeout_s: u64,
    /// The bar: a score below it fails. 0 is no bar.
    #[serde(default)]
    pub min_score: f64,
    /// Above this share of items that got no answer at all, the score is no measurement.
    #[serde(default)]
    pub max_failed_ratio: f64,
    /// Above this share of answers that reached `max_tokens`, the score is no measurement: it tells of the limit
    /// and not of the model.
    #[serde(default = "max_truncated_ratio")]
    pub max_truncated_ratio: f64,
    /// Keep the answers' text beside the scores. Off by default: an answer repeats its question, and not every
    /// set of questions may be passed on.
    #[serde(default)]
    pub keep_text: bool,
}

fn temperature() -> f64 {
    0.6
}

fn workers() -> u32 {
    32
}

fn request_timeout_s() -> u64 {
    300
}

fn max_truncated_ratio() -> f64 {
    0.1
}

/// How items are asked and answers scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evaluator {
    /// Four options, asked and scored as simple-evals does for GPQA.
    MultipleChoice,
}

impl Spec {
    /// What the types cannot say.
    pub fn check(&self, mistakes: &mut Mistakes<'_>) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.dataset.is_empty() || !self.dataset.chars().all(plain) {
            mistakes.at("/dataset", format!("expected a name of [a-z0-9_], found {:?}", self.dataset));
        }
        let least_one = [
            ("/max_tokens", u64::from(self.max_tokens)),
            ("/workers", u64::from(self.workers)),
            ("/request_timeout_s", self.request_timeout_s),
            ("/limit", self.limit.map_or(1, u64::from)),
        ];
        for (pointer, _) in least_one.iter().filter(|(_, value)| *value == 0) {
            mistakes.at(pointer, "expected at least 1, found 0");
        }
        for (pointer, ratio) in [
            ("/min_score", self.min_score),
            ("/max_failed_ratio", self.max_failed_ratio),
            ("/max_truncated_ratio", self.max_truncated_ratio),
        ] {
            if !(0.0..=1.0).contains(&ratio) {
                mistakes.at(pointer, format!("expected a ratio from 0 to 1, found {ratio}"));
            }
        }
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            mistakes.at("/temperature", format!("expected 0 or more, found {}", self.temperature));
        }
    }

    /// What runs must share to be comparable, beside the items' hash: scores of other settings are other scores.
    pub fn workload_key(&self, items_sha256: &str, items: usize) -> Map<String, Value> {
        let key = json!({
            "endpoint": "chat",
            "dataset": self.dataset,
            "evaluator": self.evaluator,
            "items_sha256": items_sha256,
            "items": items,
            "sampling": {"temperature": self.temperature, "max_tokens": self.max_tokens},
        });
        match key {
            Value::Object(map) => map,
            _ => unreachable!("json! of braces is an object"),
        }
    }
}
