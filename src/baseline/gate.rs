//! The gate that a session asks of every measured trial: [`Baseline`]. What a regression means for a verdict is
//! said here: on a change it is red, on a daily run a warning. Must not compare: [`decide`] does.
//!
//! | found | on a change | daily |
//! |---|---|---|
//! | regression, too many failures | failed | passed, with a warning |
//! | an unoptimised client, on either side | invalid | passed, with a warning |
//! | inconclusive, refused by `strict_environment` | inconclusive; failed under `inconclusive: fail` | passed, with a warning |
//! | no baseline | passed, with a warning | passed, with a warning |
//!
//! Accuracy is held against it by [`score`](super::score), under the same name.
//!
//! 基线门禁（性能与精度）。

use std::sync::Arc;

use camino::Utf8Path;
use serde_json::{Value, json};
use st_harness::{
    diag::Problem,
    gate::{Ruling, Subject, TrialGate},
    verdict::{Note, Outcome, Reason, Reasons},
};

use super::{Decision, Evidence, Finding, decide, runs::Runs, score};
use crate::config::{Inconclusive, PerfGate, Policy};

/// Holds every performance and accuracy trial against the latest daily run of the same scenario and workload.
#[derive(Debug, Clone)]
pub struct Baseline {
    gate: PerfGate,
    enforced: bool,
    runs: Arc<Runs>,
}

impl Baseline {
    /// Its name in the journal.
    pub const NAME: &str = "baseline";

    /// Reads the earlier runs at `place`; one that is not there holds none. `enforced` says whether a regression is
    /// red: on a daily run it is a warning.
    ///
    /// # Errors
    /// When `place` is there and cannot be read.
    pub fn open(
        gate: PerfGate,
        place: &Utf8Path,
        scenario: &str,
        enforced: bool,
    ) -> Result<Self, Vec<Problem>> {
        let unreadable =
            |error| {
                vec![Problem::new(format!("the baseline cannot be read: {error}")).with_help(
                    "--baseline names a folder of runs, the folder of one run, or its journal.jsonl",
                )]
            };
        let runs =
            if place.exists() { Runs::read(place, scenario).map_err(unreadable)? } else { Runs::default() };
        Ok(Self { gate, enforced, runs: Arc::new(runs) })
    }

    /// The runs that it holds others against.
    pub fn runs(&self) -> Arc<Runs> {
        Arc::clone(&self.runs)
    }

    fn outcome(&self, decision: &Decision) -> Outcome {
        let reasons = || {
            let regressed = decision.rows.iter().filter(|row| row.finding == Finding::Regression);
            let reasons: Vec<Reason> = regressed.map(|row| Reason::new("regression", row.text())).collect();
            Reasons::from_vec(reasons)
        };
        let why = || decision.refused.clone().or_else(|| decision.doubts_line()).unwrap_or_default();
        match decision.finding {
            _ if !self.enforced => Outcome::Passed,
            Finding::Pass | Finding::NoBaseline => Outcome::Passed,
            Finding::Regression => reasons().map_or(Outcome::Passed, Outcome::Failed),
            Finding::Refused => {
                Outcome::Invalid(Reasons::one(Reason::new("unoptimised-client", why()).with_detail(
                    "Measure with an optimised build: `cargo test --profile st --test st -- perf::`.",
                )))
            }
            Finding::Inconclusive => {
                let reasons = Reasons::one(Reason::new("baseline-inconclusive", why()));
                match self.gate.inconclusive {
                    Inconclusive::Warn => Outcome::Inconclusive(reasons),
                    Inconclusive::Fail => Outcome::Failed(reasons),
                }
            }
        }
    }

    /// What is told of the trial whatever its verdict is.
    fn warnings(&self, decision: &Decision) -> Vec<Note> {
        let note = |kind: &str, text: String| Note { kind: kind.to_owned(), text };
        let mut notes = Vec::new();
        match decision.finding {
            Finding::NoBaseline => notes.push(note("no-baseline", self.no_baseline())),
            Finding::Regression if !self.enforced => notes.push(note("regression", decision.line())),
            Finding::Refused | Finding::Inconclusive if !self.enforced => {
                let why = decision.refused.clone().or_else(|| decision.doubts_line()).unwrap_or_default();
                notes.push(note("baseline-inconclusive", why));
            }
            _ => {}
        }
        if let (Policy::Seed000, Some(doubts)) = (self.gate.policy, decision.doubts_line()) {
            notes.push(note("low-confidence", doubts));
        }
        notes.extend(decision.differs_line().map(|differs| note("baseline-differs", differs)));
        notes
    }

    fn no_baseline(&self) -> String {
        let unusable = match self.runs.unusable.as_slice() {
            [] => String::new(),
            [only] => format!("; not used: {only}"),
            [first, rest @ ..] => format!("; not used: {first} (and {} more)", rest.len()),
        };
        let held = match self.runs.len() {
            0 => "there is no daily run of this scenario".to_owned(),
            n => format!("none of {n} daily runs measured this workload"),
        };
        format!("{held}, so nothing is compared{unusable}")
    }

    /// `baseline/1`.
    fn numbers(&self, decision: &Decision, baseline: Option<&Evidence>) -> Value {
        json!({
            "schema": "baseline/1",
            "policy": self.gate.policy,
            "enforced": self.enforced,
            "finding": decision.finding,
            "refused": decision.refused,
            "baseline": baseline.map(|one| json!({
                "run_id": one.run.run_id,
                "started_at": one.run.started_at,
                "commit": one.run.commit,
                "trial_id": one.trial_id,
                "runs": self.runs.len(),
            })),
            "rows": decision.rows,
            "differs": decision.differs,
        })
    }
}

impl TrialGate for Baseline {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn concerns(&self, kind: &str) -> bool {
        match kind {
            "perf" => self.gate.policy != Policy::Off,
            other => other == score::KIND,
        }
    }

    fn rule(&self, subject: &Subject<'_>) -> Option<Ruling> {
        if subject.trial.trial_id.kind() == score::KIND {
            return score::rule(&self.runs, self.enforced, subject);
        }
        let with_samples = self.gate.policy == Policy::Interval;
        // Point values are held against one run; what differs from run to run takes many.
        let most = if with_samples { usize::MAX } else { 1 };
        let now = Evidence::of(subject.run, subject.trial)?;
        let now = if with_samples { now.with_samples(subject.trial, subject.folder) } else { now };
        let before = self.runs.evidence(&now.workload, subject.run.started_at, most, with_samples);
        let before: Vec<&Evidence> = before.iter().collect();
        let decision = decide(&self.gate, &before, &now);
        Some(Ruling {
            outcome: self.outcome(&decision),
            grounds: Some(Reason::new(Self::NAME, decision.line())),
            notes: self.warnings(&decision),
            numbers: self.numbers(&decision, before.first().copied()),
        })
    }
}
