//! Runs every example of every operator: inference must admit what the reference computes, and
//! every gradient rule must agree with finite differences in `f64`.

use std::collections::BTreeMap;

use sardonyx_ir::{Fact, Graph, Node, ValueId};
use sardonyx_ops::{
    Builder, Example, GradCheck, GradCx, MAX_OPSET, Operator, infer, interpret, operators,
};
use sardonyx_tensor::{DType, Philox, Tensor};

type Feeds = BTreeMap<ValueId, Tensor>;

/// A graph of the example's node alone, with its inputs fed or constant.
struct Single {
    graph: Graph,
    node: Node,
    feeds: Feeds,
}

/// Builds the graph; float inputs become `dtype` and are fed, others are constants, as axes and
/// shapes are in models. Where only some gradients are checked, the other inputs are constants too.
fn single(example: &Example, dtype: Option<DType>) -> Single {
    let mut graph = Graph::new("example", example.opset);
    graph.opsets.insert(sardonyx_ir::SARDONYX.to_owned(), 1);
    graph
        .opsets
        .insert(sardonyx_ir::PREVIEW_TRAINING.to_owned(), 1);
    let mut node = example.node.clone();
    let mut feeds = Feeds::new();
    for (index, input) in example.inputs.iter().enumerate() {
        let id = input.as_ref().map(|tensor| match dtype {
            _ if !tensor.dtype().is_float() => {
                graph.add_initializer(&format!("c{index}"), tensor.clone())
            }
            dtype => {
                let tensor = tensor
                    .to_float(dtype.unwrap_or(tensor.dtype()))
                    .expect("a float");
                if matches!(&example.grad, Some(GradCheck::Inputs(fed)) if !fed.contains(&index)) {
                    return graph.add_initializer(&format!("c{index}"), tensor);
                }
                let id = graph.add_input(&format!("x{index}"), Fact::of(&tensor));
                feeds.insert(id, tensor);
                id
            }
        });
        node.inputs.push(id);
    }
    for index in 0..example.outputs {
        let output = graph.add_value(&format!("y{index}"), None);
        node.outputs.push(Some(output));
        graph.outputs.push(output);
    }
    graph.add_node(node.clone());
    Single { graph, node, feeds }
}

#[test]
fn inference_admits_what_the_reference_computes() {
    for example in operators().flat_map(Operator::examples) {
        let name = &example.name;
        let mut single = single(&example, None);
        infer(&mut single.graph).unwrap_or_else(|e| panic!("{name}: inference: {e}"));
        single
            .graph
            .verify()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let outputs = interpret(&single.graph, &single.feeds);
        let outputs = outputs.unwrap_or_else(|e| panic!("{name}: reference: {e}"));
        for (&id, tensor) in single.graph.outputs.iter().zip(&outputs) {
            let fact = single
                .graph
                .fact(id)
                .unwrap_or_else(|| panic!("{name}: nothing inferred"));
            assert!(
                fact.admits(tensor.dtype(), tensor.shape()),
                "{name}: inferred {fact}, computed {}{:?}",
                tensor.dtype(),
                tensor.shape()
            );
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let mut checked = 0;
    for example in operators().flat_map(Operator::examples) {
        let inputs = match &example.grad {
            Some(GradCheck::Skip(_)) => continue,
            Some(GradCheck::Inputs(inputs)) => inputs.clone(),
            None => (0..example.inputs.len())
                .filter(|&i| is_float(&example, i))
                .collect(),
        };
        assert!(
            !inputs.is_empty(),
            "{}: no gradient is checked and no reason given",
            example.name
        );
        for input in inputs {
            check_gradient(&example, input);
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} gradients were checked");
}

fn is_float(example: &Example, input: usize) -> bool {
    example.inputs[input]
        .as_ref()
        .is_some_and(|tensor| tensor.dtype().is_float())
}

/// The loss is a fixed random combination of all float outputs' elements.
fn weights(index: usize, shape: &[usize]) -> Tensor {
    let mut rng = Philox::new(99, index as u64);
    Tensor::from_fn(shape, |_| rng.uniform_f64() + 0.5).expect("a small shape")
}

fn loss(outputs: &[Tensor]) -> f64 {
    let float = outputs
        .iter()
        .enumerate()
        .filter(|(_, tensor)| tensor.dtype().is_float());
    float
        .map(|(index, tensor)| {
            let weights = weights(index, tensor.shape());
            let weights = weights.values::<f64>().expect("made as f64");
            let values = tensor.to_f64().expect("a float");
            values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>()
        })
        .sum()
}

fn check_gradient(example: &Example, input: usize) {
    let name = format!("{} by input {input}", example.name);
    let mut single = single(example, Some(DType::F64));
    infer(&mut single.graph).unwrap_or_else(|e| panic!("{name}: inference: {e}"));
    let analytic = analytic_gradient(&single, input, &name);
    let id = single.node.input(input).expect("a checked input is there");
    let base = single.feeds[&id].clone();
    assert_eq!(
        analytic.shape(),
        base.shape(),
        "{name}: the gradient has another shape"
    );
    let analytic = analytic.to_f64().expect("a float");
    for (element, &analytic) in analytic.iter().enumerate() {
        let mut shifted = |delta: f64| {
            let mut moved = base.clone();
            moved.values_mut::<f64>().expect("made as f64")[element] += delta;
            single.feeds.insert(id, moved);
            loss(&interpret(&single.graph, &single.feeds).expect("it ran before"))
        };
        let step = 1e-5;
        let numeric = (shifted(step) - shifted(-step)) / (2.0 * step);
        let tolerance = 1e-6 * (1.0 + numeric.abs());
        assert!(
            (numeric - analytic).abs() <= tolerance,
            "{name}: element {element}: rule {analytic}, finite difference {numeric}"
        );
        single.feeds.insert(id, base.clone());
    }
}

fn analytic_gradient(single: &Single, input: usize, name: &str) -> Tensor {
    let mut graph = single.graph.clone();
    graph
        .opsets
        .insert(String::new(), graph.opset("").unwrap_or(MAX_OPSET));
    let mut builder = Builder::new(&graph, "grad");
    let output_grads = graph
        .outputs
        .iter()
        .enumerate()
        .map(|(index, &id)| {
            let fact = graph.fact(id).expect("inferred");
            let shape = fact.fixed_shape().expect("examples have fixed shapes");
            fact.dtype
                .is_float()
                .then(|| builder.tensor(weights(index, &shape)))
        })
        .collect();
    let wanted = (0..single.node.inputs.len()).map(|i| i == input).collect();
    let mut cx = GradCx {
        builder: &mut builder,
        node: &single.node,
        output_grads,
        wanted,
    };
    let operator = operators()
        .find(|op| {
            let schema = op.schema();
            schema.name == single.node.op_type && schema.domain == single.node.domain
        })
        .expect("it has examples, so it is registered");
    let grads = operator
        .grad(&mut cx)
        .unwrap_or_else(|e| panic!("{name}: gradient rule: {e}"));
    let grad = grads.get(input).copied().flatten();
    let grad = grad.unwrap_or_else(|| panic!("{name}: the rule gives no gradient"));
    let patch = builder.finish();
    assert!(
        patch.apply(&mut graph),
        "{name}: the gradient patch does not apply"
    );
    graph.outputs = vec![grad];
    graph.verify().unwrap_or_else(|e| panic!("{name}: {e}"));
    // The emitted nodes use the newest form of their operators, whatever the example's version.
    let mut emitted = interpret(&graph, &single.feeds).unwrap_or_else(|e| panic!("{name}: {e}"));
    emitted.remove(0)
}
