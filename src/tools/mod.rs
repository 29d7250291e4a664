//! Other people's tools, run from outside: a file in `configs/tools/` says what a tool is and how it is started
//! ([`Tool`]), a case says that it wants it ([`Use`]), [`Tools::run`] runs it, and an adapter reads what it left into
//! one [`Record`]. What is missing, stale, incomplete or unknown is an error, never a score. Must not know the suites:
//! they judge what a record says.
//!
//! ```text
//! configs/tools/*.yaml ─read─▶ Tools ─fill(case, server)─▶ Invocation ─run─▶ its own folder ─found─▶ text ─adapter─▶ Record, Samples
//!     lint: every mistake        plan: `tool plan`           smoke: `tool smoke`           there, fresh, one, not empty
//! ```
//!
//! 外部工具：描述一次，独立进程运行，结果先校验再采信。

mod adapter;
mod catalogue;
mod file;
mod fill;
mod found;
mod plan;
mod record;
mod run;
mod sample;
mod scratch;

pub use adapter::Adapter;
pub use catalogue::{HOME_VARIABLE, Tools};
pub use file::{DryRun, Kind, RawResult, RawTool, Tool, schema};
pub use fill::{Invocation, Settings, Use};
pub use plan::{Expected, Plan, Said};
pub use record::{Figure, Record, Unit};
pub use run::{Done, Stopped, Wanted};
pub use sample::{Sample, Samples};
