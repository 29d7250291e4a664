//! From a tool, a case and a server to what is started: [`Invocation`]. A pure function. Must not start it.
//!
//! 命令模板填充。

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Kind, Tool};

/// What a case says of the tool that it wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The file in configs/tools/, without its ending.
    pub name: String,
    /// The tool's own parameters, as its file describes them. `{case_dir}` and `{root}` may stand in a text.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Accuracy: whose figure is the score, where the result has several tasks or data sets.
    pub task: Option<String>,
    /// Accuracy: which figure is the score, as the tool names it, where the result has several:
    /// `exact_match`, or `exact_match,strict-match` with its filter.
    pub metric: Option<String>,
}

/// What always stands for something.
pub(super) const BUILT_IN: [&str; 7] = ["base_url", "root_url", "model", "out", "home", "root", "case_dir"];

/// The key of the server; only in the environment.
pub(super) const API_KEY: &str = "api_key";

/// What a case may leave unsaid.
pub(super) const OPTIONAL: [&str; 2] = ["limit", "concurrency"];

/// What cases of a kind say beside it.
pub(super) fn said_by(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Accuracy => &["dataset", "max_tokens", "temperature", "workers", "limit", "request_timeout_s"],
        Kind::Perf => &[
            "endpoint",
            "concurrency",
            "input_len",
            "output_len",
            "requests",
            "temperature",
            "seed",
            "warmup",
        ],
    }
}

/// What a case says, by the names that [`Tool`]s use for it; what it leaves unsaid is absent.
pub type Settings = BTreeMap<&'static str, String>;

/// Where things lie, and who is asked.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Ending in `/v1`.
    pub base_url: &'a str,
    /// The model's name in requests.
    pub model: &'a str,
    /// Where the tool leaves its result.
    pub out: &'a Utf8Path,
    /// Where the tool is installed.
    pub home: &'a Utf8Path,
    /// The root of cases and configs.
    pub root: &'a Utf8Path,
    /// The folder of the case's file.
    pub case_dir: &'a Utf8Path,
}

/// What is started. `Debug` shows no values of its environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables that are added to ours.
    pub env: BTreeMap<String, String>,
    /// Where it is started.
    pub cwd: Utf8PathBuf,
}

impl std::fmt::Debug for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("Invocation").field("argv", &self.argv).field("env", &names).finish()
    }
}

impl Places<'_> {
    fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            "base_url" => self.base_url.to_owned(),
            "root_url" => self.base_url.trim_end_matches('/').trim_end_matches("/v1").to_owned(),
            "model" => self.model.to_owned(),
            "out" => self.out.to_string(),
            "home" => self.home.to_string(),
            "root" => self.root.to_string(),
            "case_dir" => self.case_dir.to_string(),
            _ => return None,
        })
    }
}

impl Invocation {
    /// What `tool` is started as. A placeholder without a value stands for nothing: the tool's file was checked.
    pub fn of(
        tool: &Tool,
        with: &Map<String, Value>,
        settings: &Settings,
        places: &Places<'_>,
        key: Option<&SecretString>,
    ) -> Self {
        let parameters = tool.parameters(with);
        let value = |name: &str| -> Option<String> {
            match parameters.get(name) {
                Some(given) => text(given).map(|text| put(&text, &|name| places.value(name))),
                None => settings.get(name).cloned().or_else(|| places.value(name)),
            }
        };
        let is_meant = |name: &str| match parameters.get(name) {
            Some(Value::Bool(said)) => *said,
            _ => value(name).is_some(),
        };
        let mut argv: Vec<String> = tool.raw.command.iter().map(|part| put(part, &value)).collect();
        for (_, arguments) in tool.raw.options.iter().filter(|(name, _)| is_meant(name)) {
            argv.extend(arguments.iter().map(|part| put(part, &value)));
        }
        let secret = |name: &str| match name {
            // Clients of the kind want one, whether the server does or not.
            API_KEY => Some(key.map_or_else(|| "EMPTY".to_owned(), |key| key.expose_secret().to_owned())),
            other => value(other),
        };
        let env = tool.raw.env.iter().map(|(name, text)| (name.clone(), put(text, &secret))).collect();
        Self { argv, env, cwd: put(&tool.raw.cwd, &value).into() }
    }

    /// What shows that `tool` starts, or tells its version.
    pub fn bare(command: &[String], home: &Utf8Path, root: &Utf8Path, cwd: &Utf8Path) -> Self {
        let value = |name: &str| match name {
            "home" => Some(home.to_string()),
            "root" => Some(root.to_string()),
            _ => None,
        };
        let argv = command.iter().map(|part| put(part, &value)).collect();
        Self { argv, env: BTreeMap::new(), cwd: cwd.to_owned() }
    }

