//! A gate over single trials: a [`TrialGate`] looks at a trial when its suite is done with it, and may decide it
//! otherwise, so that a regression is a red trial by name. The session asks it while the run goes on, and
//! [`decide_again`] asks it of a record that was read back: the same function, the same answer.
//! Must not know what is measured, nor what it is held against.
//!
//! 单个试验的门禁：回归直接表现为该试验失败。

use camino::Utf8Path;
use serde_json::Value;

use crate::{
    journal::{Event, RunRecord, TrialFinished, TrialState},
    verdict::{Note, Outcome, Reason, Verdict},
};

/// The member of a decision's numbers that names the kinds of its warnings.
const WARNINGS: &str = "warnings";

/// Decides trials that their suite has measured.
pub trait TrialGate: Send + Sync + 'static {
    /// Its name in the journal: `baseline`.
    fn name(&self) -> &'static str;

    /// Whether it has anything to say of trials of this kind.
    fn concerns(&self, kind: &str) -> bool;

    /// What it says of a trial that passed or failed; nothing where that is none of its business. The same answer
    /// for the same subject, whenever it is asked.
    fn rule(&self, subject: &Subject<'_>) -> Option<Ruling>;
}

/// What a gate is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The run as far as it is known: machine, server, run type.
    pub run: &'a RunRecord,
    /// The trial as its suite left it.
    pub trial: &'a TrialFinished,
    /// The folder that the trial's artifacts are named relative to.
    pub folder: &'a Utf8Path,
}

/// What a gate says of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    /// How the trial fares under it.
    pub outcome: Outcome,
    /// What it rests on, where that is no reason to fail: one line, shown beside the verdict.
    pub grounds: Option<Reason>,
    /// Warnings, told of the trial.
    pub notes: Vec<Note>,
    /// The numbers it was decided on: an object.
    pub numbers: Value,
}

/// Asks `gate` about `trial`, which its suite has just left, and changes it as the gate says. Gives the events
/// that tell of it, to be written before the trial's own.
pub fn decide(
    gate: &dyn TrialGate,
    run: &RunRecord,
    folder: &Utf8Path,
    trial: &mut TrialFinished,
) -> Vec<Event> {
    if !matches!(trial.verdict, Verdict::Passed | Verdict::Failed) || !gate.concerns(trial.trial_id.kind()) {
        return Vec::new();
    }
    let Some(ruling) = gate.rule(&Subject { run, trial, folder }) else { return Vec::new() };
    let (verdict, reasons) = ruling.outcome.into_verdict();
    if trial.verdict == Verdict::Passed {
        trial.verdict = verdict;
    }
    trial.reasons.extend(reasons.iter().cloned());
    let id = || Some(trial.trial_id.clone());
    let numbers = with_warnings(ruling.numbers, &ruling.notes);
    let mut events: Vec<Event> =
        ruling.notes.into_iter().map(|note| Event::Note { trial_id: id(), note }).collect();
    let reasons = reasons.into_iter().chain(ruling.grounds).collect();
    let gate = gate.name().to_owned();
    events.push(Event::GateDecided { gate, trial_id: id(), verdict, reasons, numbers });
    events
}

/// The kinds of a decision's warnings stand among its numbers, so that they can be taken back with it.
fn with_warnings(mut numbers: Value, notes: &[Note]) -> Value {
    if let (false, Value::Object(members)) = (notes.is_empty(), &mut numbers) {
        members.insert(WARNINGS.to_owned(), notes.iter().map(|note| note.kind.as_str()).collect());
    }
    numbers
}

/// Takes back what a gate of this name decided in `run`, and lets `gate` decide it anew.
pub fn decide_again(run: &mut RunRecord, gate: &dyn TrialGate, folder: &Utf8Path) {
    take_back(run, gate.name());
    let known = run.clone();
    for at in 0..run.trials.len() {
        let TrialState::Finished(trial) = &mut run.trials[at].state else { continue };
        for event in decide(gate, &known, folder, trial) {
            match event {
                Event::Note { note, .. } => run.trials[at].notes.push(note),
                decided => run.gates.push(decided),
            }
        }
    }
}

