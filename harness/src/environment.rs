//! What can be seen of the machine that measures and of the tree that was run: for `RunStarted`, so that two
//! runs can be compared honestly. Must not know what is measured.
//!
//! 测量机环境与代码版本的快照。

use std::{collections::BTreeMap, process::Command};

use camino::Utf8Path;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::journal::{Environment, Git};

/// Looks at this machine. What cannot be seen is left out, never guessed.
pub fn observe() -> Environment {
    let mut observed = BTreeMap::from([
        ("os".to_owned(), json!(std::env::consts::OS)),
        ("arch".to_owned(), json!(std::env::consts::ARCH)),
    ]);
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            observed.insert(name.to_owned(), value);
        }
    };
    put("cpus", std::thread::available_parallelism().ok().map(|n| json!(n.get())));
    put("host", line_of("/proc/sys/kernel/hostname").map(Value::String));
    put("kernel", line_of("/proc/sys/kernel/osrelease").map(Value::String));
    put("cpu_model", field_of("/proc/cpuinfo", "model name").map(Value::String));
    put("memory_bytes", field_of("/proc/meminfo", "MemTotal").as_deref().and_then(bytes_of_kib));
    put("gpus", gpus());
    let hash = hash_of(&observed);
    Environment { observed, hash }
}

/// Name and driver of each accelerator, where the machine has the command that tells.
fn gpus() -> Option<Value> {
    let ask = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
    let output = Command::new("nvidia-smi").args(ask).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| gpus_of(&text)).filter(|gpus| !gpus.is_empty()).map(|gpus| json!(gpus))
}

/// `NVIDIA H100 80GB HBM3, 550.54.15`, a line each.
fn gpus_of(text: &str) -> Vec<Value> {
    let each = text.lines().filter_map(|line| line.rsplit_once(','));
    each.map(|(name, driver)| json!({"name": name.trim(), "driver": driver.trim()})).collect()
}

/// The commit of the tree at `root`, where git knows one.
pub fn git(root: &Utf8Path) -> Option<Git> {
    let ask = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = ask(&["rev-parse", "HEAD"])?;
    Some(Git {
        commit,
        branch: ask(&["symbolic-ref", "--short", "-q", "HEAD"]).filter(|name| !name.is_empty()),
        dirty: ask(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty()),
    })
}

fn hash_of(observed: &BTreeMap<String, Value>) -> String {
    let text = serde_json::to_string(observed).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn line_of(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

fn field_of(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn bytes_of_kib(text: &str) -> Option<Value> {
    let kib: u64 = text.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(json!(kib * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_machine_has_the_same_hash() {
        let (a, b) = (observe(), observe());
        assert_eq!(a, b);
        assert_eq!(a.hash.len(), 64);
        assert!(a.observed.contains_key("os"));
    }

    #[test]
    fn a_folder_without_git_has_no_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(git(Utf8Path::from_path(folder.path()).expect("utf-8")), None);
    }

    #[test]
    fn each_accelerator_has_a_name_and_a_driver() {
        let gpus = gpus_of("NVIDIA H100 80GB HBM3, 550.54.15\nNVIDIA L4, 550.54.15\n");
        let first = json!({"name": "NVIDIA H100 80GB HBM3", "driver": "550.54.15"});
        assert_eq!((gpus.len(), &gpus[0]), (2, &first));
        assert_eq!(gpus_of("No devices were found\n"), Vec::<Value>::new());
    }

    #[test]
    fn memory_is_given_in_bytes() {
        assert_eq!(bytes_of_kib("24 kB"), Some(json!(24576)));
        assert_eq!(bytes_of_kib("24"), None);
    }
}
