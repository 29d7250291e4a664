//! All tools of a root, and what a case may ask of them: [`Tools`]. Must not run one.
//!
//! 工具目录：读取全部描述文件并检查用例的引用。

use std::{collections::BTreeMap, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::SecretString;
use st_harness::{
    diag::Problem,
    read::{self, Origin, Source},
    suggest,
    suite::Mistakes,
};

use super::{Kind, RawTool, Tool, Use};
use crate::config::Environment;

/// Where the files lie, below the root.
const FOLDER: &str = "configs/tools";
/// Where tools are installed, below the root, each in a folder of its name.
const HOMES: &str = "target/tools";
/// The variable that names another folder for them.
pub const HOME_VARIABLE: &str = "VLLM_CIBENCH_TOOLS";

/// Tools that are there even where the root has no file of theirs.
const BUILT_IN: [(&str, &str); 9] = [
    ("ais_bench", include_str!("../../configs/tools/ais_bench.yaml")),
    ("evalscope", include_str!("../../configs/tools/evalscope.yaml")),
    ("guidellm", include_str!("../../configs/tools/guidellm.yaml")),
    ("lm_eval", include_str!("../../configs/tools/lm_eval.yaml")),
    ("mme", include_str!("../../configs/tools/mme.yaml")),
    ("nvidia_simple_evals", include_str!("../../configs/tools/nvidia_simple_evals.yaml")),
    ("opencompass", include_str!("../../configs/tools/opencompass.yaml")),
    ("simple_evals", include_str!("../../configs/tools/simple_evals.yaml")),
    ("vllm_bench", include_str!("../../configs/tools/vllm_bench.yaml")),
];

/// Every tool that a case may name.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    tools: Arc<BTreeMap<String, Tool>>,
    pub(super) root: Utf8PathBuf,
    homes: Utf8PathBuf,
    pub(super) key: Option<SecretString>,
}

impl Tools {
    /// Reads every file below `root`, and those that are built in. Beside what could be read it returns every mistake
    /// of every file.
    pub fn read(
        root: &Utf8Path,
        environment: &Environment,
        key: Option<SecretString>,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut tools = BTreeMap::new();
        for (name, source) in sources(root, &mut problems) {
            let tool = source.and_then(|source| {
                let source = Arc::new(source);
                let raw = read::document::<RawTool>(&source)?;
                Tool::read(&name, raw, &Origin::of(source, ""))
            });
            match tool {
                Ok(tool) => drop(tools.insert(name, tool)),
                Err(mistakes) => problems.extend(mistakes),
            }
        }
        let homes = root.join(environment.get(HOME_VARIABLE).unwrap_or(HOMES));
        // A tool is started in a folder of its own, where a relative path would mean something else.
        let absolute = |path: Utf8PathBuf| camino::absolute_utf8(&path).unwrap_or(path);
        let (root, homes) = (absolute(root.to_owned()), absolute(homes));
        (Self { tools: Arc::new(tools), root, homes, key }, problems)
    }

    /// Every tool, by name.
    pub fn all(&self) -> impl Iterator<Item = &Tool> {
        self.tools.values()
    }

    /// The tool `name`.
    ///
    /// # Errors
    /// That there is none, which are near, and which there are.
    pub fn get(&self, name: &str) -> Result<&Tool, String> {
        self.tools.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.tools.keys().map(String::as_str).collect();
            let near = suggest::near(name, known.iter().copied());
            let question = suggest::question(&near).map(|said| format!(" ({said})")).unwrap_or_default();
            format!("there is no tool `{name}`{question}; there are: {}", suggest::list(&known, "and"))
        })
    }

    /// Where `tool` is installed.
    pub fn home(&self, tool: &Tool) -> Utf8PathBuf {
        self.homes.join(&tool.name)
    }

    /// Whether `tool` is installed.
    ///
    /// # Errors
    /// What is missing, and how it is had.
    pub fn installed(&self, tool: &Tool) -> Result<(), String> {
        let home = self.home(tool);
        let missing = tool.raw.needs.iter().map(|needs| home.join(needs)).find(|path| !path.exists());
        match missing {
            None => Ok(()),
            Some(path) => Err(format!(
                "{} is not installed: there is no {path}; install it with `{}`, or say in {HOME_VARIABLE} where tools lie",
                tool.name,
                tool.raw.install.replace("{home}", home.as_str()),
            )),
        }
    }

    /// What is wrong with what a case of `kind` says of its tool, at `/tool`.
    pub fn check(&self, used: &Use, kind: Kind, mistakes: &mut Mistakes<'_>) {
        let tool = match self.get(&used.name) {
            Ok(tool) => tool,
            Err(told) => return mistakes.at("/tool/name", told),
        };
        if tool.raw.kind != kind {
            let word = |kind| if kind == Kind::Perf { "perf" } else { "accuracy" };
            let told = format!("expected a tool for {}, found one for {}", word(kind), word(tool.raw.kind));
            mistakes.at("/tool/name", told);
        }
        for (pointer, told) in tool.wrong(&used.with) {
            mistakes.at(&format!("/tool/with{pointer}"), format!("{} does not take this: {told}", tool.name));
        }
        if kind == Kind::Perf {
            for (pointer, given) in [("/tool/task", &used.task), ("/tool/metric", &used.metric)] {
                if given.is_some() {
                    mistakes.at(pointer, "expected nothing: all figures of a perf tool are told");
                }
            }
        }
    }
}

