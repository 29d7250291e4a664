//! Accuracy: items with known answers are asked, answers are scored, and the score is held against a bar. The
//! suite itself is [`Accuracy`]. Must not know the other suites.
//!
//! ```text
//! Spec ─data─▶ items ─prompt─▶ asked by workers ─reply─▶ answered | truncated | empty | refused | failed
//!                                                           │ score: letter, right or wrong
//!                                                           ▼
//!                               tally ─▶ score, Wilson interval, verdict · items.jsonl
//! ```
//!
//! 精度测试：数据、提示、评分、区间与判定。

pub mod data;
pub mod interval;
pub mod prompt;
pub mod reply;
pub mod run;
pub mod sandbox;
pub mod score;
pub mod spec;
pub mod statistics;
mod suite;
pub mod tally;

pub use spec::Spec;
pub use suite::Accuracy;
