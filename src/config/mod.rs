//! What is tested, how much of it, and where: files, environment and flags become [`Settings`], once.
//! A leaf: must not speak to a server, nor know the session that runs the cases.
//!
//! ```text
//! configs/scenarios/*.yaml · matrix.yaml · providers.yaml ─▶ Files ┐
//! environment ────────────────────────────────▶ Environment ├─▶ Settings::resolve ─▶ Settings | every Problem
//! command line ───────────────────────────────────▶ Flags ┘
//! ```
//!
//! 配置：文件、环境变量与命令行合成为一份设置。

mod base_url;
mod capabilities;
mod check;
mod cluster;
mod environment;
mod files;
mod flags;
mod gates;
mod launch;
mod matrix;
mod providers;
mod reference;
mod run_type;
mod scenario;
mod schema;
mod settings;
#[cfg(test)]
mod tests;

pub use base_url::BaseUrl;
pub use capabilities::{Claim, declare, parse_list};
pub use cluster::InCluster;
pub use environment::{Ci, Environment, Github, Nextest, PREFIX, VARIABLES};
pub use files::{Files, provider_ids};
pub use flags::Flags;
pub use gates::{Inconclusive, Limits, PerfGate, Policy, RawLimits, RawPerfGate};
pub use launch::{Launch, Placeholders};
pub use matrix::{Matrix, OnFailure, Plan, RawMatrix, StageLimits, SuiteName};
pub use providers::{Provider, Providers, RawProviders};
pub use reference::Template;
pub use run_type::RunType;
pub use scenario::{
    Gates, K8sMode, LocalMode, Mode, ModeName, Quant, RawScenario, Readiness, Role, Roles, Scenario, Scheme,
    SimMode,
};
pub use schema::schemas;
pub use settings::{Endpoint, Settings, Tape};
