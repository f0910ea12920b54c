//! What a model file means: ONNX messages to a [`Graph`](sardonyx_ir::Graph) and back.
//!
//! [`import`] and [`export`] lose nothing that a graph here can have: names, notes, key-value pairs
//! (of the model, its graph, nodes and values), operator-set imports, types of values in between,
//! unused initializers, defaults of inputs, left-out inputs and outputs, subgraphs with what they
//! read of the graph around them. What changes on the way, or is lost:
//!
//! - Functions are put in the place of their calls; sparse tensors become dense; an undefined
//!   or negative dimension becomes an unknown; what is said twice alike is said once.
//! - Before IR version 4 every initializer had to be an input too. Those inputs are dropped: they
//!   are constants, as every runtime takes them. From version 4 on such an input keeps its
//!   initializer as its default.
//! - Types other than dense tensors are refused for inputs and outputs, and forgotten for values in
//!   between, as are type hints for values that do not exist.
//! - Denotations, quantization annotations, training graphs, device configurations, the names of
//!   tensors in attributes and notes of attributes are dropped. The producer becomes this program.
//!
//! Graphs are held to [`Graph::verify`](sardonyx_ir::Graph::verify) when they come in. Nodes of our
//! own operators, which exist in plans only, neither come in nor go out.
//!
//! Invariants: no meaning of operators, no computation, no IO but through `sardonyx-onnx`; the same
//! graph gives the same bytes.

mod attribute;
mod classes;
mod error;
mod export;
mod file;
mod function;
mod import;
mod types;

pub use classes::{CLASSES_KEY, class_names, set_class_names};
pub use error::{ModelError, Result};
pub use export::{ExportOptions, PRODUCER, export, export_with};
pub use file::{load, load_bytes, load_with, save, save_with, to_bytes};
pub use import::import;