    /// The command as a shell would be told it.
    pub fn line(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
        let quoted = |word: &String| match !word.is_empty() && word.chars().all(plain) {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        };
        self.argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// A parameter as an argument; null is no value.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(items.iter().filter_map(text).collect::<Vec<_>>().join(",")),
        other => Some(other.to_string()),
    }
}

/// The names that stand in braces in `text`; what is no name (JSON, for one) stands for itself.
pub(super) fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|(_, name)| name)
}

/// `text` with every name that has a value replaced.
fn put(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    for (plain, name) in pieces(text) {
        out.push_str(plain);
        out.push_str(&name.and_then(value).unwrap_or_default());
    }
    out
}

/// Plain text and the name behind it, in turn.
fn pieces(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let named = rest.match_indices('{').find_map(|(at, _)| {
            let (name, after) = rest[at + 1..].split_once('}')?;
            is_name(name).then_some((at, name, after))
        });
        match named {
            Some((at, name, after)) => {
                let plain = &rest[..at];
                rest = after;
                Some((plain, Some(name)))
            }
            None => Some((std::mem::take(&mut rest), None)),
        }
    })
}

/// The folder of the file at `path`, below `root`.
pub(super) fn case_dir(root: &Utf8Path, file: Option<&Utf8Path>, kind: Kind) -> Utf8PathBuf {
    let usual = match kind {
        Kind::Accuracy => "cases/accuracy",
        Kind::Perf => "cases/perf",
    };
    root.join(file.and_then(Utf8Path::parent).unwrap_or(Utf8Path::new(usual)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tools::file::tests::tool;

    fn places() -> Places<'static> {
        Places {
            base_url: "http://h:1/v1",
            model: "m",
            out: "/o".into(),
            home: "/t/a".into(),
            root: "/r".into(),
            case_dir: "/r/cases/accuracy".into(),
        }
    }

    #[test]
    fn everything_has_its_value_and_what_was_not_said_is_left_out() {
        let tool = tool(json!({
            "parameters": {"type": "object", "additionalProperties": false, "properties": {
                "tasks": {"type": "string"}, "folder": {"type": "string"}, "debug": {"type": "boolean"},
                "apply": {"type": "boolean", "default": true}, "shots": {"type": "array"}},
                "required": ["tasks"]},
            "command": ["{home}/bin/a", "--args", "model={model},base_url={base_url}/chat", "--tasks", "{tasks}"],
            "options": {"limit": ["--limit", "{limit}"], "debug": ["--debug"], "apply": ["--apply"],
                "folder": ["--path={folder}"], "shots": ["--shots", "{shots}"], "max_tokens": ["--max", "{max_tokens}"]},
            "env": {"KEY": "{api_key}", "JSON": "{\"a\": {}}"},
        }))
        .unwrap();
        let with = json!({"tasks": "x y", "folder": "{case_dir}/tasks", "debug": false, "shots": [1, 2]});
        let settings = Settings::from([("max_tokens", "64".to_owned())]);
        let key = SecretString::from("k-1");
        let made = Invocation::of(&tool, with.as_object().unwrap(), &settings, &places(), Some(&key));
        assert_eq!(
            made.line(),
            "/t/a/bin/a --args model=m,base_url=http://h:1/v1/chat --tasks 'x y' --apply \
             --path=/r/cases/accuracy/tasks --max 64 --shots 1,2"
        );
        assert_eq!((made.env["KEY"].as_str(), made.env["JSON"].as_str()), ("k-1", "{\"a\": {}}"));
        assert!(!format!("{made:?}").contains("k-1"));
    }

    #[test]
    fn a_tool_that_wants_a_key_is_given_one_where_the_server_wants_none() {
        let tool = tool(json!({"env": {"KEY": "{api_key}"}})).unwrap();
        let made = Invocation::of(&tool, &Map::new(), &Settings::new(), &places(), None);
        assert_eq!(made.env["KEY"], "EMPTY");
    }

    #[test]
    fn braces_that_hold_no_name_stand_for_themselves() {
        let value = |name: &str| (name == "a").then(|| "1".to_owned());
        for (text, expected) in
            [("{a}{a}", "11"), ("{", "{"), ("{}", "{}"), ("{{a}}", "{1}"), ("{\"a\": {a}}", "{\"a\": 1}")]
        {
            assert_eq!(put(text, &value), expected, "{text}");
        }
    }
}
