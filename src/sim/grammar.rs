//! Answers that obey a grammar: [`constrained`] tells the text that `response_format` or `structured_outputs` allow,
//! [`instance`] makes a value that a JSON schema accepts. Must not know how text becomes tokens.
//!
//! 受约束的输出：按 JSON Schema、选项或正则生成文本。

use super::chance::{Chance, hash};
use super::validate::{Checked, Refusal};
use serde_json::{Map, Value, json};

/// Nesting beyond this is refused, `$ref` included.
const DEPTH: usize = 32;

/// The text that the body's constraints allow; null where there are none.
///
/// # Errors
/// If a grammar is none, or the server has no grammars.
pub(super) fn constrained(body: &Map<String, Value>, guided: bool, key: u64) -> Checked<Option<String>> {
    let format = body.get("response_format").unwrap_or(&Value::Null);
    let ways = body.get("structured_outputs").unwrap_or(&Value::Null);
    let kind = format["type"].as_str().unwrap_or("text");
    if kind == "text" && ways.is_null() {
        return Ok(None);
    }
    if !guided {
        return Err(Refusal::bad(
            "Structured outputs are not available: the server was started without a backend.",
        ));
    }
    let schema = match (kind, &ways["json"], &ways["json_object"]) {
        ("json_schema", ..) => Some(format["json_schema"]["schema"].clone()),
        ("json_object", ..) | (_, _, Value::Bool(true)) => Some(json!({
            "type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 1}},
            "required": ["name", "age"],
        })),
        (_, Value::String(text), _) => serde_json::from_str(text).ok(),
        (_, schema @ Value::Object(_), _) => Some(schema.clone()),
        _ => None,
    };
    if let Some(schema) = schema {
        return Ok(Some(pretty(&instance(&schema, "", key)?)));
    }
    if let Some(choices) = ways["choice"].as_array() {
        let k = Chance::new(key).below(choices.len());
        return Ok(choices.get(k).and_then(Value::as_str).map(str::to_owned));
    }
    if let Some(rules) = ways["grammar"].as_str() {
        return alternative(rules, key).map(Some);
    }
    match ways["regex"].as_str() {
        Some(pattern) => Ok(Some(matching(pattern)?)),
        None => Err(Refusal::bad("Grammar error: this kind of constraint is not supported by the simulator")),
    }
}

/// One of the texts of a grammar of one rule: `root ::= "a" | "b"`.
fn alternative(rules: &str, key: u64) -> Checked<String> {
    let beyond =
        || grammar_error("expected one rule such as root ::= \"a\" | \"b\"; the simulator reads no other");
    let (_, right) = rules.split_once("::=").filter(|(name, _)| name.trim() == "root").ok_or_else(beyond)?;
    let text = |part: &str| Some(part.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned());
    let mut texts = right.split('|').map(text).collect::<Option<Vec<_>>>().ok_or_else(beyond)?;
    Ok(texts.swap_remove(Chance::new(key).below(texts.len())))
}

