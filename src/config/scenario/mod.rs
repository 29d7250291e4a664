//! One server to test: [`Scenario`], with the data of its [`Mode`] and nothing of any other.
//! Must not start or ask anything.
//!
//! 场景：被测服务的校验后描述。

mod raw;
mod validate;

use std::{collections::BTreeMap, time::Duration};

use st_harness::read::Origin;

use super::{capabilities::Claim, reference::Template};
use crate::{
    config::gates::RawPerfGate,
    sim::{Answering, FaultRule, Features, Timing},
};

pub use raw::{ModeName, Quant, RawScenario, Scheme};
pub(super) use validate::metric_prefix_is_plain;

/// A scenario that holds together.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The name of its file, without `.yaml`.
    pub name: String,
    /// What it is, in a line.
    pub about: Option<String>,
    /// How the server comes to be.
    pub mode: Mode,
    /// The weights.
    pub model: Option<String>,
    /// The model's name in requests, where it is fixed.
    pub served_model_name: Option<String>,
    /// The weights before quantisation.
    pub model_raw: Option<String>,
    /// How they are quantised.
    pub quant: Quant,
    /// Free labels.
    pub features: Vec<String>,
    /// What its author says of it.
    pub capabilities: Vec<Claim>,
    /// The provider that supplies what is not said here.
    pub provider: Option<String>,
    /// Where the server runs already, or where the cluster's is reached instead of by its node port.
    pub base_url: Option<Template>,
    /// When it counts as ready.
    pub readiness: Readiness,
    /// What a run must not fall short of.
    pub gates: Gates,
    /// An inconclusive functional trial is red.
    pub strict: bool,
    /// Stands before every metric's name; may be empty.
    pub metric_prefix: String,
    /// Where all of it was written.
    pub origin: Origin,
}

/// How a server comes to be, with what that takes.
#[derive(Debug, Clone)]
pub enum Mode {
    /// The embedded simulator.
    Sim(SimMode),
    /// It runs already, at the base URL.
    Attach,
    /// We start it on this machine.
    Local(LocalMode),
    /// We start it in a cluster.
    K8s(Box<K8sMode>),
}

/// The simulator's temper.
#[derive(Debug, Clone)]
pub struct SimMode {
    /// When tokens are due.
    pub timing: Timing,
    /// What goes wrong, and when.
    pub faults: Vec<FaultRule>,
    /// What it can do.
    pub capabilities: Features,
    /// Longest context, in tokens.
    pub max_model_len: Option<u32>,
    /// Questions that it knows, and how well it answers them.
    pub answering: Answering,
    /// Seed of everything random in it.
    pub seed: u64,
}

/// A process on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMode {
    /// Program and arguments, with placeholders; never empty.
    pub command: Vec<Template>,
    /// Variables that are added to ours.
    pub env: BTreeMap<String, Template>,
    /// The port; nothing: a free one.
    pub port: Option<u16>,
    /// How long it may take to end.
    pub stop_timeout: Duration,
}

/// A server in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct K8sMode {
    /// What is applied; nothing: it is there already.
    pub manifest: Option<Template>,
    /// The service that leads to the server.
    pub service_name: String,
    /// The service's port.
    pub port_name: String,
    /// The node port, where the service does not tell.
    pub node_port: Option<u16>,
    /// The node's address, where it is not to be found out.
    pub node_address: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// A kubeconfig file.
    pub kubeconfig: Option<Template>,
    /// A context of it.
    pub context: Option<String>,
    /// What is deleted afterwards; nothing: what was applied.
    pub delete_manifest: Option<Template>,
    /// Prefill and decode are apart (`k8s-pd`).
    pub roles: Option<Roles>,
}

/// The roles of a disaggregated server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// What takes requests in.
    pub scheduler: Role,
    /// What reads prompts.
    pub prefill: Role,
    /// What writes answers.
    pub decode: Role,
}

/// One role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// How many; at least 1.
    pub replicas: u32,
    /// Options of its servers, for the record.
    pub params: String,
    /// Label selector of its pods.
    pub selector: Option<String>,
}

/// When a server counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Asked until it answers 200, below the parent of the base URL.
    pub path: String,
    /// Of the address of a server that we start.
    pub scheme: Scheme,
    /// How long at most.
    pub timeout: Duration,
    /// Ask for one token too.
    pub completion: bool,
}

impl Readiness {
    /// The longest that anything is waited for.
    pub const LONGEST: Duration = Duration::from_secs(20 * 60);
    /// Where the server is said to run already, a short wait tells soonest that it does not.
    pub const ATTACHED: Duration = Duration::from_secs(10);
}

/// What a run must not fall short of.
#[derive(Debug, Clone, Default)]
pub struct Gates {
    /// Capabilities without which the run is red.
    pub require_capabilities: Vec<st_harness::capability::CapabilityId>,
    /// How many trials may be skipped.
    pub max_skipped: Option<u32>,
    /// How performance is held against the latest daily run, where the scenario says it; checked.
    pub perf: RawPerfGate,
}

impl Mode {
    /// As it is written.
    pub fn name(&self) -> ModeName {
        match self {
            Self::Sim(_) => ModeName::Sim,
            Self::Attach => ModeName::Attach,
            Self::Local(_) => ModeName::Local,
            Self::K8s(mode) if mode.roles.is_some() => ModeName::K8sPd,
            Self::K8s(_) => ModeName::K8sHybrid,
        }
    }

    /// Whether it starts on this machine unless an address from outside says that it runs already: no file
    /// can know that address.
    pub fn starts_here(&self) -> bool {
        matches!(self, Self::Sim(_) | Self::Local(_))
    }
}
