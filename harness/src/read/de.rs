//! Deserializes a JSON value and says exactly what is wrong and where: [`Reader`] fails with a [`Mistake`] made
//! of data, not of text, so that its reader never takes a message apart. Must not know files or lines.
//!
//! 带结构化错误与路径的反序列化器。

use std::{collections::BTreeMap, fmt};

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::StrDeserializer,
};
use serde_json::{Map, Value};

use super::hole::Hole;

/// The names that a type knows.
pub(super) type Names = &'static [&'static str];

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another type, or a value outside the type's range. `keys` where a mapping of known keys was expected.
    Expected { what: String, keys: Names },
    /// A key that the mapping does not know.
    UnknownKey { name: String, known: Names },
    /// A key that the mapping needs.
    MissingKey { name: &'static str },
    /// A word that the choice does not know.
    UnknownVariant { name: String, known: Names },
    /// What the type itself said.
    Other(String),
}

/// The first mistake that a type met in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) kind: Kind,
    /// From the inside out while it travels up; see [`Mistake::path`].
    segments: Vec<String>,
    /// Whether the key at the path is meant, not its value.
    pub(super) at_key: bool,
    /// Whether it arose inside a value that stands in for a mistaken one: not the author's.
    pub(super) in_hole: bool,
}

impl Mistake {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, segments: Vec::new(), at_key: false, in_hole: false }
    }

    /// From the root to the value, or to the key, that is meant.
    pub(super) fn path(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.segments.iter().rev().map(String::as_str)
    }

    fn below(mut self, segment: impl fmt::Display) -> Self {
        self.segments.push(segment.to_string());
        self
    }

    fn at_key(mut self, key: &str) -> Self {
        self.segments = vec![key.to_owned()];
        self.at_key = true;
        self
    }

    /// The same as met inside a hole, whose inner structure is nobody's.
    pub(super) fn in_hole(mut self) -> Self {
        self.segments.clear();
        self.in_hole = true;
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Other(message.to_string()))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Kind::Expected { what: expected.to_string(), keys: &[] })
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Kind::Expected { what: expected.to_string(), keys: &[] })
    }

    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::new(Kind::Expected { what: expected.to_string(), keys: &[] })
    }

    fn unknown_variant(name: &str, known: Names) -> Self {
        Self::new(Kind::UnknownVariant { name: name.to_owned(), known })
    }

    fn unknown_field(name: &str, known: Names) -> Self {
        Self::new(Kind::UnknownKey { name: name.to_owned(), known })
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(Kind::MissingKey { name })
    }
}

/// What is read differently than it stands, so that reading can go on behind a mistake that was told already.
#[derive(Debug, Default)]
pub(super) struct Patch {
    pub(super) change: Option<Change>,
    pub(super) below: BTreeMap<String, Patch>,
}

/// See [`Patch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Any value that the type takes stands in for this one.
    Hole,
    /// This key, or this item of a list, is passed over.
    Skip,
}

impl Patch {
    fn at(&self, segment: &str) -> Option<&Self> {
        self.below.get(segment)
    }

    fn is(&self, change: Change) -> bool {
        self.change == Some(change)
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    value: &'a Value,
    patch: Option<&'a Patch>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a Value, patch: &'a Patch) -> Self {
        Self { value, patch: Some(patch) }
    }

    fn is_hole(&self) -> bool {
        self.patch.is_some_and(|patch| patch.is(Change::Hole))
    }
}

/// In a hole, asks the stand-in; else reads the value.
macro_rules! or_hole {
    ($self:ident, $method:ident($($argument:expr),*), $else:expr) => {
        if $self.is_hole() { Hole::new().$method($($argument),*).map_err(Mistake::in_hole) } else { $else }
    };
}

