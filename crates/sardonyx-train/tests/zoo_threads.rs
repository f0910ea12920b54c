//! Every network of the zoo, trained on 1, 2, 3 and 4 threads: not a bit of its weights, of its
//! running statistics or of the optimizer's state differs.

mod small;

use std::collections::BTreeMap;

use sardonyx_ir::Graph;
use sardonyx_tensor::{DType, Tensor};
use sardonyx_train::{Adam, OptimizerConfig, TrainState};
use sardonyx_zoo::zoo::{Entry, MODELS};

const STEPS: u64 = 20;
/// Odd, so that threads get shares of different sizes.
const BATCH: usize = 5;

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
