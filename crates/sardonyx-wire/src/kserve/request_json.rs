//! The body of an infer request over HTTP: JSON, or JSON with binary tensors behind it, or one raw
//! tensor.

use prost::bytes::Bytes;
use sardonyx_tensor::{DType, Data, Tensor, element_count, with_data};

use super::infer::{InferInput, InferRequest, Parameter, RequestedOutput};
use super::{binary, dtype_of};
use crate::json::fill::{FillFault, Filler};
use crate::json::scan::{EMPTY, Fault, Number, Scanner};
use crate::{BytesTensor, Result, TensorSpec, Value, WireError};

/// Decodes the body of an infer request. `header_length` is the value of
/// [`super::HEADER_LENGTH`] when the header is there: how many bytes of the body are JSON, what
/// follows being binary tensors; 0 means that the whole body is the data of the one input in
/// `specs`.
///
/// Inputs have the shapes and types that the request claims; [`TensorSpec::check`] compares them
/// with the model's.
///
/// # Errors
/// [`crate::Code::InvalidArgument`], with Triton's words where it has any, for whatever is wrong
/// with the body; [`crate::Code::Unimplemented`] for tensors in shared memory.
pub fn decode_infer(
    body: &Bytes,
    header_length: Option<usize>,
    specs: &[TensorSpec],
) -> Result<InferRequest> {
    let (json, binary) = match header_length {
        None => (body.clone(), Bytes::new()),
        Some(0) => return raw(body, specs),
        Some(length) if length <= body.len() => (body.slice(..length), body.slice(length..)),
        Some(length) => {
            return Err(WireError::invalid(format!(
                "inference header size should be in range (0, {}), got: {length}",
                body.len()
            )));
        }
    };
    let mut reader = Reader {
        scanner: Scanner::new(&json),
        binary,
    };
    let request = reader.request()?;
    if reader.binary.is_empty() {
        return Ok(request);
    }
    Err(WireError::invalid(format!(
        "unexpected additional input data: {} bytes are behind those of the inputs",
        reader.binary.len()
    )))
}

/// A request that is nothing but the data of its one input.
fn raw(body: &Bytes, specs: &[TensorSpec]) -> Result<InferRequest> {
    let [spec] = specs else {
        return Err(WireError::invalid(format!(
            "raw input needs a model of one input, this one has {}",
            specs.len()
        )));
    };
    let value = if spec.takes_bytes || spec.dtype == DType::String {
        let shape = vec![1; if spec.takes_bytes { 1 } else { spec.dims.len() }];
        Value::Bytes(BytesTensor::new(shape, vec![body.clone()])?)
    } else {
        let shape = raw_shape(spec, body.len())?;
        binary::decode(spec.dtype, shape, body.clone())?
    };
    Ok(InferRequest {
        inputs: vec![InferInput {
            name: spec.name.clone(),
            value,
        }],
        binary_output: true,
        ..InferRequest::default()
    })
}

/// The shape that gives a tensor of this size: an open dimension is whatever is left over; of
/// several, all but the last are 1.
fn raw_shape(spec: &TensorSpec, n_bytes: usize) -> Result<Vec<usize>> {
    let mut shape: Vec<usize> = spec.dims.iter().map(|dim| dim.unwrap_or(1)).collect();
    let size = spec.dtype.size_bytes().unwrap_or(1);
    let one = element_count(&shape)
        .ok()
        .and_then(|count| count.checked_mul(size))
        .unwrap_or(0);
    let open = spec.dims.iter().rposition(Option::is_none);
    match open {
        Some(at) if one > 0 && n_bytes > 0 && n_bytes.is_multiple_of(one) => {
            shape[at] = n_bytes / one
        }
        None if one == n_bytes => {}
        _ => {
            return Err(WireError::invalid(format!(
                "input byte size mismatch for input '{}'. Expected {one}, got {n_bytes}",
                spec.name
            )));
        }
    }
    Ok(shape)
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    /// What is left of the binary tensors.
    binary: Bytes,
}

