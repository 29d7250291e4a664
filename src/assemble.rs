//! From flags, environment and files to a session: [`Assembly`], the one composition root of both doors.
//! Must not know how a run goes on; the session does.
//!
//! 组装：由配置生成会话。

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::ExposeSecret as _;
use st_harness::{
    capability::Catalogue,
    diag::Problem,
    gate::Gates,
    host::Host,
    journal::Tool,
    redact::Redactor,
    report::Report,
    session::{Plan, Session, Stages},
    suite::Suite,
    terminal,
};

use crate::{
    accuracy::{self, Accuracy},
    baseline::{Baseline, runs::Runs},
    client::Target,
    config::{Environment, Flags, OnFailure, Policy, RunType, Settings, StageLimits},
    functional::{self, FunctionalSuite},
    perf::Perf,
    report,
    server::Server,
    tools::Tools,
};

/// Set by `run-matrix` for its children: the run that they belong to.
pub(crate) const PARENT_RUN: &str = "VLLM_CIBENCH_PARENT_RUN";

/// Trials that wait for a server rather than for a processor: more at once than there are cores.
const THREADS: usize = 8;

/// Which door a run came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `cargo test --test st`: runs lie in `target/st/`, and `latest` points at the newest.
    CargoTest,
    /// The command: runs lie in `artifacts/`, a folder a scenario.
    Command,
}

/// A session, and what it was made of.
pub struct Prepared {
    /// The session.
    pub session: Session<Server>,
    /// What it does and to whom.
    pub settings: Arc<Settings>,
    /// The earlier runs that performance is held against; nothing where it is held against none.
    pub baseline: Option<Arc<Runs>>,
}

type Extra = Box<dyn FnOnce(Session<Server>) -> Session<Server>>;

/// A session to be, for the cases and configuration below a root.
pub struct Assembly {
    root: Utf8PathBuf,
    extras: Vec<Extra>,
    only: Only,
}

/// Which suites take part.
enum Only {
    /// As the matrix says.
    Planned,
    /// Functional cases.
    Functional,
    /// The performance cases of this file.
    Perf(Utf8PathBuf),
}

