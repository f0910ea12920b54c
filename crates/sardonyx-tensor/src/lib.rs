//! What every other crate speaks: element types, shapes, owned tensors, limits, random numbers.
//!
//! A [`Tensor`] is a shape and a typed, row-major vector. It is the form in which data enters and
//! leaves the engine and in which the reference evaluation of every operator works; the engine's
//! own buffers live elsewhere.
//!
//! Invariants: no IO, no clock, no global state, no `unsafe`; a tensor's data always has exactly
//! as many elements as its shape says.

mod dtype;
mod error;
pub mod limits;
mod rng;
mod shape;
mod spread;
mod tensor;

pub use dtype::DType;
pub use error::{Result, TensorError};
pub use half::{bf16, f16};
pub use rng::Philox;
pub use shape::{broadcast_shapes, broadcast_strides, element_count, strides, unravel};
pub use spread::spread;
pub use tensor::{Data, Element, Tensor};
