//! Every network of the zoo, trained on 1, 2, 3 and 4 threads: not a bit of its weights, of its
//! running statistics or of the optimizer's state differs. And every network predicts the same bits
//! whether a whole batch goes through it node by node or a few samples at a time.

mod small;

use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_engine::{Pool, Session, SessionOptions, Tiling};
use sardonyx_ir::Graph;
use sardonyx_tensor::{DType, Philox, Tensor};
use sardonyx_train::{Adam, OptimizerConfig, TrainState};
use sardonyx_zoo::zoo::{Entry, MODELS};

const STEPS: u64 = 20;
/// Odd, so that threads get shares of different sizes.
const BATCH: usize = 5;
/// Batches of networks of more parameters than [`LARGE`], which take long to plan.
const FEW_BATCHES: &[usize] = &[2, 9, 35, 40];
const ALL_BATCHES: std::ops::RangeInclusive<usize> = 1..=40;
const LARGE: usize = 1_000_000;

fn trained(entry: &Entry, model: &Graph, threads: usize) -> BTreeMap<String, Tensor> {
    let adam = Adam {
        lr: 1e-4,
        ..Adam::default()
    };
    let options = small::step_options(OptimizerConfig::Adam(adam), threads);
    let mut state = TrainState::compile(model, BATCH, options).expect("trainable");
    for step in 0..STEPS {
        let samples = small::Samples::draw(entry, BATCH, step);
        let stats = state.step(&samples.batch());
        stats.unwrap_or_else(|error| panic!("{}, step {step}: {error}", entry.name));
    }
    state.tensors().expect("a sound layout")
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    assert_eq!(tensor.dtype(), DType::F32);
    let values = tensor.values::<f32>().expect("all are f32");
    values.iter().map(|value| value.to_bits()).collect()
}

fn check(entries: impl Iterator<Item = &'static Entry>) {
    for entry in entries {
        let initial = small::model(entry);
        let expected = trained(entry, &initial, 1);
        let moved = expected.iter().any(|(name, tensor)| {
            let id = name
                .strip_prefix("model/")
                .and_then(|name| initial.find_value(name));
            id.is_some_and(|id| bits(&initial.initializers[&id]) != bits(tensor))
        });
        assert!(moved, "{} did not train", entry.name);
        for threads in [2, 3, 4] {
            let found = trained(entry, &initial, threads);
            assert!(found.keys().eq(expected.keys()), "{}", entry.name);
            for (name, tensor) in &found {
                let same = bits(tensor) == bits(&expected[name]);
                assert!(same, "{}, {threads} threads: {name}", entry.name);
            }
        }
    }
}

/// The networks by turns, so that two tests share the work.
fn every_second(first: usize) -> impl Iterator<Item = &'static Entry> {
    MODELS.iter().skip(first).step_by(2)
}

#[test]
fn threads_change_no_bit_of_one_half_of_the_networks() {
    check(every_second(0));
}

#[test]
fn threads_change_no_bit_of_the_other_half() {
    check(every_second(1));
}

/// The scores of `input`, and whether some nodes took it in tiles.
fn predict(model: &Graph, input: &Tensor, tiling: Tiling, threads: usize) -> (Vec<u32>, bool) {
    let pool = Arc::new(Pool::new(threads).expect("threads start"));
    let options = SessionOptions {
        tiling,
        ..SessionOptions::new(pool)
    };
    let mut session = Session::new(model.clone(), options).expect("a sound model");
    let plan = session.executable(std::slice::from_ref(input));
    let plan = plan.expect("a sound input").expect("fixed shapes");
    plan.set_input(0, input).expect("a sound input");
    plan.run();
    let bits = plan.output_slice::<f32>(0).iter().map(|x| x.to_bits());
    let bits = bits.collect();
    let costs = plan.profile(1, || 0);
    (bits, costs.iter().any(|cost| cost.repeats > 1))
}

fn check_tiles(entry: &Entry, model: &Graph) -> bool {
    let parameters: usize = model.initializers.values().map(|t| t.len()).sum();
    let batches: Vec<usize> = match parameters > LARGE {
        true => FEW_BATCHES.to_vec(),
        false => ALL_BATCHES.collect(),
    };
    let mut tiled = false;
    for batch in batches {
        let mut random = Philox::new(batch as u64, 3);
        let shape = [&[batch], &small::sample_shape(entry)[..]].concat();
        let input = Tensor::from_fn(shape, |_| random.normal() as f32).expect("a small shape");
        let (expected, is_tiled) = predict(model, &input, Tiling::Never, 1 + batch % 3);
        assert!(!is_tiled, "{}", entry.name);
        // One sample, and the most that are fewer than the batch.
        let most = (1..=batch / 2).rev().find(|tile| batch % tile == 0);
        for tile in [1, most.unwrap_or(1)] {
            let threads = 1 + (batch + tile) % 4;
            let (found, is_tiled) = predict(model, &input, Tiling::Samples(tile), threads);
            let same = found == expected;
            assert!(same, "{}: {batch} samples, {tile} at a time", entry.name);
            tiled |= is_tiled;
        }
    }
    tiled
}

fn check_predictions(entries: impl Iterator<Item = &'static Entry>) {
    for entry in entries {
        let model = small::model(entry);
        let tiled = check_tiles(entry, &model);
        // Images are what is taken apart; a flat sample is but a row of a matrix.
        let convolves = model.nodes().any(|(_, node)| node.is("Conv"));
        assert!(tiled || !convolves, "{} has tiles", entry.name);
    }
}

#[test]
fn tiles_change_no_bit_of_one_half_of_the_networks() {
    check_predictions(every_second(0));
}

#[test]
fn tiles_change_no_bit_of_the_other_half() {
    check_predictions(every_second(1));
}
