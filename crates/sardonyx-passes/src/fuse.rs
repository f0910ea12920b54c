//! Lets a convolution, a dense layer or a normalization do what follows it while its result is in registers: add a
//! bias or a residual, pool, apply the activation.

use std::collections::BTreeSet;

use sardonyx_ir::{Attr, Fact, Graph, Node, NodeId, Patch, Producer, SARDONYX, ValueId};
use sardonyx_ops::ops::batch_norm_nhwc;
use sardonyx_ops::ops::conv_nhwc::Conv2d;
use sardonyx_ops::ops::gate::Activation;
use sardonyx_ops::ops::pool_nhwc::Pool2d;
use sardonyx_ops::{Builder, Result};

use crate::ancestry::Ancestry;

/// What a plan may fuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FuseFor {
    /// Everything: the graph will not be differentiated.
    Inference,
    /// Only what can be differentiated from the result alone.
    Training,
}

/// Patches of layers that can take over their only reader.
///
/// # Errors
/// When a node's attributes are malformed.
pub fn fuse(graph: &Graph, purpose: FuseFor) -> Result<Vec<Patch>> {
    let view = View {
        graph,
        consumers: graph.consumers(),
        ancestry: Ancestry::of(graph)?,
        outputs: graph.outputs.iter().copied().collect(),
        purpose,
    };
    let mut patches = Vec::new();
    for (id, node) in graph.nodes() {
        if Slots::of(node).is_none() {
            continue;
        }
        let Some(reader) = view.only_reader(node) else {
            continue;
        };
        patches.extend(view.take_over(id, node, reader)?);
    }
    Ok(patches)
}

/// Which inputs of a layer can take what is added to its result.
#[derive(Debug, Clone, Copy)]
struct Slots {
    /// A vector over the channels.
    bias: Option<usize>,
    /// A tensor of the result's shape.
    residual: Option<usize>,
}

impl Slots {
    /// Those of a layer that is not finished: `None` for any other node.
    fn of(node: &Node) -> Option<Slots> {
        if node.domain != SARDONYX {
            return None;
        }
        let (bias, residual) = match node.op_type.as_str() {
            "BatchNormNhwc" => (None, Some(batch_norm_nhwc::RESIDUAL)),
            "ConvNhwc" if node.output(1).is_some() => return None,
            "ConvNhwc" | "Dense" => (Some(2), Some(3)),
            "DepthwiseConvNhwc" => (Some(2), None),
            _ => return None,
        };
        let is_free = |slot: &usize| node.input(*slot).is_none();
        Some(Slots {
            bias: bias.filter(is_free),
            residual: residual.filter(is_free),
        })
    }
}

struct View<'g> {
    graph: &'g Graph,
    consumers: Vec<Vec<NodeId>>,
    ancestry: Ancestry<'g>,
    outputs: BTreeSet<ValueId>,
    purpose: FuseFor,
}

