//! The command.
//!
//! 命令行入口。

fn main() {}
