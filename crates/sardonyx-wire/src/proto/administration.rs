//! Triton's extensions for whoever runs the server: repository, shared memory, traces and logs
//! (package `inference`).

use std::collections::BTreeMap;

use prost::bytes::Bytes;

/// A parameter of a load or unload.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelRepositoryParameter {
    /// Its value.
    #[prost(oneof = "RepositoryParameterChoice", tags = "1, 2, 3, 4")]
    pub parameter_choice: Option<RepositoryParameterChoice>,
}

/// The kinds of a [`ModelRepositoryParameter`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum RepositoryParameterChoice {
    /// A truth value.
    #[prost(bool, tag = "1")]
    BoolParam(bool),
    /// An integer.
    #[prost(int64, tag = "2")]
    Int64Param(i64),
    /// A text.
    #[prost(string, tag = "3")]
    StringParam(String),
    /// The contents of a file.
    #[prost(bytes = "bytes", tag = "4")]
    BytesParam(Bytes),
}

/// `RepositoryIndex`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RepositoryIndexRequest {
    /// Name of the repository; empty for all.
    #[prost(string, tag = "1")]
    pub repository_name: String,
    /// Whether only models that answer are wanted.
    #[prost(bool, tag = "2")]
    pub ready: bool,
}

/// Answer of `RepositoryIndex`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RepositoryIndexResponse {
    /// The models.
    #[prost(message, repeated, tag = "1")]
    pub models: Vec<ModelIndex>,
}

/// A version of a model in a repository.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelIndex {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// `READY`, `UNAVAILABLE`, `LOADING` or `UNLOADING`.
    #[prost(string, tag = "3")]
    pub state: String,
    /// Why it is so.
    #[prost(string, tag = "4")]
    pub reason: String,
}

/// `RepositoryModelLoad`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RepositoryModelLoadRequest {
    /// Name of the repository; empty for any.
    #[prost(string, tag = "1")]
    pub repository_name: String,
    /// Name of the model.
    #[prost(string, tag = "2")]
    pub model_name: String,
    /// `config` and `file:` with a path.
    #[prost(btree_map = "string, message", tag = "3")]
    pub parameters: BTreeMap<String, ModelRepositoryParameter>,
}

/// `RepositoryModelUnload`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RepositoryModelUnloadRequest {
    /// Name of the repository; empty for any.
    #[prost(string, tag = "1")]
    pub repository_name: String,
    /// Name of the model.
    #[prost(string, tag = "2")]
    pub model_name: String,
    /// `unload_dependents`.
    #[prost(btree_map = "string, message", tag = "3")]
    pub parameters: BTreeMap<String, ModelRepositoryParameter>,
}

/// `SystemSharedMemoryStatus` and `CudaSharedMemoryStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SharedMemoryStatusRequest {
    /// Name of the region; empty for all.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Answer of `SystemSharedMemoryStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SystemSharedMemoryStatusResponse {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub regions: BTreeMap<String, SystemRegionStatus>,
}

/// A region of shared memory.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SystemRegionStatus {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The key of the memory object.
    #[prost(string, tag = "2")]
    pub key: String,
    /// Where in the object it starts, in bytes.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// Its size in bytes.
    #[prost(uint64, tag = "4")]
    pub byte_size: u64,
}

/// `SystemSharedMemoryRegister`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SystemSharedMemoryRegisterRequest {
    /// Name of the region.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The key of the memory object.
    #[prost(string, tag = "2")]
    pub key: String,
    /// Where in the object it starts, in bytes.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// Its size in bytes.
    #[prost(uint64, tag = "4")]
    pub byte_size: u64,
}

/// `SystemSharedMemoryUnregister` and `CudaSharedMemoryUnregister`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SharedMemoryUnregisterRequest {
    /// Name of the region; empty for all.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Answer of `CudaSharedMemoryStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CudaSharedMemoryStatusResponse {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub regions: BTreeMap<String, CudaRegionStatus>,
}

/// A region of a device's memory.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CudaRegionStatus {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The device.
    #[prost(uint64, tag = "2")]
    pub device_id: u64,
    /// Its size in bytes.
    #[prost(uint64, tag = "3")]
    pub byte_size: u64,
}

/// `CudaSharedMemoryRegister`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CudaSharedMemoryRegisterRequest {
    /// Name of the region.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Handle of the memory.
    #[prost(bytes = "bytes", tag = "2")]
    pub raw_handle: Bytes,
    /// The device.
    #[prost(int64, tag = "3")]
    pub device_id: i64,
    /// Its size in bytes.
    #[prost(uint64, tag = "4")]
    pub byte_size: u64,
}

/// `TraceSetting`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TraceSettingRequest {
    /// What to set.
    #[prost(btree_map = "string, message", tag = "1")]
    pub settings: BTreeMap<String, TraceSettingValue>,
    /// For which model; empty for all.
    #[prost(string, tag = "2")]
    pub model_name: String,
}

/// Answer of `TraceSetting`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TraceSettingResponse {
    /// What is set.
    #[prost(btree_map = "string, message", tag = "1")]
    pub settings: BTreeMap<String, TraceSettingValue>,
}

/// The value of a trace setting.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TraceSettingValue {
    /// One or more texts.
    #[prost(string, repeated, tag = "1")]
    pub value: Vec<String>,
}

/// `LogSettings` and its answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogSettings {
    /// What to set, or is set.
    #[prost(btree_map = "string, message", tag = "1")]
    pub settings: BTreeMap<String, LogSettingValue>,
}

/// The value of a log setting.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogSettingValue {
    /// Its value.
    #[prost(oneof = "LogSettingChoice", tags = "1, 2, 3")]
    pub parameter_choice: Option<LogSettingChoice>,
}

/// The kinds of a [`LogSettingValue`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum LogSettingChoice {
    /// A truth value.
    #[prost(bool, tag = "1")]
    BoolParam(bool),
    /// An integer.
    #[prost(uint32, tag = "2")]
    Uint32Param(u32),
    /// A text.
    #[prost(string, tag = "3")]
    StringParam(String),
}
