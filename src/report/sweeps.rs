//! Levels of load of one workload side by side, and the highest of them that keeps its limits, the knee: [`sweeps`].
//! [`PerfSweeps`] writes them as `perf/sweeps.json`. Must not know how a level was measured.
//!
//! 负载级别对比与拐点（SLO 内的最高负载）。

use serde::Serialize;
use serde_json::{Map, Value};
use st_harness::{
    case::TrialId,
    journal::{RunRecord, TrialFinished, TrialState},
    report::{Document, Files, Report},
    verdict::Verdict,
};

use crate::perf::spec::level_of;

/// The levels of one workload, the lowest load first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// What they share.
    pub workload: Map<String, Value>,
    /// What differs: `concurrency` or `request_rate`.
    pub of: &'static str,
    /// The limits, in seconds, and the share of requests that must keep them.
    pub slo: Value,
    /// All that were measured.
    pub levels: Vec<Level>,
    /// The highest load that is within the limits, below the first that is beyond.
    pub knee: Option<TrialId>,
    /// Whether a level beyond the limits was measured: if not, the knee may lie higher.
    pub found: bool,
}

/// One load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// The trial that measured it.
    pub trial_id: TrialId,
    /// Requests in flight, or arrivals a second.
    pub load: f64,
    /// Share of requests within the limits.
    pub goodput_ratio: Option<f64>,
    /// Requests a second within the limits.
    pub goodput: Option<f64>,
    /// Whether that is enough; null where it could not be measured.
    pub within: Option<bool>,
}

/// The sweeps among some trials: workloads that were measured at several loads, with limits.
pub fn sweeps<'a>(trials: impl IntoIterator<Item = &'a TrialFinished>) -> Vec<Sweep> {
    let mut sweeps: Vec<Sweep> = Vec::new();
    for trial in trials {
        let Some((slo, level)) = level(trial) else { continue };
        let Some((workload, of, _)) = trial.workload.as_ref().and_then(|workload| level_of(&workload.key))
        else {
            continue;
        };
        match sweeps.iter_mut().find(|sweep| sweep.workload == workload && sweep.slo == slo) {
            Some(sweep) => sweep.levels.push(level),
            None => sweeps.push(Sweep { workload, of, slo, levels: vec![level], knee: None, found: false }),
        }
    }
    sweeps.retain(|sweep| sweep.levels.len() > 1);
    for sweep in &mut sweeps {
        sweep.levels.sort_by(|a, b| a.load.total_cmp(&b.load));
        let beyond = sweep.levels.iter().position(|level| level.within == Some(false));
        let below = &sweep.levels[..beyond.unwrap_or(sweep.levels.len())];
        sweep.knee =
            below.iter().rfind(|level| level.within == Some(true)).map(|level| level.trial_id.clone());
        sweep.found = beyond.is_some();
    }
    sweeps
}

fn level(trial: &TrialFinished) -> Option<(Value, Level)> {
    let slo = trial.details.as_ref()?.value.pointer("/spec/slo").filter(|slo| slo.is_object())?;
    let (_, _, load) = level_of(&trial.workload.as_ref()?.key)?;
    let told = matches!(trial.verdict, Verdict::Passed | Verdict::Failed | Verdict::Inconclusive);
    let figure = |name: &str| {
        let of = trial.measurements.iter().find(|figure| figure.name == name && figure.source == "client");
        of.filter(|_| told)?.value
    };
    let goodput_ratio = figure("goodput_ratio");
    let within = goodput_ratio.zip(slo["share"].as_f64()).map(|(kept, share)| kept >= share);
    let level =
        Level { trial_id: trial.trial_id.clone(), load, goodput_ratio, goodput: figure("goodput"), within };
    Some((slo.clone(), level))
}

impl Sweep {
    /// What to say of it below a table of levels.
    pub fn told(&self) -> String {
        let limits = ["ttft", "tpot", "e2e"]
            .iter()
            .filter_map(|name| Some(format!("{name} ≤ {} s", self.slo[*name].as_f64()?)));
        let share = self.slo["share"].as_f64().unwrap_or_default() * 100.0;
        let asked = format!("{share} % of requests with {}", limits.collect::<Vec<_>>().join(", "));
        let level = |id: &TrialId| self.levels.iter().find(|level| level.trial_id == *id);
        match self.knee.as_ref().and_then(level) {
            None => format!("no {} keeps {asked}", self.of),
            Some(level) if self.found => {
                format!("knee: {} {} is the highest that keeps {asked}", self.of, level.load)
            }
            Some(level) => {
                format!("every {} up to {} keeps {asked}: the knee lies higher", self.of, level.load)
            }
        }
    }
}

