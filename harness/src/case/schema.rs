//! The JSON Schema of a case file, for editors: [`schema_of_case_file`]. It never calls a right file wrong; what it
//! lets pass, reading finds. Must not know any suite.
//!
//! 用例文件的 JSON Schema，供编辑器使用。

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value, json};

use super::file::Keys;

/// The schema of a case file whose cases say a `Spec` beside the keys that every case has.
pub fn schema_of_case_file<Spec: JsonSchema>(kind: &str) -> Value {
    let mut keys = Value::from(schema_for!(Keys));
    let mut spec = Value::from(schema_for!(Spec));
    loosen_below(&mut spec);
    let mut definitions = Map::new();
    let mut properties = Map::new();
    for schema in [&mut keys, &mut spec] {
        take_into(schema, "$defs", &mut definitions);
        take_into(schema, "properties", &mut properties);
    }
    // Types are in CamelCase: these names cannot meet one of theirs.
    definitions.insert(
        "case".to_owned(),
        json!({"type": "object", "properties": properties, "additionalProperties": false}),
    );
    definitions.insert(
        "matrix_placeholder".to_owned(),
        json!({"type": "string", "pattern": "[$][{][a-z0-9_]+[}]", "description": "`${axis}`: a value of the matrix."}),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("{kind} cases"),
        "type": "object",
        "properties": {
            "about": {"type": "string", "description": "What the file is about."},
            "defaults": {
                "$ref": "#/$defs/case",
                "properties": {"id": false},
                "description": "What is merged under every case: mappings key by key, everything else replaced.",
            },
            "cases": {
                "type": "array",
                "minItems": 1,
                // What defaults give, a case need not: only its id is its own.
                "items": {"$ref": "#/$defs/case", "required": ["id"]},
            },
        },
        "required": ["cases"],
        "additionalProperties": false,
        "$defs": definitions,
    })
}

fn take_into(schema: &mut Value, key: &str, target: &mut Map<String, Value>) {
    if let Some(Value::Object(entries)) = schema.get_mut(key).map(Value::take) {
        target.extend(entries);
    }
}

/// Lets a `${axis}` stand wherever more than any text is asked for, and a mapping lack keys that defaults may
/// give.
fn loosen(schema: &mut Value) {
    loosen_below(schema);
    let any_text = schema.get("type").is_some_and(|kind| kind == "string")
        && !["enum", "const", "pattern", "format"].iter().any(|keyword| schema.get(keyword).is_some());
    if schema.is_object() && !any_text {
        let strict = std::mem::take(schema);
        *schema = json!({"anyOf": [strict, {"$ref": "#/$defs/matrix_placeholder"}]});
    }
}

/// The same for all that `schema` is made of, but not for itself.
fn loosen_below(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    keywords.shift_remove("required");
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs", Value::Object(named)) => {
                named.values_mut().for_each(loosen)
            }
            ("items" | "additionalProperties", schema) => loosen(schema),
            ("prefixItems" | "allOf", Value::Array(all)) => all.iter_mut().for_each(loosen),
            ("anyOf" | "oneOf", Value::Array(choices)) => choices.iter_mut().for_each(loosen_choice),
            _ => {}
        }
    }
}

/// A choice is told from the others by the key that it requires.
fn loosen_choice(schema: &mut Value) {
    let required = schema.get("required").cloned();
    loosen_below(schema);
    if let (Some(required), Some(keywords)) = (required, schema.as_object_mut()) {
        keywords.insert("required".to_owned(), required);
    }
}
