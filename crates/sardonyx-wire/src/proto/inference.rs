//! `inference.GRPCInferenceService`: the Open Inference Protocol and Triton's extensions of it,
//! but for configuration and statistics.

use std::collections::BTreeMap;

use prost::bytes::Bytes;

use super::model_config::ModelConfig;

/// A message without fields: what `ServerLive`, `ServerReady` and the removals ask, and what loads and unloads answer.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Empty {}

/// Answer of `ServerLive`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ServerLiveResponse {
    /// Whether the server runs.
    #[prost(bool, tag = "1")]
    pub live: bool,
}

/// Answer of `ServerReady`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ServerReadyResponse {
    /// Whether it answers requests.
    #[prost(bool, tag = "1")]
    pub ready: bool,
}

/// `ModelReady`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelReadyRequest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version; empty for the server's choice.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// Answer of `ModelReady`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ModelReadyResponse {
    /// Whether it answers requests.
    #[prost(bool, tag = "1")]
    pub ready: bool,
}

/// Answer of `ServerMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServerMetadataResponse {
    /// Name of the server.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// The extensions of the protocol that it has.
    #[prost(string, repeated, tag = "3")]
    pub extensions: Vec<String>,
}

/// `ModelMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelMetadataRequest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version; empty for the server's choice.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// Answer of `ModelMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelMetadataResponse {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its versions.
    #[prost(string, repeated, tag = "2")]
    pub versions: Vec<String>,
    /// What kind of model it is.
    #[prost(string, tag = "3")]
    pub platform: String,
    /// Its inputs.
    #[prost(message, repeated, tag = "4")]
    pub inputs: Vec<TensorMetadata>,
    /// Its outputs.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<TensorMetadata>,
}

/// What a model says of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorMetadata {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its element type: `FP32`.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Its shape; -1 for any size.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
}

/// A parameter of a request or of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferParameter {
    /// Its value.
    #[prost(oneof = "ParameterChoice", tags = "1, 2, 3, 4, 5")]
    pub parameter_choice: Option<ParameterChoice>,
}

/// The kinds of an [`InferParameter`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ParameterChoice {
    /// A truth value.
    #[prost(bool, tag = "1")]
    BoolParam(bool),
    /// An integer.
    #[prost(int64, tag = "2")]
    Int64Param(i64),
    /// A text.
    #[prost(string, tag = "3")]
    StringParam(String),
    /// A number.
    #[prost(double, tag = "4")]
    DoubleParam(f64),
    /// An integer without sign.
    #[prost(uint64, tag = "5")]
    Uint64Param(u64),
}

/// Elements of a tensor, in the field of their type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferTensorContents {
    /// Elements of `BOOL`.
    #[prost(bool, repeated, tag = "1")]
    pub bool_contents: Vec<bool>,
    /// Elements of `INT8`, `INT16` and `INT32`.
    #[prost(int32, repeated, tag = "2")]
    pub int_contents: Vec<i32>,
    /// Elements of `INT64`.
    #[prost(int64, repeated, tag = "3")]
    pub int64_contents: Vec<i64>,
    /// Elements of `UINT8`, `UINT16` and `UINT32`.
    #[prost(uint32, repeated, tag = "4")]
    pub uint_contents: Vec<u32>,
    /// Elements of `UINT64`.
    #[prost(uint64, repeated, tag = "5")]
    pub uint64_contents: Vec<u64>,
    /// Elements of `FP32`.
    #[prost(float, repeated, tag = "6")]
    pub fp32_contents: Vec<f32>,
    /// Elements of `FP64`.
    #[prost(double, repeated, tag = "7")]
    pub fp64_contents: Vec<f64>,
    /// Elements of `BYTES`.
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub bytes_contents: Vec<Bytes>,
}

/// An input.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferInputTensor {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its element type.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Its shape.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Its parameters.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    /// Its elements, unless they are raw.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<InferTensorContents>,
}

/// An output that is wanted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferRequestedOutputTensor {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How it is wanted.
    #[prost(btree_map = "string, message", tag = "2")]
    pub parameters: BTreeMap<String, InferParameter>,
}

/// `ModelInfer`, and each message that a client streams to `ModelStreamInfer`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelInferRequest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// Its version; empty for the server's choice.
    #[prost(string, tag = "2")]
    pub model_version: String,
    /// What the client calls the request.
    #[prost(string, tag = "3")]
    pub id: String,
    /// Its parameters.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    /// The inputs.
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<InferInputTensor>,
    /// The outputs that are wanted; none means all.
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<InferRequestedOutputTensor>,
    /// Elements of every input, in order, when none has `contents`.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub raw_input_contents: Vec<Bytes>,
}

/// An output.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferOutputTensor {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its element type.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Its shape.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Its parameters.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    /// Its elements, unless they are raw.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<InferTensorContents>,
}

/// Answer of `ModelInfer`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelInferResponse {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// The version that answered.
    #[prost(string, tag = "2")]
    pub model_version: String,
    /// What the client called the request.
    #[prost(string, tag = "3")]
    pub id: String,
    /// Parameters of the answer.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    /// The outputs.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<InferOutputTensor>,
    /// Elements of every output, in order, when none has `contents`.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub raw_output_contents: Vec<Bytes>,
}

/// Each answer of `ModelStreamInfer`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelStreamInferResponse {
    /// What is wrong; empty when nothing is.
    #[prost(string, tag = "1")]
    pub error_message: String,
    /// The answer.
    #[prost(message, optional, tag = "2")]
    pub infer_response: Option<ModelInferResponse>,
}

/// `ModelConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelConfigRequest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version; empty for the server's choice.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// Answer of `ModelConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelConfigResponse {
    /// The configuration.
    #[prost(message, optional, tag = "1")]
    pub config: Option<ModelConfig>,
}
