//! Models that other frameworks exported (`tests/golden/make_exports.py`): they are read, keep a
//! symbolic batch through inference, compute what ONNX Runtime computes, and survive being written
//! and read again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sardonyx_ir::{Dim, Graph};
use sardonyx_model::{export, import, load, load_bytes, to_bytes};
use sardonyx_onnx::{decode_tensor, tensor_from_proto};
use sardonyx_ops::{infer, interpret};
use sardonyx_tensor::Tensor;

const CASES: [&str; 10] = [
    "tf2onnx_cnn",
    "tf2onnx_mlp",
    "torch_dynamo_cnn",
    "torch_dynamo_gru",
    "torch_dynamo_lstm",
    "torch_dynamo_mlp",
    "torch_script_cnn",
    "torch_script_gru",
    "torch_script_lstm",
    "torch_script_mlp",
];

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/exports")
        .join(case)
}

fn tensor(case: &str, kind: &str) -> Tensor {
    let bytes = fs::read(folder(case).join(format!("{kind}.pb"))).expect("part of the case");
    let proto = decode_tensor(bytes).expect("a tensor");
    tensor_from_proto(&proto).expect("a tensor of floats")
}

fn run(graph: &Graph, case: &str) -> Tensor {
    let feeds = BTreeMap::from([(graph.inputs[0], tensor(case, "input"))]);
    let outputs = interpret(graph, &feeds).unwrap_or_else(|error| panic!("{case}: {error}"));
    let [output] = <[Tensor; 1]>::try_from(outputs).expect("one output");
    output
}

#[test]
fn exported_models_compute_what_onnx_runtime_computes() {
    for case in CASES {
        let mut graph = load(&folder(case).join("model.onnx"))
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        infer(&mut graph).unwrap_or_else(|error| panic!("{case}: {error}"));
        let output = run(&graph, case);
        let expected = tensor(case, "output");
        assert_eq!(output.shape(), expected.shape(), "{case}");
        let pairs = output.to_f64().expect("floats").into_iter();
        for (found, wanted) in pairs.zip(expected.to_f64().expect("floats")) {
            assert!(
                (found - wanted).abs() <= 1e-5,
                "{case}: {found}, expected {wanted}"
            );
        }
    }
}

#[test]
fn the_batch_stays_symbolic() {
    for case in CASES {
        let mut graph = load(&folder(case).join("model.onnx")).expect("tested above");
        infer(&mut graph).expect("tested above");
        let shape = |id| {
            graph
                .fact(id)
                .and_then(|fact| fact.shape.clone())
                .expect("ranked")
        };
        let (input, output) = (shape(graph.inputs[0]), shape(graph.outputs[0]));
        let classes = tensor(case, "output").shape()[1];
        assert_eq!(output, [input[0].clone(), Dim::known(classes)], "{case}");
        assert_eq!(input[0].value(), None, "{case}: the batch is symbolic");
    }
}

#[test]
fn a_model_that_was_written_reads_as_it_was() {
    for case in CASES {
        let graph = load(&folder(case).join("model.onnx")).expect("tested above");
        let again = import(&export(&graph).expect("no own operator")).expect("what was exported");
        assert_eq!(again, graph, "{case}");
        let bytes = to_bytes(&graph).expect("a small model");
        assert_eq!(
            to_bytes(&again).expect("a small model"),
            bytes,
            "{case}: other bytes"
        );
        let mut inferred = load_bytes(bytes).expect("what was written");
        infer(&mut inferred).expect("tested above");
        assert_eq!(run(&inferred, case), run(&graph, case), "{case}");
    }
}
