//! The journal is the product's memory: every outcome is appended at once, and every report is a pure function
//! of it. [`event`] is what is written, [`Journal`] writes it, [`RunRecord`] is what is read back.
//! Must not know any report.
//!
//! 日志：逐条追加的事件，所有报告皆由其推导。

mod event;
mod record;
mod write;

pub use event::{
    Envelope, Environment, Event, Git, Planned, RunFinished, RunStarted, Schema, Tool, TrialFinished,
};
pub use record::{JournalError, RunRecord, TrialRecord, TrialState};
pub use write::Journal;
