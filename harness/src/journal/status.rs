//! The one word for a planned trial in every report: [`Status`], and how many there are of each: [`Counts`].
//! Must not know any format.
//!
//! 试验状态与计数。

use serde::Serialize;

use crate::{
    journal::{RunRecord, TrialRecord, TrialState},
    verdict::Verdict,
};

/// What became of a planned trial: its verdict, or that it never came to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// See [`Verdict::Passed`].
    Passed,
    /// See [`Verdict::Failed`].
    Failed,
    /// See [`Verdict::Errored`].
    Errored,
    /// See [`Verdict::Invalid`].
    Invalid,
    /// See [`Verdict::Inconclusive`].
    Inconclusive,
    /// See [`Verdict::Skipped`].
    Skipped,
    /// See [`Verdict::Blocked`].
    Blocked,
    /// It started and never finished.
    Interrupted,
    /// The run ended before its turn.
    NotRun,
}

impl Status {
    /// All of them, worst first.
    pub const WORST_FIRST: [Self; 9] = [
        Self::Failed,
        Self::Errored,
        Self::Invalid,
        Self::Interrupted,
        Self::NotRun,
        Self::Inconclusive,
        Self::Blocked,
        Self::Skipped,
        Self::Passed,
    ];

    /// As every report writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Invalid => "invalid",
            Self::Inconclusive => "inconclusive",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
            Self::Interrupted => "interrupted",
            Self::NotRun => "not_run",
        }
    }

    /// Whether somebody has to look at it.
    pub fn is_red(self) -> bool {
        matches!(self, Self::Failed | Self::Errored | Self::Invalid | Self::Interrupted)
    }
}

impl From<Verdict> for Status {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Failed => Self::Failed,
            Verdict::Errored => Self::Errored,
            Verdict::Invalid => Self::Invalid,
            Verdict::Inconclusive => Self::Inconclusive,
            Verdict::Skipped => Self::Skipped,
            Verdict::Blocked => Self::Blocked,
        }
    }
}

impl TrialRecord {
    /// What became of it, in one word.
    pub fn status(&self) -> Status {
        match &self.state {
            TrialState::NotRun => Status::NotRun,
            TrialState::Interrupted { .. } => Status::Interrupted,
            TrialState::Finished(finished) => finished.verdict.into(),
        }
    }
}

/// How many planned trials there are of each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All planned ones: the sum of the others.
    pub planned: usize,
    /// [`Status::Passed`].
    pub passed: usize,
    /// [`Status::Failed`].
    pub failed: usize,
    /// [`Status::Errored`].
    pub errored: usize,
    /// [`Status::Invalid`].
    pub invalid: usize,
    /// [`Status::Inconclusive`].
    pub inconclusive: usize,
    /// [`Status::Skipped`].
    pub skipped: usize,
    /// [`Status::Blocked`].
    pub blocked: usize,
    /// [`Status::Interrupted`].
    pub interrupted: usize,
    /// [`Status::NotRun`].
    pub not_run: usize,
}

impl Counts {
    /// Counts `trials`.
    pub fn of<'a>(trials: impl IntoIterator<Item = &'a TrialRecord>) -> Self {
        trials.into_iter().fold(Self::default(), |mut counts, trial| {
            counts.planned += 1;
            *counts.slot(trial.status()) += 1;
            counts
        })
    }

    /// How many there are of `status`.
    pub fn get(mut self, status: Status) -> usize {
        *self.slot(status)
    }

    /// How many somebody has to look at.
    pub fn red(self) -> usize {
        Status::WORST_FIRST.into_iter().filter(|status| status.is_red()).map(|status| self.get(status)).sum()
    }

    fn slot(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Passed => &mut self.passed,
            Status::Failed => &mut self.failed,
            Status::Errored => &mut self.errored,
            Status::Invalid => &mut self.invalid,
            Status::Inconclusive => &mut self.inconclusive,
            Status::Skipped => &mut self.skipped,
            Status::Blocked => &mut self.blocked,
            Status::Interrupted => &mut self.interrupted,
            Status::NotRun => &mut self.not_run,
        }
    }
}

/// The planned trials of one file of cases.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteTrials<'a> {
    /// `functional`.
    pub kind: &'a str,
    /// `chat_core`.
    pub suite: &'a str,
    /// In the order in which they were planned; never empty.
    pub trials: Vec<&'a TrialRecord>,
}

impl SuiteTrials<'_> {
    /// `functional.chat_core`; the kind alone where the suite has no name.
    pub fn name(&self) -> String {
        match self.suite {
            "" => self.kind.to_owned(),
            suite => format!("{}.{suite}", self.kind),
        }
    }

    /// How many there are of each status.
    pub fn counts(&self) -> Counts {
        Counts::of(self.trials.iter().copied())
    }

    /// The time that its trials took, together, in nanoseconds; nothing where none of them ran.
    pub fn duration_ns(&self) -> Option<u64> {
        self.trials.iter().filter_map(|trial| trial.duration_ns()).reduce(u64::saturating_add)
    }
}

impl RunRecord {
    /// How many trials there are of each status.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.trials)
    }

    /// The trials by kind and file, in the order in which these were first planned.
    pub fn suites(&self) -> Vec<SuiteTrials<'_>> {
        self.trials.iter().fold(Vec::new(), |mut suites: Vec<SuiteTrials<'_>>, trial| {
            let (kind, suite) = (trial.planned.kind.as_str(), trial.planned.suite.as_str());
            match suites.iter_mut().find(|known| known.kind == kind && known.suite == suite) {
                Some(known) => known.trials.push(trial),
                None => suites.push(SuiteTrials { kind, suite, trials: vec![trial] }),
            }
            suites
        })
    }

    /// The one word for the run: the worst status of its trials and gates, [`Status::Interrupted`] where it
    /// never came to its end, [`Status::NotRun`] where nothing was planned. Skips do not lower a pass.
    pub fn status(&self) -> Status {
        let cut_short = self.finished.as_ref().is_none_or(|finished| finished.interrupted);
        let gates = self.gates.iter().filter_map(|gate| match gate {
            crate::journal::Event::GateDecided { verdict, .. } => Some(Status::from(*verdict)),
            _ => None,
        });
        let cut_short = cut_short.then_some(Status::Interrupted);
        let all: Vec<_> = self.trials.iter().map(TrialRecord::status).chain(gates).chain(cut_short).collect();
        let lowering = |status: &Status| !matches!(status, Status::Skipped | Status::Blocked);
        match Status::WORST_FIRST.into_iter().filter(lowering).find(|status| all.contains(status)) {
            Some(worst) => worst,
            None if all.contains(&Status::Blocked) => Status::Blocked,
            None if all.is_empty() => Status::NotRun,
            None => Status::Passed,
        }
    }
}
