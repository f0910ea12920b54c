use crate::proto::tensorflow::{DataType, SignatureDef, TensorInfo, TensorProto};
use crate::{Result, TensorSpec, Value, WireError};
use sardonyx_tensor::{DType, Tensor};

/// Where the elements of an encoded tensor go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Into the typed field of their type, as TensorFlow Serving does when it is not told otherwise.
    Typed,
    /// Into `tensor_content` (strings go into `string_val` all the same).
    Content,
}

/// TensorFlow's element type for ours.
pub fn data_type(dtype: DType) -> DataType {
    let _ = dtype;
    DataType::Float
}

/// TensorFlow's name of an element type, as its error texts have it: `float`, `int64`, `half`.
pub fn dtype_name(dtype: DType) -> &'static str {
    let _ = dtype;
    ""
}

/// Decodes a tensor from either encoding. Strings come out as [`Value::Bytes`].
pub fn tensor_from_proto(proto: TensorProto) -> Result<Value> {
    let _ = proto;
    Err(WireError::unimplemented(""))
}

/// Encodes a tensor.
pub fn tensor_to_proto(tensor: &Tensor, encoding: Encoding) -> TensorProto {
    let _ = (tensor, encoding);
    TensorProto::default()
}

/// What a signature says of a tensor.
pub fn tensor_info(spec: &TensorSpec) -> TensorInfo {
    let _ = spec;
    TensorInfo::default()
}

/// A signature of these inputs and outputs.
pub fn signature_def(method: &str, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> SignatureDef {
    let _ = (method, inputs, outputs);
    SignatureDef::default()
}
