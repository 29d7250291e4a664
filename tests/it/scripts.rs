//! The scripts are the command with another name: the same flags, the same words, the same exit codes.
//!
//! 脚本与命令行一致。

use std::process::Command;

use crate::crate_root::{CrateRoot, Ran, clean};

#[test]
fn deploy_k8s_is_the_command_deploy() {
    let root = CrateRoot::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/deploy_k8s.sh");
    let flags = ["-f", "nowhere.yaml", "--wait", "5"];
    let mut scripted = clean(Command::new(script));
    scripted.current_dir(root.path()).args(flags).env("VLLM_CIBENCH", env!("CARGO_BIN_EXE_vllm-cibench"));
    let scripted = Ran::of(scripted.output().expect("the script starts"));
    let command = root.run(&[&["deploy"], &flags[..]].concat());
    assert_eq!((scripted.code, scripted.err), (Some(2), command.err));
}
