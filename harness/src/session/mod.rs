//! The walk of a run from select to exit code: [`Session`]. Both doors use it, `cargo test --test st` and the
//! command; there is no second runner. Must not know what is tested.
//!
//! 会话：从选择到退出码的完整流程。

mod course;
mod finish;
mod foresee;
mod plan;
mod recorder;
mod signals;
mod trials;

use std::{collections::BTreeSet, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

pub use course::Stages;
pub use foresee::Foreseen;
pub use plan::Plan;

use crate::{
    admit::{Admission, admit},
    args::{Args, Filter, Ignored},
    capability::{CapabilityId, Catalogue},
    case::TrialId,
    diag::Problems,
    environment,
    exit::Exit,
    fixture::{Fixture, Ready, StartCx},
    folder::{FolderError, RunFolder},
    gate::TrialGate,
    host::Runner,
    journal::{Event, RunStarted},
    lane::Road,
    libtest::{self, Line},
    report::{self, Report},
    select::{self, Mounted, Selected, Wanted},
    suite::{Erased, Suite},
    verdict::{Note, Reason},
};
use course::Course;
use recorder::{Listener, Recorder};
use trials::{CaseWork, Stage, Trial, Work};

/// The trial that is red, once, where the thing under test never became ready.
pub const SETUP: &str = "setup::server";

/// A run to be: what is tested, by which suites, reported how.
pub struct Session<F: Fixture> {
    root: Utf8PathBuf,
    plan: Plan,
    fixture: Arc<F>,
    catalogue: Catalogue,
    suites: Vec<Mounted<F::World>>,
    reports: Vec<Box<dyn Report>>,
    gate: Option<Arc<dyn TrialGate>>,
    listener: Option<Listener>,
}

impl<F: Fixture> Session<F> {
    /// A session without suites, with the reports that need no knowledge of the domain. Paths of cases are
    /// relative to `root`.
    pub fn new(root: impl Into<Utf8PathBuf>, plan: Plan, fixture: F, catalogue: Catalogue) -> Self {
        let root = root.into();
        let below_root = plan.folder.strip_prefix(&root).unwrap_or(&plan.folder).to_owned();
        Self {
            root,
            plan,
            fixture: Arc::new(fixture),
            catalogue,
            suites: Vec::new(),
            reports: report::standard(below_root),
            gate: None,
            listener: None,
        }
    }

    /// Adds a suite, whose cases lie in `cases` (a folder or one file); `only` names the files that are meant.
    /// Suites run in the order in which they are added; each needs a kind of its own.
    #[must_use]
    pub fn suite<S: Suite<F::World>>(
        mut self,
        suite: S,
        cases: impl Into<Utf8PathBuf>,
        only: Option<Vec<String>>,
    ) -> Self {
        self.suites.push(Mounted { suite: Arc::new(Erased(Arc::new(suite))), cases: cases.into(), only });
        self
    }

    /// Adds a report.
    #[must_use]
    pub fn report(mut self, report: Box<dyn Report>) -> Self {
        self.reports.push(report);
        self
    }

    /// Lets `gate` decide each trial once its suite is done with it.
    #[must_use]
    pub fn gate(mut self, gate: impl TrialGate) -> Self {
        self.gate = Some(Arc::new(gate));
        self
    }

    /// Lets `listener` see every event as it is written: what a console shows.
    #[must_use]
    pub fn listen(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Where the run leaves its files.
    pub fn folder(&self) -> &Utf8Path {
        &self.plan.folder
    }

    /// Carries the run out. Everything that a person must know stands on standard error by then.
    pub fn run(self, args: &Args) -> Exit {
        let wanted = Wanted {
            root: &self.root,
            run_type: &self.plan.selects,
            filter: &args.filter,
            catalogue: &self.catalogue,
        };
        let mut problems = Problems::new();
        let cases = select::load(&self.suites, wanted, &mut problems);
        let names: Vec<TrialId> = self.names(&cases).collect();
        if args.list {
            return self.list(args, &names, &cases, problems);
        }
        // Every case is typed and checked, whatever the filter says: all mistakes of all files at once.
        let trials = self.prepare(cases, &mut problems);
        if let Err(exit) = self.refuse(args, &names, problems) {
            return exit;
        }
        self.carry_out(args, trials)
    }

    /// Whether nothing can be run: a mistake in a file, or a filter that means nothing.
    fn refuse(&self, args: &Args, names: &[TrialId], problems: Problems) -> Result<(), Exit> {
        if !problems.is_empty() {
            say(format!("{problems:#}").trim_end());
            return Err(Exit::Usage);
        }
        if names.iter().any(|name| args.filter.matches(name.as_str())) {
            return Ok(());
        }
        say(&format!("error: {}", select::nothing_selected(&args.filter, names.iter().map(TrialId::as_str))));
        Err(Exit::NothingSelected)
    }

    /// Every trial's name, in the order in which they run.
    fn names(&self, cases: &[Selected<F::World>]) -> impl Iterator<Item = TrialId> {
        let gates = self.plan.gates.all().into_iter().map(|gate| id(&format!("gate::{}", gate.name())));
        let cases: Vec<TrialId> = cases.iter().map(|one| one.case.id.clone()).collect();
        std::iter::once(id(SETUP)).chain(cases).chain(gates)
    }

    /// Prints the names. Nothing is started, and nothing else may stand on standard output. What would be
    /// skipped, as far as that is known offline, counts as ignored: nextest asks for those by themselves.
    fn list(&self, args: &Args, names: &[TrialId], cases: &[Selected<F::World>], problems: Problems) -> Exit {
        if let Err(exit) = self.refuse(args, names, problems) {
            return exit;
        }
        let declared = self.fixture.declared();
        let skipped = |one: &&Selected<F::World>| admit(&one.case, &declared) != Admission::Run;
        let names: Vec<TrialId> = match args.ignored {
            Ignored::Only => cases.iter().filter(skipped).map(|one| one.case.id.clone()).collect(),
            Ignored::Skip | Ignored::Include => names.to_vec(),
        };
        let entry = |id: TrialId| libtest::Ready { name: id.to_string(), run: Box::new(|| Line::Ok) };
        libtest::run(args, 1, names.into_iter().map(entry).collect());
        Exit::Ok
    }

    /// Types and checks the spec of every case, and puts the trials in order.
    fn prepare(&self, cases: Vec<Selected<F::World>>, problems: &mut Problems) -> Vec<Trial<F::World>> {
        let mut trials = vec![Trial { id: id(SETUP), work: Work::Setup }];
        for Selected { case, suite } in cases {
            if let Some(run) = problems.collect(suite.prepare(&case)) {
                trials.push(Trial { id: case.id.clone(), work: Work::Case(CaseWork { case, suite, run }) });
            }
        }
        // Within a suite, what shares the server runs before what must be alone.
        let kinds: Vec<&str> = self.suites.iter().map(|mounted| mounted.suite.kind()).collect();
        trials.sort_by_key(|trial| match &trial.work {
            Work::Case(work) => {
                let place = kinds.iter().position(|kind| *kind == trial.id.kind()).map_or(0, |n| n + 1);
                (place, Some(work.lane()))
            }
            Work::Setup | Work::Gate(_) => (0, None),
        });
        let gates = self.plan.gates.all().into_iter();
        trials.extend(
            gates.map(|gate| Trial { id: id(&format!("gate::{}", gate.name())), work: Work::Gate(gate) }),
        );
        trials
    }

    /// Starts the thing under test, runs the trials, takes it down, reports.
    fn carry_out(self, args: &Args, trials: Vec<Trial<F::World>>) -> Exit {
        let runtime = match Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&format!("cannot start the runtime: {error}")),
        };
        let (folder, recorder) = match self.open() {
            Ok(opened) => opened,
            Err(error) => return fail(&error.to_string()),
        };
        self.announce(&recorder, args, &trials);
        let cancel = CancellationToken::new();
        runtime.spawn(signals::watch(cancel.clone()));
        let cx = StartCx {
            folder: Arc::clone(&folder),
            cancel: cancel.clone(),
            progress: self.progress(),
            run_id: self.plan.run_id.clone(),
            wanted: self.wanted(args, &trials),
        };
        let ready = self.start(&runtime, &cx, &recorder);
        let stage = self.stage(args, &runtime, &cx, &recorder, ready);
        // Whatever happens in there, what was started is taken down.
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run_all(args, &self.plan, stage, trials)
        }));
        for note in runtime.block_on(self.fixture.stop(&cx)) {
            (cx.progress)(&format!("warning: {}", note.text));
            recorder.append(Event::Note { trial_id: None, note });
        }
        let exit = finish::finish(&self.plan, &self.reports, &folder, &recorder, cancel.is_cancelled());
        runtime.shutdown_background();
        match ran {
            Ok(()) => exit,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn wanted(&self, args: &Args, trials: &[Trial<F::World>]) -> BTreeSet<CapabilityId> {
        let of_trials = trials
            .iter()
            .filter(|trial| args.filter.matches(trial.id.as_str()))
            .flat_map(|trial| trial.planned().required_capabilities);
        of_trials.chain(self.plan.gates.require_capabilities.iter().cloned()).collect()
    }

    fn progress(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        let redactor = Arc::clone(&self.plan.redactor);
        Arc::new(move |line| say(&redactor.redact(line)))
    }

    fn open(&self) -> Result<(Arc<RunFolder>, Arc<Recorder>), FolderError> {
        let folder = RunFolder::open(&self.plan.folder, Arc::clone(&self.plan.redactor))?;
        let journal = self.plan.open_journal(&folder)?;
        if let Some(parent) = &self.plan.latest_in {
            folder.link_latest(parent)?;
        }
        Ok((Arc::new(folder), Arc::new(Recorder::new(journal, self.listener.clone()))))
    }

    fn announce(&self, recorder: &Recorder, args: &Args, trials: &[Trial<F::World>]) {
        let plan = &self.plan;
        recorder.append(Event::RunStarted(Box::new(RunStarted {
            run_id: plan.run_id.clone(),
            parent_run: plan.parent_run.clone(),
            scenario: plan.scenario.clone(),
            run_type: plan.run_type.clone(),
            git: environment::git(&self.root),
            tool: plan.tool.clone(),
            argv: plan.argv.clone(),
            variables: plan.variables.clone(),
            environment: environment::observe(),
            requested: self.fixture.requested(),
            terms: plan.terms.clone(),
        })));
        for trial in trials.iter().filter(|trial| args.filter.matches(trial.id.as_str())) {
            recorder.append(Event::TrialPlanned(trial.planned()));
        }
    }

    /// Starts the thing under test in a task of its own, so that a panic in there is a reason like any other.
    fn start(&self, runtime: &Runtime, cx: &StartCx, recorder: &Recorder) -> Result<Ready<F::World>, Reason> {
        let (fixture, task_cx) = (Arc::clone(&self.fixture), cx.clone());
        let task = runtime.spawn(async move { fixture.start(&task_cx).await });
        let ready = runtime.block_on(task).unwrap_or_else(|panic| {
            Err(Reason::new("panic", format!("starting the server panicked: {panic}")))
        });
        match &ready {
            Ok(ready) => {
                let (effective, capabilities) = (ready.effective.clone(), ready.capabilities.clone());
                recorder.append(Event::ServerReady { effective, capabilities });
                for note in &ready.notes {
                    recorder.append(Event::Note { trial_id: None, note: note.clone() });
                }
            }
            Err(reason) => {
                let text = format!("the server is not ready: {}", reason.summary);
                recorder.append(Event::Note {
                    trial_id: None,
                    note: Note { kind: "not-ready".to_owned(), text },
                });
            }
        }
        ready
    }

    fn stage(
        &self,
        args: &Args,
        runtime: &Runtime,
        cx: &StartCx,
        recorder: &Arc<Recorder>,
        ready: Result<Ready<F::World>, Reason>,
    ) -> Stage<F::World> {
        let (world, capabilities) = match ready {
            Ok(ready) => (Ok(Arc::new(ready.world)), ready.capabilities),
            Err(reason) => (Err(reason), self.fixture.declared()),
        };
        Stage {
            runtime: runtime.handle().clone(),
            road: Road::default(),
            cancel: cx.cancel.clone(),
            recorder: Arc::clone(recorder),
            folder: Arc::clone(&cx.folder),
            world,
            capabilities: Arc::new(capabilities),
            run_type: self.plan.run_type.clone(),
            run_id: self.plan.run_id.clone(),
            attempt: match self.plan.host.runner {
                Runner::NextestRun { attempt, .. } => attempt,
                Runner::Whole | Runner::NextestList => 1,
            },
            forced: args.ignored != Ignored::Skip,
            blocked_is_red: self.plan.host.is_nextest(),
            pending: watch::channel(0).0,
            gate: self.gate.clone(),
            course: Course::new(self.plan.stages.clone()),
        }
    }
}

