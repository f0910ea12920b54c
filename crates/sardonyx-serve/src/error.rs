//! What goes wrong while serving: a canonical code that every door translates, and a message for
//! the client.

use std::fmt;

pub use sardonyx_wire::{Code, WireError as ServeError};

/// Result of the serving core.
pub type Result<T, E = ServeError> = std::result::Result<T, E>;

/// The request, or the file that was asked for, is at fault.
pub(crate) fn invalid(error: impl fmt::Display) -> ServeError {
    ServeError::new(Code::InvalidArgument, error.to_string())
}

/// The server is at fault.
pub(crate) fn internal(error: impl fmt::Display) -> ServeError {
    ServeError::new(Code::Internal, error.to_string())
}
