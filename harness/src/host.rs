//! Who started this process: [`Host`], read once from the environment.
//! Must not know what is tested.
//!
//! 运行环境：cargo test、nextest、CI。

/// The runner and the CI round this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Who runs the trials.
    pub runner: Runner,
    /// GitHub Actions, where it is one.
    pub github: Option<GitHub>,
}

/// Who runs the trials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runner {
    /// One process for all: `cargo test`, or the command.
    Whole,
    /// `cargo nextest` asks for the names. Whatever else stands on standard output breaks it.
    NextestList,
    /// `cargo nextest` runs one trial in this process.
    NextestRun {
        /// The same for all processes of the run.
        run_id: String,
        /// Unlike any other process's.
        attempt_id: String,
        /// From 1.
        attempt: u32,
    },
}

/// What GitHub Actions offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitHub {
    /// The file to which a step's summary is appended.
    pub step_summary: Option<String>,
}

impl Host {
    /// Asks `get` for the variables of nextest and GitHub.
    pub fn from_environment<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let get = |name: &str| get(name).map(str::to_owned);
        let runner = match (get("NEXTEST").is_some(), get("NEXTEST_TEST_PHASE").as_deref()) {
            (true, Some("list")) => Runner::NextestList,
            (true, _) => Runner::NextestRun {
                run_id: get("NEXTEST_RUN_ID").unwrap_or_else(|| "nextest".to_owned()),
                attempt_id: get("NEXTEST_ATTEMPT_ID").unwrap_or_else(|| std::process::id().to_string()),
                attempt: get("NEXTEST_ATTEMPT").and_then(|text| text.parse().ok()).unwrap_or(1),
            },
            (false, _) => Runner::Whole,
        };
        let github = (get("GITHUB_ACTIONS").as_deref() == Some("true"))
            .then(|| GitHub { step_summary: get("GITHUB_STEP_SUMMARY") });
        Self { runner, github }
    }

    /// Whether each trial has a process of its own, which cannot tell its runner at run time that it skips.
    pub fn is_nextest(&self) -> bool {
        self.runner != Runner::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pairs: &[(&str, &str)]) -> Host {
        Host::from_environment(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    #[test]
    fn nextest_is_known_by_its_phase() {
        assert_eq!(host(&[]).runner, Runner::Whole);
        assert_eq!(host(&[("NEXTEST", "1"), ("NEXTEST_TEST_PHASE", "list")]).runner, Runner::NextestList);
        let run = host(&[
            ("NEXTEST", "1"),
            ("NEXTEST_TEST_PHASE", "run"),
            ("NEXTEST_RUN_ID", "r"),
            ("NEXTEST_ATTEMPT_ID", "r:st$a"),
            ("NEXTEST_ATTEMPT", "2"),
        ]);
        assert_eq!(
            run.runner,
            Runner::NextestRun { run_id: "r".into(), attempt_id: "r:st$a".into(), attempt: 2 }
        );
    }

    #[test]
    fn github_is_known_by_its_flag_alone() {
        assert_eq!(host(&[("GITHUB_STEP_SUMMARY", "/tmp/s")]).github, None);
        assert!(host(&[("GITHUB_ACTIONS", "true")]).github.is_some());
    }
}
