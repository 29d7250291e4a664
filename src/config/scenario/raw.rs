//! A scenario's file as it is written: [`RawScenario`], every key of every mode. Must not judge: which keys
//! belong together is decided where it becomes a [`Scenario`](super::Scenario).
//!
//! 场景文件的原始结构。

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    config::gates::RawPerfGate,
    sim::{Answering, FaultRule, Features, Timing},
};

/// One server to test: what it is, and how it is reached or started.
///
/// Texts under `base_url`, `launch` and `k8s.manifest` may refer to the environment: `${NAME}`,
/// `${NAME:-otherwise}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawScenario {
    /// What this server is, in a line.
    pub about: Option<String>,
    /// How the server comes to be.
    pub mode: ModeName,
    /// The weights: a folder or a name on a model hub.
    pub model: Option<String>,
    /// The model's name in requests. Without it: the only model that the server lists.
    pub served_model_name: Option<String>,
    /// The weights before quantisation.
    pub model_raw: Option<String>,
    /// How the weights are quantised.
    #[serde(default)]
    pub quant: Quant,
    /// Free labels of what is switched on: `guided_decoding`, `function_call`…
    #[serde(default)]
    pub features: Vec<String>,
    /// What the server can do: `chat.tools`; `-chat.tools` says that it cannot.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The `id` of an entry in configs/providers.yaml.
    pub provider: Option<String>,
    /// Address of the running server, with its /v1.
    pub base_url: Option<String>,
    /// The embedded simulator (mode `sim`).
    pub sim: Option<RawSim>,
    /// How the server is started on this machine (mode `local`).
    pub launch: Option<RawLaunch>,
    /// Where the server is found in a cluster (modes `k8s-hybrid` and `k8s-pd`).
    pub k8s: Option<RawK8s>,
    /// The roles of a disaggregated server (mode `k8s-pd`).
    pub pd: Option<RawPd>,
    /// When the server counts as ready.
    pub readiness: Option<RawReadiness>,
    /// What a run must not fall short of.
    #[serde(default)]
    pub gates: RawGates,
    /// How functional results are judged.
    #[serde(default)]
    pub functional: RawFunctional,
    /// How metrics are named.
    #[serde(default)]
    pub metrics: RawMetrics,
}

/// How a server comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModeName {
    /// The embedded simulator.
    Sim,
    /// It runs already.
    Attach,
    /// We start it on this machine.
    Local,
    /// We start it in a cluster; every replica does everything.
    K8sHybrid,
    /// We start it in a cluster; prefill and decode are apart.
    K8sPd,
}

impl ModeName {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Attach => "attach",
            Self::Local => "local",
            Self::K8sHybrid => "k8s-hybrid",
            Self::K8sPd => "k8s-pd",
        }
    }

    /// Whether the server lives in a cluster.
    pub fn is_k8s(self) -> bool {
        matches!(self, Self::K8sHybrid | Self::K8sPd)
    }
}

/// How weights are quantised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quant {
    /// 8-bit weights, 8-bit activations.
    W8a8,
    /// 4-bit weights, 8-bit activations.
    W4a8,
    /// Not at all.
    #[default]
    None,
}

impl Quant {
    /// As it is written and as metrics are labelled.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::W8a8 => "w8a8",
            Self::W4a8 => "w4a8",
            Self::None => "none",
        }
    }
}

/// The simulator's temper: its own types, since only it knows what it can do.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSim {
    /// When tokens are due: `ttft_ms`, `tpot_ms`, `jitter_ms`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub timing: Timing,
    /// What goes wrong, and when.
    #[serde(default)]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub faults: Vec<FaultRule>,
    /// What it is started with: `tools`, `guided`, `reasoning`…
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, bool>")]
    pub capabilities: Features,
    /// Longest context, in tokens.
    pub max_model_len: Option<u32>,
    /// Questions that it knows, and how well it answers them.
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub answering: Answering,
    /// Seed of everything random in it.
    #[serde(default)]
    pub seed: u64,
}

/// A process to start.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLaunch {
    /// Program and arguments; `{port}`, `{model}`, `{served_model_name}` and `{quant}` are filled in.
    pub command: Vec<String>,
    /// Variables that are added to ours.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The port; without it a free one is chosen.
    pub port: Option<u16>,
    /// How long it may take to end after it was asked to: `30s`.
    #[serde(default, deserialize_with = "st_harness::read::duration::option::deserialize")]
    #[schemars(with = "Option<String>")]
    pub stop_timeout: Option<Duration>,
}

/// Where the server is found in a cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawK8s {
    /// What is applied, relative to the root: one YAML file of any number of documents.
    pub manifest: Option<String>,
    /// The service that leads to the server.
    pub service_name: String,
    /// The service's port.
    #[serde(default = "http")]
    pub port_name: String,
    /// The node port, where the service does not tell.
    pub node_port: Option<u16>,
    /// The address of a node, where it is not to be found out: nodes may not be listed, or theirs lead nowhere
    /// from here.
    pub node_address: Option<String>,
    /// The namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// A kubeconfig file.
    pub kubeconfig: Option<String>,
    /// A context of it.
    pub context: Option<String>,
    /// What is deleted afterwards; without it: what was applied [env: VLLM_CIBENCH_K8S_DELETE_YAML]
    pub delete_manifest: Option<String>,
}

fn http() -> String {
    "http".to_owned()
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// The roles of a disaggregated server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPd {
    /// What takes requests in.
    pub scheduler: RawRole,
    /// What reads prompts.
    pub prefill: RawRole,
    /// What writes answers.
    pub decode: RawRole,
}

/// One role.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRole {
    /// How many there are.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Options of its servers, for the record.
    #[serde(default)]
    pub params: String,
    /// Label selector of its pods, for logs and metrics.
    pub selector: Option<String>,
}

fn one() -> u32 {
    1
}

/// When a server counts as ready.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawReadiness {
    /// Asked until it answers 200, below the parent of the base URL. Default `/health`.
    pub path: Option<String>,
    /// Of the address of a server that we start: `http` (the default) or `https`, whose certificate this machine
    /// has to trust. Any other address is given with its scheme.
    pub scheme: Option<Scheme>,
    /// How long at most, up to `20m`. Default: `10s` where the server runs already, else `20m`.
    #[serde(default, deserialize_with = "st_harness::read::duration::option::deserialize")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
    /// Ask for one token too: a proxy may say that it is well before those behind it are.
    #[serde(default)]
    pub completion: bool,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a run must not fall short of.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGates {
    /// Capabilities without which the run is red.
    #[serde(default)]
    pub require_capabilities: Vec<String>,
    /// How many trials may be skipped.
    pub max_skipped: Option<u32>,
    /// How performance is held against the latest daily run.
    #[serde(default)]
    pub perf: RawPerfGate,
}

/// How functional results are judged.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFunctional {
    /// An inconclusive trial is red.
    #[serde(default)]
    pub strict: bool,
}

/// How metrics are named.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMetrics {
    /// Stands before every name, with an underscore. Default: nothing.
    pub metric_prefix: Option<String>,
}
