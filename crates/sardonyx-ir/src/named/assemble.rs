use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::scope::Scopes;
use super::{
    MAX_NODES, NamedAttr, NamedFunction, NamedGraph, NamedModel, NamedNode, NamedTensor, NamedValue,
};
use crate::error::{GraphError, Result};
use crate::{Attr, Graph, Node, ONNX, SARDONYX, ValueId};

/// Domain, name and overload of a function.
pub(super) type FunctionKey<'m> = (&'m str, &'m str, &'m str);

/// Attributes of a call, which the nodes of the function's body refer to.
pub(super) type Bindings<'m> = BTreeMap<&'m str, Attr>;

/// Where nodes are put: what their names begin with, and what references stand for.
#[derive(Debug, Default)]
pub(super) struct Site<'m> {
    pub(super) prefix: String,
    pub(super) bindings: Bindings<'m>,
}

impl Site<'_> {
    /// Name of a node here; one without a name takes that of the call which it is part of.
    fn name(&self, own: &str) -> String {
        let prefix = self.prefix.as_str();
        if own.is_empty() {
            prefix.strip_suffix('/').unwrap_or(prefix).to_owned()
        } else {
            format!("{prefix}{own}")
        }
    }
}

/// The state of an assembly.
#[derive(Debug)]
pub(super) struct Assembler<'m> {
    pub(super) functions: BTreeMap<FunctionKey<'m>, &'m NamedFunction>,
    pub(super) scopes: Scopes,
    /// Functions whose bodies are being put in place, outermost first.
    pub(super) calls: Vec<FunctionKey<'m>>,
    opsets: BTreeMap<String, i64>,
    node_count: usize,
}

/// The graph of a model. Nodes may be in any order; functions are gone, each call being replaced
/// by the function's nodes under names that begin with the call's.
///
/// A name in `values` that nothing defines is a type hint for no one and is dropped.
///
/// # Errors
/// When a name is empty, defined twice or not at all, nodes depend on each other in a circle, a
/// function calls itself or does not fit its call, an operator set is used but not imported, or
/// the model passes a limit.
pub fn assemble(model: &NamedModel) -> Result<Graph> {
    let functions = function_table(&model.functions)?;
    let mut assembler = Assembler {
        opsets: merged_opsets(model, &functions)?,
        functions,
        scopes: Scopes::default(),
        calls: Vec::new(),
        node_count: 0,
    };
    let site = Site::default();
    assembler.begin_graph(&model.graph)?;
    assembler.nodes(&model.graph.nodes, &site)?;
    let mut graph = assembler.end_graph(&model.graph)?;
    graph.model = model.info.clone();
    graph.metadata.clone_from(&model.metadata);
    graph.verify()?;
    Ok(graph)
}

impl<'m> Assembler<'m> {
    /// Begins a graph: everything that it defines gets its name before any node is looked at.
    fn begin_graph(&mut self, named: &'m NamedGraph) -> Result<()> {
        let mut graph = Graph::new(&named.name, 0);
        graph.opsets.clone_from(&self.opsets);
        graph.doc.clone_from(&named.doc);
        graph.metadata.clone_from(&named.metadata);
        self.scopes.push_graph(graph)?;
        for input in &named.inputs {
            let id = self.define(&input.name, "an input of the graph")?;
            self.describe(id, input);
            self.scopes.graph().inputs.push(id);
        }
        for initializer in &named.initializers {
            self.initializer(initializer)?;
        }
        for node in &named.nodes {
            for output in node.outputs.iter().filter(|name| !name.is_empty()) {
                self.define(output, "an output")?;
            }
        }
        for value in named.values.iter().chain(&named.outputs) {
            if let Some(Some(id)) = self.scopes.own(&value.name) {
                self.describe(id, value);
            }
        }
        Ok(())
    }

    /// Ends a graph, resolving its outputs.
    fn end_graph(&mut self, named: &NamedGraph) -> Result<Graph> {
        for output in &named.outputs {
            let id = self.resolve(&output.name, || "the graph's outputs".to_owned())?;
            self.scopes.graph().outputs.push(id);
        }
        let finished = self.scopes.pop_graph();
        assert!(finished.captured.is_empty(), "there is nothing around it");
        Ok(finished.graph)
    }

