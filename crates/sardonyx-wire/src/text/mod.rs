//! Protobuf's text format, in which TensorFlow Serving and Triton have their configuration files.

mod configs;
mod lexer;
mod parser;

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

impl TextError {
    /// A problem at byte `at` of `text`.
    fn new(text: &str, at: usize, problem: impl Into<String>) -> TextError {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        TextError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem: problem.into(),
        }
    }
}
