//! The answer is an error: `error`. The shapes in which servers send one were resolved before; here it is asked
//! which one came and what it says. Must not know how a shape is recognised.
//!
//! 错误断言：接受各类服务器的错误形状。

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Broken, Scope, StatusSet, show, text::Pattern};

/// `error: {status: 404, param: model}`. Whatever is left out is not asked, but for these: the status is 4xx,
/// there is a message, and the error did not come inside a stream that had begun with 200.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorExpect {
    /// The status; `4xx` where it is left out.
    pub status: Option<StatusSet>,
    /// The shapes that will do; every one that servers are known to use where it is left out.
    pub shape: Option<Vec<Shape>>,
    /// What the parameter's name must match.
    pub param: Option<Pattern>,
    /// What the message must match.
    pub message: Option<Pattern>,
    /// What the type must match.
    #[serde(rename = "type")]
    pub kind: Option<Pattern>,
    /// The fault must be named, as `param` or somewhere in the message: what must match there.
    pub names: Option<Pattern>,
    /// Whether an error event inside a stream will do; then the event's own code counts as the status.
    #[serde(default)]
    pub allow_sse: bool,
}

/// In which shape an error comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `{"error": {"message": …}}`: as OpenAI documents it.
    Nested,
    /// `{"object": "error", "message": …}`.
    Flat,
    /// `{"detail": …}`.
    Detail,
    /// `{"error": "…", "error_type": "…"}`.
    Tgi,
    /// `{"type": "error", "error": {…}}`.
    Anthropic,
    /// No JSON.
    Text,
    /// An event inside a stream that began with 200.
    Sse,
    /// A plain answer of 200 that holds an error.
    Disguised,
}

impl Shape {
    /// As it stands in `error.shape`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Flat => "flat",
            Self::Detail => "detail",
            Self::Tgi => "tgi",
            Self::Anthropic => "anthropic",
            Self::Text => "text",
            Self::Sse => "sse",
            Self::Disguised => "disguised",
        }
    }
}

impl ErrorExpect {
    pub(super) fn check(&self, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let error = &scope.answer["error"];
        if error.is_null() {
            let actual = format!("none, and status {}", scope.answer["status"]);
            out.push(scope.broken("error", "an error", actual));
            return;
        }
        self.check_status(error, scope, out);
        self.check_shape(error, scope, out);
        if error["message"].as_str().is_none_or(|message| message.trim().is_empty()) {
            out.push(scope.broken("error", "an error with a message", show(&error["message"])));
        }
        let parts = [("param", &self.param), ("message", &self.message), ("type", &self.kind)];
        for (part, pattern) in parts {
            let Some(pattern) = pattern else { continue };
            if !error[part].as_str().is_some_and(|text| pattern.finds(text)) {
                let expected = format!("error.{part} to match /{}/", pattern.as_str());
                out.push(scope.down(part).broken("error", expected, show(&error[part])));
            }
        }
        self.check_names(error, scope, out);
    }

    fn check_status(&self, error: &Value, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let carried = self.allow_sse && error["shape"] == Shape::Sse.name();
        let status = if carried { &error["status"] } else { &scope.answer["status"] };
        let wanted = self.status.clone().unwrap_or_else(StatusSet::client_error);
        if !status.as_u64().is_some_and(|status| wanted.holds(status)) {
            out.push(scope.broken("error", format!("an error of status {wanted}"), show(status)));
        }
    }

    fn check_shape(&self, error: &Value, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let Some(wanted) = &self.shape else { return };
        if !wanted.iter().any(|shape| error["shape"] == shape.name()) {
            let names: Vec<&str> = wanted.iter().map(|shape| shape.name()).collect();
            let expected = format!("an error of shape {}", names.join(" or "));
            out.push(scope.down("shape").broken("error", expected, show(&error["shape"])));
        }
    }

    fn check_names(&self, error: &Value, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let Some(pattern) = &self.names else { return };
        let found = ["param", "message"]
            .iter()
            .any(|part| error[part].as_str().is_some_and(|text| pattern.finds(text)));
        if !found {
            let expected = format!("the error's param or message to name /{}/", pattern.as_str());
            let actual = format!("param {}, message {}", show(&error["param"]), show(&error["message"]));
            out.push(scope.down("names").broken("error", expected, actual));
        }
    }
}
