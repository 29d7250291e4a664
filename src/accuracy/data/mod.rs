//! Files with items: where they are ([`Supply`]), their rows by column ([`Table`]), and what is missing or wrong
//! ([`Unready`]). Every row is checked, and every mistake is told with its line. Must not know any evaluator.
//!
//! 题目数据文件：查找、按列读取、逐行校验、记录 SHA-256。

mod supply;
mod table;
mod wheel;

pub use supply::{Supplied, Supply};
pub use table::{Layout, Record, Table};
#[cfg(test)]
pub(crate) use wheel::tests::archive;

use serde::Serialize;
use st_harness::diag::Problem;

/// A file that items were read from, for the record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataFile {
    /// As people know it.
    pub path: String,
    /// SHA-256 of its bytes as they lie there, hex.
    pub sha256: String,
    /// How many rows it has.
    pub rows: usize,
}

/// Why items cannot be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Unready {
    /// They were not supplied: what to do.
    Missing(String),
    /// They were, and these are the mistakes in them.
    Bad(Vec<Problem>),
    /// Answers would be run, and this machine cannot lock them up well enough: what is missing.
    Unguarded(String),
}