/// Every tool's file: those below `root`, and the built-in ones that it does not replace.
fn sources(root: &Utf8Path, problems: &mut Vec<Problem>) -> Vec<(String, Result<Source, Vec<Problem>>)> {
    let mut found: Vec<(String, Result<Source, Vec<Problem>>)> = Vec::new();
    let mut names = Vec::new();
    match root.join(FOLDER).read_dir_utf8() {
        Ok(entries) => names.extend(entries.flatten().map(|entry| entry.file_name().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => problems.push(Problem::new(format!("cannot read the folder {FOLDER}: {error}"))),
    }
    names.sort();
    for name in names.iter().filter_map(|name| name.strip_suffix(".yaml")) {
        let path = root.join(FOLDER).join(format!("{name}.yaml"));
        found.push((name.to_owned(), Source::load(root, &path)));
    }
    for (name, text) in BUILT_IN {
        if !found.iter().any(|(taken, _)| taken == name) {
            found.push((name.to_owned(), Source::parse(format!("{FOLDER}/{name}.yaml"), text)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use st_harness::case::{ExpandedCase, TrialId};

    use super::*;

    fn tools() -> Tools {
        let root = tempfile::tempdir().unwrap();
        let (tools, problems) =
            Tools::read(Utf8Path::from_path(root.path()).unwrap(), &Environment::default(), None);
        assert!(problems.is_empty(), "{problems:?}");
        tools
    }

    fn mistakes(used: Value, kind: Kind) -> Vec<String> {
        let used: Use = serde_json::from_value(used).unwrap();
        let case = ExpandedCase::of(TrialId::new("accuracy::pr::a").unwrap(), Value::Null);
        let mut mistakes = Mistakes::new(&case);
        tools().check(&used, kind, &mut mistakes);
        let plain = |told: String| told.split_once(": ").map_or(told.clone(), |(_, told)| told.to_owned());
        mistakes.into_problems().into_iter().map(|problem| plain(problem.message)).collect()
    }

    #[test]
    fn the_shipped_tools_hold_together_wherever_the_root_is() {
        assert_eq!(tools().all().count(), BUILT_IN.len());
    }

    #[test]
    fn a_case_is_told_what_its_tool_does_not_take() {
        let told = mistakes(json!({"name": "lm_evla"}), Kind::Accuracy);
        assert!(told[0].starts_with("there is no tool `lm_evla` (did you mean `lm_eval`?)"), "{told:?}");
        let told = mistakes(json!({"name": "vllm_bench"}), Kind::Accuracy);
        assert_eq!(told[0], "expected a tool for accuracy, found one for perf");
        assert!(told[1].contains("\"tokenizer\" is a required property"), "{told:?}");
        let told = mistakes(json!({"name": "lm_eval", "with": {"tasks": "a", "task": "b"}}), Kind::Accuracy);
        assert!(told.len() == 1 && told[0].contains("'task' was unexpected"), "{told:?}");
        assert_eq!(mistakes(json!({"name": "lm_eval", "with": {"tasks": "a"}}), Kind::Accuracy), [""; 0]);
    }

    #[test]
    fn who_has_not_installed_a_tool_is_told_how() {
        let tools = tools();
        let told = tools.installed(tools.get("lm_eval").unwrap()).unwrap_err();
        assert!(told.contains("pip install") && told.contains(HOME_VARIABLE), "{told}");
    }

    #[test]
    fn a_broken_file_is_told_with_the_others() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("mine.yaml"), "about: a\nkindd: accuracy\n").unwrap();
        let root = Utf8Path::from_path(root.path()).unwrap();
        let (tools, problems) = Tools::read(root, &Environment::default(), None);
        assert!(problems.iter().any(|problem| problem.message == "unknown key `kindd`"), "{problems:?}");
        assert_eq!(tools.all().count(), BUILT_IN.len());
    }
}
