//! What a run would do: [`Preview`], from configuration, cases and earlier runs alone. Must not ask a server.
//!
//! 运行计划：阶段、试验数量、门禁与推送。

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use st_harness::{args::Filter, diag::Problem, session::Foreseen};

use crate::{
    assemble::{Assembly, Door, Prepared},
    config::{Environment, Flags, OnFailure, Policy, RunType, Settings},
};

/// What a run would do.
#[derive(Debug, Serialize)]
pub struct Preview {
    scenario: String,
    about: Option<String>,
    run_type: &'static str,
    label: &'static str,
    server: Value,
    stages: Vec<Stage>,
    gates: Vec<String>,
    baseline: String,
    on_failure: &'static str,
    push: String,
    /// Where it would leave its files, but for its id.
    folder: String,
}

/// All trials of a kind.
#[derive(Debug, Serialize)]
struct Stage {
    name: &'static str,
    runs: bool,
    limit_s: Option<f64>,
    suites: Vec<Suite>,
}

#[derive(Debug, Serialize)]
struct Suite {
    name: String,
    trials: usize,
    skipped: usize,
}

impl Preview {
    /// Of the run that `flags` and `environment` ask for.
    ///
    /// # Errors
    /// Every mistake of every file, flag and variable.
    pub fn of(
        assembly: Assembly,
        flags: &Flags,
        environment: &Environment,
        door: Door,
        filter: &Filter,
    ) -> Result<Self, Vec<Problem>> {
        let Prepared { session, settings, baseline } = assembly.prepared(flags, environment, door)?;
        let trials = session.foresee(filter)?;
        let plan = &settings.plan;
        let limit = |kind: &str| {
            plan.stage_limits.by_kind().find(|(name, _)| *name == kind).map(|(_, limit)| limit.as_secs_f64())
        };
        let stage = |name, runs| Stage { name, runs, limit_s: limit(name), suites: suites(&trials, name) };
        let gates = trials.iter().filter(|trial| trial.planned.kind == "gate");
        Ok(Self {
            scenario: settings.scenario.name.clone(),
            about: settings.scenario.about.clone(),
            run_type: settings.run_type.as_str(),
            label: settings.run_type.label(),
            server: st_harness::fixture::Fixture::requested(session.fixture()),
            stages: vec![
                stage("functional", plan.functional),
                stage("accuracy", plan.accuracy),
                stage("perf", plan.perf),
            ],
            gates: gates.map(|gate| gate.planned.trial_id.to_string()).collect(),
            baseline: baseline_text(&settings, baseline.as_deref()),
            on_failure: match plan.on_failure {
                OnFailure::Continue => "continue",
                OnFailure::StopScenario => "stop_scenario",
                OnFailure::StopAll => "stop_all",
            },
            push: push_text(&settings, flags),
            folder: session.folder().to_string(),
        })
        .map(|preview| preview.masked(session.plan()))
    }

    /// What stands in it of a server's address passes the redactor as everything else does.
    fn masked(mut self, plan: &st_harness::session::Plan) -> Self {
        self.server = plan.redactor.redact_value(self.server);
        self
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<11} {value}");
        };
        let about = self.about.as_deref().map(|about| format!(": {about}")).unwrap_or_default();
        line("scenario", &format!("{}{about}", self.scenario));
        line("run type", &format!("{} (labelled {})", self.run_type, self.label));
        line("server", &server_text(&self.server));
        for stage in &self.stages {
            line(stage.name, &stage.text());
            for suite in stage.suites.iter().filter(|_| stage.runs) {
                let skipped = match suite.skipped {
                    0 => String::new(),
                    n => format!(", {n} of them skipped by declaration"),
                };
                line("", &format!("  {:<18} {:>4} trials{skipped}", suite.name, suite.trials));
            }
        }
        line(
            "gates",
            &if self.gates.is_empty() { "none over the run".to_owned() } else { self.gates.join(", ") },
        );
        line("baseline", &self.baseline);
        line("on failure", self.on_failure);
        line("push", &self.push);
        line("files", &self.folder);
        text
    }
}

impl Stage {
    fn text(&self) -> String {
        let trials: usize = self.suites.iter().map(|suite| suite.trials).sum();
        let limit = self.limit_s.map(|s| format!(", at most {s} s")).unwrap_or_default();
        match self.runs {
            true => format!("{trials} trials{limit}"),
            false => "left out by configs/matrix.yaml".to_owned(),
        }
    }
}

fn suites(trials: &[Foreseen], kind: &str) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    for trial in trials.iter().filter(|trial| trial.planned.kind == kind) {
        let name = &trial.planned.suite;
        let at = suites.iter().position(|suite| suite.name == *name).unwrap_or_else(|| {
            suites.push(Suite { name: name.clone(), trials: 0, skipped: 0 });
            suites.len() - 1
        });
        suites[at].trials += 1;
        suites[at].skipped += usize::from(trial.skip.is_some());
    }
    suites
}

fn server_text(requested: &Value) -> String {
    let told =
        |key: &str| requested[key].as_str().map(|value| format!(", {key} {value}")).unwrap_or_default();
    format!(
        "mode {}{}{}{}",
        requested["mode"].as_str().unwrap_or("unknown"),
        told("base_url"),
        told("served_model_name"),
        told("quant")
    )
}

fn baseline_text(settings: &Settings, baseline: Option<&crate::baseline::runs::Runs>) -> String {
    let gate = &settings.perf_gate;
    let effect = match settings.run_type {
        RunType::Daily => "a regression is a warning",
        RunType::Smoke | RunType::Pr => "a regression is red",
    };
    match (gate.policy, baseline) {
        (Policy::Off, _) => "off".to_owned(),
        (_, None) => "nothing is compared: a smoke run has none".to_owned(),
        (policy, Some(runs)) => match runs.latest() {
            None => format!("policy {}: no daily run of this scenario is at hand", policy.as_str()),
            Some((at, id)) => format!(
                "policy {}: {} daily runs, the latest of {at} ({id}); {effect}",
                policy.as_str(),
                runs.len()
            ),
        },
    }
}

/// Whether figures would be pushed, and why not.
fn push_text(settings: &Settings, flags: &Flags) -> String {
    match (settings.run_type, &settings.pushgateway_url) {
        (RunType::Smoke | RunType::Pr, _) => "no: only daily runs are pushed",
        _ if flags.dry_run => "no: --dry-run",
        _ if !settings.plan.push => "no: configs/matrix.yaml says so",
        (RunType::Daily, None) => "no: PROM_PUSHGATEWAY_URL is not set",
        (RunType::Daily, Some(_)) => "yes, to PROM_PUSHGATEWAY_URL",
    }
    .to_owned()
}
