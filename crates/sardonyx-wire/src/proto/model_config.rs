//! Triton's configuration of a model (`config.pbtxt`): what a server on a processor can heed.

use std::collections::BTreeMap;

/// Element types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// None.
    Invalid = 0,
    /// Truth value.
    Bool = 1,
    /// Unsigned 8-bit integer.
    Uint8 = 2,
    /// Unsigned 16-bit integer.
    Uint16 = 3,
    /// Unsigned 32-bit integer.
    Uint32 = 4,
    /// Unsigned 64-bit integer.
    Uint64 = 5,
    /// Signed 8-bit integer.
    Int8 = 6,
    /// Signed 16-bit integer.
    Int16 = 7,
    /// Signed 32-bit integer.
    Int32 = 8,
    /// Signed 64-bit integer.
    Int64 = 9,
    /// IEEE 754 half precision.
    Fp16 = 10,
    /// IEEE 754 single precision.
    Fp32 = 11,
    /// IEEE 754 double precision.
    Fp64 = 12,
    /// Byte string.
    String = 13,
    /// bfloat16.
    Bf16 = 14,
}

/// A model's configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelConfig {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What kind of model it is, in the older form: `onnxruntime_onnx`.
    #[prost(string, tag = "2")]
    pub platform: String,
    /// What runs it.
    #[prost(string, tag = "17")]
    pub backend: String,
    /// Library of the backend.
    #[prost(string, tag = "25")]
    pub runtime: String,
    /// Which versions to serve.
    #[prost(message, optional, tag = "3")]
    pub version_policy: Option<ModelVersionPolicy>,
    /// Most examples in a batch; 0 when it cannot be batched.
    #[prost(int32, tag = "4")]
    pub max_batch_size: i32,
    /// Its inputs.
    #[prost(message, repeated, tag = "5")]
    pub input: Vec<ModelInput>,
    /// Its outputs.
    #[prost(message, repeated, tag = "6")]
    pub output: Vec<ModelOutput>,
    /// How to run it.
    #[prost(message, optional, tag = "12")]
    pub optimization: Option<ModelOptimizationPolicy>,
    /// How requests reach it.
    #[prost(oneof = "SchedulingChoice", tags = "11, 13, 15")]
    pub scheduling_choice: Option<SchedulingChoice>,
    /// How many of it run, and where.
    #[prost(message, repeated, tag = "7")]
    pub instance_group: Vec<ModelInstanceGroup>,
    /// File of the model in the folder of a version.
    #[prost(string, tag = "8")]
    pub default_model_filename: String,
    /// The same by compute capability.
    #[prost(btree_map = "string, string", tag = "9")]
    pub cc_model_filenames: BTreeMap<String, String>,
    /// Labels for its metrics.
    #[prost(btree_map = "string, string", tag = "10")]
    pub metric_tags: BTreeMap<String, String>,
    /// Whatever else its backend wants to know.
    #[prost(btree_map = "string, message", tag = "14")]
    pub parameters: BTreeMap<String, ModelParameter>,
    /// What to run before it is ready.
    #[prost(message, repeated, tag = "16")]
    pub model_warmup: Vec<ModelWarmup>,
    /// How many answers a request has.
    #[prost(message, optional, tag = "19")]
    pub model_transaction_policy: Option<ModelTransactionPolicy>,
    /// Whether answers are kept.
    #[prost(message, optional, tag = "24")]
    pub response_cache: Option<ModelResponseCache>,
}

/// An input.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelInput {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A [`DataType`].
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// A [`ModelInputFormat`].
    #[prost(enumeration = "ModelInputFormat", tag = "3")]
    pub format: i32,
    /// Its shape, without the batch; -1 for any size.
    #[prost(int64, repeated, tag = "4")]
    pub dims: Vec<i64>,
    /// The shape that the model itself wants.
    #[prost(message, optional, tag = "5")]
    pub reshape: Option<ModelTensorReshape>,
    /// Whether it holds a shape.
    #[prost(bool, tag = "6")]
    pub is_shape_tensor: bool,
    /// Whether examples of different shapes go together.
    #[prost(bool, tag = "7")]
    pub allow_ragged_batch: bool,
    /// Whether it may be left out.
    #[prost(bool, tag = "8")]
    pub optional: bool,
    /// Whether it is laid out in a special way.
    #[prost(bool, tag = "9")]
    pub is_non_linear_format_io: bool,
}

