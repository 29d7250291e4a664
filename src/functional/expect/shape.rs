//! What kind of value stands somewhere, or whether one does: `type`, `exists`, `absent`, `null_or_absent`, `keys`.
//! Null, absent and unreachable are three things. Must not know values.
//!
//! 类型与存在性断言。

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Broken, Paths, Scope,
    at::{Predicate, missing_text, schema_as, spots},
    show,
};
use crate::functional::path::Found;

/// `string`, `int|null`: one type, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Types {
    text: String,
    any_of: Vec<Type>,
}

schema_as!(Types, String);

#[derive(Debug, Clone, Copy)]
enum Type {
    String,
    Int,
    Number,
    Bool,
    Null,
    Array,
    Object,
}

const TYPES: &[(&str, Type)] = &[
    ("string", Type::String),
    ("int", Type::Int),
    ("number", Type::Number),
    ("bool", Type::Bool),
    ("null", Type::Null),
    ("array", Type::Array),
    ("object", Type::Object),
];

/// `{required: […], forbidden: […], allowed: […]}` of an object.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// All of these are there, null included.
    #[serde(default)]
    required: Vec<String>,
    /// None of these is there.
    #[serde(default)]
    forbidden: Vec<String>,
    /// Nothing but these is there.
    allowed: Option<Vec<String>>,
}

impl TryFrom<String> for Types {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let any_of = text
            .split('|')
            .map(|name| {
                let known = TYPES.iter().find(|(known, _)| *known == name.trim());
                known.map(|(_, one)| *one).ok_or_else(|| {
                    let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
                    format!("expected a type ({}, joined by `|`), found `{}`", names.join(", "), name.trim())
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { text, any_of })
    }
}

impl Type {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Int => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Bool => value.is_boolean(),
            Self::Null => value.is_null(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

impl Predicate for Types {
    const KIND: &'static str = "type";

    fn wants(&self) -> String {
        format!("to be of type {}", self.text)
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        if self.any_of.iter().any(|one| one.holds(value)) { Ok(()) } else { Err(show(value)) }
    }
}

impl Predicate for Keys {
    const KIND: &'static str = "keys";

    fn wants(&self) -> String {
        let mut parts = Vec::new();
        if !self.required.is_empty() {
            parts.push(format!("to have the keys {}", self.required.join(", ")));
        }
        if !self.forbidden.is_empty() {
            parts.push(format!("to lack the keys {}", self.forbidden.join(", ")));
        }
        if let Some(allowed) = &self.allowed {
            parts.push(format!("to have no keys but {}", allowed.join(", ")));
        }
        if parts.is_empty() { "to be an object".to_owned() } else { parts.join(" and ") }
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        let Value::Object(map) = value else { return Err(show(value)) };
        let missing =
            self.required.iter().filter(|key| !map.contains_key(*key)).map(|key| format!("no {key}"));
        let forbidden =
            self.forbidden.iter().filter(|key| map.contains_key(*key)).map(|key| format!("a {key}"));
        let allowed = |key: &&String| self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(key));
        let surplus = map.keys().filter(allowed).map(|key| format!("a {key}"));
        let wrong: Vec<String> = missing.chain(forbidden).chain(surplus).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
    }
}

/// A value stands there, null included.
pub(super) fn check_exists(paths: &Paths, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    check(paths, "exists", "to be there", scope, out, |found| matches!(found, Found::Value(_)));
}

/// No value stands there, not even null, in something that is there: a way that ends earlier says nothing.
pub(super) fn check_absent(paths: &Paths, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    check(paths, "absent", "to be absent", scope, out, |found| matches!(found, Found::Absent));
}

/// Null or nothing, in something that is there.
pub(super) fn check_null_or_absent(paths: &Paths, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    check(paths, "null_or_absent", "to be null or absent", scope, out, |found| {
        matches!(found, Found::Absent | Found::Value(Value::Null))
    });
}

fn check(
    paths: &Paths,
    kind: &'static str,
    wants: &str,
    scope: &Scope<'_>,
    out: &mut Vec<Broken>,
    holds: fn(&Found<'_>) -> bool,
) {
    for (index, path) in paths.0.iter().enumerate() {
        let scope = scope.down(index);
        for spot in spots(path, kind, &scope, out) {
            if !holds(&spot.found) {
                out.push(scope.broken(kind, format!("{} {wants}", spot.path), missing_text(&spot.found)));
            }
        }
    }
}
