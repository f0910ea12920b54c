//! Where a run stands, and its way into a checkpoint and back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};

use sardonyx_data::{Cursor, View};
use sardonyx_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::options::TrainOptions;
use super::splits::Splits;
use crate::checkpoint::{Checkpoint, MAX_CHECKPOINT_BYTES};
use crate::early_stop::EarlyStopping;
use crate::error::{Result, TrainError};
use crate::report::EpochRecord;
use crate::run::RunFolder;
use crate::schedule::Plateau;

/// Name of the tensor of bytes that holds the file of the best model.
const BEST: &str = "best.onnx";

/// Where the loop stands, beside the weights and the optimizer's state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// Epochs done.
    pub(super) epoch: u64,
    /// Batches of the present epoch that are done.
    pub(super) batch_idx: usize,
    /// Sums over those batches.
    pub(super) sums: Sums,
    pub(super) plateau: Option<Plateau>,
    pub(super) watch: Option<EarlyStopping>,
    pub(super) history: Vec<EpochRecord>,
    /// Whether early stopping has ended the training.
    pub(super) ended: bool,
}

/// What the samples of an epoch add up to.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sums {
    pub(super) loss: f64,
    pub(super) n_correct: u64,
    pub(super) n_samples: u64,
    pub(super) nanoseconds: u64,
}

impl Sums {
    pub(super) fn mean_loss(&self) -> f64 {
        self.loss / self.n_samples.max(1) as f64
    }

    pub(super) fn accuracy(&self) -> f64 {
        self.n_correct as f64 / self.n_samples.max(1) as f64
    }

    pub(super) fn seconds(&self) -> f64 {
        self.nanoseconds as f64 / 1e9
    }
}

impl Progress {
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            epoch: self.epoch,
            batch_idx: self.batch_idx,
        }
    }

    /// Number of the epoch whose weights are the best so far.
    pub(super) fn best_epoch(&self) -> Option<u64> {
        match &self.watch {
            Some(watch) => watch.state.best_epoch,
            None => self.history.last().map(|record| record.epoch),
        }
    }
}

/// All that a checkpoint of a run holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved {
    pub(super) options: TrainOptions,
    /// Text of the configuration.
    pub(super) config: String,
    /// Tells the data apart from others.
    pub(super) data: String,
    pub(super) progress: Progress,
    pub(super) n_steps: u64,
    /// As [`TrainState::tensors`](crate::TrainState::tensors) gives them.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// File of the best model so far; before the first epoch's end, of the model as it came.
    pub(super) best: Vec<u8>,
}

impl Saved {
    pub(super) fn into_checkpoint(self) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint {
            tensors: self.tensors,
            ..Checkpoint::default()
        };
        checkpoint.put("options", &self.options)?;
        checkpoint.put("config", &self.config)?;
        checkpoint.put("data", &self.data)?;
        checkpoint.put("progress", &self.progress)?;
        checkpoint.put("n_steps", &self.n_steps)?;
        let best = Tensor::vector(self.best);
        checkpoint.tensors.insert(BEST.to_owned(), best);
        Ok(checkpoint)
    }

    fn from_checkpoint(mut checkpoint: Checkpoint) -> Result<Saved> {
        let best = checkpoint.tensor(BEST)?.values::<u8>()?.to_vec();
        checkpoint.tensors.remove(BEST);
        Ok(Saved {
            options: checkpoint.get("options")?,
            config: checkpoint.get("config")?,
            data: checkpoint.get("data")?,
            progress: checkpoint.get("progress")?,
            n_steps: checkpoint.get("n_steps")?,
            tensors: checkpoint.tensors,
            best,
        })
    }
}

/// The last checkpoint of a run's folder.
pub(super) fn load(folder: &RunFolder) -> Result<Saved> {
    let path = folder.file(RunFolder::CHECKPOINT);
    let checkpoint = match Checkpoint::load(&path, MAX_CHECKPOINT_BYTES) {
        Err(TrainError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Err(TrainError::NoCheckpoint { path });
        }
        loaded => loaded?,
    };
    let saved = Saved::from_checkpoint(checkpoint)?;
    if !is_config(folder, &saved.config)? {
        let reason = "it is not what the run began with; hint: put it back as it was, or start a \
                      new run with it";
        return Err(TrainError::config(RunFolder::CONFIG, reason));
    }
    Ok(saved)
}

/// Whether the configuration in the folder is still this text.
fn is_config(folder: &RunFolder, text: &str) -> Result<bool> {
    let path = folder.file(RunFolder::CONFIG);
    let mut found = Vec::new();
    let file = File::open(&path).map_err(TrainError::io("read", &path))?;
    file.take(text.len() as u64 + 1)
        .read_to_end(&mut found)
        .map_err(TrainError::io("read", &path))?;
    Ok(found == text.as_bytes())
}

/// Tells training and validation data apart from any others: their content, and which rows of it.
pub(super) fn fingerprint(data: &Splits) -> String {
    let of_view = |view: &View| {
        let rows = view.rows().iter().fold(0, |sum, &row| {
            crc32c::crc32c_append(sum, &(row as u64).to_le_bytes())
        });
        format!(
            "{}:{}:{rows:08x}",
            view.dataset().content_hash_hex(),
            view.len()
        )
    };
    let validation = data.validation.as_ref().map(of_view);
    format!(
        "{} {}",
        of_view(&data.train),
        validation.unwrap_or_default()
    )
}
