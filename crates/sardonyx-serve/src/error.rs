//! What goes wrong while serving, with the canonical code that every door translates.

use std::fmt;

/// Canonical status codes, as gRPC numbers them (<https://grpc.io/docs/guides/status-codes/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    ResourceExhausted,
    FailedPrecondition,
    Unavailable,
    Internal,
}

/// Result of the serving core.
pub type Result<T, E = ServeError> = std::result::Result<T, E>;

/// A request, or an order to the server, that could not be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServeError {
    /// What kind of failure it is.
    pub code: Code,
    /// What, where and how to mend it; shown to the client.
    pub message: String,
}

impl ServeError {
    /// An error of kind `code`.
    pub fn new(code: Code, message: impl Into<String>) -> ServeError {
        ServeError {
            code,
            message: message.into(),
        }
    }

    /// The input is at fault.
    pub fn invalid(message: impl Into<String>) -> ServeError {
        ServeError::new(Code::InvalidArgument, message)
    }

    /// The server is at fault.
    pub fn internal(error: impl fmt::Display) -> ServeError {
        ServeError::new(Code::Internal, error.to_string())
    }
}
