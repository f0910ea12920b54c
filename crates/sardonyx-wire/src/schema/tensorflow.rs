//! The configuration files of TensorFlow Serving.

use super::{Field, Kind, Message, ignored, many, map, message, one};

const INT64_VALUE: Message = &[one("value", 1, Kind::Signed(64))];
const BOOL_VALUE: Message = &[one("value", 1, Kind::Bool)];
const STRING_VALUE: Message = &[one("value", 1, Kind::String)];

/// `tensorflow.serving.ModelServerConfig`.
pub(crate) static MODEL_SERVER_CONFIG: [Field; 2] = [
    message("model_config_list", 1, MODEL_CONFIG_LIST),
    ignored("custom_model_config"),
];

const MODEL_CONFIG_LIST: Message = &[many("config", 1, Kind::Message(MODEL_CONFIG))];

const MODEL_CONFIG: Message = &[
    one("name", 1, Kind::String),
    one("base_path", 2, Kind::String),
    ignored("model_type"),
    one("model_platform", 4, Kind::String),
    message("model_version_policy", 7, VERSION_POLICY),
    map(
        "version_labels",
        8,
        &[
            one("key", 1, Kind::String),
            one("value", 2, Kind::Signed(64)),
        ],
    ),
    message("logging_config", 6, LOGGING_CONFIG),
];

const VERSION_POLICY: Message = &[
    message("latest", 100, &[one("num_versions", 1, Kind::Unsigned(32))]),
    message("all", 101, &[]),
    message("specific", 102, &[many("versions", 1, Kind::Signed(64))]),
];

const LOGGING_CONFIG: Message = &[
    message(
        "log_collector_config",
        1,
        &[
            one("type", 1, Kind::String),
            one("filename_prefix", 2, Kind::String),
        ],
    ),
    message(
        "sampling_config",
        2,
        &[
            one("sampling_rate", 1, Kind::Double),
            ignored("attributes"),
            ignored("per_task_sampling_configs"),
        ],
    ),
    ignored("custom_logging_config"),
];

/// `tensorflow.serving.BatchingParameters`.
pub(crate) static BATCHING_PARAMETERS: [Field; 9] = [
    message("max_batch_size", 1, INT64_VALUE),
    message("batch_timeout_micros", 2, INT64_VALUE),
    message("max_enqueued_batches", 3, INT64_VALUE),
    message("num_batch_threads", 4, INT64_VALUE),
    message("thread_pool_name", 5, STRING_VALUE),
    many("allowed_batch_sizes", 6, Kind::Signed(64)),
    one("pad_variable_length_inputs", 7, Kind::Bool),
    message("enable_large_batch_splitting", 8, BOOL_VALUE),
    message("max_execution_batch_size", 9, INT64_VALUE),
];

/// `tensorflow.serving.MonitoringConfig`.
pub(crate) static MONITORING_CONFIG: [Field; 1] = [message(
    "prometheus_config",
    1,
    &[one("enable", 1, Kind::Bool), one("path", 2, Kind::String)],
)];

/// `tensorflow.serving.SSLConfig`.
pub(crate) static SSL_CONFIG: [Field; 4] = [
    one("server_key", 1, Kind::String),
    one("server_cert", 2, Kind::String),
    one("custom_ca", 3, Kind::String),
    one("client_verify", 4, Kind::Bool),
];
