//! Messages of the TensorFlow Serving API (package `tensorflow.serving`): `PredictionService` and
//! the status half of `ModelService`.

use std::collections::BTreeMap;

use prost::bytes::Bytes;

use super::model_server::ModelServerConfig;
use super::tensorflow::{Example, SignatureDef, TensorProto};
use super::well_known::{Any, Int64Value};

/// Which model, version and signature.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelSpec {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The version; absent for the latest.
    #[prost(oneof = "VersionChoice", tags = "2, 4")]
    pub version_choice: Option<VersionChoice>,
    /// Name of the signature; empty for the default.
    #[prost(string, tag = "3")]
    pub signature_name: String,
}

/// How a version is named.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum VersionChoice {
    /// By number.
    #[prost(message, tag = "2")]
    Version(Int64Value),
    /// By label.
    #[prost(string, tag = "4")]
    VersionLabel(String),
}

/// `PredictionService.Predict`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PredictRequest {
    /// Which model.
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    /// Inputs by name.
    #[prost(btree_map = "string, message", tag = "2")]
    pub inputs: BTreeMap<String, TensorProto>,
    /// Names of the outputs wanted; none means all.
    #[prost(string, repeated, tag = "3")]
    pub output_filter: Vec<String>,
    /// Who asks, as the client says.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub client_id: Option<Bytes>,
}

/// Answer of `Predict`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PredictResponse {
    /// The model that answered, with its version and signature.
    #[prost(message, optional, tag = "2")]
    pub model_spec: Option<ModelSpec>,
    /// Outputs by name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub outputs: BTreeMap<String, TensorProto>,
}

/// Examples.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExampleList {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub examples: Vec<Example>,
}

/// Examples that share features.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExampleListWithContext {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub examples: Vec<Example>,
    /// What every example has besides its own features.
    #[prost(message, optional, tag = "2")]
    pub context: Option<Example>,
}

/// What is to be classified or regressed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Input {
    /// The examples.
    #[prost(oneof = "InputKind", tags = "1, 2")]
    pub kind: Option<InputKind>,
}

/// The forms of an [`Input`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum InputKind {
    /// Examples that stand alone.
    #[prost(message, tag = "1")]
    ExampleList(ExampleList),
    /// Examples that share features.
    #[prost(message, tag = "2")]
    ExampleListWithContext(ExampleListWithContext),
}

/// `PredictionService.Classify`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClassificationRequest {
    /// Which model.
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    /// The examples.
    #[prost(message, optional, tag = "2")]
    pub input: Option<Input>,
}

/// A class and its score.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Class {
    /// Name of the class.
    #[prost(string, tag = "1")]
    pub label: String,
    /// Its score.
    #[prost(float, tag = "2")]
    pub score: f32,
}

/// The classes of one example.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Classifications {
    /// In the model's order.
    #[prost(message, repeated, tag = "1")]
    pub classes: Vec<Class>,
}

/// The classes of every example.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClassificationResult {
    /// In the order of the examples.
    #[prost(message, repeated, tag = "1")]
    pub classifications: Vec<Classifications>,
}

/// Answer of `Classify`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClassificationResponse {
    /// The model that answered.
    #[prost(message, optional, tag = "2")]
    pub model_spec: Option<ModelSpec>,
    /// The classes.
    #[prost(message, optional, tag = "1")]
    pub result: Option<ClassificationResult>,
}

/// `PredictionService.Regress`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegressionRequest {
    /// Which model.
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    /// The examples.
    #[prost(message, optional, tag = "2")]
    pub input: Option<Input>,
}

/// The value of one example.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Regression {
    /// The value.
    #[prost(float, tag = "1")]
    pub value: f32,
}

/// The values of every example.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegressionResult {
    /// In the order of the examples.
    #[prost(message, repeated, tag = "1")]
    pub regressions: Vec<Regression>,
}

