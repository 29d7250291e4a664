//! How a kind of case is run: the [`Suite`] trait that a domain implements, and the [`Cx`] it runs in.
//! Must not know which suites there are.
//!
//! 套件接口：一类用例如何校验与执行。

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    capability::Capabilities,
    case::{self, ExpandedCase},
    diag::Problem,
    folder::TrialFolder,
    lane::Lane,
    read,
    verdict::Observation,
};

/// A kind of case: functional, perf, accuracy, or somebody's own.
///
/// `W` is the thing under test, as the [`Fixture`](crate::fixture::Fixture) hands it out.
pub trait Suite<W>: Send + Sync + 'static {
    /// What one case says, beside the keys that every case has. `deny_unknown_fields`; no `flatten`, no
    /// `untagged`.
    type Spec: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// The first segment of every id, and the folder below `cases/`.
    fn kind(&self) -> &'static str;

    /// How its trials share the server; a case may ask to be exclusive, never to share.
    fn lane(&self) -> Lane;

    /// The deadline of a case that names none. It starts inside the lane.
    fn timeout(&self) -> Duration;

    /// Whether the cases of this file belong to a run of this type. A suite whose files are named after run
    /// types answers `file == run_type`.
    fn selects(&self, file: &str, run_type: &str) -> bool {
        let _ = (file, run_type);
        true
    }

    /// The file in a trial's folder to which its rows go while it runs, for the record of a run that is killed.
    fn sidecar(&self) -> Option<&'static str> {
        None
    }

    /// What the types cannot say: mistakes found in a well-typed case, before anything is started.
    fn check(&self, spec: &Self::Spec, mistakes: &mut Mistakes<'_>) {
        let _ = (spec, mistakes);
    }

    /// Runs one case. Returns soon after `cx.cancel` is set, with what it has.
    fn run(&self, spec: &Self::Spec, cx: &Cx<W>) -> impl Future<Output = Observation> + Send;
}

/// Where a suite says what is wrong with a case: a JSON pointer into the spec, and a sentence.
pub struct Mistakes<'a> {
    case: &'a ExpandedCase,
    found: Vec<Problem>,
}

impl<'a> Mistakes<'a> {
    /// No mistakes in `case` yet.
    pub fn new(case: &'a ExpandedCase) -> Self {
        Self { case, found: Vec::new() }
    }

    /// The value at `pointer` is wrong: `message` says what is expected and what was found. What was told of a
    /// place already is all that is told of it.
    pub fn at(&mut self, pointer: &str, message: impl Into<String>) {
        let below = |gap: &String| {
            pointer.strip_prefix(gap.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if self.case.gaps.iter().any(below) {
            return;
        }
        self.found.push(self.case.origin.problem(pointer, message));
    }

    /// All that was said.
    pub fn into_problems(self) -> Vec<Problem> {
        self.found
    }
}

/// What a running trial may use.
pub struct Cx<W> {
    /// The thing under test.
    pub world: Arc<W>,
    /// The case: id, matrix values, origin of every line.
    pub case: Arc<ExpandedCase>,
    /// What is known of the thing under test.
    pub capabilities: Arc<Capabilities>,
    /// Set by the deadline, Ctrl-C or SIGTERM: stop sending, close the record, return.
    pub cancel: CancellationToken,
    /// Where this trial may leave files; all of them pass the redactor.
    pub folder: TrialFolder,
    /// `smoke`, `pr`, `daily`.
    pub run_type: String,
    /// The run's id, to mark what is created outside this process.
    pub run_id: String,
}

/// A case whose spec is typed and checked: runs it once.
pub(crate) type Prepared<W> = Box<dyn FnOnce(Cx<W>) -> BoxFuture<'static, Observation> + Send>;

/// A [`Suite`] with its `Spec` erased, so that a session can hold several.
pub(crate) trait AnySuite<W>: Send + Sync {
    fn kind(&self) -> &'static str;
    fn lane(&self) -> Lane;
    fn timeout(&self) -> Duration;
    fn selects(&self, file: &str, run_type: &str) -> bool;
    fn sidecar(&self) -> Option<&'static str>;
    /// Types and checks its spec. A case with gaps is never prepared: its further mistakes are told, if there are any.
    fn prepare(&self, case: &ExpandedCase) -> Result<Prepared<W>, Vec<Problem>>;
}

/// The one place where a suite's types are erased.
pub(crate) struct Erased<S>(pub(crate) Arc<S>);

impl<W: Send + Sync + 'static, S: Suite<W>> AnySuite<W> for Erased<S> {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn lane(&self) -> Lane {
        self.0.lane()
    }

    fn timeout(&self) -> Duration {
        self.0.timeout()
    }

    fn selects(&self, file: &str, run_type: &str) -> bool {
        self.0.selects(file, run_type)
    }

    fn sidecar(&self) -> Option<&'static str> {
        self.0.sidecar()
    }

    fn prepare(&self, case: &ExpandedCase) -> Result<Prepared<W>, Vec<Problem>> {
        if !case.gaps.is_empty() {
            return Err(beside_gaps::<W, S>(&self.0, case));
        }
        let spec: S::Spec = read::typed(case.spec(), &case.origin, case::CASE_KEYS)?;
        let problems = judged::<W, S>(&self.0, &spec, case);
        if !problems.is_empty() {
            return Err(problems);
        }
        let suite = Arc::clone(&self.0);
        Ok(Box::new(move |cx| async move { suite.run(&spec, &cx).await }.boxed()))
    }
}

/// What the types cannot say.
fn judged<W, S: Suite<W>>(suite: &S, spec: &S::Spec, case: &ExpandedCase) -> Vec<Problem> {
    let mut mistakes = Mistakes::new(case);
    suite.check(spec, &mut mistakes);
    mistakes.into_problems()
}

/// What is wrong with a case beside what was told already.
fn beside_gaps<W, S: Suite<W>>(suite: &S, case: &ExpandedCase) -> Vec<Problem> {
    let around = read::typed_around::<S::Spec>(case.spec(), &case.origin, case::CASE_KEYS, &case.gaps);
    let as_it_stands = read::typed::<S::Spec>(case.spec(), &case.origin, case::CASE_KEYS);
    match (around, as_it_stands) {
        (Err(problems), _) => problems,
        // The texts in the gaps have the right types: the case can be judged beside them.
        (Ok(_), Ok(spec)) => judged(suite, &spec, case),
        (Ok(_), Err(_)) => Vec::new(),
    }
}