/// What has been read of an input.
#[derive(Default)]
struct InputParts<'a> {
    name: Option<String>,
    datatype: Option<String>,
    shape: Option<Vec<usize>>,
    value: Option<Value>,
    /// The text of data that came before it was known what it is.
    data: Option<&'a [u8]>,
    binary_size: Option<usize>,
}

impl<'a> Reader<'a> {
    fn request(&mut self) -> Result<InferRequest> {
        let mut request = InferRequest::default();
        let mut has_inputs = false;
        if self.scanner.peek().is_none() {
            return Err(syntax(self.scanner.fault(EMPTY)));
        }
        self.object("the request", &mut |reader, name| {
            match name {
                "id" => request.id = reader.text("id")?,
                "parameters" => {
                    let parameters = reader.parameters()?;
                    parameters
                        .into_iter()
                        .try_for_each(|(name, value)| request.set(name, value))?;
                }
                "inputs" => {
                    has_inputs = true;
                    reader.array("inputs", &mut |reader| {
                        let input = reader.input()?;
                        request.inputs.push(input);
                        Ok(())
                    })?;
                }
                "outputs" => reader.array("outputs", &mut |reader| {
                    let output = reader.output()?;
                    request.outputs.push(output);
                    Ok(())
                })?,
                _ => reader.scanner.pass_value().map_err(syntax)?,
            }
            Ok(())
        })?;
        if !has_inputs {
            return Err(missing("inputs", "inputs"));
        }
        Ok(request)
    }

