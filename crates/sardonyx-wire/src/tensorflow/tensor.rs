//! `TensorProto`s, in both of their encodings.

use prost::bytes::Bytes;
use sardonyx_tensor::{DType, Data, Tensor, bf16, element_count, f16};

use crate::proto::tensorflow::{
    DataType, Dim, SignatureDef, TensorInfo, TensorProto, TensorShapeProto,
};
use crate::raw;
use crate::{BytesTensor, Code, Result, TensorSpec, Value, WireError};

/// Where the elements of an encoded tensor go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Into the typed field of their type, as TensorFlow Serving does when it is not told
    /// otherwise.
    Typed,
    /// Into `tensor_content` (strings go into `string_val` all the same).
    Content,
}

/// Every element type with TensorFlow's number and name for it.
const TYPES: [(DType, DataType, &str); 14] = [
    (DType::F32, DataType::Float, "float"),
    (DType::F64, DataType::Double, "double"),
    (DType::F16, DataType::Half, "half"),
    (DType::Bf16, DataType::Bfloat16, "bfloat16"),
    (DType::I8, DataType::Int8, "int8"),
    (DType::I16, DataType::Int16, "int16"),
    (DType::I32, DataType::Int32, "int32"),
    (DType::I64, DataType::Int64, "int64"),
    (DType::U8, DataType::Uint8, "uint8"),
    (DType::U16, DataType::Uint16, "uint16"),
    (DType::U32, DataType::Uint32, "uint32"),
    (DType::U64, DataType::Uint64, "uint64"),
    (DType::Bool, DataType::Bool, "bool"),
    (DType::String, DataType::String, "string"),
];

fn row(dtype: DType) -> &'static (DType, DataType, &'static str) {
    let row = TYPES.iter().find(|row| row.0 == dtype);
    row.expect("every element type has a row")
}

/// TensorFlow's element type for ours.
pub fn data_type(dtype: DType) -> DataType {
    row(dtype).1
}

/// TensorFlow's name of an element type, as its error texts have it: `float`, `int64`, `half`.
pub fn dtype_name(dtype: DType) -> &'static str {
    row(dtype).2
}

/// Decodes a tensor from either encoding. Fewer typed values than elements mean that the last one
/// is repeated. Strings come out as [`Value::Bytes`], slices of what was received.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when the shape is not known, has too many elements, or is not
/// the data's; [`crate::Code::Unimplemented`] for element types that there are none of here
/// (complex, quantised). A tensor of which one value is repeated may be no larger than
/// [`MAX_REPEATED`] elements: it is the one kind that no bytes back.
pub fn tensor_from_proto(proto: TensorProto) -> Result<Value> {
    let dtype = dtype_of(proto.dtype)?;
    let shape = shape_of(proto.tensor_shape.as_ref())?;
    let count = element_count(&shape).map_err(|error| WireError::invalid(error.to_string()))?;
    if dtype == DType::String {
        let values = repeated(proto.string_val, count, Bytes::new())?;
        return BytesTensor::new(shape, values).map(Value::Bytes);
    }
    let data = if proto.tensor_content.is_empty() {
        typed(proto, dtype, count)?
    } else {
        raw::decode(dtype, &proto.tensor_content, count)?
    };
    Tensor::from_data(shape, data)
        .map(Value::Tensor)
        .map_err(|error| WireError::invalid(error.to_string()))
}

/// Most elements of a tensor whose message has fewer.
pub const MAX_REPEATED: usize = 1 << 20;

fn dtype_of(number: i32) -> Result<DType> {
    let row = TYPES.iter().find(|row| row.1 as i32 == number);
    row.map(|row| row.0).ok_or_else(|| {
        let code = if number == 0 {
            Code::InvalidArgument
        } else {
            Code::Unimplemented
        };
        let name =
            DataType::try_from(number).map_or(format!("{number}"), |found| format!("{found:?}"));
        let message = format!("tensors of type {name} are not supported");
        WireError::new(code, message)
    })
}

fn shape_of(shape: Option<&TensorShapeProto>) -> Result<Vec<usize>> {
    let Some(shape) = shape else {
        return Ok(Vec::new());
    };
    if shape.unknown_rank {
        return Err(WireError::invalid("the shape of a tensor must be known"));
    }
    let dim = |dim: &Dim| {
        let size = usize::try_from(dim.size);
        size.map_err(|_| WireError::invalid(format!("a tensor has a dimension of {}", dim.size)))
    };
    shape.dim.iter().map(dim).collect()
}

