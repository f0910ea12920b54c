//! The loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sardonyx_data::{BatchOptions, Batches};
use sardonyx_engine::{Isa, Pool};

use super::builder::{Observer, Start};
use super::event::{EpochEvent, Event, Flow, StartEvent, StepEvent};
use super::files::{Files, FolderSpec};
use super::measures::measure;
use super::options::TrainOptions;
use super::prepare::prepare;
use super::progress::{Progress, Saved, Sums, fingerprint};
use super::run::{Outcome, Run};
use super::splits::Splits;
use crate::classify::evaluate;
use crate::early_stop::EarlyStopping;
use crate::error::{Result, TrainError};
use crate::report::EpochRecord;
use crate::run::{Environment, MetricsLine};
use crate::schedule::{Plateau, Position, Schedule};
use crate::step::{Batch, StepOptions, StepStats, TrainState};

/// What a run is made with, none of which decides its result.
pub(super) struct Setting<'e> {
    pub(super) pool: Option<Arc<Pool>>,
    pub(super) isa: Isa,
    pub(super) now_ns: fn() -> u64,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) observers: Vec<Observer<'e>>,
    pub(super) folder: Option<FolderSpec>,
    pub(super) environment: Environment,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Setting {
            pool: None,
            isa: Isa::detect(),
            now_ns: || 0,
            stop: Arc::default(),
            observers: Vec::new(),
            folder: None,
            environment: Environment::default(),
        }
    }
}

/// A run that goes on.
pub(super) struct Fit<'e, 'd> {
    data: &'d Splits,
    options: TrainOptions,
    pool: Arc<Pool>,
    now_ns: fn() -> u64,
    stop: Arc<AtomicBool>,
    observers: Vec<Observer<'e>>,
    files: Option<Files>,
    /// What tells the data apart; known when the run has a folder.
    data_id: String,
    state: TrainState,
    batches: Batches,
    samples: Vec<f32>,
    labels: Vec<i64>,
    progress: Progress,
    /// File of the best model so far.
    best: Vec<u8>,
    /// When time was last added to the epoch's.
    counted_ns: u64,
}

impl<'e, 'd> Fit<'e, 'd> {
    pub(super) fn new(
        start: Start,
        options: TrainOptions,
        setting: Setting<'e>,
        data: &'d Splits,
    ) -> Result<Fit<'e, 'd>> {
        options.check(data.validation.is_some())?;
        let pool = match setting.pool {
            Some(pool) => pool,
            None => Arc::new(Pool::new(1).map_err(sardonyx_engine::EngineError::from)?),
        };
        let data_id = setting
            .folder
            .as_ref()
            .map(|_| fingerprint(data))
            .unwrap_or_default();
        let (progress, best, saved) = match start {
            Start::Model(graph) => {
                let onnx = prepare(&graph, &data.train, options.scaling)?;
                (begin(&options, data)?, onnx, None)
            }
            Start::Saved(mut saved) => {
                if saved.data != data_id {
                    let reason = "they are not those that the run began with; hint: give the same \
                                  files and the same split";
                    return Err(TrainError::config("data", reason));
                }
                let best = std::mem::take(&mut saved.best);
                (saved.progress.clone(), best, Some(saved))
            }
        };
        let step = StepOptions {
            loss: options.loss,
            optimizer: options.optimizer,
            clip_norm: options.clip_norm,
            seed: options.seed,
            isa: setting.isa,
            pool: pool.clone(),
        };
        let graph = sardonyx_model::load_bytes(best.clone())?;
        let batch_len = options.batch_len.min(data.train.len().max(1));
        let mut state = TrainState::compile(&graph, batch_len, step)?;
        let mut batches = Batches::new(&data.train, batch_options(&options))?;
        let now = (setting.now_ns)();
        let (seconds, environment) = (now as f64 / 1e9, setting.environment);
        let files = match (setting.folder, &saved) {
            (None, _) => None,
            (Some(spec), None) => Some(Files::create(spec, environment, seconds)?),
            (Some(spec), Some(saved)) => {
                state.restore(&saved.tensors, saved.n_steps)?;
                batches.seek(saved.progress.cursor())?;
                Some(Files::resume(spec, environment, seconds, saved.n_steps)?)
            }
        };
        Ok(Fit {
            samples: vec![0.0; batches.x_len()],
            labels: vec![0; options.batch_len],
            now_ns: setting.now_ns,
            stop: setting.stop,
            observers: setting.observers,
            counted_ns: now,
            data,
            options,
            pool,
            files,
            data_id,
            state,
            batches,
            progress,
            best,
        })
    }

