//! A value as part of an id: [`of_value`]. Must not know which axis it belongs to.
//!
//! 取值 → 标识片段。

use serde_json::{Number, Value};

/// Longer texts make no name.
const LONGEST: usize = 40;

/// The slug of a scalar, where it has one. Different numbers have different slugs: `-2` → `m2`, `0.6` → `0_6`,
/// `1` → `1`, `1.0` → `1_0`, `1e-7` → `1em7`. Texts may share one (`a-b` and `a_b`): expansion tells a clash.
pub(crate) fn of_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(of_number(number)),
        Value::String(text) => of_text(text),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn of_number(number: &Number) -> String {
    let text = number.to_string();
    let kept = text.chars().filter(|c| *c != '+');
    kept.map(|c| match c {
        '-' => 'm',
        '.' => '_',
        other => other.to_ascii_lowercase(),
    })
    .collect()
}

/// The slug of a short ASCII text: lower case, everything but letters and digits as `_`.
pub(crate) fn of_text(text: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || " _-./:+,=@".contains(c);
    let short =
        text.len() <= LONGEST && text.chars().all(good) && text.contains(|c: char| c.is_ascii_alphanumeric());
    let slug = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    short.then(|| text.chars().map(slug).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::case::is_slug;

    #[test]
    fn scalars_become_readable_segments() {
        for (value, slug) in [
            (json!(-2), "m2"),
            (json!(0), "0"),
            (json!(1), "1"),
            (json!(1.0), "1_0"),
            (json!(0.6), "0_6"),
            (json!(-0.5), "m0_5"),
            (json!(1e-7), "1em7"),
            (json!(1e21), "1e21"),
            (json!(true), "true"),
            (json!(null), "null"),
            (json!("Auto"), "auto"),
            (json!("gpt-4.1 mini"), "gpt_4_1_mini"),
        ] {
            assert_eq!(of_value(&value).as_deref(), Some(slug), "{value}");
        }
    }

    #[test]
    fn what_makes_no_name_has_none() {
        for value in [
            json!(""),
            json!("中文"),
            json!("***"),
            json!("a\nb"),
            json!("{"),
            json!([1]),
            json!({}),
            json!("x".repeat(41)),
        ] {
            assert_eq!(of_value(&value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn numbers_written_differently_have_different_slugs(a in number(), b in number()) {
            let written = [&a, &b].map(Value::to_string);
            prop_assert_eq!(written[0] == written[1], of_value(&a) == of_value(&b));
        }

        #[test]
        fn a_slug_is_a_segment(text in ".{0,50}", number in number()) {
            prop_assert!(of_text(&text).is_none_or(|slug| is_slug(&slug)));
            prop_assert!(of_value(&number).is_some_and(|slug| is_slug(&slug)));
        }
    }

    fn number() -> impl Strategy<Value = Value> {
        prop_oneof![
            (-20i64..20).prop_map(Value::from),
            (-20i64..20).prop_map(|n| Value::from(n as f64 / 4.0)),
            any::<f64>().prop_filter("JSON has finite numbers only", |n| n.is_finite()).prop_map(Value::from)
        ]
    }
}
