//! The body of `:predict`.
//!
//! It is decoded in one pass, the numbers going from the text straight into the tensors. A body
//! with anything wrong or unusual in it is read a second time, carefully: the whole text is
//! checked first, then what it says, so that of several faults the one is reported that TensorFlow
//! Serving would report.

use super::columns::{Column, columns, rows};
use crate::json::debug::excerpt;
use crate::json::scan::{self, Scanner};
use crate::{Result, TensorSpec, Value, WireError};

/// How the tensors of a request were written; the reply is written the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `instances`: a list of examples.
    Row,
    /// `inputs`: tensors with their batch dimension.
    Columnar,
}

/// A decoded body of `:predict`.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictBody {
    /// Name of the signature; empty when the body has none.
    pub signature_name: String,
    /// How the tensors were written.
    pub format: Format,
    /// Name and value of every input, in the order of the signature's. Strings, and pictures for
    /// inputs that take encoded bytes, are [`Value::Bytes`].
    pub inputs: Vec<(String, Value)>,
}

/// Finds the inputs of the signature of a name (empty for the default one).
pub type FindInputs<'f, 's> = dyn Fn(&str) -> Result<&'s [TensorSpec]> + 'f;

/// Decodes the body of `:predict`. `find` gives the inputs of the signature of a name (empty for
/// the default one) or says that there is no such signature.
///
/// Floats take any number, `NaN` and the infinities too; a number is rounded to the nearest value
/// of the input's type. Integers must be written as such and fit. The shapes that are found are
/// not compared with the signature's ([`TensorSpec::check`] does that).
///
/// # Errors
/// What `find` says; [`crate::Code::InvalidArgument`] with TensorFlow Serving's message for what
/// is wrong with the body; [`crate::Code::Unimplemented`] for inputs of half and bfloat16, which
/// its JSON does not know.
pub fn decode_predict(body: &[u8], find: &FindInputs<'_, '_>) -> Result<PredictBody> {
    match in_one_pass(body, find) {
        Some(decoded) => Ok(decoded),
        None => carefully(body, find),
    }
}

/// `None` when there is anything to be careful about.
fn in_one_pass(body: &[u8], find: &FindInputs<'_, '_>) -> Option<PredictBody> {
    let mut scanner = Scanner::new(body);
    let mut signature_name: Option<String> = None;
    let mut decoded: Option<(Format, Vec<Column<'_>>)> = None;
    let mut named_late = false;
    scanner.eat(b'{').then_some(())?;
    loop {
        let name = scanner.name().ok()?;
        match &*name {
            b"signature_name" if signature_name.is_none() => {
                scanner.peek();
                let text = scanner.string().ok()?.into_owned();
                signature_name = Some(String::from_utf8(text).ok()?);
                named_late = decoded.is_some();
            }
            b"instances" | b"inputs" if decoded.is_none() => {
                let specs = find(signature_name.as_deref().unwrap_or_default()).ok()?;
                let is_row = &*name == b"instances";
                let format = if is_row {
                    Format::Row
                } else {
                    Format::Columnar
                };
                decoded = Some((format, tensors(&mut scanner, format, specs, false).ok()?));
            }
            // A second one is an error, or must not count.
            b"signature_name" | b"instances" | b"inputs" => return None,
            _ => scanner.pass_value().ok()?,
        }
        if !scanner.another_member().ok()? {
            break;
        }
    }
    // Named after the tensors, it may mean others than those that were read.
    if named_late {
        return None;
    }
    let (format, columns) = decoded?;
    Some(PredictBody {
        signature_name: signature_name.unwrap_or_default(),
        format,
        inputs: inputs(columns).ok()?,
    })
}

fn carefully(body: &[u8], find: &FindInputs<'_, '_>) -> Result<PredictBody> {
    let members = scan::members(body, ["signature_name", "instances", "inputs"])?;
    let wrong =
        |problem: &str| WireError::invalid(format!("JSON Value: {} {problem}", excerpt(body)));
    let [signature, instances, inputs_text] = members.ok_or_else(|| wrong("Is not object"))?;
    let signature_name = signature_name(signature).ok_or_else(|| {
        wrong("not formatted correctly. 'signature_name' key must be a string value.")
    })?;
    let specs = find(&signature_name)?;
    let (format, text) = match (instances, inputs_text) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to \
                 exist ",
            ));
        }
        (Some(text), None) => (Format::Row, text),
        (None, Some(text)) => (Format::Columnar, text),
        (None, None) => return Err(WireError::invalid("Missing 'inputs' or 'instances' key")),
    };
    if format == Format::Row {
        if !text.starts_with(b"[") {
            return Err(wrong("Expecting 'instances' to be an list/array"));
        }
        if Scanner::new(&text[1..]).eat(b']') {
            return Err(wrong("No values in 'instances' array"));
        }
    }
    let columns = tensors(&mut Scanner::new(text), format, specs, true)?;
    Ok(PredictBody {
        signature_name,
        format,
        inputs: inputs(columns)?,
    })
}

/// The name in the text of a member `signature_name`; `None` when it is no string.
pub(super) fn signature_name(text: Option<&[u8]>) -> Option<String> {
    let Some(text) = text else {
        return Some(String::new());
    };
    let name = Scanner::new(text).string().ok()?.into_owned();
    Some(String::from_utf8_lossy(&name).into_owned())
}

fn tensors<'s>(
    scanner: &mut Scanner<'_>,
    format: Format,
    specs: &'s [TensorSpec],
    careful: bool,
) -> Result<Vec<Column<'s>>> {
    if specs.is_empty() {
        return Err(WireError::invalid(
            "Failed to get input map for signature: the signature has no inputs",
        ));
    }
    let mut found: Vec<Column<'s>> = specs.iter().map(Column::new).collect();
    match format {
        Format::Row => rows(scanner, &mut found, careful)?,
        Format::Columnar => columns(scanner, &mut found, careful)?,
    }
    Ok(found)
}

fn inputs(columns: Vec<Column<'_>>) -> Result<Vec<(String, Value)>> {
    let named = |column: Column<'_>| Ok((column.spec.name.clone(), column.into_value()?));
    columns.into_iter().map(named).collect()
}
