use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sardonyx_tensor::Tensor;

use crate::error::{GraphError, Result};
use crate::{Fact, Node};

/// Names a value of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) u32);

/// Names a node of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl ValueId {
    /// Position in the graph's value list, for side tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn new(index: usize) -> ValueId {
        ValueId(u32::try_from(index).expect("a graph has fewer than 2^32 values"))
    }
}

impl NodeId {
    /// Position in the graph's node list, for side tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn new(index: usize) -> NodeId {
        NodeId(u32::try_from(index).expect("a graph has fewer than 2^32 nodes"))
    }
}

/// An edge of the graph: a name and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Unique, non-empty name.
    pub name: String,
    /// Type and shape, when known.
    pub fact: Option<Fact>,
    /// Human-readable note (in ONNX: of inputs, outputs and initializers).
    pub doc: String,
    /// Free key-value pairs.
    pub metadata: BTreeMap<String, String>,
}

/// What a model says of itself besides its graph.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelInfo {
    /// Version of the file format that the model was read from; `None` lets the writer choose.
    pub ir_version: Option<i64>,
    /// Namespace of the model, as a reversed domain name.
    pub domain: String,
    /// Version of the model.
    pub version: i64,
    /// Human-readable note of the model, beside that of its graph.
    pub doc: String,
    /// Free key-value pairs of the graph, beside those of the model.
    pub graph_metadata: BTreeMap<String, String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Producer {
    /// Output `slot` of a node.
    Node(NodeId, usize),
    /// An input of the graph (it may have an initializer too, as its default).
    Input,
    /// An initializer.
    Initializer,
}

/// A model's computation. See the crate's documentation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// Name.
    pub name: String,
    /// Human-readable note of the graph.
    pub doc: String,
    /// Operator-set version by domain; the standard domain is the empty string.
    pub opsets: BTreeMap<String, i64>,
    /// Free key-value pairs of the model (`metadata_props` of the model in ONNX; of a subgraph:
    /// its own).
    pub metadata: BTreeMap<String, String>,
    /// What the model says of itself; empty in a subgraph.
    pub model: ModelInfo,
    /// Values that the caller feeds, in order.
    pub inputs: Vec<ValueId>,
    /// Of a subgraph: how many of its last inputs stand for values of the graph around it, which
    /// ONNX lets it read by name. The node that holds the subgraph has those values among its own
    /// inputs: see [`Node::capture_count`].
    pub captures: usize,
    /// Values that the caller gets, in order.
    pub outputs: Vec<ValueId>,
    /// Constant tensors by value: weights, and defaults of inputs.
    pub initializers: BTreeMap<ValueId, Arc<Tensor>>,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) names: BTreeMap<String, ValueId>,
}

impl Graph {
    /// An empty graph that uses version `opset` of the standard operators.
    pub fn new(name: &str, opset: i64) -> Graph {
        let opsets = BTreeMap::from([(String::new(), opset)]);
        Graph {
            name: name.to_owned(),
            opsets,
            ..Graph::default()
        }
    }