    /// Trains until the end, or until something asks for it.
    pub(super) fn run(&mut self) -> Result<Outcome> {
        if self.state.n_steps() == 0 {
            self.checkpoint()?;
        }
        let mut flow = self.tell_start();
        while !self.progress.ended && self.progress.epoch < self.options.epochs {
            if self.stop.load(Ordering::Relaxed) {
                self.checkpoint()?;
                return Ok(Outcome::Interrupted);
            }
            if flow == Flow::Stop {
                self.checkpoint()?;
                return Ok(Outcome::Stopped);
            }
            flow = self.step()?;
            let every = self.options.checkpoint_every;
            if self.progress.batch_idx == 0 {
                flow = flow.or(self.end_epoch()?);
            } else if every > 0 && self.state.n_steps().is_multiple_of(every) {
                self.checkpoint()?;
            }
        }
        Ok(match self.progress.ended {
            true => Outcome::EarlyStopped,
            false => Outcome::Completed,
        })
    }

    /// One step, at the learning rate that is due.
    fn step(&mut self) -> Result<Flow> {
        let learning_rate = self.learning_rate();
        self.state.set_learning_rate(learning_rate);
        let next = self
            .batches
            .next_batch(&mut self.samples, &mut self.labels)?;
        let (_, n_samples) = next;
        let sample_len = self.samples.len() / self.labels.len();
        let stats = self.state.step(&Batch {
            samples: &self.samples[..n_samples * sample_len],
            labels: &self.labels[..n_samples],
        })?;
        let after = self.batches.cursor();
        (self.progress.epoch, self.progress.batch_idx) = (after.epoch, after.batch_idx);
        let sums = &mut self.progress.sums;
        sums.loss += f64::from(stats.loss) * stats.n_samples as f64;
        sums.n_correct += stats.n_correct as u64;
        sums.n_samples += stats.n_samples as u64;
        self.count_time();
        self.log_step(&stats, learning_rate)?;
        Ok(self.tell_step(&stats, learning_rate))
    }

    /// What is due after an epoch's last step: measures, the best weights, a checkpoint.
    fn end_epoch(&mut self) -> Result<Flow> {
        let sums = std::mem::take(&mut self.progress.sums);
        let model = self.state.model()?;
        let values = self.measures(&model, &sums)?;
        let value = |name: &str| values.get(name).copied();
        let record = EpochRecord {
            epoch: self.progress.epoch,
            train_loss: value("train.loss"),
            train_accuracy: value("train.accuracy"),
            validation_loss: value("val.loss"),
            validation_accuracy: value("val.accuracy"),
            learning_rate: value("lr"),
            seconds: sums.seconds(),
        };
        self.progress.history.push(record);
        if let Some(plateau) = &mut self.progress.plateau {
            plateau.observe(value(&plateau.config.metric).unwrap_or(f64::NAN));
        }
        let is_best = match &mut self.progress.watch {
            None => true,
            Some(watch) => {
                let seen = value(&watch.config.metric).unwrap_or(f64::NAN);
                let verdict = watch.observe(record.epoch, seen);
                self.progress.ended = verdict.stop;
                verdict.is_best
            }
        };
        if is_best {
            self.best = sardonyx_model::to_bytes(&model)?;
        }
        let (step, epochs) = (self.state.n_steps(), self.options.epochs);
        if let Some(files) = &mut self.files {
            let line = MetricsLine {
                step,
                epoch: record.epoch,
                values: values.clone(),
            };
            files.log(&line, (self.now_ns)() as f64 / 1e9)?;
            if is_best {
                files.model(&self.best)?;
            }
        }
        self.checkpoint()?;
        // What was measured and written is none of the next epoch's training time.
        self.counted_ns = (self.now_ns)();
        Ok(self.tell(&Event::Epoch(EpochEvent {
            epochs,
            step,
            record: &record,
            values: &values,
            is_best,
        })))
    }

    /// Everything that is measured after an epoch, by name.
    fn measures(&self, model: &sardonyx_ir::Graph, sums: &Sums) -> Result<BTreeMap<String, f64>> {
        let mut values = BTreeMap::from([
            ("lr".to_owned(), self.state.learning_rate()),
            ("train.accuracy".to_owned(), sums.accuracy()),
            ("train.loss".to_owned(), sums.mean_loss()),
        ]);
        if let Some(validation) = &self.data.validation {
            let report = evaluate(model, validation, &self.pool)?.report;
            let metrics = &self.options.metrics;
            let watch = self.progress.watch.as_ref();
            let plateau = self.progress.plateau.as_ref();
            let watched = watch.map(|watch| watch.config.metric.as_str());
            let watched = watched.into_iter();
            let watched = watched.chain(plateau.map(|plateau| plateau.config.metric.as_str()));
            measure(&report, metrics, watched, &mut values);
        }
        Ok(values)
    }

