//! What one run does and to whom: [`Settings`], resolved once from flags, environment and files.
//! Must not start or ask anything.
//!
//! 运行设置：命令行优先于环境变量，环境变量优先于文件。

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::{ExposeSecret, SecretString};
use st_harness::{
    capability::{Capabilities, Catalogue, Source},
    diag::Problem,
};

use super::{
    base_url::BaseUrl,
    capabilities::{Claim, declare, parse_list},
    check::with_near,
    cluster::InCluster,
    environment::{Environment, PREFIX},
    files::Files,
    flags::Flags,
    gates::{PerfGate, Policy},
    launch::Launch,
    matrix::{OnFailure, Plan, SuiteName},
    providers::Provider,
    run_type::RunType,
    scenario::{Mode, Scenario, metric_prefix_is_plain},
};

/// What one run does and to whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder that `configs/` and `cases/` lie in.
    pub root: Utf8PathBuf,
    /// What is tested.
    pub scenario: Scenario,
    /// How much.
    pub run_type: RunType,
    /// Which stages, which functional suites, what follows from a failure.
    pub plan: Plan,
    /// Where the server is and how it is asked.
    pub endpoint: Endpoint,
    /// What is started on this machine (mode `local`); where it runs already: what was, as far as that is known.
    pub launch: Option<Launch>,
    /// What is started in a cluster (modes `k8s-hybrid` and `k8s-pd`); nothing where the server runs already: an
    /// address comes from outside, or the scenario gives one and no manifest.
    pub cluster: Option<InCluster>,
    /// What stands for the server in file names: the id of its provider, else the scenario's name.
    pub provider_id: String,
    /// What stands for it in tables: the name of its provider, else the scenario's name.
    pub provider_name: String,
    /// What is said of the server before it is asked. A functional file may add to it: see [`Self::declared_with`].
    declared: Vec<Declared>,
    /// Replaces cases/functional/.
    pub functional_config: Option<Utf8PathBuf>,
    /// Replaces cases/accuracy/.
    pub accuracy_config: Option<Utf8PathBuf>,
    /// Where the run's files go; nothing: the caller's default.
    pub artifacts: Option<Utf8PathBuf>,
    /// Whether exchanges are kept or answered from a recording.
    pub tape: Tape,
    /// Mask host and port of servers and gateways in files.
    pub mask_urls: bool,
    /// Stands before every metric's name; may be empty.
    pub metric_prefix: String,
    /// How performance is held against earlier runs.
    pub perf_gate: PerfGate,
    /// Where figures are pushed to, if they are: see [`Plan::push`].
    pub pushgateway_url: Option<SecretString>,
    /// What is odd but stops nothing.
    pub warnings: Vec<String>,
    secrets: Vec<SecretString>,
}

/// Where a server is and how it is asked.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its address, where it is known beforehand.
    pub base_url: Option<BaseUrl>,
    /// The model's name in requests; nothing: the only one that the server lists.
    pub model: Option<String>,
    /// Its key.
    pub api_key: Option<SecretString>,
}

/// Whether exchanges are kept or answered from a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tape {
    /// Neither.
    #[default]
    Off,
    /// Kept in this folder.
    Record(Utf8PathBuf),
    /// Answered from this folder; there is no server.
    Replay(Utf8PathBuf),
}

#[derive(Debug, Clone)]
struct Declared {
    source: Source,
    by: String,
    claims: Vec<Claim>,
}

