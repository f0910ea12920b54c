//! A model at work on made-up data: what is measured and profiled.

mod inputs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sardonyx_engine::{CallSpan, Executable, Isa, NodeCost, Session, SessionOptions};
use sardonyx_ir::Graph;
use sardonyx_tensor::{Philox, Tensor};
use sardonyx_train::{Adam, Batch, OptimizerConfig, Sgd, StepOptions, TrainState};

use crate::clock::{self, Stopwatch};
use crate::error::{Error, Result};

/// A model, what it does and how.
#[derive(Debug, Clone, Default)]
pub struct WorkloadOptions {
    /// Model file, or the name of a network of the zoo.
    pub model: PathBuf,
    /// Training steps with this optimizer; predictions when `None`.
    pub train: Option<OptimizerKind>,
    /// Samples of one step or prediction; what the model fixes, else 32 for a step and 1 for a
    /// prediction, when `None`.
    pub batch: Option<usize>,
    /// Sizes of the symbolic dimensions of the inputs, but for the batch.
    pub dims: BTreeMap<String, usize>,
    /// Threads; 0 takes every core.
    pub threads: usize,
    /// Instruction set of the kernels; the widest of this machine when `None`.
    pub isa: Option<Isa>,
}

impl WorkloadOptions {
    /// `train` or `predict`.
    pub(crate) fn task(&self) -> &'static str {
        match self.train {
            Some(_) => "train",
            None => "predict",
        }
    }
}

/// Who updates the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerKind {
    /// Adam.
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// Small, so that weights stay finite over thousands of steps on one batch of noise.
const LEARNING_RATE: f64 = 1e-3;

/// A model with its plan and its inputs.
#[derive(Debug)]
pub(crate) struct Workload {
    task: Task,
    pub(crate) batch: usize,
    pub(crate) dims: BTreeMap<String, usize>,
    pub(crate) threads: usize,
    pub(crate) isa: Isa,
    pub(crate) start: Start,
}

/// Seconds from a file to the end of the first run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    /// Reading the file, or making the weights of a network of the zoo.
    pub(crate) load: f64,
    /// From the model to the plan.
    pub(crate) plan: f64,
    /// Everything up to the end of the first run.
    pub(crate) first: f64,
}

#[derive(Debug)]
enum Task {
    Predict {
        session: Box<Session>,
        inputs: Vec<Tensor>,
    },
    Train {
        state: Box<TrainState>,
        samples: Vec<f32>,
        labels: Vec<i64>,
    },
}

impl Workload {
    /// Reads the model, plans it and runs it once.
    ///
    /// # Errors
    /// When the model cannot be read, planned or run, the instruction set is not there, or a
    /// symbolic dimension has no size.
    pub(crate) fn start(options: &WorkloadOptions) -> Result<Workload> {
        let isa = options.isa.unwrap_or_else(Isa::detect);
        if !isa.is_available() {
            let known: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
            let hint = format!("it has {}", known.join(", "));
            let problem = format!("this processor does not have {isa}; hint: {hint}");
            return Err(Error::config("isa", problem));
        }
        let pool = crate::pool(options.threads)?;
        let threads = pool.threads();
        let watch = Stopwatch::start();
        let mut graph = crate::zoo_or_file(&crate::model_file(&options.model))?;
        let load = watch.seconds();
        let sizes = inputs::sizes(&graph, options)?;
        if options.train.is_some() {
            inputs::fix(&mut graph, &sizes);
        }
        // Making up inputs is no part of what a model costs.
        let inputs = inputs::tensors(&graph, &sizes)?;
        let watch = Stopwatch::start();
        let task = match options.train {
            None => {
                let options = SessionOptions {
                    isa,
                    ..SessionOptions::new(pool)
                };
                Task::predict(graph, inputs, options)
            }
            Some(kind) => {
                let options = StepOptions {
                    isa,
                    optimizer: kind.config(),
                    ..StepOptions::new(pool)
                };
                Task::train(graph, &inputs, &sizes, options)
            }
        };
        let mut workload = Workload {
            task: task?,
            batch: sizes.batch,
            dims: sizes.dims,
            threads,
            isa,
            start: Start::default(),
        };
        let plan = watch.seconds();
        workload.run()?;
        let first = load + watch.seconds();
        workload.start = Start { load, plan, first };
        Ok(workload)
    }

