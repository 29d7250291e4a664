//! What would be started, and what it would have to leave: [`Plan`], for people ([`Plan::text`]) and for programs (it
//! serializes). Nothing is started, and no key is read. Must not know a case or a server: where nothing is said of them
//! a stand-in is shown.
//!
//! 预演：将要启动的命令、目录、期望产物与时限，不产生副作用。

use std::{collections::BTreeMap, fmt::Write as _};

use camino::Utf8Path;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use st_harness::suggest;

use super::{
    Adapter, Invocation, Kind, Settings, Tool, Tools,
    fill::{OPTIONAL, Places, case_dir, said_by},
};

/// Stands where a key would.
const MASK: &str = "***";

/// What is known of the case and the server that a tool would be started for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The server's address, ending in `/v1`.
    pub base_url: Option<String>,
    /// The model's name in requests.
    pub model: Option<String>,
    /// What the case says, by the names that tools use for it.
    pub settings: BTreeMap<String, String>,
}

/// What would be started.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The tool's name.
    pub tool: String,
    /// What it is.
    pub about: String,
    /// Which cases may name it.
    pub kind: Kind,
    /// The release that its adapter was shown with.
    pub version: String,
    /// Where it comes from.
    pub source: String,
    /// Its licence, by its SPDX identifier.
    pub licence: String,
    /// What is missing for it to be started; null where it is installed.
    pub missing: Option<String>,
    /// Program and arguments; never read by a shell.
    pub argv: Vec<String>,
    /// Where it would be started.
    pub cwd: String,
    /// Variables that are added to ours; a key is `***`.
    pub env: BTreeMap<String, String>,
    /// What it has to leave.
    pub result: Expected,
    /// Files beside it that are kept, by what they are.
    pub keep: BTreeMap<String, String>,
    /// Exit codes after which its result is looked at.
    pub exit_codes: Vec<i32>,
    /// How long it may run, in seconds; a case's `timeout` holds too.
    pub time_limit_s: f64,
    /// How long it may take to end once it was asked to, in seconds; then it is killed.
    pub grace_s: f64,
    #[serde(skip)]
    line: String,
}

/// What a tool has to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// A pattern of paths.
    pub path: String,
    /// Whether it may be several files; otherwise it is exactly one.
    pub several: bool,
    /// Who reads it.
    pub adapter: Adapter,
    /// A pattern of the files that tell of each sample, where there have to be any.
    pub samples: Option<String>,
}

impl Tools {
    /// What `tool` would be started as with the parameters `with`.
    ///
    /// # Errors
    /// What is said that no case of its kind says.
    pub fn plan(&self, tool: &Tool, with: &Map<String, Value>, said: &Said) -> Result<Plan, String> {
        let kind = tool.raw.kind;
        let known = said_by(kind);
        if let Some(name) = said.settings.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!(
                "a case says nothing called `{name}`; it says {}",
                suggest::list(known, "and")
            ));
        }
        let setting = |name: &&'static str| {
            let told = said.settings.get(*name).cloned();
            let value = told.or_else(|| (!OPTIONAL.contains(name)).then(|| format!("<{name}>")))?;
            Some((*name, value))
        };
        let settings: Settings = known.iter().filter_map(setting).collect();
        let (home, case_dir) = (self.home(tool), case_dir(&self.root, None, kind));
        let places = Places {
            base_url: said.base_url.as_deref().unwrap_or("<base_url>/v1"),
            model: said.model.as_deref().unwrap_or("<model>"),
            out: Utf8Path::new("<out>"),
            home: &home,
            root: &self.root,
            case_dir: &case_dir,
        };
        let key = SecretString::from(MASK);
        let invocation = Invocation::of(tool, with, &settings, &places, Some(&key));
        let below = |path: &str| format!("<out>/{path}");
        let raw = &tool.raw;
        Ok(Plan {
            tool: tool.name.clone(),
            about: raw.about.clone(),
            kind,
            version: raw.version.clone(),
            source: raw.source.clone(),
            licence: raw.licence.clone(),
            missing: self.installed(tool).err(),
            line: invocation.line(),
            argv: invocation.argv,
            cwd: invocation.cwd.into_string(),
            env: invocation.env,
            result: Expected {
                path: below(&raw.result.path),
                several: raw.result.adapter.takes_several(),
                adapter: raw.result.adapter,
                samples: raw.result.samples.as_deref().map(below),
            },
            keep: raw.keep.iter().map(|(role, path)| (role.clone(), below(path))).collect(),
            exit_codes: raw.exit_codes.clone(),
            time_limit_s: raw.time_limit.as_secs_f64(),
            grace_s: raw.grace.as_secs_f64(),
        })
    }
}

