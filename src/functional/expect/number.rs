//! Sizes and bounds: `len`, `range`. Must not know what is counted.
//!
//! 长度与范围断言。

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Number, Value};

use super::{
    at::{Predicate, schema_as},
    show,
};

/// `len: {path: 2}` or `len: {path: {min: 1, max: 20}}`: characters, items or keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Len(Bounds);

schema_as!(Len, Value);

/// `range: {path: {min: 0, max: 1}}`; `above` and `below` leave the bound itself out.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Bounds")]
pub struct Range(Bounds);

schema_as!(Range, Bounds);

/// At least one of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bounds {
    min: Option<Number>,
    max: Option<Number>,
    above: Option<Number>,
    below: Option<Number>,
}

impl Bounds {
    fn checked(self) -> Result<Self, String> {
        let low = self.min.as_ref().or(self.above.as_ref()).and_then(Number::as_f64);
        let high = self.max.as_ref().or(self.below.as_ref()).and_then(Number::as_f64);
        match (low, high) {
            (None, None) => {
                Err("expected at least one of min, max, above, below: without a bound it asserts nothing"
                    .to_owned())
            }
            (Some(low), Some(high)) if low > high => {
                Err(format!("expected a range, found one that is empty: {low} to {high}"))
            }
            _ => Ok(self),
        }
    }

    fn hold(&self, value: f64) -> bool {
        let is = |bound: &Option<Number>, holds: fn(f64, f64) -> bool| {
            bound.as_ref().and_then(Number::as_f64).is_none_or(|bound| holds(value, bound))
        };
        is(&self.min, |v, b| v >= b)
            && is(&self.max, |v, b| v <= b)
            && is(&self.above, |v, b| v > b)
            && is(&self.below, |v, b| v < b)
    }

    fn text(&self) -> String {
        if self.min.is_some() && self.min == self.max {
            return show(&self.min.clone().into());
        }
        let parts =
            [("at least", &self.min), ("at most", &self.max), ("above", &self.above), ("below", &self.below)];
        let parts =
            parts.iter().filter_map(|(word, bound)| bound.as_ref().map(|bound| format!("{word} {bound}")));
        parts.collect::<Vec<_>>().join(" and ")
    }
}

impl Len {
    /// Whether a list of this length would do.
    pub(in crate::functional) fn holds(&self, length: usize) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "no answer has 2^53 items")]
        self.0.hold(length as f64)
    }

    /// `2`, `at least 2`.
    pub(in crate::functional) fn text(&self) -> String {
        self.0.text()
    }
}

impl TryFrom<Bounds> for Range {
    type Error = String;

    fn try_from(bounds: Bounds) -> Result<Self, String> {
        bounds.checked().map(Self)
    }
}

impl TryFrom<Value> for Len {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Number(exact) if exact.is_u64() => {
                let exact = Some(exact);
                Ok(Self(Bounds { min: exact.clone(), max: exact, above: None, below: None }))
            }
            Value::Object(_) => {
                let bounds: Bounds = serde_json::from_value(value).map_err(|e| e.to_string())?;
                bounds.checked().map(Self)
            }
            other => Err(format!(
                "expected a length or bounds such as {{min: 1, max: 20}}, found {}",
                show(&other)
            )),
        }
    }
}

impl Predicate for Len {
    const KIND: &'static str = "len";

    fn wants(&self) -> String {
        format!("to have a length of {}", self.0.text())
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        let (length, unit) = match value {
            Value::String(text) => (text.chars().count(), "characters"),
            Value::Array(items) => (items.len(), "items"),
            Value::Object(map) => (map.len(), "keys"),
            other => return Err(format!("{}, which has none", show(other))),
        };
        if self.holds(length) { Ok(()) } else { Err(format!("{length} {unit}: {}", show(value))) }
    }
}

impl Predicate for Range {
    const KIND: &'static str = "range";

    fn wants(&self) -> String {
        format!("to be {}", self.0.text())
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        match value.as_f64() {
            Some(number) if self.0.hold(number) => Ok(()),
            _ => Err(show(value)),
        }
    }
}