/// A value that the schema accepts. Texts are taken from `hint` where the schema leaves them free.
///
/// # Errors
/// If the schema is none, or has no end, or is beyond what is understood here.
pub(super) fn instance(schema: &Value, hint: &str, key: u64) -> Checked<Value> {
    Maker { root: schema, hint, key }.make(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    hint: &'a str,
    key: u64,
}

fn grammar_error(why: &str) -> Refusal {
    Refusal::bad(format!("Grammar error: {why}"))
}

impl Maker<'_> {
    fn make(&self, schema: &Value, depth: usize) -> Checked<Value> {
        if depth > DEPTH {
            return Err(grammar_error("the schema nests too deeply, or without an end"));
        }
        let Value::Object(keys) = schema else {
            return match schema {
                Value::Bool(true) => Ok(json!({})),
                Value::Null => Err(grammar_error("no schema is given")),
                _ => Err(grammar_error("a schema must be an object")),
            };
        };
        if keys.contains_key("uniqueItems") {
            return Err(grammar_error("Unimplemented keys: [\"uniqueItems\"]"));
        }
        if let Some(pointer) = keys.get("$ref").and_then(Value::as_str) {
            let target = pointer.strip_prefix('#').and_then(|p| self.root.pointer(p));
            return match target {
                Some(target) => self.make(target, depth + 1),
                None => Err(grammar_error(&format!("unresolvable reference: {pointer}"))),
            };
        }
        if let Some(only) = keys.get("const").or_else(|| self.one_of(keys.get("enum")?.as_array()?)) {
            return Ok(only.clone());
        }
        for several in ["anyOf", "oneOf"] {
            if let Some(first) = keys.get(several).and_then(|s| s.get(0)) {
                return self.make(first, depth + 1);
            }
        }
        if let Some(all) = keys.get("allOf").and_then(Value::as_array) {
            let mut merged = keys.clone();
            merged.remove("allOf");
            for part in all.iter().filter_map(Value::as_object) {
                merged.extend(part.clone());
            }
            return self.make(&Value::Object(merged), depth + 1);
        }
        self.typed(keys, schema, depth)
    }

    fn typed(&self, keys: &Map<String, Value>, schema: &Value, depth: usize) -> Checked<Value> {
        let kind = match keys.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str).unwrap_or("null"),
            _ if keys.contains_key("items") => "array",
            _ if keys.contains_key("pattern") => "string",
            _ => "object",
        };
        match kind {
            "null" => Ok(Value::Null),
            "boolean" => Ok(json!(true)),
            "integer" | "number" => Ok(number(schema, kind == "integer")),
            "string" => self.text(schema).map(Value::String),
            "array" => {
                let fixed = schema["prefixItems"].as_array().map_or(0, Vec::len);
                let least = schema["minItems"].as_u64().unwrap_or(1).max(fixed as u64);
                let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
                let any = json!({"type": "string"});
                let item = |k: usize| schema["prefixItems"].get(k).or(keys.get("items")).unwrap_or(&any);
                let count = usize::try_from(least.min(most)).unwrap_or(0);
                (0..count)
                    .map(|k| self.make(item(k), depth + 1))
                    .collect::<Checked<Vec<_>>>()
                    .map(Value::Array)
            }
            "object" => {
                let mut made = Map::new();
                for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                    made.insert(name.clone(), self.make(property, depth + 1)?);
                }
                let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
                for name in required.filter(|name| !made.contains_key(*name)).collect::<Vec<_>>() {
                    made.insert(name.to_owned(), json!("x"));
                }
                Ok(Value::Object(made))
            }
            other => Err(grammar_error(&format!("Invalid type: {other}"))),
        }
    }

    fn one_of<'v>(&self, values: &'v [Value]) -> Option<&'v Value> {
        values.get(Chance::new(hash(&[self.key, 2])).below(values.len()))
    }

    fn text(&self, schema: &Value) -> Checked<String> {
        if let Some(pattern) = schema["pattern"].as_str() {
            return matching(pattern);
        }
        let fixed = match schema["format"].as_str() {
            Some("date") => Some("2026-01-02"),
            Some("date-time") => Some("2026-01-02T03:04:05Z"),
            Some("time") => Some("03:04:05Z"),
            Some("email") => Some("lena@example.org"),
            Some("uuid") => Some("123e4567-e89b-12d3-a456-426614174000"),
            Some("uri") => Some("https://example.org/"),
            Some("ipv4") => Some("192.0.2.1"),
            _ => None,
        };
        if let Some(text) = fixed {
            return Ok(text.to_owned());
        }
        let most = schema["maxLength"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(64);
        let least = schema["minLength"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let word = if self.hint.is_empty() { "Lena" } else { self.hint };
        let text: String = word.chars().take(most).collect();
        let lacking = least.saturating_sub(text.chars().count());
        Ok(text + &"a".repeat(lacking))
    }
}

fn number(schema: &Value, whole: bool) -> Value {
    let bound = |name: &str| schema[name].as_f64();
    let step = bound("multipleOf").filter(|m| *m > 0.0).unwrap_or(1.0);
    let low = bound("minimum").or(bound("exclusiveMinimum").map(|m| m + if whole { 1.0 } else { 0.5 }));
    let high = bound("maximum").or(bound("exclusiveMaximum").map(|m| m - if whole { 1.0 } else { 0.5 }));
    let start = match (low, high) {
        (Some(low), _) => low,
        (None, Some(high)) => high.min(22.0),
        (None, None) => 22.0,
    };
    let up = (start / step).ceil() * step;
    let value = if high.is_some_and(|high| up > high) { (start / step).floor() * step } else { up };
    if whole || value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}

/// A value as the recorded server writes it: indented by two.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// The shortest plain text that a regular expression matches: of alternatives the first, of classes the first
/// member, of repetitions the fewest, but one where none is wanted only as a choice.
fn matching(pattern: &str) -> Checked<String> {
    let wrong = |why: &str| grammar_error(&format!("Failed to parse regex {pattern}: {why}"));
    let regex = regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|_| wrong("it is none"))?;
    let chars: Vec<char> = pattern.trim_start_matches('^').trim_end_matches('$').chars().collect();
    let mut reader = Reader { chars: &chars, at: 0 };
    let text = reader.alternatives();
    if regex.is_match(&text) { Ok(text) } else { Err(wrong("it is beyond the simulator")) }
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += 1;
        c
    }

    /// The first alternative; the others are read and dropped.
    fn alternatives(&mut self) -> String {
        let first = self.sequence();
        while self.peek() == Some('|') {
            self.at += 1;
            self.sequence();
        }
        first
    }

    fn sequence(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek().filter(|c| !matches!(c, '|' | ')')) {
            self.at += 1;
            let atom = match c {
                '(' => self.group(),
                '[' => self.class(),
                '\\' => self.escape(),
                '.' => "a".to_owned(),
                '^' | '$' => String::new(),
                c => c.to_string(),
            };
            text += &atom.repeat(self.times());
        }
        text
    }

    fn group(&mut self) -> String {
        if self.peek() == Some('?') {
            while !matches!(self.next(), Some(':' | '>') | None) {}
        }
        let text = self.alternatives();
        self.at += 1;
        text
    }

    fn escape(&mut self) -> String {
        match self.next() {
            Some('d') => "1".to_owned(),
            Some('w') => "a".to_owned(),
            Some('s') => " ".to_owned(),
            Some('n') => "\n".to_owned(),
            Some('t') => "\t".to_owned(),
            Some('b') | None => String::new(),
            Some(c) => c.to_string(),
        }
    }

    fn class(&mut self) -> String {
        let negated = self.peek() == Some('^');
        self.at += usize::from(negated);
        let first = match self.next() {
            Some('\\') => self.escape(),
            Some(c) => c.to_string(),
            None => String::new(),
        };
        let mut members = first.clone();
        while let Some(c) = self.next().filter(|c| *c != ']') {
            members.push(c);
        }
        let other = ('a'..='z').find(|c| !members.contains(*c));
        if negated { other.map(String::from).unwrap_or_default() } else { first }
    }

    /// How often the atom before is repeated.
    fn times(&mut self) -> usize {
        let times = match self.peek() {
            Some('*' | '?') => 0,
            Some('+') => 1,
            Some('{') => {
                self.at += 1;
                let mut digits = String::new();
                while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                    digits.push(c);
                    self.at += 1;
                }
                while self.peek().is_some_and(|c| c != '}') {
                    self.at += 1;
                }
                digits.parse().unwrap_or(0)
            }
            _ => return 1,
        };
        self.at += 1;
        if self.peek() == Some('?') {
            self.at += 1;
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grammar_of_one_rule_has_its_texts_and_no_other_is_read() {
        let made = alternative(r#"root ::= "zq7" | "zq8""#, 1).expect("a rule");
        assert!(["zq7", "zq8"].contains(&made.as_str()), "{made}");
        for wrong in ["", "root", "other ::= \"a\"", "root ::= a", "root ::= [a-z]+"] {
            assert!(alternative(wrong, 1).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_made_is_accepted_by_a_validator() {
        for schema in [
            json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 3},
                   "age": {"type": "integer", "minimum": 0, "maximum": 120}}, "required": ["name", "age"],
                   "additionalProperties": false}),
            json!({"enum": ["北京", "上海"]}),
            json!({"const": "zq7"}),
            json!({"type": "array", "items": {"type": "number", "exclusiveMinimum": 3}, "minItems": 2, "maxItems": 3}),
            json!({"$ref": "#/$defs/p", "$defs": {"p": {"type": "object", "properties": {"x": {"anyOf":
                   [{"type": "null"}, {"type": "string"}]}}}}}),
            json!({"type": "string", "pattern": "^[A-Z]{2}-\\d{3}(foo|bar)?$"}),
            json!({"type": "string", "minLength": 9}),
            json!({"type": "integer", "multipleOf": 7, "minimum": 10}),
            json!({"allOf": [{"type": "object"}, {"properties": {"b": {"type": "boolean"}}, "required": ["b"]}]}),
            json!({}),
        ] {
            let made = instance(&schema, "Paris", 3).expect("a schema");
            let validator = jsonschema::validator_for(&schema).expect("a schema");
            assert!(validator.is_valid(&made), "{schema}: {made}");
        }
    }

    #[test]
    fn a_schema_that_is_none_or_has_no_end_is_refused() {
        let refused = |schema| instance(&schema, "", 0).expect_err("no instance").message;
        assert_eq!(refused(json!({"type": "nonsense"})), "Grammar error: Invalid type: nonsense");
        assert!(refused(json!({"$ref": "#"})).contains("without an end"));
        assert!(refused(json!({"type": "array", "uniqueItems": true})).contains("uniqueItems"));
    }

    #[test]
    fn a_regular_expression_is_met() {
        for pattern in ["\\d{3}-[a-f]+", "(yes|no)", "[^a]b?c*", "a{2,4}\\.x", "(?:ab)+"] {
            assert!(matching(pattern).is_ok(), "{pattern}");
        }
        assert!(matching("(").is_err());
    }
}
