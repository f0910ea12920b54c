//! Messages described by tables, so that text format and JSON become protobuf bytes (which `prost`
//! decodes) and protobuf bytes become JSON, each with one piece of code.

mod from_json;
pub(crate) mod tensorflow;
mod to_json;
pub(crate) mod triton;

use prost::encoding::{WireType, encode_key, encode_varint};

pub(crate) use from_json::from_json;
pub(crate) use to_json::to_json;

/// A message.
pub(crate) type Message = &'static [Field];

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) tag: u32,
    pub(crate) kind: Kind,
    pub(crate) count: Count,
}

/// How often a field comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Once, or its default.
    One,
    /// Once or not at all, which is not the same as its default.
    Optional,
    /// Any number of times.
    Many,
    /// Any number of times, a key and a value each.
    Map,
}

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    /// Signed, of so many bits.
    Signed(u32),
    /// Unsigned, of so many bits.
    Unsigned(u32),
    Double,
    String,
    Enum(&'static [(&'static str, i32)]),
    Message(Message),
    /// Something official that Sardonyx has no use for: it is read over.
    Ignored,
}

pub(crate) const fn one(name: &'static str, tag: u32, kind: Kind) -> Field {
    Field {
        name,
        tag,
        kind,
        count: Count::One,
    }
}

pub(crate) const fn optional(name: &'static str, tag: u32, kind: Kind) -> Field {
    Field {
        name,
        tag,
        kind,
        count: Count::Optional,
    }
}

pub(crate) const fn message(name: &'static str, tag: u32, fields: Message) -> Field {
    optional(name, tag, Kind::Message(fields))
}

pub(crate) const fn many(name: &'static str, tag: u32, kind: Kind) -> Field {
    Field {
        name,
        tag,
        kind,
        count: Count::Many,
    }
}

/// A map; `entry` are its key (1) and its value (2).
pub(crate) const fn map(name: &'static str, tag: u32, entry: Message) -> Field {
    Field {
        name,
        tag,
        kind: Kind::Message(entry),
        count: Count::Map,
    }
}

/// A field of a message that it may have, which may come in any number.
pub(crate) const fn ignored(name: &'static str) -> Field {
    many(name, 0, Kind::Ignored)
}

pub(crate) fn find(message: Message, name: &str) -> Option<&'static Field> {
    message.iter().find(|field| field.name == name)
}

/// Appends an integer, a truth value or an enum.
pub(crate) fn put_varint(tag: u32, value: u64, out: &mut Vec<u8>) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

/// Appends a double.
pub(crate) fn put_double(tag: u32, value: f64, out: &mut Vec<u8>) {
    encode_key(tag, WireType::SixtyFourBit, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a string or a message.
pub(crate) fn put_bytes(tag: u32, value: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// The bits of an integer that is written in text, when it fits the kind.
pub(crate) fn integer_bits(kind: &Kind, value: i128) -> Option<u64> {
    match kind {
        Kind::Signed(32) => i32::try_from(value)
            .ok()
            .map(|value| i64::from(value) as u64),
        Kind::Signed(_) => i64::try_from(value).ok().map(|value| value as u64),
        Kind::Unsigned(32) => u32::try_from(value).ok().map(u64::from),
        Kind::Unsigned(_) => u64::try_from(value).ok(),
        _ => None,
    }
}

/// What a value of the kind looks like, for messages.
pub(crate) fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Signed(bits) => format!("an integer of {bits} bits"),
        Kind::Unsigned(bits) => format!("an unsigned integer of {bits} bits"),
        Kind::Double => "a number".to_owned(),
        Kind::String => "a string".to_owned(),
        Kind::Enum(names) => {
            let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            format!("one of {}", names.join(", "))
        }
        Kind::Message(_) | Kind::Ignored => "a message".to_owned(),
    }
}
