//! Which scenarios run, and how much of each: [`Matrix`]. Must not run anything.
//!
//! 场景矩阵：哪些场景运行，运行哪些阶段。

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use st_harness::{diag::Problem, read::Origin};

use super::{check::Check, run_type::RunType, scenario::ModeName};

/// configs/matrix.yaml.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMatrix {
    /// What follows from a red scenario or stage, where a scenario does not say.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The one repository whose daily figures are pushed, `owner/name`: a copy of this file in a fork names it still.
    pub main_repository: Option<String>,
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

/// Which scenarios run, and how much of each.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    /// The one repository whose daily figures are pushed, `owner/name`.
    pub main_repository: Option<String>,
    on_failure: OnFailure,
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
        check.done(Some(Self { main_repository: raw.main_repository, on_failure: raw.on_failure, rows }))
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

    /// How much of `scenario` runs. A smoke run is everything, at its smallest, and is never pushed.
    pub fn plan(&self, scenario: &str, run_type: RunType) -> Plan {
        let row = self.rows.iter().find(|(name, _)| name == scenario).map(|(_, row)| row);
        match (run_type, row) {
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
                origin: Origin::default(),
            },
        }
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
        origin: origin.clone(),
    }
}
