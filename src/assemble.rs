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
    session::{Plan, Session},
    suite::Suite,
};

use crate::{
    accuracy::{self, Accuracy},
    client::Target,
    config::{Environment, Flags, Settings},
    functional::{self, FunctionalSuite},
    perf::Perf,
    report,
    server::Server,
};

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

type Extra = Box<dyn FnOnce(Session<Server>) -> Session<Server>>;

/// A session to be, for the cases and configuration below a root.
pub struct Assembly {
    root: Utf8PathBuf,
    extras: Vec<Extra>,
}

impl Assembly {
    /// The suites and reports of this crate.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into(), extras: Vec::new() }
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
        let catalogue = functional::capability::catalogue();
        let settings = Settings::resolve(flags, environment, &self.root, &catalogue)?;
        for warning in &settings.warnings {
            eprintln!("warning: {warning}");
        }
        if let Some(problem) = settings.refused_by_nextest(environment) {
            return Err(vec![problem]);
        }
        let settings = Arc::new(settings);
        let plan = plan(&settings, environment, door);
        let declared = settings.declared();
        let server = Server::new(Arc::clone(&settings), declared)?;
        let session = with_suites(Session::new(&self.root, plan, server, catalogue), &settings, environment);
        let session = report::domain(&settings.metric_prefix).into_iter().fold(session, Session::report);
        Ok(self.extras.into_iter().fold(session, |session, extra| extra(session)))
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
        session = session.suite(accuracy(settings, environment), cases, None);
    }
    if let Some(cases) = cases(settings, "perf", None, stages.perf) {
        session = session.suite(Perf, cases, None);
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
    let (folder, latest_in) = folder(settings, &run_id, door);
    Plan {
        tool: Tool {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimised: !cfg!(debug_assertions),
        },
        run_id,
        parent_run: environment.get("VLLM_CIBENCH_PARENT_RUN").map(str::to_owned),
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
        stages: st_harness::session::Stages::default(),
        host,
        redactor: Arc::new(redactor(settings)),
        argv: std::env::args().collect(),
    }
}

fn folder(settings: &Settings, run_id: &str, door: Door) -> (Utf8PathBuf, Option<Utf8PathBuf>) {
    let named = settings.artifacts.clone();
    match door {
        Door::CargoTest => {
            let runs = named.unwrap_or_else(|| settings.root.join("target/st"));
            (runs.join(run_id), Some(runs))
        }
        Door::Command => {
            let runs = named.unwrap_or_else(|| settings.root.join("artifacts"));
            (runs.join(run_id).join(&settings.scenario.name), None)
        }
    }
}

/// Masks the secrets of `settings`, and the server's address where that is wished.
pub(crate) fn redactor(settings: &Settings) -> Redactor {
    let with_secrets =
        settings.secrets().fold(Redactor::new(), |redactor, secret| redactor.secret(secret.expose_secret()));
    match (&settings.endpoint.base_url, settings.mask_urls) {
        (Some(url), true) => with_secrets.address(url.as_str()),
        _ => with_secrets,
    }
}
