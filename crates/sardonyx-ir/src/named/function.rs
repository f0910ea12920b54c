//! A function's body in the place of its call.

use super::assemble::{Assembler, Bindings, FunctionKey, Site, undefined};
use super::{NamedAttr, NamedFunction, NamedNode};
use crate::error::{GraphError, Result};
use crate::{Node, ONNX, ValueId};

impl<'m> Assembler<'m> {
    /// The function that a node calls.
    pub(super) fn function(&self, node: &NamedNode) -> Option<&'m NamedFunction> {
        let key: FunctionKey<'_> = (&node.domain, &node.op_type, &node.overload);
        self.functions.get(&key).copied()
    }

    /// Puts the nodes of `function` in the place of `node`, which calls it.
    pub(super) fn call(
        &mut self,
        node: &'m NamedNode,
        function: &'m NamedFunction,
        site: &Site<'m>,
    ) -> Result<()> {
        let key: FunctionKey<'m> = (&function.domain, &function.name, &function.overload);
        if self.calls.contains(&key) {
            return Err(problem(function, "calls itself"));
        }
        if node.inputs.len() > function.inputs.len() || node.outputs.len() > function.outputs.len()
        {
            return Err(problem(
                function,
                &format!(
                    "has {} inputs and {} outputs, but is called with {} and {}",
                    function.inputs.len(),
                    function.outputs.len(),
                    node.inputs.len(),
                    node.outputs.len()
                ),
            ));
        }
        let inputs = self.node_inputs(node)?;
        let outputs = self.node_outputs(node);
        let called = if node.name.is_empty() {
            &function.name
        } else {
            &node.name
        };
        let inside = Site {
            prefix: format!("{}{called}/", site.prefix),
            bindings: bindings(node, function, site)?,
        };
        self.calls.push(key);
        self.scopes.push_body()?;
        let echoed = self.define_body(function, (&inputs, &outputs), &inside)?;
        self.nodes(&function.nodes, &inside)?;
        for (name, output) in echoed {
            self.echo(name, output, &inside)?;
        }
        self.scopes.pop_body();
        self.calls.pop();
        Ok(())
    }

    /// Names everything that the body defines. Returns the outputs that no node of it writes,
    /// because they are one of its inputs or another output under a second number.
    fn define_body(
        &mut self,
        function: &'m NamedFunction,
        (inputs, outputs): (&[Option<ValueId>], &[Option<ValueId>]),
        site: &Site<'m>,
    ) -> Result<Vec<(&'m str, ValueId)>> {
        for (index, name) in function.inputs.iter().enumerate() {
            if self.scopes.own(name).is_some() {
                return Err(problem(function, &format!("has two inputs `{name}`")));
            }
            self.scopes.bind(name, inputs.get(index).copied().flatten());
        }
        let mut waiting: Vec<(&'m str, Option<ValueId>)> = Vec::new();
        for (index, name) in function.outputs.iter().enumerate() {
            waiting.push((name, outputs.get(index).copied().flatten()));
        }
        for name in function.nodes.iter().flat_map(|node| &node.outputs) {
            if name.is_empty() {
                continue;
            }
            if self.scopes.own(name).is_some() {
                return Err(problem(function, &format!("defines `{name}` twice")));
            }
            let place = waiting
                .iter()
                .position(|(output, id)| output == name && id.is_some());
            let id = match place {
                Some(place) => waiting.swap_remove(place).1,
                None => Some(self.scopes.add_value(&format!("{}{name}", site.prefix))?),
            };
            self.scopes.bind(name, id);
        }
        let echoed = waiting.into_iter();
        Ok(echoed.filter_map(|(name, id)| Some((name, id?))).collect())
    }

    /// Copies the value called `name` in the body to `output`.
    fn echo(&mut self, name: &str, output: ValueId, site: &Site<'m>) -> Result<()> {
        let input = self.scopes.own(name).flatten();
        let input = input.ok_or_else(|| undefined(name, "a function's outputs"))?;
        let mut node = Node::new(ONNX, "Identity");
        node.name = format!("{}{name}", site.prefix);
        node.inputs.push(Some(input));
        node.outputs.push(Some(output));
        self.scopes.graph().add_node(node);
        Ok(())
    }
}

/// What the body's references stand for: the call's attributes, else the function's defaults.
fn bindings<'m>(
    node: &'m NamedNode,
    function: &'m NamedFunction,
    site: &Site<'m>,
) -> Result<Bindings<'m>> {
    let mut bindings = Bindings::new();
    for (name, attr) in function.defaults.iter().chain(&node.attributes) {
        match attr {
            NamedAttr::Plain(attr) => {
                bindings.insert(name, attr.clone());
            }
            NamedAttr::Reference(outer) => {
                if let Some(attr) = site.bindings.get(outer.as_str()) {
                    bindings.insert(name, attr.clone());
                }
            }
            NamedAttr::Graph(_) | NamedAttr::Graphs(_) => {
                return Err(problem(
                    function,
                    "takes a subgraph as an attribute: not supported",
                ));
            }
        }
    }
    Ok(bindings)
}

fn problem(function: &NamedFunction, problem: &str) -> GraphError {
    GraphError::Function {
        function: format!("{}.{}", function.domain, function.name),
        problem: problem.to_owned(),
    }
}
