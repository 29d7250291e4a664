//! The trials of a session: [`Trial`] is what is planned, [`Stage`] is where it is run. Every trial ends as one
//! `TrialFinished` in the journal, and as one line of libtest.
//!
//! 会话中的试验：计划与执行。

use std::sync::Arc;

use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    admit::{Admission, admit},
    capability::Capabilities,
    case::{ExpandedCase, TrialId},
    folder::RunFolder,
    gate::{self, Facts, Gate, TrialGate},
    journal::{Event, Planned, TrialFinished},
    lane::{Lane, Road},
    libtest::Line,
    session::{course::Course, recorder::Recorder},
    suite::{AnySuite, Cx, Prepared},
    trial::{Bounds, Ended, GRACE, Turn, carry_out},
    verdict::{Observation, Outcome, Reason, Reasons, Verdict},
};

/// A named trial of the session.
pub(crate) struct Trial<W> {
    pub(crate) id: TrialId,
    pub(crate) work: Work<W>,
}

/// What a trial is about.
pub(crate) enum Work<W> {
    /// Whether the thing under test became ready.
    Setup,
    /// A case of a suite.
    Case(CaseWork<W>),
    /// A gate over the run; decided when all other trials are over.
    Gate(Gate),
}

/// A case, and what runs it.
pub(crate) struct CaseWork<W> {
    pub(crate) case: Arc<ExpandedCase>,
    pub(crate) suite: Arc<dyn AnySuite<W>>,
    pub(crate) run: Prepared<W>,
}

impl<W> CaseWork<W> {
    /// A case may ask to be alone; it may not ask to share where its suite does not.
    pub(crate) fn lane(&self) -> Lane {
        if self.case.head.exclusive { Lane::Exclusive } else { self.suite.lane() }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            lane: self.lane(),
            deadline: self.case.head.timeout.unwrap_or_else(|| self.suite.timeout()),
            grace: GRACE,
        }
    }
}

impl<W> Trial<W> {
    /// How the journal announces it.
    pub(crate) fn planned(&self) -> Planned {
        match &self.work {
            Work::Setup | Work::Gate(_) => Planned::bare(&self.id),
            Work::Case(CaseWork { case, .. }) => Planned::of_case(&self.id, case),
        }
    }
}

/// Where trials are run: everything that they share.
pub(crate) struct Stage<W> {
    pub(crate) runtime: Handle,
    pub(crate) road: Road,
    pub(crate) cancel: CancellationToken,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) folder: Arc<RunFolder>,
    /// The thing under test, or why it never became ready.
    pub(crate) world: Result<Arc<W>, Reason>,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) run_type: String,
    pub(crate) run_id: String,
    pub(crate) attempt: u32,
    /// Run what would be skipped.
    pub(crate) forced: bool,
    /// nextest cannot be told at run time that a trial was blocked: there it is red.
    pub(crate) blocked_is_red: bool,
    /// How many trials that are no gates are not over yet.
    pub(crate) pending: watch::Sender<usize>,
    /// Decides each trial once its suite is done with it.
    pub(crate) gate: Option<Arc<dyn TrialGate>>,
    /// Whether a trial is still meant to run when its turn comes.
    pub(crate) course: Course,
}