macro_rules! plain {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            or_hole!(self, $method(visitor), visit(self, visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Mistake;

    plain! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_seq deserialize_map deserialize_identifier
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.is_hole() || self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        or_hole!(self, deserialize_unit_struct(name, visitor), visit(self, visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mistake> {
        or_hole!(self, deserialize_tuple(length, visitor), visit(self, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        or_hole!(
            self,
            deserialize_struct(name, fields, visitor),
            match self.value {
                // A list would be taken for the fields in order: nobody means that in a file.
                Value::Object(entries) => visitor.visit_map(Entries::new(entries, self.patch)),
                _ => Err(Mistake::new(Kind::Expected { what: "a mapping".to_owned(), keys: fields })),
            }
        )
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: Names,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        or_hole!(
            self,
            deserialize_enum(name, variants, visitor),
            match self.value {
                Value::String(word) => visitor.visit_enum(Choice { name: word, content: None }),
                Value::Object(entries) => {
                    let mut all = entries.iter();
                    match (all.next(), all.next()) {
                        (Some((name, value)), None) => {
                            let patch = self.patch.and_then(|patch| patch.at(name));
                            visitor.visit_enum(Choice { name, content: Some(Reader { value, patch }) })
                        }
                        (Some(_), Some((second, _))) => Err(one_key(variants).at_key(second)),
                        (None, _) => Err(one_key(variants)),
                    }
                }
                _ => Err(one_of(variants)),
            }
        )
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }
}

fn one_key(variants: Names) -> Mistake {
    Mistake::new(Kind::Expected { what: "a mapping with exactly one key".to_owned(), keys: variants })
}

fn one_of(variants: Names) -> Mistake {
    Mistake::new(Kind::Expected { what: "one of the known words".to_owned(), keys: variants })
}

/// Hands the value to `visitor` as what it is.
fn visit<'de, V: Visitor<'de>>(reader: Reader<'de>, visitor: V) -> Result<V::Value, Mistake> {
    match reader.value {
        Value::Null => visitor.visit_unit(),
        Value::Bool(value) => visitor.visit_bool(*value),
        Value::String(text) => visitor.visit_borrowed_str(text),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(value), ..) => visitor.visit_u64(value),
            (_, Some(value), _) => visitor.visit_i64(value),
            (.., Some(value)) => visitor.visit_f64(value),
            _ => Err(de::Error::custom(format!("the number {number} cannot be read"))),
        },
        Value::Array(items) => {
            let mut list = Items { items, patch: reader.patch, next: 0 };
            let value = visitor.visit_seq(&mut list)?;
            if list.next < items.len() {
                let message = format!("expected {}, found {}", many(list.next, "item"), items.len());
                return Err(Mistake::new(Kind::Other(message)));
            }
            Ok(value)
        }
        Value::Object(entries) => visitor.visit_map(Entries::new(entries, reader.patch)),
    }
}

fn many(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

struct Items<'a> {
    items: &'a [Value],
    patch: Option<&'a Patch>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mistake;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mistake> {
        while let Some(value) = self.items.get(self.next) {
            let index = self.next;
            self.next += 1;
            let patch = match self.patch {
                Some(patch) if !patch.below.is_empty() => patch.at(&index.to_string()),
                _ => None,
            };
            if patch.is_some_and(|patch| patch.is(Change::Skip)) {
                continue;
            }
            return seed
                .deserialize(Reader { value, patch })
                .map(Some)
                .map_err(|mistake| mistake.below(index));
        }
        Ok(None)
    }
}

/// The entries that stand there, then those that a patch adds.
struct Entries<'a> {
    entries: serde_json::map::Iter<'a>,
    added: Vec<(&'a str, &'a Patch)>,
    patch: Option<&'a Patch>,
    at: Option<(&'a str, Reader<'a>)>,
}

impl<'a> Entries<'a> {
    fn new(entries: &'a Map<String, Value>, patch: Option<&'a Patch>) -> Self {
        let patch = patch.filter(|patch| !patch.below.is_empty());
        let added = match patch {
            Some(patch) => patch
                .below
                .iter()
                .filter(|(key, patch)| patch.is(Change::Hole) && !entries.contains_key(key.as_str()))
                .map(|(key, patch)| (key.as_str(), patch))
                .collect(),
            None => Vec::new(),
        };
        Self { entries: entries.iter(), added, patch, at: None }
    }

    fn advance(&mut self) -> Option<(&'a str, Reader<'a>)> {
        for (key, value) in self.entries.by_ref() {
            let patch = self.patch.and_then(|patch| patch.at(key));
            if !patch.is_some_and(|patch| patch.is(Change::Skip)) {
                return Some((key, Reader { value, patch }));
            }
        }
        self.added.pop().map(|(key, patch)| (key, Reader { value: &Value::Null, patch: Some(patch) }))
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        self.at = self.advance();
        let Some((key, _)) = self.at else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(key)).map(Some).map_err(|mistake: Mistake| mistake.at_key(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mistake> {
        let Some((key, reader)) = self.at.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(reader).map_err(|mistake| mistake.below(key))
    }
}

/// `word`, or `word: content`.
struct Choice<'a> {
    name: &'a str,
    content: Option<Reader<'a>>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Mistake> {
        let variant = seed.deserialize(StrDeserializer::new(self.name)).map_err(|mistake: Mistake| {
            if self.content.is_some() { mistake.at_key(self.name) } else { mistake }
        })?;
        Ok((variant, self))
    }
}

impl<'de> Choice<'de> {
    fn content(&self) -> Result<Reader<'de>, Mistake> {
        let message = || de::Error::custom(format!("`{0}` needs a value: write `{0}: …`", self.name));
        self.content.ok_or_else(message)
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        match self.content {
            None => Ok(()),
            Some(reader) if reader.value.is_null() || reader.is_hole() => Ok(()),
            Some(_) => {
                let message = format!("`{0}` takes no value: write `{0}` alone", self.name);
                Err(Mistake::new(Kind::Other(message)).below(self.name))
            }
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Mistake> {
        seed.deserialize(self.content()?).map_err(|mistake| mistake.below(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.content()?.deserialize_tuple(length, visitor).map_err(|mistake| mistake.below(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: Names, visitor: V) -> Result<V::Value, Mistake> {
        self.content()?.deserialize_struct("", fields, visitor).map_err(|mistake| mistake.below(self.name))
    }
}
