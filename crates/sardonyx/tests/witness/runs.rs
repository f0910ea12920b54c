//! A run's model gives elsewhere what sardonyx says it gives, and its measures are those of
//! scikit-learn.

use sardonyx::data::digits;
use sardonyx::train::Splits;

use crate::support::{Place, largest, probabilities};

const SEED: u64 = 3;

/// Trains a network of the zoo on the digits and has its model and measures checked.
fn check(model: &str, settings: &[&str]) {
    let place = Place::new();
    let seed = format!("seed={SEED}");
    let common = [
        "train",
        "data=digits",
        "val=0.1",
        "test=0.2",
        "name=run",
        &seed,
    ];
    let model = format!("model={model}");
    place.json("train", &[&common[..], &[&model], settings].concat());
    let test = Splits::of(&digits(), 0.1, 0.2, SEED)
        .expect("as the run")
        .test;
    let test = test.expect("asked for");
    place.write_labelled("test", &test);

    let eval = place.json("eval", &["eval", "runs/run"]);
    let report = place.json(
        "predict",
        &["predict", "runs/run", "test_x.npy", "--top", "10"],
    );
    let predicted = probabilities(&report);
    let labels = test
        .rows()
        .iter()
        .map(|&row| digits().labels().expect("classes")[row]);
    let pairs = predicted.iter().zip(labels);
    let n_right = pairs
        .filter(|(row, label)| largest(row) == *label as usize)
        .count();
    assert_eq!(
        (eval["part"].as_str(), predicted.len()),
        (Some("test"), test.len())
    );
    let accuracy = n_right as f64 / test.len() as f64;
    assert_eq!(
        eval["accuracy"].as_f64(),
        Some(accuracy),
        "eval and predict agree"
    );

    // The whole data set, which scikit-learn has, too.
    place.json(
        "digits",
        &["eval", "runs/run/model.onnx", "--data", "digits"],
    );
    place.witness(&["run"]);
}

#[test]
fn the_seed_cnn() {
    check("seed-cnn", &["epochs=2", "batch=32"]);
}

#[test]
fn a_perceptron_on_standardised_pixels() {
    check("mlp", &["epochs=3", "scale=standardize", "optimizer=sgd"]);
}

#[test]
fn a_network_with_batch_normalisation() {
    check("resnet8", &["epochs=1", "batch=64", "scale=unit"]);
}