    /// Version of `domain`'s operators that this graph imports.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.get(domain).copied()
    }

    /// Adds a value. A taken or empty name gets a suffix that makes it unique.
    pub fn add_value(&mut self, name: &str, fact: Option<Fact>) -> ValueId {
        let id = ValueId::new(self.values.len());
        let name = self.free_name(name);
        self.names.insert(name.clone(), id);
        self.values.push(Value {
            name,
            fact,
            doc: String::new(),
            metadata: BTreeMap::new(),
        });
        id
    }

    /// Adds a value that the caller feeds.
    pub fn add_input(&mut self, name: &str, fact: Fact) -> ValueId {
        let id = self.add_value(name, Some(fact));
        self.inputs.push(id);
        id
    }

    /// Adds a constant tensor.
    pub fn add_initializer(&mut self, name: &str, tensor: impl Into<Arc<Tensor>>) -> ValueId {
        let tensor = tensor.into();
        let id = self.add_value(name, Some(Fact::of(&tensor)));
        self.initializers.insert(id, tensor);
        id
    }

    /// Adds a node whose inputs and outputs are values of this graph.
    pub fn add_node(&mut self, node: Node) -> NodeId {
        let mut used = node.inputs.iter().chain(&node.outputs).flatten();
        assert!(
            used.all(|value| value.index() < self.values.len()),
            "a value of another graph"
        );
        self.nodes.push(Some(node));
        NodeId::new(self.nodes.len() - 1)
    }

    /// Takes a node out; its outputs then have no producer.
    pub fn remove_node(&mut self, id: NodeId) -> Option<Node> {
        self.nodes.get_mut(id.index()).and_then(Option::take)
    }

    /// The node `id`, unless it was removed.
    pub fn get_node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.index()).and_then(Option::as_ref)
    }

    /// The node `id`, which must not have been removed.
    pub fn node(&self, id: NodeId) -> &Node {
        self.get_node(id).expect("the node is part of the graph")
    }

    /// The node `id` for writing, which must not have been removed.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.index()]
            .as_mut()
            .expect("the node is part of the graph")
    }

    /// Every node, in the order of adding (not always a topological one).
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let numbered = self.nodes.iter().enumerate();
        numbered.filter_map(|(index, node)| Some((NodeId::new(index), node.as_ref()?)))
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    /// One more than the highest node index ever used, for side tables.
    pub fn node_slots(&self) -> usize {
        self.nodes.len()
    }

    /// Every value, used or not.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        let numbered = self.values.iter().enumerate();
        numbered.map(|(index, value)| (ValueId::new(index), value))
    }

    /// Number of values, for side tables.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// The value `id`.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The name of value `id`.
    pub fn value_name(&self, id: ValueId) -> &str {
        &self.values[id.index()].name
    }

    /// What is known of value `id`.
    pub fn fact(&self, id: ValueId) -> Option<&Fact> {
        self.values[id.index()].fact.as_ref()
    }

    /// Records what is known of value `id`.
    pub fn set_fact(&mut self, id: ValueId, fact: Option<Fact>) {
        self.values[id.index()].fact = fact;
    }

    /// Sets the note of value `id`.
    pub fn set_value_doc(&mut self, id: ValueId, doc: &str) {
        doc.clone_into(&mut self.values[id.index()].doc);
    }

    /// The free key-value pairs of value `id`, for writing.
    pub fn value_metadata_mut(&mut self, id: ValueId) -> &mut BTreeMap<String, String> {
        &mut self.values[id.index()].metadata
    }

    /// Gives value `id` another name; a taken one gets a suffix.
    pub fn rename_value(&mut self, id: ValueId, name: &str) {
        if self.values[id.index()].name == name {
            return;
        }
        let name = self.free_name(name);
        let old = std::mem::replace(&mut self.values[id.index()].name, name.clone());
        self.names.remove(&old);
        self.names.insert(name, id);
    }

    /// The value of this name.
    pub fn find_value(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// The constant tensor of value `id`: an initializer that the caller cannot override.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.initializers
            .get(&id)
            .filter(|_| !self.inputs.contains(&id))
    }

    /// Where each value comes from, by value index.
    pub fn producers(&self) -> Vec<Option<Producer>> {
        let mut producers = vec![None; self.values.len()];
        for &id in self.initializers.keys() {
            producers[id.index()] = Some(Producer::Initializer);
        }
        for &id in &self.inputs {
            producers[id.index()] = Some(Producer::Input);
        }
        for (id, node) in self.nodes() {
            for (slot, output) in node.outputs.iter().enumerate() {
                if let Some(output) = output {
                    producers[output.index()] = Some(Producer::Node(id, slot));
                }
            }
        }
        producers
    }

    /// Which nodes read each value, by value index; a node that reads it twice is listed twice.
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for (id, node) in self.nodes() {
            for input in node.inputs.iter().flatten() {
                consumers[input.index()].push(id);
            }
        }
        consumers
    }

    /// Every use of `old`, as a node's input or as a graph output, becomes a use of `new`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        let inputs = self
            .nodes
            .iter_mut()
            .flatten()
            .flat_map(|node| &mut node.inputs);
        for input in inputs.flatten().chain(&mut self.outputs) {
            if *input == old {
                *input = new;
            }
        }
    }

    /// Lets every node read `map(input)` instead of each of its inputs.
    pub fn map_inputs(&mut self, map: impl Fn(ValueId) -> ValueId) {
        let nodes = self.nodes.iter_mut().flatten();
        for input in nodes.flat_map(|node| &mut node.inputs).flatten() {
            *input = map(*input);
        }
    }

    /// Nodes in an order in which every node comes after those it reads from; among the free ones
    /// the earliest added comes first.
    ///
    /// # Errors
    /// [`GraphError::Cycle`].
    pub fn topological_order(&self) -> Result<Vec<NodeId>> {
        let producers = self.producers();
        let mut waits_for = vec![0usize; self.nodes.len()];
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.nodes() {
            for input in node.inputs.iter().flatten() {
                if let Some(Producer::Node(source, _)) = producers[input.index()] {
                    readers[source.index()].push(id);
                    waits_for[id.index()] += 1;
                }
            }
        }
        let ready = self
            .nodes()
            .map(|(id, _)| id)
            .filter(|id| waits_for[id.index()] == 0);
        let mut ready: BTreeSet<NodeId> = ready.collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(id) = ready.pop_first() {
            order.push(id);
            for &reader in &readers[id.index()] {
                waits_for[reader.index()] -= 1;
                if waits_for[reader.index()] == 0 {
                    ready.insert(reader);
                }
            }
        }
        match self.nodes().find(|(id, _)| waits_for[id.index()] > 0) {
            None => Ok(order),
            Some((_, node)) => Err(GraphError::Cycle {
                node: node.name.clone(),
            }),
        }
    }

    /// Number of elements of all initializers of float type that nodes read: the parameters.
    pub fn parameter_count(&self) -> usize {
        let used: BTreeSet<ValueId> = self
            .nodes
            .iter()
            .flatten()
            .flat_map(|node| node.inputs.iter().flatten().copied())
            .collect();
        let initializers = self.initializers.iter();
        let parameters = initializers.filter(|(id, t)| used.contains(id) && t.dtype().is_float());
        parameters.map(|(_, tensor)| tensor.len()).sum()
    }

    fn free_name(&self, name: &str) -> String {
        let base = if name.is_empty() { "value" } else { name };
        if !self.names.contains_key(base) {
            return base.to_owned();
        }
        let taken = |n: &usize| !self.names.contains_key(&format!("{base}_{n}"));
        let suffix = (self.values.len()..)
            .find(taken)
            .expect("names never run out");
        format!("{base}_{suffix}")
    }
}
