//! Another crate, outside the workspace, with cases and a suite of its own.
//!
//! 下游 crate 的契约测试。

use std::process::Command;

use crate::crate_root::{Ran, clean};

#[test]
fn another_crate_runs_its_own_cases_and_its_own_suite() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/downstream");
    let artifacts = tempfile::tempdir().expect("a folder");
    let output = clean(Command::new(env!("CARGO")))
        .args(["test", "--locked", "--test", "st", "--target-dir"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/target"))
        .current_dir(root)
        .env("VLLM_CIBENCH_ARTIFACTS", artifacts.path())
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .expect("cargo runs");
    let ran = Ran::of(output);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    for name in ["setup::server", "functional::own::hello", "greeting::names::ours"] {
        assert!(ran.out.contains(name), "{name}: {}", ran.out);
    }
    assert!(ran.out.contains("test result: ok. 3 passed; 0 failed;"), "{}", ran.out);
}
