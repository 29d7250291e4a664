//! System tests, benchmarks and accuracy checks for OpenAI-compatible LLM servers.
//!
//! 面向 OpenAI 兼容大模型服务的系统测试、性能与精度检查。

pub mod accuracy;
pub mod api;
pub mod client;
pub mod config;
pub mod functional;
pub mod perf;
pub mod probe;
pub mod report;
pub mod server;
pub mod sim;
pub mod workload;
