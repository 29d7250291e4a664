//! From events to a [`RunRecord`], and from several records to one: the only place that knows what an event
//! changes. Must not know files.
//!
//! 事件折叠与多份记录的合并。

use std::collections::HashMap;

use crate::{
    case::TrialId,
    journal::{
        Envelope, Event, JournalError, Planned, RunFinished, RunRecord, TrialFinished, TrialRecord,
        TrialState,
    },
    verdict::Note,
};

impl RunRecord {
    /// What `envelopes` say together. Nothing where they do not begin with [`Event::RunStarted`].
    pub fn fold(envelopes: impl IntoIterator<Item = Envelope>) -> Option<Self> {
        let mut envelopes = envelopes.into_iter();
        let first = envelopes.next()?;
        let Event::RunStarted(started) = first.event else { return None };
        let mut fold = Fold { run: Self::begun(*started, first.at), index: HashMap::new() };
        for envelope in envelopes {
            fold.run.duration_ns = envelope.t_ns.saturating_sub(first.t_ns);
            fold.take(envelope.event);
        }
        Some(fold.run)
    }

    /// The run that several processes carried out together, each with its own journal: the last attempt at a
    /// trial counts, an earlier one that ended otherwise becomes a note.
    ///
    /// It is finished where all of them are; its exit code is the greatest.
    ///
    /// # Errors
    /// When there is no record, or they are not of the same run.
    pub fn merge(mut records: Vec<Self>) -> Result<Self, JournalError> {
        records.sort_by_key(|record| record.started_at);
        let mut records = records.into_iter();
        let first = records.next().ok_or(JournalError::NothingToMerge)?;
        let index = first.trials.iter().enumerate().map(|(at, trial)| (trial.id().clone(), at)).collect();
        let mut fold = Fold { run: first, index };
        for record in records {
            let (ours, theirs) = (&fold.run.started, &record.started);
            for (what, ours, theirs) in [
                ("run id", &ours.run_id, &theirs.run_id),
                ("scenario", &ours.scenario, &theirs.scenario),
                ("run type", &ours.run_type, &theirs.run_type),
            ] {
                if ours != theirs {
                    let (ours, theirs) = (ours.clone(), theirs.clone());
                    return Err(JournalError::OtherRun { what, ours, theirs });
                }
            }
            fold.merge(record);
        }
        Ok(fold.run)
    }

    fn begun(started: crate::journal::RunStarted, started_at: jiff::Timestamp) -> Self {
        Self {
            started,
            started_at,
            duration_ns: 0,
            effective: None,
            capabilities: crate::capability::Capabilities::default(),
            trials: Vec::new(),
            notes: Vec::new(),
            gates: Vec::new(),
            finished: None,
        }
    }

    /// From the start to the last event, on the wall clock.
    fn ended_ns(&self) -> i128 {
        self.started_at.as_nanosecond() + i128::from(self.duration_ns)
    }
}

struct Fold {
    run: RunRecord,
    index: HashMap<TrialId, usize>,
}

impl Fold {
    fn take(&mut self, event: Event) {
        match event {
            Event::RunStarted(_) => {
                self.run.notes.push(note("resumed", "the journal was opened a second time"))
            }
            Event::TrialPlanned(planned) => self.plan(planned),
            Event::ServerReady { effective, capabilities } => {
                self.run.effective = Some(effective);
                self.run.capabilities = capabilities;
            }
            Event::TrialStarted { trial_id, sidecar } => {
                let state = TrialState::Interrupted { sidecar: sidecar.map(Into::into) };
                self.trial(&trial_id).end(state);
            }
            Event::Note { trial_id: None, note } => self.run.notes.push(note),
            Event::Note { trial_id: Some(trial_id), note } => self.trial(&trial_id).notes.push(note),
            Event::TrialFinished(finished) => {
                let trial = self.trial(&finished.trial_id);
                // Its own start is no earlier attempt.
                if matches!(trial.state, TrialState::Interrupted { .. }) {
                    trial.state = TrialState::NotRun;
                }
                trial.end(TrialState::Finished(finished));
            }
            gate @ Event::GateDecided { .. } => self.run.gates.push(gate),
            Event::RunFinished(finished) => self.run.finished = Some(finished),
        }
    }

