use super::TextError;
use super::parser::parse;
use crate::proto::model_config::ModelConfig;
use crate::proto::model_server::{
    BatchingParameters, ModelServerConfig, MonitoringConfig, SslConfig,
};
use crate::schema::{Message, tensorflow, triton};

fn read<T: prost::Message + Default>(message: Message, text: &str) -> Result<T, TextError> {
    let bytes = parse(message, text)?;
    // The table and the struct say the same, so this holds whatever the text is.
    T::decode(bytes.as_slice()).map_err(|error| TextError::new(text, 0, error.to_string()))
}

/// Reads the file of TensorFlow Serving's `--model_config_file`.
///
/// # Errors
/// When the text is not in protobuf's text format or does not describe such a configuration.
pub fn model_server_config(text: &str) -> Result<ModelServerConfig, TextError> {
    read(&tensorflow::MODEL_SERVER_CONFIG, text)
}

/// Reads the file of TensorFlow Serving's `--batching_parameters_file`.
///
/// # Errors
/// As [`model_server_config`].
pub fn batching_parameters(text: &str) -> Result<BatchingParameters, TextError> {
    read(&tensorflow::BATCHING_PARAMETERS, text)
}

/// Reads the file of TensorFlow Serving's `--monitoring_config_file`.
///
/// # Errors
/// As [`model_server_config`].
pub fn monitoring_config(text: &str) -> Result<MonitoringConfig, TextError> {
    read(&tensorflow::MONITORING_CONFIG, text)
}

/// Reads the file of TensorFlow Serving's `--ssl_config_file`.
///
/// # Errors
/// As [`model_server_config`].
pub fn ssl_config(text: &str) -> Result<SslConfig, TextError> {
    read(&tensorflow::SSL_CONFIG, text)
}

/// Reads Triton's `config.pbtxt`. Fields that Sardonyx has no use for are checked for their form
/// and read over.
///
/// # Errors
/// As [`model_server_config`].
pub fn model_config(text: &str) -> Result<ModelConfig, TextError> {
    read(&triton::MODEL_CONFIG, text)
}
