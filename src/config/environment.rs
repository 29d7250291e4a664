//! The environment, read once: [`Environment`] is all that this crate ever learns from environment variables.
//! Must not know what a value is good for: [`Settings`](super::Settings) decides that.
//!
//! 环境变量：只读一次，之后只是一个值。

use std::{collections::BTreeMap, fmt};

use camino::Utf8PathBuf;
use secrecy::SecretString;
use st_harness::suggest;

/// What every variable of ours begins with.
pub const PREFIX: &str = "VLLM_CIBENCH_";

/// Every variable of ours that is read, with what it is for.
pub const VARIABLES: &[(&str, &str)] = &[
    ("VLLM_CIBENCH_SCENARIO", "name of a file in configs/scenarios/"),
    ("VLLM_CIBENCH_RUN_TYPE", "`smoke`, `pr` or `daily`"),
    ("VLLM_CIBENCH_BASE_URL", "base URL of a running server, with its /v1; without a scenario: attach to it"),
    ("VLLM_CIBENCH_MODEL", "the model's name in requests"),
    ("VLLM_CIBENCH_API_KEY", "key of the server; never shown"),
    ("VLLM_CIBENCH_FUNCTIONAL_CONFIG", "file or folder that replaces cases/functional/"),
    ("VLLM_CIBENCH_ACCURACY_CONFIG", "file or folder that replaces cases/accuracy/"),
    (
        "VLLM_CIBENCH_ACCURACY_DATA",
        "folder with the files of the accuracy benchmarks, such as gpqa_diamond.csv",
    ),
    ("VLLM_CIBENCH_TOOLS", "folder where other people's tools are installed, each in a folder of its name"),
    (
        "VLLM_CIBENCH_CAPABILITIES",
        "comma-separated: what the server can do; `-chat.tools` says that it cannot",
    ),
    ("VLLM_CIBENCH_K8S_DELETE_YAML", "manifest that is deleted after a Kubernetes scenario"),
    ("VLLM_CIBENCH_METRIC_PREFIX", "prefix of every exported metric's name"),
    ("VLLM_CIBENCH_MAIN_REPOSITORY", "`owner/name`, the one repository whose daily figures are pushed"),
    ("VLLM_CIBENCH_INSTANCE", "what pushed figures are told for instead of this machine's name"),
    ("VLLM_CIBENCH_SPOOL", "folder for figures that could not be pushed (default: `push-spool`)"),
    ("VLLM_CIBENCH_ARTIFACTS", "folder for the run's files"),
    (
        "VLLM_CIBENCH_BASELINE",
        "earlier runs to hold performance and accuracy against: a folder of runs, the folder of one run, or its journal",
    ),
    ("VLLM_CIBENCH_GATE_POLICY", "`seed000`, `interval` or `off`: what decides whether performance is worse"),
    ("VLLM_CIBENCH_PARENT_RUN", "set by run-matrix for its children: the run that they belong to"),
    ("VLLM_CIBENCH_RECORD", "folder that every exchange is recorded to"),
    ("VLLM_CIBENCH_REPLAY", "folder of a recording that answers instead of a server"),
    (
        "VLLM_CIBENCH_MASK_URLS",
        "`true` or `false`: mask host and port of servers in files (default: `true` in CI)",
    ),
    ("VLLM_CIBENCH_RUN_ID", "set for whatever a run starts, so that it can be found; read by nobody"),
    ("VLLM_CIBENCH_TEST_KUBECONFIG", "a test cluster; read by this project's own tests only"),
];

/// What the process was told by its surroundings. A variable that is set to nothing counts as not set: that is
/// how CI systems hand out a secret that a fork may not have.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// The names (of ours) whose values are not text; their values are not kept.
    unreadable: Vec<String>,
}

