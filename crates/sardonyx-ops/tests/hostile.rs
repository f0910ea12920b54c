//! Malformed nodes must give errors: every example of every operator is run with attributes and
//! inputs that were tampered with, and must not panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sardonyx_ir::{Attr, Fact, Graph};
use sardonyx_ops::{EvalCx, Example, InferCx, Inferred, Known, Operator, operators};
use sardonyx_tensor::Tensor;

/// Attributes that a node of this example could have been given by mistake or by malice.
fn tampered_attributes(example: &Example) -> Vec<Example> {
    let window = [
        "auto_pad",
        "axes",
        "axis",
        "dilations",
        "group",
        "input_shape",
        "kernel_shape",
    ];
    let more = [
        "num_groups",
        "output_padding",
        "output_shape",
        "p",
        "pads",
        "size",
        "strides",
    ];
    let present = example.node.attributes.keys().map(String::as_str);
    let names: Vec<&str> = window.into_iter().chain(more).chain(present).collect();
    let values = [
        Attr::Int(0),
        Attr::Int(-1),
        Attr::Int(7),
        Attr::Int(i64::MAX),
        Attr::Int(i64::MIN),
        Attr::Ints(vec![]),
        Attr::Ints(vec![0, 0]),
        Attr::Ints(vec![-1, 5]),
        Attr::Ints(vec![9, 9]),
        Attr::Ints(vec![1; 6]),
        Attr::Ints(vec![i64::MAX; 2]),
        Attr::Ints(vec![i64::MAX; 4]),
        Attr::Float(f32::NAN),
        Attr::from("SAME_UPPER"),
    ];
    let tamper = |(name, value): (&str, &Attr)| {
        let mut tampered = example.clone();
        tampered
            .node
            .attributes
            .insert(name.to_owned(), value.clone());
        tampered
    };
    let pairs = names
        .iter()
        .flat_map(|name| values.iter().map(move |value| (*name, value)));
    pairs.map(tamper).collect()
}

/// One input at a time left out, or of another shape, or all of them but the first.
fn tampered_inputs(example: &Example) -> Vec<Example> {
    let shapes: [&[usize]; 6] = [&[], &[0], &[3], &[2, 0], &[1, 2, 3], &[2, 3, 0, 2]];
    let mut tampered = Vec::new();
    for input in 0..example.inputs.len() {
        let Some(Some(tensor)) = example.inputs.get(input) else {
            continue;
        };
        let mut with = |tensor: Option<Tensor>| {
            let mut copy = example.clone();
            copy.inputs[input] = tensor;
            tampered.push(copy);
        };
        with(None);
        with(Some(Tensor::vector(vec![-1i64, i64::MAX])));
        with(Some(Tensor::scalar(true)));
        for shape in shapes {
            let made = Tensor::zeros(tensor.dtype(), shape);
            with(Some(made.expect("a small shape")));
        }
    }
    tampered
}

fn infer(operator: &dyn Operator, example: &Example, are_constant: bool) -> Option<Vec<Inferred>> {
    let facts: Vec<Option<Fact>> = example
        .inputs
        .iter()
        .map(|input| input.as_ref().map(Fact::of))
        .collect();
    let constants: Vec<_> = example
        .inputs
        .iter()
        .map(|input| input.clone().map(std::sync::Arc::new))
        .collect();
    let known = |(fact, value)| -> Option<Known<'_>> {
        let (fact, value): (&Option<Fact>, &Option<_>) = (fact, value);
        let value = value.as_ref().filter(|_| are_constant);
        Some(Known {
            fact: fact.as_ref()?,
            value,
            dims: None,
        })
    };
    let inputs = facts.iter().zip(&constants).map(known).collect();
    let (node, opset) = (&example.node, example.opset);
    let cx = InferCx {
        node,
        inputs,
        opset,
    };
    let outputs = operator.infer(&cx).ok()?;
    let _ = operator.flops(&cx, &outputs);
    Some(outputs)
}

/// Runs a tampered example. Where inference admits it, evaluation must keep its promise or fail.
fn run(operator: &dyn Operator, example: &Example) {
    infer(operator, example, false);
    let inferred = infer(operator, example, true);
    let inputs = example.inputs.iter().map(Option::as_ref).collect();
    let (node, opset) = (&example.node, example.opset);
    let computed = operator.eval(&EvalCx {
        node,
        inputs,
        opset,
    });
    for (inferred, tensor) in inferred.iter().flatten().zip(computed.iter().flatten()) {
        let (fact, shape) = (&inferred.fact, tensor.shape());
        assert!(
            fact.admits(tensor.dtype(), shape),
            "inferred {fact}, computed {shape:?}"
        );
    }
}

#[test]
fn tampered_nodes_give_errors() {
    let mut panics = Vec::new();
    // Our own operators come from our own passes alone, never from a file.
    let standard = operators().filter(|operator| operator.schema().domain == sardonyx_ir::ONNX);
    for operator in standard {
        for example in operator.examples() {
            let mut graph = Graph::new("hostile", example.opset);
            let value = graph.add_value("x", None);
            let mut tampered = tampered_attributes(&example);
            tampered.extend(tampered_inputs(&example));
            for mut example in tampered {
                let inputs = example.inputs.iter();
                example.node.inputs = inputs.map(|input| input.as_ref().map(|_| value)).collect();
                example.node.outputs = vec![Some(value); example.outputs];
                if catch_unwind(AssertUnwindSafe(|| run(operator, &example))).is_err() {
                    let shapes = example.inputs.iter().flatten().map(|x| x.shape().to_vec());
                    let shapes: Vec<_> = shapes.collect();
                    let attributes = &example.node.attributes;
                    panics.push(format!("{}: {shapes:?} {attributes:?}", example.name));
                }
            }
        }
    }
    assert!(
        panics.is_empty(),
        "{} panics:\n{}",
        panics.len(),
        panics.join("\n")
    );
}
