//! A training step allocates nothing after the first, nor does a prediction of a planned model.
//! One test alone in its process, as the counts are of all threads.

mod small;

use std::alloc::System;
use std::io::Write as _;
use std::sync::Arc;

use sardonyx_engine::{Pool, Session, SessionOptions};
use sardonyx_ir::Graph;
use sardonyx_tensor::Tensor;
use sardonyx_train::{Adam, OptimizerConfig, TrainState};
use sardonyx_zoo::zoo::{Entry, MODELS};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCH: usize = 6;
const RUNS: u64 = 3;
/// Networks that may have operators without a kernel: those run through their reference
/// evaluation, which makes tensors. While one has none, it is held to the rule like all others.
const MAY_RUN_ON_HOST: [&str; 3] = ["gru", "lstm", "rnn"];

/// Allocations of all threads while `run` runs.
fn count(run: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    run();
    let change = region.change();
    change.allocations + change.reallocations + change.deallocations
}

/// Whether a plan has nodes without a kernel, which is said where it may be.
fn runs_on_host(entry: &Entry, operators: impl std::fmt::Debug, n_operators: usize) -> bool {
    if n_operators == 0 {
        return false;
    }
    let name = entry.name;
    assert!(MAY_RUN_ON_HOST.contains(&name), "{name}: {operators:?}");
    let message = format!("{name}: NOT checked for allocations, on the host: {operators:?}");
    writeln!(std::io::stderr(), "{message}").expect("stderr takes text");
    true
}

fn check_steps(entry: &Entry, model: &Graph, threads: usize) {
    let options = small::step_options(OptimizerConfig::Adam(Adam::default()), threads);
    let mut state = TrainState::compile(model, BATCH, options).expect("trainable");
    let host = state.host_operators();
    if runs_on_host(entry, &host, host.len()) {
        return;
    }
    let samples = small::Samples::draw(entry, BATCH, 1);
    state.step(&samples.batch()).expect("a sound batch");
    let found = count(|| {
        for _ in 0..RUNS {
            state.step(&samples.batch()).expect("a sound batch");
        }
    });
    assert_eq!(found, 0, "steps of {}, {threads} threads", entry.name);
}

fn check_predictions(entry: &Entry, model: &Graph, threads: usize) {
    let pool = Arc::new(Pool::new(threads).expect("threads start"));
    let options = SessionOptions::new(pool);
    let mut session = Session::new(model.clone(), options).expect("a sound model");
    let shape = [&[BATCH], &small::sample_shape(entry)[..]].concat();
    let input = Tensor::from_fn(shape, |index| (index % 7) as f32).expect("a small shape");
    let executable = session
        .executable(std::slice::from_ref(&input))
        .expect("a sound input");
    let executable = executable.expect("no shape depends on data");
    let host = executable.host_operators();
    if runs_on_host(entry, &host, host.len()) {
        return;
    }
    executable.run();
    let found = count(|| {
        for _ in 0..RUNS {
            executable.set_input(0, &input).expect("a sound input");
            executable.run();
        }
    });
    assert_eq!(found, 0, "predictions of {}, {threads} threads", entry.name);
}

#[test]
fn steps_and_predictions_allocate_nothing() {
    let counted = count(|| drop(std::hint::black_box(vec![1u8; 64])));
    assert!(counted >= 2, "the allocator counts");
    for entry in MODELS {
        let model = small::model(entry);
        for threads in [1, 2] {
            check_steps(entry, &model, threads);
            check_predictions(entry, &model, threads);
        }
    }
}
