//! The dictionary of figures is made from the definitions, and both languages lead to it.
//! `SNAPSHOTS=overwrite cargo test --test it figures` writes its tables anew.
//!
//! 指标词典由定义生成，且保持最新。

use snapbox::{Data, assert::Assert};

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

fn read(file: &str) -> String {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_tables_of_the_dictionary_are_current() {
    let text = read("docs/figures.md");
    let (before, rest) = text.split_once(BEGIN).expect("where the tables begin");
    let (_, after) = rest.split_once(END).expect("where they end");
    let current = format!("{before}{BEGIN}{}{END}{after}", vllm_cibench::report::dictionary());
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/figures.md");
    Assert::new().action_env("SNAPSHOTS").eq(Data::text(current).raw(), Data::read_from(&file, None).raw());
}

#[test]
fn every_column_and_every_figure_is_in_the_dictionary() {
    let dictionary = vllm_cibench::report::dictionary();
    let header = read("tests/fixtures/perf/summary_header.csv");
    for column in header.trim().split(',') {
        assert!(dictionary.contains(&format!("| `{column}` |")), "{column}");
    }
    for figure in vllm_cibench::perf::definitions::ALL {
        assert!(dictionary.contains(&format!("| `{}` |", figure.id)), "{}", figure.id);
    }
}

#[test]
fn both_languages_lead_to_it() {
    for file in ["README.md", "README.zh-CN.md"] {
        assert!(read(file).contains("(docs/figures.md)"), "{file}");
    }
}

/// Every Rust file below `folder`, joined.
fn sources(folder: &std::path::Path) -> String {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.fold(String::new(), |all, path| match path.extension() {
        _ if path.is_dir() => all + &sources(&path),
        Some(end) if end == "rs" => all + &std::fs::read_to_string(&path).expect("a source"),
        _ => all,
    })
}

#[test]
fn every_error_of_another_tool_has_a_test_or_a_reason_and_the_tests_exist() {
    let sources = sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let text = read("docs/measuring.md");
    let (_, table) = text.split_once("## Errors that other tools make").expect("the section");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert_eq!(rows.len(), 45);
    for (number, row) in (1..).zip(rows) {
        assert!(row.starts_with(&format!("| {number} | ")), "row {number} is {row}");
        let named: Vec<&str> =
            row.split('`').filter_map(|word| word.split_once("::tests::")).map(|(_, name)| name).collect();
        let told = ["cannot occur", "the same test", "nothing is reset"].iter().any(|why| row.contains(why));
        assert!(told || !named.is_empty(), "neither a test nor a reason: {row}");
        for name in named {
            assert!(sources.contains(&format!("fn {name}(")), "no test is called {name}");
        }
    }
}
