//! A hundred steps from a fresh PyTorch export, with the same batches and hyper-parameters as in
//! PyTorch: losses and weights stay together. The golden files are made by `golden/trajectory.py`
//! and `golden/recurrent.py`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sardonyx_train::{Adam, AdamW, Batch, OptimizerConfig, Pool, Sgd, StepOptions, TrainState};
use serde::Deserialize;

const BATCH: usize = 8;
const CLASSES: usize = 5;
const PIXELS: usize = 64;

#[derive(Deserialize)]
struct Trajectory {
    losses: Vec<f64>,
    weights: BTreeMap<String, Vec<f64>>,
}

/// The same formula as the script's.
fn batch(step: usize) -> (Vec<f32>, Vec<i64>) {
    let first = step * BATCH * PIXELS;
    let sample = |index: usize| {
        let value = ((first + index) as f64 * 12.9898).sin() * 43758.5453;
        (value - value.floor()) as f32
    };
    let mut samples: Vec<f32> = (0..BATCH * PIXELS).map(sample).collect();
    let label = |i: usize| ((step * BATCH + i) * 7 % 11 % CLASSES) as i64;
    let labels: Vec<i64> = (0..BATCH).map(label).collect();
    for (i, &label) in labels.iter().enumerate() {
        let row = i * PIXELS + label as usize * 8;
        for pixel in &mut samples[row..row + 8] {
            *pixel += 0.5;
        }
    }
    (samples, labels)
}

fn check(name: &str, optimizer: OptimizerConfig, clip_norm: Option<f64>) {
    let files = ["trajectory.json", "trajectory.onnx"];
    check_files(files, name, (optimizer, clip_norm), 6);
}

/// The recurrent network `name`, which has `n_weights`, runs without a reference evaluation too.
fn check_recurrent(name: &str, n_weights: usize) {
    let adam = Adam {
        lr: 5e-3,
        weight_decay: 1e-3,
        ..Adam::default()
    };
    let model = format!("recurrent_{name}.onnx");
    let optimizer = OptimizerConfig::Adam(adam);
    let state = check_files(
        ["recurrent.json", &model],
        name,
        (optimizer, None),
        n_weights,
    );
    assert_eq!(state.host_operators(), BTreeMap::new());
}

/// Follows the trajectory `name` of the golden files, and gives the last state.
fn check_files(
    [json, model]: [&str; 2],
    name: &str,
    (optimizer, clip_norm): (OptimizerConfig, Option<f64>),
    n_weights: usize,
) -> TrainState {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = std::fs::read_to_string(golden.join(json)).expect("the golden file");
    let mut all: BTreeMap<String, Trajectory> = serde_json::from_str(&text).expect("its form");
    let expected = all.remove(name).expect("this one is in it");
    let model = sardonyx_model::load(&golden.join(model)).expect("a sound model");
    let pool = Arc::new(Pool::new(2).expect("threads start"));
    let options = StepOptions {
        optimizer,
        clip_norm,
        ..StepOptions::new(pool)
    };
    let mut state = TrainState::compile(&model, BATCH, options).expect("trainable");
    for (step, expected) in expected.losses.iter().enumerate() {
        let (samples, labels) = batch(step);
        let batch = Batch {
            samples: &samples,
            labels: &labels,
        };
        let loss = f64::from(state.step(&batch).expect("a sound batch").loss);
        let error = (loss - expected).abs() / expected.abs().max(1e-3);
        assert!(
            error < 1e-4,
            "{name}, step {step}: loss {loss} against {expected}"
        );
    }
    let tensors = state.tensors().expect("a sound layout");
    assert_eq!(expected.weights.len(), n_weights);
    for (weight, expected) in &expected.weights {
        let found = tensors[&format!("model/{weight}")]
            .to_f64()
            .expect("floats");
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
        let relative = difference / norm(&mut expected.iter().copied());
        assert!(
            relative < 1e-4,
            "{name}: {weight} is {relative:e} away after all steps"
        );
    }
    state
}

#[test]
fn sgd_with_momentum_follows_pytorch() {
    let sgd = Sgd {
        lr: 0.05,
        momentum: 0.9,
        weight_decay: 1e-3,
        nesterov: true,
        ..Sgd::default()
    };
    check("sgd", OptimizerConfig::Sgd(sgd), None);
}

#[test]
fn gradients_clipped_by_their_norm_follow_pytorch() {
    let sgd = Sgd {
        lr: 0.05,
        momentum: 0.9,
        ..Sgd::default()
    };
    check("clipped", OptimizerConfig::Sgd(sgd), Some(0.5));
}

#[test]
fn adam_follows_pytorch() {
    let adam = Adam {
        lr: 2e-3,
        weight_decay: 1e-3,
        ..Adam::default()
    };
    check("adam", OptimizerConfig::Adam(adam), None);
}

#[test]
fn adamw_follows_pytorch() {
    let adamw = AdamW {
        lr: 2e-3,
        weight_decay: 1e-2,
        ..AdamW::default()
    };
    check("adamw", OptimizerConfig::AdamW(adamw), None);
}

#[test]
fn a_long_short_term_memory_follows_pytorch() {
    check_recurrent("lstm", 5);
    check_recurrent("lstm_both_ways", 8);
}

#[test]
fn gated_recurrent_units_follow_pytorch() {
    check_recurrent("gru", 5);
    check_recurrent("gru_both_ways", 8);
}

#[test]
fn elmans_network_follows_pytorch() {
    check_recurrent("rnn", 5);
}
