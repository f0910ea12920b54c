//! A training run from its configuration to its folder, and its continuation.

mod name;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sardonyx_data::{Dataset, Finding, ImputedColumn, Kind};
use sardonyx_engine::Pool;
use sardonyx_ir::Graph;
use sardonyx_train::{
    Event, Flow, Run, RunFolder, RunName, Splits, TrainError, TrainOptions, Trainer,
};
use sardonyx_zoo::Seed;
use sardonyx_zoo::zoo::Options;

use crate::clock::{self, Stopwatch};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::parts::{self, Parts};

pub use report::{RunReport, Sizes};

/// What to train.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Everything that decides the result.
    pub config: TrainConfig,
    /// The command line, for the run's folder.
    pub command: Vec<String>,
}

/// What to continue.
#[derive(Debug, Clone, Default)]
pub struct ResumeOptions {
    /// The run's folder.
    pub run: PathBuf,
    /// Threads; `None` takes as many as the configuration says. The result does not depend on it.
    pub threads: Option<usize>,
    /// The command line, for the run's folder.
    pub command: Vec<String>,
}

/// What is told while a run goes on.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// The data are read, split and checked.
    Data {
        /// Where they came from.
        source: &'a str,
        /// Samples of each part.
        sizes: Sizes,
        /// What a sample is: `image` or `row`.
        unit: &'static str,
        /// What is odd about them.
        findings: &'a [Finding],
        /// What was filled in.
        imputed: &'a [ImputedColumn],
    },
    /// The run's folder is made.
    Folder(&'a RunFolder),
    /// Training goes on.
    Train(&'a Event<'a>),
}

/// Who is told, and who may end the run.
pub struct Watch<'w> {
    /// Called with every notice.
    pub tell: Box<dyn FnMut(&Notice<'_>) + 'w>,
    /// Once true, a checkpoint is written and the run ends.
    pub stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}

impl Default for Watch<'_> {
    /// No one.
    fn default() -> Self {
        Watch {
            tell: Box::new(|_| ()),
            stop: Arc::default(),
        }
    }
}

/// Trains a model as the configuration says, and leaves a run's folder: configuration, best model,
/// checkpoint, measures, report.
///
/// # Errors
/// When a setting, the data or the model cannot be, they do not fit each other, the run's name is
/// taken, or the loss is no longer a number.
pub fn train(options: &RunOptions, watch: Watch<'_>) -> Result<RunReport> {
    let mut watch = watch;
    options.config.require_data()?;
    let data = open(&options.config, &mut watch)?;
    let config = &with_model(options.config.clone(), data.train.dataset());
    let graph = model(config, data.train.dataset())?;
    let pool = crate::pool(threads(config.train.threads))?;
    let given = config.run.name.as_deref();
    let made = name::of(config);
    let name = given.map_or(RunName::Numbered(&made), RunName::Exact);
    let folder = RunFolder::create(&config.run.dir, name)?;
    let trainer = beginning(graph, config, folder.clone());
    fit(
        equip(trainer, pool, &options.command),
        &folder,
        &data,
        watch,
    )
}

/// Continues a run where its last checkpoint stands, or from its configuration when it did not
/// come to one; it ends as if it had not been interrupted.
///
/// # Errors
/// When the folder is not that of a run, its files or its data were changed, or as [`train`].
pub fn resume(options: &ResumeOptions, watch: Watch<'_>) -> Result<RunReport> {
    let mut watch = watch;
    let file = options.run.join(RunFolder::CONFIG);
    let saved = match Trainer::resume(&options.run) {
        Err(TrainError::NoCheckpoint { .. }) if file.is_file() => None,
        found => Some(found?),
    };
    let config = TrainConfig::load(Some(&file), &[])?;
    let data = open(&config, &mut watch)?;
    let folder = RunFolder::open(&options.run)?;
    let trainer = match saved {
        Some(trainer) => trainer,
        None => {
            let graph = model(&config, data.train.dataset())?;
            beginning(graph, &config, folder.clone())
        }
    };
    let pool = crate::pool(options.threads.unwrap_or(threads(config.train.threads)))?;
    fit(
        equip(trainer, pool, &options.command),
        &folder,
        &data,
        watch,
    )
}

