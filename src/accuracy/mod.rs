//! Accuracy: items with known answers are asked, answers are scored as openai/simple-evals scores them, and the
//! score is held against a bar. The suite itself is [`Accuracy`]. Must not know the other suites.
//!
//! ```text
//! Spec ─data─▶ evaluator ─▶ questions ─▶ asked by workers ─▶ reply: answered | truncated | empty | refused | failed
//!                  │                          │ answers (kept as they come: a killed run is taken up)
//!                  └── key: marks ◀───────────┘
//!                        ▼
//!                       rows ─▶ tally, metrics ─▶ verdict · items.jsonl
//! ```
//!
//! 精度测试：数据、提示、作答、评分、区间与判定。

pub mod answers;
pub mod data;
pub mod evaluator;
pub mod gate;
pub mod item;
pub mod metrics;
mod model;
mod preflight;
pub mod python;
pub mod reply;
pub mod rescore;
pub mod results;
pub mod row;
pub mod run;
pub mod sandbox;
pub mod spec;
pub mod statistics;
mod suite;
pub mod tally;
mod tool;
mod verdict;

pub use spec::Spec;
pub use suite::Accuracy;
