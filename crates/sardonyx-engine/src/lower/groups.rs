//! Elementwise nodes that become one call: a node joins its readers where all of them are in one
//! call and have its shape, so that its result never goes to memory.

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Fact, Graph, NodeId, ValueId};

use crate::Result;

/// Most nodes of a call: programs have room for so many values.
const MAX_NODES: usize = 16;

/// Which nodes are computed by the call of another.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// By the last node of each call of several: all its nodes in order, the last one too.
    pub(crate) members: BTreeMap<NodeId, Vec<NodeId>>,
    /// Nodes that are part of another node's call.
    pub(crate) absorbed: BTreeSet<NodeId>,
}

impl Groups {
    /// The groups among the nodes of `order`, a topological one. Values in `kept` must exist;
    /// `is_elementwise` says which nodes are programs.
    pub(crate) fn of(
        graph: &Graph,
        order: &[NodeId],
        kept: &BTreeSet<ValueId>,
        is_elementwise: impl Fn(NodeId) -> Result<bool>,
    ) -> Result<Groups> {
        let consumers = graph.consumers();
        let shape = |id: NodeId| {
            let output = graph.node(id).output(0)?;
            graph.fact(output).and_then(Fact::fixed_shape)
        };
        // The last node of the call that each elementwise node belongs to.
        let mut root: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        let mut groups = Groups::default();
        for &id in order.iter().rev() {
            if !is_elementwise(id)? {
                continue;
            }
            let output = graph
                .node(id)
                .output(0)
                .filter(|output| !kept.contains(output));
            let readers = output.map_or(&[][..], |output| &consumers[output.index()]);
            let mut roots = readers.iter().map(|reader| root.get(reader).copied());
            let first = roots.next().flatten();
            let joins = first.filter(|first| {
                let size = groups.members.get(first).map_or(1, Vec::len);
                roots.all(|other| other == Some(*first))
                    && shape(*first) == shape(id)
                    && size < MAX_NODES
            });
            root.insert(id, joins.unwrap_or(id));
            if let Some(last) = joins {
                groups
                    .members
                    .entry(last)
                    .or_insert_with(|| vec![last])
                    .push(id);
                groups.absorbed.insert(id);
            }
        }
        groups
            .members
            .values_mut()
            .for_each(|nodes| nodes.reverse());
        Ok(groups)
    }
}
