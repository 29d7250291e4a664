//! Earlier runs as a measure for this one: which of them count ([`runs`]), what is taken of a trial ([`Evidence`]),
//! how two of them compare ([`decide`]), and the gate that the session asks ([`Baseline`]). The gate, `compare` and
//! `report` call the same [`decide`]. Must not know how a figure is measured: it reads what the journal says.
//!
//! ```text
//! journals of daily runs ─▶ Runs ─┐
//! this trial, machine, server ────┴─▶ Evidence × Evidence × PerfGate ─decide─▶ Decision ─▶ verdict, reasons, numbers
//! ```
//!
//! Of an accuracy trial it is the answers that are compared: one by one, or where they are not known score by score.
//!
//! 基线：历史运行、证据与回归判定。

pub mod ab;
pub mod compare;
pub mod decide;
mod differ;
pub mod evidence;
pub mod exact;
mod figure;
mod gate;
mod interval;
pub mod runs;
mod score;
mod show;
pub mod terms;

pub use decide::{Decision, Finding, Row, decide};
pub use differ::Difference;
pub use evidence::Evidence;
pub use figure::Figure;
pub use gate::Baseline;
pub(crate) use show::{percent, value as shown};
