//! Bodies of replies, laid out as TensorFlow Serving lays them out, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sardonyx_tensor::{Data, Tensor};

use super::Format;
use super::tensor::dtype_name;
use crate::json::write::{Layout, Writer};
use crate::proto::serving::{ClassificationResult, RegressionResult};
use crate::{Code, Result, WireError};

const LINES: Layout = Layout::Lines(4);
const ROWS: Layout = Layout::Rows(4);
/// Text that an element takes, about; only to take room at once.
const ELEMENT_BYTES: usize = 14;
/// Outputs of strings whose names end so hold bytes, and are written as base64.
const BYTES_SUFFIX: &str = "_bytes";

/// Body of the reply to `:predict`, in the form of the request.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when there are no outputs, when the reply is by rows and the
/// outputs have no batch dimension or differ in it, or when a type has no form in JSON (half and
/// bfloat16).
pub fn encode_predict(format: Format, outputs: &[(&str, &Tensor)]) -> Result<Vec<u8>> {
    if outputs.is_empty() {
        return Err(WireError::invalid(
            "Cannot convert empty tensor map to JSON",
        ));
    }
    let n_elements: usize = outputs.iter().map(|(_, tensor)| tensor.len()).sum();
    let mut writer = Writer::new(LINES, n_elements * ELEMENT_BYTES + 64);
    writer.begin_object();
    match format {
        Format::Row => rows(&mut writer, outputs)?,
        Format::Columnar => columns(&mut writer, outputs)?,
    }
    writer.end_object();
    Ok(writer.finish())
}

fn rows(writer: &mut Writer, outputs: &[(&str, &Tensor)]) -> Result<()> {
    let mut n_rows = None;
    for (name, tensor) in outputs {
        let Some(&found) = tensor.shape().first() else {
            let message = format!("Tensor name: {name} has no shape information ");
            return Err(WireError::invalid(message));
        };
        let expected = *n_rows.get_or_insert(found);
        if found != expected {
            return Err(WireError::invalid(format!(
                "Tensor name: {name} has inconsistent batch size: {found} expecting: {expected}"
            )));
        }
    }
    writer.name("predictions");
    writer.begin_array();
    let mut offsets = vec![0; outputs.len()];
    for _ in 0..n_rows.unwrap_or(0) {
        if outputs.len() > 1 {
            writer.begin_object();
        }
        writer.set_layout(ROWS);
        for ((name, tensor), offset) in outputs.iter().zip(&mut offsets) {
            if outputs.len() > 1 {
                writer.name(name);
            }
            let elements = Elements::new(name, tensor);
            elements.write(writer, &tensor.shape()[1..], offset)?;
        }
        writer.set_layout(LINES);
        if outputs.len() > 1 {
            writer.end_object();
        }
    }
    writer.end_array();
    Ok(())
}

fn columns(writer: &mut Writer, outputs: &[(&str, &Tensor)]) -> Result<()> {
    writer.name("outputs");
    if outputs.len() > 1 {
        writer.begin_object();
    }
    for (name, tensor) in outputs {
        if outputs.len() > 1 {
            writer.name(name);
        }
        Elements::new(name, tensor).write(writer, tensor.shape(), &mut 0)?;
    }
    if outputs.len() > 1 {
        writer.end_object();
    }
    Ok(())
}

/// The elements of an output.
struct Elements<'a> {
    data: &'a Data,
    is_bytes: bool,
}

