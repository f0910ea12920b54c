//! Infer requests and replies as gRPC messages.

use prost::bytes::Bytes;
use sardonyx_tensor::{DType, Data, Tensor, element_count};

use super::infer::{InferInput, InferReply, InferRequest, Parameter, RequestedOutput};
use super::request_json::no_shared_memory;
use super::{binary, datatype, dtype_of};
use crate::proto::inference::{
    InferInputTensor, InferOutputTensor, InferParameter, InferTensorContents, ModelInferRequest,
    ModelInferResponse, ParameterChoice,
};
use crate::{BytesTensor, Result, Value, WireError, raw};

/// Decodes a `ModelInferRequest` (its `model_name` and `model_version` are for the caller).
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when a type is not known, a shape and its data do not agree,
/// or data is both raw and not; [`crate::Code::Unimplemented`] for tensors in shared memory.
pub fn from_proto(request: ModelInferRequest) -> Result<InferRequest> {
    let mut found = InferRequest {
        id: request.id,
        ..InferRequest::default()
    };
    for (name, value) in request.parameters {
        let value = parameter(&name, value)?;
        found.set(name, value)?;
    }
    let is_raw = !request.raw_input_contents.is_empty();
    if is_raw && request.raw_input_contents.len() != request.inputs.len() {
        return Err(WireError::invalid(format!(
            "expected {} raw input contents, one for each input, found {}",
            request.inputs.len(),
            request.raw_input_contents.len()
        )));
    }
    let mut raw = request.raw_input_contents.into_iter();
    for input in request.inputs {
        let raw = if is_raw { raw.next() } else { None };
        found.inputs.push(decode_input(input, raw)?);
    }
    for output in request.outputs {
        let mut wanted = RequestedOutput {
            name: output.name,
            ..RequestedOutput::default()
        };
        for (name, value) in output.parameters {
            let value = parameter(&name, value)?;
            wanted.set(&name, &value)?;
        }
        found.outputs.push(wanted);
    }
    Ok(found)
}

fn parameter(name: &str, parameter: InferParameter) -> Result<Parameter> {
    Ok(match parameter.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Parameter::Bool(value),
        Some(ParameterChoice::Int64Param(value)) => Parameter::Integer(value),
        Some(ParameterChoice::StringParam(value)) => Parameter::Text(value),
        Some(ParameterChoice::DoubleParam(value)) => Parameter::Number(value),
        Some(ParameterChoice::Uint64Param(value)) => Parameter::Unsigned(value),
        None => {
            return Err(WireError::invalid(format!(
                "parameter '{name}' has no value"
            )));
        }
    })
}

fn decode_input(input: InferInputTensor, raw: Option<Bytes>) -> Result<InferInput> {
    let name = input.name;
    if input
        .parameters
        .keys()
        .any(|name| name.starts_with("shared_memory_"))
    {
        return Err(no_shared_memory());
    }
    let dtype = dtype_of(&input.datatype)
        .ok_or_else(|| WireError::invalid(format!("invalid datatype for input {name}")))?;
    let size = |&size: &i64| {
        usize::try_from(size)
            .map_err(|_| WireError::invalid(format!("input '{name}' has a dimension of {size}")))
    };
    let shape = input
        .shape
        .iter()
        .map(size)
        .collect::<Result<Vec<usize>>>()?;
    let value = match (raw, input.contents) {
        (Some(_), Some(_)) => {
            return Err(WireError::invalid(format!(
                "contents field must not be specified when using raw_input_contents for '{name}'"
            )));
        }
        (Some(bytes), None) => binary::decode(dtype, shape, bytes),
        (None, contents) => decode_contents(dtype, shape, contents.unwrap_or_default()),
    };
    let value = value.map_err(|error| {
        WireError::new(error.code, format!("input '{name}': {}", error.message))
    })?;
    Ok(InferInput { name, value })
}

fn decode_contents(
    dtype: DType,
    shape: Vec<usize>,
    contents: InferTensorContents,
) -> Result<Value> {
    let count = element_count(&shape).map_err(|error| WireError::invalid(error.to_string()))?;
    let (ints, uints) = (contents.int_contents, contents.uint_contents);
    let data = match dtype {
        DType::Bool => Data::Bool(contents.bool_contents),
        DType::I8 => Data::I8(narrowed(&ints)?),
        DType::I16 => Data::I16(narrowed(&ints)?),
        DType::I32 => Data::I32(ints),
        DType::I64 => Data::I64(contents.int64_contents),
        DType::U8 => Data::U8(narrowed(&uints)?),
        DType::U16 => Data::U16(narrowed(&uints)?),
        DType::U32 => Data::U32(uints),
        DType::U64 => Data::U64(contents.uint64_contents),
        DType::F32 => Data::F32(contents.fp32_contents),
        DType::F64 => Data::F64(contents.fp64_contents),
        DType::String => {
            return BytesTensor::new(shape, contents.bytes_contents).map(Value::Bytes);
        }
        DType::F16 | DType::Bf16 => {
            return Err(WireError::invalid(format!(
                "{} must be in raw_input_contents",
                datatype(dtype)
            )));
        }
    };
    if data.len() != count {
        return Err(WireError::invalid(format!(
            "shape {shape:?} needs {count} elements, found {}",
            data.len()
        )));
    }
    Tensor::from_data(shape, data)
        .map(Value::Tensor)
        .map_err(|error| WireError::invalid(error.to_string()))
}

fn narrowed<W: Copy + std::fmt::Display, T: TryFrom<W>>(values: &[W]) -> Result<Vec<T>> {
    let narrow = |&value: &W| {
        let message = || WireError::invalid(format!("{value} is out of the range of its type"));
        T::try_from(value).map_err(|_| message())
    };
    values.iter().map(narrow).collect()
}

/// Encodes a reply, its outputs as raw contents.
pub fn to_proto(reply: &InferReply<'_>) -> ModelInferResponse {
    let output = |output: &super::ReplyOutput<'_>| InferOutputTensor {
        name: output.name.to_owned(),
        datatype: datatype(output.tensor.dtype()).to_owned(),
        shape: output
            .tensor
            .shape()
            .iter()
            .map(|&dim| dim as i64)
            .collect(),
        ..InferOutputTensor::default()
    };
    let contents = |output: &super::ReplyOutput<'_>| raw::encode(output.tensor.data()).into();
    ModelInferResponse {
        model_name: reply.model_name.to_owned(),
        model_version: reply.model_version.to_owned(),
        id: reply.id.to_owned(),
        outputs: reply.outputs.iter().map(output).collect(),
        raw_output_contents: reply.outputs.iter().map(contents).collect(),
        ..ModelInferResponse::default()
    }
}
