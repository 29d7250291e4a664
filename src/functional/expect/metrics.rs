//! What the server counted meanwhile: `metrics_delta`, over `/metrics` before and after the request. Such a case must
//! run alone; where a counter moved by more, somebody else may have asked, and nothing is decided. Must not know which
//! counters a server has.
//!
//! 指标增量断言：请求前后的 /metrics 之差。

use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Broken, Scope,
    at::{Pairs, schema_as},
    show,
};
use crate::functional::path::Path;

/// The leg that is read before the request, and the one after it.
pub const LEGS: [&str; 2] = ["metrics_before", "metrics_after"];

/// `metrics_delta: {"vllm:prompt_tokens_total": final.usage.prompt_tokens, "vllm:request_success_total": 1}`: by how
/// much the sum of a counter's samples moved. Labels in braces choose among them:
/// `vllm:request_success_total{finished_reason="length"}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct MetricsDelta(pub(super) Pairs<Series, Amount>);

/// A counter, and the labels that its samples must have.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Series {
    text: String,
    name: String,
    labels: Vec<(String, String)>,
}

schema_as!(Series, String);

/// A number, or the path of one.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub enum Amount {
    /// This number.
    Number(f64),
    /// What this path leads to.
    At(Path),
}

schema_as!(Amount, Value);

static LABEL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)""#).expect("the pattern is a constant")
});

impl TryFrom<String> for Series {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, labels) = text.split_once('{').unwrap_or((&text, "}"));
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if name.is_empty() || !name.chars().all(legal) || !labels.ends_with('}') {
            return Err(format!(
                "expected a counter such as vllm:x_total or vllm:x_total{{k=\"v\"}}, found `{text}`"
            ));
        }
        Ok(Self { name: name.to_owned(), labels: read_labels(labels), text: text.clone() })
    }
}

impl TryFrom<Value> for Amount {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match &value {
            Value::String(path) => Path::parse(path).map(Self::At),
            other => other
                .as_f64()
                .map(Self::Number)
                .ok_or_else(|| format!("expected a number or the path of one, found {}", show(other))),
        }
    }
}

fn read_labels(text: &str) -> Vec<(String, String)> {
    LABEL.captures_iter(text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

impl Series {
    /// The sum of its samples in the text of `/metrics`; nothing where there is none.
    fn sum(&self, text: &str) -> Option<f64> {
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(self.name.as_str())?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None => ("", rest),
            };
            let given = read_labels(labels);
            let chosen = value.starts_with(' ') && self.labels.iter().all(|label| given.contains(label));
            if chosen { value.split_whitespace().next()?.parse::<f64>().ok() } else { None }
        });
        samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }
}

impl MetricsDelta {
    /// The paths it names, with their series.
    pub(super) fn paths(&self) -> Vec<(String, &Path)> {
        let named = self.0.0.iter().filter_map(|(series, amount)| match amount {
            Amount::At(path) => Some((series.text.clone(), path)),
            Amount::Number(_) => None,
        });
        named.collect()
    }

    pub(super) fn check(&self, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let [before, after] = LEGS.map(|leg| scope.answer["legs"][leg]["body"].as_str().unwrap_or_default());
        for (series, amount) in &self.0.0 {
            let scope = scope.down(&series.text);
            let wanted = match amount {
                Amount::Number(number) => Some(*number),
                Amount::At(path) => path.value(scope.answer).and_then(Value::as_f64),
            };
            let (Some(wanted), Some(after)) = (wanted, series.sum(after)) else {
                let (what, actual) = match amount {
                    Amount::At(path) if wanted.is_none() => (format!("a number at {path}"), "none"),
                    _ => (format!("samples of {} in /metrics", series.text), "none"),
                };
                out.push(scope.broken("metrics_delta", what, actual));
                continue;
            };
            // A series that a server makes with its first sample began at nothing.
            let moved = after - series.sum(before).unwrap_or(0.0);
            if (moved - wanted).abs() > f64::EPSILON * wanted.abs().max(1.0) * 4.0 {
                let expected = format!("{} to move by {wanted} meanwhile", series.text);
                let mut broken = scope.broken("metrics_delta", expected, format!("it moved by {moved}"));
                // Too much is what somebody else's requests look like as well.
                broken.doubtful = moved > wanted;
                out.push(broken);
            }
        }
    }
}
