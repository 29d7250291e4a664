//! How numbers follow each other: `monotone`. Must not know what they count.
//!
//! 单调性断言。

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    At, Broken, Scope,
    at::{missing_text, spots},
    show,
};
use crate::functional::path::Found;

/// `monotone: {path: rising}`: over a list of numbers, or over the places that a path with `*` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// None is smaller than the one before.
    Rising,
    /// Each is greater than the one before.
    StrictlyRising,
    /// None is greater than the one before.
    Falling,
    /// Each is smaller than the one before.
    StrictlyFalling,
}

impl Order {
    fn holds(self, before: f64, after: f64) -> bool {
        match self {
            Self::Rising => before <= after,
            Self::StrictlyRising => before < after,
            Self::Falling => before >= after,
            Self::StrictlyFalling => before > after,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::StrictlyRising => "strictly rising",
            Self::Falling => "falling",
            Self::StrictlyFalling => "strictly falling",
        }
    }
}

/// At least two numbers, in order.
pub(super) fn check(at: &At<Order>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, order) in &at.0 {
        let scope = scope.down(path);
        let mut values = Vec::new();
        for spot in spots(path, "monotone", &scope, out) {
            match spot.found {
                Found::Value(Value::Array(items)) => {
                    values.extend(
                        items.iter().enumerate().map(|(n, item)| (format!("{}.{n}", spot.path), item)),
                    );
                }
                Found::Value(value) => values.push((spot.path, value)),
                missing => {
                    out.push(scope.broken(
                        "monotone",
                        format!("a number at {}", spot.path),
                        missing_text(&missing),
                    ));
                    return;
                }
            }
        }
        match broken_link(&values, *order) {
            Some((expected, actual)) => out.push(scope.broken("monotone", expected, actual)),
            None if values.len() < 2 => {
                out.push(scope.broken(
                    "monotone",
                    format!("at least two numbers at {path}"),
                    values.len().to_string(),
                ));
            }
            None => {}
        }
    }
}

/// The first value that is no number, or the first pair that is out of order.
fn broken_link(values: &[(String, &Value)], order: Order) -> Option<(String, String)> {
    if let Some((path, value)) = values.iter().find(|(_, value)| !value.is_number()) {
        return Some((format!("{path} to be a number"), show(value)));
    }
    values.windows(2).find_map(|pair| {
        let [(before_at, before), (after_at, after)] = pair else { return None };
        let holds = order.holds(before.as_f64()?, after.as_f64()?);
        let expected = || format!("{after_at} to be {} after {before_at}, {}", order.name(), show(before));
        (!holds).then(|| (expected(), show(after)))
    })
}
