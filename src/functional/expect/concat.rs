//! Pieces that make a whole: `concat`. Must not know what was cut into pieces.
//!
//! 拼接断言：各片段依次相连等于整体。

use serde_json::Value;

use super::{
    At, Broken, Scope,
    at::{missing_text, spots},
    show,
};
use crate::functional::path::{Found, Path};

/// The texts, or the lists of bytes, in the places that a path leads to make the text that the other leads to. Both
/// begin at the whole answer.
pub(super) fn check(at: &At<Path>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, other) in &at.0 {
        let scope = scope.down(path);
        let Some(whole) = other.value(scope.answer).and_then(Value::as_str) else {
            out.push(scope.broken("concat", format!("a text at {other}"), "none"));
            continue;
        };
        let mut joined = Vec::new();
        let before = out.len();
        for spot in spots(path, "concat", &scope, out) {
            let piece = match spot.found {
                Found::Value(value) => bytes(value).ok_or_else(|| show(value)),
                missing => Err(missing_text(&missing)),
            };
            match piece {
                Ok(piece) => joined.extend(piece),
                Err(actual) => {
                    out.push(scope.broken("concat", format!("{} to be a text or bytes", spot.path), actual));
                }
            }
        }
        if out.len() == before && joined != whole.as_bytes() {
            let expected = format!("{path}, one after another, to be {other}, {}", show(&whole.into()));
            let actual = String::from_utf8_lossy(&joined).into_owned();
            out.push(scope.broken("concat", expected, show(&actual.into())));
        }
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(items) => items.iter().map(|item| u8::try_from(item.as_u64()?).ok()).collect(),
        _ => None,
    }
}
