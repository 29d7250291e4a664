//! The system tests: `cargo test --test st -- FILTER`.
//!
//! 系统测试入口。

use std::process::ExitCode;

fn main() -> ExitCode {
    vllm_cibench::st(env!("CARGO_MANIFEST_DIR")).main()
}
