//! How an expectation names a part of the answer: [`Path`], a dotted and indexed way into a JSON value.
//! Must not know what an answer is, nor what is expected of it.
//!
//! 断言路径：以点号与下标定位 JSON 中的值。
//!
//! ```text
//! final.choices.0.finish_reason   names, and indices from 0
//! events.-1.json.usage            an index from the end
//! events.*.json.object            each of them
//! headers["a.b"]                  a name that holds a dot, a bracket or a blank
//! $                               the value itself (inside `each`); `$.index` is `index`
//! ```
//!
//! No brackets for indices: `[` would have to be quoted in YAML's flow style, `{final.choices.0.index: 0}` need not.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// A way into a JSON value, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    /// A key of an object; of a list an index, which from the end is negative.
    Name(String),
    Each,
}

/// What lies where a path leads. A path with `*` leads to several places, maybe to none.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot<'a> {
    /// The path with every index filled in: `events.3.json`.
    pub path: String,
    /// What is there.
    pub found: Found<'a>,
}

/// Null, absent and unreachable are three different things.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// A value, null included.
    Value(&'a Value),
    /// What should hold it is there, and does not.
    Absent,
    /// The way ends earlier: says where, and at what.
    Nowhere {
        /// How far the path leads; empty where it does not begin.
        stopped_at: String,
        /// `missing`, `null`, `a string`…
        what: &'static str,
    },
}

impl Path {
    /// Reads `text`.
    ///
    /// # Errors
    /// A sentence that says what was expected where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let steps = Reader { text, rest: text }.steps()?;
        Ok(Self { text: text.to_owned(), steps })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first name in it, where it begins with one: `final` in `final.usage`.
    pub fn root(&self) -> Option<&str> {
        self.name(0)
    }

    /// The name at step `at`, where a name stands there.
    pub fn name(&self, at: usize) -> Option<&str> {
        match self.steps.get(at) {
            Some(Step::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// All that it leads to in `value`, in order. `prefix` is where `value` itself lies.
    pub fn spots<'a>(&self, value: &'a Value, prefix: &str) -> Vec<Spot<'a>> {
        let mut spots = Vec::new();
        walk(value, &self.steps, prefix.to_owned(), &mut spots);
        spots
    }

    /// The one value it leads to; nothing where that is absent, or there are several.
    pub fn value<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self.spots(value, "").as_slice() {
            [Spot { found: Found::Value(value), .. }] => Some(value),
            _ => None,
        }
    }
}

fn walk<'a>(value: &'a Value, steps: &[Step], at: String, spots: &mut Vec<Spot<'a>>) {
    let Some((step, rest)) = steps.split_first() else {
        spots
            .push(Spot { path: if at.is_empty() { "$".to_owned() } else { at }, found: Found::Value(value) });
        return;
    };
    match (step, value) {
        (Step::Each, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, rest, join(&at, &index.to_string()), spots);
            }
        }
        (Step::Name(name), Value::Object(map)) => go(map.get(name), rest, join(&at, &text_of(step)), spots),
        (Step::Name(name), Value::Array(items)) if name.parse::<i64>().is_ok() => {
            let position = position(name, items.len());
            let item = position.and_then(|position| items.get(position));
            let shown = position.map_or_else(|| name.clone(), |position| position.to_string());
            go(item, rest, join(&at, &shown), spots);
        }
        (step, value) => {
            let path = join(&at, &text_of(step)) + &tail(rest);
            spots.push(Spot { path, found: Found::Nowhere { stopped_at: at, what: kind_of(value) } });
        }
    }
}

/// Where in a list of `length` items the index `name` leads; nothing where that is before its beginning.
fn position(name: &str, length: usize) -> Option<usize> {
    let index: i64 = name.parse().ok()?;
    let from_start = if index < 0 { index.checked_add_unsigned(length as u64)? } else { index };
    usize::try_from(from_start).ok()
}

fn go<'a>(next: Option<&'a Value>, rest: &[Step], at: String, spots: &mut Vec<Spot<'a>>) {
    match next {
        Some(value) => walk(value, rest, at, spots),
        None if rest.is_empty() => spots.push(Spot { path: at, found: Found::Absent }),
        None => {
            let path = format!("{at}{}", tail(rest));
            spots.push(Spot { path, found: Found::Nowhere { stopped_at: at, what: "missing" } });
        }
    }
}

fn tail(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |text, step| match text_of(step) {
        quoted if quoted.starts_with('[') => text + &quoted,
        plain => text + "." + &plain,
    })
}

fn text_of(step: &Step) -> String {
    match step {
        Step::Name(name) => {
            let plain =
                !name.is_empty() && !matches!(name.as_str(), "$" | "*") && !name.chars().any(ends_name);
            if plain { name.clone() } else { format!("[{}]", Value::from(name.as_str())) }
        }
        Step::Each => "*".to_owned(),
    }
}

fn join(at: &str, step: &str) -> String {
    if at.is_empty() || step.starts_with('[') { format!("{at}{step}") } else { format!("{at}.{step}") }
}

