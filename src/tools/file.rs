//! A tool's file in `configs/tools/`: [`RawTool`] as it is written, [`Tool`] once it is known to hold together. Must
//! not run anything.
//!
//! 工具描述文件（configs/tools/*.yaml）。

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jsonschema::Validator;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use st_harness::{diag::Problem, read::Origin, suggest};

use super::{
    adapter::Adapter,
    fill::{self, placeholders},
};

/// configs/tools/NAME.yaml: one tool, described once.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTool {
    /// What it is, in a line.
    pub about: String,
    /// Which cases may name it.
    pub kind: Kind,
    /// The release that its adapter was written for, and shown with.
    pub version: String,
    /// Where it comes from: `pypi:NAME`, `git:ADDRESS`.
    pub source: String,
    /// Its licence, by its SPDX identifier.
    pub licence: String,
    /// What is told to somebody who does not have it: a line for the shell.
    pub install: String,
    /// A path below `{home}` that is there once it is installed.
    pub needs: Option<String>,
    /// Program and arguments; never read by a shell. `{name}` stands for a parameter, for something that the case
    /// says, or for one of `base_url`, `root_url`, `model`, `out`, `home`, `root`, `case_dir`.
    pub command: Vec<String>,
    /// More arguments, by the parameter (or by what the case says) that has to have a value for them; of one that is
    /// true or false, by its being true.
    #[serde(default)]
    pub options: BTreeMap<String, Vec<String>>,
    /// Where it is started; in its output folder, which is new and empty, without it.
    #[serde(default = "in_out")]
    pub cwd: String,
    /// Variables of its environment. `{api_key}` may stand here, and only here: arguments are seen by everybody on
    /// the machine.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// JSON Schema of an object: what a case may write under `tool.with`. A `default` there is filled in.
    #[serde(default = "nothing")]
    pub parameters: Map<String, Value>,
    /// What it leaves.
    pub result: RawResult,
    /// Files beside the result that are kept, by what they are; a pattern as `result.path`. They are not, where a case
    /// says `redact: true`.
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
    /// Exit codes after which its result is looked at.
    #[serde(default = "success")]
    pub exit_codes: Vec<i32>,
    /// How long it may run; a case's `timeout` holds too.
    #[serde(default = "two_hours", deserialize_with = "st_harness::read::duration::deserialize")]
    #[schemars(with = "String")]
    pub time_limit: Duration,
    /// How long it may take to end once it was asked to; then it is killed, with all that it started.
    #[serde(default = "ten_seconds", deserialize_with = "st_harness::read::duration::deserialize")]
    #[schemars(with = "String")]
    pub grace: Duration,
    /// Prints its version, and nothing else, on standard output.
    pub version_command: Option<Vec<String>>,
    /// Shows that it starts, without a server.
    pub dry_run: DryRun,
}

/// Where the result is, and who reads it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawResult {
    /// Below its output folder; `*` is any part of a name, `**` any number of folders. Exactly one file has to be
    /// there, unless its adapter takes several.
    pub path: String,
    /// Which format it has.
    pub adapter: Adapter,
    /// The files that tell of each sample, one or several, where the adapter knows them (`lm_eval`, `evalscope`): with
    /// them two runs are compared sample by sample. They have to be there, fresh, and to add up to the result.
    pub samples: Option<String>,
}

/// A start that shows that the tool works, without a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRun {
    /// Program and arguments, with `{home}` and `{root}`.
    pub command: Vec<String>,
    /// What it prints, among other things.
    pub expect: String,
}

/// Which cases may name a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Accuracy: its figures are ratios.
    Accuracy,
    /// Performance.
    Perf,
}

fn nothing() -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), "object".into()), ("additionalProperties".to_owned(), false.into())])
}

fn in_out() -> String {
    "{out}".to_owned()
}

fn success() -> Vec<i32> {
    vec![0]
}

