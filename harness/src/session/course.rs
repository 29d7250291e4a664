//! The course of a run from stage to stage: [`Stages`] says what bounds it, [`Course`] when a trial's stage has come
//! and whether the trial is still meant to run. A stage is all trials of one kind; it begins when the earlier ones
//! are over. Must not know how a trial is run.
//!
//! 阶段控制：时限与失败后停止。

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    case::TrialId,
    lane::Lane,
    trial::Turn,
    verdict::{Observation, Outcome, Reason, Reasons, Verdict},
};

/// What bounds the stages of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stages {
    /// How long a stage may take, by the kind of its trials, from when its first trial is inside its lane.
    pub limits: BTreeMap<String, Duration>,
    /// Whether a red stage leaves out the later ones.
    pub stop_on_red: bool,
}

/// How far a run has come.
#[derive(Debug, Default)]
pub(crate) struct Course {
    stages: Stages,
    progress: Mutex<Progress>,
    went_on: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// The stages in their order, and how many trials of each are not over yet.
    left: Vec<(String, usize)>,
    /// The trials that run alone and are not over yet, in the order of the plan.
    alone: VecDeque<TrialId>,
    begun: BTreeMap<String, Instant>,
    /// Stages of which a trial was told that their time is over: one of them is red, the others are skipped.
    told: BTreeSet<String>,
    /// The stage of the first red trial.
    red: Option<String>,
}

impl Course {
    pub(crate) fn new(stages: Stages) -> Self {
        Self { stages, ..Self::default() }
    }

    /// Takes note of a trial that will be run, in the order in which they are begun.
    pub(crate) fn expect(&self, id: &TrialId, lane: Lane) {
        let mut progress = self.progress();
        match progress.left.iter_mut().find(|(known, _)| known == id.kind()) {
            Some((_, count)) => *count += 1,
            None => progress.left.push((id.kind().to_owned(), 1)),
        }
        if lane == Lane::Exclusive {
            progress.alone.push_back(id.clone());
        }
    }

    /// Blocks this thread until the stages before that of `kind` are over. Their trials were begun before, so that
    /// they have threads of their own.
    pub(crate) fn await_stage(&self, kind: &str) {
        let earlier_run = |progress: &mut Progress| {
            progress.left.iter().take_while(|(known, _)| known != kind).any(|(_, count)| *count > 0)
        };
        drop(self.went_on.wait_while(self.progress(), earlier_run));
    }

    /// Blocks this thread until the trials that run alone and come before `id` in the plan are over. Their threads were
    /// begun before: which of several that wait enters the lane first would be left to chance.
    pub(crate) fn await_turn(&self, id: &TrialId) {
        let others_first = |progress: &mut Progress| {
            progress.alone.contains(id) && progress.alone.front().is_some_and(|first| first != id)
        };
        drop(self.went_on.wait_while(self.progress(), others_first));
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a trial of `kind`, which is inside its lane, runs.
    pub(crate) fn turn(&self, kind: &str) -> Turn {
        let mut progress = self.progress();
        if let Some(red) = progress.red.as_deref().filter(|red| self.stages.stop_on_red && *red != kind) {
            let why = format!("the stage {red} was red, and later ones are left out then");
            return pass(Outcome::Skipped(Reason::new("stopped", why)));
        }
        let Some(limit) = self.stages.limits.get(kind) else { return Turn::Run { stage_left: None } };
        let begun = *progress.begun.entry(kind.to_owned()).or_insert_with(Instant::now);
        match limit.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            Some(left) => Turn::Run { stage_left: Some(left) },
            None => {
                let why = format!("the stage {kind} took longer than its {} s", limit.as_secs_f64());
                let reason = Reason::new("stage-limit", why)
                    .with_detail("`stage_limits` in configs/matrix.yaml sets how long a stage may take.");
                match progress.told.insert(kind.to_owned()) {
                    // A stage that did not come to its end is red, once.
                    true => pass(Outcome::Errored(Reasons::one(reason))),
                    false => pass(Outcome::Skipped(reason)),
                }
            }
        }
    }

