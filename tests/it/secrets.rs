//! Secrets that are seeded wherever one can be given stand in no file and in no output, whichever command it is.
//!
//! 密钥不得出现在任何产物或输出中。

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::crate_root::{CrateRoot, one_case};

/// The server's key, with characters that every format writes otherwise.
const KEY: &str = "sk-seeded-\"quoted\"-0123456789";
/// A bearer token in a case's own header, and one that only a prompt names.
const HEADER: &str = "sk-seeded-header-0123456789";
const BEARER: &str = "Xy7seededbearer0123456789";
/// Credentials in the gateway's address.
const GATEWAY: &str = "pass-seeded-42";
/// A key that stands in configs/providers.yaml.
const PROVIDER: &str = "provider-seeded-0123456789";
/// What a launch command and its environment are given.
const OPTION: &str = "option-seeded-0123456789";
const VARIABLE: &str = "variable-seeded-0123456789";

const ALL: [&str; 7] = [KEY, HEADER, BEARER, GATEWAY, PROVIDER, OPTION, VARIABLE];

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Every way in which `secret` may be written.
fn forms(secret: &str) -> Vec<String> {
    let json = Value::from(secret).to_string();
    let percent = secret.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    let xml = secret.replace('"', "&quot;");
    vec![secret.to_owned(), json.trim_matches('"').to_owned(), percent.collect(), xml]
}

fn assert_hidden(what: &str, text: &str) {
    for secret in ALL {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{form} stands in {what}:\n{text}");
        }
    }
}

/// A root in which every place that takes a secret has one. Its case is red, so that exchange, curl line and excerpt
/// are written; its prompt repeats a key as an answer could.
fn root() -> CrateRoot {
    let case = one_case("status: 201")
        .replace(
            "content: Say hello.",
            &format!("content: 'Repeat {KEY} and Authorization: Bearer {BEARER}'"),
        )
        .replace("    expect:", &format!("    headers: {{x-again: 'Bearer {HEADER}'}}\n    expect:"));
    let program = env!("CARGO_BIN_EXE_vllm-cibench");
    // The simulator's command has no such option: it is given to a shell, which shows it to `ps` as a server's would.
    let script = "exec \"$0\" sim --port \"$1\" --model stand-in";
    let local = format!(
        "mode: local\nserved_model_name: stand-in\nprovider: p\nlaunch:\n  command: [sh, -c, {script:?}, {program:?}, \
         '{{port}}', --api-key, {OPTION}, '--hf-token={OPTION}']\n  env: {{HF_TOKEN: {VARIABLE}}}\n  stop_timeout: 5s\n"
    );
    let provider = format!(
        "providers:\n  - {{id: p, name: P, base_url: 'http://127.0.0.1:9/v1', model_name: m, api_key: {PROVIDER}}}\n"
    );
    CrateRoot::new()
        .file("cases/functional/a.yaml", &case)
        .file("cases/perf/pr.yaml", include_str!("../../cases/perf/smoke.yaml"))
        .file("configs/scenarios/own.yaml", &local)
        .file("configs/providers.yaml", &provider)
        .file("summary.csv", "Input_Length,Output_Length,Concurrency,QPS,Backend\n128,64,1,2,openai-chat\n")
        .file("configs/matrix.yaml", "scenarios: {own: {pr: {enabled: true}}, sim: {pr: {enabled: true}}}\n")
}

/// Runs a command in `root` with every secret in its environment; nothing it prints may hold one.
fn run(root: &CrateRoot, args: &[&str]) -> (Option<i32>, String) {
    let output = root
        .command(args)
        .env("VLLM_CIBENCH_API_KEY", KEY)
        .env("PROM_PUSHGATEWAY_URL", format!("http://user:{GATEWAY}@127.0.0.1:9/"))
        .output()
        .expect("the command starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_hidden(&format!("what `{}` prints", args.join(" ")), &said);
    (output.status.code(), said)
}

#[test]
fn a_seeded_secret_stands_in_no_file_and_no_output_of_any_command() {
    let root = root();
    let sim =
        vllm_cibench::sim::Sim::start(vllm_cibench::sim::Options::default()).expect("the simulator starts");
    let push = ["push", "--csv", "summary.csv", "--label", "scenario=lab", "--run-type", "daily"];
    for (args, code) in [
        // The gateway is down: what could not be pushed is kept, without the way to it.
        (&push[..], 6),
        (&["push", "--retry"], 6),
        (&["probe", "--base-url", &sim.base_url(), "--save", "--cache", "probes"], 0),
        (&["run", "--record", "tape", "--json"], 1),
        (&["run", "--scenario", "own", "--json"], 1),
        (&["run-matrix", "--run-type", "pr", "--json"], 1),
        (&["run-matrix", "--run-type", "pr"], 1),
        (&["plan", "--scenario", "own", "--json"], 0),
        (&["plan", "--scenario", "own"], 0),
        (
            &[
                "compare",
                "--live",
                "A=sim",
                "B=own",
                "--run-type",
                "pr",
                "--blocks",
                "5",
                "--requests",
                "2",
                "--json",
            ],
            -1,
        ),
    ] {
        let (found, said) = run(&root, args);
        assert!(code < 0 || found == Some(code), "{args:?}: {said}");
    }
    let runs = std::fs::read_dir(root.path().join("artifacts")).expect("runs").flatten();
    let runs: Vec<String> = runs.map(|run| run.path().to_string_lossy().into_owned()).collect();
    for folder in &runs {
        run(&root, &["report", folder, "--json"]);
    }
    let journal =
        |run: &str| files_below(Path::new(run)).into_iter().find(|file| file.ends_with("journal.jsonl"));
    let journals: Vec<PathBuf> = runs.iter().filter_map(|run| journal(run)).collect();
    let text = |at: usize| journals[at].to_str().expect("UTF-8");
    run(&root, &["compare", text(0), text(1), "--json"]);

    let given = ["cases", "configs", "summary.csv"].map(|name| root.path().join(name));
    let mut files = files_below(&root.path());
    files.retain(|file| !given.iter().any(|given| file.starts_with(given)));
    for left in ["tape", "probes", "push-spool"] {
        assert!(
            files.iter().any(|file| file.components().any(|part| part.as_os_str() == left)),
            "{left}: {files:?}"
        );
    }
    assert!(files.len() > 40, "only {} files", files.len());
    for path in &files {
        let text = String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned();
        assert_hidden(&path.display().to_string(), &text);
    }
}

#[test]
fn a_mistake_beside_a_secret_does_not_show_it() {
    let root = root();
    let url = format!("http://user:{GATEWAY}@127.0.0.1:9/v1");
    for args in [
        &["run", "--base-url", &url][..],
        &["run-functional", "--base-url", &url],
        &["compare", "--live", &format!("A={url}"), "--self-test", "1", "--run-type", "pr"],
    ] {
        let (code, said) = run(&root, args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains("credentials do not belong into an address"), "{said}");
    }
}