impl<W: Send + Sync + 'static> Stage<W> {
    /// Runs one trial on this thread, and says what libtest shall show.
    pub(crate) fn run(&self, trial: Trial<W>) -> Line {
        match trial.work {
            Work::Setup => {
                let outcome = self.setup();
                self.over(TrialFinished::of(trial.id, self.attempt, Observation::new(outcome), None))
            }
            Work::Case(work) => self.case(trial.id, work),
            Work::Gate(gate) => self.gate(trial.id, &gate),
        }
    }

    fn setup(&self) -> Outcome {
        match &self.world {
            Ok(_) => Outcome::Passed,
            Err(reason) => Outcome::Errored(Reasons::one(reason.clone())),
        }
    }

    fn case(&self, id: TrialId, work: CaseWork<W>) -> Line {
        self.course.await_stage(id.kind());
        let bounds = work.bounds();
        let Ok(world) = &self.world else { return self.over(blocked(id, self.attempt)) };
        if let Admission::Skip(reason) = self.admit(&work.case) {
            let observation = Observation::new(Outcome::Skipped(reason));
            return self.over(TrialFinished::of(id, self.attempt, observation, None));
        }
        if bounds.lane == Lane::Exclusive {
            self.course.await_turn(&id);
        }
        let (world, run) = (Arc::clone(world), work.run);
        let folder = self.folder.trial(&id);
        let sidecar = work.suite.sidecar().map(|name| folder.path_of(name).to_string());
        let turn = || {
            let turn = self.course.turn(id.kind());
            if matches!(turn, Turn::Run { .. }) {
                self.recorder.append(Event::TrialStarted { trial_id: id.clone(), sidecar });
            }
            turn
        };
        let context = |cancel| Cx {
            world,
            case: work.case,
            capabilities: Arc::clone(&self.capabilities),
            cancel,
            folder: folder.clone(),
            run_type: self.run_type.clone(),
            run_id: self.run_id.clone(),
        };
        let ended = self
            .runtime
            .block_on(carry_out(&self.road, bounds, &self.cancel, turn, |cancel| run(context(cancel))));
        let Ended { mut observation, took } = ended;
        for note in std::mem::take(&mut observation.notes) {
            self.recorder.append(Event::Note { trial_id: Some(id.clone()), note });
        }
        self.over(self.gated(TrialFinished::of(id, self.attempt, observation, Some(took))))
    }

    /// The trial as the gate leaves it; what the gate decided is in the journal by then.
    fn gated(&self, mut finished: TrialFinished) -> TrialFinished {
        let Some(gate) = self.gate.as_deref().filter(|gate| gate.concerns(finished.trial_id.kind())) else {
            return finished;
        };
        let Some(run) = self.recorder.record() else { return finished };
        for event in gate::decide(gate, &run, self.folder.path(), &mut finished) {
            self.recorder.append(event);
        }
        finished
    }

    fn admit(&self, case: &ExpandedCase) -> Admission {
        if self.forced { Admission::Run } else { admit(case, &self.capabilities) }
    }

    fn gate(&self, id: TrialId, gate: &Gate) -> Line {
        self.wait_for_the_others();
        if self.world.is_err() {
            return self.over(blocked(id, self.attempt));
        }
        let is_skipped = |verdict: &&Verdict| **verdict == Verdict::Skipped;
        let skipped = self.recorder.verdicts().iter().filter(is_skipped).count() as u64;
        let (outcome, numbers) = gate.decide(&Facts { capabilities: (*self.capabilities).clone(), skipped });
        let (verdict, reasons) = outcome.clone().into_verdict();
        let name = gate.name().to_owned();
        self.recorder.append(Event::GateDecided { gate: name, trial_id: None, verdict, reasons, numbers });
        self.over(TrialFinished::of(id, self.attempt, Observation::new(outcome), None))
    }

    /// Gates come last in libtest's order, so that this never waits for a trial that has no thread.
    fn wait_for_the_others(&self) {
        let mut pending = self.pending.subscribe();
        // The sender lives as long as `self`: an error cannot come.
        let _ = self.runtime.block_on(pending.wait_for(|left| *left == 0));
    }

    /// The journal hears of it before libtest does.
    fn over(&self, finished: TrialFinished) -> Line {
        let line = self.masked(line(&finished, self.blocked_is_red));
        let is_gate = finished.trial_id.kind() == "gate";
        let limit = finished.reasons.iter().any(|reason| reason.kind == "stage-limit");
        self.course.over(&finished.trial_id, finished.verdict, limit);
        self.recorder.append(Event::TrialFinished(Box::new(finished)));
        if !is_gate {
            self.pending.send_modify(|left| *left = left.saturating_sub(1));
        }
        line
    }
}

impl<W> Stage<W> {
    /// What libtest prints passes the redactor like everything else.
    fn masked(&self, line: Line) -> Line {
        let mask = |text: String| self.folder.redactor().redact_owned(text);
        match line {
            Line::Ok => Line::Ok,
            Line::Ignored(text) => Line::Ignored(mask(text)),
            Line::Failed(text) => Line::Failed(mask(text)),
        }
    }
}

fn blocked(id: TrialId, attempt: u32) -> TrialFinished {
    let reason = Reason::new("blocked", format!("the server never became ready: see {}", super::SETUP));
    TrialFinished {
        verdict: Verdict::Blocked,
        ..TrialFinished::of(id, attempt, Observation::new(Outcome::Skipped(reason)), None)
    }
}

/// The line of the verdict table.
fn line(finished: &TrialFinished, blocked_is_red: bool) -> Line {
    let first = || finished.reasons.first().map(|reason| reason.summary.clone()).unwrap_or_default();
    match finished.verdict {
        Verdict::Passed => Line::Ok,
        Verdict::Failed | Verdict::Errored | Verdict::Invalid => Line::Failed(text(&finished.reasons)),
        Verdict::Blocked if blocked_is_red => Line::Failed(text(&finished.reasons)),
        Verdict::Inconclusive => Line::Ignored(format!("inconclusive: {}", first())),
        Verdict::Skipped | Verdict::Blocked => Line::Ignored(first()),
    }
}

/// All that is known of a red trial.
fn text(reasons: &[Reason]) -> String {
    let mut text = String::new();
    for reason in reasons {
        text.push_str(&reason.kind);
        text.push_str(": ");
        text.push_str(&reason.summary);
        text.push('\n');
        if !reason.detail.is_empty() {
            text.push_str(reason.detail.trim_end());
            text.push_str("\n\n");
        }
    }
    text.trim_end().to_owned()
}
