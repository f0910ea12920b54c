//! A training step: forward, loss, gradients and the optimizer's update as one graph, planned once
//! per batch size.

mod graph;
mod state;

pub(crate) use graph::class_count;
pub use state::{Batch, StepOptions, StepStats, TrainState};
