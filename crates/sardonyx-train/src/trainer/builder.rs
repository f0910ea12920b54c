use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sardonyx_data::{Augmentation, Scaling};
use sardonyx_engine::{Isa, Pool};
use sardonyx_ir::Graph;

use super::event::{Event, Flow};
use super::files::FolderSpec;
use super::fit::{Fit, Setting};
use super::options::TrainOptions;
use super::progress::{Saved, load};
use super::run::Run;
use super::splits::Splits;
use crate::early_stop::EarlyStopConfig;
use crate::error::Result;
use crate::loss::LossConfig;
use crate::optimizer::OptimizerConfig;
use crate::run::{Environment, RunFolder};
use crate::schedule::Schedule;

pub(super) type Observer<'e> = Box<dyn FnMut(&Event<'_>) -> Flow + 'e>;

/// Trains a model. Every setting has a default; nothing is checked before [`Trainer::fit`].
///
/// ```no_run
/// # use sardonyx_train::{Adam, Schedule, Splits, Trainer};
/// # fn train(model: sardonyx_ir::Graph) -> sardonyx_train::Result<()> {
/// let data = Splits::of(&sardonyx_data::digits(), 0.1, 0.2, 0)?;
/// let run = Trainer::classifier(model)
///     .optimizer(Adam::new(1e-3))
///     .schedule(Schedule::step(0.5, 5))
///     .epochs(5)
///     .fit(&data)?;
/// run.save_onnx("model.onnx")?;
/// # Ok(())
/// # }
/// ```
pub struct Trainer<'e> {
    start: Start,
    options: TrainOptions,
    setting: Setting<'e>,
}

/// Where the training begins.
pub(super) enum Start {
    /// At the model as it is.
    Model(Box<Graph>),
    /// Where an earlier run stood.
    Saved(Box<Saved>),
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<'e> Trainer<'e> {
    /// Trains `graph` to tell classes: it has one float input of samples, and its first output is
    /// a score or a probability for each class, `[batch, classes]`.
    pub fn classifier(graph: Graph) -> Trainer<'e> {
        Trainer {
            start: Start::Model(Box::new(graph)),
            options: TrainOptions::default(),
            setting: Setting::default(),
        }
    }

    /// Continues the run of a folder where its last checkpoint stands, with the options that it
    /// has. [`Trainer::fit`] must be given the same data; then the run ends as if it had never
    /// been interrupted. More epochs may be asked for.
    ///
    /// # Errors
    /// When there is no checkpoint, it is damaged, or the configuration beside it is another.
    pub fn resume(folder: &Path) -> Result<Trainer<'e>> {
        let folder = RunFolder::open(folder)?;
        let saved = load(&folder)?;
        let setting = Setting {
            folder: Some(FolderSpec {
                config: saved.config.clone(),
                folder,
            }),
            ..Setting::default()
        };
        Ok(Trainer {
            options: saved.options.clone(),
            start: Start::Saved(Box::new(saved)),
            setting,
        })
    }

    /// Replaces all options at once.
    pub fn options(mut self, options: TrainOptions) -> Self {
        self.options = options;
        self
    }

    /// Who minimises the loss.
    pub fn optimizer(mut self, optimizer: impl Into<OptimizerConfig>) -> Self {
        self.options.optimizer = optimizer.into();
        self
    }

    /// Largest norm of all gradients together; larger ones are scaled down to it.
    pub fn clip_norm(mut self, clip_norm: f64) -> Self {
        self.options.clip_norm = Some(clip_norm);
        self
    }

    /// How the learning rate moves.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.options.schedule = schedule;
        self
    }

    /// What is minimised.
    pub fn loss(mut self, loss: LossConfig) -> Self {
        self.options.loss = loss;
        self
    }

    /// Passes over the training data.
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.options.epochs = epochs;
        self
    }

    /// Samples of a step.
    pub fn batch_len(mut self, batch_len: usize) -> Self {
        self.options.batch_len = batch_len;
        self
    }

    /// Seed of order, augmentation and dropout.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Scaling of the raw samples, fitted to the training data; it becomes part of the model.
    pub fn scaling(mut self, scaling: Scaling) -> Self {
        self.options.scaling = Some(scaling);
        self
    }

    /// Random changes of training images, in this order.
    pub fn augment(mut self, augment: impl IntoIterator<Item = Augmentation>) -> Self {
        self.options.augment = augment.into_iter().collect();
        self
    }

    /// When to stop before the last epoch.
    pub fn early_stop(mut self, early_stop: EarlyStopConfig) -> Self {
        self.options.early_stop = Some(early_stop);
        self
    }

    /// What is measured on the validation data after each epoch: names of
    /// [`MEASURES`](super::MEASURES).
    pub fn metrics<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.options.metrics = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// Steps between checkpoints, besides those at the end of each epoch.
    pub fn checkpoint_every(mut self, steps: u64) -> Self {
        self.options.checkpoint_every = steps;
        self
    }

    /// Threads that run the plans; by default there is one. The result does not depend on it.
    pub fn pool(mut self, pool: Arc<Pool>) -> Self {
        self.setting.pool = Some(pool);
        self
    }

    /// Instruction set of the training step; by default the machine's best.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.setting.isa = isa;
        self
    }

    /// Where time comes from: nanoseconds since 1970. Without a clock every time is zero.
    pub fn clock(mut self, now_ns: fn() -> u64) -> Self {
        self.setting.now_ns = now_ns;
        self
    }

    /// When this becomes true, the run writes a checkpoint after the step at hand and ends as
    /// [`Outcome::Interrupted`](super::Outcome::Interrupted).
    pub fn stop_flag(mut self, stop: Arc<AtomicBool>) -> Self {
        self.setting.stop = stop;
        self
    }

    /// Calls `observer` at every event, after those that were given before.
    pub fn on_event(mut self, observer: impl FnMut(&Event<'_>) -> Flow + 'e) -> Self {
        self.setting.observers.push(Box::new(observer));
        self
    }

    /// Leaves the files of a run in `folder`: `config` is the text of its configuration.
    pub fn run_folder(mut self, folder: RunFolder, config: &str) -> Self {
        let config = config.to_owned();
        self.setting.folder = Some(FolderSpec { folder, config });
        self
    }

    /// What the run is made on, for its folder and report.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.setting.environment = environment;
        self
    }

    /// The options as they stand.
    pub fn get_options(&self) -> &TrainOptions {
        &self.options
    }

    /// Trains, evaluates and writes the files of the run.
    ///
    /// # Errors
    /// When a setting is out of range, the model does not fit the data (input shape, number of
    /// classes) or cannot be trained, the loss is no longer a number, or the system refuses a
    /// file.
    pub fn fit(self, data: &Splits) -> Result<Run> {
        let mut fit = Fit::new(self.start, self.options, self.setting, data)?;
        let outcome = fit.run()?;
        fit.finish(outcome)
    }
}