/// Answer of `Regress`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegressionResponse {
    /// The model that answered.
    #[prost(message, optional, tag = "2")]
    pub model_spec: Option<ModelSpec>,
    /// The values.
    #[prost(message, optional, tag = "1")]
    pub result: Option<RegressionResult>,
}

/// One task of a [`MultiInferenceRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferenceTask {
    /// Which model.
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    /// `tensorflow/serving/classify` or `tensorflow/serving/regress`.
    #[prost(string, tag = "2")]
    pub method_name: String,
}

/// `PredictionService.MultiInference`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiInferenceRequest {
    /// What to do with the input.
    #[prost(message, repeated, tag = "1")]
    pub tasks: Vec<InferenceTask>,
    /// The examples.
    #[prost(message, optional, tag = "2")]
    pub input: Option<Input>,
}

/// What one task gave.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferenceResult {
    /// The model that answered.
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    /// Its answer.
    #[prost(oneof = "TaskResult", tags = "2, 3")]
    pub result: Option<TaskResult>,
}

/// The kinds of answer of an [`InferenceResult`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TaskResult {
    /// Of a classification.
    #[prost(message, tag = "2")]
    ClassificationResult(ClassificationResult),
    /// Of a regression.
    #[prost(message, tag = "3")]
    RegressionResult(RegressionResult),
}

/// Answer of `MultiInference`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiInferenceResponse {
    /// In the order of the tasks.
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<InferenceResult>,
}

/// `PredictionService.GetModelMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetModelMetadataRequest {
    /// Which model.
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    /// What is wanted: only `signature_def` is known.
    #[prost(string, repeated, tag = "2")]
    pub metadata_field: Vec<String>,
}

/// Answer of `GetModelMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetModelMetadataResponse {
    /// The model, with its version.
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
    /// By field: a packed [`SignatureDefMap`] under `signature_def`.
    #[prost(btree_map = "string, message", tag = "2")]
    pub metadata: BTreeMap<String, Any>,
}

/// The signatures of a model.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignatureDefMap {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub signature_def: BTreeMap<String, SignatureDef>,
}

impl SignatureDefMap {
    /// Full name of the type, as [`Any`] has it.
    pub const TYPE_NAME: &str = "tensorflow.serving.SignatureDefMap";
}

/// `ModelService.GetModelStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetModelStatusRequest {
    /// Which model.
    #[prost(message, optional, tag = "1")]
    pub model_spec: Option<ModelSpec>,
}

/// Answer of `GetModelStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetModelStatusResponse {
    /// Every version that there is or was.
    #[prost(message, repeated, tag = "1")]
    pub model_version_status: Vec<ModelVersionStatus>,
}

/// How a version is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelVersionStatus {
    /// Its number.
    #[prost(int64, tag = "1")]
    pub version: i64,
    /// A [`State`].
    #[prost(enumeration = "State", tag = "2")]
    pub state: i32,
    /// Why it is so.
    #[prost(message, optional, tag = "3")]
    pub status: Option<StatusProto>,
}

/// The life of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum State {
    /// Not said.
    Unknown = 0,
    /// Known, not yet loading.
    Start = 10,
    /// Loading.
    Loading = 20,
    /// Answering.
    Available = 30,
    /// On its way out.
    Unloading = 40,
    /// Gone, or failed to load.
    End = 50,
}

/// A code and a message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusProto {
    /// Number of a [`crate::Code`].
    #[prost(int32, tag = "1")]
    pub error_code: i32,
    /// What happened.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// `ModelService.HandleReloadConfigRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReloadConfigRequest {
    /// The models that are to be served from now on.
    #[prost(message, optional, tag = "1")]
    pub config: Option<ModelServerConfig>,
    /// Names of metrics whose increase is to be reported.
    #[prost(string, repeated, tag = "2")]
    pub metric_names: Vec<String>,
}

/// Answer of `HandleReloadConfigRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReloadConfigResponse {
    /// Whether it was done.
    #[prost(message, optional, tag = "1")]
    pub status: Option<StatusProto>,
}
