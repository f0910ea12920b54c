//! Requests that were kept, as TensorFlow Serving reads them for warm-up
//! (`tensorflow_serving/apis/prediction_log.proto`). What was answered is read over.

use super::serving::{
    ClassificationRequest, MultiInferenceRequest, PredictRequest, RegressionRequest,
};

/// A request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PredictionLog {
    /// Which kind it is of.
    #[prost(oneof = "LogKind", tags = "2, 3, 4, 5, 6, 7")]
    pub log_type: Option<LogKind>,
}

/// The kinds of requests.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum LogKind {
    /// `Classify`.
    #[prost(message, tag = "2")]
    Classify(ClassifyLog),
    /// `Regress`.
    #[prost(message, tag = "3")]
    Regress(RegressLog),
    /// `MultiInference`.
    #[prost(message, tag = "4")]
    MultiInference(MultiInferenceLog),
    /// A run of a session of TensorFlow.
    #[prost(message, tag = "5")]
    SessionRun(OtherLog),
    /// `Predict`.
    #[prost(message, tag = "6")]
    Predict(PredictLog),
    /// A stream of answers.
    #[prost(message, tag = "7")]
    PredictStreamed(OtherLog),
}

/// A request of `Classify`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClassifyLog {
    /// What was asked.
    #[prost(message, optional, tag = "1")]
    pub request: Option<ClassificationRequest>,
}

/// A request of `Regress`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegressLog {
    /// What was asked.
    #[prost(message, optional, tag = "1")]
    pub request: Option<RegressionRequest>,
}

/// A request of `MultiInference`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiInferenceLog {
    /// What was asked.
    #[prost(message, optional, tag = "1")]
    pub request: Option<MultiInferenceRequest>,
}

/// A request of `Predict`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PredictLog {
    /// What was asked.
    #[prost(message, optional, tag = "1")]
    pub request: Option<PredictRequest>,
}

/// A kind whose contents are not read.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct OtherLog {}
