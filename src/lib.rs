//! System tests, benchmarks and accuracy checks for OpenAI-compatible LLM servers.
//!
//! ```text
//! config (files → types)     server (start, ready, stop) ──▶ client::Target
//!        └────────▶ assemble ◀──┘                                │
//!                      │                   functional · perf · accuracy (the suites; none knows another)
//!                      │                                   └─ tools (other people's, run from outside) ─┘
//!                      ▼                                         │
//!         st_harness::Session ──▶ journal ──▶ reports ◀── report (the ones that know LLM servers)
//!                      ▲
//!                  baseline (earlier runs as a measure: the gate, compare, report)
//! ```
//!
//! A crate with cases of its own needs three lines, see [`st`].
//!
//! 面向 OpenAI 兼容大模型服务的系统测试、性能与精度检查。

pub mod accuracy;
pub mod acs;
pub mod api;
mod arrival;
pub mod assemble;
pub mod baseline;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod console;
pub mod duel;
pub mod functional;
mod levels;
pub mod matrix;
mod mme;
pub mod null;
pub mod outcome;
pub mod perf;
pub mod preview;
pub mod probe;
pub mod push;
pub mod report;
pub mod server;
pub mod sim;
mod st;
mod timer;
pub mod tools;
pub mod workload;

pub use st::{St, st};
