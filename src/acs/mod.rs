//! acs-bench's command line, for whoever moves over from it: [`ProfArgs`] become performance cases ([`cases`]),
//! [`GenerateArgs`] a data set ([`generate`]). Every option has its place in [`OPTIONS`], or the reason why it has none.
//! Must not know how load is made: what it writes are cases as anybody could write them.
//!
//! 兼容 acs-bench 的命令行：翻译为性能用例与数据集。

mod generate;
mod names;
mod plan;
mod prof_args;
#[cfg(test)]
mod tests;
mod values;

pub use generate::{Counts, GenerateArgs, Generated, generate};
pub use names::{OPTIONS, Opt, long_names, table, with_short_names};
pub use plan::{Cases, cases};
pub use prof_args::ProfArgs;
