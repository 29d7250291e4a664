//! One trial from its lane to its verdict: [`carry_out`]. A deadline or a cancelled run sets the trial's token,
//! so that the suite closes its record and returns; only after a grace period is its future dropped. A panic
//! is a verdict like any other. Must not know libtest or the journal.
//!
//! 单个试验：车道、期限、取消与恐慌处理。

use std::{
    any::Any,
    cell::RefCell,
    panic::{AssertUnwindSafe, PanicHookInfo},
    sync::Once,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    lane::{Lane, Road},
    verdict::{Observation, Outcome, Reason, Reasons},
};

/// How long a suite may take to return once it was told to stop.
pub const GRACE: Duration = Duration::from_secs(10);

/// How a trial is bounded.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How it shares the server.
    pub lane: Lane,
    /// How long it may take, from inside the lane.
    pub deadline: Duration,
    /// How long it may take to return once it was told to stop.
    pub grace: Duration,
}

/// A trial that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// What came of it.
    pub observation: Observation,
    /// How long it took inside the lane.
    pub took: Duration,
}

/// What a trial is told when its turn has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// It runs.
    Run {
        /// What its stage has left, where that is limited.
        stage_left: Option<Duration>,
    },
    /// It does not run any more, and this is what came of it.
    Pass(Box<Observation>),
}

/// Why a trial was told to stop.
enum Stop {
    Deadline,
    Stage,
    Run,
}

/// Enters the lane, asks `turn` whether it is still meant to run, and runs `work` within its bounds. `work` gets
/// the token that tells it to stop.
pub async fn carry_out<F>(
    road: &Road,
    bounds: Bounds,
    run_cancel: &CancellationToken,
    turn: impl FnOnce() -> Turn,
    work: impl FnOnce(CancellationToken) -> F,
) -> Ended
where
    F: Future<Output = Observation> + Send,
{
    let place = tokio::select! {
        biased;
        () = run_cancel.cancelled() => return Ended { observation: never_started(), took: Duration::ZERO },
        place = road.enter(bounds.lane) => place,
    };
    let stage_left = match turn() {
        Turn::Run { stage_left } => stage_left.unwrap_or(Duration::MAX),
        Turn::Pass(observation) => return Ended { observation: *observation, took: Duration::ZERO },
    };
    let begun = Instant::now();
    // No child of the run's token: a suite that returns because it was told to must not look finished.
    let cancel = CancellationToken::new();
    let observation = bounded(bounds, stage_left, run_cancel, cancel.clone(), work(cancel)).await;
    drop(place);
    Ended { observation, took: begun.elapsed() }
}

async fn bounded<F>(
    bounds: Bounds,
    stage_left: Duration,
    run_cancel: &CancellationToken,
    cancel: CancellationToken,
    work: F,
) -> Observation
where
    F: Future<Output = Observation> + Send,
{
    let mut work = std::pin::pin!(AssertUnwindSafe(caught(work)).catch_unwind());
    let stop = tokio::select! {
        biased;
        done = &mut work => return done.unwrap_or_else(|panic| panicked(&*panic)),
        () = run_cancel.cancelled() => Stop::Run,
        () = tokio::time::sleep(bounds.deadline) => Stop::Deadline,
        () = tokio::time::sleep(stage_left) => Stop::Stage,
    };
    cancel.cancel();
    let rest = tokio::time::timeout(bounds.grace, &mut work).await;
    let mut observation = match rest {
        Ok(Ok(observation)) => observation,
        Ok(Err(panic)) => panicked(&*panic),
        Err(_) => Observation::new(Outcome::Passed),
    };
    // What was measured until then is kept; that the trial did not finish is what is said of it.
    let nothing_measured = observation.details.is_none() && observation.measurements.is_empty();
    observation.outcome = Outcome::Errored(Reasons::one(reason(&stop, bounds, nothing_measured)));
    observation
}

fn reason(stop: &Stop, bounds: Bounds, nothing_measured: bool) -> Reason {
    let kept = if nothing_measured { "" } else { "; what it had measured is kept" };
    match stop {
        Stop::Deadline => {
            Reason::new("timeout", format!("did not finish within {}{kept}", seconds(bounds.deadline)))
                .with_detail("A case sets its own limit with `timeout: 60s`.")
        }
        Stop::Stage => Reason::new("stage-limit", format!("the time of its stage was over{kept}"))
            .with_detail("`stage_limits` in configs/matrix.yaml sets how long a stage may take."),
        Stop::Run => Reason::new("interrupted", format!("stopped by a signal{kept}")),
    }
}

fn never_started() -> Observation {
    Observation::new(Outcome::Skipped(Reason::new("interrupted", "the run was stopped before its turn")))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

thread_local! {
    /// Where the last panic inside a trial happened on this thread; filled only while one is polled.
    static PANIC_SITE: RefCell<Option<String>> = const { RefCell::new(None) };
    static INSIDE_TRIAL: RefCell<u32> = const { RefCell::new(0) };
}

/// Marks the thread as inside a trial while `work` is polled, so that the hook keeps its panics for the report.
async fn caught<F: Future<Output = Observation> + Send>(work: F) -> Observation {
    install_hook();
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|cx| {
        let _inside = Inside::enter();
        work.as_mut().poll(cx)
    })
    .await
}

struct Inside;

impl Inside {
    fn enter() -> Self {
        INSIDE_TRIAL.with_borrow_mut(|depth| *depth += 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE_TRIAL.with_borrow_mut(|depth| *depth -= 1);
    }
}

/// The one global thing that this crate installs: a panic hook that keeps the place of a trial's panic for its
/// report, and leaves every other panic to the hook that was there before.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if INSIDE_TRIAL.with_borrow(|depth| *depth > 0) {
                let site = info.location().map(ToString::to_string);
                PANIC_SITE.set(site);
            } else {
                before(info);
            }
        }));
    });
}

