//! What an accuracy case says: [`Spec`]. Must not know how items are read or answers scored.
//!
//! 精度用例的规格。

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use st_harness::suite::Mistakes;

use crate::{
    accuracy::{
        evaluator::{Cells, Choose, Evaluator, Question, mgsm},
        sandbox::Level,
    },
    tools::Use,
};

/// One accuracy case, beside the keys that every case has.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Which benchmark.
    #[serde(default)]
    pub evaluator: Evaluator,
    /// Let somebody else's tool ask and score, instead of an evaluator of ours.
    pub tool: Option<Use>,
    /// The name under which scores are told and compared, in `[a-z0-9_]`; the evaluator's without one.
    pub dataset: Option<String>,
    /// Where the items are: a file or a folder, relative to the file of the case, or `env:NAME` for the path that a
    /// variable holds. Without it: the folder that `VLLM_CIBENCH_ACCURACY_DATA` names.
    pub data: Option<String>,
    /// Parts of the benchmark: a GPQA variant (`diamond`), an MMLU language (`DE-DE`), MGSM languages (`en`), MME's
    /// categories (`count`).
    #[serde(default)]
    pub subsets: Vec<String>,
    /// How much of it.
    #[serde(default)]
    pub size: Size,
    /// Ask only so many items, drawn as upstream draws them; MGSM: of each language; MME: so many pictures.
    pub limit: Option<u32>,
    /// How often each item is asked; upstream's number without it.
    pub repeats: Option<u32>,
    /// What a cell is that pandas would take for a missing one.
    #[serde(default)]
    pub cells: Cells,
    /// Whose reading of the answers is the score; the other one is reported beside it.
    #[serde(default)]
    pub compat: Compat,
    /// The system message, if there is to be one.
    pub system: Option<String>,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// Sampling temperature.
    #[serde(default = "temperature")]
    pub temperature: f64,
    /// How many items are asked at once.
    #[serde(default = "workers")]
    pub workers: u32,
    /// The longest a new connection may take, in seconds.
    #[serde(default = "connect_timeout_s")]
    pub connect_timeout_s: u64,
    /// The longest wait for the first token, in seconds; no limit of its own without it.
    pub first_token_timeout_s: Option<u64>,
    /// The longest pause between two tokens, in seconds.
    #[serde(default = "idle_timeout_s")]
    pub idle_timeout_s: u64,
    /// The longest one attempt may take, in seconds.
    #[serde(default = "request_timeout_s")]
    pub request_timeout_s: u64,
    /// The bar: a score below it fails. 0 is no bar.
    #[serde(default)]
    pub min_score: f64,
    /// How the score is held against the bar, and against an earlier run.
    #[serde(default)]
    pub gate: Gate,
    /// Above this share of items that got no answer at all, the score is no measurement.
    #[serde(default = "max_failed_ratio")]
    pub max_failed_ratio: f64,
    /// Above this share of answers that reached `max_tokens`, the score is no measurement: it tells of the limit
    /// and not of the model.
    #[serde(default = "max_truncated_ratio")]
    pub max_truncated_ratio: f64,
    /// Above this share of whole answers in which nothing was found, the score is no measurement.
    #[serde(default = "one")]
    pub max_unparsed_ratio: f64,
    /// How well this machine must be able to lock up answers that are run as programs (HumanEval); where it cannot,
    /// the case is skipped and says what is missing.
    #[serde(default)]
    pub sandbox: Level,
    /// Where the items, or the sandbox, are missing: fail (true), or skip and say so (false, the default).
    #[serde(default)]
    pub required: bool,
    /// Keep prompts and answers out of every file of the run. On by default for gated benchmarks, whose terms
    /// forbid to pass items on: an answer repeats its question.
    pub redact: Option<bool>,
    /// Take up the answers of an earlier run of this case that was killed.
    #[serde(default = "yes")]
    pub resume: bool,
}

