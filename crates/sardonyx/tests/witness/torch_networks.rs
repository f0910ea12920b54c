//! The networks that are trained most, as PyTorch's exporters write them: they predict what ONNX
//! Runtime does, and training them takes the way that it takes in PyTorch. Thin ones are kept as
//! golden files (`torch_networks.py` made them); where `SARDONYX_PYTHON` has PyTorch, those of full
//! width are made and held against it too.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sardonyx::engine::{Pool, Session, SessionOptions};
use sardonyx::ir::Graph;
use sardonyx::tensor::Tensor;
use sardonyx::train::{Adam, Batch, OptimizerConfig, Sgd, StepOptions, TrainState};
use serde_json::Value;

use crate::support::Place;

const BATCH: usize = 8;
const CLASSES: usize = 10;
const EXPORTERS: [&str; 2] = ["script", "dynamo"];

/// What PyTorch and ONNX Runtime made of a network.
struct Told {
    sample: Vec<usize>,
    output: Vec<f64>,
    losses: Vec<f64>,
    trained: Vec<f64>,
    statistics: BTreeMap<String, Vec<f64>>,
}

fn numbers(value: &Value) -> Vec<f64> {
    let items = value.as_array().expect("a list").iter();
    items.map(|item| item.as_f64().expect("a number")).collect()
}

fn told(path: &Path) -> Told {
    let text = std::fs::read_to_string(path).expect("the script wrote it");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let statistics = value["statistics"].as_object().expect("an object").iter();
    Told {
        sample: numbers(&value["sample"])
            .iter()
            .map(|&size| size as usize)
            .collect(),
        output: numbers(&value["output"]),
        losses: numbers(&value["losses"]),
        trained: numbers(&value["trained"]),
        statistics: statistics
            .map(|(name, values)| (name.clone(), numbers(values)))
            .collect(),
    }
}

/// The same formula as the script's.
fn batch(sample: &[usize], step: usize) -> (Vec<f32>, Vec<i64>) {
    let count = BATCH * sample.iter().product::<usize>();
    let value = |index: usize| {
        let value = ((index + step * count) as f64 * 12.9898).sin() * 43758.5453;
        (value - value.floor() - 0.5) as f32
    };
    let label = |i: usize| ((step * BATCH + i) * 7 % 11 % CLASSES) as i64;
    (
        (0..count).map(value).collect(),
        (0..BATCH).map(label).collect(),
    )
}

fn predict(model: Graph, sample: &[usize], pool: &Arc<Pool>) -> Vec<f64> {
    let shape = [&[BATCH], sample].concat();
    let input = Tensor::new(shape, batch(sample, 0).0).expect("a whole batch");
    let mut session = Session::new(model, SessionOptions::new(pool.clone())).expect("sound");
    let output = session.run(&[input]).expect("it runs").remove(0);
    output.to_f64().expect("floats")
}

/// Differences are at most `tolerance` of the largest expected value.
fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3f64, |max, x| max.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let is_near = (found - expected).abs() <= tolerance * scale;
        assert!(is_near, "{what}, {index}: {found}, expected {expected}");
    }
}

/// `tolerance` is that of losses, relatively.
fn check(folder: &Path, case: &str, optimizer: Option<OptimizerConfig>, tolerance: f64) {
    let told = told(&folder.join(format!("{case}.json")));
    let pool = Arc::new(Pool::new(2).expect("threads start"));
    for exporter in EXPORTERS {
        let what = format!("{case} of the exporter {exporter}");
        let file = folder.join(format!("{case}.{exporter}.onnx"));
        let model = sardonyx::model::load(&file).expect("a sound model");
        let found = predict(model.clone(), &told.sample, &pool);
        assert_near(&what, &found, &told.output, 1e-4);
        if let Some(optimizer) = optimizer {
            let trained = check_losses(&what, &model, &told, (optimizer, &pool, tolerance));
            check_trained(&what, trained, &told, (&pool, tolerance));
        }
    }
}

/// Trains the model and gives what comes of it.
fn check_losses(
    what: &str,
    model: &Graph,
    told: &Told,
    (optimizer, pool, tolerance): (OptimizerConfig, &Arc<Pool>, f64),
) -> Graph {
    let options = StepOptions {
        optimizer,
        ..StepOptions::new(pool.clone())
    };
    let mut state = TrainState::compile(model, BATCH, options).expect("trainable");
    assert!(!told.losses.is_empty(), "{what} was not trained");
    for (step, &expected) in told.losses.iter().enumerate() {
        let (samples, labels) = batch(&told.sample, step);
        let batch = Batch {
            samples: &samples,
            labels: &labels,
        };
        let loss = f64::from(state.step(&batch).expect("a sound batch").loss);
        let error = (loss - expected).abs() / expected;
        let steps = format!("{what}, step {step}");
        assert!(
            error < tolerance,
            "{steps}: loss {loss}, expected {expected}"
        );
    }
    state.model().expect("a sound layout")
}

fn check_trained(what: &str, trained: Graph, told: &Told, (pool, tolerance): (&Arc<Pool>, f64)) {
    for (name, expected) in &told.statistics {
        let id = trained.find_value(name).expect("it keeps its name");
        let found = trained.initializers[&id].to_f64().expect("floats");
        assert_near(
            &format!("{what}, {name}"),
            &found,
            expected,
            2.0 * tolerance,
        );
    }
    let found = predict(trained, &told.sample, pool);
    assert_near(
        &format!("{what}, trained"),
        &found,
        &told.trained,
        4.0 * tolerance,
    );
}

fn adam() -> Option<OptimizerConfig> {
    Some(Adam::new(1e-3).into())
}

fn sgd() -> Option<OptimizerConfig> {
    Some(Sgd::new(1e-3).momentum(0.9).into())
}

/// Networks with the optimizers that the script trains them by, if it does.
fn cases() -> [(&'static str, Option<OptimizerConfig>); 8] {
    [
        ("cnn", adam()),
        ("gru", adam()),
        ("lstm", adam()),
        ("mlp", adam()),
        ("mobilenet_v2", sgd()),
        ("resnet18", sgd()),
        ("resnet50", None),
        ("transformer", adam()),
    ]
}

#[test]
fn thin_networks_of_pytorch_predict_and_train_as_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness/golden/torch");
    for (case, optimizer) in cases() {
        check(&folder, case, optimizer, 5e-4);
    }
}

#[test]
fn networks_of_pytorch_predict_and_train_as_there() {
    let python = std::env::var_os("SARDONYX_PYTHON");
    let imports = ["-c", "import torch, onnxscript, onnxruntime"];
    let python = python.filter(|python| {
        let output = Command::new(python).args(imports).output();
        output.is_ok_and(|output| output.status.success())
    });
    let Some(python) = python else {
        let message = "SARDONYX_PYTHON has no PyTorch: networks of full width are NOT checked";
        writeln!(std::io::stderr(), "{message}").expect("stderr takes text");
        return;
    };
    let place = Place::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness/torch_networks.py");
    let made = Command::new(python)
        .arg(script)
        .arg(place.path(""))
        .output();
    let made = made.expect("python runs");
    let stderr = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{stderr}");
    for (case, optimizer) in cases() {
        // Wide networks with fresh normalisation make more of what rounding decides.
        check(&place.path(""), case, optimizer, 2e-3);
    }
}