impl Plan {
    /// For people: what it is, each argument on a line, what it has to leave, and the same as one line for a shell.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} {}: {} ({}, {})\n\nargument vector\n",
            self.tool, self.version, self.about, self.source, self.licence
        );
        // Writing to memory does not fail.
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(text, "{label:<14} {value}");
        };
        for (index, argument) in self.argv.iter().enumerate() {
            line(&format!("{index:>5}"), argument);
        }
        line("started in", &self.cwd);
        for (name, value) in &self.env {
            line("environment", &format!("{name}={value}"));
        }
        let many = if self.result.several { "one file or several" } else { "exactly one file" };
        let adapter = serde_json::to_value(self.result.adapter).unwrap_or_default();
        let adapter = adapter.as_str().unwrap_or_default();
        line("has to leave", &format!("{} ({many}, new, not empty; read as {adapter})", self.result.path));
        if let Some(path) = &self.result.samples {
            line("and", &format!("{path} (a line for each sample, adding up to the result)"));
        }
        for (role, path) in &self.keep {
            line("kept beside it", &format!("{path} ({role})"));
        }
        let codes: Vec<String> = self.exit_codes.iter().map(i32::to_string).collect();
        line("exit codes", &codes.join(", "));
        let killed = "then it is killed with all that it started";
        line(
            "time limit",
            &format!("{} s, and {} s to end when asked to; {killed}", self.time_limit_s, self.grace_s),
        );
        text + "\n" + &self.line + "\n"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Environment;

    fn plan(name: &str, with: Value, said: &Said) -> Result<Plan, String> {
        let root = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(root.path()).unwrap();
        let (tools, problems) =
            Tools::read(root, &Environment::default(), Some(SecretString::from("sk-secret")));
        assert!(problems.is_empty(), "{problems:?}");
        tools.plan(tools.get(name).unwrap(), with.as_object().unwrap(), said)
    }

    #[test]
    fn what_is_not_said_has_a_stand_in_and_a_key_is_never_shown() {
        let plan = plan("lm_eval", json!({"tasks": "open sums"}), &Said::default()).unwrap();
        assert!(plan.argv.contains(&"open sums".to_owned()), "{:?}", plan.argv);
        assert!(plan.argv.iter().any(|part| part.contains("base_url=<base_url>/v1/chat/completions")));
        assert!(!plan.argv.contains(&"--limit".to_owned()));
        assert_eq!((plan.env["OPENAI_API_KEY"].as_str(), plan.cwd.as_str()), ("***", "<out>"));
        assert_eq!((plan.result.path.as_str(), plan.result.several), ("<out>/*/results_*.json", false));
        assert_eq!((plan.time_limit_s, plan.grace_s), (7200.0, 10.0));
        assert!(plan.missing.as_ref().is_some_and(|told| told.contains("is not installed")));
        let told = plan.text() + &json!(plan).to_string();
        assert!(
            !told.contains("sk-secret") && told.contains("has to leave   <out>/*/results_*.json"),
            "{told}"
        );
    }

    #[test]
    fn what_a_case_and_a_server_say_is_filled_in() {
        let said = Said {
            base_url: Some("http://127.0.0.1:8000/v1".to_owned()),
            model: Some("m".to_owned()),
            settings: BTreeMap::from([("limit".to_owned(), "5".to_owned())]),
        };
        let line = plan("lm_eval", json!({"tasks": "a"}), &said).unwrap().text();
        assert!(line.contains("base_url=http://127.0.0.1:8000/v1/chat/completions"), "{line}");
        assert!(line.contains("--limit 5"), "{line}");
        let other = Said { settings: BTreeMap::from([("limits".to_owned(), "5".to_owned())]), ..said };
        let told = plan("lm_eval", json!({"tasks": "a"}), &other).unwrap_err();
        assert!(told.starts_with("a case says nothing called `limits`; it says `dataset`"), "{told}");
    }
}