impl Environment {
    /// The environment of this process. The one place that reads it.
    pub fn of_process() -> Self {
        let mut this = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => this.put(name, value),
                Err(_) if name.starts_with(PREFIX) => this.unreadable.push(name),
                Err(_) => {}
            }
        }
        this
    }

    /// An environment that holds exactly `pairs`.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut this = Self::default();
        for (name, value) in pairs {
            this.put(name.into(), value.into());
        }
        this
    }

    fn put(&mut self, name: String, value: String) {
        if !value.is_empty() {
            self.variables.insert(name, value);
        }
    }

    /// The value of `name`, where it is set to something.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A variable of ours, by the part of its name after the prefix.
    pub(super) fn ours(&self, short: &str) -> Option<&str> {
        self.get(&format!("{PREFIX}{short}"))
    }

    /// A variable of ours that names a file or folder.
    pub(super) fn path(&self, short: &str) -> Option<Utf8PathBuf> {
        self.ours(short).map(Utf8PathBuf::from)
    }

    /// The server's key.
    pub fn api_key(&self) -> Option<SecretString> {
        self.ours("API_KEY").map(SecretString::from)
    }

    /// Where metrics are pushed to. Secret, because such an address may carry a password.
    pub fn pushgateway_url(&self) -> Option<SecretString> {
        self.get("PROM_PUSHGATEWAY_URL").map(SecretString::from)
    }

    /// The CI system, where there is one.
    pub fn ci(&self) -> Option<Ci> {
        let said = self.get("CI").is_some_and(|value| !matches!(value, "0" | "false"));
        let github = (self.get("GITHUB_ACTIONS") == Some("true")).then(|| Github::read(self));
        (said || github.is_some()).then_some(Ci { github })
    }

    /// What cargo-nextest says about the process that it started.
    pub fn nextest(&self) -> Option<Nextest> {
        (self.get("NEXTEST") == Some("1")).then(|| Nextest {
            run_id: self.owned("NEXTEST_RUN_ID"),
            listing: self.get("NEXTEST_TEST_PHASE") == Some("list"),
            test_name: self.owned("NEXTEST_TEST_NAME"),
            attempt: self.get("NEXTEST_ATTEMPT").and_then(|text| text.parse().ok()),
            workspace_root: self.get("NEXTEST_WORKSPACE_ROOT").map(Utf8PathBuf::from),
        })
    }

    /// What is odd but stops nothing: a variable with our prefix that nobody reads is most likely misspelt.
    pub fn warnings(&self) -> Vec<String> {
        let known = VARIABLES.iter().map(|(name, _)| *name);
        let unknown = self.variables.keys().filter(|name| name.starts_with(PREFIX));
        let unknown = unknown.filter(|name| !VARIABLES.iter().any(|(known, _)| known == name));
        let mut said: Vec<String> = unknown
            .map(|name| match suggest::near(name, known.clone()).first() {
                Some(near) => format!("nothing reads the environment variable {name}; did you mean {near}?"),
                None => format!("nothing reads the environment variable {name}"),
            })
            .collect();
        said.extend(self.unreadable.iter().map(|name| format!("{name} is not valid UTF-8 and was left out")));
        said
    }

    /// The variables that have a say, for the record: a command line alone does not repeat a run. What may hold a secret
    /// stands there without its value.
    pub fn told(&self) -> BTreeMap<String, String> {
        // Those by which one process tells another what it belongs to would mislead whoever repeats a run.
        let between_processes =
            ["VLLM_CIBENCH_PARENT_RUN", "VLLM_CIBENCH_RUN_ID", "VLLM_CIBENCH_TEST_KUBECONFIG"];
        let known = VARIABLES.iter().map(|(name, _)| *name).filter(|name| !between_processes.contains(name));
        let ours = known.filter_map(|name| self.variables.get_key_value(name));
        let told = ours.map(|(name, value)| match name.as_str() {
            "VLLM_CIBENCH_API_KEY" => (name.clone(), "***".to_owned()),
            _ => (name.clone(), value.clone()),
        });
        let gateway = self.pushgateway_url().map(|_| ("PROM_PUSHGATEWAY_URL".to_owned(), "***".to_owned()));
        told.chain(gateway).collect()
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

impl fmt::Debug for Environment {
    /// Names only: any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// A CI system runs us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ci {
    /// It is GitHub Actions.
    pub github: Option<Github>,
}

/// What GitHub Actions says of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Github {
    /// File that the job's summary is appended to.
    pub step_summary: Option<Utf8PathBuf>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// `pull_request`, `schedule`, `push`…
    pub event_name: Option<String>,
    /// The commit.
    pub sha: Option<String>,
    /// Branch or tag, short.
    pub ref_name: Option<String>,
    /// The pull request's source branch.
    pub head_ref: Option<String>,
    /// The pull request's target branch.
    pub base_ref: Option<String>,
    /// The workflow run.
    pub run_id: Option<String>,
    /// Where the repository was checked out.
    pub workspace: Option<Utf8PathBuf>,
}

