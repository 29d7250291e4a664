//! A custom test runner: YAML cases become libtest trials, a journal, and reports. It knows nothing of
//! LLMs or HTTP; it could test databases.
//!
//! ```text
//! cases/*.yaml ─read─▶ Case + Origin ─expand─▶ ExpandedCase(id) ─select─▶ (offline: all that --list does)
//!                                                                   │
//!   Fixture::start ─▶ Ready{world, capabilities} ─▶ admit: Run | Skip(reason, source)
//!                                                                   │
//!   lane ▶ deadline ▶ Suite::run ─▶ Observation ─▶ Verdict ─▶ journal (append, flush)
//!                                                                   │ pure functions of the journal
//!                                     report::{junit, trials_csv, json, markdown, github} ─▶ exit code
//! ```
//!
//! A crate that wants its own system tests implements [`Fixture`](fixture::Fixture) (what is tested) and
//! [`Suite`](suite::Suite) (how a case is run), and hands both to a [`Session`](session::Session).
//!
//! 自定义测试运行器：YAML 用例变为 libtest 试验、日志与报告；不了解 LLM 与 HTTP。

pub mod admit;
pub mod args;
pub mod capability;
pub mod case;
pub mod diag;
pub mod environment;
pub mod exit;
pub mod expand;
pub mod fixture;
pub mod folder;
pub mod gate;
pub mod host;
pub mod journal;
pub mod lane;
pub mod libtest;
pub mod read;
pub mod redact;
pub mod report;
mod select;
pub mod session;
pub mod suggest;
pub mod suite;
pub mod terminal;
pub mod trial;
pub mod verdict;
