//! The TensorFlow Serving API: `TensorProto`s, the bodies of its REST API, its paths.
//!
//! What the JSON looks like and what its errors say follows TensorFlow Serving's own behaviour,
//! which clients rely on; differences are written down where they are.

mod bind;
mod columns;
mod example_json;
mod path;
mod predict;
mod reply;
mod status;
mod tensor;

pub use bind::{bind_examples, bind_tensors, example_count};
pub use example_json::{ExamplesBody, decode_examples};
pub use path::{Call, MISSING_MODEL, Target, Verb, VersionSelector, parse_path};
pub use predict::{FindInputs, Format, PredictBody, decode_predict};
pub use reply::{encode_classification, encode_error, encode_predict, encode_regression};
pub use status::{encode_metadata, encode_status};
pub use tensor::{
    Encoding, MAX_REPEATED, data_type, dtype_name, signature_def, tensor_from_proto, tensor_info,
    tensor_to_proto,
};

/// Name of the signature that is meant when a request names none.
pub const DEFAULT_SIGNATURE: &str = "serving_default";
/// Method name of signatures for [`crate::proto::serving::PredictRequest`].
pub const PREDICT_METHOD: &str = "tensorflow/serving/predict";
/// Method name of signatures for [`crate::proto::serving::ClassificationRequest`].
pub const CLASSIFY_METHOD: &str = "tensorflow/serving/classify";
/// Method name of signatures for [`crate::proto::serving::RegressionRequest`].
pub const REGRESS_METHOD: &str = "tensorflow/serving/regress";
