use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_engine::{CallSpan, CompileOptions, Executable, Isa, NodeCost, Pool, release_heap};
use sardonyx_ir::Graph;
use sardonyx_ops::ops::update::{Hyper, UpdateRule};
use sardonyx_passes::{apply, lift_constants, trainable_parameters, untie_parameters};
use sardonyx_tensor::Tensor;

use super::graph::{HYPER, LABELS, LOSS, SAMPLES, SCORES, STEP, StateEntry, StepSpec, build};
use crate::error::{Result, TrainError};
use crate::loss::LossConfig;
use crate::optimizer::{Adam, AdamW, OptimizerConfig};

/// How a step is made and run.
#[derive(Debug, Clone)]
pub struct StepOptions {
    /// What is minimised.
    pub loss: LossConfig,
    /// Who minimises it.
    pub optimizer: OptimizerConfig,
    /// Largest norm of all gradients together: larger ones are scaled down to it, as
    /// `torch.nn.utils.clip_grad_norm_` does.
    pub clip_norm: Option<f64>,
    /// Seed of dropout masks.
    pub seed: u64,
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Threads.
    pub pool: Arc<Pool>,
}

impl StepOptions {
    /// Cross entropy and Adam, with the best instruction set of this machine.
    pub fn new(pool: Arc<Pool>) -> StepOptions {
        StepOptions {
            loss: LossConfig::default(),
            optimizer: OptimizerConfig::default(),
            clip_norm: None,
            seed: 0,
            isa: Isa::detect(),
            pool,
        }
    }
}

/// Samples with their classes.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Samples one after the other, each in the order of the model's input.
    pub samples: &'a [f32],
    /// Class of each sample; their number is that of the samples.
    pub labels: &'a [i64],
}

/// What a step saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepStats {
    /// Loss of the batch before the step, mean over its samples.
    pub loss: f32,
    /// Samples whose class had the highest score.
    pub n_correct: usize,
    /// Samples.
    pub n_samples: usize,
}

/// A model while it is trained: its weights and the optimizer's state, and the planned step that
/// changes them. Everything that a trainer does beyond is a loop over [`TrainState::step`].
///
/// The same seed and batches give the same bytes for any number of threads.
#[derive(Debug)]
pub struct TrainState {
    model: Graph,
    options: StepOptions,
    rule: UpdateRule,
    hyper: [f64; Hyper::LEN],
    n_steps: u64,
    plans: Vec<Plan>,
    /// The plan that holds the state.
    active: usize,
}

/// The step for one batch size.
#[derive(Debug)]
struct Plan {
    batch_len: usize,
    entries: Vec<StateEntry>,
    executable: Executable,
}

impl TrainState {
    /// Plans the training of `model` with batches of `batch_len` samples. The model has one float
    /// input `[batch, ...]`; its first output is a score per class, before or after softmax.
    ///
    /// # Errors
    /// When the model is of another kind, or an operator has no gradient.
    pub fn compile(model: &Graph, batch_len: usize, options: StepOptions) -> Result<TrainState> {
        let mut model = model.clone();
        apply(&mut model, lift_constants)?;
        untie_parameters(&mut model);
        let (rule, hyper) = update_rule(&options.optimizer);
        let mut state = TrainState {
            model,
            options,
            rule,
            hyper,
            n_steps: 0,
            plans: Vec::new(),
            active: 0,
        };
        let plan = state.plan(batch_len)?;
        state.plans.push(plan);
        Ok(state)
    }