impl Assembly {
    /// The suites and reports of this crate.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into(), extras: Vec::new(), only: Only::Planned }
    }

    /// Leaves out everything but functional cases.
    #[must_use]
    pub fn only_functional(mut self) -> Self {
        self.only = Only::Functional;
        self
    }

    /// Leaves out everything but the performance cases of one file, whatever its name; they are held against no
    /// earlier run, and nothing is pushed.
    #[must_use]
    pub fn only_perf(mut self, cases: impl Into<Utf8PathBuf>) -> Self {
        self.only = Only::Perf(cases.into());
        self
    }

    /// Adds a suite of the caller's own, whose cases lie in `cases/<kind>/`.
    #[must_use]
    pub fn suite<S: Suite<Target>>(mut self, suite: S) -> Self {
        let cases = Utf8PathBuf::from("cases").join(suite.kind());
        self.extras.push(Box::new(|session| session.suite(suite, cases, None)));
        self
    }

    /// Adds a report of the caller's own.
    #[must_use]
    pub fn report<R: Report + 'static>(mut self, report: R) -> Self {
        self.extras.push(Box::new(|session| session.report(Box::new(report))));
        self
    }

    /// Weighs flags, environment and files, and puts the session together.
    ///
    /// # Errors
    /// Every mistake of every file, flag and variable.
    pub fn session(
        self,
        flags: &Flags,
        environment: &Environment,
        door: Door,
    ) -> Result<Session<Server>, Vec<Problem>> {
        Ok(self.prepared(flags, environment, door)?.session)
    }

    /// The same with what it was made of.
    ///
    /// # Errors
    /// As [`session`](Self::session).
    pub fn prepared(
        self,
        flags: &Flags,
        environment: &Environment,
        door: Door,
    ) -> Result<Prepared, Vec<Problem>> {
        let catalogue = functional::capability::catalogue();
        let settings = Settings::resolve(flags, environment, &self.root, &catalogue);
        let key = settings.as_ref().ok().and_then(|settings| settings.endpoint.api_key.clone());
        let (tools, mistakes) = Tools::read(&self.root, environment, key);
        let mut settings = match settings {
            Ok(settings) if mistakes.is_empty() => settings,
            Ok(_) => return Err(mistakes),
            Err(problems) => return Err(problems.into_iter().chain(mistakes).collect()),
        };
        match &self.only {
            Only::Planned => {}
            Only::Functional => {
                settings.plan.functional = true;
                settings.plan.functional_suites = None;
                (settings.plan.perf, settings.plan.accuracy, settings.plan.push) = (false, false, false);
            }
            Only::Perf(_) => {
                (settings.plan.functional, settings.plan.accuracy) = (false, false);
                (settings.plan.perf, settings.plan.push) = (false, false);
                settings.perf_gate.policy = Policy::Off;
                // What the matrix says of stages is of runs that it plans.
                settings.plan.stage_limits = StageLimits::default();
                settings.plan.on_failure = OnFailure::Continue;
            }
        }
        for warning in &settings.warnings {
            terminal::say(&format!("warning: {warning}"));
        }
        if let Some(problem) = settings.refused_by_nextest(environment) {
            return Err(vec![problem]);
        }
        let settings = Arc::new(settings);
        let plan = plan(&settings, environment, door);
        let gate = gate(&settings, &runs(&settings, door))?;
        let declared = settings.declared();
        let server = Server::new(Arc::clone(&settings), declared)?;
        let session = Session::new(&self.root, plan, server, catalogue);
        let mut session = with_suites(session, &settings, environment, &tools);
        if let Only::Perf(cases) = &self.only {
            session = session.suite(Perf::new(&settings.root).of_any_file(), cases, None);
        }
        let mut session = report::domain(&settings.metric_prefix).into_iter().fold(session, Session::report);
        let baseline = gate.as_ref().map(|gate| gate.runs());
        if let Some(gate) = gate {
            session = session.gate(gate);
        }
        let session = self.extras.into_iter().fold(session, |session, extra| extra(session));
        Ok(Prepared { session, settings, baseline })
    }

    /// What the server can be asked for, by name.
    pub fn catalogue() -> Catalogue {
        functional::capability::catalogue()
    }
}

fn with_suites(
    mut session: Session<Server>,
    settings: &Settings,
    environment: &Environment,
    tools: &Tools,
) -> Session<Server> {
    let stages = &settings.plan;
    let only =
        stages.functional_suites.as_ref().map(|suites| suites.iter().map(|one| one.name.clone()).collect());
    if let Some(cases) =
        cases(settings, "functional", settings.functional_config.as_deref(), stages.functional)
    {
        let suite =
            if settings.scenario.strict { FunctionalSuite::strict() } else { FunctionalSuite::default() };
        session = session.suite(suite, cases, only);
    }
    if let Some(cases) = cases(settings, "accuracy", settings.accuracy_config.as_deref(), stages.accuracy) {
        session = session.suite(accuracy(settings, environment).with_tools(tools.clone()), cases, None);
    }
    if let Some(cases) = cases(settings, "perf", None, stages.perf) {
        session = session.suite(Perf::new(&settings.root).with_tools(tools.clone()), cases, None);
    }
    session
}

/// Whose answers may be taken up after a kill: those of the same scenario at the same configured address.
fn accuracy(settings: &Settings, environment: &Environment) -> Accuracy {
    let address = settings.endpoint.base_url.as_ref().map_or("", |url| url.as_str());
    let answers = settings.root.join(accuracy::answers::FOLDER);
    Accuracy::new(&settings.root)
        .in_environment(environment)
        .keeping_answers_in(answers, Arc::new(redactor(settings)))
        .identified_by(format!("{}\n{address}", settings.scenario.name))
}