fn two_hours() -> Duration {
    Duration::from_secs(2 * 3600)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

/// The schema of a tool's file: the path it is kept at, and the schema.
pub fn schema() -> (&'static str, Value) {
    ("configs/tool.schema.json", schemars::schema_for!(RawTool).to_value())
}

/// A tool whose file holds together.
#[derive(Debug, Clone)]
pub struct Tool {
    /// The file's name without its ending.
    pub name: String,
    /// As it is written.
    pub raw: RawTool,
    parameters: Arc<Validator>,
}

impl Tool {
    /// Checks `raw`, which is the file `name`.
    ///
    /// # Errors
    /// Every mistake.
    pub fn read(name: &str, raw: RawTool, origin: &Origin) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let parameters = jsonschema::validator_for(&Value::Object(raw.parameters.clone()))
            .map_err(|error| {
                problems.push(origin.problem("/parameters", format!("expected a JSON Schema: {error}")));
            })
            .ok();
        if raw.parameters.get("additionalProperties") != Some(&Value::Bool(false)) {
            let message =
                "expected `additionalProperties: false`: a parameter that nobody reads is a mistake";
            problems.push(origin.problem("/parameters", message));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            let message = format!("expected the file's name to be of [a-z0-9_], found {name:?}");
            problems.push(origin.problem("", message));
        }
        problems
            .extend(raw.mistakes().into_iter().map(|(pointer, message)| origin.problem(&pointer, message)));
        match parameters {
            Some(parameters) if problems.is_empty() => {
                Ok(Self { name: name.to_owned(), raw, parameters: Arc::new(parameters) })
            }
            _ => Err(problems),
        }
    }

    /// `with` and the defaults of what it leaves out.
    pub fn parameters(&self, with: &Map<String, Value>) -> Map<String, Value> {
        let mut all = with.clone();
        for (name, property) in self.raw.properties() {
            if let (false, Some(usual)) = (all.contains_key(name), property.get("default")) {
                all.insert(name.clone(), usual.clone());
            }
        }
        all
    }

    /// What is wrong with `with`: a pointer into it, and a sentence.
    pub fn wrong(&self, with: &Map<String, Value>) -> Vec<(String, String)> {
        let with = Value::Object(with.clone());
        let errors = self.parameters.iter_errors(&with);
        errors.map(|error| (error.instance_path().to_string(), error.to_string())).collect()
    }
}

