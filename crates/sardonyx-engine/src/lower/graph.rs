//! From all nodes of a graph to calls: constants are computed at once, elementwise nodes grouped,
//! everything else lowered one by one.

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Graph, NodeId, ValueId};
use sardonyx_kernels::Isa;
use sardonyx_passes::StateLink;

use super::attention::{Attentions, Search};
use super::constant::evaluate;
use super::elementwise::{is_elementwise, lower_group};
use super::groups::Groups;
use super::matmul::Folded;
use super::{Known, LowerCx, Lowered, lower};
use crate::Result;
use crate::host::lower_host;

/// The calls of all nodes, with the nodes' indices, in a topological order; those of nodes in
/// `made` are taken from there.
pub(crate) fn lower_graph(
    graph: &Graph,
    links: &[StateLink],
    isa: Isa,
    mut made: BTreeMap<NodeId, Lowered>,
) -> Result<Vec<(usize, Lowered)>> {
    let ends = links.iter().flat_map(|link| [link.input, link.output]);
    let kept: BTreeSet<ValueId> = ends.chain(graph.outputs.iter().copied()).collect();
    let mut known = Known {
        state: links.iter().map(|link| link.input).collect(),
        folded: Folded::of(graph, &kept)?,
        ..Known::default()
    };
    let all = graph.topological_order()?;
    let mut order = all.clone();
    order.retain(|id| !known.folded.skipped.contains(id));
    let mut constants = BTreeMap::new();
    for &id in order.iter().filter(|id| !made.contains_key(id)) {
        if let Some(made) = evaluate(&cx(graph, id, isa, &known))? {
            for (tensor, output) in &made.constant_outputs {
                known.made.insert(*output, tensor.clone());
            }
            constants.insert(id, made);
        }
    }
    let search = Search {
        order: &all,
        constants: constants.keys().copied().collect(),
        kept: &kept,
    };
    let mut attentions = Attentions::of(graph, &search, |id| cx(graph, id, isa, &known))?;
    order.retain(|id| !attentions.dead.contains(id));
    let is_program = |id: NodeId| {
        let is_known = constants.contains_key(&id) || made.contains_key(&id);
        Ok(!is_known && is_elementwise(&cx(graph, id, isa, &known))?)
    };
    let groups = Groups::of(graph, &order, &kept, is_program)?;
    let mut lowered = Vec::with_capacity(order.len());
    for id in order {
        if groups.absorbed.contains(&id) {
            continue;
        }
        let cx = cx(graph, id, isa, &known);
        let node = if let Some(known) = made.remove(&id).or_else(|| constants.remove(&id)) {
            known
        } else if let Some(attention) = attentions.calls.remove(&id) {
            attention
        } else if let Some(members) = groups.members.get(&id) {
            lower_group(&cx, members)?
        } else {
            match lower(&cx)? {
                Some(calls) => calls,
                None => lower_host(graph, cx.node)?,
            }
        };
        lowered.push((id.index(), node));
    }
    Ok(lowered)
}

fn cx<'a>(graph: &'a Graph, id: NodeId, isa: Isa, known: &'a Known) -> LowerCx<'a> {
    LowerCx {
        graph,
        node: graph.node(id),
        isa,
        known,
    }
}
