//! Protobuf bytes as JSON: fields in the order of the table, all of those that always have a
//! value, 64-bit integers as numbers.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::{Count, Field, Kind, Message};
use crate::json::write::{Layout, Writer};

/// A field of an encoded message.
#[derive(Clone, Copy)]
enum Encoded<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The JSON of an encoded message. The bytes are our own: what cannot be decoded is left out.
pub(crate) fn to_json(message: Message, bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Layout::Compact, 2 * bytes.len() + 256);
    write_message(&mut writer, message, bytes);
    writer.finish()
}

fn fields(mut bytes: &[u8]) -> Vec<(u32, Encoded<'_>)> {
    let mut found = Vec::new();
    while let Ok((tag, wire_type)) = decode_key(&mut bytes) {
        let value = match wire_type {
            WireType::Varint => decode_varint(&mut bytes).ok().map(Encoded::Number),
            WireType::SixtyFourBit => bytes.try_get_u64_le().ok().map(Encoded::Number),
            WireType::ThirtyTwoBit => bytes
                .try_get_u32_le()
                .ok()
                .map(|value| Encoded::Number(u64::from(value))),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut bytes).ok();
                let length = length.and_then(|length| usize::try_from(length).ok());
                let parts = length.and_then(|length| bytes.split_at_checked(length));
                bytes = parts.map_or(&[], |(_, rest)| rest);
                parts.map(|(value, _)| Encoded::Bytes(value))
            }
            WireType::StartGroup | WireType::EndGroup => None,
        };
        match value {
            Some(value) => found.push((tag, value)),
            None => break,
        }
    }
    found
}

fn write_message(writer: &mut Writer, message: Message, bytes: &[u8]) {
    let encoded = fields(bytes);
    writer.begin_object();
    for field in message {
        let of_field = encoded
            .iter()
            .filter(|(tag, _)| *tag == field.tag)
            .map(|(_, value)| *value);
        let values: Vec<Encoded<'_>> = of_field.collect();
        if matches!(field.kind, Kind::Ignored) {
            continue;
        }
        match field.count {
            Count::One => {
                let value = values.last().copied().unwrap_or(Encoded::Number(0));
                writer.name(field.name);
                write_value(writer, &field.kind, value);
            }
            Count::Optional => {
                if let Some(&value) = values.last() {
                    writer.name(field.name);
                    write_value(writer, &field.kind, value);
                }
            }
            Count::Many => {
                writer.name(field.name);
                writer.begin_array();
                values
                    .iter()
                    .for_each(|&value| write_many(writer, field, value));
                writer.end_array();
            }
            Count::Map => {
                writer.name(field.name);
                writer.begin_object();
                values
                    .iter()
                    .for_each(|&entry| write_entry(writer, &field.kind, entry));
                writer.end_object();
            }
        }
    }
    writer.end_object();
}

/// Writes one value of a repeated field, or the many that are packed into one.
fn write_many(writer: &mut Writer, field: &Field, value: Encoded<'_>) {
    let is_number = !matches!(field.kind, Kind::String | Kind::Message(_));
    let (true, Encoded::Bytes(mut packed)) = (is_number, value) else {
        return write_value(writer, &field.kind, value);
    };
    while packed.has_remaining() {
        let number = if matches!(field.kind, Kind::Double) {
            packed.try_get_u64_le().ok()
        } else {
            decode_varint(&mut packed).ok()
        };
        let Some(number) = number else { break };
        write_value(writer, &field.kind, Encoded::Number(number));
    }
}

fn write_entry(writer: &mut Writer, kind: &Kind, entry: Encoded<'_>) {
    let (Kind::Message([_, value_field]), Encoded::Bytes(bytes)) = (kind, entry) else {
        return;
    };
    let encoded = fields(bytes);
    let of = |tag: u32| {
        encoded
            .iter()
            .rfind(|(found, _)| *found == tag)
            .map(|(_, value)| *value)
    };
    let name = match of(1) {
        Some(Encoded::Number(number)) => number.to_string(),
        Some(Encoded::Bytes(text)) => String::from_utf8_lossy(text).into_owned(),
        None => String::new(),
    };
    writer.name(&name);
    write_value(
        writer,
        &value_field.kind,
        of(2).unwrap_or(Encoded::Bytes(&[])),
    );
}

fn write_value(writer: &mut Writer, kind: &Kind, value: Encoded<'_>) {
    let (number, bytes): (u64, &[u8]) = match value {
        Encoded::Number(number) => (number, &[]),
        Encoded::Bytes(bytes) => (0, bytes),
    };
    match kind {
        Kind::Bool => writer.bool(number != 0),
        Kind::Signed(_) => writer.signed(number as i64),
        Kind::Unsigned(_) => writer.unsigned(number),
        Kind::Double => writer.shortest_f64(f64::from_bits(number)),
        Kind::String => writer.string(&String::from_utf8_lossy(bytes)),
        Kind::Enum(names) => {
            let name = names
                .iter()
                .find(|(_, value)| i64::from(*value) == number as i64);
            writer.string(name.map_or("", |(name, _)| name));
        }
        Kind::Message(message) => write_message(writer, message, bytes),
        Kind::Ignored => writer.token("null"),
    }
}