impl RawTool {
    fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.parameters.get("properties").and_then(Value::as_object).into_iter().flatten()
    }

    /// What the types cannot say: where, and what.
    fn mistakes(&self) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        let mut known: Vec<&str> = fill::BUILT_IN.iter().chain(fill::said_by(self.kind)).copied().collect();
        for (name, _) in self.properties() {
            if known.contains(&name.as_str()) || name == fill::API_KEY {
                let message =
                    format!("expected another name than `{name}`, which stands for something already");
                wrong.push((format!("/parameters/properties/{name}"), message));
            }
        }
        known.extend(self.properties().map(|(name, _)| name.as_str()));
        for (name, _) in self.options.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            wrong.push((format!("/options/{name}"), unknown(name, &known)));
        }
        let mut texts: Vec<(String, &String)> = Vec::new();
        for (index, text) in self.command.iter().enumerate() {
            texts.push((format!("/command/{index}"), text));
        }
        for (name, arguments) in &self.options {
            texts
                .extend(arguments.iter().enumerate().map(|(i, text)| (format!("/options/{name}/{i}"), text)));
        }
        let optional = |name: &str| self.is_optional(name);
        for (pointer, text) in &texts {
            for name in placeholders(text) {
                if name == fill::API_KEY {
                    let message = "expected no `{api_key}` among arguments, which everybody on the machine sees: give \
                                   it through `env`";
                    wrong.push((pointer.clone(), message.to_owned()));
                } else if !known.contains(&name) {
                    wrong.push((pointer.clone(), unknown(name, &known)));
                } else if pointer.starts_with("/command") && optional(name) {
                    let message =
                        format!("`{{{name}}}` may have no value: expected it under `options.{name}`");
                    wrong.push((pointer.clone(), message));
                }
            }
        }
        texts.clear();
        texts.push(("/cwd".to_owned(), &self.cwd));
        for (pointer, text) in &texts {
            for held in placeholders(text).filter(|held| !known.contains(held) || optional(held)) {
                wrong.push((pointer.clone(), unknown(held, &known)));
            }
        }
        for (name, text) in &self.env {
            for held in placeholders(text).filter(|held| *held != fill::API_KEY && !known.contains(held)) {
                wrong.push((format!("/env/{name}"), unknown(held, &known)));
            }
        }
        if self.result.samples.is_some() && !self.result.adapter.reads_samples() {
            let message = "expected nothing: this adapter knows no samples";
            wrong.push(("/result/samples".to_owned(), message.to_owned()));
        }
        for (pointer, command) in [("/command", &self.command), ("/dry_run/command", &self.dry_run.command)] {
            if command.first().is_none_or(String::is_empty) {
                wrong.push((pointer.to_owned(), "expected a program, found none".to_owned()));
            }
        }
        wrong
    }

    /// Whether a case may leave it without a value.
    fn is_optional(&self, name: &str) -> bool {
        if let Some((_, property)) = self.properties().find(|(known, _)| known.as_str() == name) {
            let required = self.parameters.get("required").and_then(Value::as_array);
            let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
            return !is_required && property.get("default").is_none();
        }
        fill::OPTIONAL.contains(&name)
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let near = suggest::near(name, known.iter().copied());
    let question = suggest::question(&near).map(|question| format!(" ({question})")).unwrap_or_default();
    format!("nothing is called `{name}` here{question}; there are: {}", suggest::list(known, "and"))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;
    use st_harness::read::{self, Source};

    use super::*;

    /// The smallest good file, with `changed` merged into it.
    pub(crate) fn raw(changed: Value) -> RawTool {
        let mut file = json!({
            "about": "a", "kind": "accuracy", "version": "1", "source": "pypi:a", "licence": "MIT",
            "install": "pip install a", "command": ["{home}/bin/a", "{base_url}"],
            "result": {"path": "r.json", "adapter": "lm_eval"},
            "dry_run": {"command": ["{home}/bin/a", "--help"], "expect": "usage"},
        });
        for (key, value) in changed.as_object().unwrap() {
            file.as_object_mut().unwrap().insert(key.clone(), value.clone());
        }
        serde_json::from_value(file).unwrap()
    }

    pub(crate) fn tool(changed: Value) -> Result<Tool, Vec<String>> {
        let read = Tool::read("a", raw(changed), &Origin::default());
        read.map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn a_mistake_says_what_there_is() {
        let schema = |properties: Value| json!({"type": "object", "additionalProperties": false, "properties": properties});
        for (changed, told) in [
            (json!({"command": ["a", "{modl}"]}), "nothing is called `modl` here (did you mean `model`?)"),
            (
                json!({"command": ["a", "{limit}"]}),
                "`{limit}` may have no value: expected it under `options.limit`",
            ),
            (json!({"command": ["a", "{api_key}"]}), "expected no `{api_key}` among arguments"),
            (json!({"command": []}), "expected a program, found none"),
            (json!({"options": {"tasks": ["--tasks"]}}), "nothing is called `tasks` here"),
            (json!({"env": {"A": "{x}"}}), "nothing is called `x` here"),
            (
                json!({"result": {"path": "r", "adapter": "mme", "samples": "s"}}),
                "expected nothing: this adapter knows no samples",
            ),
            (
                json!({"parameters": {"type": "objec", "additionalProperties": false}}),
                "expected a JSON Schema",
            ),
            (json!({"parameters": {"type": "object"}}), "expected `additionalProperties: false`"),
            (json!({"parameters": schema(json!({"model": {}}))}), "expected another name than `model`"),
        ] {
            let found = tool(changed.clone()).unwrap_err();
            assert!(found.iter().any(|said| said.contains(told)), "{changed}: {found:?}");
        }
    }

    #[test]
    fn a_parameter_with_a_default_may_stand_in_the_command_and_is_filled_in() {
        let parameters = json!({"type": "object", "additionalProperties": false, "properties": {
            "tasks": {"type": "string"}, "shots": {"type": "integer", "default": 0}}, "required": ["tasks"]});
        let good = tool(json!({"parameters": parameters, "command": ["a", "{tasks}", "{shots}"]})).unwrap();
        let with = Map::from_iter([("tasks".to_owned(), json!("x"))]);
        assert_eq!(Value::Object(good.parameters(&with)), json!({"tasks": "x", "shots": 0}));
        assert!(good.wrong(&with).is_empty());
        let wrong = good.wrong(&Map::from_iter([("shots".to_owned(), json!("two"))]));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[test]
    fn a_file_is_read_with_the_place_of_each_mistake() {
        let text = "about: a\nkind: accuracy\nversion: '1'\nsource: pypi:a\nlicence: MIT\ninstall: i\ncommand: [a, '{nope}']\n\
                    result: {path: r.json, adapter: lm_eval}\ndry_run: {command: [a], expect: a}\n";
        let source = Arc::new(Source::parse("configs/tools/a.yaml", text).unwrap());
        let raw = read::document::<RawTool>(&source).unwrap();
        let problems = Tool::read("a", raw, &Origin::of(source, "")).unwrap_err();
        let place = problems[0].place.as_ref().unwrap();
        assert_eq!((place.line, problems.len()), (7, 1));
    }
}
