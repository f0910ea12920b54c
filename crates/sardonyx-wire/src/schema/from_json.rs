//! JSON as protobuf bytes.

use super::{
    Count, Field, Kind, Message, expected, find, integer_bits, put_bytes, put_double, put_varint,
};
use crate::json::scan::{Fault, Number, Scanner};
use crate::{Result, WireError};

/// Encodes the message that a JSON text holds. Nesting goes no deeper than the table's.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when the text is not JSON, has a member that the message
/// lacks, or a value of another kind.
pub(crate) fn from_json(message: Message, json: &[u8]) -> Result<Vec<u8>> {
    let mut scanner = Scanner::new(json);
    let mut out = Vec::new();
    read_message(&mut scanner, message, &mut out)?;
    match scanner.peek() {
        None => Ok(out),
        Some(_) => Err(WireError::invalid(format!(
            "unexpected text behind the JSON at offset {}",
            scanner.at
        ))),
    }
}

fn syntax(fault: Fault) -> WireError {
    fault.into()
}

fn wrong(field: &Field, what: &str) -> WireError {
    WireError::invalid(format!("'{}' must be {what}", field.name))
}

fn read_message(scanner: &mut Scanner<'_>, message: Message, out: &mut Vec<u8>) -> Result<()> {
    if !scanner.eat(b'{') {
        return Err(WireError::invalid("a message must be a JSON object"));
    }
    let mut more = !scanner.eat(b'}');
    while more {
        let name = scanner.name().map_err(syntax)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let field = find(message, &name)
            .ok_or_else(|| WireError::invalid(format!("there is no field '{name}'")))?;
        read_field(scanner, field, out)?;
        more = scanner.another_member().map_err(syntax)?;
    }
    Ok(())
}

fn read_field(scanner: &mut Scanner<'_>, field: &Field, out: &mut Vec<u8>) -> Result<()> {
    if matches!(field.kind, Kind::Ignored) || scanner.peek() == Some(b'n') {
        return scanner.pass_value().map_err(syntax);
    }
    match field.count {
        Count::One | Count::Optional => read_value(scanner, field, &field.kind, field.tag, out),
        Count::Many => {
            if !scanner.eat(b'[') {
                return Err(wrong(field, "a list"));
            }
            let mut more = !scanner.eat(b']');
            while more {
                read_value(scanner, field, &field.kind, field.tag, out)?;
                more = scanner.another_element().map_err(syntax)?;
            }
            Ok(())
        }
        Count::Map => read_map(scanner, field, out),
    }
}

fn read_map(scanner: &mut Scanner<'_>, field: &Field, out: &mut Vec<u8>) -> Result<()> {
    let Kind::Message([key, value]) = &field.kind else {
        return Err(wrong(field, "a map"));
    };
    if !scanner.eat(b'{') {
        return Err(wrong(field, "an object"));
    }
    let mut more = !scanner.eat(b'}');
    while more {
        let name = scanner.name().map_err(syntax)?;
        let mut entry = Vec::new();
        if matches!(key.kind, Kind::String) {
            put_bytes(1, &name, &mut entry);
        } else {
            let number = std::str::from_utf8(&name)
                .ok()
                .and_then(|name| name.parse().ok());
            let bits = number.and_then(|number| integer_bits(&key.kind, number));
            let bits = bits.ok_or_else(|| wrong(field, "an object whose names are integers"))?;
            put_varint(1, bits, &mut entry);
        }
        read_value(scanner, field, &value.kind, 2, &mut entry)?;
        put_bytes(field.tag, &entry, out);
        more = scanner.another_member().map_err(syntax)?;
    }
    Ok(())
}

fn read_value(
    scanner: &mut Scanner<'_>,
    field: &Field,
    kind: &Kind,
    tag: u32,
    out: &mut Vec<u8>,
) -> Result<()> {
    let wrong = || wrong(field, &expected(kind));
    let first = scanner.peek();
    match kind {
        Kind::Message(message) => {
            let mut inner = Vec::new();
            read_message(scanner, message, &mut inner)?;
            put_bytes(tag, &inner, out);
        }
        Kind::String if first == Some(b'"') => {
            let text = scanner.string().map_err(syntax)?;
            put_bytes(tag, &text, out);
        }
        Kind::Enum(names) if first == Some(b'"') => {
            let text = scanner.string().map_err(syntax)?;
            let found = names.iter().find(|(name, _)| name.as_bytes() == &*text);
            put_varint(tag, found.ok_or_else(wrong)?.1 as u64, out);
        }
        Kind::Bool if scanner.token(b"true") => put_varint(tag, 1, out),
        Kind::Bool if scanner.token(b"false") => put_varint(tag, 0, out),
        Kind::Double => {
            let start = scanner.at;
            let value = match scanner.number().map_err(|_| wrong())? {
                Number::Special(value) => Some(value),
                Number::Decimal(decimal) => decimal.to_f64(&scanner.bytes[start..scanner.at]),
            };
            put_double(tag, value.ok_or_else(wrong)?, out);
        }
        Kind::Signed(_) | Kind::Unsigned(_) => {
            let value = read_integer(scanner).and_then(|value| integer_bits(kind, value));
            put_varint(tag, value.ok_or_else(wrong)?, out);
        }
        Kind::Ignored => scanner.pass_value().map_err(syntax)?,
        Kind::String | Kind::Enum(_) | Kind::Bool => return Err(wrong()),
    }
    Ok(())
}

/// An integer, which protobuf's JSON may put into quotation marks.
fn read_integer(scanner: &mut Scanner<'_>) -> Option<i128> {
    if scanner.peek() == Some(b'"') {
        let text = scanner.string().ok()?;
        return std::str::from_utf8(&text).ok()?.parse().ok();
    }
    let start = scanner.at;
    let Ok(Number::Decimal(decimal)) = scanner.number() else {
        return None;
    };
    decimal.to_integer(&scanner.bytes[start..scanner.at])
}
