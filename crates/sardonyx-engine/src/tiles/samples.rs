//! Which nodes treat the samples of a batch apart, and how many samples make a tile that pays.

use std::collections::BTreeSet;
use std::ops::Range;

use sardonyx_ir::{Fact, Graph, Node, NodeId, ONNX, SARDONYX, ValueId};
use sardonyx_ops::ops::transpose::permutation;

use super::{Tiling, is_constant};
use crate::CompileOptions;
use crate::host::byte_len;

/// Nodes of the standard domain that compute each element from the elements at its place.
const ELEMENTWISE: &[&str] = &[
    "Add",
    "Clip",
    "Div",
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "Mul",
    "PRelu",
    "Relu",
    "Sigmoid",
    "Softplus",
    "Sub",
    "Tanh",
];

/// Nodes of our own domain over images `[N, H, W, C]`, with their inputs that are such images;
/// the others are weights.
const IMAGES: &[(&str, &[usize])] = &[
    ("AveragePoolNhwc", &[0]),
    ("ConvNhwc", &[0, 3]),
    ("DepthwiseConvNhwc", &[0]),
    ("MaxPoolNhwc", &[0]),
];

/// Nodes that follow each other in a topological order and go through one tile together.
pub(super) struct Stretch {
    pub(super) nodes: Range<usize>,
    pub(super) batch: usize,
    pub(super) tile: usize,
}

impl Stretch {
    fn goes_on_with(&self, next: &Stretch) -> bool {
        self.nodes.end == next.nodes.start && self.batch == next.batch && self.tile == next.tile
    }
}

/// What a node does with samples.
struct Samples {
    batch: usize,
    /// Bytes that it reads and writes of each sample.
    bytes: usize,
    /// Bytes that it reads whatever the sample.
    shared: usize,
}

/// Bytes of a whole batch from which on a node's images leave the caches on their way.
const LARGE_BYTES: usize = 4 << 20;
/// Most samples of a tile.
const MOST_SAMPLES: usize = 8;

impl Samples {
    /// Samples of a tile; `None` where the whole batch is as good.
    fn tile(&self, tiling: Tiling, threads: usize) -> Option<usize> {
        match tiling {
            Tiling::Never => None,
            Tiling::WhereItPays => self.paying_tile(threads),
            Tiling::Samples(tile) => (tile > 0 && self.batch.is_multiple_of(tile)).then_some(tile),
        }
    }

    /// Samples of the smallest tile for which weights are not most of what is read.
    fn paying_tile(&self, threads: usize) -> Option<usize> {
        if self.batch * self.bytes < LARGE_BYTES {
            return None;
        }
        let tile = (1..=MOST_SAMPLES.min(self.batch))
            .filter(|tile| self.batch.is_multiple_of(*tile))
            .find(|tile| self.shared <= tile * self.bytes)?;
        // No thread should wait long for the last tiles of others: a ninth more at most.
        let tiles = self.batch / tile;
        let slots = tiles.next_multiple_of(threads);
        (8 * slots <= 9 * tiles).then_some(tile)
    }
}

/// The stretches of a graph whose nodes are in this topological order.
pub(super) fn stretches(
    graph: &Graph,
    constants: &BTreeSet<ValueId>,
    order: &[NodeId],
    options: &CompileOptions,
) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    for (place, &id) in order.iter().enumerate() {
        let Some(samples) = samples(graph, constants, graph.node(id)) else {
            continue;
        };
        let Some(tile) = samples.tile(options.tiling, options.pool.threads()) else {
            continue;
        };
        let own = Stretch {
            nodes: place..place + 1,
            batch: samples.batch,
            tile,
        };
        match found.last_mut() {
            Some(last) if last.goes_on_with(&own) => last.nodes.end += 1,
            _ => found.push(own),
        }
    }
    // One node alone hands nothing on.
    found.retain(|stretch| stretch.nodes.len() > 1);
    found
}

/// What `node` does with samples; `None` where it may not treat them apart.
fn samples(graph: &Graph, constants: &BTreeSet<ValueId>, node: &Node) -> Option<Samples> {
    let shape = |value: ValueId| graph.fact(value).and_then(Fact::fixed_shape);
    let output = shape(node.output(0)?)?;
    let rank = output.len();
    let &batch = output.first().filter(|batch| **batch > 1)?;
    let is_image = |index: usize, value: ValueId| -> Option<bool> {
        let dims = shape(value)?;
        let carries = dims.len() == rank && dims.first() == Some(&batch);
        match node.domain.as_str() {
            ONNX if node.is("Transpose") => {
                let keeps = permutation(node, rank).ok()?.first() == Some(&0);
                (keeps && carries).then_some(true)
            }
            ONNX if ELEMENTWISE.contains(&node.op_type.as_str()) => {
                let repeats = dims.len() < rank || dims.first() == Some(&1);
                (carries || repeats).then_some(carries)
            }
            SARDONYX => {
                let found = IMAGES.iter().find(|(op, _)| node.op_type == *op)?;
                let expected = found.1.contains(&index);
                (!expected || carries).then_some(expected)
            }
            _ => None,
        }
    };
    let bytes = |value: ValueId| byte_len(graph, value).ok();
    let mut samples = Samples {
        batch,
        bytes: 0,
        shared: 0,
    };
    for (index, value) in node.inputs.iter().enumerate() {
        let Some(value) = *value else { continue };
        let is_constant = is_constant(graph, constants, value);
        match is_image(index, value)? {
            true if !is_constant => samples.bytes += bytes(value)? / batch,
            false if is_constant => samples.shared += bytes(value)?,
            _ => return None,
        }
    }
    for &value in node.outputs.iter().flatten() {
        if shape(value)?.first() != Some(&batch) {
            return None;
        }
        samples.bytes += bytes(value)? / batch;
    }
    (samples.bytes > 0).then_some(samples)
}
