//! A value that is whatever its reader wants: [`Hole`] stands in for a value whose mistake was told already, so
//! that reading can go on and find the others. What it makes is never kept. Must not know what it stands for.
//!
//! 占位值：按类型要求给出任意合法值，使读取可以继续。

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::StrDeserializer,
};

use super::de::{Mistake, Names};

/// Deeper than this, a type contains itself without end.
const DEEPEST: usize = 32;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Hole {
    depth: usize,
}

impl Hole {
    pub(super) fn new() -> Self {
        Self { depth: 0 }
    }

    fn deeper(self) -> Result<Self, Mistake> {
        if self.depth == DEEPEST {
            return Err(Mistake::custom("the type contains itself without end"));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

macro_rules! answer {
    ($($method:ident => $visit:ident($($value:expr)?),)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            visitor.$visit($($value)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Hole {
    type Error = Mistake;

    answer! {
        deserialize_any => visit_unit(),
        deserialize_ignored_any => visit_unit(),
        deserialize_unit => visit_unit(),
        deserialize_option => visit_none(),
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(1),
        deserialize_i16 => visit_i16(1),
        deserialize_i32 => visit_i32(1),
        deserialize_i64 => visit_i64(1),
        deserialize_i128 => visit_i128(1),
        deserialize_u8 => visit_u8(1),
        deserialize_u16 => visit_u16(1),
        deserialize_u32 => visit_u32(1),
        deserialize_u64 => visit_u64(1),
        deserialize_u128 => visit_u128(1),
        deserialize_f32 => visit_f32(1.0),
        deserialize_f64 => visit_f64(1.0),
        deserialize_char => visit_char('x'),
        deserialize_str => visit_borrowed_str("x"),
        deserialize_string => visit_borrowed_str("x"),
        deserialize_identifier => visit_borrowed_str("x"),
        deserialize_bytes => visit_borrowed_bytes(b"x"),
        deserialize_byte_buf => visit_borrowed_bytes(b"x"),
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self.deeper()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(0, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_seq(Holes { left: length, hole: self.deeper()? })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_map(Fields { left: &[], hole: self })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_map(Fields { left: fields, hole: self.deeper()? })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: Names,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let Some(name) = variants.first() else { return Err(Mistake::custom("nothing to choose from")) };
        visitor.visit_enum(First { name, hole: self.deeper()? })
    }
}

/// A list of so many holes.
struct Holes {
    left: usize,
    hole: Hole,
}

impl<'de> SeqAccess<'de> for Holes {
    type Error = Mistake;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mistake> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.hole).map(Some)
    }
}

/// A mapping with a hole under each known key.
struct Fields {
    left: Names,
    hole: Hole,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((key, rest)) = self.left.split_first() else { return Ok(None) };
        self.left = rest;
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mistake> {
        seed.deserialize(self.hole)
    }
}

/// The first of several choices.
struct First {
    name: &'static str,
    hole: Hole,
}

impl<'de> EnumAccess<'de> for First {
    type Error = Mistake;
    type Variant = Hole;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Hole), Mistake> {
        Ok((seed.deserialize(StrDeserializer::new(self.name))?, self.hole))
    }
}

impl<'de> VariantAccess<'de> for Hole {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Mistake> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: Names, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_struct("", fields, visitor)
    }
}
