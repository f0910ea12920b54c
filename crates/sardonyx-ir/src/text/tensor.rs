//! Elements of a tensor as text.

use std::fmt::{Display, Write};

use sardonyx_tensor::{DType, Data, Tensor, bf16, f16};

use super::cursor::{Cursor, Literal, Result};

/// Appends `{1,2,3}`, or `{...}` when there are more than `max` elements.
pub(super) fn print(out: &mut String, tensor: &Tensor, max: usize) {
    if tensor.len() > max {
        out.push_str("{...}");
        return;
    }
    out.push('{');
    match tensor.data() {
        Data::F32(values) => list(out, values.iter().map(|&value| float32(value))),
        Data::F64(values) => list(out, values.iter().map(|&value| float64(value))),
        Data::F16(values) => list(out, values.iter().map(|value| value.to_bits())),
        Data::Bf16(values) => list(out, values.iter().map(|value| value.to_bits())),
        Data::I8(values) => list(out, values),
        Data::I16(values) => list(out, values),
        Data::I32(values) => list(out, values),
        Data::I64(values) => list(out, values),
        Data::U8(values) => list(out, values),
        Data::U16(values) => list(out, values),
        Data::U32(values) => list(out, values),
        Data::U64(values) => list(out, values),
        Data::Bool(values) => list(out, values.iter().map(|&value| u8::from(value))),
        Data::String(values) => list(out, values.iter().map(|text| quoted(text))),
    }
    out.push('}');
}

/// Appends `items` with commas between them.
pub(super) fn list<T: Display>(out: &mut String, items: impl IntoIterator<Item = T>) {
    for (index, item) in items.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(out, "{comma}{item}").expect("a string takes everything");
    }
}

/// The shortest text that reads back as the same number, with a point or an exponent in it.
pub(super) fn float32(value: f32) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else {
        format!("{value:?}")
    }
}

fn float64(value: f64) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else {
        format!("{value:?}")
    }
}

/// A string in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        if char == '"' || char == '\\' {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
    out
}

/// Reads `{1,2,3}` as a tensor of this type and shape.
pub(super) fn parse(cursor: &mut Cursor<'_>, dtype: DType, shape: Vec<usize>) -> Result<Tensor> {
    let start = cursor.clone();
    cursor.expect("{")?;
    if cursor.eat("...") {
        return Err(start.error(
            "the elements of this tensor were left out when it was printed; \
             hint: print the graph with all elements",
        ));
    }
    let mut literals = Vec::new();
    if !cursor.eat("}") {
        loop {
            literals.push((cursor.clone(), cursor.literal()?));
            if !cursor.eat(",") {
                break;
            }
        }
        cursor.expect("}")?;
    }
    let data = data(dtype, literals)?;
    Tensor::from_data(shape, data).map_err(|error| start.error(error.to_string()))
}

fn data(dtype: DType, literals: Vec<(Cursor<'_>, Literal)>) -> Result<Data> {
    macro_rules! each {
        ($variant:ident, $convert:expr) => {
            Data::$variant(literals.into_iter().map($convert).collect::<Result<_>>()?)
        };
    }
    Ok(match dtype {
        DType::F32 => each!(F32, |(at, literal)| Ok(floats(&at, &literal)?.1)),
        DType::F64 => each!(F64, |(at, literal)| Ok(floats(&at, &literal)?.0)),
        DType::F16 => each!(F16, |(at, literal)| int(&at, &literal).map(f16::from_bits)),
        DType::Bf16 => each!(Bf16, |(at, literal)| int(&at, &literal)
            .map(bf16::from_bits)),
        DType::I8 => each!(I8, |(at, literal)| int(&at, &literal)),
        DType::I16 => each!(I16, |(at, literal)| int(&at, &literal)),
        DType::I32 => each!(I32, |(at, literal)| int(&at, &literal)),
        DType::I64 => each!(I64, |(at, literal)| int(&at, &literal)),
        DType::U8 => each!(U8, |(at, literal)| int(&at, &literal)),
        DType::U16 => each!(U16, |(at, literal)| int(&at, &literal)),
        DType::U32 => each!(U32, |(at, literal)| int(&at, &literal)),
        DType::U64 => each!(U64, |(at, literal)| int(&at, &literal)),
        DType::Bool => each!(Bool, |(at, literal)| Ok(int::<u8>(&at, &literal)? != 0)),
        DType::String => each!(String, |(at, literal)| match literal {
            Literal::Text(text) => Ok(text),
            _ => Err(at.error("expected a string")),
        }),
    })
}

/// A number as a double and, rounded from its digits, as a float.
pub(super) fn floats(at: &Cursor<'_>, literal: &Literal) -> Result<(f64, f32)> {
    match literal {
        Literal::Float(double, single) => Ok((*double, *single)),
        Literal::Int(digits) => match (digits.parse(), digits.parse()) {
            (Ok(double), Ok(single)) => Ok((double, single)),
            _ => Err(at.error("expected a number")),
        },
        Literal::Text(_) => Err(at.error("expected a number, found a string")),
    }
}

fn int<T: std::str::FromStr>(at: &Cursor<'_>, literal: &Literal) -> Result<T> {
    match literal {
        Literal::Int(digits) => digits
            .parse()
            .map_err(|_| at.error(format!("{digits} does not fit into the element type"))),
        _ => Err(at.error("expected an integer")),
    }
}
