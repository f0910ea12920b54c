//! Triton's messages that have a JSON or a text form. The order is that in which Triton prints
//! them.

use super::{Field, Kind, Message, ignored, many, map, message, one, optional};

const DATA_TYPE: Kind = Kind::Enum(&[
    ("TYPE_INVALID", 0),
    ("TYPE_BOOL", 1),
    ("TYPE_UINT8", 2),
    ("TYPE_UINT16", 3),
    ("TYPE_UINT32", 4),
    ("TYPE_UINT64", 5),
    ("TYPE_INT8", 6),
    ("TYPE_INT16", 7),
    ("TYPE_INT32", 8),
    ("TYPE_INT64", 9),
    ("TYPE_FP16", 10),
    ("TYPE_FP32", 11),
    ("TYPE_FP64", 12),
    ("TYPE_STRING", 13),
    ("TYPE_BF16", 14),
]);
const FORMAT: Kind = Kind::Enum(&[("FORMAT_NONE", 0), ("FORMAT_NHWC", 1), ("FORMAT_NCHW", 2)]);
const PRIORITY: Kind = Kind::Enum(&[
    ("PRIORITY_DEFAULT", 0),
    ("PRIORITY_MAX", 1),
    ("PRIORITY_MIN", 2),
]);
const INSTANCE_KIND: Kind = Kind::Enum(&[
    ("KIND_AUTO", 0),
    ("KIND_GPU", 1),
    ("KIND_CPU", 2),
    ("KIND_MODEL", 3),
]);
const TIMEOUT_ACTION: Kind = Kind::Enum(&[("REJECT", 0), ("DELAY", 1)]);

const TEXTS: Message = &[one("key", 1, Kind::String), one("value", 2, Kind::String)];
const RESHAPE: Message = &[many("shape", 1, Kind::Signed(64))];

/// `inference.ModelConfig`.
pub(crate) static MODEL_CONFIG: [Field; 25] = [
    one("name", 1, Kind::String),
    one("platform", 2, Kind::String),
    one("backend", 17, Kind::String),
    one("runtime", 25, Kind::String),
    message("version_policy", 3, VERSION_POLICY),
    one("max_batch_size", 4, Kind::Signed(32)),
    many("input", 5, Kind::Message(INPUT)),
    many("output", 6, Kind::Message(OUTPUT)),
    ignored("batch_input"),
    ignored("batch_output"),
    message("optimization", 12, OPTIMIZATION),
    message("dynamic_batching", 11, DYNAMIC_BATCHING),
    message("sequence_batching", 13, SEQUENCE_BATCHING),
    message("ensemble_scheduling", 15, ENSEMBLE),
    many("instance_group", 7, Kind::Message(INSTANCE_GROUP)),
    one("default_model_filename", 8, Kind::String),
    map("cc_model_filenames", 9, TEXTS),
    map("metric_tags", 10, TEXTS),
    map("parameters", 14, PARAMETER_ENTRY),
    many("model_warmup", 16, Kind::Message(WARMUP)),
    ignored("model_operations"),
    message(
        "model_transaction_policy",
        19,
        &[one("decoupled", 1, Kind::Bool)],
    ),
    ignored("model_repository_agents"),
    message("response_cache", 24, &[one("enable", 1, Kind::Bool)]),
    ignored("model_metrics"),
];

const VERSION_POLICY: Message = &[
    message("latest", 1, &[one("num_versions", 1, Kind::Unsigned(32))]),
    message("all", 2, &[]),
    message("specific", 3, &[many("versions", 1, Kind::Signed(64))]),
];

const INPUT: Message = &[
    one("name", 1, Kind::String),
    one("data_type", 2, DATA_TYPE),
    one("format", 3, FORMAT),
    many("dims", 4, Kind::Signed(64)),
    message("reshape", 5, RESHAPE),
    one("is_shape_tensor", 6, Kind::Bool),
    one("allow_ragged_batch", 7, Kind::Bool),
    one("optional", 8, Kind::Bool),
    one("is_non_linear_format_io", 9, Kind::Bool),
];

const OUTPUT: Message = &[
    one("name", 1, Kind::String),
    one("data_type", 2, DATA_TYPE),
    many("dims", 3, Kind::Signed(64)),
    message("reshape", 5, RESHAPE),
    one("label_filename", 4, Kind::String),
    one("is_shape_tensor", 6, Kind::Bool),
    one("is_non_linear_format_io", 7, Kind::Bool),
];

const OPTIMIZATION: Message = &[
    ignored("graph"),
    one("priority", 2, PRIORITY),
    ignored("cuda"),
    ignored("execution_accelerators"),
    ignored("input_pinned_memory"),
    ignored("output_pinned_memory"),
    ignored("gather_kernel_buffer_threshold"),
    one("eager_batching", 8, Kind::Bool),
];

const QUEUE_POLICY: Message = &[
    one("timeout_action", 1, TIMEOUT_ACTION),
    one("default_timeout_microseconds", 2, Kind::Unsigned(64)),
    one("allow_timeout_override", 3, Kind::Bool),
    one("max_queue_size", 4, Kind::Unsigned(32)),
];

