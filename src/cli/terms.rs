//! The options by which runs that are over are held against each other: [`TermsArgs`], for `compare` and `report`.
//!
//! 回归限值选项。

use st_harness::journal::RunRecord;

use crate::{
    baseline::terms::{Instead, Terms},
    config::{Policy, RawLimits},
};

/// What is given instead of what the run recorded.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TermsArgs {
    /// What decides: seed000 or interval [default: as the run recorded]
    #[arg(long, value_name = "POLICY")]
    gate_policy: Option<String>,
    /// Rise of TTFT p99 that is too much: 0.1 is 10 % [default: as the run recorded, else 0.1]
    #[arg(long, value_name = "SHARE")]
    max_ttft_p99: Option<f64>,
    /// The same of the time to the last token, E2E p99 [default: as the run recorded, else 0.1]
    #[arg(long, value_name = "SHARE")]
    max_e2e_p99: Option<f64>,
    /// Fall of requests per second that is too much [default: as the run recorded, else 0.05]
    #[arg(long, value_name = "SHARE")]
    max_rps_fall: Option<f64>,
    /// Share of failed requests that is too much [default: as the run recorded, else 0.05]
    #[arg(long, value_name = "SHARE")]
    max_failure_ratio: Option<f64>,
    /// Compare only what was measured in the same circumstances
    #[arg(long)]
    strict_environment: bool,
}

impl TermsArgs {
    /// Whether any of them was given.
    pub(super) fn any(&self) -> bool {
        let limits = [self.max_ttft_p99, self.max_e2e_p99, self.max_rps_fall, self.max_failure_ratio];
        self.gate_policy.is_some() || self.strict_environment || limits.iter().any(Option::is_some)
    }

    /// By what `run`, which is called `name`, is held against others.
    pub(super) fn of(&self, run: &RunRecord, name: &str) -> Result<Terms, String> {
        let policy = self.gate_policy.as_deref().map(Policy::parse).transpose();
        let policy = policy.map_err(|said| format!("--gate-policy: {said}"))?;
        let limits = RawLimits {
            ttft_p99: self.max_ttft_p99,
            e2e_p99: self.max_e2e_p99,
            requests_per_second: self.max_rps_fall,
            failure_ratio: self.max_failure_ratio,
        };
        if let Some((name, said, most)) = limits.beyond_all_sense() {
            let flag =
                if name == "requests_per_second" { "rps-fall".to_owned() } else { name.replace('_', "-") };
            return Err(format!("--max-{flag}: expected a share from 0 to {most}, found {said}"));
        }
        Ok(Terms::of(run, name, Instead { policy, limits, strict_environment: self.strict_environment }))
    }
}
