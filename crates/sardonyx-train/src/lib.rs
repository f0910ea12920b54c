//! Training: the step as a planned graph ([`TrainState`]), and what stands around it: metrics, learning-rate schedules, early
//! stopping, checkpoints, the run's folder and its report.
//!
//! Invariants: no clock, no environment, no printing; times and facts about the machine are handed
//! in. Files are written to a temporary name, synced and renamed, or appended line by line. What
//! is computed over a data set is computed over all of it at once, never averaged per batch.

mod checkpoint;
mod classify;
pub mod config;
mod early_stop;
mod error;
mod loss;
pub mod metrics;
mod optimizer;
pub mod report;
mod run;
mod schedule;
mod step;
mod trainer;

pub use checkpoint::{Checkpoint, MAX_CHECKPOINT_BYTES};
pub use classify::{Classifier, Evaluation, Guess, INPUT_KEY, evaluate, input_spec, predict};
pub use early_stop::{EarlyStopConfig, EarlyStopState, EarlyStopping, Mode, Verdict};
pub use error::{Result, TrainError};
pub use loss::{CrossEntropy, LossConfig};
pub use optimizer::{Adam, AdamW, OptimizerConfig, Sgd, check_clip_norm};
pub use run::{Environment, EventLog, MetricsLine, MetricsLog, RunFolder, RunName};
pub use sardonyx_engine::{Isa, Pool};
pub use schedule::{Decay, OneCycle, Plateau, PlateauConfig, Position, Schedule};
pub use step::{Batch, StepOptions, StepStats, TrainState};
pub use trainer::{
    EpochEvent, Event, Flow, MEASURES, Outcome, Run, Splits, StartEvent, StepEvent, TrainOptions,
    Trainer,
};
