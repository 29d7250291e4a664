//! Which scenarios run, and how much of each: [`Matrix`]. Must not run anything.
//!
//! 场景矩阵：哪些场景运行，运行哪些阶段。

use std::{collections::BTreeMap, fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use st_harness::{diag::Problem, read::Origin};

use super::{
    check::Check,
    gates::{PerfGate, RawPerfGate},
    run_type::RunType,
    scenario::ModeName,
};

/// configs/matrix.yaml.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMatrix {
    /// What follows from a red scenario or stage, where a scenario does not say.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The one repository whose daily figures are pushed, `owner/name`: a copy of this file in a fork names it still.
    pub main_repository: Option<String>,
    /// How long a stage may take, where a scenario does not say.
    #[serde(default)]
    pub stage_limits: RawLimitsByType,
    /// How performance is held against the latest daily run, where a scenario does not say.
    #[serde(default)]
    pub perf_gate: RawPerfGate,
    /// By name. A scenario that is not listed takes no part in `run-matrix`; run by itself it runs all stages.
    #[serde(default, deserialize_with = "in_order")]
    #[schemars(with = "BTreeMap<String, RawRow>")]
    pub scenarios: Vec<(String, RawRow)>,
}

/// A mapping, in the order of the file: that is the order of a run.
fn in_order<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, RawRow)>, D::Error> {
    struct InOrder;
    impl<'de> de::Visitor<'de> for InOrder {
        type Value = Vec<(String, RawRow)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of scenarios")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut rows = Vec::new();
            while let Some(row) = map.next_entry()? {
                rows.push(row);
            }
            Ok(rows)
        }
    }
    from.deserialize_map(InOrder)
}

/// One scenario.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRow {
    /// For a change.
    #[serde(default)]
    pub pr: RawCell,
    /// For every night.
    #[serde(default)]
    pub daily: RawCell,
}

/// One scenario in one run type.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCell {
    /// Whether `run-matrix` runs it. Default: yes, but on a change no scenario of a cluster.
    pub enabled: Option<bool>,
    /// Run the functional suites.
    #[serde(default = "yes")]
    pub functional: bool,
    /// Measure.
    #[serde(default = "yes")]
    pub perf: bool,
    /// Score.
    #[serde(default = "yes")]
    pub accuracy: bool,
    /// Push the figures. Only ever done for `daily`, where it is the default.
    pub push: Option<bool>,
    /// Files in cases/functional/, without `.yaml`. Default: all.
    pub functional_suites: Option<Vec<String>>,
    /// What follows from a red scenario or stage.
    pub on_failure: Option<OnFailure>,
    /// How long a stage may take.
    #[serde(default)]
    pub stage_limits: StageLimits,
}

/// How long a stage may take, by run type.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLimitsByType {
    /// For a change.
    #[serde(default)]
    pub pr: StageLimits,
    /// For every night.
    #[serde(default)]
    pub daily: StageLimits,
}

/// How long a stage may take, from its first trial on: `30m`. What is not said is not limited. What runs then is
/// stopped, what would come is left out, and the reports are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageLimits {
    /// The functional suites.
    #[serde(default, deserialize_with = "st_harness::read::duration::option::deserialize")]
    #[schemars(with = "Option<String>")]
    pub functional: Option<Duration>,
    /// Measuring.
    #[serde(default, deserialize_with = "st_harness::read::duration::option::deserialize")]
    #[schemars(with = "Option<String>")]
    pub perf: Option<Duration>,
    /// Scoring.
    #[serde(default, deserialize_with = "st_harness::read::duration::option::deserialize")]
    #[schemars(with = "Option<String>")]
    pub accuracy: Option<Duration>,
}

impl StageLimits {
    fn or(self, otherwise: Self) -> Self {
        Self {
            functional: self.functional.or(otherwise.functional),
            perf: self.perf.or(otherwise.perf),
            accuracy: self.accuracy.or(otherwise.accuracy),
        }
    }

    /// By the kind of a stage's trials.
    pub fn by_kind(self) -> impl Iterator<Item = (&'static str, Duration)> {
        let all = [("functional", self.functional), ("perf", self.perf), ("accuracy", self.accuracy)];
        all.into_iter().filter_map(|(kind, limit)| Some((kind, limit?)))
    }
}

fn yes() -> bool {
    true
}

impl Default for RawCell {
    /// As a cell without any key.
    fn default() -> Self {
        Self {
            enabled: None,
            functional: true,
            perf: true,
            accuracy: true,
            push: None,
            functional_suites: None,
            on_failure: None,
            stage_limits: StageLimits::default(),
        }
    }
}

/// What follows from a red stage or scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing: the next stage and the next scenario run.
    #[default]
    Continue,
    /// The scenario's later stages are left out.
    StopScenario,
    /// Everything later is left out.
    StopAll,
}

impl OnFailure {
    /// What `text` names.
    ///
    /// # Errors
    /// What was expected instead, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "continue" => Ok(Self::Continue),
            "stop_scenario" => Ok(Self::StopScenario),
            "stop_all" => Ok(Self::StopAll),
            other => Err(format!("expected `continue`, `stop_scenario` or `stop_all`, found `{other}`")),
        }
    }
}

/// Which scenarios run, and how much of each.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    /// The one repository whose daily figures are pushed, `owner/name`.
    pub main_repository: Option<String>,
    on_failure: OnFailure,
    limits: RawLimitsByType,
    perf_gate: PerfGate,
    rows: Vec<(String, Row)>,
}

