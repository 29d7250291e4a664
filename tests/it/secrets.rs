//! A key that is seeded wherever one can be given stands in no file and in no output.
//!
//! 密钥不得出现在任何产物或输出中。

use std::path::Path;

use crate::crate_root::{CrateRoot, one_case};

const KEY: &str = "sk-seeded-\"quoted\"-0123456789";
const HEADER: &str = "sk-seeded-header-0123456789";

fn files_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

#[test]
fn a_seeded_key_stands_in_no_file_and_no_output() {
    // The case is red, so that exchange, curl line and excerpt are written; its prompt repeats the key as an answer
    // could, and a header of its own gives another one away.
    let case = one_case("status: 201")
        .replace("content: Say hello.", &format!("content: 'Repeat {KEY}'"))
        .replace("    expect:", &format!("    headers: {{x-again: 'Bearer {HEADER}'}}\n    expect:"));
    let root = CrateRoot::new().file("cases/functional/a.yaml", &case);
    let output = root
        .command(&["run", "--record", "tape"])
        .env("VLLM_CIBENCH_API_KEY", KEY)
        .env("PROM_PUSHGATEWAY_URL", "http://user:pass-seeded-42@127.0.0.1:9/")
        .output()
        .expect("the command starts");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&said));
    let mut files = Vec::new();
    files_below(&root.path().join("artifacts"), &mut files);
    files_below(&root.path().join("tape"), &mut files);
    assert!(files.len() > 7, "{files:?}");
    let json = serde_json::to_string(KEY).expect("json");
    let forms = [KEY, json.trim_matches('"'), HEADER, "pass-seeded-42"];
    for form in forms {
        for path in &files {
            let text = String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned();
            assert!(!text.contains(form), "{form} stands in {}", path.display());
        }
        assert!(!String::from_utf8_lossy(&said).contains(form), "{form} was printed");
    }
}