/// Every trial as its suite left it, without the gate's reasons and warnings.
fn take_back(run: &mut RunRecord, name: &str) {
    let is_its =
        |event: &Event| matches!(event, Event::GateDecided { gate, trial_id: Some(_), .. } if gate == name);
    let (its, others): (Vec<Event>, Vec<Event>) = run.gates.drain(..).partition(is_its);
    run.gates = others;
    for event in its {
        let Event::GateDecided { trial_id: Some(id), reasons, numbers, .. } = event else { continue };
        let Some(trial) = run.trials.iter_mut().find(|trial| *trial.id() == id) else { continue };
        let warned = numbers.get(WARNINGS).and_then(Value::as_array).cloned().unwrap_or_default();
        trial.notes.retain(|note| !warned.iter().any(|kind| kind == note.kind.as_str()));
        let TrialState::Finished(finished) = &mut trial.state else { continue };
        finished.reasons.retain(|reason| !reasons.contains(reason));
        finished.verdict = if finished.reasons.is_empty() { Verdict::Passed } else { Verdict::Failed };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        journal::{Status, sample},
        verdict::Reasons,
    };

    /// Fails what took longer than `ms`.
    struct Slow {
        ms: u64,
    }

    impl TrialGate for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn concerns(&self, kind: &str) -> bool {
            kind == "functional"
        }

        fn rule(&self, subject: &Subject<'_>) -> Option<Ruling> {
            let ms = subject.trial.duration_ns? / 1_000_000;
            let slow =
                || Reasons::one(Reason::new("slow", format!("expected at most {} ms, found {ms}", self.ms)));
            Some(Ruling {
                outcome: if ms > self.ms { Outcome::Failed(slow()) } else { Outcome::Passed },
                grounds: None,
                notes: vec![Note { kind: "timed".to_owned(), text: format!("{ms} ms") }],
                numbers: json!({"ms": ms}),
            })
        }
    }

    fn folder() -> &'static Utf8Path {
        Utf8Path::new("run")
    }

    fn run(verdict: Verdict, reasons: Vec<Reason>) -> RunRecord {
        sample::run_of(verdict, reasons)
    }

    fn decided(verdict: Verdict, reasons: Vec<Reason>, ms: u64) -> RunRecord {
        let mut run = run(verdict, reasons);
        decide_again(&mut run, &Slow { ms }, folder());
        run
    }

    #[test]
    fn a_gate_turns_a_green_trial_red_and_says_why() {
        let run = decided(Verdict::Passed, Vec::new(), 100);
        let trial = &run.trials[0];
        assert_eq!(trial.status(), Status::Failed);
        assert_eq!(trial.reasons()[0].summary, "expected at most 100 ms, found 120");
        assert_eq!(trial.notes[0].kind, "timed");
        let Event::GateDecided { trial_id, verdict, numbers, .. } = &run.gates[0] else { panic!("no gate") };
        assert_eq!((trial_id.as_ref(), *verdict), (Some(trial.id()), Verdict::Failed));
        assert_eq!(numbers["ms"], 120);
    }

    #[test]
    fn a_red_trial_stays_red_and_has_both_reasons() {
        let broken = Reason::new("status", "expected 200, found 500");
        assert_eq!(
            decided(Verdict::Failed, vec![broken.clone()], 1000).trials[0].reasons(),
            std::slice::from_ref(&broken)
        );
        assert_eq!(decided(Verdict::Failed, vec![broken], 100).trials[0].reasons().len(), 2);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        for verdict in [Verdict::Errored, Verdict::Invalid, Verdict::Skipped, Verdict::Inconclusive] {
            let run = decided(verdict, vec![Reason::new("why", "so")], 0);
            assert_eq!((run.trials[0].status(), run.gates.len()), (Status::from(verdict), 0));
        }
    }

    #[test]
    fn deciding_again_under_another_bound_leaves_nothing_of_the_first() {
        let mut run = decided(Verdict::Passed, Vec::new(), 100);
        decide_again(&mut run, &Slow { ms: 1000 }, folder());
        assert_eq!(run, decided(Verdict::Passed, Vec::new(), 1000));
        assert_eq!(run.trials[0].status(), Status::Passed);
    }
}