impl<'a> Elements<'a> {
    fn new(name: &str, tensor: &'a Tensor) -> Elements<'a> {
        Elements {
            data: tensor.data(),
            is_bytes: name.ends_with(BYTES_SUFFIX),
        }
    }

    /// Writes the elements from `offset` on as nested arrays of this shape.
    fn write(&self, writer: &mut Writer, shape: &[usize], offset: &mut usize) -> Result<()> {
        let Some((&length, inner)) = shape.split_first() else {
            self.run(writer, *offset, 1)?;
            *offset += 1;
            return Ok(());
        };
        writer.begin_array();
        if inner.is_empty() {
            self.run(writer, *offset, length)?;
            *offset += length;
        } else {
            for _ in 0..length {
                self.write(writer, inner, offset)?;
            }
        }
        writer.end_array();
        Ok(())
    }

    /// Writes `count` elements from `start` on.
    fn run(&self, writer: &mut Writer, start: usize, count: usize) -> Result<()> {
        let range = start..start + count;
        match self.data {
            Data::F32(v) => v[range].iter().for_each(|&x| writer.general_f32(x)),
            Data::F64(v) => v[range].iter().for_each(|&x| writer.general_f64(x)),
            Data::I8(v) => v[range].iter().for_each(|&x| writer.signed(i64::from(x))),
            Data::I16(v) => v[range].iter().for_each(|&x| writer.signed(i64::from(x))),
            Data::I32(v) => v[range].iter().for_each(|&x| writer.signed(i64::from(x))),
            Data::I64(v) => v[range].iter().for_each(|&x| writer.signed(x)),
            Data::U8(v) => v[range].iter().for_each(|&x| writer.unsigned(u64::from(x))),
            Data::U16(v) => v[range].iter().for_each(|&x| writer.unsigned(u64::from(x))),
            Data::U32(v) => v[range].iter().for_each(|&x| writer.unsigned(u64::from(x))),
            Data::U64(v) => v[range].iter().for_each(|&x| writer.unsigned(x)),
            Data::Bool(v) => v[range].iter().for_each(|&x| writer.bool(x)),
            Data::String(v) if self.is_bytes => {
                for text in &v[range] {
                    writer.begin_object();
                    writer.name("b64");
                    writer.string(&STANDARD.encode(text));
                    writer.end_object();
                }
            }
            Data::String(v) => v[range].iter().for_each(|text| writer.string(text)),
            Data::F16(_) | Data::Bf16(_) if count == 0 => {}
            Data::F16(_) | Data::Bf16(_) => {
                return Err(WireError::new(
                    Code::InvalidArgument,
                    format!(
                        "Failed to write JSON value for tensor type: {}",
                        dtype_name(self.data.dtype())
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Body of the reply to `:classify`: for each example the classes with their scores.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when there are no examples.
pub fn encode_classification(result: &ClassificationResult) -> Result<Vec<u8>> {
    if result.classifications.is_empty() {
        let message = "Cannot convert empty ClassificationResults to JSON";
        return Err(WireError::invalid(message));
    }
    let mut writer = Writer::new(LINES, 256);
    writer.begin_object();
    writer.name("results");
    writer.begin_array();
    for example in &result.classifications {
        writer.set_layout(ROWS);
        writer.begin_array();
        for class in &example.classes {
            writer.begin_array();
            writer.string(&class.label);
            writer.general_f32(class.score);
            writer.end_array();
        }
        writer.end_array();
        writer.set_layout(LINES);
    }
    writer.end_array();
    writer.end_object();
    Ok(writer.finish())
}

/// Body of the reply to `:regress`: a value for each example.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when there are no examples.
pub fn encode_regression(result: &RegressionResult) -> Result<Vec<u8>> {
    if result.regressions.is_empty() {
        let message = "Cannot convert empty RegressionResults to JSON";
        return Err(WireError::invalid(message));
    }
    let mut writer = Writer::new(ROWS, 256);
    writer.begin_object();
    writer.name("results");
    writer.begin_array();
    for example in &result.regressions {
        writer.general_f32(example.value);
    }
    writer.end_array();
    writer.end_object();
    Ok(writer.finish())
}

/// Body of an error.
pub fn encode_error(message: &str) -> Vec<u8> {
    let mut writer = Writer::new(LINES, message.len() + 24);
    writer.begin_object();
    writer.name("error");
    writer.string(message);
    writer.end_object();
    writer.finish()
}
