//! Lets weight gradients read what a batch normalization's gradient works out anew, instead of what
//! the forward pass made: between the two, only the input of the normalization is kept. That is
//! half of what there is to keep in most image networks, and no pass over memory more.

use std::collections::BTreeSet;

use sardonyx_ir::{Attr, Graph, Node, NodeId, Patch, SARDONYX, ValueId};
use sardonyx_ops::ops::batch_norm_nhwc::{GRADIENT_BIAS, REMADE, RESIDUAL, SAVED};
use sardonyx_ops::{Builder, Result};

use crate::ancestry::Ancestry;

/// Patches of gradients of batch normalizations with an activation. For graphs that have been
/// differentiated, whose gradients are fused.
///
/// # Errors
/// When the graph has a cycle.
pub fn remake_values(graph: &Graph) -> Result<Vec<Patch>> {
    let view = View {
        graph,
        consumers: graph.consumers(),
        ancestry: Ancestry::of(graph)?,
    };
    let gradients = graph.nodes().filter(|(_, node)| {
        node.is_own("BatchNormNhwcGrad")
            && node.input(GRADIENT_BIAS).is_some()
            && node.output(REMADE).is_none()
    });
    let patches = gradients.filter_map(|(id, node)| view.remake(id, node).transpose());
    patches.collect()
}

fn is_weight_gradient(node: &Node) -> bool {
    node.domain == SARDONYX && node.op_type.ends_with("WeightGrad")
}

struct View<'g> {
    graph: &'g Graph,
    consumers: Vec<Vec<NodeId>>,
    ancestry: Ancestry<'g>,
}

impl View<'_> {
    /// What the normalization made of which `gradient` is the gradient.
    fn value_of(&self, gradient: &Node) -> Option<ValueId> {
        let readers = self.consumers[gradient.input(0)?.index()].iter();
        let forward = readers.map(|&id| self.graph.node(id)).find(|node| {
            node.is_own("BatchNormNhwc")
                && node.input(RESIDUAL).is_none()
                && node.input(0) == gradient.input(0)
                && [(1, 1), (2, GRADIENT_BIAS)]
                    .iter()
                    .all(|&(own, other)| node.input(own) == gradient.input(other))
                && SAVED.iter().enumerate().all(|(index, &saved)| {
                    node.output(saved).is_some() && node.output(saved) == gradient.input(3 + index)
                })
                && ["activation", "alpha", "beta"]
                    .iter()
                    .all(|&name| node.attributes.get(name) == gradient.attributes.get(name))
        });
        forward?.output(0)
    }

    fn remake(&self, id: NodeId, gradient: &Node) -> Result<Option<Patch>> {
        let Some((value, dy)) = self.value_of(gradient).zip(gradient.input(2)) else {
            return Ok(None);
        };
        let readers: BTreeSet<NodeId> = self.consumers[value.index()].iter().copied().collect();
        let is_gradient = |id: &NodeId| self.graph.node(*id).op_type.ends_with("Grad");
        let (weights, others): (Vec<NodeId>, Vec<NodeId>) =
            readers.into_iter().partition(|&reader| {
                is_weight_gradient(self.graph.node(reader)) && !self.ancestry.needs(dy, reader)
            });
        // Where another gradient reads the value, it is kept anyway.
        if weights.is_empty() || others.iter().any(is_gradient) {
            return Ok(None);
        }
        let mut builder = Builder::new(self.graph, "remake value");
        let made = self.again(&mut builder, gradient, &gradient.inputs, REMADE + 1)?;
        let mut replaced = Vec::new();
        let mut pair = |old: &Node, new: &[ValueId]| {
            let pairs = old.outputs.iter().zip(new);
            replaced.extend(pairs.filter_map(|(old, &new)| Some(((*old)?, new))));
        };
        pair(gradient, &made);
        for &weight in &weights {
            let node = self.graph.node(weight);
            let anew = |input: &Option<ValueId>| match *input {
                Some(input) if input == value => Some(made[REMADE]),
                other => other,
            };
            let inputs: Vec<Option<ValueId>> = node.inputs.iter().map(anew).collect();
            let made = self.again(&mut builder, node, &inputs, node.outputs.len())?;
            pair(node, &made);
        }
        let mut patch = builder.finish();
        patch.remove_node(id);
        weights.iter().for_each(|&id| patch.remove_node(id));
        for (old, new) in replaced {
            patch.replace(old, new);
        }
        Ok(Some(patch))
    }

    /// `node` once more, with other inputs and so many outputs.
    fn again(
        &self,
        builder: &mut Builder<'_>,
        node: &Node,
        inputs: &[Option<ValueId>],
        n_outputs: usize,
    ) -> Result<Vec<ValueId>> {
        let name = node.output(0).map(|id| self.graph.value_name(id));
        builder.set_prefix(name.unwrap_or_default());
        let attributes: Vec<(&str, Attr)> = node
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        builder.node(
            (SARDONYX, node.op_type.as_str()),
            inputs,
            &attributes,
            n_outputs,
        )
    }
}
