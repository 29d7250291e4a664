//! What an unquoted YAML scalar means: [`resolve`], by the core schema of YAML 1.2. `no`, `on` and `y` are text.
//! Must not know where the scalar stands.
//!
//! 标量解析：YAML 1.2 核心模式。

use serde_json::{Number, Value};

/// Why a scalar has no value here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unrepresentable {
    /// `.nan`, `.inf`, `1e999`.
    NotFinite,
    /// A whole number that 64 bits cannot hold.
    TooLarge,
}

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Result<Value, Unrepresentable> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan"
        | ".NaN" | ".NAN" => {
            return Err(Unrepresentable::NotFinite);
        }
        _ => {}
    }
    // Nearly all scalars are words: look no further.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(Value::String(text.to_owned()));
    }
    if let Some(number) = integer(text)? {
        return Ok(Value::Number(number));
    }
    match float(text) {
        Some(value) => Number::from_f64(value).map(Value::Number).ok_or(Unrepresentable::NotFinite),
        None => Ok(Value::String(text.to_owned())),
    }
}

/// The whole number that `text` writes, if it writes one: decimal, `0x`, `0o`, `0b`. A leading zero makes text
/// of it (`007`), as in the reference reader.
fn integer(text: &str) -> Result<Option<Number>, Unrepresentable> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Ok(None);
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Ok(None);
    }
    let number = match u64::from_str_radix(digits, radix) {
        Ok(value) if negative => 0i64.checked_sub_unsigned(value).map(Number::from),
        Ok(value) => Some(Number::from(value)),
        Err(_) => None,
    };
    number.map(Some).ok_or(Unrepresentable::TooLarge)
}

/// The fraction that `text` writes, if it writes one. Too large ones come back infinite.
fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all_zero_led_digits =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let looks_like_one = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (looks_like_one && !all_zero_led_digits).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_of_yaml_1_1_stay_text() {
        for word in
            ["no", "yes", "on", "off", "y", "n", "No", "inf", "nan", "infinity", "1_000", "12:30", "007"]
        {
            assert_eq!(resolve(word), Ok(json!(word)), "{word}");
        }
    }

    #[test]
    fn numbers_keep_their_kind() {
        for (text, value) in [
            ("0", json!(0)),
            ("-2", json!(-2)),
            ("+7", json!(7)),
            ("1.0", json!(1.0)),
            ("-0.5", json!(-0.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
        ] {
            assert_eq!(resolve(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_json_cannot_hold_has_no_value() {
        for text in [".nan", ".inf", "-.INF", "1e999"] {
            assert_eq!(resolve(text), Err(Unrepresentable::NotFinite), "{text}");
        }
        for text in ["18446744073709551616", "-9223372036854775809", "0x1ffffffffffffffff"] {
            assert_eq!(resolve(text), Err(Unrepresentable::TooLarge), "{text}");
        }
    }

    /// The maintained continuation of `serde_yaml` is the reference for what a scalar means.
    #[test]
    fn the_reference_reader_agrees() {
        let words = "null Null NULL ~ true True TRUE tRUE false no yes on off y n Y N inf nan e5 0 00 01 -0 -01 +1 ++1 \
             1. .5 . + -- 1e3 1E3 1e+3 1e-3 -1.5e2 0x1f 0xG -0x1f +0x1f 0o17 0o8 0b101 1_000 12:30 2024-01-01 1.2.3 0.0 \
             -0.0 9007199254740993 18446744073709551615 -9223372036854775808 0x 0xff.0 <<";
        for word in words.split_whitespace() {
            let reference: Value =
                serde_yaml::from_str::<serde_json::Map<String, Value>>(&format!("k: {word}\n"))
                    .expect("the reference reads every one of them")["k"]
                    .clone();
            assert_eq!(resolve(word), Ok(reference), "{word}");
        }
    }
}