    /// One step: gradients of the batch's loss, and the optimizer's update. Another batch size
    /// than before is planned first; otherwise nothing is allocated.
    ///
    /// # Errors
    /// When the batch does not fit the model, a label is no class, or the loss is not finite.
    pub fn step(&mut self, batch: &Batch<'_>) -> Result<StepStats> {
        self.activate(batch.labels.len())?;
        self.n_steps += 1;
        self.hyper[Hyper::Step as usize] = self.n_steps as f64;
        let (hyper, n_steps) = (self.hyper, self.n_steps);
        let executable = &mut self.plans[self.active].executable;
        let samples = executable.input_mut::<f32>(SAMPLES);
        if samples.len() != batch.samples.len() {
            let (expected, found) = (samples.len(), batch.samples.len());
            return Err(TrainError::Batch {
                n_labels: batch.labels.len(),
                found,
                expected,
            });
        }
        samples.copy_from_slice(batch.samples);
        executable
            .input_mut::<i64>(LABELS)
            .copy_from_slice(batch.labels);
        executable.input_mut::<i64>(STEP)[0] = n_steps as i64;
        executable.input_mut::<f64>(HYPER).copy_from_slice(&hyper);
        let n_classes = executable.output_slice::<f32>(SCORES).len() / batch.labels.len().max(1);
        check_labels(batch.labels, n_classes)?;
        executable.run();
        let loss = executable.output_slice::<f32>(LOSS)[0];
        if !loss.is_finite() {
            return Err(TrainError::Diverged {
                loss,
                step: n_steps,
            });
        }
        let scores = executable.output_slice::<f32>(SCORES);
        let n_correct = count_correct(scores, batch.labels, n_classes);
        Ok(StepStats {
            loss,
            n_correct,
            n_samples: batch.labels.len(),
        })
    }

    /// Steps done, over all resumptions.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        self.hyper[Hyper::LearningRate as usize]
    }

    /// Sets the learning rate from the next step on.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.hyper[Hyper::LearningRate as usize] = learning_rate;
    }

    /// The model with the weights of now.
    ///
    /// # Errors
    /// Never, unless a layout is malformed.
    pub fn model(&self) -> Result<Graph> {
        let mut model = self.model.clone();
        for (name, tensor) in self.tensors()? {
            if let Some(name) = name.strip_prefix("model/")
                && let Some(id) = model.find_value(name)
            {
                model.initializers.insert(id, tensor.into());
            }
        }
        Ok(model)
    }

    /// Everything that a step changes, by name and in the model's layout: `model/<initializer>`
    /// and `optimizer/<index>/<initializer>`. With [`TrainState::n_steps`] and the learning rate
    /// it is all that a later [`TrainState::restore`] needs to go on as if nothing had happened.
    ///
    /// # Errors
    /// Never, unless a layout is malformed.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let plan = &self.plans[self.active];
        let entries = plan.entries.iter().enumerate();
        entries
            .map(|(index, entry)| {
                let tensor = entry.layout.undo(&plan.executable.state(index))?;
                Ok((entry.name.clone(), tensor))
            })
            .collect()
    }

    /// Goes back to `tensors`, as [`TrainState::tensors`] gave them after `n_steps` steps.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub fn restore(&mut self, tensors: &BTreeMap<String, Tensor>, n_steps: u64) -> Result<()> {
        let plan = &mut self.plans[self.active];
        for (index, entry) in plan.entries.iter().enumerate() {
            let tensor = tensors.get(&entry.name).ok_or_else(|| TrainError::Model {
                reason: format!("the saved state lacks `{}`", entry.name),
            })?;
            plan.executable
                .set_state(index, &entry.layout.apply(tensor)?)?;
        }
        self.n_steps = n_steps;
        Ok(())
    }

    /// Numbers that are trained.
    pub fn n_parameters(&self) -> usize {
        let parameters = trainable_parameters(&self.model).into_iter();
        let count = |id| self.model.initializers.get(&id).map_or(0, |t| t.len());
        parameters.map(count).sum()
    }

    /// Classes that the model tells apart.
    pub fn n_classes(&self) -> usize {
        let plan = &self.plans[self.active];
        plan.executable.output_slice::<f32>(SCORES).len() / plan.batch_len.max(1)
    }

    /// Bytes of the plan's memory: constants, state, and what a step works in.
    pub fn memory_bytes(&self) -> [usize; 3] {
        self.plans[self.active].executable.memory_bytes()
    }

    /// Floating-point operations of a step.
    pub fn flops(&self) -> u64 {
        self.plans[self.active].executable.flops()
    }

    /// Operators of the step that have no kernel, with their number.
    pub fn host_operators(&self) -> BTreeMap<String, usize> {
        self.plans[self.active].executable.host_operators()
    }

    /// Repeats the last step `runs` times and tells what each call of the plan cost. The weights
    /// move on.
    pub fn profile(&mut self, runs: usize, clock: fn() -> u64) -> Vec<NodeCost> {
        self.plans[self.active].executable.profile(runs, clock)
    }

    /// Repeats the last step once and tells which thread ran which call of the plan when. The
    /// weights move on.
    pub fn trace(&mut self, clock: fn() -> u64) -> Vec<CallSpan> {
        self.plans[self.active].executable.trace(clock)
    }

    /// Makes the plan for `batch_len` the one that holds the state.
    fn activate(&mut self, batch_len: usize) -> Result<()> {
        if self.plans[self.active].batch_len == batch_len {
            return Ok(());
        }
        let found = self
            .plans
            .iter()
            .position(|plan| plan.batch_len == batch_len);
        let target = match found {
            Some(index) => index,
            None => {
                let plan = self.plan(batch_len)?;
                self.plans.push(plan);
                self.plans.len() - 1
            }
        };
        let states: Vec<Tensor> = {
            let executable = &self.plans[self.active].executable;
            (0..executable.state_count())
                .map(|index| executable.state(index))
                .collect()
        };
        let plan = &mut self.plans[target];
        for (index, state) in states.iter().enumerate() {
            plan.executable.set_state(index, state)?;
        }
        self.active = target;
        Ok(())
    }

    fn plan(&self, batch_len: usize) -> Result<Plan> {
        let (loss, rule, seed) = (self.options.loss, self.rule, self.options.seed);
        let spec = StepSpec {
            batch_len,
            loss,
            rule,
            clip_norm: self.options.clip_norm,
            seed,
            isa: self.options.isa,
        };
        let step = build(&self.model, &spec)?;
        let options = CompileOptions::new(self.options.isa, self.options.pool.clone());
        let executable = Executable::compile(&step.graph, &step.links, &options)?;
        let entries = step.entries;
        // The plan's memory is touched by its first step: copies of weights that planning made
        // along the way need not lie beside it.
        drop((step.graph, step.links));
        release_heap();
        Ok(Plan {
            batch_len,
            entries,
            executable,
        })
    }
}

