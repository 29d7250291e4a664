//! Where an engine is known to differ from what a case expects: [`Deviation`]. While it holds, the case passes with a
//! note; when it no longer occurs, the note says that it is stale. Must not know how a case is run.
//!
//! 已知偏差：引擎、版本范围、依据与其自身的断言。
//!
//! ```yaml
//! deviations:
//!   - engine: vllm
//!     versions: ">=0.20, <0.40"
//!     when: {field: logit_bias_unknown_token}
//!     ref: "refused only after the stream has begun"
//!     expect: [{error: {allow_sse: true, status: 400}}]
//! ```

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use st_harness::case::ExpandedCase;

use super::expect::Expect;
use crate::client::Engine;

/// What an engine is known to do instead.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// Which engine: `vllm`.
    pub engine: String,
    /// Which versions of it; all where it is left out.
    pub versions: Option<Versions>,
    /// Which points of the matrix: values or labels; all where it is left out.
    #[serde(default)]
    pub when: Map<String, Value>,
    /// Where it is written down: a link, or a sentence.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What holds instead.
    pub expect: Vec<Expect>,
}

impl Deviation {
    /// Whether it is one of this server's, in this point of the matrix.
    pub fn applies(&self, engine: &Engine, case: &ExpandedCase) -> bool {
        let versions = || match (&self.versions, &engine.version) {
            (None, _) => true,
            (Some(range), Some(version)) => range.contains(version),
            (Some(_), None) => false,
        };
        engine.name.as_deref() == Some(self.engine.as_str()) && versions() && self.is_at(case)
    }

    fn is_at(&self, case: &ExpandedCase) -> bool {
        self.when.iter().all(|(axis, wanted)| {
            let labelled = |label: &str| {
                let segment = format!("{axis}_{label}");
                case.id.as_str().split("::").any(|part| part == segment)
            };
            case.values.get(axis) == Some(wanted) || wanted.as_str().is_some_and(labelled)
        })
    }

    /// How a note names it.
    pub fn text(&self) -> String {
        let versions = self.versions.as_ref().map_or(String::new(), |range| format!(" {}", range.text));
        format!("{}{versions}: {}", self.engine, self.reference)
    }
}

/// A range of versions: comparisons, all of which hold: `>=0.20, <0.40`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Versions {
    text: String,
    all: Vec<(Compare, Vec<u64>)>,
}

#[derive(Debug, Clone, Copy)]
enum Compare {
    AtLeast,
    Above,
    AtMost,
    Below,
    Equal,
}

/// The longer ones first: `>=` begins with `>`.
const COMPARES: [(&str, Compare); 5] = [
    (">=", Compare::AtLeast),
    ("<=", Compare::AtMost),
    (">", Compare::Above),
    ("<", Compare::Below),
    ("=", Compare::Equal),
];

impl TryFrom<String> for Versions {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let one = |part: &str| {
            let (sign, compare) = COMPARES.into_iter().find(|(sign, _)| part.starts_with(sign))?;
            let number = part[sign.len()..].trim();
            let whole = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            whole
                .then(|| numbers(number))
                .filter(|numbers| !numbers.is_empty())
                .map(|numbers| (compare, numbers))
        };
        let all: Option<Vec<_>> = text.split(',').map(|part| one(part.trim())).collect();
        match all {
            Some(all) => Ok(Self { text, all }),
            None => Err(format!("expected a range of versions such as `>=0.30, <0.40`, found `{text}`")),
        }
    }
}

/// `0.32.0rc1+cpu` → 0, 32, 0: what follows the last whole number says nothing.
fn numbers(version: &str) -> Vec<u64> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let mut numbers = Vec::new();
    for part in version.split('.') {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        let Ok(number) = digits.parse() else { break };
        numbers.push(number);
        if digits.len() < part.len() {
            break;
        }
    }
    numbers
}

impl Versions {
    /// Whether `version` lies in it. What is no version lies in none.
    pub fn contains(&self, version: &str) -> bool {
        let version = numbers(version);
        let holds = |(compare, bound): &(Compare, Vec<u64>)| {
            let length = version.len().max(bound.len());
            let padded = |numbers: &[u64]| {
                let mut numbers = numbers.to_vec();
                numbers.resize(length, 0);
                numbers
            };
            let (version, bound) = (padded(&version), padded(bound));
            match compare {
                Compare::AtLeast => version >= bound,
                Compare::Above => version > bound,
                Compare::AtMost => version <= bound,
                Compare::Below => version < bound,
                Compare::Equal => version == bound,
            }
        };
        !version.is_empty() && self.all.iter().all(holds)
    }
}

impl JsonSchema for Versions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Versions".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        <String as JsonSchema>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Versions {
        Versions::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_range_holds_what_lies_between_its_bounds() {
        let holds = |text: &str, version: &str| range(text).contains(version);
        for version in ["0.30", "0.30.0", "0.32.1", "v0.39.9", "0.32.0rc1+cpu", "0.32.0.dev5+g1a2b"] {
            assert!(holds(">=0.30, <0.40", version), "{version}");
        }
        for version in ["0.29.9", "0.40", "0.40.0", "1.0", "0.4", "main", ""] {
            assert!(!holds(">=0.30, <0.40", version), "{version}");
        }
        assert!(holds("=0.32", "0.32.0") && !holds("=0.32", "0.32.1"));
        assert!(holds(">0.32", "0.32.1") && !holds(">0.32", "0.32.0"));
        assert!(holds("<=0.32", "0.32.0") && !holds("<=0.32", "0.32.1"));
    }

    #[test]
    fn a_range_that_is_none_is_told() {
        for text in ["", "0.3", ">=", ">=x", ">=0.3 <0.4", "~0.3", ">=0.3,"] {
            let told = Versions::try_from(text.to_owned()).unwrap_err();
            assert_eq!(told, format!("expected a range of versions such as `>=0.30, <0.40`, found `{text}`"));
        }
    }
}
