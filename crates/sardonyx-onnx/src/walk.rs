//! One way through a model to every tensor that it holds, so that nothing is resolved or checked
//! in one place and forgotten in another.

use std::collections::BTreeSet;

use crate::error::{OnnxError, Result, quoted, shortened};
use crate::limits::MAX_GRAPH_DEPTH;
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
};

/// What a tensor is to its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Initializer,
    /// Value of an attribute, or a part of a sparse tensor.
    Other,
}

/// What is done with each tensor.
pub(crate) trait Visitor {
    fn tensor(&mut self, tensor: &mut TensorProto, role: Role) -> Result<()>;

    /// Called after both parts of the sparse tensor were visited.
    fn sparse(&mut self, sparse: &SparseTensorProto) -> Result<()>;
}

/// Visits every tensor of the model: initializers, sparse ones, attributes, in subgraphs,
/// functions, defaults of function attributes and training graphs.
///
/// # Errors
/// The visitor's, graphs nested too deep, and initializers without a name of their own; each with
/// its place.
pub(crate) fn visit_model(model: &mut ModelProto, visitor: &mut dyn Visitor) -> Result<()> {
    if let Some(main) = &mut model.graph {
        graph(main, 1, visitor)?;
    }
    for function in &mut model.functions {
        let attributes = (function.attribute_proto.iter_mut())
            .try_for_each(|default| attribute(default, 0, visitor));
        attributes
            .and_then(|()| nodes(&mut function.node, 0, visitor))
            .map_err(|error| error.at(format!("function {}", quoted(function.name()))))?;
    }
    for info in &mut model.training_info {
        let graphs = [&mut info.initialization, &mut info.algorithm];
        for training in graphs.into_iter().flatten() {
            graph(training, 1, visitor).map_err(|error| error.at("training_info"))?;
        }
    }
    Ok(())
}

fn graph(graph: &mut GraphProto, depth: usize, visitor: &mut dyn Visitor) -> Result<()> {
    if depth > MAX_GRAPH_DEPTH {
        return Err(OnnxError::TooDeep {
            what: "graphs",
            max: MAX_GRAPH_DEPTH,
        });
    }
    graph_parts(graph, depth, visitor)
        .map_err(|error| error.at(format!("graph {}", quoted(graph.name()))))
}

fn graph_parts(graph: &mut GraphProto, depth: usize, visitor: &mut dyn Visitor) -> Result<()> {
    check_initializer_names(graph)?;
    for initializer in &mut graph.initializer {
        tensor(initializer, Role::Initializer, visitor)?;
    }
    for initializer in &mut graph.sparse_initializer {
        sparse(initializer, visitor)?;
    }
    nodes(&mut graph.node, depth, visitor)
}

fn check_initializer_names(graph: &GraphProto) -> Result<()> {
    let sparse = graph
        .sparse_initializer
        .iter()
        .map(|sparse| sparse.values.as_ref().map_or("", TensorProto::name));
    let mut seen = BTreeSet::new();
    for name in graph
        .initializer
        .iter()
        .map(TensorProto::name)
        .chain(sparse)
    {
        if name.is_empty() {
            return Err(OnnxError::UnnamedInitializer);
        }
        if !seen.insert(name) {
            return Err(OnnxError::DuplicateInitializer(shortened(name)));
        }
    }
    Ok(())
}

fn nodes(nodes: &mut [NodeProto], depth: usize, visitor: &mut dyn Visitor) -> Result<()> {
    for node in nodes {
        (node.attribute.iter_mut())
            .try_for_each(|value| attribute(value, depth, visitor))
            .map_err(|error| {
                let (kind, name) = (shortened(node.op_type()), quoted(node.name()));
                error.at(format!("node {name} ({})", kind.escape_debug()))
            })?;
    }
    Ok(())
}

fn attribute(
    attribute: &mut AttributeProto,
    depth: usize,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    attribute_parts(attribute, depth, visitor)
        .map_err(|error| error.at(format!("attribute {}", quoted(attribute.name()))))
}

fn attribute_parts(
    attribute: &mut AttributeProto,
    depth: usize,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let one = attribute.t.as_deref_mut().into_iter();
    for value in one.chain(&mut attribute.tensors) {
        tensor(value, Role::Other, visitor)?;
    }
    let one = attribute.sparse_tensor.as_deref_mut().into_iter();
    for value in one.chain(&mut attribute.sparse_tensors) {
        sparse(value, visitor)?;
    }
    let one = attribute.g.as_deref_mut().into_iter();
    for value in one.chain(&mut attribute.graphs) {
        graph(value, depth + 1, visitor)?;
    }
    Ok(())
}

fn sparse(sparse: &mut SparseTensorProto, visitor: &mut dyn Visitor) -> Result<()> {
    let parts = [&mut sparse.values, &mut sparse.indices];
    for part in parts.into_iter().flatten() {
        tensor(part, Role::Other, visitor)?;
    }
    visitor.sparse(sparse).map_err(|error| {
        let name = sparse.values.as_ref().map_or("", TensorProto::name);
        error.at(format!("tensor {}", quoted(name)))
    })
}

fn tensor(tensor: &mut TensorProto, role: Role, visitor: &mut dyn Visitor) -> Result<()> {
    visitor
        .tensor(tensor, role)
        .map_err(|error| error.at(format!("tensor {}", quoted(tensor.name()))))
}