const DYNAMIC_BATCHING: Message = &[
    many("preferred_batch_size", 1, Kind::Signed(32)),
    one("max_queue_delay_microseconds", 2, Kind::Unsigned(64)),
    one("preserve_ordering", 3, Kind::Bool),
    one("priority_levels", 4, Kind::Unsigned(64)),
    one("default_priority_level", 5, Kind::Unsigned(64)),
    message("default_queue_policy", 6, QUEUE_POLICY),
    map(
        "priority_queue_policy",
        7,
        &[
            one("key", 1, Kind::Unsigned(64)),
            message("value", 2, QUEUE_POLICY),
        ],
    ),
];

const SEQUENCE_BATCHING: Message = &[
    one("max_sequence_idle_microseconds", 1, Kind::Unsigned(64)),
    ignored("control_input"),
    ignored("state"),
    ignored("direct"),
    ignored("oldest"),
    ignored("iterative_sequence"),
];

const ENSEMBLE: Message = &[
    many(
        "step",
        1,
        Kind::Message(&[
            one("model_name", 1, Kind::String),
            one("model_version", 2, Kind::Signed(64)),
            map("input_map", 3, TEXTS),
            map("output_map", 4, TEXTS),
            ignored("model_namespace"),
        ]),
    ),
    ignored("max_inflight_requests"),
];

const INSTANCE_GROUP: Message = &[
    one("name", 1, Kind::String),
    one("kind", 4, INSTANCE_KIND),
    one("count", 2, Kind::Signed(32)),
    ignored("rate_limiter"),
    many("gpus", 3, Kind::Signed(32)),
    ignored("secondary_devices"),
    many("profile", 5, Kind::String),
    one("passive", 7, Kind::Bool),
    one("host_policy", 9, Kind::String),
];

const PARAMETER_ENTRY: Message = &[
    one("key", 1, Kind::String),
    message("value", 2, &[one("string_value", 1, Kind::String)]),
];

const WARMUP: Message = &[
    one("name", 1, Kind::String),
    one("batch_size", 2, Kind::Unsigned(32)),
    map(
        "inputs",
        3,
        &[
            one("key", 1, Kind::String),
            message("value", 2, WARMUP_INPUT),
        ],
    ),
    one("count", 4, Kind::Unsigned(32)),
];

const WARMUP_INPUT: Message = &[
    one("data_type", 1, DATA_TYPE),
    many("dims", 2, Kind::Signed(64)),
    optional("zero_data", 3, Kind::Bool),
    optional("random_data", 4, Kind::Bool),
    optional("input_data_file", 5, Kind::String),
];

/// `inference.ServerMetadataResponse`.
pub(crate) static SERVER_METADATA: [Field; 3] = [
    one("name", 1, Kind::String),
    one("version", 2, Kind::String),
    many("extensions", 3, Kind::String),
];

/// `inference.ModelMetadataResponse`.
pub(crate) static MODEL_METADATA: [Field; 5] = [
    one("name", 1, Kind::String),
    many("versions", 2, Kind::String),
    one("platform", 3, Kind::String),
    many("inputs", 4, Kind::Message(TENSOR_METADATA)),
    many("outputs", 5, Kind::Message(TENSOR_METADATA)),
];

const TENSOR_METADATA: Message = &[
    one("name", 1, Kind::String),
    one("datatype", 2, Kind::String),
    many("shape", 3, Kind::Signed(64)),
];

/// `inference.ModelStatisticsResponse`.
pub(crate) static MODEL_STATISTICS: [Field; 1] =
    [many("model_stats", 1, Kind::Message(STATISTICS))];

const STATISTICS: Message = &[
    one("name", 1, Kind::String),
    one("version", 2, Kind::String),
    one("last_inference", 3, Kind::Unsigned(64)),
    one("inference_count", 4, Kind::Unsigned(64)),
    one("execution_count", 5, Kind::Unsigned(64)),
    message("inference_stats", 6, INFER_STATISTICS),
    map(
        "response_stats",
        9,
        &[
            one("key", 1, Kind::String),
            message("value", 2, RESPONSE_STATISTICS),
        ],
    ),
    many("batch_stats", 7, Kind::Message(BATCH_STATISTICS)),
    many("memory_usage", 8, Kind::Message(MEMORY_USAGE)),
];

const DURATION: Message = &[
    one("count", 1, Kind::Unsigned(64)),
    one("ns", 2, Kind::Unsigned(64)),
];

const INFER_STATISTICS: Message = &[
    message("success", 1, DURATION),
    message("fail", 2, DURATION),
    message("queue", 3, DURATION),
    message("compute_input", 4, DURATION),
    message("compute_infer", 5, DURATION),
    message("compute_output", 6, DURATION),
    message("cache_hit", 7, DURATION),
    message("cache_miss", 8, DURATION),
];

const RESPONSE_STATISTICS: Message = &[
    message("compute_infer", 1, DURATION),
    message("compute_output", 2, DURATION),
    message("success", 3, DURATION),
    message("fail", 4, DURATION),
    message("empty_response", 5, DURATION),
    message("cancel", 6, DURATION),
];

const BATCH_STATISTICS: Message = &[
    one("batch_size", 1, Kind::Unsigned(64)),
    message("compute_input", 2, DURATION),
    message("compute_infer", 3, DURATION),
    message("compute_output", 4, DURATION),
];

const MEMORY_USAGE: Message = &[
    one("type", 1, Kind::String),
    one("id", 2, Kind::Signed(64)),
    one("byte_size", 3, Kind::Unsigned(64)),
];
