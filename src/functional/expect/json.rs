//! JSON inside a text, and JSON Schema: `json_parse`, `json_schema`. Must not know how a request travels.
//!
//! 文本中的 JSON 与 JSON Schema 断言。

use std::sync::Arc;

use jsonschema::Validator;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    At, Broken, Scope,
    at::{Predicate, missing_text, schema_as, spots},
    show,
};
use crate::functional::path::{Found, Path, kind_of};

/// `json_parse: {path: object}`: the text there is JSON, and of that kind.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonParse {
    /// Any JSON value.
    Any,
    /// `{…}`.
    Object,
    /// `[…]`.
    Array,
}

/// `json_schema: {path: schema}`, compiled when the file is read. A text is read as JSON first. With the word
/// `"@request"` for a schema it is the one that the request asked for: that of its `response_format`, or, for the
/// arguments of a call, the parameters of the tool that is called.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Value")]
pub enum JsonSchemaOf {
    /// As it is written.
    Given(Schema),
    /// As the request says.
    Requested,
}

/// A schema that is one.
#[derive(Clone)]
pub struct Schema {
    written: Value,
    compiled: Arc<Validator>,
}

const REQUESTED: &str = "@request";

schema_as!(JsonSchemaOf, Value);

impl std::fmt::Debug for JsonSchemaOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(schema) => f.debug_tuple("Given").field(&schema.written).finish(),
            Self::Requested => f.write_str("Requested"),
        }
    }
}

impl TryFrom<Value> for JsonSchemaOf {
    type Error = String;

    fn try_from(schema: Value) -> Result<Self, String> {
        if schema == REQUESTED {
            return Ok(Self::Requested);
        }
        Schema::compile(schema).map(Self::Given)
    }
}

/// Checks every path; see [`JsonSchemaOf`].
pub(super) fn check_schema(at: &At<JsonSchemaOf>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, wanted) in &at.0 {
        let scope = scope.down(path);
        for spot in spots(path, "json_schema", &scope, out) {
            let schema = match wanted {
                JsonSchemaOf::Given(schema) => Ok(schema.clone()),
                JsonSchemaOf::Requested => requested(scope.answer, &spot.path).and_then(Schema::compile),
            };
            let (wants, judged) = match (&schema, &spot.found) {
                (Ok(schema), Found::Value(value)) => (schema.wants(), schema.judge(value)),
                (Ok(schema), missing) => (schema.wants(), Err(missing_text(missing))),
                (Err(why), _) => ("to satisfy the schema of the request".to_owned(), Err(why.clone())),
            };
            if let Err(actual) = judged {
                out.push(scope.broken("json_schema", format!("{} {wants}", spot.path), actual));
            }
        }
    }
}

/// The schema that the request asked for what stands at `path`.
fn requested(answer: &Value, path: &str) -> Result<Value, String> {
    let request = &answer["request"];
    let Some((call, _)) = path.rsplit_once('.').filter(|(call, _)| call.contains("tool_calls.")) else {
        let schema = &request["response_format"]["json_schema"]["schema"];
        return if schema.is_null() {
            Err("no schema in its response_format".to_owned())
        } else {
            Ok(schema.clone())
        };
    };
    let call = Path::parse(call)?;
    let call = call.value(answer).unwrap_or(&Value::Null);
    let name = [&call["name"], &call["function"]["name"]].into_iter().find(|name| name.is_string());
    let name = name.unwrap_or(&Value::Null);
    let tools = request["tools"].as_array().into_iter().flatten();
    let tool = tools.map(|tool| &tool["function"]).find(|function| function["name"] == *name);
    match tool {
        Some(function) if !function["parameters"].is_null() => Ok(function["parameters"].clone()),
        Some(_) => Ok(Value::Object(serde_json::Map::default())),
        None => Err(format!("no tool of the name {}", show(name))),
    }
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("no JSON ({e}): {}", show(&Value::from(text))))
}

impl Predicate for JsonParse {
    const KIND: &'static str = "json_parse";

    fn wants(&self) -> String {
        match self {
            Self::Any => "to be JSON".to_owned(),
            Self::Object => "to be a JSON object".to_owned(),
            Self::Array => "to be a JSON array".to_owned(),
        }
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        let Value::String(text) = value else { return Err(format!("{}, which is no text", show(value))) };
        let parsed = parse(text)?;
        let holds = match self {
            Self::Any => true,
            Self::Object => parsed.is_object(),
            Self::Array => parsed.is_array(),
        };
        if holds { Ok(()) } else { Err(format!("{}: {}", kind_of(&parsed), show(&parsed))) }
    }
}

impl Schema {
    fn compile(written: Value) -> Result<Self, String> {
        let compiled =
            jsonschema::validator_for(&written).map_err(|e| format!("expected a JSON Schema: {e}"))?;
        Ok(Self { written, compiled: Arc::new(compiled) })
    }

    fn wants(&self) -> String {
        format!("to satisfy the schema {}", show(&self.written))
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        let parsed;
        let value = match value {
            Value::String(text) => {
                parsed = parse(text)?;
                &parsed
            }
            other => other,
        };
        let errors: Vec<String> = self
            .compiled
            .iter_errors(value)
            .take(5)
            .map(|e| {
                let at = e.instance_path().to_string();
                if at.is_empty() { e.to_string() } else { format!("{at}: {e}") }
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(format!("{} in {}", errors.join("; "), show(value))) }
    }
}
