//! A case after expansion: [`ExpandedCase`], with the identity and the origin that every later step reports.
//! Must not know how a case is read or run.
//!
//! 展开后的用例：标识、来源与已解析的规格。

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{capability::CapabilityId, read::Origin};

/// `kind::file::case::axis_value…` in `[a-z0-9_:]`: the name of a trial, stable from run to run and from
/// server to server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrialId(String);

impl TrialId {
    /// Takes `text` where it is made of non-empty `[a-z0-9_]` segments joined by `::`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let good = text.split("::").all(|segment| {
            !segment.is_empty() && segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        });
        good.then_some(Self(text))
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

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One point of a case's matrix: what becomes one trial.
#[derive(Debug, Clone)]
pub struct ExpandedCase {
    /// The trial's name.
    pub id: TrialId,
    /// The id without its matrix values.
    pub case_id: String,
    /// The name of the suite's file, as it stands in the id.
    pub file: String,
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
    /// The matrix values of this point, in declaration order.
    pub values: Map<String, Value>,
    /// What the suite reads: defaults merged, matrix values put in, overrides applied.
    pub spec: Arc<Value>,
    /// From a pointer into `spec` to the line that somebody wrote.
    pub origin: Origin,
    /// SHA-256 (hex) of the resolved spec: tells a silently edited case under the same id.
    pub hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_lower_case_segments() {
        assert!(TrialId::new("functional::chat_core::t_0_6").is_some());
        for bad in ["", "a::", "::a", "a:b", "A::b", "a b", "a::b-c"] {
            assert!(TrialId::new(bad).is_none(), "{bad:?}");
        }
    }
}
