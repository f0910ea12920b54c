//! A training step allocates nothing after the first, nor does a prediction of a planned model.
//! One test alone in its process, as the counts are of all threads.

mod small;

use std::alloc::System;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sardonyx_engine::{Pool, Session, SessionOptions, Tiling};
use sardonyx_ir::Graph;
use sardonyx_tensor::Tensor;
use sardonyx_train::{Adam, OptimizerConfig, TrainState};
use sardonyx_zoo::zoo::{Entry, MODELS};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCH: usize = 6;
const RUNS: u64 = 3;
/// Allocations of all threads while `run` runs.
fn count(run: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    run();
    let change = region.change();
    change.allocations + change.reallocations + change.deallocations
}

/// Returns when every thread of the pool has begun: a thread's start, which a step does not wait
/// for, allocates.
fn await_workers(pool: &Pool) {
    let arrived = AtomicUsize::new(0);
    pool.run(&|_| {
        arrived.fetch_add(1, Ordering::SeqCst);
        while arrived.load(Ordering::SeqCst) < pool.threads() {
            std::thread::yield_now();
        }
    });
}

fn check_steps(entry: &Entry, model: &Graph, threads: usize) {
    let options = small::step_options(OptimizerConfig::Adam(Adam::default()), threads);
    await_workers(&options.pool);
    let mut state = TrainState::compile(model, BATCH, options).expect("trainable");
    // Operators without a kernel run through their reference evaluation, which makes tensors.
    assert_eq!(state.host_operators(), BTreeMap::new(), "{}", entry.name);
    let samples = small::Samples::draw(entry, BATCH, 1);
    state.step(&samples.batch()).expect("a sound batch");
    let found = count(|| {
        for _ in 0..RUNS {
            state.step(&samples.batch()).expect("a sound batch");
        }
    });
    assert_eq!(found, 0, "steps of {}, {threads} threads", entry.name);
}

fn check_predictions(entry: &Entry, model: &Graph, tiling: Tiling, threads: usize) {
    let pool = Arc::new(Pool::new(threads).expect("threads start"));
    await_workers(&pool);
    let options = SessionOptions {
        tiling,
        ..SessionOptions::new(pool)
    };
    let mut session = Session::new(model.clone(), options).expect("a sound model");
    let shape = [&[BATCH], &small::sample_shape(entry)[..]].concat();
    let input = Tensor::from_fn(shape, |index| (index % 7) as f32).expect("a small shape");
    let executable = session
        .executable(std::slice::from_ref(&input))
        .expect("a sound input");
    let executable = executable.expect("no shape depends on data");
    let host = executable.host_operators();
    assert_eq!(host, BTreeMap::new(), "{}", entry.name);
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
            for tiling in [Tiling::Never, Tiling::Samples(2)] {
                check_predictions(entry, &model, tiling, threads);
            }
        }
    }
}
