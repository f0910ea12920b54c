//! Holds reference evaluations against the expected outputs of the ONNX package's own node tests
//! (`tests/python/conformance.py` writes them down), and inference against the same.

use sardonyx_ir::{Attr, Fact, Graph, Node};
use sardonyx_ops::{infer, interpret};
use sardonyx_tensor::{DType, Element, Tensor};

const CASES: &str = include_str!("golden/conformance.txt");

#[derive(Debug, Default)]
struct Case {
    name: String,
    opset: i64,
    node: Node,
    inputs: Vec<Option<Tensor>>,
    outputs: Vec<Option<Tensor>>,
}

fn list<T>(text: &str, parse: impl Fn(&str) -> T) -> Vec<T> {
    let items = text.split(',').filter(|_| text != ".");
    items.map(parse).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = if hex == "_" { "" } else { hex };
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
    pairs.map(|pair| byte(pair).expect("hexadecimal")).collect()
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a number")
}

fn tensor(words: &[&str]) -> Option<Tensor> {
    let [dtype, shape, values] = words else {
        assert_eq!(words, ["-"], "a tensor or a dash");
        return None;
    };
    fn of<T: Element + std::str::FromStr<Err: std::fmt::Debug>>(s: Vec<usize>, v: &str) -> Tensor {
        Tensor::new(s, list(v, number::<T>)).expect("as many values as the shape says")
    }
    let shape: Vec<usize> = list(shape, number);
    Some(match DType::from_name(dtype).expect("a type's name") {
        DType::F32 => of::<f32>(shape, values),
        DType::F64 => of::<f64>(shape, values),
        DType::F16 => of::<f64>(shape, values)
            .to_float(DType::F16)
            .expect("a float"),
        DType::Bf16 => of::<f64>(shape, values)
            .to_float(DType::Bf16)
            .expect("a float"),
        DType::I8 => of::<i8>(shape, values),
        DType::I16 => of::<i16>(shape, values),
        DType::I32 => of::<i32>(shape, values),
        DType::I64 => of::<i64>(shape, values),
        DType::U8 => of::<u8>(shape, values),
        DType::U16 => of::<u16>(shape, values),
        DType::U32 => of::<u32>(shape, values),
        DType::U64 => of::<u64>(shape, values),
        DType::Bool => {
            Tensor::new(shape, list(values, |v| v != "0")).expect("as many as the shape says")
        }
        DType::String => {
            let text = |hex: &str| String::from_utf8(bytes(hex)).expect("UTF-8");
            Tensor::new(shape, list(values, text)).expect("as many as the shape says")
        }
    })
}

fn attribute(kind: &str, values: &[&str]) -> Attr {
    let value = values[0];
    match kind {
        "int" => Attr::Int(number(value)),
        "float" => Attr::Float(number(value)),
        "ints" => Attr::Ints(list(value, number)),
        "floats" => Attr::Floats(list(value, number)),
        "string" => Attr::String(bytes(value)),
        "strings" => Attr::Strings(list(value, bytes)),
        "tensor" => tensor(values).expect("a tensor").into(),
        other => panic!("unknown kind of attribute `{other}`"),
    }
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in CASES.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "case" {
            cases.push(Case {
                name: words[1].to_owned(),
                opset: number(words[2]),
                node: Node::new("", words[3]),
                ..Case::default()
            });
            continue;
        }
        let case = cases.last_mut().expect("a case comes first");
        match words[0] {
            "attr" => {
                let value = attribute(words[2], &words[3..]);
                case.node.attributes.insert(words[1].to_owned(), value);
            }
            "in" => case.inputs.push(tensor(&words[1..])),
            "out" => case.outputs.push(tensor(&words[1..])),
            other => panic!("unknown line `{other}`"),
        }
    }
    cases
}

fn close(expected: &Tensor, found: &Tensor) -> bool {
    if expected.dtype() != found.dtype() || expected.shape() != found.shape() {
        return false;
    }
    if !expected.dtype().is_float() {
        return expected == found;
    }
    let tolerance = if expected.dtype() == DType::F16 {
        1e-3
    } else {
        2e-6
    };
    let (a, b) = (
        expected.to_f64().expect("a float"),
        found.to_f64().expect("a float"),
    );
    a.iter().zip(&b).all(|(a, b)| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * (1.0 + a.abs())
    })
}

/// Runs a case with its inputs fed, or constant; returns what is wrong.
fn check(case: &Case, constant: bool) -> Result<(), String> {
    let mut graph = Graph::new("case", case.opset);
    let mut node = case.node.clone();
    let mut feeds = std::collections::BTreeMap::new();
    for (index, input) in case.inputs.iter().enumerate() {
        let name = format!("x{index}");
        node.inputs.push(input.as_ref().map(|tensor| {
            if constant {
                return graph.add_initializer(&name, tensor.clone());
            }
            let id = graph.add_input(&name, Fact::of(tensor));
            feeds.insert(id, tensor.clone());
            id
        }));
    }
    for (index, output) in case.outputs.iter().enumerate() {
        let id = output
            .as_ref()
            .map(|_| graph.add_value(&format!("y{index}"), None));
        graph.outputs.extend(id);
        node.outputs.push(id);
    }
    graph.add_node(node);
    infer(&mut graph).map_err(|e| format!("inference: {e}"))?;
    let outputs = interpret(&graph, &feeds).map_err(|e| format!("reference: {e}"))?;
    for ((expected, found), &id) in case
        .outputs
        .iter()
        .flatten()
        .zip(&outputs)
        .zip(&graph.outputs)
    {
        if !close(expected, found) {
            return Err(format!("expected {expected:?}, found {found:?}"));
        }
        let fact = graph.fact(id).ok_or("nothing is inferred")?;
        if !fact.admits(found.dtype(), found.shape()) {
            return Err(format!("inferred {fact}, which does not admit {found:?}"));
        }
    }
    Ok(())
}

#[test]
fn reference_agrees_with_the_node_tests_of_onnx() {
    let cases = cases();
    assert!(cases.len() > 200, "only {} cases were read", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        for constant in [false, true] {
            if let Err(problem) = check(case, constant) {
                wrong.push(format!("{}: {problem}", case.name));
                break;
            }
        }
    }
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{count} of {}:\n{}",
        cases.len(),
        wrong.join("\n")
    );
}
