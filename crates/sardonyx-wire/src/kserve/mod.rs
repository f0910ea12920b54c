//! The Open Inference Protocol (KServe v2) with Triton's extensions: infer requests and replies as
//! JSON, as JSON with binary tensors, and as gRPC messages; the JSON of everything else.
//!
//! Bad input is the client's fault ([`crate::Code::InvalidArgument`]) also where Triton answers
//! with a server error.

mod binary;
mod classification;
mod document;
mod grpc;
mod infer;
mod reply;
mod request_json;

pub use classification::classify;
pub use document::{
    IndexRequest, LoadRequest, config_from_json, decode_index_request, decode_load_request,
    encode_config, encode_error, encode_index, encode_model_metadata, encode_server_metadata,
    encode_statistics,
};
pub use grpc::{from_proto, to_proto};
pub use infer::{
    InferInput, InferReply, InferRequest, Parameter, ReplyOutput, RequestedOutput, SequenceId,
};
pub use reply::{EncodedReply, encode_infer};
pub use request_json::decode_infer;

use sardonyx_tensor::DType;

/// The extensions that `GET /v2` names when all of them are there.
pub const EXTENSIONS: [&str; 8] = [
    "classification",
    "sequence",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
];

/// Name of the HTTP header that says how many bytes of a body are JSON.
pub const HEADER_LENGTH: &str = "Inference-Header-Content-Length";

/// The protocol's name of an element type: `FP32`, `BYTES`.
pub const fn datatype(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "FP32",
        DType::F64 => "FP64",
        DType::F16 => "FP16",
        DType::Bf16 => "BF16",
        DType::I8 => "INT8",
        DType::I16 => "INT16",
        DType::I32 => "INT32",
        DType::I64 => "INT64",
        DType::U8 => "UINT8",
        DType::U16 => "UINT16",
        DType::U32 => "UINT32",
        DType::U64 => "UINT64",
        DType::Bool => "BOOL",
        DType::String => "BYTES",
    }
}

/// The element type of this name.
pub fn dtype_of(name: &str) -> Option<DType> {
    DType::ALL
        .into_iter()
        .find(|&dtype| datatype(dtype) == name)
}