    /// A graph inside a node, with the values around it that it reads.
    fn subgraph(
        &mut self,
        named: &'m NamedGraph,
        site: &Site<'m>,
    ) -> Result<(Arc<Graph>, Vec<ValueId>)> {
        self.begin_graph(named)?;
        // Inside a subgraph names are their own: only the bindings of the function around matter.
        let inside = Site {
            prefix: String::new(),
            bindings: site.bindings.clone(),
        };
        self.nodes(&named.nodes, &inside)?;
        for output in &named.outputs {
            let id = self.resolve(&output.name, || "a subgraph's outputs".to_owned())?;
            self.scopes.graph().outputs.push(id);
        }
        let finished = self.scopes.pop_graph();
        Ok((Arc::new(finished.graph), finished.captured))
    }

    /// Puts nodes into the current graph; their outputs are defined already.
    pub(super) fn nodes(&mut self, nodes: &'m [NamedNode], site: &Site<'m>) -> Result<()> {
        for node in nodes {
            self.node_count += 1;
            if self.node_count > MAX_NODES {
                let (what, max) = ("nodes", MAX_NODES);
                return Err(GraphError::TooMany { what, max });
            }
            if let Some(function) = self.function(node) {
                self.call(node, function, site)?;
            } else {
                self.node(node, site)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, named: &'m NamedNode, site: &Site<'m>) -> Result<()> {
        if !named.overload.is_empty() {
            let function = format!("{}.{}:{}", named.domain, named.op_type, named.overload);
            let problem = "is called, but the model does not define it".to_owned();
            return Err(GraphError::Function { function, problem });
        }
        let mut node = Node::new(&named.domain, &named.op_type);
        node.name = site.name(&named.name);
        node.doc.clone_from(&named.doc);
        node.metadata.clone_from(&named.metadata);
        node.inputs = self.node_inputs(named)?;
        node.outputs = self.node_outputs(named);
        let mut attributes: Vec<_> = named.attributes.iter().collect();
        attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, attr) in attributes {
            let Some(attr) = self.attribute(&mut node.inputs, attr, site)? else {
                continue;
            };
            if node.attributes.insert(name.clone(), attr).is_some() {
                return Err(node.attribute_error(name, "is given twice"));
            }
        }
        self.scopes.graph().add_node(node);
        Ok(())
    }

    /// The values that a node reads, not counting its subgraphs' captures.
    pub(super) fn node_inputs(&mut self, node: &NamedNode) -> Result<Vec<Option<ValueId>>> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            let user = || format!("{} node `{}`", node.op_type, node.name);
            inputs.push(match name.as_str() {
                "" => None,
                name => match self.scopes.resolve(name)? {
                    Some(found) => found,
                    None => return Err(undefined(name, &user())),
                },
            });
        }
        Ok(inputs)
    }

    /// The values that a node writes, which are defined already.
    pub(super) fn node_outputs(&self, node: &NamedNode) -> Vec<Option<ValueId>> {
        let own = |name: &String| self.scopes.own(name).flatten();
        node.outputs.iter().map(own).collect()
    }

    /// An attribute's value; `None` for a reference to an attribute that the call does not give.
    /// What subgraphs read is added to `inputs`.
    fn attribute(
        &mut self,
        inputs: &mut Vec<Option<ValueId>>,
        attr: &'m NamedAttr,
        site: &Site<'m>,
    ) -> Result<Option<Attr>> {
        let mut graph = |named: &'m NamedGraph| -> Result<Arc<Graph>> {
            let (graph, captured) = self.subgraph(named, site)?;
            inputs.extend(captured.into_iter().map(Some));
            Ok(graph)
        };
        Ok(match attr {
            NamedAttr::Plain(attr) => Some(attr.clone()),
            NamedAttr::Reference(name) => site.bindings.get(name.as_str()).cloned(),
            NamedAttr::Graph(named) => Some(Attr::Graph(graph(named)?)),
            NamedAttr::Graphs(named) => {
                let graphs = named.iter().map(graph).collect::<Result<_>>()?;
                Some(Attr::Graphs(graphs))
            }
        })
    }

    /// Gives `name` to a new value of the current graph.
    fn define(&mut self, name: &str, what: &'static str) -> Result<ValueId> {
        if name.is_empty() {
            return Err(GraphError::Unnamed { what });
        }
        if self.scopes.own(name).is_some() {
            let value = name.to_owned();
            return Err(GraphError::Redefined { value });
        }
        let id = self.scopes.add_value(name)?;
        self.scopes.bind(name, Some(id));
        Ok(id)
    }

    fn initializer(&mut self, initializer: &NamedTensor) -> Result<()> {
        let id = match self.scopes.own(&initializer.name).flatten() {
            Some(id) => id,
            None => self.define(&initializer.name, "an initializer")?,
        };
        let value = NamedValue {
            name: String::new(),
            fact: Some(crate::Fact::of(&initializer.tensor)),
            doc: initializer.doc.clone(),
            metadata: initializer.metadata.clone(),
        };
        self.describe(id, &value);
        let tensor = initializer.tensor.clone();
        if self
            .scopes
            .graph()
            .initializers
            .insert(id, tensor)
            .is_some()
        {
            let value = initializer.name.clone();
            return Err(GraphError::Redefined { value });
        }
        Ok(())
    }

    /// Records what a file says of a value, where nothing is recorded yet.
    fn describe(&mut self, id: ValueId, named: &NamedValue) {
        let graph = self.scopes.graph();
        if graph.fact(id).is_none() {
            graph.set_fact(id, named.fact.clone());
        }
        if !named.doc.is_empty() {
            graph.set_value_doc(id, &named.doc);
        }
        let metadata = graph.value_metadata_mut(id);
        metadata.extend(named.metadata.clone());
    }

    /// The value that `name` stands for.
    fn resolve(&mut self, name: &str, user: impl Fn() -> String) -> Result<ValueId> {
        let found = self.scopes.resolve(name)?.flatten();
        found.ok_or_else(|| undefined(name, &user()))
    }
}

