//! The configuration of TensorFlow Serving's model server: which models, which versions; batching,
//! monitoring and TLS. It comes over gRPC and in text files.

use std::collections::BTreeMap;

use super::well_known::{BoolValue, Int64Value, StringValue};

/// The models to serve.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelServerConfig {
    /// The list.
    #[prost(message, optional, tag = "1")]
    pub model_config_list: Option<ModelConfigList>,
}

/// A list of models.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelConfigList {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub config: Vec<ModelConfig>,
}

/// A model to serve.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelConfig {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Folder whose subfolders are its versions.
    #[prost(string, tag = "2")]
    pub base_path: String,
    /// What kind of model it is; `tensorflow` in files written for TensorFlow Serving.
    #[prost(string, tag = "4")]
    pub model_platform: String,
    /// Which versions to serve; absent for the latest one.
    #[prost(message, optional, tag = "7")]
    pub model_version_policy: Option<ServableVersionPolicy>,
    /// Versions by label.
    #[prost(btree_map = "string, int64", tag = "8")]
    pub version_labels: BTreeMap<String, i64>,
    /// What to log of requests.
    #[prost(message, optional, tag = "6")]
    pub logging_config: Option<LoggingConfig>,
}

/// Which versions to serve.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServableVersionPolicy {
    /// The choice.
    #[prost(oneof = "PolicyChoice", tags = "100, 101, 102")]
    pub policy_choice: Option<PolicyChoice>,
}

/// The kinds of [`ServableVersionPolicy`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PolicyChoice {
    /// The highest ones.
    #[prost(message, tag = "100")]
    Latest(Latest),
    /// Every one.
    #[prost(message, tag = "101")]
    All(All),
    /// Those named.
    #[prost(message, tag = "102")]
    Specific(Specific),
}

/// The highest versions.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Latest {
    /// How many; 0 means 1.
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

/// What to log of requests.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LoggingConfig {
    /// Where to.
    #[prost(message, optional, tag = "1")]
    pub log_collector_config: Option<LogCollectorConfig>,
    /// How often.
    #[prost(message, optional, tag = "2")]
    pub sampling_config: Option<SamplingConfig>,
}

/// Where the log of requests goes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogCollectorConfig {
    /// Kind of collector.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Start of the names of its files.
    #[prost(string, tag = "2")]
    pub filename_prefix: String,
}

/// How often a request is logged.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SamplingConfig {
    /// Share of requests, 0 to 1.
    #[prost(double, tag = "1")]
    pub sampling_rate: f64,
}

/// How requests become batches (the file of `--batching_parameters_file`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchingParameters {
    /// Most examples in a batch.
    #[prost(message, optional, tag = "1")]
    pub max_batch_size: Option<Int64Value>,
    /// Longest wait for a batch to fill, in microseconds.
    #[prost(message, optional, tag = "2")]
    pub batch_timeout_micros: Option<Int64Value>,
    /// Most batches that wait.
    #[prost(message, optional, tag = "3")]
    pub max_enqueued_batches: Option<Int64Value>,
    /// Batches that run at once.
    #[prost(message, optional, tag = "4")]
    pub num_batch_threads: Option<Int64Value>,
    /// Name of the pool of threads.
    #[prost(message, optional, tag = "5")]
    pub thread_pool_name: Option<StringValue>,
    /// Sizes to which batches are padded.
    #[prost(int64, repeated, tag = "6")]
    pub allowed_batch_sizes: Vec<i64>,
    /// Whether examples of different lengths are padded to go together.
    #[prost(bool, tag = "7")]
    pub pad_variable_length_inputs: bool,
    /// Whether a request over the size of a batch is split.
    #[prost(message, optional, tag = "8")]
    pub enable_large_batch_splitting: Option<BoolValue>,
    /// Most examples that run at once when requests are split.
    #[prost(message, optional, tag = "9")]
    pub max_execution_batch_size: Option<Int64Value>,
}

/// Metrics (the file of `--monitoring_config_file`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct MonitoringConfig {
    /// Of Prometheus.
    #[prost(message, optional, tag = "1")]
    pub prometheus_config: Option<PrometheusConfig>,
}

/// Metrics for Prometheus.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PrometheusConfig {
    /// Whether there are any.
    #[prost(bool, tag = "1")]
    pub enable: bool,
    /// Their path; empty for the usual one.
    #[prost(string, tag = "2")]
    pub path: String,
}

/// TLS (the file of `--ssl_config_file`): texts in PEM.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SslConfig {
    /// Private key of the server.
    #[prost(string, tag = "1")]
    pub server_key: String,
    /// Certificate of the server.
    #[prost(string, tag = "2")]
    pub server_cert: String,
    /// Certificates that clients' ones are checked against.
    #[prost(string, tag = "3")]
    pub custom_ca: String,
    /// Whether clients must show a certificate.
    #[prost(bool, tag = "4")]
    pub client_verify: bool,
}