/// Where the cases of a stage lie, if it runs at all: what the caller names, else `cases/<kind>/`. A crate that
/// has no such folder has no such cases.
fn cases(settings: &Settings, kind: &str, instead: Option<&Utf8Path>, runs: bool) -> Option<Utf8PathBuf> {
    let usual = Utf8Path::new("cases").join(kind);
    match instead {
        _ if !runs => None,
        Some(path) => Some(path.to_owned()),
        None => settings.root.join(&usual).is_dir().then_some(usual),
    }
}

fn plan(settings: &Settings, environment: &Environment, door: Door) -> Plan {
    let host = Host::from_environment(|name| environment.get(name));
    let run_id = Plan::run_id(&host);
    let parent_run = environment.get(PARENT_RUN).map(str::to_owned);
    let (folder, latest_in) = folder(settings, &run_id, parent_run.as_deref(), door);
    Plan {
        tool: tool(),
        run_id,
        parent_run,
        scenario: settings.scenario.name.clone(),
        run_type: settings.run_type.label().to_owned(),
        selects: settings.run_type.as_str().to_owned(),
        folder,
        latest_in,
        threads: THREADS,
        gates: Gates {
            require_capabilities: settings.scenario.gates.require_capabilities.clone(),
            max_skipped: settings.scenario.gates.max_skipped.map(u64::from),
        },
        stages: Stages {
            limits: settings
                .plan
                .stage_limits
                .by_kind()
                .map(|(kind, limit)| (kind.to_owned(), limit))
                .collect(),
            stop_on_red: settings.plan.on_failure != OnFailure::Continue,
        },
        host,
        redactor: Arc::new(redactor(settings)),
        argv: std::env::args().collect(),
        variables: environment.told(),
        terms: settings.perf_gate.terms(),
    }
}

/// This tool, for the record.
pub(crate) fn tool() -> Tool {
    Tool {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        optimised: !cfg!(debug_assertions),
    }
}

/// Where runs lie.
fn runs(settings: &Settings, door: Door) -> Utf8PathBuf {
    let usual = match door {
        Door::CargoTest => "target/st",
        Door::Command => "artifacts",
    };
    settings.artifacts.clone().unwrap_or_else(|| settings.root.join(usual))
}

/// Where this run leaves its files. A run that another one started lies in that one's folder.
fn folder(
    settings: &Settings,
    run_id: &str,
    parent: Option<&str>,
    door: Door,
) -> (Utf8PathBuf, Option<Utf8PathBuf>) {
    let runs = runs(settings, door);
    match door {
        Door::CargoTest => (runs.join(run_id), Some(runs)),
        Door::Command => (runs.join(parent.unwrap_or(run_id)).join(&settings.scenario.name), None),
    }
}

/// What holds performance against earlier runs. A run that is labelled `pr` only for want of a type is held against
/// nothing, unless somebody says against what.
pub(crate) fn gate(settings: &Settings, runs: &Utf8Path) -> Result<Option<Baseline>, Vec<Problem>> {
    let gate = &settings.perf_gate;
    if settings.run_type == RunType::Smoke && gate.baseline.is_none() {
        return Ok(None);
    }
    let place = gate.baseline.as_deref().unwrap_or(runs);
    let enforced = settings.run_type != RunType::Daily;
    Baseline::open(gate.clone(), place, &settings.scenario.name, enforced).map(Some)
}

/// Masks the secrets of `settings`, and the server's address where that is wished.
pub(crate) fn redactor(settings: &Settings) -> Redactor {
    redactor_of([settings])
}

/// The same for what is said of several servers at once.
pub(crate) fn redactor_of<'a>(all: impl IntoIterator<Item = &'a Settings>) -> Redactor {
    all.into_iter().fold(Redactor::new(), |redactor, settings| {
        let with_secrets =
            settings.secrets().fold(redactor, |redactor, secret| redactor.secret(secret.expose_secret()));
        match (&settings.endpoint.base_url, settings.mask_urls) {
            (Some(url), true) => with_secrets.address(url.as_str()),
            _ => with_secrets,
        }
    })
}
