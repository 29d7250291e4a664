//! What can be seen of the machine that measures and of the tree that was run: for `RunStarted`, so that two
//! runs can be compared honestly. Must not know what is measured.
//!
//! | key | what | where it is read |
//! |---|---|---|
//! | `os`, `arch` | what this program was built for | |
//! | `host`, `kernel` | name, version | `/proc/sys/kernel` |
//! | `distribution` | `Debian GNU/Linux 12 (bookworm)` | `/etc/os-release` |
//! | `cpus`, `cpu_model` | cores that may be used; their model | the scheduler, `/proc/cpuinfo` |
//! | `governor` | how the processor chooses its frequency | `/sys/devices/system/cpu` |
//! | `memory_bytes`, `memory_limit_bytes` | of the machine; of this container | `/proc/meminfo`, the control group |
//! | `container`, `image` | `docker`, `podman`, `kubernetes`; the image, where the runtime tells | `/.dockerenv`, `/run/.containerenv` |
//! | `gpus`, `npus` | `[{name, driver}]` | `nvidia-smi`, `npu-smi` |
//!
//! 测量机环境与代码版本的快照。

mod accelerators;
mod ask;

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::ask::ask;
use crate::journal::{Environment, Git};

/// Looks at this machine. What cannot be seen is left out, never guessed; a program that does not answer is not
/// waited for.
pub fn observe() -> Environment {
    let cpus = std::thread::available_parallelism().ok().map(|n| json!(n.get()));
    let accelerators = [("gpus", accelerators::gpus()), ("npus", accelerators::npus())];
    let seen = [
        ("os", Some(json!(std::env::consts::OS))),
        ("arch", Some(json!(std::env::consts::ARCH))),
        ("cpus", cpus),
    ];
    let all = seen.into_iter().chain(below("/")).chain(accelerators);
    let observed = all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let hash = hash_of(&observed);
    Environment { observed, hash }
}

/// What the files of the machine whose root is `root` tell.
fn below(root: &str) -> [(&'static str, Option<Value>); 9] {
    let root = Utf8Path::new(root);
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let line = |path: &str| read(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let podman = read("run/.containerenv");
    let container = match (&podman, root.join(".dockerenv").exists()) {
        _ if root.join("var/run/secrets/kubernetes.io").exists() => Some("kubernetes"),
        (Some(_), _) => Some("podman"),
        (None, true) => Some("docker"),
        (None, false) => None,
    };
    let field = |path: &str, name: &str, between: char| field_of(&read(path)?, name, between);
    [
        ("host", line("proc/sys/kernel/hostname").map(Value::String)),
        ("kernel", line("proc/sys/kernel/osrelease").map(Value::String)),
        ("distribution", field("etc/os-release", "PRETTY_NAME", '=').map(Value::String)),
        ("cpu_model", read("proc/cpuinfo").as_deref().and_then(cpu_model).map(Value::String)),
        ("governor", line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").map(Value::String)),
        ("memory_bytes", field("proc/meminfo", "MemTotal", ':').as_deref().and_then(bytes_of_kib)),
        // `max` where there is no limit.
        (
            "memory_limit_bytes",
            line("sys/fs/cgroup/memory.max").and_then(|text| Some(json!(text.parse::<u64>().ok()?))),
        ),
        ("container", container.map(Value::from)),
        ("image", podman.and_then(|text| field_of(&text, "image", '=')).map(Value::String)),
    ]
}

/// The commit of the tree at `root`, where git knows one.
pub fn git(root: &Utf8Path) -> Option<Git> {
    let ask = |args: &[&str]| ask("git", &[&["-C", root.as_str()], args].concat());
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

/// What stands after `between` on the line that begins with `name`, without quotes.
fn field_of(text: &str, name: &str, between: char) -> Option<String> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(between)?;
        (key.trim() == name).then_some(value)
    });
    value.map(|value| value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty())
}

/// Its name; an ARM processor has two numbers instead.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let field = |name: &str| field_of(cpuinfo, name, ':');
    field("model name")
        .or_else(|| Some(format!("implementer {}, part {}", field("CPU implementer")?, field("CPU part")?)))
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
        assert!(a.observed.contains_key("os") && a.observed.contains_key("cpus"), "{a:?}");
    }

    #[test]
    fn a_folder_without_git_has_no_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(git(Utf8Path::from_path(folder.path()).expect("utf-8")), None);
    }

    /// What is told of a machine with these files.
    fn machine(files: &[(&str, &str)]) -> Value {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let told = below(root.path().to_str().expect("utf-8")).into_iter();
        told.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    #[test]
    fn a_machine_is_told_by_its_files() {
        let files = [
            ("proc/sys/kernel/hostname", "bench-1\n"),
            ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
            ("etc/os-release", "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            ("proc/cpuinfo", "processor\t: 0\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) 8481C\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("proc/meminfo", "MemTotal:       24 kB\nMemFree: 1 kB\n"),
            ("sys/fs/cgroup/memory.max", "8589934592\n"),
            ("run/.containerenv", "engine=\"podman-4.9\"\nimage=\"registry.example/bench:7\"\n"),
        ];
        let expected = json!({
            "host": "bench-1",
            "kernel": "6.1.0-18-amd64",
            "distribution": "Debian GNU/Linux 12 (bookworm)",
            "cpu_model": "Intel(R) Xeon(R) 8481C",
            "governor": "performance",
            "memory_bytes": 24576,
            "memory_limit_bytes": 8_589_934_592_u64,
            "container": "podman",
            "image": "registry.example/bench:7",
        });
        assert_eq!(machine(&files), expected);
    }

    #[test]
    fn an_arm_processor_is_told_by_its_numbers() {
        let cpuinfo = "processor\t: 0\nCPU implementer\t: 0x48\nCPU part\t: 0xd01\n";
        assert_eq!(cpu_model(cpuinfo).as_deref(), Some("implementer 0x48, part 0xd01"));
    }

    #[test]
    fn what_cannot_be_seen_is_left_out() {
        assert_eq!(machine(&[]), json!({}));
        let odd =
            [("proc/meminfo", "MemTotal: many\n"), ("sys/fs/cgroup/memory.max", "max\n"), (".dockerenv", "")];
        assert_eq!(machine(&odd), json!({"container": "docker"}));
        let pod = [("var/run/secrets/kubernetes.io/serviceaccount/token", "t")];
        assert_eq!(machine(&pod), json!({"container": "kubernetes"}));
    }
}