impl Settings {
    /// Weighs `flags` against `environment` against the files below `root`. `catalogue` holds every capability
    /// that there is.
    ///
    /// # Errors
    /// Every mistake of every file and of the flags and variables themselves.
    pub fn resolve(
        flags: &Flags,
        environment: &Environment,
        root: &Utf8Path,
        catalogue: &Catalogue,
    ) -> Result<Self, Vec<Problem>> {
        let (files, problems) = Files::read_with(root, flags.providers.as_deref(), catalogue);
        let mut resolve = Resolve { flags, environment, files: &files, problems };
        let run_type = resolve.run_type();
        let scenario = resolve.scenario();
        let claims = resolve.claims(catalogue);
        let functional_config = resolve.existing("functional_config", &flags.functional_config);
        let accuracy_config = resolve.existing("accuracy_config", &flags.accuracy_config);
        let tape = resolve.tape();
        let mask_urls = resolve.mask_urls();
        let prefix = resolve.metric_prefix();
        let baseline = resolve.existing("baseline", &flags.baseline);
        let policy = resolve.policy();
        let on_failure = resolve.on_failure();
        let found = scenario.map(|scenario| {
            let provider = resolve.provider(scenario);
            let endpoint = resolve.endpoint(scenario, provider, &tape);
            let launch = resolve.launch(scenario, &endpoint);
            let cluster = resolve.cluster(scenario, &endpoint, root);
            (scenario, provider, endpoint, launch, cluster)
        });
        let problems = resolve.problems;
        let (Some((scenario, provider, endpoint, launch, cluster)), true) = (found, problems.is_empty())
        else {
            return Err(problems);
        };
        let secrets = secrets(&files, &endpoint, launch.as_ref(), environment);
        Ok(Self {
            root: root.to_owned(),
            run_type,
            plan: {
                let plan = files.matrix.plan(&scenario.name, run_type);
                let push = plan.push && !flags.dry_run;
                Plan { on_failure: on_failure.unwrap_or(plan.on_failure), push, ..plan }
            },
            provider_id: provider.map_or(&scenario.name, |provider| &provider.id).clone(),
            provider_name: provider.map_or(&scenario.name, |provider| &provider.name).clone(),
            declared: vec![
                Declared { source: Source::Environment, by: format!("{PREFIX}CAPABILITIES"), claims },
                Declared {
                    source: Source::Declared,
                    by: format!("scenario `{}`", scenario.name),
                    claims: scenario.capabilities.clone(),
                },
            ],
            metric_prefix: prefix.unwrap_or_else(|| scenario.metric_prefix.clone()),
            scenario: scenario.clone(),
            endpoint,
            launch,
            cluster,
            functional_config,
            accuracy_config,
            artifacts: flags.artifacts.clone().or_else(|| environment.path("ARTIFACTS")),
            tape,
            mask_urls,
            perf_gate: {
                let said = scenario.gates.perf.over(files.matrix.perf_gate());
                let of_file = said.baseline.as_ref().map(|path| root.join(path));
                PerfGate { policy: policy.unwrap_or(said.policy), baseline: baseline.or(of_file), ..said }
            },
            pushgateway_url: environment.pushgateway_url(),
            warnings: environment.warnings(),
            secrets,
        })
    }

    /// Whether the server is not ours to start or stop: it runs already, and where it is has been said. What a
    /// scenario declares about its server holds all the same.
    pub fn runs_already(&self) -> bool {
        match self.scenario.mode {
            Mode::Attach => true,
            Mode::Sim(_) | Mode::Local(_) => self.endpoint.base_url.is_some(),
            Mode::K8s(_) => self.cluster.is_none(),
        }
    }

    /// Why trials cannot run as these settings ask, where each trial has a process of its own: a server that is
    /// started would be started once a trial. The simulator may be: it lives in each process.
    pub fn refused_by_nextest(&self, environment: &Environment) -> Option<Problem> {
        environment.nextest()?;
        let in_each = matches!(self.scenario.mode, Mode::Sim(_));
        if self.runs_already() || in_each || matches!(self.tape, Tape::Replay(_)) {
            return None;
        }
        let name = &self.scenario.name;
        let message = format!(
            "cargo-nextest runs each trial in a process of its own, and the scenario `{name}` would start a server in each"
        );
        let help = format!(
            "start it once: `export $(vllm-cibench up --scenario {name})`, run nextest, then `vllm-cibench down`"
        );
        Some(self.scenario.origin.problem("/mode", message).with_help(help))
    }

