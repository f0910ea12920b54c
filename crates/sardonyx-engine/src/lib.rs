//! From a graph to a run of it: rewrites it for the machine, lowers nodes to kernel calls, lays
//! all buffers out in one arena each for constants, state and work, and runs the calls on a pool
//! of threads. What cannot be planned (shapes that depend on data) is interpreted.
//!
//! - [`Executable`]: one graph of fixed shapes, planned. Training steps are these.
//! - [`Session`]: a model that predicts, with a plan per input shape.
//!
//! Invariants: a plan is made for one instruction set and fixed shapes and is never saved; its
//! result does not depend on the number of threads; after the first run nothing is allocated
//! (but by nodes that have no kernel and run through their reference).

mod buffers;
mod error;
mod executable;
mod fill;
mod forward;
mod host;
mod lower;
mod memory;
mod plan;
mod schedule;
mod session;
mod store;
mod tiles;

pub use error::{EngineError, Result};
pub use executable::{CallSpan, CompileOptions, Executable, NodeCost};
pub use forward::{ForwardOptions, prepare_backward, prepare_forward};
pub use sardonyx_kernels::{Isa, Pool, release_heap};
pub use session::{Session, SessionOptions};
pub use tiles::Tiling;
