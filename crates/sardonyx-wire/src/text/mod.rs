//! Protobuf's text format, in which TensorFlow Serving and Triton have their configuration files.

mod configs;

pub use configs::{
    batching_parameters, model_config, model_server_config, monitoring_config, ssl_config,
};

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
}
