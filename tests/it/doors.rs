//! The two doors: `cargo test --test st` (through the built test binary) and the command, on the shipped cases.
//!
//! 两个入口：测试二进制与命令行。

use std::{path::PathBuf, process::Command, sync::OnceLock, time::Instant};

use crate::crate_root::{CrateRoot, Ran, cargo_st, clean, one_case};

/// The built `st` test binary, as cargo would run it.
pub(crate) fn st() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let build = ["test", "--no-run", "--message-format=json", "--quiet"];
        let output = cargo_st(&build).output().expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let executable = messages
            .filter(|message| message["target"]["name"] == "st")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        executable.unwrap_or_else(|| panic!("no st binary: {}", String::from_utf8_lossy(&output.stderr)))
    });
    clean(Command::new(path))
}

fn st_with(args: &[&str]) -> Ran {
    let artifacts = tempfile::tempdir().expect("a folder");
    let output = st()
        .args(args)
        .env("VLLM_CIBENCH_ARTIFACTS", artifacts.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("st starts");
    Ran::of(output)
}

#[test]
fn the_list_is_names_and_nothing_else() {
    let ran = st_with(&["--list", "--format", "terse"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.err, "");
    assert!(ran.out.lines().all(|line| line.ends_with(": test")), "{}", ran.out);
    for kind in [
        "setup::server",
        "functional::chat_core::basic",
        "perf::smoke::chat",
        "accuracy::smoke::common_knowledge",
    ] {
        assert!(ran.out.contains(&format!("{kind}: test\n")), "{kind} is not listed");
    }
}

#[test]
fn an_exact_name_runs_just_that_trial() {
    let ran = st_with(&["--exact", "functional::chat_core::basic", "--nocapture"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("running 1 test"), "{}", ran.out);
    assert!(ran.out.contains("test result: ok. 1 passed"), "{}", ran.out);
}

#[test]
fn a_typo_in_the_filter_is_an_error_with_near_names() {
    let ran = st_with(&["chat_croe"]);
    assert_eq!(ran.code, Some(5));
    assert!(ran.err.contains("no trial matches `chat_croe`"), "{}", ran.err);
    assert!(ran.err.contains("`chat_core`"), "{}", ran.err);
}

#[test]
fn a_red_trial_makes_cargo_red_and_leaves_every_report() {
    let root = CrateRoot::new().file("cases/functional/own.yaml", &one_case("status: 201"));
    let ran = root.run(&["run"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    for file in ["journal.jsonl", "junit.xml", "trials.csv", "metrics.prom", "report.json", "summary.md"] {
        assert!(root.left(file).len() > 1, "{file}");
    }
    assert!(root.left("junit.xml").contains("<failure"));
}

#[test]
fn the_reports_can_be_made_again_from_the_journal_alone() {
    let root = CrateRoot::new().file("cases/functional/own.yaml", &one_case("status: 201"));
    root.run(&["run"]);
    let before = root.left("junit.xml");
    std::fs::remove_file(root.run_folder().join("junit.xml")).expect("a report");
    let folder = root.run_folder();
    let ran = root.run(&["report", folder.to_str().expect("utf-8")]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("2 trials: 1 passed, 1 failed"), "{}", ran.err);
    assert_eq!(root.left("junit.xml").lines().count(), before.lines().count());
}

#[test]
fn ten_thousand_trials_are_listed_in_a_blink() {
    let mut text = String::from("defaults: {endpoint: chat, expect: [{status: 200}]}\ncases:\n");
    let values: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    for n in 0..100 {
        text.push_str(&format!(
            "  - id: case_{n}\n    matrix: {{n: [{}]}}\n    request: {{max_tokens: '${{n}}'}}\n",
            values.join(", ")
        ));
    }
    let root =
        (0..5).fold(CrateRoot::new(), |root, n| root.file(&format!("cases/functional/many_{n}.yaml"), &text));
    let best = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let ran = root.run(&["run", "--list"]);
            assert_eq!(ran.out.lines().count(), 10_001, "{}", ran.err);
            begun.elapsed()
        })
        .min()
        .expect("a time");
    eprintln!("10,000 trials listed in {best:?}");
    // A bound for any build and any machine; the figure itself is measured on an optimised build.
    assert!(best.as_secs_f64() < 2.0, "{best:?}");
}
