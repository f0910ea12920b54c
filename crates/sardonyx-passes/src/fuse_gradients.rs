//! Lets the input gradient of a layer do what follows it while it is in registers: add the
//! gradient of another path (at a residual connection), and apply the gate of the activation that
//! made the layer's input.

use std::collections::BTreeSet;

use sardonyx_ir::{Attr, Fact, Graph, Node, NodeId, Patch, SARDONYX, ValueId};
use sardonyx_ops::ops::gate::Activation;
use sardonyx_ops::ops::{conv_nhwc, dense, depthwise_nhwc};
use sardonyx_ops::{Builder, Result};

use crate::ancestry::Ancestry;

/// Patches of input gradients that can take over their only reader: an `Add` or a `Gate`. For
/// graphs that have been differentiated.
///
/// # Errors
/// When a node's attributes are malformed.
pub fn fuse_gradients(graph: &Graph) -> Result<Vec<Patch>> {
    let view = View {
        graph,
        consumers: graph.consumers(),
        ancestry: Ancestry::of(graph)?,
    };
    let outputs: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut patches = Vec::new();
    for (id, node) in graph.nodes() {
        // A gate comes last: nothing can be added behind it.
        let Some(slots) = slots(node).filter(|[_, gate]| node.input(*gate).is_none()) else {
            continue;
        };
        let Some(output) = node.output(0) else {
            continue;
        };
        if let [reader] = view.consumers[output.index()][..]
            && !outputs.contains(&output)
        {
            patches.extend(view.take_over([id, reader], output, slots)?);
        }
    }
    Ok(patches)
}

/// Inputs of an input gradient that take a residual and a gate.
fn slots(node: &Node) -> Option<[usize; 2]> {
    if node.domain != SARDONYX {
        return None;
    }
    match node.op_type.as_str() {
        "ConvNhwcInputGrad" => Some(conv_nhwc::INPUT_GRAD_SLOTS),
        "DepthwiseConvNhwcInputGrad" => Some(depthwise_nhwc::INPUT_GRAD_SLOTS),
        // In gradients only: a layer of the model finishes with its activation.
        "Dense" if !node.attributes.contains_key("activation") => Some(dense::DENSE_SLOTS),
        _ => None,
    }
}

struct View<'g> {
    graph: &'g Graph,
    consumers: Vec<Vec<NodeId>>,
    ancestry: Ancestry<'g>,
}

impl View<'_> {
    fn take_over(
        &self,
        [id, reader_id]: [NodeId; 2],
        output: ValueId,
        [residual, gate]: [usize; 2],
    ) -> Result<Option<Patch>> {
        let (node, reader) = (self.graph.node(id), self.graph.node(reader_id));
        let mut fused = node.clone();
        let (slot, other) = if reader.is_own("Gate") && reader.input(1) == Some(output) {
            let activation = Activation::of(reader)?;
            for (name, value) in activation.gate_attributes() {
                fused.attributes.insert(name.to_owned(), value);
            }
            (gate, reader.input(0))
        } else if reader.is("Add") && node.input(residual).is_none() {
            let is_first = reader.input(0) == Some(output);
            (residual, reader.input(usize::from(is_first)))
        } else {
            return Ok(None);
        };
        let shape = |id| self.graph.fact(id).and_then(Fact::fixed_shape);
        let Some(other) = other.filter(|&other| other != output) else {
            return Ok(None);
        };
        let same = shape(other).is_some() && shape(other) == shape(output);
        if !same || self.ancestry.needs(other, id) {
            return Ok(None);
        }
        if fused.inputs.len() <= slot {
            fused.inputs.resize(slot + 1, None);
        }
        fused.inputs[slot] = Some(other);
        let old = reader.output(0).expect("what is fused has an output");
        let mut builder = Builder::new(self.graph, "fuse gradient");
        builder.set_prefix(self.graph.value_name(old));
        let attributes: Vec<(&str, Attr)> = fused
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let op = (SARDONYX, fused.op_type.as_str());
        let made = builder.node(op, &fused.inputs, &attributes, 1)?[0];
        let mut patch = builder.finish();
        patch.remove_node(id);
        patch.remove_node(reader_id);
        patch.replace(old, made);
        Ok(Some(patch))
    }
}
