//! Whether one node comes from another, without a walk through the whole graph.

use std::collections::BTreeSet;

use sardonyx_ir::{Graph, NodeId, Producer, ValueId};
use sardonyx_ops::Result;

/// The nodes of a graph in an order of computation: what comes before a node cannot need it, which
/// keeps a search within the stretch between the two.
pub(crate) struct Ancestry<'g> {
    graph: &'g Graph,
    producers: Vec<Option<Producer>>,
    /// Place in the order, by node index.
    places: Vec<usize>,
}

impl<'g> Ancestry<'g> {
    /// The order of `graph`.
    ///
    /// # Errors
    /// When the graph has a cycle.
    pub(crate) fn of(graph: &'g Graph) -> Result<Ancestry<'g>> {
        let mut places = vec![0; graph.node_slots()];
        for (place, id) in graph.topological_order()?.into_iter().enumerate() {
            places[id.index()] = place;
        }
        Ok(Ancestry {
            graph,
            producers: graph.producers(),
            places,
        })
    }

    /// What makes `value`.
    pub(crate) fn producer(&self, value: ValueId) -> Option<Producer> {
        self.producers[value.index()]
    }

    /// Whether `value` is computed from a result of `node`.
    pub(crate) fn needs(&self, value: ValueId, node: NodeId) -> bool {
        let first = self.places[node.index()];
        let mut pending = vec![value];
        let mut seen = BTreeSet::new();
        while let Some(value) = pending.pop() {
            let Some(Producer::Node(id, _)) = self.producer(value) else {
                continue;
            };
            if id == node {
                return true;
            }
            if self.places[id.index()] > first && seen.insert(id) {
                pending.extend(self.graph.node(id).inputs.iter().flatten());
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_needs_what_is_before() {
        let source = r#"<ir_version: 8, opset_import: ["" : 17]>
            g (float[2] x) => (float[2] y)
            {
               a = Relu (x)
               b = Neg (a)
               c = Neg (x)
               d = Add (b, c)
               y = Add (d, a)
            }"#;
        let graph = sardonyx_ir::text::parse(source).unwrap();
        let ancestry = Ancestry::of(&graph).unwrap();
        let value = |name: &str| graph.find_value(name).unwrap();
        let node = |name: &str| match ancestry.producer(value(name)) {
            Some(Producer::Node(id, _)) => id,
            other => panic!("{name}: {other:?}"),
        };
        let pairs = [
            ("a", "a", true),
            ("b", "a", true),
            ("y", "a", true),
            ("y", "c", true),
            ("d", "b", true),
            ("c", "a", false),
            ("a", "b", false),
            ("x", "a", false),
            ("b", "c", false),
        ];
        for (later, earlier, expected) in pairs {
            let found = ancestry.needs(value(later), node(earlier));
            assert_eq!(found, expected, "{later} of {earlier}");
        }
    }
}
