//! Two runs side by side: [`Comparison`], of whatever trials both of them measured. Calls the same
//! [`decide`](super::decide) as the gate. Must not read a run.
//!
//! 两次运行的并排对比。

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use serde_json::Value;
use st_harness::journal::{RunRecord, Status, TrialRecord};

use super::{
    Decision, Difference, Evidence, Finding, decide,
    differ::differences,
    evidence::RunFacts,
    show::{percent, value},
    terms::Terms,
};
use crate::config::PerfGate;

/// Two runs side by side.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// In one word: the worst of its performance trials.
    pub finding: Finding,
    /// The two runs.
    pub runs: [RunName; 2],
    /// By what they are compared.
    pub terms: Terms,
    /// In what their circumstances differ.
    pub differs: Vec<Difference>,
    /// Performance trials of the same workload.
    pub perf: Vec<Pair>,
    /// Accuracy trials of the same name.
    pub accuracy: Vec<Score>,
    /// Trials that ended otherwise.
    pub changed: Vec<Changed>,
    /// Trials of only one of the two: how many.
    pub alone: [usize; 2],
}

/// What a run is called.
#[derive(Debug, Serialize)]
pub struct RunName {
    run_id: String,
    scenario: String,
    run_type: String,
    commit: Option<String>,
    started_at: jiff::Timestamp,
    /// The one word for it.
    status: Status,
}

/// A workload that both have measured.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// The trial in the second run.
    pub trial_id: String,
    /// What is found of it.
    pub finding: Finding,
    /// Why nothing was decided, where that is so.
    pub refused: Option<String>,
    /// Figure by figure.
    pub rows: Vec<super::Row>,
}

/// An accuracy trial that both have scored.
#[derive(Debug, Serialize)]
pub struct Score {
    trial_id: String,
    before: Option<f64>,
    now: Option<f64>,
    /// Whether their 95 % intervals have nothing in common; null where one has none.
    beyond_chance: Option<bool>,
}

/// A trial that ended otherwise.
#[derive(Debug, Serialize)]
pub struct Changed {
    trial_id: String,
    before: Status,
    now: Status,
}

/// A run, its record and the evidence of its performance trials.
pub struct Run {
    /// The record.
    pub record: RunRecord,
    /// With their requests, where the policy asks for them.
    pub evidence: Vec<Evidence>,
}

impl Comparison {
    /// Holds `now` against `before`.
    pub fn of(terms: Terms, before: &Run, now: &Run) -> Self {
        let perf: Vec<Pair> = now.evidence.iter().filter_map(|one| pair(&terms.gate, before, one)).collect();
        let ours = by_id(&before.record);
        let theirs = by_id(&now.record);
        let alone = |one: &BTreeMap<&str, &TrialRecord>, other: &BTreeMap<&str, &TrialRecord>| {
            one.keys().filter(|id| !other.contains_key(*id)).count()
        };
        Self {
            finding: perf.iter().map(|pair| pair.finding).min().unwrap_or(Finding::NoBaseline),
            runs: [name(&before.record), name(&now.record)],
            terms,
            differs: differences(&RunFacts::of(&before.record), &RunFacts::of(&now.record)),
            perf,
            accuracy: scores(&ours, &now.record),
            changed: changed(&ours, &now.record),
            alone: [alone(&ours, &theirs), alone(&theirs, &ours)],
        }
    }

