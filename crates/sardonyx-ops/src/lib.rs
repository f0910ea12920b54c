//! The operators: one file each (or one table row, for a member of a family), holding all that
//! there is to know of it: versions, shape inference, reference evaluation, gradient rule, cost,
//! examples.
//!
//! The reference evaluation is the truth that every kernel is held against: it computes in `f64`
//! whatever the element type, and rounds once at the end. A gradient rule emits nodes, never
//! numbers. Examples are data: generic tests run each of them through inference, reference,
//! finite differences and, further up, every form of a plan.
//!
//! To add one: a new file in `ops/`, its line in the sorted table of `registry.rs`.
//!
//! Invariants: no protobuf, no IO, no clock, no global state but the table of operators.

mod builder;
mod context;
mod error;
mod example;
mod infer;
mod interpret;
mod normalize;
mod operator;
pub mod ops;
pub mod pool;
mod reference;
mod registry;
pub mod window;

pub use builder::{Builder, EmitAttributes};
pub(crate) use context::FREE_DIM;
pub use context::{EvalCx, GradCx, InferCx, Inferred, Known};
pub use error::{OpError, Result};
pub use example::{Example, GradCheck};
pub use infer::{Knowledge, bind, infer};
pub use interpret::interpret;
pub use operator::{Cost, Operator, Schema};
pub(crate) use operator::{axis_index, element_flops, fact_flops};
pub use registry::{MAX_OPSET, known, lookup, operators};