/// Writes `perf/sweeps.json`, where there is a sweep.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerfSweeps;

impl Report for PerfSweeps {
    fn name(&self) -> &'static str {
        "perf_sweeps"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let finished = run.trials.iter().filter_map(|trial| match &trial.state {
            TrialState::Finished(finished) if trial.planned.kind == "perf" => Some(&**finished),
            _ => None,
        });
        let sweeps = sweeps(finished);
        if sweeps.is_empty() {
            return Ok(Vec::new());
        }
        let text = serde_json::to_string_pretty(&sweeps).map_err(|error| error.to_string())?;
        Ok(vec![Document::new("perf/sweeps.json", text + "\n")])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;
    use st_harness::verdict::{Details, Measurement, Workload};

    use super::*;

    /// A level at `concurrency` that kept its limits for this share of its requests.
    pub(crate) fn at(concurrency: u32, kept: Option<f64>) -> TrialFinished {
        let figure = |name: &str, value: Option<f64>| Measurement {
            name: name.to_owned(),
            stat: "value".to_owned(),
            unit: String::new(),
            value,
            null_reason: None,
            n: 10,
            definition: String::new(),
            source: "client".to_owned(),
            labels: Map::new(),
        };
        let key = json!({"control_method": "fixed", "input_len": 8, "concurrency": concurrency});
        TrialFinished {
            trial_id: TrialId::new(format!("perf::pr::chat::c_{concurrency}")).unwrap(),
            attempt: 1,
            verdict: Verdict::Passed,
            reasons: Vec::new(),
            duration_ns: None,
            workload: key.as_object().map(|key| Workload { key: key.clone(), hash: String::new() }),
            seed: None,
            measurements: vec![
                figure("goodput_ratio", kept),
                figure("goodput", kept),
                figure("failure_ratio", Some(0.0)),
            ],
            details: Some(Details {
                schema: "perf/1".to_owned(),
                value: json!({"spec": {"slo": {"ttft": 0.5, "tpot": null, "e2e": null, "share": 0.9}}}),
            }),
            artifacts: Vec::new(),
        }
    }

    fn knee(levels: &[(u32, Option<f64>)]) -> (Option<String>, bool, String) {
        let trials: Vec<TrialFinished> = levels.iter().map(|(c, kept)| at(*c, *kept)).collect();
        let sweep = sweeps(&trials).remove(0);
        (sweep.knee.as_ref().map(|id| id.as_str().to_owned()), sweep.found, sweep.told())
    }

    #[test]
    fn the_knee_is_the_highest_load_below_the_first_beyond() {
        let (id, found, told) = knee(&[(8, Some(0.2)), (1, Some(1.0)), (4, Some(0.91)), (16, Some(0.95))]);
        assert_eq!((id.as_deref(), found), (Some("perf::pr::chat::c_4"), true));
        assert_eq!(told, "knee: concurrency 4 is the highest that keeps 90 % of requests with ttft ≤ 0.5 s");
    }

    #[test]
    fn without_a_level_beyond_the_knee_lies_higher_and_without_one_within_there_is_none() {
        let (id, found, told) = knee(&[(1, Some(1.0)), (2, Some(0.9))]);
        assert_eq!((id.as_deref(), found), (Some("perf::pr::chat::c_2"), false));
        assert!(told.ends_with("the knee lies higher"), "{told}");
        let (id, _, told) = knee(&[(1, Some(0.5)), (2, Some(0.4))]);
        assert_eq!((id, told.as_str()), (None, "no concurrency keeps 90 % of requests with ttft ≤ 0.5 s"));
    }

    #[test]
    fn what_was_not_measured_decides_nothing() {
        let (id, found, _) = knee(&[(1, Some(1.0)), (2, None), (4, Some(0.1))]);
        assert_eq!((id.as_deref(), found), (Some("perf::pr::chat::c_1"), true));
        let mut invalid = at(2, Some(1.0));
        invalid.verdict = Verdict::Invalid;
        assert_eq!(sweeps([&at(1, Some(1.0)), &invalid])[0].levels[1].within, None);
    }

    #[test]
    fn one_level_is_no_sweep_and_other_workloads_are_another() {
        let mut other = at(2, Some(1.0));
        other.workload.as_mut().unwrap().key.insert("input_len".to_owned(), 16.into());
        assert_eq!(sweeps([&at(1, Some(1.0)), &other]), []);
    }
}
