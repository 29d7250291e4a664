//! What is started on this machine: a [`Launch`], with the environment's values in it.
//! Must not start it.
//!
//! 本地启动命令：填入环境变量之后的形式。

use std::{collections::BTreeMap, fmt, time::Duration};

use secrecy::SecretString;

use super::{environment::Environment, reference::Template, scenario::LocalMode};

/// A process to start. `Debug` shows no values of its environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments; `{port}` and the like still in it, since a port is chosen last.
    pub command: Vec<String>,
    /// Variables that are added to ours.
    pub env: BTreeMap<String, String>,
    /// The port; nothing: a free one.
    pub port: Option<u16>,
    /// How long it may take to end.
    pub stop_timeout: Duration,
}

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholders<'a> {
    /// `{port}`.
    pub port: u16,
    /// `{model}`.
    pub model: &'a str,
    /// `{served_model_name}`.
    pub served_model_name: &'a str,
    /// `{quant}`.
    pub quant: &'a str,
}

impl Launch {
    /// `mode` with the environment's values.
    ///
    /// # Errors
    /// Every reference that cannot be filled in: its pointer into the scenario, and why.
    pub(super) fn fill(mode: &LocalMode, environment: &Environment) -> Result<Self, Vec<(String, String)>> {
        let mut wrong = Vec::new();
        let mut fill = |pointer: String, template: &Template| {
            template.fill(environment).unwrap_or_else(|said| {
                wrong.push((pointer, said));
                String::new()
            })
        };
        let command = mode.command.iter().enumerate();
        let command = command.map(|(i, part)| fill(format!("/launch/command/{i}"), part)).collect();
        let env = mode.env.iter();
        let env =
            env.map(|(name, value)| (name.clone(), fill(format!("/launch/env/{name}"), value))).collect();
        let launch = Self { command, env, port: mode.port, stop_timeout: mode.stop_timeout };
        if wrong.is_empty() { Ok(launch) } else { Err(wrong) }
    }

    /// Program, arguments and variables with every placeholder replaced.
    pub fn with(&self, values: &Placeholders<'_>) -> (Vec<String>, BTreeMap<String, String>) {
        let command = self.command.iter().map(|part| values.put_into(part)).collect();
        let env = self.env.iter().map(|(name, value)| (name.clone(), values.put_into(value))).collect();
        (command, env)
    }

    /// The values of variables and options that are named like secrets.
    pub(super) fn secrets(&self) -> impl Iterator<Item = SecretString> {
        let of_env = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let named = of_env.chain(self.options());
        named
            .filter(|(name, value)| is_secret(name) && !value.is_empty())
            .map(|(_, value)| SecretString::from(value))
    }

    /// `--name value` and `--name=value` of the command.
    fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        let next = self.command.iter().skip(1).map(String::as_str).chain([""]);
        self.command.iter().zip(next).filter(|(word, _)| word.starts_with("--")).map(|(word, next)| {
            word.split_once('=').unwrap_or((word, if next.starts_with("--") { "" } else { next }))
        })
    }
}

/// Whether what bears this name must not be shown. `max-num-batched-tokens` and the like are no secrets.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let last = name.rsplit(['-', '_']).next().unwrap_or_default();
    ["TOKEN", "KEY", "SECRET", "PASSWORD"].iter().any(|word| match name.starts_with("--") {
        true => last == *word,
        false => name.contains(word),
    })
}

impl Placeholders<'_> {
    /// `text` with every placeholder replaced; other braces stand for themselves.
    fn put_into(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            let word = after[1..].split_once('}').map(|(word, _)| word);
            let value = word.filter(|_| !before.ends_with('$')).and_then(|word| self.value(word));
            match (word, value) {
                (Some(word), Some(value)) => {
                    out.push_str(&value);
                    rest = &after[word.len() + 2..];
                }
                _ => {
                    out.push('{');
                    rest = &after[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&self, word: &str) -> Option<String> {
        Some(match word {
            "port" => self.port.to_string(),
            "model" => self.model.to_owned(),
            "served_model_name" => self.served_model_name.to_owned(),
            "quant" => self.quant.to_owned(),
            _ => return None,
        })
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("Launch")
            .field("command", &self.command)
            .field("env", &names)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_secret_is_one_whether_variable_or_option() {
        let words =
            ["vllm", "--api-key", "k-1", "--port=80", "--hf-token=k-2", "--max-tokens", "16", "--key", "--x"];
        let launch = Launch {
            command: words.map(str::to_owned).to_vec(),
            env: [("HF_TOKEN", "k-3"), ("HOME", "/root")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            port: None,
            stop_timeout: Duration::ZERO,
        };
        let secrets: Vec<SecretString> = launch.secrets().collect();
        let shown: Vec<&str> = secrets.iter().map(secrecy::ExposeSecret::expose_secret).collect();
        assert_eq!(shown, ["k-3", "k-1", "k-2"]);
    }

    #[test]
    fn placeholders_are_replaced_and_other_braces_stand() {
        let values = Placeholders { port: 8001, model: "/models/m", served_model_name: "m", quant: "w8a8" };
        for (text, expected) in [
            ("--port={port}", "--port=8001"),
            ("{model}{quant}", "/models/mw8a8"),
            (r#"{"rope_type": "yarn"}"#, r#"{"rope_type": "yarn"}"#),
            ("{", "{"),
            ("{}", "{}"),
            ("{{port}}", "{8001}"),
            ("${port}", "${port}"),
        ] {
            assert_eq!(values.put_into(text), expected, "{text}");
        }
    }

    #[test]
    fn a_debugger_sees_no_values_of_variables() {
        let env = BTreeMap::from([("HF_TOKEN".to_owned(), "hf_seeded".to_owned())]);
        let launch = Launch { command: vec!["vllm".into()], env, port: None, stop_timeout: Duration::ZERO };
        assert!(!format!("{launch:?}").contains("hf_seeded"));
        assert_eq!(launch.secrets().count(), 1);
    }
}
