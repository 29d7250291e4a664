//! Performance: what is asked ([`Spec`]), how it is driven, what was seen of each request, and which figures
//! follow. The suite itself is [`Perf`]. Must not know the other suites, nor any transport beside
//! [`drive::Transport`].
//!
//! ```text
//! Spec ─schedule─▶ what is due when ─┐
//!    └─corpus─▶ requests, built ─────┴─drive─▶ exchange events ─timeline─▶ Record ─summary─▶ figures ─conclude─▶
//!                                                                           │ requests.jsonl, as they end
//! ```
//!
//! 性能测试：规格、驱动、时间线、汇总与有效性。

mod beyond;
mod ceiling;
mod chunk;
mod conclude;
mod conversations;
pub mod corpus;
pub mod definitions;
pub mod drive;
mod expect;
pub mod histogram;
mod mould;
mod phases;
mod profile;
mod progress;
pub mod prompt;
pub mod quantile;
mod random;
pub mod record;
pub mod schedule;
pub mod series;
pub mod server;
mod sidecar;
pub mod signals;
pub mod spec;
pub mod steps;
mod suite;
pub mod summary;
mod talk;
pub mod timeline;
mod tool;
pub mod validity;
pub mod watch;

pub use spec::Spec;
pub use suite::Perf;
