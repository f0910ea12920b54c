use crate::proto::administration::ModelIndex;
use crate::proto::inference::{ModelMetadataResponse, ServerMetadataResponse};
use crate::proto::model_config::ModelConfig;
use crate::proto::statistics::ModelStatisticsResponse;
use crate::{Bytes, Result};

/// Body of `POST /v2/repository/index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexRequest {
    /// Whether only models that answer are wanted.
    pub ready: bool,
}

/// Body of `POST /v2/repository/models/M/load` and `/unload`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadRequest {
    /// The configuration that the model is to have, as JSON.
    pub config: Option<String>,
    /// Files that the model is to have: path below the model's folder, contents.
    pub files: Vec<(String, Bytes)>,
    /// Whether the models that only this one needs go with it (of an unload).
    pub unload_dependents: bool,
}

/// Decodes the body of `POST /v2/repository/index`; an empty one is allowed.
pub fn decode_index_request(body: &[u8]) -> Result<IndexRequest> {
    let _ = body;
    Ok(IndexRequest::default())
}

/// Decodes the body of a load or unload; an empty one is allowed.
pub fn decode_load_request(body: &[u8]) -> Result<LoadRequest> {
    let _ = body;
    Ok(LoadRequest::default())
}

/// Body of the reply to `GET /v2`.
pub fn encode_server_metadata(metadata: &ServerMetadataResponse) -> Vec<u8> {
    let _ = metadata;
    Vec::new()
}

/// Body of the reply to `GET /v2/models/M`.
pub fn encode_model_metadata(metadata: &ModelMetadataResponse) -> Vec<u8> {
    let _ = metadata;
    Vec::new()
}

/// Body of the reply to `GET /v2/models/M/config`.
pub fn encode_config(config: &ModelConfig) -> Vec<u8> {
    let _ = config;
    Vec::new()
}

/// A configuration from JSON, as loads carry it.
pub fn config_from_json(json: &[u8]) -> Result<ModelConfig> {
    let _ = json;
    Ok(ModelConfig::default())
}

/// Body of the reply to `GET /v2/models/M/stats`.
pub fn encode_statistics(statistics: &ModelStatisticsResponse) -> Vec<u8> {
    let _ = statistics;
    Vec::new()
}

/// Body of the reply to `POST /v2/repository/index`.
pub fn encode_index(models: &[ModelIndex]) -> Vec<u8> {
    let _ = models;
    Vec::new()
}

/// Body of an error: `{"error":"..."}`.
pub fn encode_error(message: &str) -> Vec<u8> {
    let _ = message;
    Vec::new()
}