/// How much of a benchmark is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// All items, as often as upstream asks them.
    #[default]
    Full,
    /// The few items of upstream's `--debug`, once.
    Debug,
}

/// Whose reading of the answers is the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compat {
    /// The benchmark's own: openai/simple-evals', or MME's script's, quirks included.
    #[default]
    SimpleEvals,
    /// A tolerant reader's.
    Robust,
}

/// How a score is judged.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    /// Which of the two readings of `min_score` decides. The other is told too.
    pub mode: GateMode,
    /// Probability of a false alarm.
    pub alpha: f64,
    /// So far below `min_score`, and below the baseline, the true score may lie.
    pub margin: f64,
    /// The `items.jsonl` of an earlier run to compare with item by item, instead of the latest daily one: relative to
    /// the file of the case, or `env:NAME`.
    pub baseline: Option<String>,
    /// Compare with the latest daily run of the same scenario that asked the same questions in the same way, where
    /// there is one.
    pub daily: bool,
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// The score itself.
    #[default]
    Point,
    /// Its interval: what lies on both sides of the bar is inconclusive.
    Interval,
}

impl Default for Gate {
    fn default() -> Self {
        Self { mode: GateMode::Point, alpha: 0.05, margin: 0.0, baseline: None, daily: true }
    }
}

fn temperature() -> f64 {
    0.6
}

fn workers() -> u32 {
    32
}

fn connect_timeout_s() -> u64 {
    10
}

fn idle_timeout_s() -> u64 {
    120
}

fn request_timeout_s() -> u64 {
    300
}

fn max_failed_ratio() -> f64 {
    0.01
}

