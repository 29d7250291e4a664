//! The JSON Schemas that teach an editor our files: generated from the types, committed, and never stale.
//! `SNAPSHOTS=overwrite cargo test --test it schemas` writes them anew.
//!
//! 生成的 JSON Schema 与类型保持一致。

use serde_json::Value;
use snapbox::{Data, assert::Assert};
use st_harness::case::schema_of_case_file;
use vllm_cibench::{accuracy, config, functional, perf, tools};

fn assert_current(path: &str, schema: &Value) {
    let text = serde_json::to_string_pretty(schema).expect("json") + "\n";
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    Assert::new().action_env("SNAPSHOTS").eq(Data::text(text), Data::read_from(&file, None).raw());
}

#[test]
fn the_schemas_of_cases_are_current() {
    assert_current("cases/functional.schema.json", &schema_of_case_file::<functional::Spec>("functional"));
    assert_current("cases/perf.schema.json", &schema_of_case_file::<perf::Spec>("perf"));
    assert_current("cases/accuracy.schema.json", &schema_of_case_file::<accuracy::Spec>("accuracy"));
}

#[test]
fn the_schemas_of_configuration_are_current() {
    for (path, schema) in config::schemas().into_iter().chain([tools::schema()]) {
        assert_current(path, &schema);
    }
}

#[test]
fn every_shipped_file_is_valid_under_its_schema() {
    let root = camino::Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let kinds = [
        ("cases/functional", schema_of_case_file::<functional::Spec>("functional")),
        ("cases/perf", schema_of_case_file::<perf::Spec>("perf")),
        ("cases/accuracy", schema_of_case_file::<accuracy::Spec>("accuracy")),
        ("configs/tools", tools::schema().1),
    ];
    let mut checked = 0;
    for (folder, schema) in kinds {
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        for entry in root.join(folder).read_dir_utf8().expect("a folder") {
            let path = entry.expect("an entry").into_path();
            if path.extension() != Some("yaml") {
                continue;
            }
            let source = st_harness::read::Source::load(root, &path).expect("a readable file");
            let wrong: Vec<String> = validator
                .iter_errors(source.root())
                .map(|error| format!("{path}{}: {error}", error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
            checked += 1;
        }
    }
    assert!(checked >= 6, "only {checked} files were found");
}
