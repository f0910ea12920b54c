//! The statistics extension of the Open Inference Protocol.

use std::collections::BTreeMap;

/// `ModelStatistics`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelStatisticsRequest {
    /// Name of the model; empty for all.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version; empty for all.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// Answer of `ModelStatistics`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelStatisticsResponse {
    /// One for each version of each model.
    #[prost(message, repeated, tag = "1")]
    pub model_stats: Vec<ModelStatistics>,
}

/// What a version of a model has done.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelStatistics {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// When it last ran, in milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub last_inference: u64,
    /// Examples that were run, failures not counted.
    #[prost(uint64, tag = "4")]
    pub inference_count: u64,
    /// Batches that were run.
    #[prost(uint64, tag = "5")]
    pub execution_count: u64,
    /// Requests and where their time went.
    #[prost(message, optional, tag = "6")]
    pub inference_stats: Option<InferStatistics>,
    /// The same by size of the batch.
    #[prost(message, repeated, tag = "7")]
    pub batch_stats: Vec<InferBatchStatistics>,
    /// Memory that it holds.
    #[prost(message, repeated, tag = "8")]
    pub memory_usage: Vec<MemoryUsage>,
    /// Answers of models that give many, by their index.
    #[prost(btree_map = "string, message", tag = "9")]
    pub response_stats: BTreeMap<String, InferResponseStatistics>,
}

/// How often, and how long in sum.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct StatisticDuration {
    /// How often.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// Nanoseconds in sum.
    #[prost(uint64, tag = "2")]
    pub ns: u64,
}

/// Requests and where their time went.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct InferStatistics {
    /// Requests that went well, from start to end.
    #[prost(message, optional, tag = "1")]
    pub success: Option<StatisticDuration>,
    /// Requests that failed.
    #[prost(message, optional, tag = "2")]
    pub fail: Option<StatisticDuration>,
    /// Waiting.
    #[prost(message, optional, tag = "3")]
    pub queue: Option<StatisticDuration>,
    /// Preparing inputs.
    #[prost(message, optional, tag = "4")]
    pub compute_input: Option<StatisticDuration>,
    /// Running.
    #[prost(message, optional, tag = "5")]
    pub compute_infer: Option<StatisticDuration>,
    /// Extracting outputs.
    #[prost(message, optional, tag = "6")]
    pub compute_output: Option<StatisticDuration>,
    /// Answers that the cache had.
    #[prost(message, optional, tag = "7")]
    pub cache_hit: Option<StatisticDuration>,
    /// Answers that the cache had not.
    #[prost(message, optional, tag = "8")]
    pub cache_miss: Option<StatisticDuration>,
}

/// Answers of one index.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct InferResponseStatistics {
    /// Running.
    #[prost(message, optional, tag = "1")]
    pub compute_infer: Option<StatisticDuration>,
    /// Extracting outputs.
    #[prost(message, optional, tag = "2")]
    pub compute_output: Option<StatisticDuration>,
    /// Those that went well.
    #[prost(message, optional, tag = "3")]
    pub success: Option<StatisticDuration>,
    /// Those that failed.
    #[prost(message, optional, tag = "4")]
    pub fail: Option<StatisticDuration>,
    /// Those that were empty.
    #[prost(message, optional, tag = "5")]
    pub empty_response: Option<StatisticDuration>,
    /// Those that the client gave up.
    #[prost(message, optional, tag = "6")]
    pub cancel: Option<StatisticDuration>,
}

/// Batches of one size.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct InferBatchStatistics {
    /// Examples in each.
    #[prost(uint64, tag = "1")]
    pub batch_size: u64,
    /// Preparing inputs.
    #[prost(message, optional, tag = "2")]
    pub compute_input: Option<StatisticDuration>,
    /// Running.
    #[prost(message, optional, tag = "3")]
    pub compute_infer: Option<StatisticDuration>,
    /// Extracting outputs.
    #[prost(message, optional, tag = "4")]
    pub compute_output: Option<StatisticDuration>,
}

/// Memory of one kind.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemoryUsage {
    /// `CPU` or another.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Number of the memory within its kind.
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// Bytes.
    #[prost(uint64, tag = "3")]
    pub byte_size: u64,
}
