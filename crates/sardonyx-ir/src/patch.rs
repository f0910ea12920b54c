//! A rewrite as a value: what to take out, what to put in, what to read instead. A pass builds
//! patches against a graph that it only reads; applying one is the only way a pass changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sardonyx_tensor::Tensor;

use crate::{Fact, Graph, Node, NodeId, ValueId};

/// A labelled change of a graph. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Who made the change and why, for logs and verification errors.
    pub label: String,
    first_value: usize,
    values: Vec<(String, Option<Fact>)>,
    nodes: Vec<Node>,
    initializers: BTreeMap<ValueId, Arc<Tensor>>,
    removed: BTreeSet<NodeId>,
    replaced: Vec<(ValueId, ValueId)>,
}

impl Patch {
    /// An empty patch against `graph`.
    pub fn new(graph: &Graph, label: &str) -> Patch {
        Patch {
            label: label.to_owned(),
            first_value: graph.value_count(),
            values: Vec::new(),
            nodes: Vec::new(),
            initializers: BTreeMap::new(),
            removed: BTreeSet::new(),
            replaced: Vec::new(),
        }
    }

    /// Whether applying it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.removed.is_empty() && self.replaced.is_empty()
    }

    /// Announces a new value.
    pub fn add_value(&mut self, name: &str, fact: Option<Fact>) -> ValueId {
        self.values.push((name.to_owned(), fact));
        ValueId::new(self.first_value + self.values.len() - 1)
    }

    /// Announces a new constant.
    pub fn add_initializer(&mut self, name: &str, tensor: impl Into<Arc<Tensor>>) -> ValueId {
        let tensor = tensor.into();
        let id = self.add_value(name, Some(Fact::of(&tensor)));
        self.initializers.insert(id, tensor);
        id
    }

    /// Announces a new node, over values of the graph and of the patch.
    pub fn add_node(&mut self, node: Node) {
        let limit = self.first_value + self.values.len();
        let mut used = node.inputs.iter().chain(&node.outputs).flatten();
        assert!(
            used.all(|value| value.index() < limit),
            "a value of another graph"
        );
        self.nodes.push(node);
    }

    /// Takes a node out.
    pub fn remove_node(&mut self, node: NodeId) {
        self.removed.insert(node);
    }

    /// Lets every user of `old` read `new` instead, graph outputs included.
    pub fn replace(&mut self, old: ValueId, new: ValueId) {
        assert_ne!(old, new, "a value cannot replace itself");
        self.replaced.push((old, new));
    }

    /// What is known of a value that this patch adds.
    pub fn fact(&self, id: ValueId) -> Option<&Fact> {
        self.values
            .get(id.index().checked_sub(self.first_value)?)?
            .1
            .as_ref()
    }

    /// The tensor of a constant that this patch adds.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.initializers.get(&id)
    }

    /// Nodes that this patch adds.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Changes `graph`. Returns false, and changes nothing, when a node that the patch takes out
    /// is already gone: another patch was there first.
    ///
    /// A value that replaces a graph output takes over its name, so that callers still find it.
    pub fn apply(self, graph: &mut Graph) -> bool {
        let mut replaced = Replacements::default();
        let is_applied = self.apply_after(graph, &mut replaced);
        replaced.settle(graph);
        is_applied
    }

    /// As [`Patch::apply`], for one of several patches that were built against the same graph:
    /// where it reads a value that one before it has replaced, it reads the replacement. Nodes of
    /// the graph do so after [`Replacements::settle`], which has to follow the last patch.
    pub fn apply_after(self, graph: &mut Graph, earlier: &mut Replacements) -> bool {
        if self
            .removed
            .iter()
            .any(|&node| graph.get_node(node).is_none())
        {
            return false;
        }
        let base = graph.value_count();
        for (name, fact) in self.values {
            graph.add_value(&name, fact);
        }
        let moved = |id: ValueId| match id.index().checked_sub(self.first_value) {
            Some(offset) => ValueId::new(base + offset),
            None => id,
        };
        for (id, tensor) in self.initializers {
            graph.initializers.insert(moved(id), tensor);
        }
        for node in self.removed {
            graph.remove_node(node);
        }
        for mut node in self.nodes {
            for value in node.inputs.iter_mut().flatten() {
                *value = earlier.resolve(moved(*value));
            }
            for value in node.outputs.iter_mut().flatten() {
                *value = moved(*value);
            }
            graph.add_node(node);
        }
        for (old, new) in self.replaced {
            let new = earlier.resolve(moved(new));
            replace_output(graph, old, new);
            earlier.0.insert(old, new);
        }
        true
    }
}

/// Which values of the graph that a run of patches was built against have been replaced by now.
#[derive(Debug, Clone, Default)]
pub struct Replacements(BTreeMap<ValueId, ValueId>);

impl Replacements {
    /// Lets every node of `graph` read what has replaced its inputs: one sweep for any number of
    /// patches.
    pub fn settle(&self, graph: &mut Graph) {
        if !self.0.is_empty() {
            graph.map_inputs(|id| self.resolve(id));
        }
    }

    fn resolve(&self, mut id: ValueId) -> ValueId {
        while let Some(&newer) = self.0.get(&id) {
            id = newer;
        }
        id
    }
}

/// Lets the outputs of `graph` that are `old` be `new`, under the name of the old one.
fn replace_output(graph: &mut Graph, old: ValueId, new: ValueId) {
    if !graph.outputs.contains(&old) {
        return;
    }
    let is_fresh = !graph.inputs.contains(&new) && !graph.outputs.contains(&new);
    for output in &mut graph.outputs {
        if *output == old {
            *output = new;
        }
    }
    if is_fresh {
        let name = graph.value_name(old).to_owned();
        graph.rename_value(old, &format!("{name}_replaced"));
        graph.rename_value(new, &name);
    }
}