    /// What must not stand in anything that leaves: keys, passwords, the values of variables that are named like
    /// secrets and handed to a server.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.secrets.iter()
    }

    /// What is said of the server before it is asked, strongest source first.
    pub fn declared(&self) -> Capabilities {
        self.declared_with("", &[])
    }

    /// The same with what the functional file `by` says, which is weaker than the scenario.
    pub fn declared_with(&self, by: &str, claims: &[Claim]) -> Capabilities {
        let said = self.declared.iter().map(|said| (said.source, said.by.as_str(), said.claims.as_slice()));
        declare(said.chain([(Source::Declared, by, claims)]))
    }

    /// Functional suites that the matrix names but that are not among `known`.
    pub fn unknown_suites(&self, known: &[&str]) -> Vec<Problem> {
        let listed = self.plan.functional_suites.iter().flatten();
        let unknown = listed.filter(|suite| !known.contains(&suite.name.as_str()));
        let problem = |suite: &SuiteName| {
            let message = format!("there is no functional suite `{}`", suite.name);
            let problem = self.plan.origin.problem(&suite.pointer, message);
            with_near(problem, "functional suite", &suite.name, known)
        };
        unknown.map(problem).collect()
    }
}

/// The steps of [`Settings::resolve`], each of which notes what is wrong and goes on.
struct Resolve<'a> {
    flags: &'a Flags,
    environment: &'a Environment,
    files: &'a Files,
    problems: Vec<Problem>,
}

/// A value that somebody gave, and how that somebody calls it: `--run-type` or `VLLM_CIBENCH_RUN_TYPE`.
struct Given {
    by: String,
    value: String,
}

impl<'a> Resolve<'a> {
    /// The flag, else the variable. Where a flag names a provider, no variable says anything about the server: its
    /// address and its key belong together.
    fn given(&self, name: &str, flag: Option<&String>) -> Option<Given> {
        let variable = name.to_ascii_uppercase();
        match flag {
            Some(value) => Some(Given { by: format!("--{}", name.replace('_', "-")), value: value.clone() }),
            None if self.flags.provider.is_some() && ["base_url", "model"].contains(&name) => None,
            None => self
                .environment
                .ours(&variable)
                .map(|value| Given { by: format!("{PREFIX}{variable}"), value: value.to_owned() }),
        }
    }

    fn wrong(&mut self, message: impl Into<String>) {
        self.problems.push(Problem::new(message));
    }

    fn run_type(&mut self) -> RunType {
        let Some(given) = self.given("run_type", self.flags.run_type.as_ref()) else {
            return RunType::default();
        };
        RunType::parse(&given.value).unwrap_or_else(|said| {
            self.wrong(format!("{}: {said}", given.by));
            RunType::default()
        })
    }

