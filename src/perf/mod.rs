//! Performance: what is asked ([`Spec`]), how it is driven, what was seen of each request, and which figures
//! follow. The suite itself is [`Perf`]. Must not know the other suites, nor any transport beside
//! [`drive::Transport`].
//!
//! ```text
//! Spec ─prompt─▶ requests, built beforehand ─drive─▶ exchange events ─timeline─▶ Record ─summary─▶ figures
//!                                                                       │ requests.jsonl, as they end
//! ```
//!
//! 性能测试：规格、驱动、时间线、汇总与有效性。

pub mod definitions;
pub mod drive;
mod expect;
pub mod prompt;
pub mod quantile;
pub mod record;
mod sidecar;
pub mod spec;
mod suite;
pub mod summary;
pub mod timeline;
pub mod validity;

pub use spec::Spec;
pub use suite::Perf;
