//! The networks of the zoo with inputs small enough for tests, and batches for them.

use std::sync::Arc;

use sardonyx_ir::Graph;
use sardonyx_tensor::Philox;
use sardonyx_train::{Batch, OptimizerConfig, Pool, StepOptions};
use sardonyx_zoo::Seed;
use sardonyx_zoo::zoo::{Entry, Options};

const CLASSES: usize = 5;
/// Sequences have this many steps and features.
const SEQUENCE: [usize; 2] = [7, 16];
/// Images are at most this high and wide.
const SIDE: usize = 32;

/// The shape of a small sample.
pub(crate) fn sample_shape(entry: &Entry) -> Vec<usize> {
    match *entry.input {
        [channels, height, width] => vec![channels, height.min(SIDE), width.min(SIDE)],
        _ => SEQUENCE.to_vec(),
    }
}

/// The network for small samples.
pub(crate) fn model(entry: &Entry) -> Graph {
    let options = Options {
        input: Some(sample_shape(entry)),
        classes: Some(CLASSES),
        ..Options::default()
    };
    let model = entry.build(&options, Seed(1));
    model.unwrap_or_else(|error| panic!("{}: {error}", entry.name))
}

/// Steps by `optimizer` on so many threads.
pub(crate) fn step_options(optimizer: OptimizerConfig, threads: usize) -> StepOptions {
    let pool = Arc::new(Pool::new(threads).expect("threads start"));
    StepOptions {
        optimizer,
        seed: 5,
        ..StepOptions::new(pool)
    }
}

/// Samples with labels that they do not depend on.
#[derive(Debug)]
pub(crate) struct Samples {
    samples: Vec<f32>,
    labels: Vec<i64>,
}

impl Samples {
    /// `n` samples of `entry`, the same for the same `seed`.
    pub(crate) fn draw(entry: &Entry, n: usize, seed: u64) -> Samples {
        let len: usize = sample_shape(entry).iter().product();
        let mut rng = Philox::new(seed, 0);
        Samples {
            samples: (0..n * len).map(|_| rng.normal() as f32).collect(),
            labels: (0..n).map(|_| rng.below(CLASSES as u64) as i64).collect(),
        }
    }

    /// As a step takes them.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch {
            samples: &self.samples,
            labels: &self.labels,
        }
    }
}