    /// For a terminal, within 80 columns but for long names.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (side, run) in ["A", "B"].iter().zip(&self.runs) {
            let commit = run.commit.as_deref().map(|hash| format!(" · {}", &hash[..hash.len().min(12)]));
            let _ = writeln!(
                text,
                "{side}  {} · {} · {}{} · {}",
                run.scenario,
                run.run_type,
                run.started_at.strftime("%F %H:%M"),
                commit.unwrap_or_default(),
                run.status.word()
            );
        }
        let _ = writeln!(text, "by {}", self.terms.text());
        for difference in &self.differs {
            let _ = writeln!(text, "   differs: {}", difference.text());
        }
        for pair in &self.perf {
            let _ = writeln!(text, "\n{}  {}", pair.trial_id, pair.finding.word());
            if let Some(why) = &pair.refused {
                let _ = writeln!(text, "  {why}");
            }
            for row in &pair.rows {
                text.push_str(&row_text(row));
            }
        }
        for score in &self.accuracy {
            let beyond = match score.beyond_chance {
                Some(true) => "beyond chance",
                Some(false) => "within chance",
                None => "",
            };
            let _ = writeln!(
                text,
                "\n{}\n  {:<20} {:>12} {:>12} {beyond:>24}",
                score.trial_id,
                "score",
                value(score.before, "ratio"),
                value(score.now, "ratio")
            );
        }
        if !self.changed.is_empty() {
            let _ = writeln!(text, "\nended otherwise:");
        }
        for changed in &self.changed {
            let _ = writeln!(
                text,
                "  {:<12} → {:<12} {}",
                changed.before.word(),
                changed.now.word(),
                changed.trial_id
            );
        }
        let [a, b] = self.alone;
        let _ = writeln!(text, "\n{}; only in A: {a} trials, only in B: {b}", self.headline());
        text
    }

    fn headline(&self) -> String {
        match self.perf.len() {
            0 => "no workload was measured by both".to_owned(),
            n => format!("{n} workloads compared: {}", self.finding.word()),
        }
    }
}

fn row_text(row: &super::Row) -> String {
    let mut text = format!(
        "  {:<20} {:>12} {:>12} {:>9} {:>7}  {}\n",
        row.figure.name(),
        value(row.before, row.unit),
        value(row.now, row.unit),
        row.change.map(percent).unwrap_or_default(),
        if row.change.is_some() { row.limit_text() } else { String::new() },
        row.finding.word(),
    );
    if let Some(interval) = row.interval {
        let _ = writeln!(
            text,
            "  {:<20} from {} to {}; {} would show",
            "",
            percent(interval.low),
            percent(interval.high),
            percent(interval.detectable)
        );
    }
    if let Some(doubt) = &row.doubt {
        let _ = writeln!(text, "  {:<20} {doubt}", "");
    }
    text
}

fn pair(gate: &PerfGate, before: &Run, now: &Evidence) -> Option<Pair> {
    let earlier = before.evidence.iter().rev().find(|one| one.workload == now.workload)?;
    let Decision { finding, rows, refused, .. } = decide(gate, &[earlier], now);
    Some(Pair { trial_id: now.trial_id.clone(), finding, refused, rows })
}

fn name(run: &RunRecord) -> RunName {
    RunName {
        run_id: run.started.run_id.clone(),
        scenario: run.started.scenario.clone(),
        run_type: run.started.run_type.clone(),
        commit: run.started.git.as_ref().map(|git| git.commit.clone()),
        started_at: run.started_at,
        status: run.status(),
    }
}

fn by_id(run: &RunRecord) -> BTreeMap<&str, &TrialRecord> {
    run.trials.iter().map(|trial| (trial.id().as_str(), trial)).collect()
}

fn changed(before: &BTreeMap<&str, &TrialRecord>, now: &RunRecord) -> Vec<Changed> {
    let of = |trial: &TrialRecord| {
        let earlier = before.get(trial.id().as_str())?.status();
        let changed = Changed { trial_id: trial.id().to_string(), before: earlier, now: trial.status() };
        (earlier != trial.status()).then_some(changed)
    };
    now.trials.iter().filter_map(of).collect()
}

/// What accuracy trials of the same name say of their score.
fn scores(before: &BTreeMap<&str, &TrialRecord>, now: &RunRecord) -> Vec<Score> {
    let details = |trial: &TrialRecord| Some(trial.finished()?.details.as_ref()?.value.clone());
    let score = |details: &Value| details["accuracy"]["score"].as_f64();
    let bounds = |details: &Value| {
        let bounds = &details["interval"]["bounds"];
        Some((bounds["low"].as_f64()?, bounds["high"].as_f64()?))
    };
    let of = |trial: &TrialRecord| {
        let (ours, theirs) = (details(before.get(trial.id().as_str())?)?, details(trial)?);
        let beyond = bounds(&ours).zip(bounds(&theirs));
        Some(Score {
            trial_id: trial.id().to_string(),
            before: score(&ours),
            now: score(&theirs),
            beyond_chance: beyond.map(|(one, other)| one.1 < other.0 || other.1 < one.0),
        })
    };
    now.trials.iter().filter(|trial| trial.planned.kind == "accuracy").filter_map(of).collect()
}