pub(super) fn undefined(value: &str, user: &str) -> GraphError {
    GraphError::Undefined {
        value: value.to_owned(),
        user: user.to_owned(),
    }
}

fn function_table(
    functions: &[NamedFunction],
) -> Result<BTreeMap<FunctionKey<'_>, &NamedFunction>> {
    let mut table = BTreeMap::new();
    for function in functions {
        let key: FunctionKey<'_> = (&function.domain, &function.name, &function.overload);
        if table.insert(key, function).is_some() {
            return Err(GraphError::Function {
                function: format!("{}.{}", function.domain, function.name),
                problem: "is defined twice".to_owned(),
            });
        }
    }
    Ok(table)
}

/// The operator sets of the model and its functions. Those that only name functions are left out:
/// without calls nothing uses them.
fn merged_opsets(
    model: &NamedModel,
    functions: &BTreeMap<FunctionKey<'_>, &NamedFunction>,
) -> Result<BTreeMap<String, i64>> {
    let mut opsets = model.opsets.clone();
    for function in &model.functions {
        for (domain, &version) in &function.opsets {
            let of_model = *opsets.entry(domain.clone()).or_insert(version);
            if of_model != version {
                let function = format!("{}.{}", function.domain, function.name);
                let problem = format!(
                    "uses version {version} of operator set `{domain}`, the model version \
                     {of_model}; hint: convert the model with onnx.version_converter"
                );
                return Err(GraphError::Function { function, problem });
            }
        }
    }
    let mut used = BTreeSet::new();
    used_domains(&model.graph.nodes, functions, &mut used);
    for function in &model.functions {
        used_domains(&function.nodes, functions, &mut used);
    }
    let missing = |domain: &&str| !opsets.contains_key(*domain) && *domain != SARDONYX;
    if let Some(&domain) = used.iter().find(|domain| missing(domain)) {
        let domain = if domain == ONNX { "ai.onnx" } else { domain }.to_owned();
        return Err(GraphError::MissingOpset { domain });
    }
    let functions: BTreeSet<&str> = functions.keys().map(|key| key.0).collect();
    opsets
        .retain(|domain, _| used.contains(domain.as_str()) || !functions.contains(domain.as_str()));
    Ok(opsets)
}

fn used_domains<'m>(
    nodes: &'m [NamedNode],
    functions: &BTreeMap<FunctionKey<'_>, &NamedFunction>,
    used: &mut BTreeSet<&'m str>,
) {
    for node in nodes {
        let key: FunctionKey<'_> = (&node.domain, &node.op_type, &node.overload);
        if !functions.contains_key(&key) {
            used.insert(&node.domain);
        }
        for (_, attr) in &node.attributes {
            match attr {
                NamedAttr::Graph(graph) => used_domains(&graph.nodes, functions, used),
                NamedAttr::Graphs(graphs) => {
                    for graph in graphs {
                        used_domains(&graph.nodes, functions, used);
                    }
                }
                NamedAttr::Plain(_) | NamedAttr::Reference(_) => {}
            }
        }
    }
}
