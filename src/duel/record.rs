//! What a comparison leaves: [`Record`], a run folder like any other. Each block is a trial, what they came to is a gate
//! over the run, and every report is made of the journal at the end, or again by `report`. Must not know how a block is
//! measured, nor how blocks are judged.
//!
//! 对比过程的日志与报告，与普通运行同构。

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value, json};
use st_harness::{
    capability::Capabilities,
    case::{ExpandedCase, TrialId},
    environment,
    fixture::Fixture as _,
    folder::RunFolder,
    journal::{Event, Journal, Planned, RunFinished, RunStarted, TrialFinished},
    report::Files,
    suite::Suite,
    verdict::{Observation, Outcome, Reason, Reasons},
};

use super::{Duel, Round, Told};
use crate::{assemble, baseline::ab::Side, client::Target, perf::Perf, report, server::Server};

/// What such a run is called, as a scenario and as a run type: no baseline is ever looked for among these.
const NAME: &str = "compare";
/// What the blocks came to, as a trial.
const GATE: &str = "gate::compare";

/// The run folder of a comparison.
pub(super) struct Record {
    journal: Journal,
    folder: Arc<RunFolder>,
    /// What each side's server said of itself.
    effective: Mutex<Map<String, Value>>,
}

impl Record {
    /// Begins the journal: who compares what, and every block that is to come.
    pub(super) fn open(
        duel: &Duel,
        folder: Arc<RunFolder>,
        servers: [&Server; 2],
        rounds: &[Round],
    ) -> Result<Self, Reason> {
        let journal = Journal::open(&folder).map_err(|error| unwritten(&error))?;
        let record = Self { journal, folder, effective: Mutex::default() };
        record.append(Event::RunStarted(Box::new(RunStarted {
            run_id: duel.run_id.clone(),
            parent_run: None,
            scenario: NAME.to_owned(),
            run_type: NAME.to_owned(),
            git: environment::git(&duel.root),
            tool: assemble::tool(),
            argv: std::env::args().collect(),
            variables: duel.variables.clone(),
            environment: environment::observe(),
            requested: json!({
                "a": {"name": duel.names[0], "server": servers[0].requested()},
                "b": {"name": duel.names[1], "server": servers[1].requested()},
            }),
            terms: Value::Null,
        })))?;
        for turn in rounds.iter().flat_map(|round| &round.0) {
            record.append(Event::TrialPlanned(planned(&turn.id, turn.side, &duel.case)))?;
        }
        record.append(Event::TrialPlanned(Planned::bare(&gate())))?;
        Ok(record)
    }

    /// A side's server answers.
    pub(super) fn ready(&self, side: &str, effective: &Value, known: &Capabilities) -> Result<(), Reason> {
        let mut all = self.effective.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(side) {
            return Ok(());
        }
        all.insert(side.to_owned(), effective.clone());
        self.append(Event::ServerReady { effective: Value::Object(all.clone()), capabilities: known.clone() })
    }

    /// A block begins.
    pub(super) fn begun(&self, id: &TrialId) -> Result<(), Reason> {
        let sidecar = Suite::<Target>::sidecar(&Perf::default())
            .map(|name| self.folder.trial(id).path_of(name).to_string());
        self.append(Event::TrialStarted { trial_id: id.clone(), sidecar })
    }

    /// A block is over.
    pub(super) fn over(&self, id: &TrialId, observation: Observation, took: Duration) -> Result<(), Reason> {
        for note in &observation.notes {
            self.append(Event::Note { trial_id: Some(id.clone()), note: note.clone() })?;
        }
        self.finished(TrialFinished::of(id.clone(), 1, observation, Some(took)))
    }

    /// Ends the journal with what came of it, and makes the reports. A run that was cut short has no verdict.
    pub(super) fn close(&self, done: &Result<Told, Reason>) -> Result<(), Reason> {
        let interrupted = matches!(done, Err(reason) if reason.kind == "interrupted");
        match done {
            Ok(told) => self.decided(told.outcome(), told.numbers())?,
            Err(_) if interrupted => {}
            Err(reason) => self.decided(Outcome::Errored(Reasons::one(reason.clone())), Value::Null)?,
        }
        let exit_code = super::exit_of(done).code();
        self.append(Event::RunFinished(RunFinished { exit_code, interrupted }))?;
        let record = self.journal.record().ok_or_else(|| Reason::new("journal", "it holds no run"))?;
        report::write(&self.folder, &record, &Files::below([self.folder.path()]), "")
            .map_err(|message| Reason::new("report", message))
    }

    fn decided(&self, outcome: Outcome, numbers: Value) -> Result<(), Reason> {
        let (verdict, reasons) = outcome.clone().into_verdict();
        self.append(Event::GateDecided { gate: NAME.to_owned(), trial_id: None, verdict, reasons, numbers })?;
        self.finished(TrialFinished::of(gate(), 1, Observation::new(outcome), None))
    }

    fn finished(&self, finished: TrialFinished) -> Result<(), Reason> {
        self.append(Event::TrialFinished(Box::new(finished)))
    }

    fn append(&self, event: Event) -> Result<(), Reason> {
        self.journal.append(event).map_err(|error| unwritten(&error))
    }
}

fn unwritten(error: &dyn std::error::Error) -> Reason {
    Reason::new("journal", error.to_string())
}

fn gate() -> TrialId {
    TrialId::new(GATE).expect("a legal id")
}

/// A block of the case, on one of the sides.
fn planned(id: &TrialId, side: Side, case: &ExpandedCase) -> Planned {
    let mut planned = Planned::of_case(id, case);
    NAME.clone_into(&mut planned.suite);
    planned.values.insert("side".to_owned(), json!(side));
    planned
}
