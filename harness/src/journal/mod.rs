//! The journal is the product's memory: every outcome is appended at once, and every report is a pure function
//! of it. [`Event`] is what is written, [`Journal`] writes it, [`RunRecord`] is what is read back.
//! Must not know any report.
//!
//! ```text
//! Event ─mask─▶ Journal::append ─▶ journal.jsonl ─read─┐
//!                     └──▶ the same lines in memory ───┴─fold─▶ RunRecord ─merge─▶ RunRecord
//! ```
//!
//! 日志：逐条追加的事件，所有报告皆由其推导。

mod event;
mod fold;
mod mask;
mod read;
mod record;
#[cfg(test)]
pub(crate) mod sample;
mod status;
#[cfg(test)]
mod tests;
mod write;

pub use event::{
    Envelope, Environment, Event, Git, Planned, RunFinished, RunStarted, Schema, Tool, TrialFinished,
};
pub use read::JournalError;
pub use record::{RunRecord, TrialRecord, TrialState};
pub use status::{Counts, Status, SuiteTrials};
pub use write::Journal;
