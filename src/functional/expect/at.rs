//! Expectations that map something to what is expected of it: [`Pairs`], mostly from paths ([`At`]), and lists of
//! paths: [`Paths`]. Must not know any single kind.
//!
//! 路径到期望的映射。

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::Value;

use super::{Broken, Scope, show};
use crate::functional::path::{Found, Path, Spot};

/// A mapping in the order of the file; at least one entry.
#[derive(Debug, Clone)]
pub struct Pairs<K, T>(pub Vec<(K, T)>);

/// `{path: expected, …}`.
pub type At<T> = Pairs<Path, T>;

/// `[path, …]`; at least one.
#[derive(Debug, Clone, JsonSchema)]
pub struct Paths(pub Vec<Path>);

/// What is expected of one value.
pub trait Predicate {
    /// The kind's key.
    const KIND: &'static str;

    /// The end of "expected final.id …": `to be "x"`.
    fn wants(&self) -> String;

    /// Whether `value` is as expected.
    ///
    /// # Errors
    /// What was found instead, as it stands after "found".
    fn judge(&self, value: &Value) -> Result<(), String>;
}

impl<P: Predicate> At<P> {
    /// Checks every path; where one leads nowhere, that is a break too.
    pub fn check(&self, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        for (path, predicate) in &self.0 {
            let scope = scope.down(path);
            for spot in spots(path, P::KIND, &scope, out) {
                let judged = match spot.found {
                    Found::Value(value) => predicate.judge(value),
                    ref missing => Err(missing_text(missing)),
                };
                if let Err(actual) = judged {
                    out.push(scope.broken(P::KIND, format!("{} {}", spot.path, predicate.wants()), actual));
                }
            }
        }
    }
}

/// Where `path` leads in this scope. Leading to no place at all is a break: nothing was checked.
pub(super) fn spots<'a>(
    path: &Path,
    kind: &'static str,
    scope: &Scope<'a>,
    out: &mut Vec<Broken>,
) -> Vec<Spot<'a>> {
    let spots = path.spots(scope.here, &scope.prefix);
    if spots.is_empty() {
        out.push(scope.broken(kind, format!("something to check at {path}"), "an empty list"));
    }
    spots
}

/// `nothing: events is missing`, `nothing there`, or the value itself.
pub(super) fn missing_text(found: &Found<'_>) -> String {
    match found {
        Found::Value(value) => show(value),
        Found::Absent => "nothing there".to_owned(),
        Found::Nowhere { stopped_at, what } if stopped_at.is_empty() => {
            format!("nothing: the answer is {what}")
        }
        Found::Nowhere { stopped_at, what } => format!("nothing: {stopped_at} is {what}"),
    }
}

impl<'de, K: Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for Pairs<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<K, T>(PhantomData<(K, T)>);

impl<'de, K: Deserialize<'de>, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<K, T> {
    type Value = Pairs<K, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping to what is expected, such as `{final.object: chat.completion}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        if pairs.is_empty() {
            return Err(de::Error::custom(
                "expected at least one entry, found an empty mapping: it asserts nothing",
            ));
        }
        Ok(Pairs(pairs))
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let paths = Vec::<Path>::deserialize(deserializer)?;
        if paths.is_empty() {
            return Err(de::Error::custom(
                "expected at least one path, found an empty list: it asserts nothing",
            ));
        }
        Ok(Self(paths))
    }
}

/// The editor's schema of a type that is read through another one is that one's.
macro_rules! schema_as {
    ($type:ty, $read_as:ty) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$read_as as schemars::JsonSchema>::json_schema(generator)
            }
        }
    };
}
pub(super) use schema_as;

impl<K, T: JsonSchema> JsonSchema for Pairs<K, T> {
    fn schema_name() -> Cow<'static, str> {
        format!("At_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let expected = generator.subschema_for::<T>();
        schemars::json_schema!({"type": "object", "minProperties": 1, "additionalProperties": expected})
    }
}
