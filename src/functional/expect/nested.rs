//! Expectations that hold expectations: `each`, `any`, `none`, `either`, `when`. Must not know the kinds they hold.
//!
//! 嵌套断言。

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    At, Broken, Expect, Scope,
    at::{Pairs, missing_text},
    check_all, show,
};
use crate::functional::path::{Found, Path};

/// `either: {accepted: [{status: 200}], refused: [{error: {}}]}`: all of at least one of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Either(pub(super) Pairs<String, Vec<Expect>>);

/// `when: {if: […], then: […], else: […]}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// All of these hold: `then`; otherwise `else`.
    #[serde(rename = "if")]
    pub(super) condition: Vec<Expect>,
    /// What must hold then.
    pub(super) then: Vec<Expect>,
    /// What must hold otherwise; nothing where it is left out.
    #[serde(default, rename = "else")]
    pub(super) otherwise: Vec<Expect>,
}

/// The items of the list that `path` leads to, with their paths; a break where there is no list.
fn items<'a>(
    path: &Path,
    kind: &'static str,
    scope: &Scope<'a>,
    out: &mut Vec<Broken>,
) -> Vec<(String, &'a Value)> {
    let mut items = Vec::new();
    for spot in path.spots(scope.here, &scope.prefix) {
        match spot.found {
            Found::Value(Value::Array(list)) => {
                items.extend(list.iter().enumerate().map(|(at, item)| (format!("{}.{at}", spot.path), item)));
            }
            other => {
                out.push(scope.broken(kind, format!("{} to be a list", spot.path), missing_text(&other)))
            }
        }
    }
    items
}

/// Every item; at least one.
pub(super) fn check_each(at: &At<Vec<Expect>>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, list) in &at.0 {
        let scope = scope.down(path);
        let before = out.len();
        let items = items(path, "each", &scope, out);
        if items.is_empty() && out.len() == before {
            out.push(scope.broken("each", format!("at least one item in {path}"), "an empty list"));
        }
        for (prefix, item) in items {
            out.extend(check_all(list, &scope.over(item, prefix)));
        }
    }
}

/// At least one item.
pub(super) fn check_any(at: &At<Vec<Expect>>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, list) in &at.0 {
        let scope = scope.down(path);
        let before = out.len();
        let items = items(path, "any", &scope, out);
        let fits =
            |(prefix, item): &(String, &Value)| check_all(list, &scope.over(item, prefix.clone())).is_empty();
        if out.len() == before && !items.iter().any(fits) {
            let actual = match items.first() {
                Some((prefix, item)) => {
                    let first = check_all(list, &scope.over(item, prefix.clone()));
                    let why = first.first().map(Broken::summary).unwrap_or_default();
                    format!("none among {}; the first: {why}", items.len())
                }
                None => "an empty list".to_owned(),
            };
            out.push(scope.broken("any", format!("an item of {path} that meets all of it"), actual));
        }
    }
}

/// No item; an empty list is right.
pub(super) fn check_none(at: &At<Vec<Expect>>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, list) in &at.0 {
        let scope = scope.down(path);
        for (prefix, item) in items(path, "none", &scope, out) {
            if check_all(list, &scope.over(item, prefix.clone())).is_empty() {
                let expected = format!("no item of {path} that meets all of it");
                out.push(scope.broken("none", expected, format!("{prefix}: {}", show(item))));
            }
        }
    }
}

impl Either {
    pub(super) fn check(&self, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let mut why = Vec::new();
        for (name, list) in &self.0.0 {
            let broken = check_all(list, &scope.down(name));
            match broken.first() {
                None => return,
                Some(first) => why.push(format!("not {name}: {}", first.summary())),
            }
        }
        let names: Vec<&str> = self.0.0.iter().map(|(name, _)| name.as_str()).collect();
        out.push(scope.broken("either", format!("the answer to be {}", names.join(" or ")), why.join("; ")));
    }
}

impl When {
    pub(super) fn check(&self, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let (step, list) = match check_all(&self.condition, &scope.down("if")).is_empty() {
            true => ("then", &self.then),
            false => ("else", &self.otherwise),
        };
        out.extend(check_all(list, &scope.down(step)));
    }
}