/// Hands the trials to libtest. Where the server never became ready, `setup::server` is among them even if the
/// filter does not name it: a run that could not ask its server anything is not green.
fn run_all<W: Send + Sync + 'static>(args: &Args, plan: &Plan, stage: Stage<W>, mut trials: Vec<Trial<W>>) {
    let mut args = args.clone();
    let threads = args.threads.unwrap_or(plan.threads);
    if args.ignored == Ignored::Only && !plan.host.is_nextest() {
        trials.retain(|trial| matches!(&trial.work, Work::Case(work) if admit(&work.case, &stage.capabilities) != Admission::Run));
    }
    if stage.world.is_err() {
        trials.retain(|trial| matches!(trial.work, Work::Setup) || args.filter.matches(trial.id.as_str()));
        args.filter = Filter::default();
    }
    let meant =
        |trial: &&Trial<W>| args.filter.matches(trial.id.as_str()) && !matches!(trial.work, Work::Gate(_));
    stage.pending.send_replace(trials.iter().filter(meant).count());
    for trial in trials.iter().filter(meant) {
        if let Work::Case(work) = &trial.work {
            stage.course.expect(&trial.id, work.lane());
        }
    }
    let stage = Arc::new(stage);
    let ready = trials.into_iter().map(|trial| {
        let stage = Arc::clone(&stage);
        libtest::Ready { name: trial.id.to_string(), run: Box::new(move || stage.run(trial)) }
    });
    libtest::run(&args, threads, ready.collect());
}

fn id(text: &str) -> TrialId {
    TrialId::new(text).expect("names of setup and gates are legal ids")
}

fn fail(message: &str) -> Exit {
    say(&format!("error: {message}"));
    Exit::Errored
}

/// Standard error is for people; standard output belongs to libtest.
pub(crate) use crate::terminal::say;
