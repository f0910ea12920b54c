//! Where a graph treats the samples of a batch apart, a few of them at a time go through many
//! nodes: what these hand on stays in the caches instead of going through the whole batch's
//! memory. Such a stretch of nodes is planned for one tile and becomes one call; every tile runs
//! on one thread. Kernels compute a sample's numbers alike in any batch, so that nothing but the
//! time depends on tiles.

mod samples;

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Dim, Graph, Node, NodeId, SARDONYX, ValueId};
use sardonyx_kernels::{Isa, Place, TileCall, TileOperand, Tiles};
use sardonyx_tensor::Tensor;

use crate::buffers::{ALIGN, Buffers, Kind};
use crate::host::byte_len;
use crate::lower::{Lowered, Slot, lower_graph};
use crate::memory::Layout;
use crate::{CompileOptions, Result};
use samples::{Stretch, stretches};

/// Whether stretches of a plan take the samples of a batch a few at a time. Results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tiling {
    /// All nodes take whole batches.
    Never,
    /// Where a batch leaves the caches between nodes and each thread gets as many tiles.
    #[default]
    WhereItPays,
    /// Tiles of so many samples wherever nodes treat samples apart and the batch is a multiple.
    Samples(usize),
}

/// A graph in which nodes stand for stretches that were planned before.
pub(crate) struct Tiled {
    pub(crate) graph: Graph,
    pub(crate) made: BTreeMap<NodeId, Lowered>,
}

/// Plans stretches of `graph` in tiles; `None` where there are none. `constants` are inputs that
/// never change.
pub(crate) fn tile(
    graph: &Graph,
    constants: &BTreeSet<ValueId>,
    options: &CompileOptions,
) -> Result<Option<Tiled>> {
    let order = graph.topological_order()?;
    let mut tiled: Option<Tiled> = None;
    for stretch in stretches(graph, constants, &order, options) {
        let nodes = &order[stretch.nodes.clone()];
        let Some((lowered, ends)) = plan(graph, constants, nodes, &stretch, options.isa)? else {
            continue;
        };
        let own = tiled.get_or_insert_with(|| Tiled {
            graph: graph.clone(),
            made: BTreeMap::new(),
        });
        for &node in nodes {
            own.graph.remove_node(node);
        }
        let mut node = Node::new(SARDONYX, "Tiles");
        let read = lowered.calls.iter().flat_map(|call| &call.operands);
        let read = read.filter_map(|slot| match *slot {
            Slot::Value(value) if !ends.outputs.contains(&value) => Some(Some(value)),
            _ => None,
        });
        node.inputs = read.collect();
        node.outputs = ends.outputs.into_iter().map(Some).collect();
        let id = own.graph.add_node(node);
        own.made.insert(id, lowered);
    }
    Ok(tiled)
}

/// Whether a value never changes: an initializer, or one of the inputs `constants`.
fn is_constant(graph: &Graph, constants: &BTreeSet<ValueId>, value: ValueId) -> bool {
    constants.contains(&value) || graph.constant(value).is_some()
}

/// Values that a stretch reads and makes for others.
struct Ends {
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
}