/// How a picture is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ModelInputFormat {
    /// It is none.
    None = 0,
    /// Channels last.
    Nhwc = 1,
    /// Channels first.
    Nchw = 2,
}

/// An output.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelOutput {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A [`DataType`].
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Its shape, without the batch; -1 for any size.
    #[prost(int64, repeated, tag = "3")]
    pub dims: Vec<i64>,
    /// The shape that the model itself gives.
    #[prost(message, optional, tag = "5")]
    pub reshape: Option<ModelTensorReshape>,
    /// File with the names of its classes.
    #[prost(string, tag = "4")]
    pub label_filename: String,
    /// Whether it holds a shape.
    #[prost(bool, tag = "6")]
    pub is_shape_tensor: bool,
    /// Whether it is laid out in a special way.
    #[prost(bool, tag = "7")]
    pub is_non_linear_format_io: bool,
}

/// Another shape of the same elements.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelTensorReshape {
    /// The shape.
    #[prost(int64, repeated, tag = "1")]
    pub shape: Vec<i64>,
}

/// Which versions to serve.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelVersionPolicy {
    /// The choice.
    #[prost(oneof = "VersionPolicyChoice", tags = "1, 2, 3")]
    pub policy_choice: Option<VersionPolicyChoice>,
}

/// The kinds of [`ModelVersionPolicy`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum VersionPolicyChoice {
    /// The highest ones.
    #[prost(message, tag = "1")]
    Latest(Latest),
    /// Every one.
    #[prost(message, tag = "2")]
    All(All),
    /// Those named.
    #[prost(message, tag = "3")]
    Specific(Specific),
}

/// The highest versions.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Latest {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub num_versions: u32,
}

/// Every version.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct All {}

/// Versions by number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Specific {
    /// The numbers.
    #[prost(int64, repeated, tag = "1")]
    pub versions: Vec<i64>,
}

/// How to run a model.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelOptimizationPolicy {
    /// A [`ModelPriority`].
    #[prost(enumeration = "ModelPriority", tag = "2")]
    pub priority: i32,
    /// Whether a batch is prepared before an instance is free.
    #[prost(bool, tag = "8")]
    pub eager_batching: bool,
}

/// Which of several models goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ModelPriority {
    /// As the others.
    Default = 0,
    /// First.
    Max = 1,
    /// Last.
    Min = 2,
}

/// How requests reach a model.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum SchedulingChoice {
    /// Requests become batches.
    #[prost(message, tag = "11")]
    DynamicBatching(ModelDynamicBatching),
    /// Requests of a sequence go to one instance.
    #[prost(message, tag = "13")]
    SequenceBatching(ModelSequenceBatching),
    /// The model is a graph of others.
    #[prost(message, tag = "15")]
    EnsembleScheduling(ModelEnsembling),
}

/// How requests become batches.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelDynamicBatching {
    /// Sizes that are worth a batch at once.
    #[prost(int32, repeated, tag = "1")]
    pub preferred_batch_size: Vec<i32>,
    /// Longest wait for a batch to fill.
    #[prost(uint64, tag = "2")]
    pub max_queue_delay_microseconds: u64,
    /// Whether answers leave in the order of the requests.
    #[prost(bool, tag = "3")]
    pub preserve_ordering: bool,
    /// How many priorities there are; 1 is the highest.
    #[prost(uint64, tag = "4")]
    pub priority_levels: u64,
    /// Priority of requests that name none.
    #[prost(uint64, tag = "5")]
    pub default_priority_level: u64,
    /// The queue.
    #[prost(message, optional, tag = "6")]
    pub default_queue_policy: Option<ModelQueuePolicy>,
    /// The queue by priority.
    #[prost(btree_map = "uint64, message", tag = "7")]
    pub priority_queue_policy: BTreeMap<u64, ModelQueuePolicy>,
}

