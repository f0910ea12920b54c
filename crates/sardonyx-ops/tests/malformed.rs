//! Whatever a model says, an operator answers with a result or an error: every example, spoiled in
//! many ways, must not panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sardonyx_ir::{Attr, Fact, Graph};
use sardonyx_ops::{Example, Operator, infer, interpret, lookup, operators};
use sardonyx_tensor::Tensor;

/// What an input is replaced by.
fn wrong_inputs() -> Vec<Option<Tensor>> {
    let tensor = |shape: &[usize], value: i64| {
        let count = shape.iter().product();
        Tensor::new(shape, vec![value; count]).expect("as many as the shape says")
    };
    let floats = |shape: &[usize], value: f32| {
        let count = shape.iter().product();
        Tensor::new(shape, vec![value; count]).expect("as many as the shape says")
    };
    vec![
        None,
        Some(tensor(&[], -1)),
        Some(tensor(&[1], i64::MAX)),
        Some(tensor(&[2], i64::MIN)),
        Some(tensor(&[0], 0)),
        Some(tensor(&[3, 2], 0)),
        Some(tensor(&[4], 1 << 40)),
        Some(tensor(&[1, 2, 3, 0, 1], 5)),
        Some(floats(&[], 0.5)),
        Some(floats(&[2], f32::NAN)),
        Some(floats(&[4], f32::INFINITY)),
        Some(floats(&[0], 0.0)),
        Some(floats(&[0, 3], 0.0)),
        Some(floats(&[2, 3, 1, 2], -1e30)),
        Some(floats(&[1; 7], 1.0)),
        Some(Tensor::vector(vec![true, false])),
        Some(Tensor::vector(vec!["a".to_owned()])),
        Some(Tensor::vector(vec![200u8; 3])),
    ]
}

fn wrong_attributes() -> Vec<Attr> {
    vec![
        Attr::Int(0),
        Attr::Int(-1),
        Attr::Int(3),
        Attr::Int(99),
        Attr::Int(i64::MAX),
        Attr::Int(i64::MIN),
        Attr::Ints(vec![]),
        Attr::Ints(vec![0, 0]),
        Attr::Ints(vec![-1, 0, 1, 2]),
        Attr::Ints(vec![i64::MAX, i64::MIN]),
        Attr::Ints(vec![i64::MAX; 4]),
        Attr::Float(f32::NAN),
        Attr::Floats(vec![0.0, -1.0, f32::INFINITY]),
        Attr::from("..."),
        Attr::from("..ij,->k"),
        Attr::from(""),
        Attr::String(vec![0xff]),
        Attr::Strings(vec![b"Relu".to_vec()]),
        Tensor::vector(vec![1i64, 2]).into(),
    ]
}

/// Infers and evaluates, with inputs fed and with inputs constant.
fn run(example: &Example) {
    for constant in [true, false] {
        let mut graph = Graph::new("malformed", example.opset);
        for domain in [sardonyx_ir::SARDONYX, sardonyx_ir::PREVIEW_TRAINING] {
            graph.opsets.insert(domain.to_owned(), 1);
        }
        let mut node = example.node.clone();
        let mut feeds = std::collections::BTreeMap::new();
        for input in &example.inputs {
            node.inputs.push(input.as_ref().map(|tensor| {
                if constant {
                    return graph.add_initializer("c", tensor.clone());
                }
                let id = graph.add_input("x", Fact::of(tensor));
                feeds.insert(id, tensor.clone());
                id
            }));
        }
        for _ in 0..example.outputs {
            let output = graph.add_value("y", None);
            node.outputs.push(Some(output));
            graph.outputs.push(output);
        }
        graph.add_node(node);
        let inferred = infer(&mut graph);
        if let Ok(known) = &inferred {
            let node = graph.nodes().next().expect("there is a node").1;
            let operator = lookup(node, example.opset).expect("it was inferred");
            let cx = known.context(&graph, node).expect("it was inferred");
            let outputs = operator.infer(&cx).expect("it was inferred");
            operator.flops(&cx, &outputs);
        }
        let outputs = interpret(&graph, &feeds);
        if let (Ok(_), Ok(outputs)) = (inferred, outputs) {
            for (&id, tensor) in graph.outputs.iter().zip(&outputs) {
                let fact = graph.fact(id).expect("inferred");
                let fits = fact.admits(tensor.dtype(), tensor.shape());
                assert!(
                    fits,
                    "inferred {fact}, computed {}{:?}",
                    tensor.dtype(),
                    tensor.shape()
                );
            }
        }
    }
}

#[test]
fn spoiled_examples_do_not_panic() {
    let mut wrong = Vec::new();
    let mut check = |example: &Example, how: String| {
        if catch_unwind(AssertUnwindSafe(|| run(example))).is_err() {
            wrong.push(format!("{}: {how}", example.name));
        }
    };
    for example in operators().flat_map(Operator::examples) {
        for index in 0..example.inputs.len() {
            for input in wrong_inputs() {
                let mut spoiled = example.clone();
                let how = format!("input {index} is {input:?}");
                spoiled.inputs[index] = input;
                check(&spoiled, how);
            }
        }
        for name in example.node.attributes.keys() {
            let mut spoiled = example.clone();
            spoiled.node.attributes.remove(name);
            check(&spoiled, format!("without `{name}`"));
            for value in wrong_attributes() {
                let mut spoiled = example.clone();
                let how = format!("`{name}` is {value:?}");
                spoiled.node.attributes.insert(name.clone(), value);
                check(&spoiled, how);
            }
        }
        for count in 0..example.inputs.len() {
            let mut spoiled = example.clone();
            spoiled.inputs.truncate(count);
            check(&spoiled, format!("with {count} inputs"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} panics:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
