//! What GitHub runs: the workflows keep their promises, and the scripts that their steps are made of do what they say.
//!
//! GitHub 工作流与其脚本、客户端钩子的检查。

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use regex::Regex;

use crate::crate_root::{CrateRoot, Ran, clean, one_case};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn workflow(name: &str) -> String {
    read(&format!(".github/workflows/{name}.yml"))
}

/// Without comments.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split(" #").next().unwrap_or_default())
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |all, line| all + line + "\n")
}

fn script(name: &str) -> Command {
    clean(Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)))
}

fn ran(command: &mut Command) -> Ran {
    Ran::of(command.output().expect("it starts"))
}

#[test]
fn every_action_is_pinned_and_nothing_is_permitted_that_is_not_said() {
    let pinned = Regex::new(r"^[\w.-]+/[\w.-]+@[0-9a-f]{40}$").expect("a pattern");
    for name in ["pr", "daily", "guard"] {
        let text = code(&workflow(name));
        assert!(text.contains("\npermissions: {}\n"), "{name}");
        assert!(!text.contains(": write"), "{name} may write something");
        let uses = text.lines().filter_map(|line| line.split_once("uses: "));
        for (_, action) in uses {
            assert!(pinned.is_match(action.trim()), "{name}: {action}");
        }
        let checkouts = text.matches("actions/checkout@").count();
        assert_eq!(text.matches("persist-credentials: false").count(), checkouts, "{name}");
    }
}

#[test]
fn a_forks_code_meets_no_secret_and_no_runner_of_ours() {
    let text = code(&workflow("pr"));
    for never in ["secrets.", "pull_request_target", "PUSHGATEWAY", "push-spool"] {
        assert!(!text.contains(never), "pr.yml: {never}");
    }
    let ours = text.lines().find(|line| line.contains("VLLM_CIBENCH_PR_RUNNER")).expect("such a line");
    assert!(ours.contains("head.repo.full_name == github.repository &&"), "{ours}");
}

#[test]
fn the_stages_come_in_their_order_and_none_stops_the_next() {
    for name in ["pr", "daily"] {
        let text = code(&workflow(name));
        let steps: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("- name: ")).collect();
        let mut places =
            ["lint", "typecheck", "unit", "functional", "perf", "accuracy", "summary"].map(|stage| {
                steps
                    .iter()
                    .position(|step| step.split(", ").any(|one| one == stage))
                    .unwrap_or_else(|| panic!("{name}: {stage}"))
            });
        assert!(places.is_sorted(), "{name}: {places:?}");
        places.sort_unstable();
        for stage in ["lint", "typecheck", "unit"] {
            assert!(
                text.contains(&format!("- name: {stage}\n        if: ${{{{ !cancelled() }}}}")),
                "{name}: {stage}"
            );
        }
        assert!(text.contains("needs: checks\n    if: ${{ !cancelled() }}"), "{name}");
    }
    let daily = workflow("daily");
    assert!(
        daily.contains("cron: '0 0 * * *'")
            && daily.contains("workflow_dispatch:")
            && daily.contains("_DAYS || 30")
    );
    assert!(
        daily.contains("'360'") && workflow("pr").contains("_DAYS || 14") && workflow("pr").contains("'60'")
    );
}

#[test]
fn the_hook_refuses_main_and_nothing_else() {
    let push = |refs: &str| {
        let mut hook = script("hooks/pre-push");
        let child = hook.args(["origin", "url"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("it starts");
        child.stdin.take().expect("a pipe").write_all(refs.as_bytes()).expect("it reads");
        Ran::of(child.wait_with_output().expect("it ends"))
    };
    let refused = push("refs/heads/x 1 refs/heads/x 0\nrefs/heads/x 1 refs/heads/main 0\n");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("pull requests"), "{}", refused.err);
    for allowed in ["", "refs/heads/main 1 refs/heads/maintenance 0\n", "(delete) 0 refs/tags/main 1\n"] {
        assert_eq!(push(allowed).code, Some(0), "{allowed}");
    }
}

/// Runs a stage in `root`.
fn stage(root: &CrateRoot, args: &[&str]) -> Ran {
    let mut stage = script("scripts/ci_stage.sh");
    stage.args(args).current_dir(root.path());
    stage.env("VLLM_CIBENCH", env!("CARGO_BIN_EXE_vllm-cibench")).env("SCENARIO", "sim").env("MINUTES", "5");
    ran(&mut stage)
}

#[test]
fn a_stage_runs_its_own_cases_and_is_red_where_one_is() {
    let root = CrateRoot::new().file("cases/functional/a.yaml", &one_case("status: 201"));
    let functional = stage(&root, &["functional", "pr"]);
    assert_eq!(functional.code, Some(1), "{}", functional.err);
    assert!(root.left("junit.xml").contains("functional::a::hello"));
    let perf = stage(&root, &["perf", "pr"]);
    assert_eq!(perf.code, Some(0), "{}{}", perf.out, perf.err);
    assert!(!root.left("junit.xml").contains("functional::a::hello"));
    assert_eq!(stage(&root, &["load", "pr"]).code, Some(2));
}

#[test]
fn the_newest_daily_run_that_left_results_is_the_baseline() {
    let root = CrateRoot::new().file(
        "bin/gh",
        "#!/usr/bin/env bash\necho \"gh $*\" >> calls\ncase \"$1 $2 ${3:-}\" in\n  'run list '*) printf '9\\n8\\n' ;;\n  \
         'run download 9') exit 1 ;;\n  'run download 8') touch baseline/journal.jsonl ;;\nesac\n",
    );
    let gh = root.path().join("bin/gh");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&gh, mode).expect("it can be made a program");
    let fetch = |path: &str| {
        let mut fetch = script("scripts/fetch_baseline.sh");
        fetch
            .arg("baseline")
            .current_dir(root.path())
            .env("PATH", path)
            .env("GITHUB_REPOSITORY", "lab/bench");
        ran(&mut fetch)
    };
    let usual = std::env::var("PATH").expect("a path");
    let found = fetch(&format!("{}:{usual}", root.path().join("bin").display()));
    assert_eq!((found.code, found.out.trim()), (Some(0), "baseline: the daily run 8"), "{}", found.err);
    let calls = std::fs::read_to_string(root.path().join("calls")).expect("calls");
    assert!(calls.contains("--name daily-results --dir baseline"), "{calls}");
    std::fs::write(&gh, "#!/bin/sh\nexit 1\n").expect("a file");
    let none = fetch(&format!("{}:{usual}", root.path().join("bin").display()));
    assert!(
        none.code == Some(0) && none.out.contains("::warning title=no baseline::"),
        "{}{}",
        none.out,
        none.err
    );
}
