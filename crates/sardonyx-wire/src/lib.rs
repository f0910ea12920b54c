//! What inference servers and their clients say to each other: the TensorFlow Serving API (REST
//! and gRPC) and the Open Inference Protocol of KServe v2 with Triton's extensions, as functions
//! from bytes to structs and [`sardonyx_tensor::Tensor`]s and back.
//!
//! The server's core and its transports both build on this: a transport hands in a body and gets
//! inputs or an error whose [`Code`] says which status to answer with; the core never sees bytes.
//!
//! Invariants: no IO, no async, no clock, no state between calls. Of a model nothing is known but
//! the [`TensorSpec`]s that are handed in. Every byte may be hostile: nothing panics, recursion
//! is bounded, and no claimed length or shape takes memory that the bytes do not back.

mod error;
mod json;
pub mod kserve;
pub mod proto;
mod raw;
mod schema;
mod spec;
pub mod tensorflow;
pub mod text;
mod value;

pub use error::{Code, Result, WireError};
pub use prost::bytes::Bytes;
pub use spec::TensorSpec;
pub use value::{BytesTensor, Value};