    /// Takes note of how a trial ended.
    pub(crate) fn over(&self, id: &TrialId, verdict: Verdict, is_stage_limit: bool) {
        let (kind, mut progress) = (id.kind(), self.progress());
        progress.alone.retain(|waiting| waiting != id);
        self.went_on.notify_all();
        if let Some((_, left)) = progress.left.iter_mut().find(|(known, _)| known == kind) {
            *left = left.saturating_sub(1);
        }
        if matches!(verdict, Verdict::Failed | Verdict::Errored | Verdict::Invalid) {
            progress.red.get_or_insert_with(|| kind.to_owned());
        }
        if is_stage_limit {
            progress.told.insert(kind.to_owned());
        }
    }
}

fn pass(outcome: Outcome) -> Turn {
    Turn::Pass(Box::new(Observation::new(outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TrialId {
        TrialId::new(text).expect("an id")
    }

    fn outcome(turn: Turn) -> Outcome {
        match turn {
            Turn::Pass(observation) => observation.outcome,
            Turn::Run { .. } => panic!("it runs"),
        }
    }

    #[test]
    fn without_bounds_everything_runs() {
        let course = Course::default();
        course.over(&id("functional::a"), Verdict::Failed, false);
        assert_eq!(course.turn("perf"), Turn::Run { stage_left: None });
    }

    #[test]
    fn a_stage_begins_when_the_earlier_ones_are_over() {
        let course = Course::default();
        for (name, lane) in
            [("functional::a", Lane::Shared), ("functional::b", Lane::Shared), ("perf::a", Lane::Exclusive)]
        {
            course.expect(&id(name), lane);
        }
        course.await_stage("functional");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| course.await_stage("perf"));
            course.over(&id("functional::a"), Verdict::Passed, false);
            std::thread::sleep(Duration::from_millis(30));
            assert!(!waits.is_finished(), "one functional trial is still to come");
            course.over(&id("functional::a"), Verdict::Skipped, false);
        });
    }

    #[test]
    fn what_runs_alone_runs_in_the_order_of_the_plan() {
        let course = Course::default();
        let names: Vec<TrialId> = (0..8).map(|n| id(&format!("perf::level_{n}"))).collect();
        names.iter().for_each(|name| course.expect(name, Lane::Exclusive));
        let ran = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            // Whoever comes first: the last is there before the others.
            for name in names.iter().rev() {
                scope.spawn(|| {
                    course.await_turn(name);
                    ran.lock().expect("not poisoned").push(name.clone());
                    course.over(name, Verdict::Passed, false);
                });
            }
        });
        assert_eq!(ran.into_inner().expect("not poisoned"), names);
        course.await_turn(&id("perf::never_planned"));
    }

    #[test]
    fn a_red_stage_leaves_out_the_later_ones_but_not_its_own_trials() {
        let course = Course::new(Stages { stop_on_red: true, ..Stages::default() });
        course.over(&id("functional::a"), Verdict::Passed, false);
        assert_eq!(course.turn("perf"), Turn::Run { stage_left: None });
        course.over(&id("functional::a"), Verdict::Failed, false);
        assert_eq!(course.turn("functional"), Turn::Run { stage_left: None });
        let Outcome::Skipped(reason) = outcome(course.turn("perf")) else { panic!("not skipped") };
        assert_eq!(reason.summary, "the stage functional was red, and later ones are left out then");
    }

    #[test]
    fn a_stage_whose_time_is_over_is_red_once() {
        let limits = [("perf".to_owned(), Duration::from_millis(20))].into();
        let course = Course::new(Stages { limits, stop_on_red: false });
        let Turn::Run { stage_left: Some(left) } = course.turn("perf") else { panic!("no limit") };
        assert!(left <= Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(25));
        assert!(matches!(outcome(course.turn("perf")), Outcome::Errored(_)));
        assert!(matches!(outcome(course.turn("perf")), Outcome::Skipped(_)));
        assert_eq!(course.turn("functional"), Turn::Run { stage_left: None });
    }

    #[test]
    fn the_trial_that_was_cut_short_is_the_red_one() {
        let limits = [("perf".to_owned(), Duration::ZERO)].into();
        let course = Course::new(Stages { limits, stop_on_red: false });
        course.over(&id("perf::a"), Verdict::Errored, true);
        assert!(matches!(outcome(course.turn("perf")), Outcome::Skipped(_)));
    }
}