impl View<'_> {
    fn only_reader(&self, node: &Node) -> Option<NodeId> {
        let output = node.output(0)?;
        match self.consumers[output.index()][..] {
            [reader] if !self.outputs.contains(&output) => Some(reader),
            _ => None,
        }
    }

    fn take_over(&self, id: NodeId, node: &Node, reader_id: NodeId) -> Result<Option<Patch>> {
        let reader = self.graph.node(reader_id);
        let mut fused = node.clone();
        if reader.is("Add") {
            if !self.add(node, reader, &mut fused)? {
                return Ok(None);
            }
        } else if reader.is_own("MaxPoolNhwc") {
            if !self.pool(node, reader, &mut fused)? {
                return Ok(None);
            }
        } else if !self.activate(node, reader, &mut fused)? {
            return Ok(None);
        }
        self.patch([id, reader_id], &fused).map(Some)
    }

    /// A bias (a vector over the channels) or a residual (of the result's shape).
    fn add(&self, node: &Node, reader: &Node, fused: &mut Node) -> Result<bool> {
        let output = node.output(0);
        let other = if reader.input(0) == output {
            reader.input(1)
        } else {
            reader.input(0)
        };
        let (Some(output), Some(other)) = (output, other) else {
            return Ok(false);
        };
        let shape = |id| self.graph.fact(id).and_then(Fact::fixed_shape);
        let (Some(own), Some(added)) = (shape(output), shape(other)) else {
            return Ok(false);
        };
        let is_final = Activation::of(node)? != Activation::None
            || Conv2d::of(node).is_ok_and(|c| c.pool.is_some());
        if other == output || is_final {
            return Ok(false);
        }
        let is_bias = added.len() == 1 && added.last() == own.last() && own.len() > 1;
        let is_weight = self.ancestry.producer(other) == Some(Producer::Initializer);
        let slots = Slots::of(node).expect("only layers take over");
        let slot = if is_bias && is_weight {
            slots.bias
        } else if added == own && !self.needs(other, output) {
            slots.residual
        } else {
            None
        };
        let Some(slot) = slot else { return Ok(false) };
        if fused.inputs.len() <= slot {
            fused.inputs.resize(slot + 1, None);
        }
        fused.inputs[slot] = Some(other);
        Ok(true)
    }

    /// Whether `value` is computed from `output`, so that what makes `output` cannot read it.
    fn needs(&self, value: ValueId, output: ValueId) -> bool {
        match self.ancestry.producer(output) {
            Some(Producer::Node(id, _)) => self.ancestry.needs(value, id),
            _ => false,
        }
    }

    fn activate(&self, node: &Node, reader: &Node, fused: &mut Node) -> Result<bool> {
        let bounds = || self.clip_bounds(reader);
        let Some(activation) = Activation::of_standard(reader, bounds)? else {
            return Ok(false);
        };
        let differentiable = self.purpose == FuseFor::Inference || activation.is_gate();
        let pooled = Conv2d::of(node).is_ok_and(|conv| conv.pool.is_some());
        if Activation::of(node)? != Activation::None
            || !differentiable
            || (pooled && activation != Activation::Relu)
        {
            return Ok(false);
        }
        for (name, value) in activation.attributes() {
            fused.attributes.insert(name.to_owned(), value);
        }
        Ok(true)
    }

    fn clip_bounds(&self, node: &Node) -> Option<(f32, f32)> {
        let bound = |slot, name: &str, default: f32| match node.input(slot) {
            Some(id) => Some(*self.graph.constant(id)?.to_f64().ok()?.first()? as f32),
            None => node.float(name, default).ok(),
        };
        Some((bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?))
    }

    fn patch(&self, [id, reader_id]: [NodeId; 2], fused: &Node) -> Result<Patch> {
        let reader = self.graph.node(reader_id);
        let old = reader.output(0).expect("a fused reader has an output");
        let mut builder = Builder::new(self.graph, "fuse");
        builder.set_prefix(self.graph.value_name(old));
        let attributes: Vec<(&str, Attr)> = fused
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let outputs = if fused.attributes.contains_key("pool") {
            2
        } else {
            fused.outputs.len()
        };
        let op = (SARDONYX, fused.op_type.as_str());
        let made = builder.node(op, &fused.inputs, &attributes, outputs)?;
        let mut patch = builder.finish();
        patch.remove_node(id);
        patch.remove_node(reader_id);
        patch.replace(old, made[0]);
        let others = fused.outputs.iter().zip(&made).skip(1);
        for (old, &new) in others.filter_map(|(old, new)| old.map(|old| (old, new))) {
            patch.replace(old, new);
        }
        Ok(patch)
    }

    fn pool(&self, node: &Node, reader: &Node, fused: &mut Node) -> Result<bool> {
        let pool = Pool2d::of(reader)?;
        let commutes = matches!(Activation::of(node)?, Activation::None | Activation::Relu);
        let is_read = |id: ValueId| !self.consumers[id.index()].is_empty();
        let is_free = node.is_own("ConvNhwc") && Conv2d::of(node)?.pool.is_none();
        let has_residual = node.input(3).is_some();
        if !is_free
            || !commutes
            || reader.output(1).is_some_and(is_read)
            || !pool.is_tiling()
            || has_residual
        {
            return Ok(false);
        }
        fused
            .attributes
            .insert("pool".to_owned(), Attr::from(&pool.kernel[..]));
        Ok(true)
    }
}
