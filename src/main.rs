//! The command.
//!
//! 命令行入口。

use std::process::ExitCode;

fn main() -> ExitCode {
    vllm_cibench::cli::main()
}
