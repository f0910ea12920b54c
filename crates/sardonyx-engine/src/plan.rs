//! A plan: what is worked out once for a graph of fixed shapes, and never changes. Sessions that
//! run it bring their own memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sardonyx_ir::{Graph, Node, ValueId};
use sardonyx_kernels::{Arena, Call, Constants, Program, Region};
use sardonyx_passes::{Packing, StateLink};
use sardonyx_tensor::{DType, Tensor};

use crate::buffers::{Buffers, Calls};
use crate::fill::fill;
use crate::host::fixed;
use crate::lower::lower_graph;
use crate::memory::Layout;
use crate::store::Store;
use crate::{CompileOptions, EngineError, Result, schedule, tiles};

/// A program with its constants, and what is where.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) program: Arc<Program>,
    pub(crate) constants: Constants,
    pub(crate) inputs: Vec<Binding>,
    pub(crate) outputs: Vec<Binding>,
    pub(crate) state: Vec<Binding>,
    /// Node names and operators by call, for profiles.
    pub(crate) calls: Vec<CallInfo>,
}

/// A named value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) region: Region,
}

impl Binding {
    /// Refuses a tensor of another type or shape.
    pub(crate) fn check(&self, tensor: &Tensor) -> Result<()> {
        if self.dtype == tensor.dtype() && self.shape == tensor.shape() {
            return Ok(());
        }
        Err(EngineError::Feed {
            name: self.name.clone(),
            expected: format!("{}{:?}", self.dtype, self.shape),
            found: tensor.dtype(),
            shape: tensor.shape().to_vec(),
        })
    }
}

/// What a call was made of, for profiles.
#[derive(Debug, Clone)]
pub(crate) struct CallInfo {
    pub(crate) node: String,
    pub(crate) op: String,
}

impl Plan {
    /// Plans `graph`, of which `links` are kept from run to run, with constants that are still to
    /// be packed. Those that `store` has are taken from there; without one, a store of the plan's
    /// own is made. The arena is the state as it starts.
    ///
    /// # Errors
    /// [`EngineError::Dynamic`] when a shape is not fixed; otherwise when a node is malformed.
    pub(crate) fn compile(
        (graph, links): (&Graph, &[StateLink]),
        later: Vec<Packing>,
        options: &CompileOptions,
        store: Option<&Store>,
    ) -> Result<(Plan, Arena, Option<Store>)> {
        let constants: BTreeSet<ValueId> = later.iter().map(Packing::packed).collect();
        // What state there is changes once a run, not once a tile.
        let tiled = match links {
            [] => tiles::tile(graph, &constants, options)?,
            _ => None,
        };
        let (planned, made) = match tiled {
            Some(tiled) => (Some(tiled.graph), tiled.made),
            None => (None, BTreeMap::new()),
        };
        let (source, graph) = (graph, planned.as_ref().unwrap_or(graph));
        let lowered = lower_graph(graph, links, options.isa, made)?;
        let lowered = schedule::place_updates(graph, lowered);
        let (buffers, calls) = Buffers::assign(graph, links, &constants, lowered)?;
        let shared = store.map(|store| store.find(graph, &buffers, &later));
        let layout = Layout::new(&buffers, calls.calls.len(), &shared.unwrap_or_default());
        let (program, calls) = program(source, &buffers, &layout, calls)?;
        let keeps = links.is_empty() && store.is_none();
        let kept = if keeps { later.clone() } else { Vec::new() };
        let (filled, state) = fill(graph, &buffers, &layout, later, &options.pool)?;
        let mut filled = Constants::from(Arc::new(filled));
        if let Some(store) = store {
            filled.shared = Arc::clone(store.arena());
        }
        let own = || Store::new((graph, &buffers, &layout), kept, Arc::clone(&filled.own));
        let own = keeps.then(own);
        let bind = |ids: &mut dyn Iterator<Item = ValueId>| -> Result<Vec<Binding>> {
            ids.map(|id| bind(graph, &buffers, &layout, id)).collect()
        };
        let mut fed = graph.inputs.iter().copied();
        let mut fed = fed.by_ref().filter(|id| !constants.contains(id));
        let plan = Plan {
            program: Arc::new(program),
            constants: filled,
            inputs: bind(&mut fed)?,
            outputs: bind(&mut graph.outputs.iter().copied())?,
            state: bind(&mut links.iter().map(|link| link.input))?,
            calls,
        };
        Ok((plan, state, own))
    }
}

/// The program of `calls`, and what each of its calls is made of in `source`.
fn program(
    source: &Graph,
    buffers: &Buffers,
    layout: &Layout,
    calls: Calls,
) -> Result<(Program, Vec<CallInfo>)> {
    let place = |buffer: usize| layout.region(buffers.root(buffer));
    let (nodes, members) = (calls.nodes, calls.members);
    let program: Vec<Call> = calls
        .calls
        .into_iter()
        .zip(&calls.operands)
        .map(|(call, operands)| Call {
            kernel: call.kernel,
            operands: operands.iter().map(|operand| operand.map(place)).collect(),
        })
        .collect();
    let (stages, order) = schedule::stages(program);
    let program = Program::new(stages, layout.lengths)?;
    let by_index: BTreeMap<usize, &Node> = source
        .nodes()
        .map(|(id, node)| (id.index(), node))
        .collect();
    let info = |node: &usize| call_info(source, by_index.get(node).copied());
    let of_call = |index: &usize| match members.get(index) {
        Some(members) => members.iter().map(info).collect(),
        None => vec![info(&nodes[*index])],
    };
    let infos = order.iter().flat_map(of_call).collect();
    Ok((program, infos))
}

/// How a call is told; of one that no node stands behind, what it does.
fn call_info(graph: &Graph, node: Option<&Node>) -> CallInfo {
    let Some(node) = node else {
        return CallInfo {
            node: "state".to_owned(),
            op: "Copy".to_owned(),
        };
    };
    let output = node.output(0).map_or("", |id| graph.value_name(id));
    let name = if node.name.is_empty() {
        output
    } else {
        &node.name
    };
    CallInfo {
        node: name.to_owned(),
        op: node.qualified_op(),
    }
}

fn bind(graph: &Graph, buffers: &Buffers, layout: &Layout, id: ValueId) -> Result<Binding> {
    let (dtype, shape) = fixed(graph, id)?;
    let buffer = buffers.of(id).ok_or_else(|| EngineError::Dynamic {
        value: graph.value_name(id).to_owned(),
    })?;
    let mut region = layout.region(buffer);
    region.len = shape.iter().product::<usize>() * dtype.size_bytes().unwrap_or(0);
    Ok(Binding {
        name: graph.value_name(id).to_owned(),
        dtype,
        shape,
        region,
    })
}
