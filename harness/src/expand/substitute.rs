//! Puts matrix values into a spec: [`check`] finds the placeholders that mean nothing, [`resolve`] replaces the
//! others. Must not know where the spec or the values come from.
//!
//! 占位符替换：`${轴}`。

use serde_json::{Map, Value};

use crate::read::escaped;

/// A placeholder that cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// `${x}` where there is no axis `x`.
    Unknown(String),
    /// `${x` without its end.
    Unclosed,
}

/// A stretch of a text.
#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    /// As it stands.
    Text(&'t str),
    /// The name between `${` and `}`.
    Axis(&'t str),
    /// `${` without an end.
    Unclosed(&'t str),
}

/// Cuts `text` at its placeholders; `$${` is a `${` that is none.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, after) = match rest.find("${") {
            None => (Part::Text(rest), ""),
            Some(0) => match rest.find('}') {
                Some(end) => (Part::Axis(&rest[2..end]), &rest[end + 1..]),
                None => (Part::Unclosed(rest), ""),
            },
            // The first of `$${` is dropped; what follows is text up to and with its `${`.
            Some(1) if rest.starts_with('$') => (Part::Text(&rest[1..3]), &rest[3..]),
            Some(at) if rest[..at].ends_with('$') => (Part::Text(&rest[..at - 1]), &rest[at - 1..]),
            Some(at) => (Part::Text(&rest[..at]), &rest[at..]),
        };
        rest = after;
        Some(part)
    })
}

/// Whether `value` holds anything that [`resolve`] would change.
pub(crate) fn occurs(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(items) => items.iter().any(occurs),
        Value::Object(entries) => entries.values().any(occurs),
        _ => false,
    }
}

/// Every placeholder below `value` that names no axis, with the JSON pointer of its text.
pub(super) fn check(value: &Value, is_axis: &impl Fn(&str) -> bool) -> Vec<(String, Fault)> {
    let mut faults = Vec::new();
    walk(value, &mut String::new(), &mut |pointer, text| {
        for part in parts(text) {
            match part {
                Part::Axis(name) if !is_axis(name) => {
                    faults.push((pointer.to_owned(), Fault::Unknown(name.to_owned())))
                }
                Part::Unclosed(_) => faults.push((pointer.to_owned(), Fault::Unclosed)),
                _ => {}
            }
        }
    });
    faults
}

fn walk(value: &Value, pointer: &mut String, visit: &mut impl FnMut(&str, &str)) {
    let outer = pointer.len();
    match value {
        Value::String(text) => visit(pointer, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                walk(item, pointer, visit);
                pointer.truncate(outer);
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                pointer.push('/');
                pointer.push_str(&escaped(key));
                walk(value, pointer, visit);
                pointer.truncate(outer);
            }
        }
        _ => {}
    }
}

/// `value` with the matrix values put in. A placeholder alone becomes the value itself, of whatever type;
/// beside other text it becomes text. Keys are left as they are. What [`check`] would tell stays as it stands.
pub(crate) fn resolve(value: &Value, values: &Map<String, Value>) -> Value {
    match value {
        Value::String(text) => resolve_text(text, values),
        Value::Array(items) => items.iter().map(|item| resolve(item, values)).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), resolve(value, values)))
            .collect::<Map<_, _>>()
            .into(),
        scalar => scalar.clone(),
    }
}

fn resolve_text(text: &str, values: &Map<String, Value>) -> Value {
    if !text.contains("${") {
        return text.into();
    }
    let mut all = parts(text);
    if let (Some(Part::Axis(name)), None) = (all.next(), all.next())
        && let Some(value) = values.get(name)
    {
        return value.clone();
    }
    let mut out = String::new();
    for part in parts(text) {
        match part {
            Part::Text(text) | Part::Unclosed(text) => out.push_str(text),
            Part::Axis(name) => match values.get(name) {
                Some(Value::String(value)) => out.push_str(value),
                Some(value) => out.push_str(&value.to_string()),
                None => out.push_str(&format!("${{{name}}}")),
            },
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(text: &str) -> Value {
        let values = json!({"t": 0.6, "n": null, "s": "hi", "o": {"a": [1]}});
        resolve(&json!(text), values.as_object().expect("a mapping"))
    }

    #[test]
    fn alone_it_keeps_its_type() {
        assert_eq!(resolved("${t}"), json!(0.6));
        assert_eq!(resolved("${n}"), json!(null));
        assert_eq!(resolved("${o}"), json!({"a": [1]}));
    }

    #[test]
    fn beside_text_it_becomes_text() {
        assert_eq!(resolved("t=${t}!"), json!("t=0.6!"));
        assert_eq!(resolved("${s}${t}"), json!("hi0.6"));
        assert_eq!(resolved("说${s}：${n}"), json!("说hi：null"));
        assert_eq!(resolved(" ${t}"), json!(" 0.6"));
    }

    #[test]
    fn a_doubled_dollar_is_no_placeholder() {
        assert_eq!(resolved("$${t}"), json!("${t}"));
        assert_eq!(resolved("a$${t} ${t}"), json!("a${t} 0.6"));
        assert_eq!(resolved("$5 and {t} and $t"), json!("$5 and {t} and $t"));
    }

    #[test]
    fn what_means_nothing_is_found_with_its_pointer() {
        let spec = json!({"a": ["${x}"], "b/c": "$${x} ${t} ${", "d": {"e": "${t} ${}"}});
        assert_eq!(
            check(&spec, &|name| name == "t"),
            [
                ("/a/0".to_owned(), Fault::Unknown("x".to_owned())),
                ("/b~1c".to_owned(), Fault::Unclosed),
                ("/d/e".to_owned(), Fault::Unknown(String::new())),
            ]
        );
    }
}
