use std::collections::BTreeSet;

use sardonyx_ir::{Graph, Node, Patch, ValueId};
use sardonyx_ops::{EvalCx, MAX_OPSET, Result, lookup};
use sardonyx_tensor::Tensor;

/// Folding that would make more than this many elements is left to run time: a file of a few
/// bytes can ask for any size (`ConstantOfShape`, `Tile`, `Expand`).
const MAX_FOLDED_ELEMENTS: usize = 1 << 24;

/// Replaces every node whose inputs are all constant by its outputs, computed by the reference.
/// Values in `variable` do not count as constant, though they are initializers: parameters that
/// are being trained.
///
/// # Errors
/// When such a node's inputs are not legal.
pub fn fold_constants(graph: &Graph, variable: &BTreeSet<ValueId>) -> Result<Vec<Patch>> {
    let mut patch = Patch::new(graph, "fold constants");
    for (id, node) in graph.nodes() {
        if !is_foldable(graph, node, variable) {
            continue;
        }
        let opset = graph.opset(&node.domain).unwrap_or(MAX_OPSET);
        let operator = lookup(node, opset)?;
        let likeness = likeness(graph, node)?;
        let constant = |id| graph.constant(id).map(AsRef::as_ref);
        let inputs = node.inputs.iter().enumerate();
        let inputs = inputs
            .map(|(slot, input)| match slot {
                1 if likeness.is_some() => likeness.as_ref(),
                _ => input.and_then(constant),
            })
            .collect();
        let outputs = operator.eval(&EvalCx {
            node,
            inputs,
            opset,
        })?;
        for (output, tensor) in node.outputs.iter().zip(outputs) {
            if let Some(output) = *output {
                let folded = patch.add_initializer(graph.value_name(output), tensor);
                patch.replace(output, folded);
            }
        }
        patch.remove_node(id);
    }
    Ok(vec![patch])
}

/// What stands for the second input of `CastLike`, of which only the type matters: constants that
/// follow the type of an activation are folded, too.
fn likeness(graph: &Graph, node: &Node) -> Result<Option<Tensor>> {
    let like = node.input(1).filter(|_| node.is("CastLike"));
    let Some(fact) = like.and_then(|like| graph.fact(like)) else {
        return Ok(None);
    };
    Ok(Some(Tensor::zeros(fact.dtype, [0])?))
}

fn is_foldable(graph: &Graph, node: &Node, variable: &BTreeSet<ValueId>) -> bool {
    let is_random = node.op_type.starts_with("Random")
        || matches!(
            node.op_type.as_str(),
            "Bernoulli" | "Multinomial" | "DropoutTraining"
        );
    let size = |id| {
        graph
            .fact(id)?
            .fixed_shape()?
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
    };
    let fits = |id| size(id).is_some_and(|size| size <= MAX_FOLDED_ELEMENTS);
    !is_random
        && node
            .inputs
            .iter()
            .take(if node.is("CastLike") { 1 } else { usize::MAX })
            .flatten()
            .all(|input| graph.constant(*input).is_some() && !variable.contains(input))
        && node.outputs.iter().flatten().all(|&output| fits(output))
}
