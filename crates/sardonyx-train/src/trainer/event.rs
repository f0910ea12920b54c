use std::collections::BTreeMap;

use crate::report::EpochRecord;

/// What an observer of a training run is told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The step is planned, training begins.
    Start(StartEvent),
    /// A step is done.
    Step(StepEvent),
    /// An epoch is done and measured.
    Epoch(EpochEvent<'a>),
    /// The state after `step` steps is on the disk.
    Checkpoint {
        /// Steps done.
        step: u64,
    },
}

/// What is about to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartEvent {
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Training samples.
    pub n_samples: usize,
    /// Steps done already; above zero for a run that resumes.
    pub step: u64,
    /// Numbers that are trained.
    pub n_parameters: usize,
    /// Bytes of the planned step: constants, state, work.
    pub memory_bytes: [usize; 3],
    /// Floating-point operations of a step.
    pub flops: u64,
}

/// How far an epoch has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepEvent {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Steps done in this epoch.
    pub epoch_step: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps done in all.
    pub step: u64,
    /// Loss of this step's batch.
    pub batch_loss: f64,
    /// Mean loss over the epoch's samples so far.
    pub loss: f64,
    /// Share of the epoch's samples so far that were recognised.
    pub accuracy: f64,
    /// The epoch's samples so far.
    pub n_samples: u64,
    /// Time that the epoch has taken so far.
    pub seconds: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
}

/// What an epoch brought.
#[derive(Debug, Clone, Copy)]
pub struct EpochEvent<'a> {
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Steps done in all.
    pub step: u64,
    /// The row of the history.
    pub record: &'a EpochRecord,
    /// Every measure by its name, as in `metrics.jsonl`.
    pub values: &'a BTreeMap<String, f64>,
    /// Whether these weights are the best so far.
    pub is_best: bool,
}

/// What an observer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// Train on.
    #[default]
    Continue,
    /// End the training here, and evaluate and save as at its proper end.
    Stop,
}

impl Flow {
    /// Stops if either does.
    pub fn or(self, other: Flow) -> Flow {
        match self {
            Flow::Continue => other,
            Flow::Stop => Flow::Stop,
        }
    }
}
