//! What a person reads on a terminal, plain and in colours: a red trial beside a skipped one, a finished matrix, mistakes
//! in YAML. The plain form is what a pipe and `NO_COLOR` get. How lines are wrapped is tested beside the code.
//!
//! 终端输出的快照：无色与有色。

use snapbox::{Data, Redactions, assert::Assert};

use crate::crate_root::{CrateRoot, Ran};

fn root() -> CrateRoot {
    let case = |id: &str, needs: &str, expect: &str| {
        format!(
            "  - id: {id}\n    endpoint: completions\n    request: {{prompt: 请说你好。, max_tokens: 4, temperature: 0}}\n{needs}    \
             expect: [{expect}]\n"
        )
    };
    let needs = "    required_capabilities: [completions.suffix]\n";
    let red = case("red", "", "{eq: {body.object: 你好世界}}");
    let cases =
        format!("cases:\n{}{red}{}", case("green", "", "status: 200"), case("skipped", needs, "status: 200"));
    CrateRoot::new()
        .file("cases/functional/a.yaml", &cases)
        .file("configs/scenarios/local_single_qwen3-32b_guided_w8a8.yaml", "mode: sim\nserved_model_name: m\n")
        .file(
            "configs/matrix.yaml",
            "scenarios: {sim: {pr: {enabled: true}}, local_single_qwen3-32b_guided_w8a8: {pr: {enabled: true}}}\n",
        )
}

/// Runs a command; `colour` is what the variables of the environment say.
fn said(root: &CrateRoot, args: &[&str], colour: Option<&str>) -> Ran {
    let mut command = root.command(args);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    if let Some(name) = colour {
        command.env(name, "1");
    }
    Ran::of(command.output().expect("the command starts"))
}

/// Compares with a golden file, in which an escape can be read.
fn assert_looks(text: &str, golden: Data) {
    let mut redactions = Redactions::new();
    for (name, pattern) in [
        ("[RUN]", r"(?<redacted>[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})"),
        ("[CREATED]", r#""created":(?<redacted>[0-9]+)"#),
        ("[ID]", r"cmpl-(?<redacted>[0-9a-f]+)"),
        ("[TIME]", r"(?<redacted> *[0-9.]+ s)\n"),
    ] {
        redactions.insert(name, regex::Regex::new(pattern).expect("a pattern")).expect("a redaction");
    }
    let text = text.replace('\u{1b}', "␛");
    Assert::new().action_env("SNAPSHOTS").redact_with(redactions).eq(text, golden);
}

/// One after the other, so that the order is the same each time.
const RED: [&str; 4] = ["run", "functional", "--test-threads", "1"];

#[test]
fn a_red_trial_and_a_skipped_one() {
    let root = root();
    let coloured = said(&root, &RED, Some("CLICOLOR_FORCE"));
    assert_looks(&coloured.err, snapbox::file!["terminal/red.colour.txt"]);
    for plain in [None, Some("NO_COLOR")] {
        let plain = said(&root, &RED, plain);
        assert_looks(&plain.err, snapbox::file!["terminal/red.plain.txt"]);
    }
}

#[test]
fn a_finished_matrix() {
    let root = root();
    let coloured = said(&root, &["run-matrix", "--run-type", "pr"], Some("CLICOLOR_FORCE"));
    assert_looks(&coloured.out, snapbox::file!["terminal/matrix.colour.txt"]);
    let plain = said(&root, &["run-matrix", "--run-type", "pr"], None);
    assert_looks(&plain.out, snapbox::file!["terminal/matrix.plain.txt"]);
    assert!(plain.out.lines().all(|line| line.chars().count() <= 80), "{}", plain.out);
}

#[test]
fn mistakes_in_yaml() {
    let root = CrateRoot::new().file(
        "cases/functional/a.yaml",
        "cases:\n  - id: a\n    about: 你好\n    endpont: chat\n    request: {max_tokens: 4}\n    expect: [{stauts: 200}]\n",
    );
    let coloured = said(&root, &["run"], Some("CLICOLOR_FORCE"));
    assert_looks(&coloured.err, snapbox::file!["terminal/mistakes.colour.txt"]);
    let plain = said(&root, &["run"], None);
    assert_looks(&plain.err, snapbox::file!["terminal/mistakes.plain.txt"]);
}