impl Github {
    fn read(from: &Environment) -> Self {
        Self {
            step_summary: from.get("GITHUB_STEP_SUMMARY").map(Utf8PathBuf::from),
            repository: from.owned("GITHUB_REPOSITORY"),
            event_name: from.owned("GITHUB_EVENT_NAME"),
            sha: from.owned("GITHUB_SHA"),
            ref_name: from.owned("GITHUB_REF_NAME"),
            head_ref: from.owned("GITHUB_HEAD_REF"),
            base_ref: from.owned("GITHUB_BASE_REF"),
            run_id: from.owned("GITHUB_RUN_ID"),
            workspace: from.get("GITHUB_WORKSPACE").map(Utf8PathBuf::from),
        }
    }
}

/// What cargo-nextest says of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nextest {
    /// The same for every process of one run.
    pub run_id: Option<String>,
    /// This process only lists the tests.
    pub listing: bool,
    /// The one test that this process runs.
    pub test_name: Option<String>,
    /// From 1.
    pub attempt: Option<u32>,
    /// The workspace's folder.
    pub workspace_root: Option<Utf8PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn a_variable_set_to_nothing_is_not_set() {
        let environment = env(&[("VLLM_CIBENCH_API_KEY", ""), ("VLLM_CIBENCH_MODEL", "m")]);
        assert!(environment.api_key().is_none());
        assert_eq!(environment.ours("MODEL"), Some("m"));
    }

    #[test]
    fn a_misspelt_variable_is_told_with_the_nearest_name() {
        let environment = env(&[("VLLM_CIBENCH_BASEURL", "x"), ("VLLM_CIBENCH_MODEL", "m"), ("OTHER", "y")]);
        assert_eq!(
            environment.warnings(),
            [
                "nothing reads the environment variable VLLM_CIBENCH_BASEURL; did you mean VLLM_CIBENCH_BASE_URL?"
            ]
        );
    }

    #[test]
    fn every_variable_in_the_table_is_known() {
        let all = VARIABLES.iter().map(|(name, _)| (*name, "x"));
        assert_eq!(Environment::from_pairs(all).warnings(), Vec::<String>::new());
        assert!(VARIABLES.iter().all(|(name, _)| name.starts_with(PREFIX)));
    }

    #[test]
    fn printing_it_for_a_debugger_shows_no_value() {
        let shown = format!("{:?}", env(&[("VLLM_CIBENCH_API_KEY", "sk-seeded"), ("TOKEN", "other-secret")]));
        assert_eq!(shown, r#"{"TOKEN", "VLLM_CIBENCH_API_KEY"}"#);
    }

    #[test]
    fn github_is_seen_with_what_reports_need() {
        let environment = env(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", "abc"),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_STEP_SUMMARY", "/tmp/summary.md"),
        ]);
        let github = environment.ci().and_then(|ci| ci.github).expect("GitHub");
        assert_eq!((github.sha.as_deref(), github.ref_name.as_deref()), (Some("abc"), Some("main")));
        assert_eq!(github.step_summary.as_deref(), Some("/tmp/summary.md".into()));
        assert_eq!(github.head_ref, None);
    }

    #[test]
    fn ci_is_what_says_so() {
        assert_eq!(env(&[("CI", "true")]).ci(), Some(Ci { github: None }));
        assert_eq!(env(&[("CI", "false")]).ci(), None);
        assert_eq!(env(&[]).ci(), None);
    }

    #[test]
    fn nextest_tells_listing_from_running() {
        assert_eq!(env(&[("NEXTEST_RUN_ID", "x")]).nextest(), None);
        let listing = env(&[("NEXTEST", "1"), ("NEXTEST_TEST_PHASE", "list"), ("NEXTEST_RUN_ID", "r")]);
        let listing = listing.nextest().expect("nextest");
        assert!(listing.listing && listing.run_id.as_deref() == Some("r"));
        let running = env(&[("NEXTEST", "1"), ("NEXTEST_TEST_PHASE", "run"), ("NEXTEST_ATTEMPT", "2")]);
        let running = running.nextest().expect("nextest");
        assert!(!running.listing && running.attempt == Some(2));
    }
}
