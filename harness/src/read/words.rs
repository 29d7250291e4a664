//! Types and values in a person's words: what was [`expected`], what was [`found`].
//! Must not know where either stands.
//!
//! 类型与值的人类语言描述。

use serde_json::Value;

/// More of a text than this is not shown.
const SHOWN: usize = 40;

/// What serde calls an expectation, as the author of a YAML file would.
pub(super) fn expected(what: &str) -> String {
    let words = match what {
        "a boolean" => "`true` or `false`",
        "a string" | "a borrowed string" | "string or map" => "text",
        "a sequence" => "a list",
        "a map" => "a mapping",
        "a character" => "one character",
        "unit" => "nothing",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        _ => return nonzero(what).unwrap_or_else(|| structure(what)),
    };
    words.to_owned()
}

fn nonzero(what: &str) -> Option<String> {
    what.strip_prefix("a nonzero ").map(|kind| format!("{} other than 0", expected(kind)))
}

/// serde names the Rust type in some of its expectations; nobody who writes YAML knows it.
fn structure(what: &str) -> String {
    let first = what.split_whitespace().next().unwrap_or_default();
    match first {
        "struct" | "map" => "a mapping".to_owned(),
        "tuple" | "an" if what.contains("length") || what.contains("element") => {
            let count = what.split_whitespace().find(|word| word.bytes().all(|b| b.is_ascii_digit()));
            count.map_or_else(|| "a list".to_owned(), |count| format!("a list of {count} items"))
        }
        "enum" => "one of the known words".to_owned(),
        _ => what.to_owned(),
    }
}

/// What stands there.
pub(super) fn found(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(value)) => format!("`{value}`"),
        Some(Value::Number(number)) => format!("the number {number}"),
        Some(Value::String(text)) if text.chars().count() > SHOWN => {
            let beginning: String = text.chars().take(SHOWN).collect();
            format!("the text {beginning:?}…")
        }
        Some(Value::String(text)) => format!("the text {text:?}"),
        Some(Value::Array(items)) => format!("a list of {}", counted(items.len(), "item")),
        Some(Value::Object(entries)) => format!("a mapping of {}", counted(entries.len(), "key")),
    }
}

/// What mends the commonest mix-ups.
pub(super) fn remedy(expected: &str, found: Option<&Value>) -> Option<&'static str> {
    let text = matches!(expected, "a string" | "a borrowed string");
    match found? {
        Value::Number(_) | Value::Bool(_) if text => Some("quote it to make text of it"),
        Value::String(word)
            if expected == "a boolean" && matches!(word.as_str(), "yes" | "on" | "no" | "off") =>
        {
            Some("`yes`, `no`, `on` and `off` are text in YAML 1.2: write `true` or `false`")
        }
        Value::String(word) if word.parse::<f64>().is_ok() && !text => Some("take the quotes away"),
        _ => None,
    }
}

fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
