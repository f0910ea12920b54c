//! The table of nodes: what each is, has and costs.

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Attr, Graph, Node, NodeId, ValueId};
use sardonyx_ops::Knowledge;

use super::{NodeRow, Port, Totals, element_count};
use crate::error::Result;

/// Attributes that name what a node does, in the order they are told; the others are details.
const TOLD: [&str; 12] = [
    "kernel_shape",
    "strides",
    "dilations",
    "group",
    "pads",
    "auto_pad",
    "axis",
    "axes",
    "perm",
    "to",
    "alpha",
    "ratio",
];

/// A row for each node in the order of computation. Costs are counted for the sizes `dims`.
pub(super) fn rows(graph: &Graph, dims: &BTreeMap<String, usize>) -> Result<Vec<NodeRow>> {
    let mut bound = graph.clone();
    let knowledge = sardonyx_ops::bind(&mut bound, dims).ok();
    let mut left = parameters(graph);
    let order = graph
        .topological_order()
        .map_err(sardonyx_ops::OpError::from)?;
    let rows = order.into_iter().map(|id| {
        let node = graph.node(id);
        let outputs = node.outputs.iter().flatten();
        // A parameter that several nodes read is counted at the first of them.
        let read = node.inputs.iter().flatten();
        let own: Vec<ValueId> = read.filter(|&id| left.remove(id)).copied().collect();
        let counts = own
            .into_iter()
            .filter_map(|id| element_count(graph.fact(id)?));
        NodeRow {
            name: node.name.clone(),
            op: node.qualified_op(),
            detail: detail(graph, node),
            outputs: outputs.map(|&output| Port::new(graph, output)).collect(),
            parameters: counts.sum(),
            flops: knowledge
                .as_ref()
                .and_then(|known| flops(&bound, id, known)),
            bytes: knowledge.as_ref().and_then(|_| bytes(&bound, node)),
        }
    });
    Ok(rows.collect())
}

pub(super) fn totals(graph: &Graph, rows: &[NodeRow]) -> Totals {
    let mut operators = BTreeMap::new();
    for row in rows {
        *operators.entry(row.op.clone()).or_default() += 1;
    }
    let parameters = parameters(graph).into_iter();
    let sum = |cost: fn(&NodeRow) -> Option<u64>| {
        rows.iter()
            .try_fold(0u64, |sum, row| sum.checked_add(cost(row)?))
    };
    Totals {
        nodes: rows.len(),
        parameters: rows.iter().map(|row| row.parameters).sum(),
        parameter_bytes: parameters.filter_map(|id| value_bytes(graph, id)).sum(),
        flops: sum(|row| row.flops),
        bytes: sum(|row| row.bytes),
        operators,
    }
}

/// What training would change, which reads constants as initializers first.
fn parameters(graph: &Graph) -> BTreeSet<ValueId> {
    let mut lifted = graph.clone();
    // A malformed constant is told by the inference; here it is none.
    let _ = sardonyx_passes::apply(&mut lifted, sardonyx_passes::lift_constants);
    let trained = sardonyx_passes::trainable_parameters(&lifted);
    let trained: BTreeSet<ValueId> = trained.into_iter().collect();
    let read = lifted.nodes().flat_map(|(id, node)| {
        let inputs = node.inputs.iter().zip(&graph.node(id).inputs);
        inputs.filter_map(|(lifted, own)| lifted.filter(|id| trained.contains(id)).and(*own))
    });
    read.collect()
}

fn flops(bound: &Graph, id: NodeId, known: &Knowledge) -> Option<u64> {
    let node = bound.node(id);
    let opset = bound.opset(&node.domain).unwrap_or(sardonyx_ops::MAX_OPSET);
    let operator = sardonyx_ops::lookup(node, opset).ok()?;
    let cx = known.context(bound, node).ok()?;
    let outputs = operator.infer(&cx).ok()?;
    operator.flops(&cx, &outputs)
}

fn bytes(bound: &Graph, node: &Node) -> Option<u64> {
    let values: BTreeSet<ValueId> = node
        .inputs
        .iter()
        .chain(&node.outputs)
        .flatten()
        .copied()
        .collect();
    values
        .into_iter()
        .try_fold(0u64, |sum, id| sum.checked_add(value_bytes(bound, id)?))
}

fn value_bytes(graph: &Graph, id: ValueId) -> Option<u64> {
    let fact = graph.fact(id)?;
    element_count(fact)?.checked_mul(fact.dtype.size_bytes()? as u64)
}

/// `3x3, stride 2, pad 1 | 64x32x3x3, 64`: what is not a default or follows from the shapes.
fn detail(graph: &Graph, node: &Node) -> String {
    let told = TOLD.iter().filter_map(|&name| {
        let attribute = node.attributes.get(name)?;
        attribute_text(name, attribute)
    });
    let attributes: Vec<String> = told.collect();
    let inputs = node.inputs.iter().flatten();
    let tensors = inputs.filter_map(|id| {
        let tensor = graph.initializers.get(id)?;
        let shape: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
        Some(match shape.is_empty() {
            true => "scalar".to_owned(),
            false => shape.join("x"),
        })
    });
    let tensors: Vec<String> = tensors.collect();
    let alike = tensors.iter().skip(1).all(|shape| *shape == tensors[0]);
    let tensors = match &tensors[..] {
        [shape, _, _, ..] if alike => format!("{} of {shape}", tensors.len()),
        _ => tensors.join(", "),
    };
    let parts = [attributes.join(", "), tensors];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" | ")
}

fn attribute_text(name: &str, attribute: &Attr) -> Option<String> {
    let list = |values: &[i64], separator: &str| {
        let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
        match values {
            [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|v| v == first) => {
                first.to_string()
            }
            _ => texts.join(separator),
        }
    };
    let is_all = |values: &[i64], value: i64| values.iter().all(|&v| v == value);
    match (name, attribute) {
        ("kernel_shape", Attr::Ints(values)) => {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            Some(texts.join("x"))
        }
        ("strides", Attr::Ints(v)) if !is_all(v, 1) => Some(format!("stride {}", list(v, "x"))),
        ("dilations", Attr::Ints(v)) if !is_all(v, 1) => Some(format!("dilation {}", list(v, "x"))),
        ("pads", Attr::Ints(v)) if !is_all(v, 0) => Some(format!("pad {}", list(v, ","))),
        ("group", Attr::Int(1)) => None,
        ("auto_pad", Attr::String(text)) if text == b"NOTSET" => None,
        ("auto_pad", Attr::String(text)) => Some(String::from_utf8_lossy(text).to_lowercase()),
        ("axes" | "perm", Attr::Ints(v)) => {
            let texts: Vec<String> = v.iter().map(ToString::to_string).collect();
            Some(format!("{name} {}", texts.join(",")))
        }
        (_, Attr::Int(value)) => Some(format!("{name} {value}")),
        ("alpha", Attr::Float(1.0)) => None,
        (_, Attr::Float(value)) => Some(format!("{name} {value}")),
        _ => None,
    }
}
