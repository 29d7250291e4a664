//! Loads that need not be measured any more: [`Beyond`] remembers at which load a workload was beyond its limits, and skips
//! higher ones. Must not know how a load is measured.
//!
//! 超出 SLO 后跳过更高负载。

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};
use st_harness::verdict::{Observation, Outcome, Reason};

use crate::perf::spec::{Slo, Spec, level_of};

/// What was found out in this run.
#[derive(Debug, Default)]
pub(super) struct Beyond(Mutex<Vec<Found>>);

/// A workload, its limits, and the lowest load that was beyond them.
#[derive(Debug)]
struct Found {
    workload: Map<String, Value>,
    slo: Slo,
    load: f64,
}

impl Beyond {
    /// Why `spec` need not be measured.
    pub(super) fn skips(&self, spec: &Spec) -> Option<Reason> {
        let slo = spec.slo.filter(|slo| slo.stop_beyond)?;
        let (workload, of, load) = level_of(&spec.workload_key())?;
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lower = found
            .iter()
            .find(|found| found.workload == workload && found.slo == slo && found.load < load)
            .map(|found| found.load)?;
        let summary = format!("{of} {lower} was beyond the limits of `slo` already, this is {load}");
        Some(Reason::new("beyond-slo", summary))
    }

    /// Takes what was measured. What is no measurement finds nothing out.
    pub(super) fn hears(&self, spec: &Spec, observation: &Observation) {
        let Some(slo) = spec.slo.filter(|slo| slo.stop_beyond) else { return };
        if !matches!(observation.outcome, Outcome::Passed | Outcome::Failed(_)) {
            return;
        }
        let is_it = |figure: &&st_harness::verdict::Measurement| figure.name == "goodput_ratio";
        let kept = observation.measurements.iter().find(is_it).and_then(|figure| figure.value);
        if let (Some(kept), Some((workload, _, load))) = (kept, level_of(&spec.workload_key()))
            && kept < slo.share
        {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Found { workload, slo, load });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{definitions::GOODPUT_RATIO, summary::measurement};

    fn spec(concurrency: u32, slo: &str) -> Spec {
        let text = format!(
            r#"{{"concurrency":{concurrency},"input_len":8,"output_len":4,"requests":{concurrency},"slo":{{"ttft":1{slo}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn kept(ratio: f64) -> Observation {
        let mut observation = Observation::new(Outcome::Passed);
        observation.measurements.push(measurement(&GOODPUT_RATIO, "value", Some(ratio), 10));
        observation
    }

    #[test]
    fn a_load_above_one_that_was_beyond_is_skipped_and_no_other() {
        let stop = r#","stop_beyond":true"#;
        let beyond = Beyond::default();
        beyond.hears(&spec(2, stop), &kept(0.95));
        assert!(beyond.skips(&spec(4, stop)).is_none());
        beyond.hears(&spec(4, stop), &kept(0.5));
        let reason = beyond.skips(&spec(8, stop)).expect("it is higher");
        assert_eq!(reason.summary, "concurrency 4 was beyond the limits of `slo` already, this is 8");
        assert!(beyond.skips(&spec(4, stop)).is_none() && beyond.skips(&spec(1, stop)).is_none());
        assert!(beyond.skips(&spec(8, "")).is_none(), "it was not asked for");
        assert!(
            beyond.skips(&spec(8, r#","stop_beyond":true,"share":0.4"#)).is_none(),
            "those are other limits"
        );
    }
}