    /// The one that a flag names, else the scenario's own.
    fn provider(&mut self, scenario: &Scenario) -> Option<&'a Provider> {
        let Some(id) = &self.flags.provider else {
            return scenario.provider.as_deref().and_then(|id| self.files.providers.get(id));
        };
        let found = self.files.providers.get(id);
        if found.is_none() {
            let file = self.flags.providers.as_deref().map_or("configs/providers.yaml", Utf8Path::as_str);
            let problem = Problem::new(format!("--provider: there is no provider `{id}` in {file}"));
            let ids: Vec<&str> = self.files.providers.ids().collect();
            self.problems.push(with_near(problem, "provider", id, &ids));
        }
        found
    }

    /// The one that is named; else `attach` where an address or a provider is given; else `sim`.
    fn scenario(&mut self) -> Option<&'a Scenario> {
        let address = self.given("base_url", self.flags.base_url.as_ref());
        let named = self.given("scenario", self.flags.scenario.as_ref());
        let name = match (&named, &address) {
            (Some(named), _) => named.value.as_str(),
            (None, Some(_)) => "attach",
            (None, None) if self.flags.provider.is_some() => "attach",
            (None, None) => "sim",
        };
        let Some(scenario) = self.files.scenario(name) else {
            let names = self.files.names();
            if !names.contains(&name) {
                let by = named.as_ref().map(|named| format!("{}: ", named.by)).unwrap_or_default();
                let problem =
                    Problem::new(format!("{by}there is no scenario `{name}` in configs/scenarios/"));
                self.problems.push(with_near(problem, "scenario", name, &names));
            }
            return None;
        };
        Some(scenario)
    }

    fn endpoint(&mut self, scenario: &Scenario, provider: Option<&Provider>, tape: &Tape) -> Endpoint {
        let base_url = self.base_url(scenario, provider);
        let replayed = matches!(tape, Tape::Replay(_));
        if base_url.is_none()
            && matches!(scenario.mode, Mode::Attach)
            && !replayed
            && self.problems.is_empty()
        {
            let message = format!(
                "the scenario `{}` attaches to a running server, but nothing says where it is",
                scenario.name
            );
            let help = format!("set {PREFIX}BASE_URL=http://127.0.0.1:8000/v1 or give --base-url");
            self.problems.push(Problem::new(message).with_help(help));
        }
        let given = self.given("model", self.flags.model.as_ref()).map(|given| given.value);
        let by_flag =
            provider.filter(|_| self.flags.provider.is_some()).map(|provider| provider.model_name.clone());
        Endpoint {
            base_url,
            model: given
                .or(by_flag)
                .or_else(|| scenario.served_model_name.clone())
                .or_else(|| provider.map(|provider| provider.model_name.clone())),
            api_key: self.api_key(provider),
        }
    }

    fn base_url(&mut self, scenario: &Scenario, provider: Option<&Provider>) -> Option<BaseUrl> {
        if let Some(given) = self.given("base_url", self.flags.base_url.as_ref()) {
            let parsed = BaseUrl::parse(&given.value);
            return parsed.map_err(|said| self.wrong(format!("{}: {said}", given.by))).ok();
        }
        if scenario.mode.starts_here() {
            return None;
        }
        let (template, problem): (_, Box<dyn Fn(String) -> Problem>) = match (&scenario.base_url, provider) {
            (Some(template), _) if self.flags.provider.is_none() => {
                (template, Box::new(|said| scenario.origin.problem("/base_url", said)))
            }
            (_, Some(provider)) => (&provider.base_url, Box::new(|said| provider.problem("base_url", said))),
            (Some(_), None) => return None,
            (None, None) => return None,
        };
        let filled = template.fill(self.environment).and_then(|text| BaseUrl::parse(&text));
        filled.map_err(|said| self.problems.push(problem(said))).ok()
    }

    fn api_key(&mut self, provider: Option<&Provider>) -> Option<SecretString> {
        if let Some(variable) = &self.flags.api_key_env {
            let key = self.environment.get(variable).map(SecretString::from);
            if key.is_none() {
                self.wrong(format!("--api-key-env: the environment variable {variable} is not set"));
            }
            return key;
        }
        let of_environment = self.environment.api_key().filter(|_| self.flags.provider.is_none());
        of_environment.or_else(|| {
            let provider = provider?;
            provider.api_key(self.environment).unwrap_or_else(|said| {
                self.problems.push(provider.problem("api_key", said));
                None
            })
        })
    }

    /// Where the server runs already nothing is started, so the command is only what was asked of it.
    fn launch(&mut self, scenario: &Scenario, endpoint: &Endpoint) -> Option<Launch> {
        let Mode::Local(local) = &scenario.mode else { return None };
        match Launch::fill(local, self.environment) {
            Ok(launch) => Some(launch),
            Err(_) if endpoint.base_url.is_some() => None,
            Err(wrong) => {
                let each = wrong.into_iter();
                self.problems.extend(each.map(|(pointer, said)| scenario.origin.problem(&pointer, said)));
                None
            }
        }
    }

    fn cluster(&mut self, scenario: &Scenario, endpoint: &Endpoint, root: &Utf8Path) -> Option<InCluster> {
        let Mode::K8s(mode) = &scenario.mode else { return None };
        let from_outside = self.given("base_url", self.flags.base_url.as_ref()).is_some();
        if from_outside || (mode.manifest.is_none() && endpoint.base_url.is_some()) {
            return None;
        }
        let instead = self.existing("k8s_delete_yaml", &None);
        match InCluster::find(mode, root, self.environment) {
            Ok(found) => Some(InCluster { delete_manifest: instead.or(found.delete_manifest), ..found }),
            Err(wrong) => {
                let each = wrong.into_iter();
                self.problems.extend(each.map(|(pointer, said)| scenario.origin.problem(&pointer, said)));
                None
            }
        }
    }

    fn claims(&mut self, catalogue: &Catalogue) -> Vec<Claim> {
        let Some(text) = self.environment.ours("CAPABILITIES") else { return Vec::new() };
        parse_list(text, catalogue).unwrap_or_else(|mistakes| {
            for said in mistakes {
                self.wrong(format!("{PREFIX}CAPABILITIES: {said}"));
            }
            Vec::new()
        })
    }

    fn existing(&mut self, name: &str, flag: &Option<Utf8PathBuf>) -> Option<Utf8PathBuf> {
        let given = self.given(name, flag.as_ref().map(ToString::to_string).as_ref())?;
        if !Utf8Path::new(&given.value).exists() {
            self.wrong(format!("{}: there is no file or folder `{}`", given.by, given.value));
        }
        Some(given.value.into())
    }

    fn tape(&mut self) -> Tape {
        let text = |path: &Option<Utf8PathBuf>| path.as_ref().map(ToString::to_string);
        let record = self.given("record", text(&self.flags.record).as_ref());
        let replay = self.given("replay", text(&self.flags.replay).as_ref());
        match (record, replay) {
            (None, None) => Tape::Off,
            (Some(record), None) => Tape::Record(record.value.into()),
            (None, Some(replay)) => {
                if !Utf8Path::new(&replay.value).is_dir() {
                    self.wrong(format!("{}: there is no folder `{}`", replay.by, replay.value));
                }
                Tape::Replay(replay.value.into())
            }
            (Some(record), Some(replay)) => {
                self.wrong(format!("{} and {} exclude each other", record.by, replay.by));
                Tape::Off
            }
        }
    }

    fn mask_urls(&mut self) -> bool {
        if let Some(flag) = self.flags.mask_urls {
            return flag;
        }
        match self.environment.ours("MASK_URLS") {
            None => self.environment.ci().is_some(),
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(other) => {
                self.wrong(format!("{PREFIX}MASK_URLS: expected `true` or `false`, found `{other}`"));
                true
            }
        }
    }

    fn policy(&mut self) -> Option<Policy> {
        let given = self.given("gate_policy", self.flags.gate_policy.as_ref())?;
        Policy::parse(&given.value).map_err(|said| self.wrong(format!("{}: {said}", given.by))).ok()
    }

    fn on_failure(&mut self) -> Option<OnFailure> {
        let said = OnFailure::parse(self.flags.on_failure.as_deref()?);
        said.map_err(|said| self.wrong(format!("--on-failure: {said}"))).ok()
    }

    fn metric_prefix(&mut self) -> Option<String> {
        let prefix = self.environment.ours("METRIC_PREFIX")?;
        if let Err(said) = metric_prefix_is_plain(prefix) {
            self.wrong(format!("{PREFIX}METRIC_PREFIX: {said}"));
        }
        Some(prefix.to_owned())
    }
}

fn secrets(
    files: &Files,
    endpoint: &Endpoint,
    launch: Option<&Launch>,
    environment: &Environment,
) -> Vec<SecretString> {
    let mut all: Vec<SecretString> = endpoint.api_key.iter().cloned().collect();
    all.extend(files.providers.written_keys().cloned());
    all.extend(launch.iter().flat_map(|launch| launch.secrets()));
    all.extend(environment.api_key());
    if let Some(gateway) = environment.pushgateway_url() {
        let url = url::Url::parse(gateway.expose_secret()).ok();
        let password = url.and_then(|url| url.password().map(SecretString::from));
        all.extend(password);
    }
    all
}
