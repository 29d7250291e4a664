//! What a person sees, one golden file a kind of failure: standard error of the command, and its exit code.
//!
//! 每类失败的终端输出（golden 文件）。

use snapbox::{Data, Redactions, assert::Assert};

use crate::crate_root::{CrateRoot, Ran, one_case};

/// What differs from run to run.
const VARYING: [(&str, &str); 5] = [
    ("[CREATED]", r#""created":(?<redacted>[0-9]+)"#),
    ("[RUN]", r"(?<redacted>[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})"),
    ("[PORT]", r"127\.0\.0\.1:(?<redacted>[0-9]+)"),
    ("[ID]", r"cmpl-(?<redacted>[0-9a-f]+)"),
    ("[TIME]", r"(?<redacted>[0-9.]+ m?s) after"),
];

/// Compares what the command said with the golden file.
fn assert_said(root: &CrateRoot, ran: &Ran, golden: Data) {
    let mut redactions = Redactions::new();
    redactions.insert("[ROOT]", root.path().display().to_string()).expect("a redaction");
    for (name, pattern) in VARYING {
        let pattern = regex::Regex::new(pattern).expect("a pattern");
        redactions.insert(name, pattern).expect("a redaction");
    }
    let said = format!("exit code: {:?}\n{}", ran.code, ran.err);
    Assert::new().action_env("SNAPSHOTS").redact_with(redactions).eq(said, golden);
}

fn faulty(fault: &str) -> String {
    format!("mode: sim\nserved_model_name: sim\nsim:\n  faults: [{fault}]\n")
}

#[test]
fn mistakes_in_files_are_told_all_at_once_with_their_places() {
    let root = CrateRoot::new()
        .file(
            "cases/functional/typo.yaml",
            "cases:\n  - id: a\n    endpont: chat\n    expect: [{status: 200}]\n  - id: b\n    endpoint: chat\n    \
             matrix: {t: [0, 1]}\n    request: {temperature: '${u}'}\n    expect: [{stauts: 200}]\n",
        )
        .file("cases/functional/tabs.yaml", "cases:\n\t- id: a\n")
        .file("cases/functional/paths.yaml", &one_case("eq: {final.choises.0.text: hi}"));
    let ran = root.run(&["run"]);
    assert_said(&root, &ran, snapbox::file!["failures/mistakes.txt"]);
    assert!(!root.path().join("artifacts").exists(), "nothing was run");
}

#[test]
fn a_mistake_in_a_scenario_is_told_with_its_place() {
    let root = CrateRoot::new()
        .file("cases/functional/a.yaml", &one_case("status: 200"))
        .file("configs/scenarios/mine.yaml", "mode: atach\nmodel: 7\n");
    let ran = root.run(&["run", "--scenario", "mine"]);
    assert_said(&root, &ran, snapbox::file!["failures/scenario.txt"]);
}

#[test]
fn a_filter_that_matches_nothing_names_what_is_near() {
    let root = CrateRoot::new().file("cases/functional/chat_core.yaml", &one_case("status: 200"));
    let ran = root.run(&["run", "chat_croe"]);
    assert_said(&root, &ran, snapbox::file!["failures/filter.txt"]);
}

#[test]
fn a_broken_expectation_is_told_with_its_line_and_a_way_to_repeat_it() {
    let root = CrateRoot::new().file("cases/functional/a.yaml", &one_case("status: 201"));
    let ran = root.run(&["run"]);
    assert_said(&root, &ran, snapbox::file!["failures/expectation.txt"]);
}

#[test]
fn a_server_that_is_not_there_is_red_once() {
    // Bound and dropped: nobody listens there.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let root = CrateRoot::new().file("cases/functional/a.yaml", &one_case("status: 200")).file(
        "configs/scenarios/gone.yaml",
        &format!("mode: attach\nbase_url: http://127.0.0.1:{port}/v1\nreadiness: {{timeout: 1s}}\n"),
    );
    let ran = root.run(&["run", "--scenario", "gone"]);
    assert_eq!(ran.code, Some(6));
    assert!(ran.err.contains("ERRORED setup::server"), "{}", ran.err);
    assert!(ran.err.contains("connection refused"), "{}", ran.err);
    assert!(ran.err.contains("1 failed") || ran.err.contains("1 errored"), "{}", ran.err);
}

#[test]
fn a_stream_that_is_cut_is_told_as_truncated() {
    let case = one_case("status: 200")
        .replace("temperature: 0\n", "temperature: 0\n    mode: stream\n    retries: 0\n");
    let root = CrateRoot::new().file("cases/functional/a.yaml", &case).file(
        "configs/scenarios/cut.yaml",
        &faulty("{when: {path: /v1/chat/completions}, fault: {cut_stream: {}}}"),
    );
    let ran = root.run(&["run", "--scenario", "cut"]);
    assert_said(&root, &ran, snapbox::file!["failures/truncated.txt"]);
}

#[test]
fn a_server_that_stalls_is_told_with_the_limit_that_it_broke() {
    let case = one_case("status: 200")
        .replace("  - id: hello\n", "  - id: hello\n    timeout: 1s\n    retries: 0\n");
    let root = CrateRoot::new().file("cases/functional/a.yaml", &case).file(
        "configs/scenarios/slow.yaml",
        &faulty("{when: {path: /v1/chat/completions}, fault: {stall_before_headers: {ms: 60000}}}"),
    );
    let ran = root.run(&["run", "--scenario", "slow"]);
    assert_said(&root, &ran, snapbox::file!["failures/timeout.txt"]);
}
