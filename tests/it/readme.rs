//! The example that the README begins with is run as it stands there, and both languages show the same one.
//!
//! README 示例必须可运行，且中英文一致。

use crate::crate_root::CrateRoot;

/// The first YAML block of a file, which is the example.
fn example(file: &str) -> String {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (_, rest) = text.split_once("```yaml\n").expect("a YAML block");
    rest.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn the_first_case_of_the_readme_runs_as_it_is_shown() {
    let root = CrateRoot::new().file("cases/functional/mine.yaml", &example("README.md"));
    let ran = root.run(&["run", "mine"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let trials = root.left("trials.csv");
    for id in ["functional::mine::answers_briefly::n_1", "functional::mine::answers_briefly::n_8"] {
        let row =
            trials.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("no {id}:\n{trials}"));
        assert!(row.contains("passed"), "{row}");
    }
}

#[test]
fn both_languages_show_the_same_case() {
    assert_eq!(example("README.zh-CN.md"), example("README.md"));
}
