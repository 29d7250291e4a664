//! Python's `float(text)` and `str(float)`: [`parse`], [`text`]. Must not know what is counted.
//!
//! Python 的 float() 解析与 str() 表示。

use super::text::{digit, strip};

/// `float(text)`: blanks round it, single underscores between digits, digits of every script, `inf` and `nan`.
/// Nothing where Python would raise.
pub fn parse(text: &str) -> Option<f64> {
    let plain: Option<String> = strip(text).chars().map(ascii).collect();
    let plain = plain?.to_ascii_lowercase();
    let unsigned = plain.trim_start_matches(['+', '-']);
    if plain.len() - unsigned.len() > 1 {
        return None;
    }
    if !matches!(unsigned, "inf" | "infinity" | "nan") && !is_number(unsigned) {
        return None;
    }
    plain.replace('_', "").parse().ok()
}

/// The ASCII character that `float` takes `c` for.
fn ascii(c: char) -> Option<char> {
    if c.is_ascii() { Some(c) } else { digit(c).map(|value| char::from(b'0' + value)) }
}

/// `digits[.digits][e[sign]digits]`, at least one digit in front, underscores between digits only.
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, part) = match mantissa.split_once('.') {
        Some((whole, part)) => (whole, part),
        None => (mantissa, ""),
    };
    let exponent_is_good =
        exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    let parts_are_good = [whole, part].into_iter().all(|digits| digits.is_empty() || is_digits(digits));
    parts_are_good && !(whole.is_empty() && part.is_empty()) && exponent_is_good
}

/// Runs of digits joined by single underscores.
fn is_digits(text: &str) -> bool {
    text.split('_').all(|run| !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `str(value)`: the shortest digits that read back as `value`, with an exponent below 1e-4 and from 1e16 on.
pub fn text(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes a number behind the e");
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_numbers_where_they_are_to_cpython() {
        for (text, value) in [
            ("7", 7.0),
            (" 1_000 ", 1000.0),
            ("1_0.5_0", 10.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1e3", -1000.0),
            ("+1E-2", 0.01),
            ("٣", 3.0),
            ("１２", 12.0),
            ("Infinity", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("1e400", f64::INFINITY),
        ] {
            assert_eq!(parse(text), Some(value), "{text:?}");
        }
        assert!(parse("nan").is_some_and(f64::is_nan) && parse("-NaN").is_some_and(f64::is_nan));
        for text in [
            "", " ", ".", "1,000", "1__0", "_1", "1_", "1_.5", "1._5", "e5", "1e", "--1", "0x10", "1 2", "²",
            "in_f", "1e_5", "½",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_cpython_writes_them() {
        for (value, written) in [
            (1000.0, "1000.0"),
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (1e300, "1e+300"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(text(value), written);
        }
    }
}