/// `null`, `a bool`, `a number`, `a string`, `an array`, `an object`.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn ends_name(c: char) -> bool {
    matches!(c, '.' | '[' | ']' | '"') || c.is_whitespace()
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn steps(mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        match self.rest.strip_prefix('$') {
            Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => self.rest = rest,
            _ if self.rest.starts_with('[') => {}
            _ => steps.push(self.name()?),
        }
        while !self.rest.is_empty() {
            if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                steps.push(self.name()?);
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.bracket()?);
            } else {
                return Err(self.wrong("`.` or `[`"));
            }
        }
        Ok(steps)
    }

    fn name(&mut self) -> Result<Step, String> {
        let end = self.rest.find(ends_name).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.wrong("a name"));
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(if name == "*" { Step::Each } else { Step::Name(name.to_owned()) })
    }

    fn bracket(&mut self) -> Result<Step, String> {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let name = match values.next() {
            Some(Ok(name)) if self.rest.starts_with('"') => name,
            _ => return Err(self.wrong("a name in double quotes (an index is written `.0`, each item `.*`)")),
        };
        self.rest = &self.rest[values.byte_offset()..];
        self.close(Step::Name(name))
    }

    fn close(&mut self, step: Step) -> Result<Step, String> {
        self.rest = self.rest.strip_prefix(']').ok_or_else(|| self.wrong("`]`"))?;
        Ok(step)
    }

    fn wrong(&self, expected: &str) -> String {
        let at = self.text[..self.text.len() - self.rest.len()].chars().count() + 1;
        let found = match self.rest.chars().next() {
            Some(c) => format!("`{c}`"),
            None => "its end".to_owned(),
        };
        format!("path `{}`: expected {expected} at character {at}, found {found}", self.text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for Path {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Path".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "string", "description": "a path such as final.choices.0.finish_reason"})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(path: &str, value: &Value) -> Vec<(String, String)> {
        let path = Path::parse(path).unwrap();
        path.spots(value, "")
            .into_iter()
            .map(|spot| {
                let found = match spot.found {
                    Found::Value(value) => value.to_string(),
                    Found::Absent => "absent".to_owned(),
                    Found::Nowhere { stopped_at, what } => format!("{stopped_at} is {what}"),
                };
                (spot.path, found)
            })
            .collect()
    }

    fn one(path: &str, value: &Value) -> (String, String) {
        let all = found(path, value);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    fn pair(path: &str, found: &str) -> (String, String) {
        (path.to_owned(), found.to_owned())
    }

    #[test]
    fn names_and_indices_lead_to_a_value() {
        let value = json!({"choices": [{"index": 0}, {"index": 1}], "a.b": false, "0": "zero"});
        assert_eq!(one("choices.1.index", &value), pair("choices.1.index", "1"));
        assert_eq!(one("choices.-2.index", &value), pair("choices.0.index", "0"));
        assert_eq!(one(r#"["a.b"]"#, &value), pair(r#"["a.b"]"#, "false"));
        assert_eq!(one("0", &value), pair("0", r#""zero""#));
        assert_eq!(one("$.choices.0", &value), pair("choices.0", r#"{"index":0}"#));
        assert_eq!(one("$", &json!(7)), pair("$", "7"));
    }

    #[test]
    fn null_absent_and_unreachable_differ() {
        let value = json!({"usage": null, "list": [], "text": "x"});
        assert_eq!(one("usage", &value), pair("usage", "null"));
        assert_eq!(one("error", &value), pair("error", "absent"));
        assert_eq!(one("list.0", &value), pair("list.0", "absent"));
        assert_eq!(one("list.-1", &value), pair("list.-1", "absent"));
        assert_eq!(one("usage.total", &value), pair("usage.total", "usage is null"));
        assert_eq!(one("error.code", &value), pair("error.code", "error is missing"));
        assert_eq!(one("list.first", &value), pair("list.first", "list is an array"));
        assert_eq!(one("text.*.x", &value), pair("text.*.x", "text is a string"));
    }

    #[test]
    fn a_star_leads_to_each_item_and_to_none_of_an_empty_list() {
        let value = json!({"e": [{"id": 1}, {}], "none": []});
        assert_eq!(found("e.*.id", &value), [pair("e.0.id", "1"), pair("e.1.id", "absent")]);
        assert!(found("none.*.id", &value).is_empty());
    }

    #[test]
    fn a_malformed_path_says_what_was_expected_where() {
        let bracket = "a name in double quotes (an index is written `.0`, each item `.*`)";
        for (path, expected) in [
            ("", "expected a name at character 1, found its end".to_owned()),
            ("a..b", "expected a name at character 3, found `.`".to_owned()),
            ("a[0]", format!("expected {bracket} at character 3, found `0`")),
            ("a[\"b]", format!("expected {bracket} at character 3, found `\"`")),
            ("a[\"b\"", "expected `]` at character 6, found its end".to_owned()),
            ("中 文", "expected `.` or `[` at character 2, found ` `".to_owned()),
        ] {
            assert_eq!(Path::parse(path).unwrap_err(), format!("path `{path}`: {expected}"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = Path::parse(&text);
        }

        #[test]
        fn a_concrete_path_leads_back_to_its_value(keys in prop::collection::vec(".{1,6}", 1..4)) {
            let value = keys.iter().rev().fold(json!([1]), |inner, key| json!([{key: inner}]));
            let text: String = keys.iter().map(|key| format!(".*[{}]", Value::from(key.as_str()))).collect();
            let path = Path::parse(&format!("${text}.0")).unwrap();
            let spots = path.spots(&value, "");
            let again = Path::parse(&spots[0].path).unwrap();
            prop_assert_eq!(again.value(&value), Some(&json!(1)));
        }
    }
}
