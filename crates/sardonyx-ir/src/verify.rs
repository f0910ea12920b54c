//! The rules of a well-formed graph. They run on every graph that comes from outside, and after
//! every pass in tests and debug builds.

use crate::error::{GraphError, Result};
use crate::{Fact, Graph, ValueId};

impl Graph {
    /// Holds the graph against its rules: every used value is defined, and once; names are unique;
    /// there is no cycle; initializers are what the graph declares them to be.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn verify(&self) -> Result<()> {
        self.verify_names()?;
        self.verify_definitions()?;
        self.verify_uses()?;
        self.verify_initializers()?;
        self.verify_subgraphs()?;
        self.topological_order().map(drop)
    }

    fn verify_names(&self) -> Result<()> {
        for (id, value) in self.values() {
            if self.find_value(&value.name) != Some(id) {
                return Err(GraphError::DuplicateName {
                    name: value.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn verify_definitions(&self) -> Result<()> {
        let mut defined = vec![false; self.value_count()];
        let outputs = self
            .nodes()
            .flat_map(|(_, node)| node.outputs.iter().flatten().copied());
        let overridable = |id: &&ValueId| !self.inputs.contains(id);
        let constants = self.initializers.keys().filter(overridable).copied();
        for id in self.inputs.iter().copied().chain(constants).chain(outputs) {
            if std::mem::replace(&mut defined[id.index()], true) {
                return Err(GraphError::Redefined {
                    value: self.value_name(id).to_owned(),
                });
            }
        }
        Ok(())
    }

    fn verify_uses(&self) -> Result<()> {
        let producers = self.producers();
        let undefined = |id: ValueId, user: &str| GraphError::Undefined {
            value: self.value_name(id).to_owned(),
            user: user.to_owned(),
        };
        for (_, node) in self.nodes() {
            for &input in node.inputs.iter().flatten() {
                if producers[input.index()].is_none() {
                    let user = format!("{} node `{}`", node.qualified_op(), node.name);
                    return Err(undefined(input, &user));
                }
            }
        }
        match self
            .outputs
            .iter()
            .find(|id| producers[id.index()].is_none())
        {
            Some(&output) => Err(undefined(output, "the graph's outputs")),
            None => Ok(()),
        }
    }

    fn verify_subgraphs(&self) -> Result<()> {
        for (_, node) in self.nodes() {
            if node.inputs.len() < node.capture_count() {
                return Err(GraphError::Captures {
                    op: node.qualified_op(),
                    node: node.name.clone(),
                });
            }
            for graph in node.subgraphs() {
                assert!(graph.captures <= graph.inputs.len(), "captures are inputs");
                graph.verify()?;
            }
        }
        Ok(())
    }

    fn verify_initializers(&self) -> Result<()> {
        for (&id, tensor) in &self.initializers {
            if let Some(fact) = self.fact(id)
                && !fact.admits(tensor.dtype(), tensor.shape())
            {
                return Err(GraphError::InitializerMismatch {
                    value: self.value_name(id).to_owned(),
                    declared: fact.to_string(),
                    found: Fact::of(tensor).to_string(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sardonyx_tensor::{DType, Tensor};

    use super::*;
    use crate::{Node, ONNX, Patch};

    fn relu(graph: &mut Graph, input: ValueId) -> ValueId {
        let output = graph.add_value("y", None);
        let mut node = Node::new(ONNX, "Relu");
        node.inputs.push(Some(input));
        node.outputs.push(Some(output));
        graph.add_node(node);
        output
    }

    fn one_relu() -> (Graph, ValueId, ValueId) {
        let mut graph = Graph::new("g", 17);
        let x = graph.add_input("x", Fact::fixed(DType::F32, &[2]));
        let y = relu(&mut graph, x);
        graph.outputs.push(y);
        (graph, x, y)
    }

    #[test]
    fn a_good_graph_passes() {
        assert_eq!(one_relu().0.verify(), Ok(()));
    }

    #[test]
    fn undefined_and_redefined_values_are_found() {
        let (mut graph, _, y) = one_relu();
        let loose = graph.add_value("loose", None);
        graph.outputs.push(loose);
        assert!(matches!(graph.verify(), Err(GraphError::Undefined { .. })));
        graph.outputs.pop();
        graph
            .initializers
            .insert(y, Tensor::vector(vec![0f32; 2]).into());
        assert!(matches!(graph.verify(), Err(GraphError::Redefined { .. })));
    }

    #[test]
    fn cycles_are_found() {
        let (mut graph, x, y) = one_relu();
        graph.inputs.clear();
        let mut back = Node::new(ONNX, "Relu");
        back.inputs.push(Some(y));
        back.outputs.push(Some(x));
        graph.add_node(back);
        assert!(matches!(graph.verify(), Err(GraphError::Cycle { .. })));
    }

    #[test]
    fn initializers_must_be_what_is_declared() {
        let mut graph = Graph::new("g", 17);
        let w = graph.add_value("w", Some(Fact::fixed(DType::F32, &[3])));
        graph
            .initializers
            .insert(w, Tensor::vector(vec![0f32; 2]).into());
        assert!(matches!(
            graph.verify(),
            Err(GraphError::InitializerMismatch { .. })
        ));
    }

    #[test]
    fn a_patch_replaces_an_output_and_keeps_its_name() {
        let (mut graph, x, y) = one_relu();
        let (old, _) = graph.nodes().next().expect("one node");
        let mut patch = Patch::new(&graph, "test");
        let z = patch.add_value("z", None);
        let mut node = Node::new(ONNX, "Abs");
        node.inputs.push(Some(x));
        node.outputs.push(Some(z));
        patch.add_node(node);
        patch.remove_node(old);
        patch.replace(y, z);
        assert!(patch.clone().apply(&mut graph));
        assert_eq!(graph.verify(), Ok(()));
        assert_eq!(graph.value_name(graph.outputs[0]), "y");
        assert!(
            !patch.apply(&mut graph),
            "the removed node is gone: the patch no longer fits"
        );
    }
}
