use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_ir::{Graph, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::{EvalCx, OpError, Result, registry};

/// Runs a graph node by node through the operators' reference evaluations and returns its outputs.
/// Slow and plain: the truth that plans are held against, and what runs graphs whose shapes depend
/// on their data.
///
/// # Errors
/// When an input is missing or does not fit its declared type and shape, or a node's inputs are
/// not legal.
pub fn interpret(graph: &Graph, feeds: &BTreeMap<ValueId, Tensor>) -> Result<Vec<Tensor>> {
    let mut values: Vec<Option<Arc<Tensor>>> = vec![None; graph.value_count()];
    for (&id, tensor) in &graph.initializers {
        values[id.index()] = Some(tensor.clone());
    }
    for &id in &graph.inputs {
        let Some(tensor) = feeds.get(&id) else {
            continue;
        };
        check_feed(graph, id, tensor)?;
        values[id.index()] = Some(Arc::new(tensor.clone()));
    }
    if let Some(&id) = graph.inputs.iter().find(|id| values[id.index()].is_none()) {
        let value = graph.value_name(id).to_owned();
        return Err(OpError::Feed {
            value,
            problem: "no tensor was given for it".to_owned(),
        });
    }
    for id in graph.topological_order()? {
        run_node(graph, graph.node(id), &mut values)?;
    }
    let output = |&id: &ValueId| values[id.index()].as_deref().cloned();
    graph
        .outputs
        .iter()
        .map(output)
        .collect::<Option<_>>()
        .ok_or_else(|| OpError::Feed {
            value: graph.name.clone(),
            problem: "an output of the graph is not computed by any node".to_owned(),
        })
}

fn check_feed(graph: &Graph, id: ValueId, tensor: &Tensor) -> Result<()> {
    match graph.fact(id) {
        Some(fact) if !fact.admits(tensor.dtype(), tensor.shape()) => Err(OpError::Feed {
            value: graph.value_name(id).to_owned(),
            problem: format!(
                "expected {fact}, got {}{:?}",
                tensor.dtype(),
                tensor.shape()
            ),
        }),
        _ => Ok(()),
    }
}

fn run_node(graph: &Graph, node: &Node, values: &mut [Option<Arc<Tensor>>]) -> Result<()> {
    let opset = graph.opset(&node.domain).unwrap_or(registry::MAX_OPSET);
    let operator = registry::lookup(node, opset)?;
    let outputs = {
        let inputs = node
            .inputs
            .iter()
            .map(|id| id.and_then(|id| values[id.index()].as_deref()));
        operator.eval(&EvalCx {
            node,
            inputs: inputs.collect(),
            opset,
        })?
    };
    for (id, tensor) in node.outputs.iter().zip(outputs) {
        if let Some(id) = id {
            values[id.index()] = Some(Arc::new(tensor));
        }
    }
    Ok(())
}
