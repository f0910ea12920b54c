use std::collections::BTreeMap;

use crate::error::{GraphError, Result};
use crate::{Attr, Attributes, Graph, ValueId};

/// The standard operators' domain (`ai.onnx`, which ONNX writes as the empty string).
pub const ONNX: &str = "";
/// Domain of ONNX's training operators.
pub const PREVIEW_TRAINING: &str = "ai.onnx.preview.training";
/// Domain of our own operators, which exist in plans and never in a saved model.
pub const SARDONYX: &str = "ai.sardonyx";

/// An instance of an operator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// Name; may be empty and need not be unique (ONNX asks for neither).
    pub name: String,
    /// Operator set; [`ONNX`] is the standard one.
    pub domain: String,
    /// Operator, such as `Conv`.
    pub op_type: String,
    /// Inputs in the operator's order; `None` for an optional one that is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs in the operator's order; `None` for an optional one that is left out.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes as written; absent ones take the operator's default.
    pub attributes: Attributes,
    /// Human-readable note.
    pub doc: String,
    /// Free key-value pairs.
    pub metadata: BTreeMap<String, String>,
}

impl Node {
    /// A node of `domain` and `op_type` without inputs, outputs and attributes.
    pub fn new(domain: &str, op_type: &str) -> Node {
        Node {
            domain: domain.to_owned(),
            op_type: op_type.to_owned(),
            ..Node::default()
        }
    }

    /// Whether this is operator `op_type` of the standard domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.domain == ONNX && self.op_type == op_type
    }

    /// Whether this is operator `op_type` of our own domain.
    pub fn is_own(&self, op_type: &str) -> bool {
        self.domain == SARDONYX && self.op_type == op_type
    }

    /// The operator's name with its domain where that is not the standard one.
    pub fn qualified_op(&self) -> String {
        if self.domain == ONNX {
            self.op_type.clone()
        } else {
            format!("{}.{}", self.domain, self.op_type)
        }
    }

    /// The subgraphs among the attributes, in the order of the attributes.
    pub fn subgraphs(&self) -> impl Iterator<Item = &Graph> {
        self.attributes
            .values()
            .flat_map(|attr| match attr {
                Attr::Graph(graph) => std::slice::from_ref(graph),
                Attr::Graphs(graphs) => graphs.as_slice(),
                _ => &[],
            })
            .map(AsRef::as_ref)
    }

    /// How many of the last inputs are there because a subgraph reads them: for each subgraph in
    /// order, as many as its [`Graph::captures`]. ONNX writes them by name in the subgraph only;
    /// here they are inputs, so that whoever follows data through a graph sees them.
    pub fn capture_count(&self) -> usize {
        self.subgraphs().map(|graph| graph.captures).sum()
    }

    /// Input `index`, when present.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Output `index`, when present.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// Integer attribute with its default.
    ///
    /// # Errors
    /// When the attribute has another type; the same holds for the other getters.
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attr::Int(value)) => Ok(*value),
            Some(_) => Err(self.attribute_error(name, "must be an integer")),
        }
    }

    /// Truth-value attribute (an integer in ONNX) with its default.
    ///
    /// # Errors
    /// See [`Node::int`].
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    /// Float attribute with its default.
    ///
    /// # Errors
    /// See [`Node::int`].
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attr::Float(value)) => Ok(*value),
            Some(_) => Err(self.attribute_error(name, "must be a float")),
        }
    }

    /// Integer-list attribute, when present.
    ///
    /// # Errors
    /// See [`Node::int`].
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attr::Ints(values)) => Ok(Some(values)),
            Some(_) => Err(self.attribute_error(name, "must be a list of integers")),
        }
    }

    /// Float-list attribute, when present.
    ///
    /// # Errors
    /// See [`Node::int`].
    pub fn floats(&self, name: &str) -> Result<Option<&[f32]>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attr::Floats(values)) => Ok(Some(values)),
            Some(_) => Err(self.attribute_error(name, "must be a list of floats")),
        }
    }

    /// Integer-list attribute of sizes, none negative, when present.
    ///
    /// # Errors
    /// See [`Node::int`]; also when an entry is negative.
    pub fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>> {
        let Some(values) = self.ints(name)? else {
            return Ok(None);
        };
        values
            .iter()
            .map(|&value| {
                usize::try_from(value)
                    .map_err(|_| self.attribute_error(name, "must not have a negative entry"))
            })
            .collect::<Result<Vec<_>>>()
            .map(Some)
    }

    /// Text attribute with its default.
    ///
    /// # Errors
    /// See [`Node::int`]; also when the bytes are not UTF-8.
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attr::String(bytes)) => std::str::from_utf8(bytes)
                .map_err(|_| self.attribute_error(name, "must be UTF-8 text")),
            Some(_) => Err(self.attribute_error(name, "must be a string")),
        }
    }

    /// An error about one of this node's attributes.
    pub fn attribute_error(&self, name: &str, problem: &str) -> GraphError {
        GraphError::Attribute {
            op: self.qualified_op(),
            node: self.name.clone(),
            attribute: name.to_owned(),
            problem: problem.to_owned(),
        }
    }
}
