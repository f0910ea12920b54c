//! Models that PyTorch (by both of its exporters) and tf2onnx wrote: they are shown, predict what
//! ONNX Runtime predicted when they were exported, and are trained on from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sardonyx::engine::{Pool, Session, SessionOptions};
use sardonyx::onnx::{decode_tensor, tensor_from_proto};
use sardonyx::tensor::{Philox, Tensor};
use serde_json::Value;

use crate::support::{Place, labels, probabilities};

const SAMPLES_PER_CLASS: usize = 30;
/// Deviation of a sample from the middle of its class; the middles deviate by 1.
const NOISE: f64 = 0.5;

/// Folder of an export with what it gave (`make_exports.py` there).
pub(crate) fn folder(case: &str) -> PathBuf {
    let exports = "../sardonyx-model/tests/golden/exports";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(exports)
        .join(case)
}

fn golden(case: &str, kind: &str) -> Tensor {
    let bytes = std::fs::read(folder(case).join(format!("{kind}.pb"))).expect("committed");
    let proto = decode_tensor(bytes).expect("a tensor");
    tensor_from_proto(&proto).expect("a tensor of floats")
}

/// What a model's scores are as probabilities.
fn softmax(row: &[f64]) -> Vec<f64> {
    let exponentials: Vec<f64> = row.iter().map(|score| score.exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|value| value / sum).collect()
}

fn assert_predicts_as_exported(place: &Place, case: &str) {
    place.write_array("input.npy", &golden(case, "input"));
    let report = place.json(
        "golden",
        &["predict", "model.onnx", "input.npy", "--top", "10"],
    );
    let found = probabilities(&report);
    let output = golden(case, "output");
    let scores = output.to_f64().expect("floats");
    let rows: Vec<&[f64]> = scores.chunks_exact(output.shape()[1]).collect();
    assert_eq!(found.len(), rows.len(), "{case}");
    for (found, scores) in found.iter().zip(rows) {
        let sum: f64 = scores.iter().sum();
        let expected = match (sum - 1.0).abs() < 1e-3 {
            true => scores.to_vec(),
            false => softmax(scores),
        };
        assert_eq!(found.len(), expected.len(), "{case}");
        for (found, expected) in found.iter().zip(expected) {
            let difference = (found - expected).abs();
            assert!(difference <= 1e-5, "{case}: {found}, expected {expected}");
        }
    }
}

/// Writes a data set of `n_classes` clouds of samples of `shape`.
pub(crate) fn write_clouds(place: &Place, folder: &str, shape: &[usize], n_classes: usize) {
    let len: usize = shape.iter().product();
    let mut rng = Philox::new(17, 0);
    let middles: Vec<f64> = (0..n_classes * len).map(|_| rng.normal()).collect();
    let classes: Vec<u32> = (0..n_classes as u32)
        .cycle()
        .take(n_classes * SAMPLES_PER_CLASS)
        .collect();
    let sample = |&class: &u32| {
        let middle = &middles[class as usize * len..][..len];
        let values = middle
            .iter()
            .map(|middle| (middle + NOISE * rng.normal()) as f32);
        values.collect::<Vec<f32>>()
    };
    let values: Vec<f32> = classes.iter().flat_map(sample).collect();
    let shape = [&[classes.len()], shape].concat();
    let x = Tensor::new(shape, values).expect("as many as there are");
    place.write_array(&format!("{folder}/x.npy"), &x);
    place.write_array(&format!("{folder}/y.npy"), &labels(&classes));
}

fn losses(place: &Place) -> Vec<f64> {
    let text = String::from_utf8(place.read("runs/run/metrics.jsonl")).expect("UTF-8");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines
        .filter_map(|line| line["train.loss"].as_f64())
        .collect()
}

/// `least` is the accuracy that the model must come to on the data that it is trained on.
fn check(case: &str, sample: &[usize], n_classes: usize, least: f64) {
    let place = Place::new();
    std::fs::copy(folder(case).join("model.onnx"), place.path("model.onnx")).expect("copied");
    let shown = place.json("inspect", &["inspect", "model.onnx"]);
    assert_eq!(shown["problem"], Value::Null, "{case}");
    assert_predicts_as_exported(&place, case);

    write_clouds(&place, "data", sample, n_classes);
    let data = ["--data", "data"];
    let before = place.json("before", &[&["eval", "model.onnx"], &data[..]].concat());
    let settings = [
        "train",
        "--model",
        "model.onnx",
        "scale=none",
        "name=run",
        "val=0.2",
    ];
    let more = ["epochs=12", "batch=16", "lr=0.01"];
    place.json("train", &[&settings[..], &more, &data].concat());
    let losses = losses(&place);
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.95 * first, "{case}: {losses:?}");
    let after = place.json(
        "eval",
        &[&["eval", "runs/run/model.onnx"], &data[..]].concat(),
    );
    let accuracy = |report: &Value| report["accuracy"].as_f64().expect("a number");
    let (before, after) = (accuracy(&before), accuracy(&after));
    assert!(before < 0.5, "{case}: it has not seen these data");
    assert!(after > least, "{case}: {before}, {after}, {losses:?}");
    place.json(
        "predict",
        &["predict", "runs/run", "data/x.npy", "--top", "10"],
    );
    place.witness(&["trained", case]);
}

#[test]
fn a_perceptron_of_pytorchs_older_exporter() {
    check("torch_script_mlp", &[12], 5, 0.9);
}

#[test]
fn a_perceptron_of_pytorchs_newer_exporter() {
    check("torch_dynamo_mlp", &[12], 5, 0.9);
}

#[test]
fn a_perceptron_of_tf2onnx() {
    check("tf2onnx_mlp", &[12], 5, 0.9);
}

#[test]
fn a_convolutional_network_of_pytorchs_older_exporter() {
    check("torch_script_cnn", &[1, 14, 14], 10, 0.9);
}

#[test]
fn a_convolutional_network_of_pytorchs_newer_exporter() {
    check("torch_dynamo_cnn", &[1, 14, 14], 10, 0.9);
}

#[test]
fn a_convolutional_network_of_tf2onnx() {
    // The mean over all pixels hides nearly all that tells these classes apart.
    check("tf2onnx_cnn", &[1, 14, 14], 10, 0.2);
}

/// Files hold no sequences, so these run as the library runs them.
#[test]
fn recurrent_networks_of_both_exporters_of_pytorch() {
    let cases = ["script_gru", "script_lstm", "dynamo_gru", "dynamo_lstm"];
    for case in cases.map(|case| format!("torch_{case}")) {
        let model = sardonyx::model::load(&folder(&case).join("model.onnx")).expect("sound");
        let pool = Arc::new(Pool::new(2).expect("two threads start"));
        let mut session = Session::new(model, SessionOptions::new(pool)).expect("sound");
        let input = [golden(&case, "input")];
        let plan = session.executable(&input).expect("its input");
        let missing = plan.expect("fixed shapes").host_operators();
        assert!(missing.is_empty(), "{case}: {missing:?}");
        let found = session.run(&input).expect("its input").remove(0);
        let expected = golden(&case, "output");
        assert_eq!(found.shape(), expected.shape(), "{case}");
        let [found, expected] = [found, expected].map(|tensor| tensor.to_f64().expect("floats"));
        for (found, expected) in found.iter().zip(&expected) {
            let difference = (found - expected).abs();
            assert!(difference <= 1e-5, "{case}: {found}, expected {expected}");
        }
    }
}
