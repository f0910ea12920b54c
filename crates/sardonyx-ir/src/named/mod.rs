//! A model by names, as files and the text form write it: the step between them and a
//! [`crate::Graph`].
//!
//! Files refer to values by name, let a subgraph read the names of the graph around it, and let a
//! model define functions. A graph has none of that: [`assemble`] resolves names to values, makes
//! what a subgraph reads from outside an input of its node, and puts each function's body in the
//! place of its calls; [`disassemble`] gives names back. Both readers and both writers (ONNX
//! files, text) share them, so that a model means the same whatever it came from.

mod assemble;
mod disassemble;
mod function;
mod scope;

use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_tensor::Tensor;

use crate::{Attr, Fact, ModelInfo};

pub use assemble::assemble;
pub use disassemble::disassemble;

/// Most nodes of a model, its functions put in the place of their calls.
pub const MAX_NODES: usize = 10_000_000;

/// Most values of one graph.
pub const MAX_VALUES: usize = 40_000_000;

/// Deepest nesting of graphs and of function calls.
pub const MAX_DEPTH: usize = 64;

/// A model by names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedModel {
    /// What the model says of itself.
    pub info: ModelInfo,
    /// Operator-set version by domain.
    pub opsets: BTreeMap<String, i64>,
    /// Free key-value pairs of the model.
    pub metadata: BTreeMap<String, String>,
    /// The graph.
    pub graph: NamedGraph,
    /// Functions that nodes may call.
    pub functions: Vec<NamedFunction>,
}

/// A graph by names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedGraph {
    /// Name.
    pub name: String,
    /// Human-readable note.
    pub doc: String,
    /// Free key-value pairs (those of the outermost graph are in [`ModelInfo::graph_metadata`]).
    pub metadata: BTreeMap<String, String>,
    /// Inputs.
    pub inputs: Vec<NamedValue>,
    /// Outputs.
    pub outputs: Vec<NamedValue>,
    /// What is known of values in between.
    pub values: Vec<NamedValue>,
    /// Constants; one with the name of an input is that input's default.
    pub initializers: Vec<NamedTensor>,
    /// Nodes.
    pub nodes: Vec<NamedNode>,
}

/// A value's name and what is known of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedValue {
    /// Name.
    pub name: String,
    /// Type and shape, when known.
    pub fact: Option<Fact>,
    /// Human-readable note.
    pub doc: String,
    /// Free key-value pairs.
    pub metadata: BTreeMap<String, String>,
}

/// A constant with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Name.
    pub name: String,
    /// The constant.
    pub tensor: Arc<Tensor>,
    /// Human-readable note.
    pub doc: String,
    /// Free key-value pairs.
    pub metadata: BTreeMap<String, String>,
}

/// A node by names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedNode {
    /// Name.
    pub name: String,
    /// Operator set.
    pub domain: String,
    /// Operator or function.
    pub op_type: String,
    /// Which of several functions of one domain and name is meant.
    pub overload: String,
    /// Inputs; an empty name is one that is left out.
    pub inputs: Vec<String>,
    /// Outputs; an empty name is one that is left out.
    pub outputs: Vec<String>,
    /// Attributes.
    pub attributes: Vec<(String, NamedAttr)>,
    /// Human-readable note.
    pub doc: String,
    /// Free key-value pairs.
    pub metadata: BTreeMap<String, String>,
}

/// An attribute's value, where subgraphs are by names.
#[derive(Debug, Clone, PartialEq)]
pub enum NamedAttr {
    /// A value without subgraphs.
    Plain(Attr),
    /// A subgraph.
    Graph(NamedGraph),
    /// Subgraphs.
    Graphs(Vec<NamedGraph>),
    /// In a function's body: the value of the call's attribute of this name.
    Reference(String),
}

/// A function that a model defines: nodes that stand for an operator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedFunction {
    /// Domain.
    pub domain: String,
    /// Name.
    pub name: String,
    /// Tells functions of one domain and name apart.
    pub overload: String,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// Attributes that have a default.
    pub defaults: Vec<(String, NamedAttr)>,
    /// Operator-set version by domain.
    pub opsets: BTreeMap<String, i64>,
    /// The body.
    pub nodes: Vec<NamedNode>,
}
