//! A place in a JSON document that knows its way from the root, so that whatever is missing there is told by its path:
//! [`Node`]. Must not know which document it is.
//!
//! 带路径的 JSON 访问。

use serde_json::{Map, Value};

/// A value and the way to it.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// The member `key`.
    pub(super) fn get(&self, key: &str) -> Result<Self, String> {
        self.find(key)?.ok_or_else(|| format!("expected `{}`, found no such key", self.below(key)))
    }

    /// The member `key`, where it is there and not null.
    pub(super) fn find(&self, key: &str) -> Result<Option<Self>, String> {
        let found = self.object()?.get(key).filter(|value| !value.is_null());
        Ok(found.map(|value| Self { value, path: self.below(key) }))
    }

    /// Every member.
    pub(super) fn members(&self) -> Result<Vec<(&'a str, Self)>, String> {
        let of =
            |(key, value): (&'a String, &'a Value)| (key.as_str(), Self { value, path: self.below(key) });
        Ok(self.object()?.iter().map(of).collect())
    }

    /// Every element.
    pub(super) fn elements(&self) -> Result<Vec<Self>, String> {
        let all = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let of = |(index, value)| Self { value, path: format!("{}[{index}]", self.path) };
        Ok(all.iter().enumerate().map(of).collect())
    }

    pub(super) fn object(&self) -> Result<&'a Map<String, Value>, String> {
        self.value.as_object().ok_or_else(|| self.wrong("an object"))
    }

    pub(super) fn text(&self) -> Result<&'a str, String> {
        self.value.as_str().ok_or_else(|| self.wrong("text"))
    }

    pub(super) fn number(&self) -> Result<f64, String> {
        self.value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| self.wrong("a number"))
    }

    pub(super) fn count(&self) -> Result<u64, String> {
        self.value.as_u64().ok_or_else(|| self.wrong("a whole number from 0"))
    }

    /// A number from 0 to 1.
    pub(super) fn ratio(&self) -> Result<f64, String> {
        let number = self.number()?;
        match (0.0..=1.0).contains(&number) {
            true => Ok(number),
            false => Err(self.wrong("a ratio from 0 to 1")),
        }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn wrong(&self, expected: &str) -> String {
        let found = self.value.to_string();
        let found: String = found.chars().take(60).collect();
        let path = if self.path.is_empty() { "the document" } else { &self.path };
        format!("expected {path} to be {expected}, found {found}")
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