    fn object(
        &mut self,
        what: &str,
        member: &mut dyn FnMut(&mut Reader<'a>, &str) -> Result<()>,
    ) -> Result<()> {
        if !self.scanner.eat(b'{') {
            return Err(self.unexpected(what, "non-object as object"));
        }
        let mut more = !self.scanner.eat(b'}');
        while more {
            let name = self.scanner.name().map_err(syntax)?;
            member(self, &String::from_utf8_lossy(&name))?;
            more = self.scanner.another_member().map_err(syntax)?;
        }
        Ok(())
    }

    fn array(
        &mut self,
        what: &str,
        element: &mut dyn FnMut(&mut Reader<'a>) -> Result<()>,
    ) -> Result<()> {
        if !self.scanner.eat(b'[') {
            return Err(self.unexpected(what, "non-array as array"));
        }
        let mut more = !self.scanner.eat(b']');
        while more {
            element(self)?;
            more = self.scanner.another_element().map_err(syntax)?;
        }
        Ok(())
    }

    /// A value of another kind; or no value at all.
    fn unexpected(&mut self, what: &str, problem: &str) -> WireError {
        match self.scanner.pass_value() {
            Err(fault) => syntax(fault),
            Ok(()) => WireError::invalid(format!(
                "Unable to parse '{what}': attempt to access JSON {problem}"
            )),
        }
    }

    fn text(&mut self, what: &str) -> Result<String> {
        if self.scanner.peek() != Some(b'"') {
            return Err(self.unexpected(what, "non-string as string"));
        }
        let text = self.scanner.string().map_err(syntax)?.into_owned();
        String::from_utf8(text).map_err(|_| WireError::invalid(format!("'{what}' is not UTF-8")))
    }

    fn size(&mut self, what: &str) -> Result<usize> {
        let start = {
            self.scanner.peek();
            self.scanner.at
        };
        if let Ok(Number::Decimal(decimal)) = self.scanner.number() {
            let value = decimal.to_integer(&self.scanner.bytes[start..self.scanner.at]);
            if let Some(value) = value.and_then(|value| usize::try_from(value).ok()) {
                return Ok(value);
            }
        }
        self.scanner.at = start;
        Err(self.unexpected(what, "non-unsigned-integer as unsigned-integer"))
    }

    fn parameters(&mut self) -> Result<Vec<(String, Parameter)>> {
        let mut found = Vec::new();
        self.object("parameters", &mut |reader, name| {
            let value = reader.parameter(name)?;
            found.push((name.to_owned(), value));
            Ok(())
        })?;
        Ok(found)
    }

    fn parameter(&mut self, name: &str) -> Result<Parameter> {
        match self.scanner.peek() {
            Some(b'"') => self.text(name).map(Parameter::Text),
            Some(first @ (b't' | b'f')) => {
                self.scanner.pass_value().map_err(syntax)?;
                Ok(Parameter::Bool(first == b't'))
            }
            Some(b'-' | b'0'..=b'9') => {
                let start = self.scanner.at;
                let number = self.scanner.number().map_err(syntax)?;
                let text = &self.scanner.bytes[start..self.scanner.at];
                Ok(parameter_number(number, text))
            }
            _ => Err(self.unexpected(name, "value that is neither text, number nor boolean")),
        }
    }

    fn output(&mut self) -> Result<RequestedOutput> {
        let mut output = RequestedOutput::default();
        let mut has_name = false;
        self.object("outputs", &mut |reader, name| {
            match name {
                "name" => {
                    output.name = reader.text("name")?;
                    has_name = true;
                }
                "parameters" => {
                    let parameters = reader.parameters()?;
                    parameters
                        .iter()
                        .try_for_each(|(name, value)| output.set(name, value))?;
                }
                _ => reader.scanner.pass_value().map_err(syntax)?,
            }
            Ok(())
        })?;
        if has_name {
            Ok(output)
        } else {
            Err(missing("outputs", "name"))
        }
    }

    fn input(&mut self) -> Result<InferInput> {
        let mut parts = InputParts::default();
        self.object("inputs", &mut |reader, name| {
            match name {
                "name" => parts.name = Some(reader.text("name")?),
                "datatype" => parts.datatype = Some(reader.text("datatype")?),
                "shape" => {
                    let mut shape = Vec::new();
                    reader.array("shape", &mut |reader| {
                        shape.push(reader.size("shape")?);
                        Ok(())
                    })?;
                    parts.shape = Some(shape);
                }
                "parameters" => {
                    for (name, value) in reader.parameters()? {
                        parts.set(&name, &value)?;
                    }
                }
                "data" => reader.data(&mut parts)?,
                _ => reader.scanner.pass_value().map_err(syntax)?,
            }
            Ok(())
        })?;
        self.finish(parts)
    }

    /// Reads `data` at once when it is known what it is.
    fn data(&mut self, parts: &mut InputParts<'a>) -> Result<()> {
        if let (Some(datatype), Some(shape)) = (&parts.datatype, &parts.shape) {
            let dtype = known(datatype, parts.name.as_deref())?;
            parts.value = Some(data(&mut self.scanner, dtype, shape)?);
        } else {
            parts.data = Some(self.scanner.value_text().map_err(syntax)?);
        }
        Ok(())
    }

    fn finish(&mut self, parts: InputParts<'a>) -> Result<InferInput> {
        let name = parts.name.ok_or_else(|| missing("inputs", "name"))?;
        let shape = parts.shape.ok_or_else(|| missing("inputs", "shape"))?;
        let datatype = parts
            .datatype
            .ok_or_else(|| missing("inputs", "datatype"))?;
        let dtype = known(&datatype, Some(&name))?;
        let value = match (parts.binary_size, parts.value, parts.data) {
            (Some(size), None, None) => {
                if size > self.binary.len() {
                    return Err(WireError::invalid(format!(
                        "unexpected size for input '{name}', expecting {} additional bytes",
                        size - self.binary.len()
                    )));
                }
                let bytes = self.binary.split_to(size);
                binary::decode(dtype, shape, bytes).map_err(|error| {
                    WireError::invalid(format!("input '{name}': {}", error.message))
                })?
            }
            (None, Some(value), None) => value,
            (None, None, Some(text)) => data(&mut Scanner::new(text), dtype, &shape)?,
            (None, None, None) => return Err(missing("inputs", "data")),
            _ => {
                return Err(WireError::invalid(format!(
                    "input '{name}' has its data twice"
                )));
            }
        };
        Ok(InferInput { name, value })
    }
}

impl InputParts<'_> {
    fn set(&mut self, name: &str, value: &Parameter) -> Result<()> {
        if name.starts_with("shared_memory_") {
            return Err(no_shared_memory());
        }
        if name == "binary_data_size" {
            let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or_else(|| {
                WireError::invalid("parameter 'binary_data_size' must be an unsigned integer")
            })?;
            self.binary_size = Some(size);
        }
        Ok(())
    }
}

pub(super) fn no_shared_memory() -> WireError {
    WireError::unimplemented("tensors in shared memory are not supported")
}

fn parameter_number(number: Number, text: &[u8]) -> Parameter {
    let decimal = match number {
        Number::Special(value) => return Parameter::Number(value),
        Number::Decimal(decimal) => decimal,
    };
    let integer = decimal.to_integer(text);
    if let Some(value) = integer.and_then(|value| i64::try_from(value).ok()) {
        return Parameter::Integer(value);
    }
    if let Some(value) = integer.and_then(|value| u64::try_from(value).ok()) {
        return Parameter::Unsigned(value);
    }
    Parameter::Number(decimal.to_f64(text).unwrap_or(f64::INFINITY))
}

fn known(datatype: &str, input: Option<&str>) -> Result<DType> {
    dtype_of(datatype).ok_or_else(|| {
        let input = input.unwrap_or_default();
        WireError::invalid(format!("invalid datatype for input {input}"))
    })
}

fn missing(what: &str, member: &str) -> WireError {
    WireError::invalid(format!(
        "Unable to parse '{what}': attempt to access non-existing object member '{member}'"
    ))
}

fn syntax(fault: Fault) -> WireError {
    WireError::invalid(format!(
        "failed to parse the request JSON buffer: {} at {}",
        fault.problem, fault.at
    ))
}

/// Reads nested or flat elements of this type and shape.
fn data(scanner: &mut Scanner<'_>, dtype: DType, shape: &[usize]) -> Result<Value> {
    let wrong = |problem: &str| WireError::invalid(format!("Unable to parse 'data': {problem}"));
    let count = element_count(shape).map_err(|error| wrong(&error.to_string()))?;
    let mut elements = Data::zeros(dtype, 0);
    let mut bytes: Vec<Bytes> = Vec::new();
    // An element takes a digit and a comma at least.
    let room = count.min((scanner.bytes.len() - scanner.at) / 2);
    let mut filler = Filler::new(scanner, false);
    let filled = if dtype == DType::String {
        filler.fill(0, &mut bytes)
    } else {
        with_data!(&mut elements, values => {
            values.reserve(room);
            filler.fill(0, values)
        })
    };
    let found = filler.shape.dims().to_vec();
    filled.map_err(|fault| refusal(fault, dtype))?;
    let n_found = if dtype == DType::String {
        bytes.len()
    } else {
        elements.len()
    };
    let is_flat = found.len() <= 1;
    if n_found != count || !is_flat && found != shape && count > 0 {
        return Err(wrong("Shape does not match true shape of 'data' field"));
    }
    if dtype == DType::String {
        return BytesTensor::new(shape.to_vec(), bytes).map(Value::Bytes);
    }
    let tensor = Tensor::from_data(shape, elements).map_err(|error| wrong(&error.to_string()))?;
    Ok(Value::Tensor(tensor))
}

fn refusal(fault: FillFault, dtype: DType) -> WireError {
    let problem = match fault {
        FillFault::Syntax(fault) => return syntax(fault),
        FillFault::Unsupported(_) => {
            let name = super::datatype(dtype);
            let problem = format!("{name} has no JSON form, binary data must be used");
            return WireError::invalid(format!("Unable to parse 'data': {problem}"));
        }
        FillFault::Type(_) | FillFault::NotBase64(_) | FillFault::Base64 => match dtype {
            DType::Bool => "attempt to access JSON non-boolean as boolean",
            DType::String => "attempt to access JSON non-string as string",
            dtype if dtype.is_float() => "attempt to access JSON non-number as double",
            DType::U8 | DType::U16 | DType::U32 | DType::U64 => {
                "attempt to access JSON non-unsigned-integer as unsigned-integer"
            }
            _ => "attempt to access JSON non-signed-integer as signed-integer",
        },
        FillFault::Level { .. }
        | FillFault::List { .. }
        | FillFault::Length { .. }
        | FillFault::Depth => "Shape does not match true shape of 'data' field",
    };
    WireError::invalid(format!("Unable to parse 'data': {problem}"))
}
