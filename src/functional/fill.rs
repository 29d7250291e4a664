//! What a body says in place of a value: [`fill`] puts in long texts that no file should hold (`$repeat`) and values
//! that only an earlier answer tells (`$from`); [`Raw`] is a body that is no JSON object. Must not know what is sent
//! where.
//!
//! 请求体中的占位：重复文本、先前应答中的值、原始字节。
//!
//! ```yaml
//! request:
//!   messages: [{role: user, content: {$repeat: {text: "one two ", times: 20000}}}]
//!   tokens: {$from: body.tokens}                     # in a leg: of the main answer; or `legs.NAME.body…`
//! raw: [{$repeat: {text: "[", times: 5000}}, "1", {$bytes: [255]}]
//! ```

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{expect::show, path::Path};

const REPEAT: &str = "$repeat";
const FROM: &str = "$from";
const BYTES: &str = "$bytes";
/// A larger body says nothing that this one does not.
const LARGEST: usize = 16 << 20;

/// A text, again and again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repeated {
    text: String,
    times: usize,
}

impl Repeated {
    fn read(value: &Value) -> Result<Self, String> {
        let form = "`$repeat: {text: \"…\", times: 1000}`";
        let repeated = Self::deserialize(value).map_err(|e| format!("expected {form}: {e}"))?;
        let size = repeated.text.len().checked_mul(repeated.times);
        match size {
            Some(1..=LARGEST) => Ok(repeated),
            _ => Err(format!("expected {form} that makes 1 byte to 16 MiB, found {}", show(value))),
        }
    }

    fn text(&self) -> String {
        self.text.repeat(self.times)
    }
}

/// The one key of `value`, where it has one, and what stands there.
fn only(value: &Value) -> Option<(&str, &Value)> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(key, value)| (key.as_str(), value))
}

/// `body` with everything put in. `answers` is what paths of `$from` begin at.
///
/// # Errors
/// Which path leads nowhere.
pub(super) fn fill(body: &Map<String, Value>, answers: &Value) -> Result<Map<String, Value>, String> {
    body.iter().map(|(key, value)| Ok((key.clone(), filled(value, answers)?))).collect()
}

fn filled(value: &Value, answers: &Value) -> Result<Value, String> {
    match (only(value), value) {
        (Some((REPEAT, repeated)), _) => Ok(Value::String(Repeated::read(repeated)?.text())),
        (Some((FROM, path)), _) => {
            let path = Path::parse(path.as_str().unwrap_or_default())?;
            path.value(answers).cloned().ok_or_else(|| format!("a value at {path}, to ask with"))
        }
        (_, Value::Object(object)) => fill(object, answers).map(Value::Object),
        (_, Value::Array(items)) => items.iter().map(|item| filled(item, answers)).collect(),
        (_, plain) => Ok(plain.clone()),
    }
}

/// Tells what is wrong with the placeholders in `value`, which stands at `pointer`. `roots` is what a path of
/// `$from` may begin with: none where nothing has been answered yet.
pub(super) fn mistakes(value: &Value, pointer: &str, roots: &[&str], tell: &mut dyn FnMut(&str, String)) {
    match (only(value), value) {
        (Some((REPEAT, repeated)), _) => {
            if let Err(message) = Repeated::read(repeated) {
                tell(&format!("{pointer}/{REPEAT}"), message);
            }
        }
        (Some((FROM, path)), _) => {
            let parsed = Path::parse(path.as_str().unwrap_or_default());
            let known = |path: &Path| path.root().is_some_and(|root| roots.contains(&root));
            let message = match parsed {
                Ok(path) if known(&path) => return,
                Ok(path) if roots.is_empty() => {
                    format!("`{path}`: nothing has been answered before this request; `$from` is for legs")
                }
                Ok(path) => format!("path `{path}`: expected one that begins with {}", roots.join(", ")),
                Err(message) => message,
            };
            tell(&format!("{pointer}/{FROM}"), message);
        }
        (_, Value::Object(object)) => {
            for (key, value) in object {
                let step = key.replace('~', "~0").replace('/', "~1");
                mistakes(value, &format!("{pointer}/{step}"), roots, tell);
            }
        }
        (_, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                mistakes(item, &format!("{pointer}/{index}"), roots, tell);
            }
        }
        _ => {}
    }
}

