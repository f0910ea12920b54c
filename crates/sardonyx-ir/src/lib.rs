//! The graph: what a model is, between the file it came from and the plan it becomes.
//!
//! A [`Graph`] is a list of [`Node`]s, each an instance of an ONNX operator with its attributes,
//! over values that carry a name and what is known of them (a [`Fact`]: element type and shape,
//! dimensions being numbers or symbols). Rewrites are [`Patch`]es: built against a graph that
//! stays as it is, then applied, with a label that says who did it. [`Graph::verify`] holds a
//! graph against the rules that every other crate relies on.
//!
//! Invariants: no protobuf, no kernel, no operator's meaning, no serde, no IO; the order of
//! everything that can be iterated is deterministic.

mod attr;
mod dim;
mod error;
mod fact;
mod graph;
pub mod named;
mod node;
mod patch;
pub mod text;
mod verify;

pub use attr::{Attr, Attributes};
pub use dim::Dim;
pub use error::{GraphError, Result};
pub use fact::Fact;
pub use graph::{Graph, ModelInfo, NodeId, Producer, Value, ValueId};
pub use node::{Node, ONNX, PREVIEW_TRAINING, SARDONYX};
pub use patch::{Patch, Replacements};
