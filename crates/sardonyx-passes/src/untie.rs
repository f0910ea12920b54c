//! Exporters store equal tensors once: in a fresh network all scales of ones and all biases of
//! zeros are then one initializer, though they are parameters of their own.

use std::collections::BTreeSet;

use sardonyx_ir::{Graph, ValueId};
use sardonyx_tensor::Tensor;

use crate::parameters::{is_weight_slot, trainable_parameters};

/// Gives every reader of a parameter whose elements are all equal a copy of its own, so that they
/// are trained apart. Other shared parameters are tied on purpose. Returns the number of copies.
pub fn untie_parameters(graph: &mut Graph) -> usize {
    let parameters = trainable_parameters(graph);
    let uniform = parameters.into_iter().filter(|id| {
        let tensor = graph.initializers.get(id);
        tensor.is_some_and(|tensor| is_uniform(tensor))
    });
    let uniform: BTreeSet<ValueId> = uniform.collect();
    let producers = graph.producers();
    let mut seen = BTreeSet::new();
    let mut shared = Vec::new();
    for (id, node) in graph.nodes() {
        for (slot, input) in node.inputs.iter().enumerate() {
            let input = input.filter(|input| uniform.contains(input));
            let is_weight = |_: &ValueId| is_weight_slot(graph, &producers, node, slot);
            if let Some(input) = input.filter(is_weight)
                && !seen.insert(input)
            {
                shared.push((id, slot, input));
            }
        }
    }
    for &(id, slot, input) in &shared {
        let tensor = graph.initializers[&input].clone();
        let name = graph.value_name(input).to_owned();
        let copy = graph.add_initializer(&name, tensor);
        graph.node_mut(id).inputs[slot] = Some(copy);
    }
    shared.len()
}

fn is_uniform(tensor: &Tensor) -> bool {
    let values = tensor.to_f64().unwrap_or_default();
    values.windows(2).all(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use sardonyx_ir::{Dim, Fact, Node, ONNX};
    use sardonyx_tensor::DType;

    use super::*;

    #[test]
    fn only_equal_elements_are_untied() {
        let mut graph = Graph::new("two products, two sums", 20);
        let shape = [Dim::symbol("N"), Dim::known(2)];
        let mut x = graph.add_input("x", Fact::new(DType::F32, shape));
        let weight = Tensor::new([2, 2], vec![1f32, 2.0, 3.0, 4.0]).expect("four");
        let weight = graph.add_initializer("weight", weight);
        let bias = graph.add_initializer("bias", Tensor::vector(vec![0f32; 2]));
        for _ in 0..2 {
            for (op, parameter) in [("MatMul", weight), ("Add", bias)] {
                let mut node = Node::new(ONNX, op);
                node.inputs = vec![Some(x), Some(parameter)];
                x = graph.add_value("y", None);
                node.outputs.push(Some(x));
                graph.add_node(node);
            }
        }
        graph.outputs.push(x);
        assert_eq!(untie_parameters(&mut graph), 1);
        assert_eq!(untie_parameters(&mut graph), 0);
        assert_eq!(graph.verify(), Ok(()));
        assert_eq!(trainable_parameters(&graph).len(), 3);
    }
}
