//! What a model file holds: nodes with shapes, parameters and costs, and a drawing of the graph.
//!
//! A model with operators that are not known here is told of all the same: as far as the file
//! itself says, with the reason why there is no more ([`InspectReport::problem`]).

mod draw;
mod layout;
mod nodes;
mod print;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sardonyx_ir::text::{self, PrintOptions};
use sardonyx_ir::{Fact, Graph, ValueId};
use serde::Serialize;

use crate::error::{Error, Result};

/// What to look at, and what to make of it.
#[derive(Debug, Clone, Default)]
pub struct InspectOptions {
    /// The model file, or the name of a network of the zoo.
    pub model: PathBuf,
    /// Values of symbolic dimensions for which costs are counted; others count as 1.
    pub dims: BTreeMap<String, usize>,
    /// Where to draw the graph to.
    pub svg: Option<PathBuf>,
    /// Whether to give the graph as text.
    pub text: bool,
}

/// What a model file holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectReport {
    /// The model file, or the name of a network of the zoo.
    pub model: PathBuf,
    /// Size of the file, that of external data not included.
    pub file_bytes: Option<u64>,
    /// Name of the graph.
    pub name: String,
    /// Notes of the model and of the graph.
    pub doc: String,
    /// Version of the file format.
    pub ir_version: Option<i64>,
    /// Operator-set version by domain; the standard domain is the empty string.
    pub opsets: BTreeMap<String, i64>,
    /// Key-value pairs of the model.
    pub metadata: BTreeMap<String, String>,
    /// What the model takes.
    pub inputs: Vec<Port>,
    /// What the model gives.
    pub outputs: Vec<Port>,
    /// Nodes in the order of computation.
    pub nodes: Vec<NodeRow>,
    /// Sums over the nodes.
    pub totals: Totals,
    /// Values of symbolic dimensions that costs were counted for.
    pub dims: BTreeMap<String, usize>,
    /// Why shapes and costs are incomplete, when they are.
    pub problem: Option<String>,
    /// The graph as text, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The drawing, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub svg: Option<PathBuf>,
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Element type; `None` when unknown.
    pub dtype: Option<String>,
    /// Dimensions, numbers or symbols; `None` when unknown.
    pub shape: Option<Vec<String>>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeRow {
    /// Name; may be empty.
    pub name: String,
    /// Operator, with its domain when that is not the standard one.
    pub op: String,
    /// The attributes and weights that tell it from others of its kind, in short.
    pub detail: String,
    /// Outputs.
    pub outputs: Vec<Port>,
    /// Numbers that training would change; those shared with an earlier node are counted there.
    pub parameters: u64,
    /// Floating-point operations, a multiply-add being two.
    pub flops: Option<u64>,
    /// Bytes read and written once each, weights included.
    pub bytes: Option<u64>,
}

/// Sums over the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Nodes.
    pub nodes: usize,
    /// Numbers that training would change.
    pub parameters: u64,
    /// Their bytes.
    pub parameter_bytes: u64,
    /// Floating-point operations; `None` when one node's are unknown.
    pub flops: Option<u64>,
    /// Bytes read and written; `None` when one node's are unknown.
    pub bytes: Option<u64>,
    /// Nodes by operator.
    pub operators: BTreeMap<String, usize>,
}

/// Reads a model file and says what it holds; draws it, when asked to.
///
/// # Errors
/// When the file is not a well-formed model, when a dimension is named that it does not have, or
/// when the drawing cannot be written.
pub fn inspect(options: &InspectOptions) -> Result<InspectReport> {
    let mut graph = crate::zoo_or_file(&options.model)?;
    let dims = bindings(&graph, &options.dims)?;
    let problem = sardonyx_ops::infer(&mut graph).err();
    let nodes = nodes::rows(&graph, &dims)?;
    if let Some(path) = &options.svg {
        let svg = draw::svg(&graph, &nodes)?;
        sardonyx_onnx::write_atomic(path, svg.as_bytes())?;
    }
    let text = match options.text {
        true => Some(
            text::print(&graph, PrintOptions::default()).map_err(sardonyx_ops::OpError::from)?,
        ),
        false => None,
    };
    let port = |&id: &ValueId| Port::new(&graph, id);
    Ok(InspectReport {
        model: options.model.clone(),
        file_bytes: std::fs::metadata(&options.model)
            .ok()
            .map(|file| file.len()),
        name: graph.name.clone(),
        doc: [&graph.model.doc, &graph.doc]
            .map(String::as_str)
            .join("\n")
            .trim()
            .to_owned(),
        ir_version: graph.model.ir_version,
        inputs: graph.inputs.iter().map(port).collect(),
        outputs: graph.outputs.iter().map(port).collect(),
        totals: nodes::totals(&graph, &nodes),
        nodes,
        dims,
        problem: problem.map(|problem| problem.to_string()),
        text,
        svg: options.svg.clone(),
        opsets: graph.opsets,
        metadata: graph.metadata,
    })
}

/// A number for every symbol in the shapes of the inputs.
fn bindings(graph: &Graph, wanted: &BTreeMap<String, usize>) -> Result<BTreeMap<String, usize>> {
    let facts = graph.inputs.iter().filter_map(|&id| graph.fact(id));
    let symbols = facts
        .flat_map(|fact| fact.shape.iter().flatten())
        .flat_map(|dim| dim.symbols());
    let mut dims: BTreeMap<String, usize> = symbols.map(|symbol| (symbol.to_owned(), 1)).collect();
    for (name, &value) in wanted {
        let Some(slot) = dims.get_mut(name) else {
            let known: Vec<&str> = dims.keys().map(String::as_str).collect();
            let hint = match &known[..] {
                [] => "its inputs have fixed shapes".to_owned(),
                known => format!("it has {}", known.join(", ")),
            };
            let problem = format!("the model has no dimension `{name}`; hint: {hint}");
            return Err(Error::config("dims", problem));
        };
        *slot = value;
    }
    Ok(dims)
}

impl Port {
    fn new(graph: &Graph, id: ValueId) -> Port {
        let fact = graph.fact(id);
        let shape = fact.and_then(|fact| fact.shape.as_ref());
        Port {
            name: graph.value_name(id).to_owned(),
            dtype: fact.map(|fact| fact.dtype.to_string()),
            shape: shape.map(|dims| dims.iter().map(ToString::to_string).collect()),
        }
    }

    /// Type and shape in short: `f32[N,10]`.
    pub fn fact(&self) -> String {
        let Some(dtype) = &self.dtype else {
            return "?".to_owned();
        };
        match &self.shape {
            Some(shape) => format!("{dtype}[{}]", shape.join(",")),
            None => format!("{dtype}[...]"),
        }
    }
}

/// Elements of a fact whose dimensions are all numbers.
fn element_count(fact: &Fact) -> Option<u64> {
    let shape = fact.fixed_shape()?;
    shape
        .iter()
        .try_fold(1u64, |count, &dim| count.checked_mul(dim as u64))
}