/// The elements in the typed field of their type.
fn typed(proto: TensorProto, dtype: DType, count: usize) -> Result<Data> {
    let ints = proto.int_val;
    Ok(match dtype {
        DType::F32 => Data::F32(repeated(proto.float_val, count, 0.0)?),
        DType::F64 => Data::F64(repeated(proto.double_val, count, 0.0)?),
        DType::I64 => Data::I64(repeated(proto.int64_val, count, 0)?),
        DType::U32 => Data::U32(repeated(proto.uint32_val, count, 0)?),
        DType::U64 => Data::U64(repeated(proto.uint64_val, count, 0)?),
        DType::Bool => Data::Bool(repeated(proto.bool_val, count, false)?),
        DType::I32 => Data::I32(repeated(ints, count, 0)?),
        DType::I16 => Data::I16(repeated(narrowed(&ints)?, count, 0)?),
        DType::I8 => Data::I8(repeated(narrowed(&ints)?, count, 0)?),
        DType::U8 => Data::U8(repeated(narrowed(&ints)?, count, 0)?),
        DType::U16 => Data::U16(repeated(narrowed(&ints)?, count, 0)?),
        DType::F16 => {
            let bits = narrowed::<u16>(&proto.half_val)?;
            let values = bits.into_iter().map(f16::from_bits).collect();
            Data::F16(repeated(values, count, f16::ZERO)?)
        }
        DType::Bf16 => {
            let bits = narrowed::<u16>(&proto.half_val)?;
            let values = bits.into_iter().map(bf16::from_bits).collect();
            Data::Bf16(repeated(values, count, bf16::ZERO)?)
        }
        DType::String => Data::String(Vec::new()),
    })
}

fn narrowed<T: TryFrom<i32>>(values: &[i32]) -> Result<Vec<T>> {
    let narrow = |&value: &i32| {
        let message = || WireError::invalid(format!("{value} is out of the range of its type"));
        T::try_from(value).map_err(|_| message())
    };
    values.iter().map(narrow).collect()
}

/// `values` with the last one repeated up to `count`; `zero` when there is none.
fn repeated<T: Clone>(mut values: Vec<T>, count: usize, zero: T) -> Result<Vec<T>> {
    if values.len() > count {
        return Err(WireError::invalid(format!(
            "a tensor of {count} elements has {} values",
            values.len()
        )));
    }
    if values.len() < count {
        if count > MAX_REPEATED {
            return Err(WireError::invalid(format!(
                "a tensor of {count} elements has only {} values, and more than {MAX_REPEATED} \
                 are not made up",
                values.len()
            )));
        }
        let last = values.last().cloned().unwrap_or(zero);
        values.resize(count, last);
    }
    Ok(values)
}

/// Encodes a tensor.
pub fn tensor_to_proto(tensor: &Tensor, encoding: Encoding) -> TensorProto {
    let mut proto = TensorProto {
        dtype: data_type(tensor.dtype()) as i32,
        tensor_shape: Some(shape_to_proto(
            tensor.shape().iter().map(|&dim| to_i64(dim)),
        )),
        ..TensorProto::default()
    };
    if let Data::String(values) = tensor.data() {
        let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
        proto.string_val = values.iter().map(bytes).collect();
    } else if encoding == Encoding::Content {
        proto.tensor_content = raw::encode(tensor.data()).into();
    } else {
        fill_typed(&mut proto, tensor.data());
    }
    proto
}

fn fill_typed(proto: &mut TensorProto, data: &Data) {
    match data {
        Data::F32(values) => proto.float_val.clone_from(values),
        Data::F64(values) => proto.double_val.clone_from(values),
        Data::I64(values) => proto.int64_val.clone_from(values),
        Data::U32(values) => proto.uint32_val.clone_from(values),
        Data::U64(values) => proto.uint64_val.clone_from(values),
        Data::Bool(values) => proto.bool_val.clone_from(values),
        Data::I32(values) => proto.int_val.clone_from(values),
        Data::I16(values) => proto.int_val = values.iter().map(|&x| i32::from(x)).collect(),
        Data::I8(values) => proto.int_val = values.iter().map(|&x| i32::from(x)).collect(),
        Data::U8(values) => proto.int_val = values.iter().map(|&x| i32::from(x)).collect(),
        Data::U16(values) => proto.int_val = values.iter().map(|&x| i32::from(x)).collect(),
        Data::F16(values) => {
            proto.half_val = values.iter().map(|x| i32::from(x.to_bits())).collect();
        }
        Data::Bf16(values) => {
            proto.half_val = values.iter().map(|x| i32::from(x.to_bits())).collect();
        }
        Data::String(_) => {}
    }
}

fn to_i64(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn shape_to_proto(dims: impl Iterator<Item = i64>) -> TensorShapeProto {
    let dim = |size| Dim {
        size,
        name: String::new(),
    };
    TensorShapeProto {
        dim: dims.map(dim).collect(),
        unknown_rank: false,
    }
}

/// What a signature says of a tensor.
pub fn tensor_info(spec: &TensorSpec) -> TensorInfo {
    TensorInfo {
        name: spec.name.clone(),
        dtype: data_type(spec.dtype) as i32,
        tensor_shape: Some(shape_to_proto(spec.wire_dims().into_iter())),
    }
}

/// A signature of these inputs and outputs.
pub fn signature_def(method: &str, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> SignatureDef {
    let infos = |specs: &[TensorSpec]| {
        let info = |spec: &TensorSpec| (spec.name.clone(), tensor_info(spec));
        specs.iter().map(info).collect()
    };
    SignatureDef {
        inputs: infos(inputs),
        outputs: infos(outputs),
        method_name: method.to_owned(),
    }
}