#[derive(Debug, Clone)]
struct Row {
    pr: Plan,
    daily: Plan,
}

/// How much of one scenario runs in one run type.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whether `run-matrix` runs it. Whoever names the scenario runs it anyway.
    pub enabled: bool,
    /// Run the functional suites.
    pub functional: bool,
    /// Measure.
    pub perf: bool,
    /// Score.
    pub accuracy: bool,
    /// Push the figures.
    pub push: bool,
    /// Which functional suites; nothing: all.
    pub functional_suites: Option<Vec<SuiteName>>,
    /// What follows from a red stage or scenario.
    pub on_failure: OnFailure,
    /// How long its stages may take.
    pub stage_limits: StageLimits,
    /// The matrix's file.
    pub origin: Origin,
}

/// A functional suite that somebody listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteName {
    /// The file in cases/functional/, without `.yaml`.
    pub name: String,
    /// Where it was listed: a pointer into the matrix's file.
    pub pointer: String,
}

impl Matrix {
    /// What `raw` says of `scenarios`, which are all there are.
    ///
    /// # Errors
    /// All that does not hold together, each with its place.
    pub fn read(
        raw: RawMatrix,
        origin: &Origin,
        scenarios: &[(&str, ModeName)],
    ) -> Result<Self, Vec<Problem>> {
        let mut check = Check::new(origin);
        let names: Vec<&str> = scenarios.iter().map(|(name, _)| *name).collect();
        let mut rows = Vec::new();
        raw.perf_gate.check(&mut check, "/perf_gate");
        for (name, row) in raw.scenarios {
            let pointer = format!("/scenarios/{}", name.replace('~', "~0").replace('/', "~1"));
            if !check.known_key(&pointer, "scenario", &name, &names) {
                continue;
            }
            let k8s = scenarios.iter().any(|(known, mode)| *known == name && mode.is_k8s());
            if row.pr.push == Some(true) {
                check.at(
                    &format!("{pointer}/pr/push"),
                    "only daily runs are pushed: expected `false` or nothing",
                );
            }
            let pr = plan(row.pr, !k8s, false, raw.on_failure, origin, &format!("{pointer}/pr"));
            let daily = plan(row.daily, true, true, raw.on_failure, origin, &format!("{pointer}/daily"));
            rows.push((name, Row { pr, daily }));
        }
        if let Some(name) = &raw.main_repository
            && !matches!(name.split('/').collect::<Vec<_>>()[..], [owner, name] if !owner.is_empty() && !name.is_empty())
        {
            check.at("/main_repository", format!("expected `owner/name`, found `{name}`"));
        }
        check.done(Some(Self {
            main_repository: raw.main_repository,
            on_failure: raw.on_failure,
            limits: raw.stage_limits,
            perf_gate: raw.perf_gate.over(&PerfGate::default()),
            rows,
        }))
    }

    /// The scenarios that `run-matrix` runs, in the file's order. A daily run includes whatever a change runs, so
    /// that each of its figures finds one to be compared with.
    pub fn enabled(&self, run_type: RunType) -> impl Iterator<Item = &str> {
        let runs = move |row: &Row| match run_type {
            RunType::Smoke | RunType::Pr => row.pr.enabled,
            RunType::Daily => row.daily.enabled || row.pr.enabled,
        };
        self.rows.iter().filter(move |(_, row)| runs(row)).map(|(name, _)| name.as_str())
    }

    /// How performance is held against the latest daily run, where a scenario does not say.
    pub fn perf_gate(&self) -> &PerfGate {
        &self.perf_gate
    }

    /// How much of `scenario` runs. A smoke run is everything, at its smallest, and is never pushed.
    pub fn plan(&self, scenario: &str, run_type: RunType) -> Plan {
        let row = self.rows.iter().find(|(name, _)| name == scenario).map(|(_, row)| row);
        let limits = match run_type {
            RunType::Smoke | RunType::Pr => self.limits.pr,
            RunType::Daily => self.limits.daily,
        };
        let plan = match (run_type, row) {
            (RunType::Pr, Some(row)) => row.pr.clone(),
            (RunType::Daily, Some(row)) => row.daily.clone(),
            (RunType::Smoke, _) | (_, None) => Plan {
                enabled: row.is_some_and(|row| row.pr.enabled),
                functional: true,
                perf: true,
                accuracy: true,
                push: run_type == RunType::Daily,
                functional_suites: None,
                on_failure: self.on_failure,
                stage_limits: StageLimits::default(),
                origin: Origin::default(),
            },
        };
        Plan { stage_limits: plan.stage_limits.or(limits), ..plan }
    }
}

fn plan(
    cell: RawCell,
    enabled: bool,
    push: bool,
    on_failure: OnFailure,
    origin: &Origin,
    pointer: &str,
) -> Plan {
    let suites = cell.functional_suites.map(|names| {
        let each = names.into_iter().enumerate();
        each.map(|(i, name)| SuiteName { name, pointer: format!("{pointer}/functional_suites/{i}") })
            .collect()
    });
    Plan {
        enabled: cell.enabled.unwrap_or(enabled),
        functional: cell.functional,
        perf: cell.perf,
        accuracy: cell.accuracy,
        push: cell.push.unwrap_or(push),
        functional_suites: suites,
        on_failure: cell.on_failure.unwrap_or(on_failure),
        stage_limits: cell.stage_limits,
        origin: origin.clone(),
    }
}