    /// One training step or prediction.
    ///
    /// # Errors
    /// When the loss of a training step is not finite.
    pub(crate) fn run(&mut self) -> Result<()> {
        match &mut self.task {
            Task::Predict { session, inputs } => {
                std::hint::black_box(session.run(inputs)?);
            }
            Task::Train {
                state,
                samples,
                labels,
            } => {
                state.step(&Batch { samples, labels })?;
            }
        }
        Ok(())
    }

    /// Inputs and outputs of a prediction; none of a training step.
    ///
    /// # Errors
    /// Never, after a first run.
    pub(crate) fn tensors(&mut self) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        match &mut self.task {
            Task::Predict { session, inputs } => Ok((inputs.clone(), session.run(inputs)?)),
            Task::Train { .. } => Ok((Vec::new(), Vec::new())),
        }
    }

    /// Bytes of the plan's arenas; `None` for a model that is interpreted.
    pub(crate) fn memory_bytes(&mut self) -> Option<u64> {
        let arenas = match &mut self.task {
            Task::Predict { session, inputs } => planned(session, inputs)?.memory_bytes(),
            Task::Train { state, .. } => state.memory_bytes(),
        };
        Some(arenas.into_iter().map(|bytes| bytes as u64).sum())
    }

    /// Operators that have no kernel, with their number; `None` for a model that is interpreted.
    pub(crate) fn host_operators(&mut self) -> Option<BTreeMap<String, usize>> {
        match &mut self.task {
            Task::Predict { session, inputs } => Some(planned(session, inputs)?.host_operators()),
            Task::Train { state, .. } => Some(state.host_operators()),
        }
    }

    /// Average costs of every call over `runs` runs; none for a model that is interpreted.
    pub(crate) fn profile(&mut self, runs: usize) -> Vec<NodeCost> {
        match &mut self.task {
            Task::Predict { session, inputs } => planned(session, inputs)
                .map_or_else(Vec::new, |plan| plan.profile(runs, clock::ticks_ns)),
            Task::Train { state, .. } => state.profile(runs, clock::ticks_ns),
        }
    }

    /// Which thread ran which call when, in one run; nothing for a model that is interpreted.
    pub(crate) fn trace(&mut self) -> Vec<CallSpan> {
        match &mut self.task {
            Task::Predict { session, inputs } => {
                planned(session, inputs).map_or_else(Vec::new, |plan| plan.trace(clock::ticks_ns))
            }
            Task::Train { state, .. } => state.trace(clock::ticks_ns),
        }
    }
}

fn planned<'s>(session: &'s mut Session, inputs: &[Tensor]) -> Option<&'s mut Executable> {
    session
        .executable(inputs)
        .expect("the first run had these inputs")
}

impl Task {
    fn predict(graph: Graph, inputs: Vec<Tensor>, options: SessionOptions) -> Result<Task> {
        let mut session = Box::new(Session::new(graph, options)?);
        session.executable(&inputs)?;
        Ok(Task::Predict { session, inputs })
    }

    fn train(
        graph: Graph,
        inputs: &[Tensor],
        sizes: &inputs::Sizes,
        options: StepOptions,
    ) -> Result<Task> {
        let state = Box::new(TrainState::compile(&graph, sizes.batch, options)?);
        let samples = inputs
            .first()
            .map_or(Ok(&[][..]), |input| input.values::<f32>())?;
        let samples = samples.to_vec();
        let mut random = Philox::new(0, 1);
        let labels = (0..sizes.batch).map(|_| random.below(state.n_classes() as u64) as i64);
        let labels = labels.collect();
        Ok(Task::Train {
            state,
            samples,
            labels,
        })
    }
}

impl OptimizerKind {
    fn config(self) -> OptimizerConfig {
        match self {
            OptimizerKind::Adam => OptimizerConfig::Adam(Adam {
                lr: LEARNING_RATE,
                ..Adam::default()
            }),
            OptimizerKind::Sgd => OptimizerConfig::Sgd(Sgd {
                lr: LEARNING_RATE,
                momentum: 0.9,
                ..Sgd::default()
            }),
        }
    }
}
