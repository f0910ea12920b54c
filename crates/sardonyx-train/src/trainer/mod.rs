//! From a graph and a data set to a trained model: a thin loop over
//! [`TrainState::step`](crate::TrainState::step).
//!
//! [`Trainer`] is the builder, [`TrainOptions`] its settings as plain data, [`Splits`] the data,
//! [`Run`] what comes out. `prepare.rs` makes of any model one that takes the raw samples and
//! knows the classes, `fit.rs` is the loop, `progress.rs` all that a checkpoint holds beside the
//! tensors, `files.rs` what a run leaves in its folder.
//!
//! Invariant: the loop's state after a step is a function of the model, the options and the data
//! alone, and all of it is in the checkpoint. So a run that was killed and resumed gives the same
//! `model.onnx` and `metrics.jsonl`, to the byte, as one that was not. Times are told to observers
//! and in the report; they decide nothing.

mod builder;
mod event;
mod files;
mod fit;
mod measures;
mod options;
mod prepare;
mod progress;
mod run;
mod splits;

pub use builder::Trainer;
pub use event::{EpochEvent, Event, Flow, StartEvent, StepEvent};
pub use measures::MEASURES;
pub use options::TrainOptions;
pub use run::{Outcome, Run};
pub use splits::Splits;
