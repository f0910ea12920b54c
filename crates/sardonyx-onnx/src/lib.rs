//! ONNX files: protobuf bytes to plain structs and back, with the data of every tensor in memory.
//!
//! A file is not trusted. [`load`] and [`decode`] hold it to limits before they allocate, read
//! external data from inside the model's folder only, and refuse what contradicts itself, so that
//! what they return can be used without further checks of lengths: each tensor of a known element
//! type has as much data as its shape needs, nesting is limited, no function calls itself. The
//! writers hold models to the same rules, so that what is written can be read.
//!
//! Invariants: no meaning of operators, no data flow between nodes (whether names resolve, whether
//! the nodes are in order, is for the graph's crate), no network, no printing, no `unsafe`; every
//! tensor of a file passes through one resolver; names of written files are never taken from a
//! model.

mod atomic;
mod element_type;
mod error;
mod external;
mod folder;
mod functions;
pub mod fuzzing;
mod layout;
pub mod limits;
mod load;
pub mod proto;
mod save;
mod sparse;
mod tensor;
mod walk;
mod wire;

pub use atomic::{AtomicFile, write_atomic};
pub use element_type::{dtype_from_onnx, dtype_to_onnx, element_type_name};
pub use error::{ExternalError, OnnxError, Result};
pub use load::{LoadOptions, Loaded, decode, decode_tensor, load};
pub use prost::bytes::Bytes;
pub use save::{ExternalData, SaveOptions, Saved, encode, encode_tensor, save};
pub use sparse::sparse_from_proto;
pub use tensor::{tensor_from_proto, tensor_to_proto};
