//! How a value or a text is shown in a failure: [`show`] on one line, [`excerpt`] for a whole body; bounded, with
//! control characters made visible. Must not know why it is shown.
//!
//! 失败信息中值与文本的展示：有界、可见。

use std::fmt::Write as _;

use serde_json::Value;

/// How many characters of one value a line shows.
const LINE: usize = 200;

/// `value` as JSON on one line, its middle left out where it is long.
pub fn show(value: &Value) -> String {
    clip(&visible(&value.to_string(), false), LINE)
}

/// `text` with control characters visible, at most `limit` characters of it.
pub fn excerpt(text: &str, limit: usize) -> String {
    clip(&visible(text, true), limit)
}

/// The middle of a long text is left out, and how much.
fn clip(text: &str, limit: usize) -> String {
    let length = text.chars().count();
    if length <= limit {
        return text.to_owned();
    }
    let head: String = text.chars().take(limit * 3 / 4).collect();
    let tail: String = text.chars().skip(length - limit / 4).collect();
    format!("{head} … {} characters left out … {tail}", length - limit * 3 / 4 - limit / 4)
}

/// What a terminal would act upon or not show becomes an escape.
fn visible(text: &str, keep_newlines: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if keep_newlines => shown.push(c),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Direction marks and the like, which make a line read otherwise than it is; not the joiners of emoji.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_shown_as_json_on_one_line() {
        assert_eq!(show(&json!("a\nb\u{1b}[31m\u{202e}")), "\"a\\nb\\u001b[31m\\u{202e}\"");
        assert_eq!(show(&json!({"a": null})), r#"{"a":null}"#);
    }

    #[test]
    fn a_long_value_loses_its_middle_and_says_how_much() {
        let shown = show(&json!("😀".repeat(1000)));
        assert!(shown.contains("802 characters left out"), "{shown}");
        assert!(shown.starts_with("\"😀") && shown.ends_with("😀\""));
    }

    #[test]
    fn an_excerpt_keeps_lines_and_shows_control_characters() {
        assert_eq!(excerpt("a\nb\0\r\n", 100), "a\nb\\u{0}\\r\n");
    }
}
