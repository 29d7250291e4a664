//! Equality: `eq`, `ne`, `one_of`, `same`, `differs`, `unique`. Deep, and tolerant of how a number is written.
//! Must not know where the values come from.
//!
//! 相等类断言。

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    At, Broken, Paths, Scope,
    at::{Predicate, missing_text, spots},
    show,
};
use crate::functional::path::{Found, Path};

/// `eq: {path: value}`; any value, falsy ones and null too.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Eq(Value);

/// `ne: {path: value}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Ne(Value);

/// `one_of: {path: [value, …]}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct OneOf(Vec<Value>);

/// Whether two values are equal: deeply, `1` and `1.0` being the same number, `0` and `false` not.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64() && whole_fits(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => left == right,
    }
}

/// Two whole numbers that are written as such compare exactly: beyond 2^53 a float would make neighbours equal.
fn whole_fits(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    a.is_f64() || b.is_f64()
}

impl Predicate for Eq {
    const KIND: &'static str = "eq";

    fn wants(&self) -> String {
        format!("to be {}", show(&self.0))
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        if same(&self.0, value) { Ok(()) } else { Err(show(value)) }
    }
}

impl Predicate for Ne {
    const KIND: &'static str = "ne";

    fn wants(&self) -> String {
        format!("to differ from {}", show(&self.0))
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        if same(&self.0, value) { Err("just that".to_owned()) } else { Ok(()) }
    }
}

impl Predicate for OneOf {
    const KIND: &'static str = "one_of";

    fn wants(&self) -> String {
        let all: Vec<String> = self.0.iter().map(show).collect();
        format!("to be one of {}", all.join(", "))
    }

    fn judge(&self, value: &Value) -> Result<(), String> {
        if self.0.iter().any(|one| same(one, value)) { Ok(()) } else { Err(show(value)) }
    }
}

/// Both paths begin at the whole answer; each must lead to a value.
pub(super) fn check_same(at: &At<Path>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, other) in &at.0 {
        let scope = scope.down(path);
        let Some(wanted) = other.value(scope.answer) else {
            out.push(scope.broken("same", format!("one value at {other}"), "none"));
            continue;
        };
        for spot in spots(path, "same", &scope, out) {
            if !matches!(spot.found, Found::Value(value) if same(value, wanted)) {
                let expected = format!("{} to be the same as {other}, {}", spot.path, show(wanted));
                out.push(scope.broken("same", expected, missing_text(&spot.found)));
            }
        }
    }
}

/// Both paths begin at the whole answer; each must lead to a value.
pub(super) fn check_differs(at: &At<Path>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, other) in &at.0 {
        let scope = scope.down(path);
        let Some(unwanted) = other.value(scope.answer) else {
            out.push(scope.broken("differs", format!("one value at {other}"), "none"));
            continue;
        };
        for spot in spots(path, "differs", &scope, out) {
            match spot.found {
                Found::Value(value) if !same(value, unwanted) => {}
                Found::Value(value) => {
                    let expected = format!("{} to differ from {other}", spot.path);
                    out.push(scope.broken("differs", expected, format!("{} in both", show(value))));
                }
                missing => {
                    let expected = format!("a value at {}", spot.path);
                    out.push(scope.broken("differs", expected, missing_text(&missing)));
                }
            }
        }
    }
}

/// All values that one path leads to differ from each other; there are at least two.
pub(super) fn check_unique(paths: &Paths, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (index, path) in paths.0.iter().enumerate() {
        let scope = scope.down(index);
        let spots = spots(path, "unique", &scope, out);
        for (at, spot) in spots.iter().enumerate() {
            let Found::Value(value) = spot.found else {
                out.push(scope.broken(
                    "unique",
                    format!("a value at {}", spot.path),
                    missing_text(&spot.found),
                ));
                continue;
            };
            let earlier =
                spots[..at].iter().find(|one| matches!(one.found, Found::Value(one) if same(one, value)));
            if let Some(earlier) = earlier {
                let expected = format!("{} to differ from {}", spot.path, earlier.path);
                out.push(scope.broken("unique", expected, format!("{} in both", show(value))));
            }
        }
    }
}
