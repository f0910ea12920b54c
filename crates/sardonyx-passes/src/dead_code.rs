use std::collections::BTreeSet;

use sardonyx_ir::{Graph, NodeId, Patch, ValueId};
use sardonyx_ops::known;

use crate::Result;

/// Takes out every node of which no output is used, directly or by others, and the initializers
/// that nothing reads. For plans: a saved model keeps what its author put in.
///
/// # Errors
/// When the graph has a cycle.
pub fn remove_dead_code(graph: &mut Graph) -> Result<usize> {
    let mut used: BTreeSet<_> = graph.outputs.iter().copied().collect();
    let mut patch = Patch::new(graph, "remove dead code");
    let mut removed = 0;
    for id in graph.topological_order()?.into_iter().rev() {
        let node = graph.node(id);
        if node
            .outputs
            .iter()
            .flatten()
            .any(|output| used.contains(output))
        {
            used.extend(node.inputs.iter().flatten());
        } else {
            patch.remove_node(id);
            removed += 1;
        }
    }
    if removed > 0 {
        patch.apply(graph);
    }
    graph.initializers.retain(|id, _| used.contains(id));
    Ok(removed)
}

/// Leaves out the optional outputs that nothing reads, so that they are not computed. Not before
/// a graph is differentiated: gradient rules may read outputs that the model does not.
pub fn trim_outputs(graph: &mut Graph) {
    let consumers = graph.consumers();
    let is_used = |id: &ValueId| !consumers[id.index()].is_empty() || graph.outputs.contains(id);
    let unused: Vec<(NodeId, usize)> = graph
        .nodes()
        .flat_map(|(id, node)| node.outputs.iter().enumerate().map(move |slot| (id, slot)))
        .filter(|(_, (slot, output))| *slot > 0 && output.is_some_and(|output| !is_used(&output)))
        .map(|(id, (slot, _))| (id, slot))
        .collect();
    for (id, slot) in unused {
        // How many outputs a variadic operator (Split) has decides what they are.
        let is_variadic = known(graph.node(id))
            .map_or(true, |operator| operator.schema().max_outputs == usize::MAX);
        let outputs = &mut graph.node_mut(id).outputs;
        outputs[slot] = None;
        while !is_variadic && outputs.len() > 1 && outputs.last() == Some(&None) {
            outputs.pop();
        }
    }
}