/// What a queue does.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ModelQueuePolicy {
    /// A [`TimeoutAction`].
    #[prost(enumeration = "TimeoutAction", tag = "1")]
    pub timeout_action: i32,
    /// Longest wait; 0 for no limit.
    #[prost(uint64, tag = "2")]
    pub default_timeout_microseconds: u64,
    /// Whether a request may ask for a shorter one.
    #[prost(bool, tag = "3")]
    pub allow_timeout_override: bool,
    /// Most requests that wait; 0 for no limit.
    #[prost(uint32, tag = "4")]
    pub max_queue_size: u32,
}

/// What happens to a request whose wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum TimeoutAction {
    /// It fails.
    Reject = 0,
    /// It goes behind the others.
    Delay = 1,
}

/// How requests of a sequence go to one instance.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ModelSequenceBatching {
    /// Longest pause within a sequence.
    #[prost(uint64, tag = "1")]
    pub max_sequence_idle_microseconds: u64,
}

/// A graph of models.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelEnsembling {
    /// The models.
    #[prost(message, repeated, tag = "1")]
    pub step: Vec<EnsembleStep>,
}

/// One model of a [`ModelEnsembling`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct EnsembleStep {
    /// Its name.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// Its version; -1 for the latest.
    #[prost(int64, tag = "2")]
    pub model_version: i64,
    /// Tensor of the graph by input of the model.
    #[prost(btree_map = "string, string", tag = "3")]
    pub input_map: BTreeMap<String, String>,
    /// Tensor of the graph by output of the model.
    #[prost(btree_map = "string, string", tag = "4")]
    pub output_map: BTreeMap<String, String>,
}

/// How many of a model run, and where.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelInstanceGroup {
    /// Name of the group.
    #[prost(string, tag = "1")]
    pub name: String,
    /// An [`InstanceKind`].
    #[prost(enumeration = "InstanceKind", tag = "4")]
    pub kind: i32,
    /// How many.
    #[prost(int32, tag = "2")]
    pub count: i32,
    /// On which devices.
    #[prost(int32, repeated, tag = "3")]
    pub gpus: Vec<i32>,
    /// Profiles of the backend.
    #[prost(string, repeated, tag = "5")]
    pub profile: Vec<String>,
    /// Whether it takes no requests of its own.
    #[prost(bool, tag = "7")]
    pub passive: bool,
    /// Name of a policy of the host.
    #[prost(string, tag = "9")]
    pub host_policy: String,
}

/// Where an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum InstanceKind {
    /// Where it can.
    Auto = 0,
    /// On a graphics processor.
    Gpu = 1,
    /// On the processor.
    Cpu = 2,
    /// Where the model says.
    Model = 3,
}

/// A parameter of a model.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelParameter {
    /// Its value.
    #[prost(string, tag = "1")]
    pub string_value: String,
}

/// Requests to run before a model is ready.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelWarmup {
    /// Name of the sample.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Examples in a batch; 0 for a request without batch.
    #[prost(uint32, tag = "2")]
    pub batch_size: u32,
    /// Inputs by name.
    #[prost(btree_map = "string, message", tag = "3")]
    pub inputs: BTreeMap<String, WarmupInput>,
    /// How often; 0 for once.
    #[prost(uint32, tag = "4")]
    pub count: u32,
}

/// An input of a [`ModelWarmup`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct WarmupInput {
    /// A [`DataType`].
    #[prost(enumeration = "DataType", tag = "1")]
    pub data_type: i32,
    /// Its shape, without the batch.
    #[prost(int64, repeated, tag = "2")]
    pub dims: Vec<i64>,
    /// What it holds.
    #[prost(oneof = "WarmupData", tags = "3, 4, 5")]
    pub input_data_type: Option<WarmupData>,
}

/// What a [`WarmupInput`] holds.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum WarmupData {
    /// Zeros.
    #[prost(bool, tag = "3")]
    ZeroData(bool),
    /// Random numbers.
    #[prost(bool, tag = "4")]
    RandomData(bool),
    /// The contents of a file in the model's folder `warmup`.
    #[prost(string, tag = "5")]
    InputDataFile(String),
}

/// How many answers a request has.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ModelTransactionPolicy {
    /// Whether there may be other than one.
    #[prost(bool, tag = "1")]
    pub decoupled: bool,
}

/// Whether answers are kept.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ModelResponseCache {
    /// Whether they are.
    #[prost(bool, tag = "1")]
    pub enable: bool,
}
