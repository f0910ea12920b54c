use std::collections::{BTreeMap, BTreeSet};

use super::{NamedAttr, NamedGraph, NamedModel, NamedNode, NamedTensor, NamedValue};
use crate::error::{GraphError, Result};
use crate::{Attr, Graph, Node, ValueId};

/// Names by value index; `None` for a value that is not used.
type Names = Vec<Option<String>>;

/// Names of a graph and of those around it.
#[derive(Debug)]
struct Taken<'a> {
    own: BTreeSet<String>,
    around: Option<&'a Taken<'a>>,
}

impl Taken<'_> {
    fn contains(&self, name: &str) -> bool {
        self.own.contains(name) || self.around.is_some_and(|around| around.contains(name))
    }
}

/// A graph by names, its nodes in topological order. The inverse of [`super::assemble`], functions
/// aside: values that a subgraph captured get the names that they have outside, and names in a
/// subgraph that are taken outside get a suffix.
///
/// # Errors
/// When the nodes depend on each other in a circle, or a node has fewer inputs than its subgraphs
/// capture.
pub fn disassemble(graph: &Graph) -> Result<NamedModel> {
    let mut names: Names = vec![None; graph.value_count()];
    for id in used_values(graph) {
        names[id.index()] = Some(graph.value_name(id).to_owned());
    }
    let own = names.iter().flatten().cloned().collect();
    let taken = Taken { own, around: None };
    let mut named = named_graph(graph, &names, &taken)?;
    named.metadata.clone_from(&graph.model.graph_metadata);
    Ok(NamedModel {
        info: graph.model.clone(),
        opsets: graph.opsets.clone(),
        metadata: graph.metadata.clone(),
        graph: named,
        functions: Vec::new(),
    })
}

fn used_values(graph: &Graph) -> impl Iterator<Item = ValueId> {
    let of_nodes = graph
        .nodes()
        .flat_map(|(_, node)| node.inputs.iter().chain(&node.outputs).flatten().copied());
    let constants = graph.initializers.keys().copied();
    let ends = graph.inputs.iter().chain(&graph.outputs).copied();
    ends.chain(constants).chain(of_nodes)
}

fn named_graph(graph: &Graph, names: &Names, taken: &Taken<'_>) -> Result<NamedGraph> {
    let value = |id: ValueId, with_notes: bool| {
        let value = graph.value(id);
        NamedValue {
            name: name(names, id),
            fact: value.fact.clone(),
            doc: if with_notes {
                value.doc.clone()
            } else {
                String::new()
            },
            metadata: if with_notes {
                value.metadata.clone()
            } else {
                BTreeMap::new()
            },
        }
    };
    let own_inputs = graph.inputs.len().saturating_sub(graph.captures);
    let mut named = NamedGraph {
        name: graph.name.clone(),
        doc: graph.doc.clone(),
        metadata: graph.metadata.clone(),
        inputs: graph.inputs[..own_inputs]
            .iter()
            .map(|&id| value(id, true))
            .collect(),
        outputs: graph
            .outputs
            .iter()
            .map(|&id| value(id, !graph.inputs.contains(&id)))
            .collect(),
        ..NamedGraph::default()
    };
    let inputs: BTreeSet<ValueId> = graph.inputs.iter().copied().collect();
    for (&id, tensor) in &graph.initializers {
        let noted = value(id, !inputs.contains(&id));
        named.initializers.push(NamedTensor {
            name: noted.name,
            tensor: tensor.clone(),
            doc: noted.doc,
            metadata: noted.metadata,
        });
    }
    let outputs: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    for id in graph.topological_order()? {
        let node = graph.node(id);
        for &id in node
            .outputs
            .iter()
            .flatten()
            .filter(|id| !outputs.contains(id))
        {
            let value = value(id, true);
            if value.fact.is_some() || !value.doc.is_empty() || !value.metadata.is_empty() {
                named.values.push(value);
            }
        }
        named.nodes.push(named_node(node, names, taken)?);
    }
    Ok(named)
}

fn named_node(node: &Node, names: &Names, taken: &Taken<'_>) -> Result<NamedNode> {
    let n_captured = node.capture_count();
    let Some(n_own) = node.inputs.len().checked_sub(n_captured) else {
        return Err(GraphError::Captures {
            op: node.qualified_op(),
            node: node.name.clone(),
        });
    };
    let listed = |ids: &[Option<ValueId>]| -> Vec<String> {
        let listed = ids
            .iter()
            .map(|id| id.map_or(String::new(), |id| name(names, id)));
        listed.collect()
    };
    let captured = listed(&node.inputs[n_own..]);
    let mut captured = captured.as_slice();
    let mut attributes = Vec::with_capacity(node.attributes.len());
    for (key, attr) in &node.attributes {
        let mut subgraph = |graph: &Graph| {
            let (own, rest) = captured.split_at(graph.captures);
            captured = rest;
            named_subgraph(graph, own, taken)
        };
        let attr = match attr {
            Attr::Graph(graph) => NamedAttr::Graph(subgraph(graph)?),
            Attr::Graphs(graphs) => {
                let graphs = graphs.iter().map(|graph| subgraph(graph));
                NamedAttr::Graphs(graphs.collect::<Result<_>>()?)
            }
            plain => NamedAttr::Plain(plain.clone()),
        };
        attributes.push((key.clone(), attr));
    }
    Ok(NamedNode {
        name: node.name.clone(),
        domain: node.domain.clone(),
        op_type: node.op_type.clone(),
        overload: String::new(),
        inputs: listed(&node.inputs[..n_own]),
        outputs: listed(&node.outputs),
        attributes,
        doc: node.doc.clone(),
        metadata: node.metadata.clone(),
    })
}

/// `captured` has the outer names of the graph's last inputs.
fn named_subgraph(graph: &Graph, captured: &[String], taken: &Taken<'_>) -> Result<NamedGraph> {
    let mut names: Names = vec![None; graph.value_count()];
    let first = graph.inputs.len().saturating_sub(graph.captures);
    for (id, outer) in graph.inputs[first..].iter().zip(captured) {
        names[id.index()] = Some(outer.clone());
    }
    let own: BTreeSet<ValueId> = used_values(graph)
        .filter(|id| names[id.index()].is_none())
        .collect();
    let around = taken;
    let mut taken = Taken {
        own: BTreeSet::new(),
        around: Some(around),
    };
    let mut renamed = Vec::new();
    for id in own {
        let name = graph.value_name(id);
        if taken.contains(name) {
            renamed.push(id);
        } else {
            taken.own.insert(name.to_owned());
            names[id.index()] = Some(name.to_owned());
        }
    }
    for id in renamed {
        let base = graph.value_name(id);
        let name = (1usize..)
            .map(|n| format!("{base}_{n}"))
            .find(|name| !taken.contains(name))
            .expect("names never run out");
        taken.own.insert(name.clone());
        names[id.index()] = Some(name);
    }
    named_graph(graph, &names, &taken)
}

fn name(names: &Names, id: ValueId) -> String {
    let name = names[id.index()].clone();
    name.expect("every used value has a name")
}