fn panicked(payload: &(dyn Any + Send)) -> Observation {
    let message = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a payload that is no text".to_owned());
    let site = PANIC_SITE.take().map(|site| format!(" at {site}")).unwrap_or_default();
    let reason = Reason::new("panic", format!("panicked{site}: {message}"))
        .with_detail("This is a fault of the suite, not of the server under test.");
    Observation::new(Outcome::Errored(Reasons::one(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Details;

    fn bounds(deadline_ms: u64, grace_ms: u64) -> Bounds {
        Bounds {
            lane: Lane::Shared,
            deadline: Duration::from_millis(deadline_ms),
            grace: Duration::from_millis(grace_ms),
        }
    }

    fn goes() -> Turn {
        Turn::Run { stage_left: None }
    }

    async fn run<F>(bounds: Bounds, work: impl FnOnce(CancellationToken) -> F) -> Ended
    where
        F: Future<Output = Observation> + Send,
    {
        carry_out(&Road::default(), bounds, &CancellationToken::new(), goes, work).await
    }

    fn errored(ended: Ended) -> Reason {
        let Outcome::Errored(reasons) = ended.observation.outcome else { panic!("{:?}", ended.observation) };
        reasons.first().clone()
    }

    #[tokio::test]
    async fn what_the_suite_says_is_what_comes_out() {
        let ended = run(bounds(1000, 10), |_| async { Observation::new(Outcome::Passed) }).await;
        assert_eq!(ended.observation.outcome, Outcome::Passed);
    }

    #[tokio::test]
    async fn at_the_deadline_the_suite_is_told_to_stop_and_its_record_is_kept() {
        let ended = run(bounds(20, 5000), |cancel| async move {
            cancel.cancelled().await;
            let mut observation = Observation::new(Outcome::Passed);
            observation.details = Some(Details { schema: "perf/1".into(), value: serde_json::json!({}) });
            observation
        })
        .await;
        assert!(ended.observation.details.is_some());
        let reason = errored(ended);
        assert_eq!(reason.kind, "timeout");
        assert_eq!(reason.summary, "did not finish within 0.02 s; what it had measured is kept");
    }

    #[tokio::test]
    async fn a_suite_that_does_not_listen_is_dropped_after_the_grace() {
        let ended = run(bounds(10, 10), |_| async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Observation::new(Outcome::Passed)
        })
        .await;
        assert!(ended.took < Duration::from_secs(5));
        assert_eq!(errored(ended).summary, "did not finish within 0.01 s");
    }

    #[tokio::test]
    async fn the_deadline_starts_inside_the_lane() {
        let road = Road::default();
        let held = road.enter(Lane::Exclusive).await;
        let token = CancellationToken::new();
        let waits =
            carry_out(&road, bounds(60, 10), &token, goes, |_| async { Observation::new(Outcome::Passed) });
        let release = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            drop(held);
        };
        let (ended, ()) = tokio::join!(waits, release);
        assert_eq!(ended.observation.outcome, Outcome::Passed);
    }

    #[tokio::test]
    async fn a_stage_whose_time_is_over_stops_what_runs() {
        let (road, token) = (Road::default(), CancellationToken::new());
        let turn = || Turn::Run { stage_left: Some(Duration::from_millis(10)) };
        let work = |cancel: CancellationToken| async move {
            cancel.cancelled().await;
            Observation::new(Outcome::Passed)
        };
        let ended = carry_out(&road, bounds(60_000, 1000), &token, turn, work).await;
        assert_eq!(errored(ended).kind, "stage-limit");
    }

    #[tokio::test]
    async fn a_trial_that_is_not_meant_any_more_does_not_begin() {
        let (road, token) = (Road::default(), CancellationToken::new());
        let skipped = Observation::new(Outcome::Skipped(Reason::new("stopped", "no more")));
        let turn = || Turn::Pass(Box::new(skipped.clone()));
        let ended = carry_out(&road, bounds(1000, 10), &token, turn, |_| async { panic!("it began") }).await;
        assert_eq!((ended.observation, ended.took), (skipped.clone(), Duration::ZERO));
    }

    #[tokio::test]
    async fn a_panic_is_a_verdict_with_its_place() {
        let ended = run(bounds(1000, 10), |_| async { panic!("boom {}", 1) }).await;
        let reason = errored(ended);
        assert_eq!(reason.kind, "panic");
        assert!(reason.summary.starts_with("panicked at harness/src/trial.rs:"), "{}", reason.summary);
        assert!(reason.summary.ends_with(": boom 1"), "{}", reason.summary);
    }

    #[tokio::test]
    async fn a_cancelled_run_stops_what_runs_and_skips_what_waits() {
        let road = Road::default();
        let token = CancellationToken::new();
        let running = carry_out(&road, bounds(60_000, 10), &token, goes, |cancel| async move {
            cancel.cancelled().await;
            Observation::new(Outcome::Passed)
        });
        let stop = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            token.cancel();
        };
        let (ended, ()) = tokio::join!(running, stop);
        assert_eq!(errored(ended).kind, "interrupted");

        let _held = road.enter(Lane::Exclusive).await;
        let late = carry_out(
            &road,
            bounds(60_000, 10),
            &token,
            || panic!("entered"),
            |_| async { Observation::new(Outcome::Passed) },
        );
        let Outcome::Skipped(reason) = late.await.observation.outcome else { panic!("ran") };
        assert_eq!(reason.kind, "interrupted");
    }
}
