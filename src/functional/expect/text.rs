//! What a text says: `matches`, `contains`, `starts`, `ends`, their opposites, and what must never show up in one:
//! `no_replacement_char`, `no_leak`. Must not know whose text it is.
//!
//! 文本断言。

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Broken, Paths, Scope,
    at::{Predicate, missing_text, schema_as, spots},
    exact::same,
    show,
};
use crate::functional::path::Found;

/// A regular expression (linear time, Unicode), compiled when the file is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Regex);

schema_as!(Pattern, String);

/// `matches: {path: pattern}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Matches(Pattern);

/// `not_matches: {path: pattern}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct NotMatches(Pattern);

/// `contains: {path: value}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Contains(Value);

/// `not_contains: {path: value}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct NotContains(Value);

/// `starts: {path: text}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Starts(String);

/// `ends: {path: text}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Ends(String);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Regex::new(&text).map(Self).map_err(|e| format!("expected a regular expression: {e}"))
    }
}

impl Pattern {
    /// Whether it finds something in `text`.
    pub fn finds(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Judges a text; anything else is told to be none.
fn text(value: &Value, holds: impl FnOnce(&str) -> bool) -> Result<(), String> {
    match value {
        Value::String(text) if holds(text) => Ok(()),
        Value::String(_) => Err(show(value)),
        other => Err(format!("{}, which is no text", show(other))),
    }
}

/// Whether a text or a list holds `part`; nothing where `whole` is neither.
fn holds(whole: &Value, part: &Value) -> Option<bool> {
    match (whole, part) {
        (Value::String(whole), Value::String(part)) => Some(whole.contains(part.as_str())),
        (Value::Array(items), part) => Some(items.iter().any(|item| same(item, part))),
        _ => None,
    }
}

impl Predicate for Matches {
    const KIND: &'static str = "matches";

    fn wants(&self) -> String {
        format!("to match /{}/", self.0.as_str())
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        text(value, |text| self.0.finds(text))
    }
}

impl Predicate for NotMatches {
    const KIND: &'static str = "not_matches";

    fn wants(&self) -> String {
        format!("not to match /{}/", self.0.as_str())
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        text(value, |text| !self.0.finds(text))
    }
}

impl Predicate for Contains {
    const KIND: &'static str = "contains";

    fn wants(&self) -> String {
        format!("to contain {}", show(&self.0))
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        match holds(value, &self.0) {
            Some(true) => Ok(()),
            Some(false) => Err(show(value)),
            None => Err(format!("{}, which is no text and no list", show(value))),
        }
    }
}

impl Predicate for NotContains {
    const KIND: &'static str = "not_contains";

    fn wants(&self) -> String {
        format!("not to contain {}", show(&self.0))
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        match holds(value, &self.0) {
            Some(false) => Ok(()),
            Some(true) => Err(show(value)),
            None => Err(format!("{}, which is no text and no list", show(value))),
        }
    }
}

impl Predicate for Starts {
    const KIND: &'static str = "starts";

    fn wants(&self) -> String {
        format!("to start with {}", show(&Value::from(self.0.as_str())))
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        text(value, |text| text.starts_with(&self.0))
    }
}

impl Predicate for Ends {
    const KIND: &'static str = "ends";

    fn wants(&self) -> String {
        format!("to end with {}", show(&Value::from(self.0.as_str())))
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        text(value, |text| text.ends_with(&self.0))
    }
}

/// What shows that a server's insides, or a model's control text, came through.
const LEAKS: &[(&str, &str)] = &[
    ("Traceback (most recent call last)", "a stack trace"),
    ("/site-packages/", "a file path"),
    ("object has no attribute", "an interpreter's message"),
    ("errors.pydantic.dev", "a library's address"),
    ("<tool_call>", "tool markup"),
    ("[TOOL_CALLS]", "tool markup"),
    ("<|python_tag|>", "tool markup"),
    ("<think>", "reasoning markup"),
    ("</think>", "reasoning markup"),
    ("<|im_start|>", "a template marker"),
    ("<|im_end|>", "a template marker"),
    ("<|eot_id|>", "a template marker"),
    ("<|endoftext|>", "a template marker"),
];

/// No U+FFFD at or below the paths.
pub(super) fn check_no_replacement_char(paths: &Paths, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    below(paths, "no_replacement_char", "no U+FFFD", scope, out, &|text| {
        let at = text.chars().position(|c| c == char::REPLACEMENT_CHARACTER)?;
        Some(format!("one at character {}: {}", at + 1, show(&Value::from(text))))
    });
}

/// None of [`LEAKS`] at or below the paths.
pub(super) fn check_no_leak(paths: &Paths, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    below(paths, "no_leak", "nothing internal", scope, out, &|text| {
        let (mark, what) = LEAKS.iter().find(|(mark, _)| text.contains(mark))?;
        Some(format!("{what} (`{mark}`): {}", show(&Value::from(text))))
    });
}

fn below(
    paths: &Paths,
    kind: &'static str,
    wants: &str,
    scope: &Scope<'_>,
    out: &mut Vec<Broken>,
    find: &dyn Fn(&str) -> Option<String>,
) {
    for (index, path) in paths.0.iter().enumerate() {
        let scope = scope.down(index);
        for spot in spots(path, kind, &scope, out) {
            match spot.found {
                Found::Value(value) => walk(value, spot.path, find, &mut |at, actual| {
                    out.push(scope.broken(kind, format!("{wants} in {at}"), actual));
                }),
                missing => {
                    out.push(scope.broken(kind, format!("{wants} in {}", spot.path), missing_text(&missing)))
                }
            }
        }
    }
}

/// Every text at or below `value`, keys left out.
fn walk(
    value: &Value,
    at: String,
    find: &dyn Fn(&str) -> Option<String>,
    tell: &mut dyn FnMut(String, String),
) {
    match value {
        Value::String(text) => {
            if let Some(actual) = find(text) {
                tell(at, actual);
            }
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| walk(item, format!("{at}.{index}"), find, tell));
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, item)| walk(item, format!("{at}.{key}"), find, tell))
        }
        _ => {}
    }
}
