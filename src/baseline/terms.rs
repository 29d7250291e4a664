//! By what a run that is over is held against another: [`Terms`], those that the run recorded unless others are given.
//! Must not compare.
//!
//! 对比所用的策略与限值：默认取运行所记录的。

use serde::Serialize;
use st_harness::journal::RunRecord;

use crate::config::{PerfGate, Policy, RawLimits, RawPerfGate};

/// Policy and limits, and where they come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Terms {
    /// What decides.
    #[serde(flatten)]
    pub gate: PerfGate,
    /// Where it comes from, in one line.
    pub from: String,
}

/// What is given instead of what was recorded.
#[derive(Debug, Clone, Default)]
pub struct Instead {
    /// Another policy.
    pub policy: Option<Policy>,
    /// Other limits.
    pub limits: RawLimits,
    /// Nothing is compared across different circumstances.
    pub strict_environment: bool,
}

impl Terms {
    /// Those of `run`, which is called `name`. Where it recorded none, or was held to nothing, the usual ones hold.
    pub fn of(run: &RunRecord, name: &str, instead: Instead) -> Self {
        let recorded = PerfGate::recorded(&run.started.terms);
        let from = match &recorded {
            Some(gate) if gate.policy == Policy::Off => {
                format!("limits as {name} recorded them, which was held to nothing")
            }
            Some(_) => format!("policy and limits as {name} recorded them"),
            None => format!("the usual limits, since {name} recorded none"),
        };
        let mut usual = recorded.unwrap_or_default();
        if usual.policy == Policy::Off {
            usual.policy = Policy::default();
        }
        let given = instead.given();
        let raw = RawPerfGate {
            policy: instead.policy,
            limits: instead.limits,
            strict_environment: instead.strict_environment.then_some(true),
            ..RawPerfGate::default()
        };
        let from = if given.is_empty() { from } else { format!("{from}; given: {}", given.join(", ")) };
        Self { gate: raw.over(&usual), from }
    }

    /// `seed000: policy and limits as B recorded them`.
    pub fn text(&self) -> String {
        format!("{}: {}", self.gate.policy.as_str(), self.from)
    }
}

impl Instead {
    /// What of it is given, by its names.
    fn given(&self) -> Vec<&'static str> {
        let limits = &self.limits;
        let all = [
            ("policy", self.policy.is_some()),
            ("ttft p99", limits.ttft_p99.is_some()),
            ("e2e p99", limits.e2e_p99.is_some()),
            ("requests per second", limits.requests_per_second.is_some()),
            ("failure ratio", limits.failure_ratio.is_some()),
            ("strict environment", self.strict_environment),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}
