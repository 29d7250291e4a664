//! Lengths of time as people write them, `30s`, `1m30s`, `500ms`: [`parse`], and `deserialize` for serde's `with`.
//! Must not know what is timed.
//!
//! 时长文本解析。

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// What a duration looks like, for messages.
const EXPECTED: &str = "a duration such as `500ms`, `30s`, `2m` or `1h30m`";

/// The duration that `text` writes: whole numbers, each with `ms`, `s`, `m` or `h`, more than zero in all.
///
/// # Errors
/// In words: what was expected and what was found.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected {EXPECTED}, found {text:?}");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let part =
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

/// For `#[serde(with = "st_harness::read::duration")]`.
///
/// # Errors
/// When the value is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same for a key that may be left out (with `#[serde(default)]`).
pub mod option {
    use super::*;

    /// For `#[serde(default, with = "st_harness::read::duration::option")]`.
    ///
    /// # Errors
    /// When there is a value and it is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse(&text).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
    }

    #[test]
    fn anything_else_says_what_belongs_there() {
        for text in ["", "30", "s", "0s", "-1s", "1.5s", "1d", "30 s", "99999999999999999999s"] {
            let message = parse(text).expect_err(text);
            assert_eq!(message, format!("expected {EXPECTED}, found {text:?}"));
        }
    }
}