    /// The first plan of a trial counts.
    fn plan(&mut self, planned: Planned) {
        if !self.index.contains_key(&planned.trial_id) {
            self.index.insert(planned.trial_id.clone(), self.run.trials.len());
            self.run.trials.push(TrialRecord { planned, state: TrialState::NotRun, notes: Vec::new() });
        }
    }

    /// The trial `id`; one that nobody planned is put at the end, so that nothing that happened is lost.
    fn trial(&mut self, id: &TrialId) -> &mut TrialRecord {
        if !self.index.contains_key(id) {
            self.plan(unplanned(id));
            self.trial(id).notes.push(note("unplanned", "the journal does not plan this trial"));
        }
        &mut self.run.trials[self.index[id]]
    }

    fn merge(&mut self, record: RunRecord) {
        let ended = self.run.ended_ns().max(record.ended_ns());
        let RunRecord { effective, capabilities, trials, notes, gates, finished, .. } = record;
        let run = &mut self.run;
        run.duration_ns = u64::try_from(ended - run.started_at.as_nanosecond()).unwrap_or(run.duration_ns);
        if effective.is_some() {
            run.effective = effective;
            run.capabilities = capabilities;
        }
        run.notes.extend(notes.into_iter().filter(|note| !run.notes.contains(note)).collect::<Vec<_>>());
        run.gates.extend(gates.into_iter().filter(|gate| !run.gates.contains(gate)).collect::<Vec<_>>());
        run.finished = run.finished.take().zip(finished).map(|(one, other)| RunFinished {
            exit_code: one.exit_code.max(other.exit_code),
            interrupted: one.interrupted || other.interrupted,
        });
        for trial in trials {
            self.plan(trial.planned.clone());
            let ours = self.trial(trial.id());
            ours.notes.extend(trial.notes);
            ours.end(trial.state);
        }
    }
}

impl TrialRecord {
    /// Takes a later `state`. What it supersedes becomes a note, unless that says the same.
    fn end(&mut self, state: TrialState) {
        let earlier = match (&self.state, &state) {
            (_, TrialState::NotRun) => return,
            (TrialState::NotRun, _) => {
                self.state = state;
                return;
            }
            (TrialState::Finished(ours), TrialState::Finished(theirs)) if theirs.attempt < ours.attempt => {
                state
            }
            _ => std::mem::replace(&mut self.state, state),
        };
        let told = match &earlier {
            TrialState::Finished(earlier) if self.finished().is_some_and(|now| same_end(now, earlier)) => {
                return;
            }
            TrialState::Finished(earlier) => {
                let why =
                    earlier.reasons.first().map(|reason| format!(": {}", reason.summary)).unwrap_or_default();
                let word = crate::journal::Status::from(earlier.verdict).word();
                format!("attempt {} {word}{why}", earlier.attempt)
            }
            TrialState::NotRun | TrialState::Interrupted { .. } => {
                "an earlier attempt was started and never finished".to_owned()
            }
        };
        self.notes.push(note("earlier-attempt", told));
    }
}

fn same_end(one: &TrialFinished, other: &TrialFinished) -> bool {
    one.attempt == other.attempt && one.verdict == other.verdict && one.reasons == other.reasons
}

fn unplanned(id: &TrialId) -> Planned {
    let segments: Vec<_> = id.as_str().split("::").collect();
    Planned {
        trial_id: id.clone(),
        case_id: id.as_str().to_owned(),
        kind: id.kind().to_owned(),
        suite: if segments.len() > 2 { segments[1].to_owned() } else { String::new() },
        about: None,
        tags: Vec::new(),
        required_capabilities: Vec::new(),
        place: None,
        values: serde_json::Map::new(),
        case_hash: None,
    }
}

fn note(kind: &str, text: impl Into<String>) -> Note {
    Note { kind: kind.to_owned(), text: text.into() }
}
