//! What a server can do: [`Capabilities`], each with its state, its source and the evidence for it.
//! Must not know how a capability is probed, nor which ones exist: the domain hands in its catalogue.
//!
//! 服务器能力：状态、来源与证据。

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A dotted name such as `chat.tools`; known ids are listed by the domain's [`Catalogue`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapabilityId(pub String);

impl fmt::Display for CapabilityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of one capability. The order is that of `research`: best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its effect was seen.
    Supported,
    /// The field is known to the server; its effect cannot be shown on this model.
    Accepted,
    /// The server answers 200 and does nothing.
    Ignored,
    /// The server refuses it by name.
    Rejected,
    /// There is no such thing here.
    Unsupported,
    /// Nobody said and nothing was found out. Such a case runs; its failure is inconclusive.
    Unknown,
}

impl State {
    /// Whether a case that requires the capability runs.
    pub fn runs(self) -> bool {
        matches!(self, Self::Supported | Self::Accepted | Self::Unknown)
    }

    /// Whether the capability is known to be there.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Supported | Self::Accepted)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Supported => "supported",
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Rejected => "rejected",
            Self::Unsupported => "unsupported",
            Self::Unknown => "unknown",
        })
    }
}

/// Who said so, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The environment variable.
    Environment,
    /// The scenario or the functional file.
    Declared,
    /// A live probe, now or cached.
    Probe,
    /// Nobody.
    None,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::Declared => "declared",
            Self::Probe => "probe",
            Self::None => "nobody said",
        })
    }
}

/// One line of the capability table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What holds.
    pub state: State,
    /// Who said so.
    pub source: Source,
    /// Why it is believed, in words.
    pub evidence: String,
}

/// All that is known of a server. What is absent is [`State::Unknown`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(pub BTreeMap<CapabilityId, Finding>);

impl Capabilities {
    /// What is known of `id`; nothing known is unknown, with no source.
    pub fn get(&self, id: &CapabilityId) -> Finding {
        self.0.get(id).cloned().unwrap_or(Finding {
            state: State::Unknown,
            source: Source::None,
            evidence: "neither declared nor probed".to_owned(),
        })
    }
}

/// The ids that exist, so that a misspelt one is an error with near names. Handed in by the domain.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(pub Vec<CapabilityId>);

impl Catalogue {
    /// Whether `id` is a known one.
    pub fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|known| known.0 == id)
    }
}