/// The trainer of a run that begins.
fn beginning<'e>(graph: Graph, config: &TrainConfig, folder: RunFolder) -> Trainer<'e> {
    Trainer::classifier(graph)
        .options(trainer_options(config))
        .run_folder(folder, &config.render())
}

/// The trainer with what it runs on.
fn equip<'e>(trainer: Trainer<'e>, pool: Arc<Pool>, command: &[String]) -> Trainer<'e> {
    let environment = Machine::look().environment(pool.threads(), command.to_vec());
    trainer.environment(environment).pool(pool)
}

fn fit<'e>(
    trainer: Trainer<'e>,
    folder: &RunFolder,
    data: &Splits,
    watch: Watch<'e>,
) -> Result<RunReport> {
    let Watch { mut tell, stop } = watch;
    tell(&Notice::Folder(folder));
    let stopwatch = Stopwatch::start();
    let run = trainer
        .clock(clock::now_ns)
        .stop_flag(stop)
        .on_event(|event| {
            tell(&Notice::Train(event));
            Flow::Continue
        })
        .fit(data)?;
    report(&run, data, stopwatch)
}

fn open(config: &TrainConfig, watch: &mut Watch<'_>) -> Result<Splits> {
    let Parts {
        splits,
        findings,
        imputed,
    } = parts::open(&config.data, config.train.seed)?;
    (watch.tell)(&Notice::Data {
        source: splits.train.dataset().source(),
        sizes: Sizes::of(&splits),
        unit: report::unit(&splits),
        findings: &findings,
        imputed: &imputed.columns,
    });
    Ok(splits)
}

/// The configuration with the model that suits the data, where it names none.
fn with_model(mut config: TrainConfig, data: &Dataset) -> TrainConfig {
    let suitable = match data.kind() {
        Kind::Image { .. } => "seed-cnn",
        Kind::Table { .. } => "mlp",
    };
    let arch = config.model.arch.take();
    config.model.arch = Some(arch.unwrap_or_else(|| suitable.to_owned()));
    config
}

/// The model that is trained: one of the zoo, made for the data, or one of a file as it is.
fn model(config: &TrainConfig, data: &Dataset) -> Result<Graph> {
    let arch = PathBuf::from(config.model.arch.as_deref().unwrap_or_default());
    let Some(entry) = crate::zoo_entry(&arch) else {
        return Ok(sardonyx_model::load(&crate::model_file(&arch))?);
    };
    let options = Options {
        input: Some(data.kind().sample_shape()),
        classes: Some(data.n_classes()),
        ..Options::default()
    };
    Ok(entry?.build(&options, Seed(config.train.seed))?)
}

fn threads(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn trainer_options(config: &TrainConfig) -> TrainOptions {
    let train = &config.train;
    TrainOptions {
        epochs: train.epochs,
        batch_len: usize::try_from(train.batch).unwrap_or(usize::MAX),
        seed: train.seed,
        loss: train.loss,
        optimizer: train.optimizer,
        clip_norm: train.clip_norm,
        schedule: train.schedule.clone(),
        scaling: config.preprocess.scale,
        augment: config.preprocess.augment.clone(),
        early_stop: train.early_stop.clone(),
        checkpoint_every: train.checkpoint_every,
        ..TrainOptions::default()
    }
}

fn report(run: &Run, data: &Splits, stopwatch: Stopwatch) -> Result<RunReport> {
    let folder = run
        .folder()
        .ok_or_else(|| Error::config("run", "the run has no folder"))?;
    Ok(RunReport::new(run, folder, data, stopwatch.seconds()))
}