fn check_labels(labels: &[i64], n_classes: usize) -> Result<()> {
    let is_class = |label: i64| usize::try_from(label).is_ok_and(|label| label < n_classes);
    match labels.iter().position(|&label| !is_class(label)) {
        None => Ok(()),
        Some(index) => Err(TrainError::Model {
            reason: format!(
                "sample {index} of the batch has class {}, the model has {n_classes} classes",
                labels[index]
            ),
        }),
    }
}

fn count_correct(scores: &[f32], labels: &[i64], n_classes: usize) -> usize {
    let rows = scores.chunks_exact(n_classes.max(1)).zip(labels);
    let is_correct = |(row, label): &(&[f32], &i64)| {
        let best = (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
        best as i64 == **label
    };
    rows.filter(is_correct).count()
}

/// The update rule of an optimizer, and its hyper-parameters as the rule reads them.
fn update_rule(config: &OptimizerConfig) -> (UpdateRule, [f64; Hyper::LEN]) {
    let mut hyper = [0.0; Hyper::LEN];
    let mut set = |field: Hyper, value: f64| hyper[field as usize] = value;
    let rule = match config {
        OptimizerConfig::Sgd(sgd) => {
            set(Hyper::LearningRate, sgd.lr);
            set(Hyper::WeightDecay, sgd.weight_decay);
            set(Hyper::Momentum, sgd.momentum);
            set(Hyper::Dampening, sgd.dampening);
            match sgd.momentum {
                0.0 => UpdateRule::Sgd,
                _ => UpdateRule::Momentum {
                    nesterov: sgd.nesterov,
                },
            }
        }
        &OptimizerConfig::Adam(Adam {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        })
        | &OptimizerConfig::AdamW(AdamW {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        }) => {
            set(Hyper::LearningRate, lr);
            set(Hyper::WeightDecay, weight_decay);
            set(Hyper::Beta1, beta1);
            set(Hyper::Beta2, beta2);
            set(Hyper::Epsilon, eps);
            UpdateRule::Adam {
                decoupled: matches!(config, OptimizerConfig::AdamW(_)),
            }
        }
    };
    (rule, hyper)
}
