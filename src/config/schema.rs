//! JSON Schemas of the files in `configs/`, for editors. Must not be used to judge a file: the types do that.
//!
//! 配置文件的 JSON Schema，供编辑器使用。

use serde_json::Value;

use super::{matrix::RawMatrix, providers::RawProviders, scenario::RawScenario};

/// The schema of each kind of file: the path (below the root) it is kept at, and the schema.
pub fn schemas() -> [(&'static str, Value); 3] {
    [
        ("configs/scenario.schema.json", schemars::schema_for!(RawScenario).to_value()),
        ("configs/matrix.schema.json", schemars::schema_for!(RawMatrix).to_value()),
        ("configs/providers.schema.json", schemars::schema_for!(RawProviders).to_value()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_refuses_unknown_keys_and_says_what_a_key_is_for() {
        for (path, schema) in schemas() {
            assert_eq!(schema["additionalProperties"], Value::Bool(false), "{path}");
            let properties = schema["properties"].as_object().expect("an object");
            for (key, about) in properties {
                assert!(about.get("description").is_some(), "{path}: `{key}` has no description");
            }
        }
    }
}
