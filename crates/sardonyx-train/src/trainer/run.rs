use std::path::Path;

use sardonyx_ir::Graph;

use crate::classify::Evaluation;
use crate::error::{Result, TrainError};
use crate::report::EpochRecord;
use crate::run::RunFolder;

/// How a training run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Completed,
    /// The watched metric no longer got better.
    EarlyStopped,
    /// An observer asked for the end.
    Stopped,
    /// The stop flag was set: the checkpoint is written, the rest is left to a resume.
    Interrupted,
}

/// What a training run gives.
#[derive(Debug)]
pub struct Run {
    pub(super) outcome: Outcome,
    pub(super) history: Vec<EpochRecord>,
    pub(super) best_epoch: Option<u64>,
    pub(super) n_steps: u64,
    pub(super) model: Graph,
    pub(super) validation: Option<Evaluation>,
    pub(super) test: Option<Evaluation>,
    pub(super) folder: Option<RunFolder>,
}

impl Run {
    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Epoch by epoch.
    pub fn history(&self) -> &[EpochRecord] {
        &self.history
    }

    /// The epoch whose weights were kept, numbered from 1 as in the history; `None` when none was
    /// completed.
    pub fn best_epoch(&self) -> Option<u64> {
        self.best_epoch
    }

    /// Steps done.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// The model with the best weights. It takes raw samples and knows its classes.
    pub fn model(&self) -> &Graph {
        &self.model
    }

    /// The best model on the validation data; `None` without them or after an interruption.
    pub fn validation(&self) -> Option<&Evaluation> {
        self.validation.as_ref()
    }

    /// The best model on the test data; `None` without them or after an interruption.
    pub fn test(&self) -> Option<&Evaluation> {
        self.test.as_ref()
    }

    /// Where the files of the run are, if it had a folder.
    pub fn folder(&self) -> Option<&RunFolder> {
        self.folder.as_ref()
    }

    /// Writes the best model as an ONNX file.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn save_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        sardonyx_model::save(path.as_ref(), &self.model)?;
        Ok(())
    }

    /// The evaluation that counts: on the test data, else on the validation data.
    ///
    /// # Errors
    /// When the run had neither, or was interrupted.
    pub fn evaluation(&self) -> Result<&Evaluation> {
        let found = self.test.as_ref().or(self.validation.as_ref());
        found.ok_or(TrainError::NoSamples)
    }
}
