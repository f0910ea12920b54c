//! The canonical codes that gRPC defines and both protocols use, and the one error of this crate:
//! a code and what the client is told.

use std::fmt;

/// A canonical status code (the numbers are those of gRPC and of `google.rpc.Code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Not an error.
    Ok = 0,
    /// The client gave up.
    Cancelled = 1,
    /// None of the others is known to fit.
    Unknown = 2,
    /// The request is wrong whatever the server's state.
    InvalidArgument = 3,
    /// The time that the client gave is over.
    DeadlineExceeded = 4,
    /// There is no such model, version, label or signature.
    NotFound = 5,
    /// What was to be made is there.
    AlreadyExists = 6,
    /// Who asks is known, and may not.
    PermissionDenied = 7,
    /// A queue or quota is full.
    ResourceExhausted = 8,
    /// The server's state does not allow it.
    FailedPrecondition = 9,
    /// A conflict with another operation.
    Aborted = 10,
    /// Past the valid range.
    OutOfRange = 11,
    /// Not supported.
    Unimplemented = 12,
    /// An invariant of the server is broken.
    Internal = 13,
    /// Not now; the client may try again.
    Unavailable = 14,
    /// Data is lost or damaged.
    DataLoss = 15,
    /// Who asks is not known.
    Unauthenticated = 16,
}

/// Each code with its name and the HTTP status that TensorFlow Serving answers with.
const TABLE: [(Code, &str, u16); 17] = [
    (Code::Ok, "OK", 200),
    (Code::Cancelled, "CANCELLED", 499),
    (Code::Unknown, "UNKNOWN", 500),
    (Code::InvalidArgument, "INVALID_ARGUMENT", 400),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 504),
    (Code::NotFound, "NOT_FOUND", 404),
    (Code::AlreadyExists, "ALREADY_EXISTS", 409),
    (Code::PermissionDenied, "PERMISSION_DENIED", 403),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED", 429),
    (Code::FailedPrecondition, "FAILED_PRECONDITION", 400),
    (Code::Aborted, "ABORTED", 409),
    (Code::OutOfRange, "OUT_OF_RANGE", 400),
    (Code::Unimplemented, "UNIMPLEMENTED", 501),
    (Code::Internal, "INTERNAL", 500),
    (Code::Unavailable, "UNAVAILABLE", 503),
    (Code::DataLoss, "DATA_LOSS", 500),
    (Code::Unauthenticated, "UNAUTHENTICATED", 401),
];

impl Code {
    fn row(self) -> (Code, &'static str, u16) {
        TABLE[self as usize]
    }

    /// The number on the wire of gRPC, which is also that of TensorFlow's `error.Code`.
    pub const fn grpc_code(self) -> i32 {
        self as i32
    }

    /// The HTTP status that stands for it.
    pub fn http_status(self) -> u16 {
        self.row().2
    }

    /// Its name in capitals: `INVALID_ARGUMENT`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The code of this number; [`Code::Unknown`] for a number that is none.
    pub fn from_number(number: i32) -> Code {
        let row = usize::try_from(number).ok().and_then(|at| TABLE.get(at));
        row.map_or(Code::Unknown, |row| row.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong, as the client is told: a canonical code and a message.
///
/// The messages are those of TensorFlow Serving and Triton where clients may look at them, so they
/// do not all follow the house style of errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// What kind of error it is.
    pub code: Code,
    /// What the client reads.
    pub message: String,
}

/// Result of a function of this crate.
pub type Result<T, E = WireError> = std::result::Result<T, E>;

impl WireError {
    /// An error of this code with this message.
    pub fn new(code: Code, message: impl Into<String>) -> WireError {
        WireError {
            code,
            message: message.into(),
        }
    }

    /// An error of [`Code::InvalidArgument`].
    pub fn invalid(message: impl Into<String>) -> WireError {
        WireError::new(Code::InvalidArgument, message)
    }

    /// An error of [`Code::Unimplemented`].
    pub fn unimplemented(message: impl Into<String>) -> WireError {
        WireError::new(Code::Unimplemented, message)
    }

    /// The HTTP status to answer with.
    pub fn http_status(&self) -> u16 {
        self.code.http_status()
    }

    /// The gRPC status to answer with.
    pub fn grpc_code(&self) -> i32 {
        self.code.grpc_code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_of_the_numbers() {
        for (number, row) in (0..).zip(TABLE) {
            assert_eq!(row.0.grpc_code(), number);
            assert_eq!(Code::from_number(number), row.0);
        }
        assert_eq!(Code::from_number(17), Code::Unknown);
        assert_eq!(Code::from_number(-1), Code::Unknown);
    }
}