fn max_truncated_ratio() -> f64 {
    0.1
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

impl Spec {
    /// What the types cannot say.
    pub fn check(&self, mistakes: &mut Mistakes<'_>) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let dataset = self.dataset();
        if dataset.is_empty() || !dataset.chars().all(plain) {
            mistakes.at("/dataset", format!("expected a name of [a-z0-9_], found {dataset:?}"));
        }
        let least_one = [
            ("/max_tokens", u64::from(self.max_tokens)),
            ("/workers", u64::from(self.workers)),
            ("/connect_timeout_s", self.connect_timeout_s),
            ("/first_token_timeout_s", self.first_token_timeout_s.unwrap_or(1)),
            ("/idle_timeout_s", self.idle_timeout_s),
            ("/request_timeout_s", self.request_timeout_s),
            ("/limit", self.limit.map_or(1, u64::from)),
            ("/repeats", self.repeats.map_or(1, u64::from)),
        ];
        for (pointer, _) in least_one.iter().filter(|(_, value)| *value == 0) {
            mistakes.at(pointer, "expected at least 1, found 0");
        }
        for (pointer, ratio) in [
            ("/min_score", self.min_score),
            ("/max_failed_ratio", self.max_failed_ratio),
            ("/max_truncated_ratio", self.max_truncated_ratio),
            ("/max_unparsed_ratio", self.max_unparsed_ratio),
            ("/gate/margin", self.gate.margin),
        ] {
            if !(0.0..=1.0).contains(&ratio) {
                mistakes.at(pointer, format!("expected a ratio from 0 to 1, found {ratio}"));
            }
        }
        if !(self.gate.alpha > 0.0 && self.gate.alpha < 0.5) {
            mistakes.at(
                "/gate/alpha",
                format!("expected a probability above 0 and below 0.5, found {}", self.gate.alpha),
            );
        }
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            mistakes.at("/temperature", format!("expected 0 or more, found {}", self.temperature));
        }
        if self.sandbox == Level::None {
            let told =
                "expected full, namespaces or rlimits, found none: code is never run without a sandbox";
            mistakes.at("/sandbox", told);
        }
        self.check_subsets(mistakes);
        self.check_tool(mistakes);
    }

    /// What only an evaluator of ours reads is a mistake beside a tool.
    fn check_tool(&self, mistakes: &mut Mistakes<'_>) {
        if self.tool.is_none() {
            return;
        }
        if self.dataset.is_none() {
            mistakes.at("/tool", "expected `dataset` beside it, the name under which its score is told");
        }
        let ours = [
            ("/data", self.data.is_some()),
            ("/subsets", !self.subsets.is_empty()),
            ("/repeats", self.repeats.is_some()),
            ("/system", self.system.is_some()),
            ("/gate/baseline", self.gate.baseline.is_some()),
            ("/size", self.size != Size::default()),
            ("/compat", self.compat != Compat::default()),
        ];
        for (pointer, _) in ours.iter().filter(|(_, given)| *given) {
            mistakes.at(pointer, "expected nothing beside `tool`: only the evaluators of ours read this");
        }
    }

    fn check_subsets(&self, mistakes: &mut Mistakes<'_>) {
        let several = self.subsets.len() > 1 && !matches!(self.evaluator, Evaluator::Mgsm | Evaluator::Mme);
        if several {
            mistakes.at("/subsets", format!("expected one part of {} at most", self.evaluator.name()));
        }
        for (index, subset) in self.subsets.iter().enumerate() {
            if self.evaluator == Evaluator::Mgsm && !mgsm::languages().any(|code| code == subset) {
                let known: Vec<_> = mgsm::languages().collect();
                let told = format!("expected a language of {}, found {subset:?}", known.join(", "));
                mistakes.at(&format!("/subsets/{index}"), told);
            }
        }
    }

    /// The name under which scores are told.
    pub fn dataset(&self) -> &str {
        self.dataset.as_deref().unwrap_or(self.evaluator.name())
    }

    /// Which items are asked, and how often.
    pub fn choose(&self) -> Choose {
        let (limit, repeats) = match self.size {
            Size::Full => (None, self.evaluator.full_repeats()),
            Size::Debug => (Some(self.evaluator.debug_limit()), self.evaluator.debug_repeats()),
        };
        Choose {
            limit: self.limit.or(limit),
            repeats: Some(self.repeats.unwrap_or(repeats)),
            subsets: self.subsets.clone(),
            cells: self.cells,
            sandbox: self.sandbox,
        }
    }

    /// The messages that ask `question`: its text, and behind it its picture, where it has one.
    pub fn messages(&self, question: &Question) -> Vec<Value> {
        let system = self.system.iter().map(|text| json!({"role": "system", "content": text}));
        let content = match question.picture.as_deref() {
            None => json!(question.prompt),
            Some(url) => json!([
                {"type": "text", "text": question.prompt},
                {"type": "image_url", "image_url": {"url": url}},
            ]),
        };
        system.chain([json!({"role": "user", "content": content})]).collect()
    }

    /// Whether prompts and answers stay out of every file of the run.
    pub fn redacts(&self) -> bool {
        let gated = || match &self.tool {
            // Nobody but the case knows what a tool asks; that it asks a gated benchmark is told by its name.
            Some(used) => {
                let named = format!("{} {}", self.dataset(), Value::Object(used.with.clone()));
                named.to_ascii_lowercase().contains(Evaluator::Gpqa.name())
            }
            None => self.evaluator.is_gated(),
        };
        self.redact.unwrap_or_else(gated)
    }

    /// The longest one attempt may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }

    /// What runs must share to be comparable, beside the items themselves: scores of other settings are other
    /// scores.
    pub fn workload_key(&self, questions_sha256: &str, questions: usize) -> Map<String, Value> {
        let key = json!({
            "endpoint": "chat",
            "backend": "openai-chat",
            "dataset": self.dataset(),
            "evaluator": self.evaluator,
            "extractor": self.evaluator.extractor(),
            "compat": self.compat,
            "questions_sha256": questions_sha256,
            "questions": questions,
            "sampling": {"temperature": self.temperature, "max_tokens": self.max_tokens},
        });
        match key {
            Value::Object(map) => map,
            _ => unreachable!("json! of braces is an object"),
        }
    }
}
