//! The HTTP status: `status`. Must not know that 5xx is never right: that is asked of every answer elsewhere.
//!
//! 状态码断言。

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{Broken, Scope, at::schema_as, show};

/// `200`, `4xx`, or a list of such: any of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct StatusSet(Vec<Status>);

schema_as!(StatusSet, Value);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Exactly(u64),
    Class(u64),
}

impl StatusSet {
    /// `4xx`.
    pub fn client_error() -> Self {
        Self(vec![Status::Class(4)])
    }

    /// Whether `status` is one of them.
    pub fn holds(&self, status: u64) -> bool {
        self.0.iter().any(|one| match *one {
            Status::Exactly(exactly) => exactly == status,
            Status::Class(class) => status / 100 == class,
        })
    }

    pub(super) fn check(&self, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        let status = &scope.answer["status"];
        if !status.as_u64().is_some_and(|status| self.holds(status)) {
            out.push(scope.broken("status", format!("status {self}"), show(status)));
        }
    }
}

impl Status {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_u64().filter(|n| (100..600).contains(n)).map(Self::Exactly),
            Value::String(text) => {
                let class = text.strip_suffix("xx")?.parse().ok()?;
                (1..6).contains(&class).then_some(Self::Class(class))
            }
            _ => None,
        }
    }
}

impl TryFrom<Value> for StatusSet {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let all = match &value {
            Value::Array(items) => items.iter().map(Status::read).collect(),
            one => Status::read(one).map(|one| vec![one]),
        };
        all.filter(|all: &Vec<_>| !all.is_empty()).map(Self).ok_or_else(|| {
            format!(
                "expected a status such as 200, a class such as 4xx, or a list of them, found {}",
                show(&value)
            )
        })
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, status) in self.0.iter().enumerate() {
            let or = if index > 0 { " or " } else { "" };
            match status {
                Status::Exactly(exactly) => write!(f, "{or}{exactly}")?,
                Status::Class(class) => write!(f, "{or}{class}xx")?,
            }
        }
        Ok(())
    }
}