impl Ends {
    fn of(graph: &Graph, constants: &BTreeSet<ValueId>, nodes: &[NodeId]) -> Ends {
        let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
        let consumers = graph.consumers();
        let made = nodes
            .iter()
            .flat_map(|&id| graph.node(id).outputs.iter().flatten());
        let made: BTreeSet<ValueId> = made.copied().collect();
        let read = nodes
            .iter()
            .flat_map(|&id| graph.node(id).inputs.iter().flatten());
        let is_fed =
            |value: &ValueId| !made.contains(value) && !is_constant(graph, constants, *value);
        let inputs: BTreeSet<ValueId> = read.copied().filter(is_fed).collect();
        let leaves = |value: &ValueId| {
            let readers = &consumers[value.index()];
            graph.outputs.contains(value) || readers.iter().any(|id| !inside.contains(id))
        };
        Ends {
            inputs: inputs.into_iter().collect(),
            outputs: made.iter().copied().filter(leaves).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = ValueId> {
        self.inputs.iter().chain(&self.outputs).copied()
    }
}

/// The nodes alone, for one tile; `None` where they do not treat samples apart after all.
fn cut(
    graph: &Graph,
    constants: &BTreeSet<ValueId>,
    nodes: &[NodeId],
    stretch: &Stretch,
    ends: &Ends,
) -> Option<Graph> {
    let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let mut part = graph.clone();
    let others = graph.nodes().map(|(id, _)| id);
    for id in others.filter(|id| !inside.contains(id)) {
        part.remove_node(id);
    }
    part.inputs.clone_from(&ends.inputs);
    part.inputs.extend(constants);
    part.outputs.clone_from(&ends.outputs);
    let of_tile = |value: ValueId| {
        let mut fact = graph.fact(value)?.clone();
        let batch = fact.shape.as_mut()?.first_mut()?;
        *batch = Dim::known(stretch.tile);
        Some(fact)
    };
    for &input in &ends.inputs {
        part.set_fact(input, Some(of_tile(input)?));
    }
    let made = nodes
        .iter()
        .flat_map(|&id| graph.node(id).outputs.iter().flatten());
    for &value in made.clone() {
        part.set_fact(value, None);
    }
    sardonyx_ops::infer(&mut part).ok()?;
    let mut made = made.copied();
    made.all(|value| part.fact(value) == of_tile(value).as_ref())
        .then_some(part)
}

/// The call for a stretch, with the values at its ends.
fn plan(
    graph: &Graph,
    constants: &BTreeSet<ValueId>,
    nodes: &[NodeId],
    stretch: &Stretch,
    isa: Isa,
) -> Result<Option<(Lowered, Ends)>> {
    let ends = Ends::of(graph, constants, nodes);
    let Some(part) = cut(graph, constants, nodes, stretch, &ends) else {
        return Ok(None);
    };
    let lowered = lower_graph(&part, &[], isa, BTreeMap::new())?;
    let runs_on_host = |node: &Lowered| node.calls.iter().any(|call| call.kernel.name() == "host");
    if lowered.iter().any(|(_, node)| runs_on_host(node)) {
        return Ok(None);
    }
    let (mut buffers, calls) = Buffers::assign(&part, &[], constants, lowered)?;
    let mut operands = Operands::default();
    for value in ends.all() {
        let bytes = byte_len(&part, value)?;
        let Some(root) = buffers.take_out(value).filter(|_| bytes % ALIGN == 0) else {
            return Ok(None);
        };
        let part = Place::Part(operands.add(TileOperand::Part(bytes), Slot::Value(value)));
        if operands.places.insert(root, part).is_some() {
            return Ok(None);
        }
    }
    let layout = Layout::new(&buffers, calls.calls.len(), &BTreeMap::new());
    let mut tile_calls = Vec::with_capacity(calls.calls.len());
    for (call, used) in calls.calls.into_iter().zip(&calls.operands) {
        let mut place = |buffer: usize| operands.place(&buffers, &layout, buffers.root(buffer));
        let places = used.iter().map(|buffer| buffer.map(&mut place));
        tile_calls.push(TileCall {
            operands: places.collect(),
            kernel: call.kernel,
        });
    }
    let tiles = stretch.batch / stretch.tile;
    let kernel = Tiles::new(tile_calls, operands.list, tiles, layout.lengths.work)?;
    let mut lowered = Lowered::call(kernel, operands.slots);
    lowered.constants = operands.constants;
    lowered.members = calls.nodes;
    Ok(Some((lowered, ends)))
}

/// The operands of the call of a stretch.
#[derive(Default)]
struct Operands {
    list: Vec<TileOperand>,
    slots: Vec<Slot>,
    constants: Vec<Tensor>,
    /// Where each buffer lies that is no memory of the tile.
    places: BTreeMap<usize, Place>,
}

impl Operands {
    fn add(&mut self, operand: TileOperand, slot: Slot) -> usize {
        self.list.push(operand);
        self.slots.push(slot);
        self.list.len() - 1
    }

    /// Where buffer `root` lies.
    fn place(&mut self, buffers: &Buffers, layout: &Layout, root: usize) -> Place {
        if let Some(&place) = self.places.get(&root) {
            return place;
        }
        let buffer = buffers.list[root];
        let slot = match buffer.kind {
            Kind::Work { .. } => {
                let region = layout.region(root);
                return Place::Memory(region.offset, region.len);
            }
            Kind::Constant(id) | Kind::State(id) => Slot::Value(id),
            Kind::Made(index) => {
                self.constants.push(buffers.made[index].clone());
                Slot::Constant(self.constants.len() - 1)
            }
        };
        let place = Place::Whole(self.add(TileOperand::Whole(buffer.bytes), slot));
        self.places.insert(root, place);
        place
    }
}
