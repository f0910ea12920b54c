//! Nodes that do nothing when a model is run to predict: `Dropout`, `Identity`, and `Cast` to the
//! type that is there already. Their users read their input instead.

use sardonyx_ir::{Graph, Node, Patch};

use crate::Result;

/// Patches that take out `Identity`, no-op `Cast`, and `Dropout` that is not in training mode.
///
/// # Errors
/// Never fails; the signature is that of a pass.
pub fn drop_inference_only(graph: &Graph) -> Result<Vec<Patch>> {
    let mut patches = Vec::new();
    for (id, node) in graph.nodes() {
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
            continue;
        };
        let mask_is_used = node.output(1).is_some();
        if !passes_through(graph, node) || mask_is_used {
            continue;
        }
        let mut patch = Patch::new(graph, "drop inference only");
        patch.remove_node(id);
        patch.replace(output, input);
        patches.push(patch);
    }
    // One at a time: the next one may read what this one replaces.
    patches.truncate(1);
    Ok(patches)
}

fn passes_through(graph: &Graph, node: &Node) -> bool {
    if node.is("Identity") {
        return true;
    }
    if node.is("Dropout") {
        let training = node
            .input(2)
            .map(|id| graph.constant(id).is_none_or(|t| is_true(t)));
        return !training.unwrap_or(false);
    }
    let dtype = |id| graph.fact(id).map(|fact| fact.dtype);
    let (input, output) = (
        node.input(0).and_then(dtype),
        node.output(0).and_then(dtype),
    );
    node.is("Cast") && input.is_some() && input == output
}

fn is_true(tensor: &sardonyx_tensor::Tensor) -> bool {
    tensor
        .values::<bool>()
        .is_ok_and(|values| values.first() == Some(&true))
}
