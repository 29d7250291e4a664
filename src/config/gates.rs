//! What performance is held to: [`PerfGate`]. A scenario says it under `gates.perf`, the matrix for all scenarios
//! under `perf_gate`; a flag or a variable beats both. Must not compare anything.
//!
//! 性能门禁配置。

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Check;

/// How performance is held against the latest daily run.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPerfGate {
    /// What decides. Default `seed000`.
    pub policy: Option<Policy>,
    /// Earlier runs, relative to the root: a folder of runs, the folder of one run, or its journal. Default: where
    /// this run leaves its own folder.
    pub baseline: Option<String>,
    /// From where on a figure is worse than it may be.
    #[serde(default)]
    pub limits: RawLimits,
    /// What follows where the data do not decide (policy `interval`). Default `warn`.
    pub inconclusive: Option<Inconclusive>,
    /// Compare only what was measured on the same machine, against a server of the same configuration. Its version
    /// may differ. Default: a difference is shown.
    pub strict_environment: Option<bool>,
}

/// From where on a figure is worse than it may be: a change as a share, 0.1 is 10 %.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    /// Rise of the 99th percentile of the time to first token. Default 0.1.
    pub ttft_p99: Option<f64>,
    /// Rise of the 99th percentile of the time to the last token. Default 0.1.
    pub e2e_p99: Option<f64>,
    /// Fall of the successful requests per second. Default 0.05.
    pub requests_per_second: Option<f64>,
    /// Share of requests that failed: not a change. Default 0.05.
    pub failure_ratio: Option<f64>,
}

/// What decides whether performance has become worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The point values, whatever the number of samples; few samples are called of low confidence.
    #[default]
    Seed000,
    /// Where the change lies for certain; too few samples are inconclusive.
    Interval,
    /// Nothing.
    Off,
}

/// What follows where the data do not decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Inconclusive {
    /// The trial is inconclusive.
    #[default]
    Warn,
    /// The trial is red.
    Fail,
}

/// How performance is held against the latest daily run. A run records it, all but where its baseline lay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PerfGate {
    /// What decides.
    pub policy: Policy,
    /// Earlier runs: a folder of runs, the folder of one run, or its journal; nothing: where runs lie.
    #[serde(skip)]
    pub baseline: Option<Utf8PathBuf>,
    /// From where on a figure is worse than it may be.
    pub limits: Limits,
    /// What follows where the data do not decide.
    pub inconclusive: Inconclusive,
    /// Compare only what was measured in the same circumstances.
    pub strict_environment: bool,
}

/// From where on a figure is worse than it may be, as shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Rise of the 99th percentile of the time to first token.
    pub ttft_p99: f64,
    /// Rise of the 99th percentile of the time to the last token.
    pub e2e_p99: f64,
    /// Fall of the successful requests per second.
    pub requests_per_second: f64,
    /// Share of requests that failed.
    pub failure_ratio: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ttft_p99: 0.1, e2e_p99: 0.1, requests_per_second: 0.05, failure_ratio: 0.05 }
    }
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seed000, Self::Interval, Self::Off];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seed000 => "seed000",
            Self::Interval => "interval",
            Self::Off => "off",
        }
    }

    /// The policy that `text` names.
    ///
    /// # Errors
    /// What was expected instead, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| format!("expected `seed000`, `interval` or `off`, found `{text}`"))
    }
}

impl PerfGate {
    /// As a run records it.
    pub fn terms(&self) -> Value {
        json!(self)
    }

    /// What a run recorded; nothing where it recorded nothing, or nothing that is understood here.
    pub fn recorded(terms: &Value) -> Option<Self> {
        Self::deserialize(terms).ok()
    }
}

impl RawLimits {
    /// The first that is no share: its name, what it is, and the most that it may be.
    pub fn beyond_all_sense(&self) -> Option<(&'static str, f64, f64)> {
        self.senseless().next()
    }

    fn senseless(&self) -> impl Iterator<Item = (&'static str, f64, f64)> {
        let all = [
            ("ttft_p99", self.ttft_p99, 10.0),
            ("e2e_p99", self.e2e_p99, 10.0),
            ("requests_per_second", self.requests_per_second, 0.99),
            ("failure_ratio", self.failure_ratio, 1.0),
        ];
        let said = all.into_iter().filter_map(|(name, said, most)| Some((name, said?, most)));
        said.filter(|(_, said, most)| !(0.0..=*most).contains(said))
    }
}

impl RawPerfGate {
    /// Notes what cannot be meant. `pointer` leads to this in its file.
    pub(super) fn check(&self, check: &mut Check<'_>, pointer: &str) {
        for (name, said, most) in self.limits.senseless() {
            let message = format!("expected a share from 0 to {most}, found {said}");
            check.at(&format!("{pointer}/limits/{name}"), message);
        }
    }

    /// What holds, where `otherwise` holds for whatever is not said here.
    pub fn over(&self, otherwise: &PerfGate) -> PerfGate {
        let (said, usual) = (&self.limits, &otherwise.limits);
        PerfGate {
            limits: Limits {
                ttft_p99: said.ttft_p99.unwrap_or(usual.ttft_p99),
                e2e_p99: said.e2e_p99.unwrap_or(usual.e2e_p99),
                requests_per_second: said.requests_per_second.unwrap_or(usual.requests_per_second),
                failure_ratio: said.failure_ratio.unwrap_or(usual.failure_ratio),
            },
            policy: self.policy.unwrap_or(otherwise.policy),
            baseline: self.baseline.as_ref().map(Utf8PathBuf::from).or_else(|| otherwise.baseline.clone()),
            inconclusive: self.inconclusive.unwrap_or(otherwise.inconclusive),
            strict_environment: self.strict_environment.unwrap_or(otherwise.strict_environment),
        }
    }
}
