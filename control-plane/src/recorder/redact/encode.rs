//! An encoding that passes every text through the rules of a redaction, whatever event it stands in.
//!
//! Working on the encoding rather than on the events means that a text of an event that comes to be later is redacted too,
//! unless its field is listed here as a name.

use serde::ser::{self, Serialize, Serializer};

use super::Redaction;
use crate::recorder::Event;

/// Fields that hold names and codes, which are looked up again and stay as they are. `arguments` are the names of arguments,
/// or bytes that were redacted before.
const NAMES: [&str; 16] = [
    "agent",
    "tenant",
    "tool",
    "rules",
    "arguments",
    "redacted",
    "labels",
    "code",
    "account",
    "level",
    "resource",
    "mode",
    "budgets",
    "guarantees",
    "order",
    "held",
];

/// Encodes an event with every text redacted that is no name.
pub(super) fn encode(
    redaction: &Redaction,
    event: &Event<'_>,
    buffer: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(&Clean { of: event, redaction, name: false }, buffer)
}

/// Something that is encoded clean, or the encoder of it.
#[derive(Clone, Copy)]
struct Clean<'r, T> {
    of: T,
    redaction: &'r Redaction,
    /// Whether texts in it are names.
    name: bool,
}

impl<'r, T> Clean<'r, T> {
    fn with<U>(&self, of: U) -> Clean<'r, U> {
        Clean { of, redaction: self.redaction, name: self.name }
    }

    fn field<U>(&self, key: &str, of: U) -> Clean<'r, U> {
        Clean { of, redaction: self.redaction, name: self.name || NAMES.contains(&key) }
    }
}

impl<T: Serialize + ?Sized> Serialize for Clean<'_, &T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.of.serialize(self.with(serializer))
    }
}

macro_rules! plain {
    ($($name:ident: $type:ty),*) => {
        $(fn $name(self, value: $type) -> Result<S::Ok, S::Error> { self.of.$name(value) })*
    };
}

impl<'r, S: Serializer> Serializer for Clean<'r, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Clean<'r, S::SerializeSeq>;
    type SerializeTuple = Clean<'r, S::SerializeTuple>;
    type SerializeTupleStruct = Clean<'r, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Clean<'r, S::SerializeTupleVariant>;
    type SerializeMap = Clean<'r, S::SerializeMap>;
    type SerializeStruct = Clean<'r, S::SerializeStruct>;
    type SerializeStructVariant = Clean<'r, S::SerializeStructVariant>;

    plain! {
        serialize_bool: bool, serialize_char: char, serialize_bytes: &[u8],
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64
    }

    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }

    fn serialize_str(self, text: &str) -> Result<S::Ok, S::Error> {
        if self.name {
            self.of.serialize_str(text)
        } else {
            self.of.serialize_str(&self.redaction.text(text))
        }
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.of.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.with(value);
        self.of.serialize_some(&value)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.of.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.of.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.of.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.with(value);
        self.of.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        // An actor is an agent, and that is a name.
        let value = Clean { name: self.name || name == "Actor", ..self.with(value) };
        self.of.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Ok(Clean { of: self.of.serialize_seq(length)?, redaction: self.redaction, name: self.name })
    }

    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, S::Error> {
        Ok(Clean { of: self.of.serialize_tuple(length)?, redaction: self.redaction, name: self.name })
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let of = self.of.serialize_tuple_struct(name, length)?;
        Ok(Clean { of, redaction: self.redaction, name: self.name })
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let of = self.of.serialize_tuple_variant(name, index, variant, length)?;
        Ok(Clean { of, redaction: self.redaction, name: self.name })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Ok(Clean { of: self.of.serialize_map(length)?, redaction: self.redaction, name: self.name })
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Self::SerializeStruct, S::Error> {
        let of = self.of.serialize_struct(name, length)?;
        Ok(Clean { of, redaction: self.redaction, name: self.name })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let of = self.of.serialize_struct_variant(name, index, variant, length)?;
        Ok(Clean { of, redaction: self.redaction, name: self.name })
    }
}

macro_rules! items {
    ($($trait:ident: $method:ident),*) => {$(
        impl<S: ser::$trait> ser::$trait for Clean<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.with(value);
                self.of.$method(&value)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.of.end()
            }
        }
    )*};
}

items! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
}

macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl<S: ser::$trait> ser::$trait for Clean<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let value = self.field(key, value);
                self.of.serialize_field(key, &value)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.of.end()
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant }

impl<S: ser::SerializeMap> ser::SerializeMap for Clean<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        let key = self.with(key);
        self.of.serialize_key(&key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.with(value);
        self.of.serialize_value(&value)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.of.end()
    }
}
