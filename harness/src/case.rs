//! A case: as it stands in a file ([`Case`]), and after expansion ([`ExpandedCase`]), with the identity and the
//! origin that every later step reports. Must not know how a case is run.
//!
//! 用例：文件中的用例，与展开后的试验。

mod file;
mod schema;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use file::{CASE_KEYS, read_cases};
pub(crate) use file::{Keys, clash, merge, read_around};
pub use schema::schema_of_case_file;

use crate::{capability::CapabilityId, expand::substitute, read::Origin};

/// `kind::file::case::axis_value…` in `[a-z0-9_:]`: the name of a trial, stable from run to run and from
/// server to server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrialId(String);

impl TrialId {
    /// Takes `text` where it is made of non-empty `[a-z0-9_]` segments joined by `::`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        text.split("::").all(is_slug).then_some(Self(text))
    }

    /// Takes text that is made of slugs, each checked already.
    pub(crate) fn of_slugs(text: String) -> Self {
        debug_assert!(text.split("::").all(is_slug), "{text}");
        Self(text)
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment: `functional`, `perf`, `accuracy`, `setup`, `gate`.
    pub fn kind(&self) -> &str {
        self.0.split("::").next().unwrap_or_default()
    }
}

/// Whether `text` can be a segment of an id.
pub(crate) fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One case of a file: its own keys read, the rest kept for its suite, the matrix not yet expanded.
#[derive(Debug, Clone)]
pub struct Case {
    /// The suite's kind, the first segment of the id.
    pub kind: String,
    /// The name of the file without its ending, as a segment of the id.
    pub file: String,
    /// The case's own name.
    pub id: String,
    /// What every case says of itself.
    pub head: Head,
    /// The whole mapping, defaults merged: what overrides are merged into.
    pub(crate) mapping: Map<String, Value>,
    /// Matrix, exclude, add, overrides, as written; nothing where the keys that every case has cannot be read.
    pub(crate) matrix: Option<Matrix>,
    /// From a pointer into the mapping to the line that somebody wrote.
    pub origin: Origin,
}

/// How a case becomes several trials, as written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matrix {
    pub(crate) axes: Map<String, Value>,
    pub(crate) exclude: Vec<Map<String, Value>>,
    pub(crate) add: Vec<Map<String, Value>>,
    pub(crate) overrides: Vec<Map<String, Value>>,
}

/// What every case says of itself, whatever its suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What the case is about, in the author's words.
    pub about: Option<String>,
    /// Free labels.
    pub tags: Vec<String>,
    /// What the server must be able to do.
    pub required_capabilities: Vec<CapabilityId>,
    /// Where one of them is missing: skip (true, the default) or run and fail (false).
    pub skip_if_unsupported: bool,
    /// The case's own deadline; the suite has a default.
    pub timeout: Option<Duration>,
    /// Whether nothing else may run meanwhile; the suite's lane may ask for it too.
    pub exclusive: bool,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            about: None,
            tags: Vec::new(),
            required_capabilities: Vec::new(),
            skip_if_unsupported: true,
            timeout: None,
            exclusive: false,
        }
    }
}

/// One point of a case's matrix: what becomes one trial.
///
/// Ten thousand of them are made to list their names, and few of those are run: the spec and its hash are
/// computed when they are first asked for.
#[derive(Debug, Clone)]
pub struct ExpandedCase {
    /// The trial's name.
    pub id: TrialId,
    /// The id without its matrix values.
    pub case_id: Arc<str>,
    /// The name of the suite's file, as it stands in the id.
    pub file: Arc<str>,
    /// What the case says of itself; overrides may change it from point to point.
    pub head: Arc<Head>,
    /// The matrix values of this point, in declaration order.
    pub values: Map<String, Value>,
    /// From a pointer into the spec to the line that somebody wrote.
    pub origin: Origin,
    /// Where in the spec something stands of which a mistake was told already, as JSON pointers. With any, the case
    /// is read for its other mistakes only.
    pub(crate) gaps: Arc<[String]>,
    /// The spec before the matrix values are put in.
    template: Arc<Value>,
    spec: OnceLock<Arc<Value>>,
    hash: OnceLock<String>,
}

impl ExpandedCase {
    /// A point of a matrix. Every `${axis}` in `template` is one of `values`, or stands at one of `gaps`.
    pub(crate) fn point(
        id: TrialId,
        (case_id, file): (Arc<str>, Arc<str>),
        head: Arc<Head>,
        values: Map<String, Value>,
        (template, gaps): (Arc<Value>, Arc<[String]>),
        origin: Origin,
    ) -> Self {
        Self {
            id,
            case_id,
            file,
            head,
            values,
            origin,
            gaps,
            template,
            spec: OnceLock::new(),
            hash: OnceLock::new(),
        }
    }

    /// A case that stands in no file, for the tests of a suite.
    pub fn of(id: TrialId, spec: Value) -> Self {
        let case_id: Arc<str> = id.as_str().into();
        let file = id.as_str().split("::").nth(1).unwrap_or_default().into();
        Self::point(
            id,
            (case_id, file),
            Arc::default(),
            Map::new(),
            (Arc::new(spec), Arc::default()),
            Origin::default(),
        )
    }

    /// What the suite reads: defaults merged, overrides applied, matrix values put in.
    pub fn spec(&self) -> &Arc<Value> {
        self.spec.get_or_init(|| {
            if self.values.is_empty() && !substitute::occurs(&self.template) {
                Arc::clone(&self.template)
            } else {
                Arc::new(substitute::resolve(&self.template, &self.values))
            }
        })
    }

    /// SHA-256 (hex) of the spec with its keys sorted: tells a silently edited case under the same id.
    pub fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            let mut canonical = String::new();
            write_canonical(self.spec(), &mut canonical);
            let digits = |byte: &u8| {
                [byte >> 4, byte & 15].map(|four| char::from(b"0123456789abcdef"[usize::from(four)]))
            };
            Sha256::digest(canonical).iter().flat_map(digits).collect()
        })
    }
}

/// Compact JSON with the keys of every mapping sorted.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_is_made_of_lower_case_segments() {
        assert!(TrialId::new("functional::chat_core::t_0_6").is_some());
        for bad in ["", "a::", "::a", "a:b", "A::b", "a b", "a::b-c"] {
            assert!(TrialId::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_tells_another_value_but_not_another_order() {
        let hash = |spec| ExpandedCase::of(TrialId::of_slugs("a::b::c".into()), spec).hash().to_owned();
        assert_eq!(
            hash(json!({"a": 1, "b": {"c": 2, "d": 3}})),
            hash(json!({"b": {"d": 3, "c": 2}, "a": 1}))
        );
        assert_ne!(hash(json!({"a": 1})), hash(json!({"a": 1.0})));
        assert_ne!(hash(json!({"a": [1, 2]})), hash(json!({"a": [2, 1]})));
        assert_eq!(hash(json!({})), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }
}
