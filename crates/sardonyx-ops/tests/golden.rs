//! Holds the reference evaluations against ONNX Runtime: `golden/neural.py` says which nodes and
//! wrote the results.

use sardonyx_ir::{Attr, Graph, Node};
use sardonyx_ops::{EvalCx, lookup};
use sardonyx_tensor::Tensor;

/// A node with its inputs and what it has to compute.
#[derive(Default)]
struct Case {
    line: usize,
    node: Node,
    opset: i64,
    inputs: Vec<Option<Tensor>>,
    expected: Vec<Tensor>,
}

fn numbers<T: std::str::FromStr>(words: &[&str]) -> Vec<T> {
    let parse = |word: &&str| {
        word.parse()
            .unwrap_or_else(|_| panic!("`{word}` is no number"))
    };
    words.iter().map(parse).collect()
}

fn attribute(words: &[&str]) -> Attr {
    match words {
        ["int", value] => Attr::Int(numbers(&[value])[0]),
        ["float", value] => Attr::Float(numbers(&[value])[0]),
        ["string", value] => Attr::from(*value),
        ["ints", values @ ..] => Attr::Ints(numbers(values)),
        _ => panic!("unknown attribute {words:?}"),
    }
}

fn tensor(words: &[&str]) -> Option<Tensor> {
    let [dtype, shape, values @ ..] = words else {
        return None;
    };
    let shape = shape.trim_matches(['[', ']']);
    let shape: Vec<usize> = numbers(&shape.split_terminator(',').collect::<Vec<_>>());
    let tensor = match *dtype {
        "f32" => Tensor::new(shape, numbers::<f32>(values)),
        "i64" => Tensor::new(shape, numbers::<i64>(values)),
        "i32" => Tensor::new(shape, numbers::<i32>(values)),
        "i8" => Tensor::new(shape, numbers::<i8>(values)),
        "bool" => Tensor::new(shape, values.iter().map(|word| *word != "0").collect()),
        other => panic!("unknown element type {other}"),
    };
    Some(tensor.expect("the file's shapes fit its values"))
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (line, words) in text.lines().enumerate() {
        let words: Vec<&str> = words.split_whitespace().collect();
        if let ["case", op, opset] = words[..] {
            let (node, opset) = (Node::new("", op), numbers(&[opset])[0]);
            cases.push(Case {
                line: line + 1,
                node,
                opset,
                ..Case::default()
            });
            continue;
        }
        let case = cases.last_mut().expect("the file starts with a case");
        match &words[..] {
            ["attribute", name, value @ ..] => {
                case.node
                    .attributes
                    .insert((*name).to_owned(), attribute(value));
            }
            ["input", value @ ..] => case.inputs.push(tensor(value)),
            ["output", value @ ..] => case.expected.extend(tensor(value)),
            _ => panic!("line {}: unknown entry {words:?}", line + 1),
        }
    }
    cases
}

/// Largest difference of two tensors, relative to their size; infinite when they cannot be
/// compared.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    if a.dtype() != b.dtype() || a.shape() != b.shape() {
        return f64::INFINITY;
    }
    let (a, b) = (a.to_f64().expect("numbers"), b.to_f64().expect("numbers"));
    let differ = |(a, b): (&f64, &f64)| match a.is_nan() || b.is_nan() {
        true if a.is_nan() && b.is_nan() => 0.0,
        true => f64::INFINITY,
        false => (a - b).abs() / (1.0 + b.abs()),
    };
    a.iter().zip(&b).map(differ).fold(0.0, f64::max)
}

fn check(case: &Case) -> Result<(), String> {
    let mut node = case.node.clone();
    // Which value an input is does not matter to a single node.
    let value = Graph::new("golden", case.opset).add_value("x", None);
    node.inputs = case
        .inputs
        .iter()
        .map(|input| input.as_ref().map(|_| value))
        .collect();
    let operator = lookup(&node, case.opset).map_err(|e| e.to_string())?;
    let inputs = case.inputs.iter().map(Option::as_ref).collect();
    let computed = operator.eval(&EvalCx {
        node: &node,
        inputs,
        opset: case.opset,
    });
    let computed = computed.map_err(|e| e.to_string())?;
    for (index, (computed, expected)) in computed.iter().zip(&case.expected).enumerate() {
        let difference = difference(computed, expected);
        if difference > 2e-6 {
            return Err(format!(
                "output {index} is off by {difference}: {computed:?}, expected {expected:?}"
            ));
        }
    }
    Ok(())
}

#[test]
fn the_reference_agrees_with_onnx_runtime() {
    let cases = cases(include_str!("golden/neural.txt"));
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(problem) = check(case) {
            failures.push(format!(
                "{} at line {}: {problem}",
                case.node.op_type, case.line
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(cases.len() > 100, "only {} cases were read", cases.len());
}