/// A body that is no JSON object: a text, or pieces one after another, each a text, a `$repeat` or `$bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Raw(pub Vec<u8>);

impl TryFrom<Value> for Raw {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let pieces = match &value {
            Value::Array(pieces) => pieces.iter().map(piece).collect::<Result<Vec<_>, _>>()?,
            one => vec![piece(one)?],
        };
        Ok(Self(pieces.concat()))
    }
}

fn piece(value: &Value) -> Result<Vec<u8>, String> {
    match (only(value), value) {
        (_, Value::String(text)) => Ok(text.clone().into_bytes()),
        (Some((REPEAT, repeated)), _) => {
            Repeated::read(repeated).map(|repeated| repeated.text().into_bytes())
        }
        (Some((BYTES, bytes)), _) => Vec::<u8>::deserialize(bytes)
            .map_err(|e| format!("expected `$bytes: [255, …]`, each 0 to 255: {e}")),
        _ => Err(format!("expected a text, `$repeat` or `$bytes`, or a list of them, found {}", show(value))),
    }
}

impl JsonSchema for Raw {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Raw".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": ["string", "array", "object"]})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn told(body: &Value, roots: &[&str]) -> Vec<(String, String)> {
        let mut told = Vec::new();
        mistakes(body, "/request", roots, &mut |at, message| told.push((at.to_owned(), message)));
        told
    }

    #[test]
    fn a_long_text_stands_where_its_size_was_told_and_a_schema_is_left_alone() {
        let body = map(json!({
            "messages": [{"content": {"$repeat": {"text": "ab", "times": 3}}}],
            "schema": {"$ref": "#"},
        }));
        let expected = json!({"messages": [{"content": "ababab"}], "schema": {"$ref": "#"}});
        assert_eq!(Value::Object(fill(&body, &Value::Null).unwrap()), expected);
    }

    #[test]
    fn a_value_of_an_earlier_answer_is_sent_on_as_it_is() {
        let answers = json!({"body": {"tokens": [1, 2]}, "legs": {"a": {"status": 200}}});
        let body = map(json!({"tokens": {"$from": "body.tokens"}, "n": {"$from": "legs.a.status"}}));
        assert_eq!(Value::Object(fill(&body, &answers).unwrap()), json!({"tokens": [1, 2], "n": 200}));
        let nowhere = map(json!({"tokens": {"$from": "body.gone"}}));
        assert_eq!(fill(&nowhere, &answers).unwrap_err(), "a value at body.gone, to ask with");
    }

    #[test]
    fn what_is_wrong_with_a_placeholder_is_told_where_it_stands() {
        let body = json!({"a": [{"$repeat": {"text": "", "times": 3}}], "b": {"$from": "gone.x"}});
        let told = told(&body, &["body"]);
        assert_eq!(told[0].0, "/request/a/0/$repeat");
        assert!(told[0].1.contains("that makes 1 byte to 16 MiB"), "{}", told[0].1);
        let expected = "path `gone.x`: expected one that begins with body".to_owned();
        assert_eq!(told[1], ("/request/b/$from".to_owned(), expected));
        assert!(super::tests::told(&json!({"b": {"$from": "body.x"}}), &[])[0].1.contains("is for legs"));
        assert!(super::tests::told(&json!({"b": {"$repeat": {"text": "x"}}}), &[])[0].1.contains("times"));
    }

    #[test]
    fn a_raw_body_may_hold_what_no_text_can() {
        let raw = |value: Value| Raw::try_from(value).map(|raw| raw.0);
        assert_eq!(raw(json!("{")), Ok(b"{".to_vec()));
        let pieces = json!([{"$repeat": {"text": "[", "times": 3}}, "1", {"$bytes": [255]}]);
        assert_eq!(raw(pieces), Ok(b"[[[1\xff".to_vec()));
        for wrong in [json!(5), json!([{"$bytes": [256]}]), json!({"$repeat": {"text": "x", "times": -1}})] {
            assert!(raw(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