    fn learning_rate(&self) -> f64 {
        if let Some(plateau) = &self.progress.plateau {
            return plateau.lr;
        }
        let position = Position {
            step: self.state.n_steps(),
            steps_per_epoch: self.batches.n_batches() as u64,
            epochs: self.options.epochs,
        };
        let lr0 = self.options.optimizer.lr();
        self.options.schedule.lr(lr0, &position)
    }

    fn checkpoint(&mut self) -> Result<()> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        let step = self.state.n_steps();
        files.checkpoint(Saved {
            options: self.options.clone(),
            config: files.spec.config.clone(),
            data: self.data_id.clone(),
            progress: self.progress.clone(),
            n_steps: step,
            tensors: self.state.tensors()?,
            best: self.best.clone(),
        })?;
        self.tell(&Event::Checkpoint { step });
        Ok(())
    }

    /// Evaluates the best weights and writes what a run leaves at its end.
    pub(super) fn finish(self, outcome: Outcome) -> Result<Run> {
        let model = sardonyx_model::load_bytes(self.best)?;
        let is_over = outcome != Outcome::Interrupted;
        let measured = |view: &Option<sardonyx_data::View>| {
            let view = view.as_ref().filter(|_| is_over);
            view.map(|view| evaluate(&model, view, &self.pool))
                .transpose()
        };
        let (validation, test) = (measured(&self.data.validation)?, measured(&self.data.test)?);
        let run = Run {
            outcome,
            best_epoch: self.progress.best_epoch(),
            history: self.progress.history,
            n_steps: self.state.n_steps(),
            model,
            validation,
            test,
            folder: self.files.as_ref().map(|files| files.spec.folder.clone()),
        };
        if let Some(files) = self.files.filter(|_| is_over) {
            files.finish(&run, self.data)?;
        }
        Ok(run)
    }

    fn count_time(&mut self) {
        let now = (self.now_ns)();
        self.progress.sums.nanoseconds += now.saturating_sub(self.counted_ns);
        self.counted_ns = now;
    }

    fn log_step(&mut self, stats: &StepStats, learning_rate: f64) -> Result<()> {
        let (step, every) = (self.state.n_steps(), self.options.log_every);
        let Some(files) = self
            .files
            .as_mut()
            .filter(|_| every > 0 && step.is_multiple_of(every))
        else {
            return Ok(());
        };
        let values = BTreeMap::from([
            ("batch.loss".to_owned(), f64::from(stats.loss)),
            ("lr".to_owned(), learning_rate),
        ]);
        // The cursor has moved on: after an epoch's last step it is at the next epoch.
        let epoch = self.progress.epoch + u64::from(self.progress.batch_idx > 0);
        files.log(
            &MetricsLine {
                step,
                epoch,
                values,
            },
            (self.now_ns)() as f64 / 1e9,
        )
    }

    fn tell(&mut self, event: &Event<'_>) -> Flow {
        let told = self.observers.iter_mut().map(|observer| observer(event));
        told.fold(Flow::Continue, Flow::or)
    }

    fn tell_start(&mut self) -> Flow {
        let n_parameters = self.state.n_parameters();
        self.tell(&Event::Start(StartEvent {
            epochs: self.options.epochs,
            steps_per_epoch: self.batches.n_batches() as u64,
            n_samples: self.data.train.len(),
            step: self.state.n_steps(),
            n_parameters,
            memory_bytes: self.state.memory_bytes(),
            flops: self.state.flops(),
        }))
    }

    fn tell_step(&mut self, stats: &StepStats, learning_rate: f64) -> Flow {
        let sums = self.progress.sums;
        let steps_per_epoch = self.batches.n_batches() as u64;
        let is_last = self.progress.batch_idx == 0;
        self.tell(&Event::Step(StepEvent {
            epoch: self.progress.epoch + u64::from(!is_last),
            epochs: self.options.epochs,
            epoch_step: if is_last {
                steps_per_epoch
            } else {
                self.progress.batch_idx as u64
            },
            steps_per_epoch,
            step: self.state.n_steps(),
            batch_loss: f64::from(stats.loss),
            loss: sums.mean_loss(),
            accuracy: sums.accuracy(),
            n_samples: sums.n_samples,
            seconds: sums.seconds(),
            learning_rate,
        }))
    }
}

/// Where a run stands before its first step.
fn begin(options: &TrainOptions, data: &Splits) -> Result<Progress> {
    let watch = options.watch(data.validation.is_some());
    let plateau = match &options.schedule {
        Schedule::Plateau(config) => Some(Plateau::new(config.clone(), options.optimizer.lr())),
        _ => None,
    };
    Ok(Progress {
        watch: watch.map(EarlyStopping::new).transpose()?,
        plateau,
        ..Progress::default()
    })
}

fn batch_options(options: &TrainOptions) -> BatchOptions {
    BatchOptions {
        batch_len: options.batch_len,
        shuffle: true,
        drop_last: false,
        seed: options.seed,
        augment: options.augment.clone(),
    }
}
