//! The main job on data that every copy of the program has: hand-written digits.

use std::path::PathBuf;

use crate::config::TrainConfig;
use crate::error::Result;
use crate::training::{RunOptions, RunReport, Watch, train};

/// How to show it.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Folder of the runs.
    pub dir: PathBuf,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads; 0 takes every core.
    pub threads: usize,
    /// The command line, for the run's folder.
    pub command: Vec<String>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        DemoOptions {
            dir: TrainConfig::default().run.dir,
            seed: 0,
            threads: 0,
            command: Vec::new(),
        }
    }
}

/// Reads, checks and splits the digits, trains a network on them, evaluates it and leaves the
/// folder of a run like any other.
///
/// # Errors
/// When the folder cannot be written.
pub fn demo(options: &DemoOptions, watch: Watch<'_>) -> Result<RunReport> {
    let run = RunOptions {
        config: config(options)?,
        command: options.command.clone(),
    };
    train(&run, watch)
}

/// What the demo is as a configuration.
const SETTINGS: [&str; 7] = [
    "data.train=digits",
    "data.test=0.2",
    "preprocess.augment=translate:1",
    "train.epochs=15",
    "train.batch=32",
    "train.optimizer.lr=0.005",
    "train.schedule=one_cycle",
];

fn config(options: &DemoOptions) -> Result<TrainConfig> {
    let mut config = TrainConfig::from_arguments(&SETTINGS.map(str::to_owned))?;
    config.train.seed = options.seed;
    config.train.threads = options.threads as u64;
    config.run.dir.clone_from(&options.dir);
    Ok(config)
}
