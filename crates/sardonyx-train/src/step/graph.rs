//! The graph of a step, made from a model: training mode, loss, the machine's layout, gradients,
//! updates, in this order, so that gradients and optimizer state have the kernels' layout too.

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_engine::{ForwardOptions, Isa, prepare_backward, prepare_forward};
use sardonyx_ir::{Attr, Dim, Fact, Graph, Producer, SARDONYX, ValueId};
use sardonyx_ops::ops::update::{Hyper, UpdateRule};
use sardonyx_ops::{Builder, OpError, infer};
use sardonyx_passes::{
    FuseFor, Layout, StateLink, apply, differentiate, lift_constants, train_mode,
    trainable_parameters, trim_outputs,
};
use sardonyx_tensor::{DType, Tensor};

use crate::error::{Result, TrainError};
use crate::loss::LossConfig;

/// Positions of a step's inputs.
pub(super) const SAMPLES: usize = 0;
pub(super) const LABELS: usize = 1;
pub(super) const STEP: usize = 2;
pub(super) const HYPER: usize = 3;

/// Positions of a step's outputs.
pub(super) const LOSS: usize = 0;
pub(super) const SCORES: usize = 1;

/// What a step's graph is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepSpec {
    pub(super) batch_len: usize,
    pub(super) loss: LossConfig,
    pub(super) rule: UpdateRule,
    pub(super) clip_norm: Option<f64>,
    pub(super) seed: u64,
    pub(super) isa: Isa,
}

/// A piece of state that the model has a place for, or that belongs to the optimizer.
#[derive(Debug, Clone)]
pub(super) struct StateEntry {
    /// Name of the model's initializer, after `model/` or `optimizer/<index>/`.
    pub(super) name: String,
    /// How the plan's layout came from the model's.
    pub(super) layout: Layout,
}

/// A step as a graph. States are in the order of the links.
#[derive(Debug)]
pub(super) struct StepGraph {
    pub(super) graph: Graph,
    pub(super) links: Vec<StateLink>,
    pub(super) entries: Vec<StateEntry>,
}

fn refuse(reason: impl Into<String>) -> TrainError {
    TrainError::Model {
        reason: reason.into(),
    }
}

/// Makes the step of `model`, whose only input is the batch of samples.
pub(super) fn build(model: &Graph, spec: &StepSpec) -> Result<StepGraph> {
    let mut graph = model.clone();
    apply(&mut graph, lift_constants)?;
    let samples = single_input(&mut graph)?;
    fix_batch(&mut graph, samples, spec.batch_len)?;
    let labels = Fact::fixed(DType::I64, &[spec.batch_len]);
    let labels = graph.add_input("sardonyx.labels", labels);
    let step = graph.add_input("sardonyx.step", Fact::fixed(DType::I64, &[]));
    graph.add_input("sardonyx.hyper", Fact::fixed(DType::F64, &[Hyper::LEN]));
    infer(&mut graph)?;
    let parameters = trainable_parameters(&graph);
    if parameters.is_empty() {
        return Err(refuse(
            "it has no float weights; hint: a quantized model has to be dequantized",
        ));
    }
    let statistics = train_mode(&mut graph, step, spec.seed)?;
    attach_loss(&mut graph, labels, spec.loss)?;
    // As graph outputs the new statistics are followed through all rewrites.
    graph
        .outputs
        .extend(statistics.iter().map(|link| link.output));
    let mut variable: BTreeSet<ValueId> = parameters.iter().copied().collect();
    variable.extend(statistics.iter().map(|link| link.input));
    let options = ForwardOptions {
        isa: spec.isa,
        purpose: FuseFor::Training,
    };
    let hoisted = prepare_forward(&mut graph, &BTreeMap::new(), &variable, options)?;
    let statistics = statistics.iter().zip(graph.outputs.split_off(2));
    let mut step = StepGraph {
        links: Vec::new(),
        entries: Vec::new(),
        graph: Graph::default(),
    };
    for (link, output) in statistics {
        step.links.push(StateLink {
            input: link.input,
            output,
        });
        let name = format!("model/{}", graph.value_name(link.input));
        step.entries.push(StateEntry {
            name,
            layout: Layout::default(),
        });
    }
    let trained: Vec<(ValueId, StateEntry)> = parameters
        .iter()
        .map(|&id| {
            let packed = hoisted.iter().find(|hoisted| hoisted.parameter == id);
            let layout = packed.map_or_else(Layout::default, |packed| packed.layout.clone());
            let name = graph.value_name(id).to_owned();
            (
                packed.map_or(id, |packed| packed.packed),
                StateEntry { name, layout },
            )
        })
        .collect();
    step.graph = graph;
    step.update(&trained, spec)?;
    step.finish()?;
    Ok(step)
}

/// The model's only input that is fed; defaults of others become constants.
fn single_input(graph: &mut Graph) -> Result<ValueId> {
    let defaults: BTreeSet<ValueId> = graph.initializers.keys().copied().collect();
    graph.inputs.retain(|id| !defaults.contains(id));
    match graph.inputs[..] {
        [input] => Ok(input),
        _ => Err(refuse(format!(
            "it has {} inputs, training needs one",
            graph.inputs.len()
        ))),
    }
}

fn fix_batch(graph: &mut Graph, samples: ValueId, batch_len: usize) -> Result<()> {
    let fact = graph.fact(samples).cloned();
    let name = graph.value_name(samples).to_owned();
    let mut fact = fact
        .filter(|fact| fact.dtype == DType::F32)
        .ok_or_else(|| refuse(format!("its input `{name}` is not of float32")))?;
    let Some(batch) = fact.shape.as_mut().and_then(|shape| shape.first_mut()) else {
        return Err(refuse(format!("its input `{name}` has no batch dimension")));
    };
    // A model exported with a fixed batch is trained with any: the first dimension is the batch.
    *batch = Dim::known(batch_len);
    if fact.fixed_shape().is_none() {
        return Err(refuse(format!(
            "its input `{name}` is {fact}: only the batch may be open"
        )));
    }
    graph.set_fact(samples, Some(fact));
    Ok(())
}

/// Replaces the graph's outputs by the loss and the scores (before softmax) that it is made of.
fn attach_loss(graph: &mut Graph, labels: ValueId, loss: LossConfig) -> Result<()> {
    let scores = scores(graph)?;
    let LossConfig::CrossEntropy(config) = loss;
    let mut builder = Builder::new(graph, "loss");
    let mean = ("reduction", Attr::from("mean"));
    let op = (sardonyx_ir::ONNX, "SoftmaxCrossEntropyLoss");
    let entropy = builder.node(op, &[Some(scores), Some(labels)], &[mean], 2)?;
    let mut total = entropy[0];
    if config.label_smoothing > 0.0 {
        let uniform = builder.op("ReduceMean", &[entropy[1]], &[("keepdims", Attr::Int(0))])?;
        let kept = builder.scalar_like(total, 1.0 - config.label_smoothing)?;
        let spread = builder.scalar_like(total, -config.label_smoothing)?;
        let kept = builder.op("Mul", &[total, kept], &[])?;
        let spread = builder.op("Mul", &[uniform, spread], &[])?;
        total = builder.op("Add", &[kept, spread], &[])?;
    }
    let patch = builder.finish();
    patch.apply(graph);
    graph.outputs = vec![total, scores];
    infer(graph)?;
    Ok(())
}

/// The scores of the classes, `[batch, classes]`: the first output, or what its softmax is of.
pub(super) fn scores(graph: &Graph) -> Result<ValueId> {
    let Some(&output) = graph.outputs.first() else {
        return Err(refuse("it has no output"));
    };
    let producers = graph.producers();
    let mut scores = output;
    if let Some(Producer::Node(id, 0)) = producers[output.index()] {
        let node = graph.node(id);
        let is_softmax = node.is("Softmax") || node.is("LogSoftmax");
        let axis = node.int("axis", -1).unwrap_or(0);
        if is_softmax && (axis == -1 || axis == 1) {
            scores = node.input(0).unwrap_or(output);
        }
    }
    let fact = graph.fact(scores);
    if fact.is_some_and(|fact| fact.rank() == Some(2) && fact.dtype == DType::F32) {
        return Ok(scores);
    }
    let shown = fact.map_or_else(|| "unknown".to_owned(), ToString::to_string);
    Err(refuse(format!(
        "its output `{}` is {shown}, a classifier's is a float per class; hint: the first output \
         must be [batch, classes]",
        graph.value_name(output)
    )))
}

/// Number of classes that a classifier, whose shapes are inferred, tells apart.
pub(crate) fn class_count(graph: &Graph) -> Result<usize> {
    let scores = scores(graph)?;
    let shape = graph.fact(scores).and_then(|fact| fact.shape.as_ref());
    let classes = shape.and_then(|shape| shape.last()?.value());
    classes.ok_or_else(|| refuse("the number of its classes is not known from its shapes"))
}

impl StepGraph {
    /// Adds gradients and updates of the parameters.
    fn update(&mut self, trained: &[(ValueId, StateEntry)], spec: &StepSpec) -> Result<()> {
        let wrt: Vec<ValueId> = trained.iter().map(|(id, _)| *id).collect();
        infer(&mut self.graph)?;
        let loss = self.graph.outputs[LOSS];
        let grads = differentiate(&mut self.graph, loss, &wrt)?;
        let known: Vec<ValueId> = grads.iter().copied().flatten().collect();
        let scale = match spec.clip_norm {
            Some(limit) if !known.is_empty() => Some(self.clip(&known, limit)?),
            _ => None,
        };
        for ((parameter, entry), grad) in trained.iter().zip(grads) {
            // A parameter that the loss does not depend on stays as it is.
            let Some(grad) = grad else { continue };
            self.update_one((*parameter, entry), [Some(grad), scale], spec.rule)?;
        }
        Ok(())
    }

    /// The factor that keeps the norm of all gradients together below `limit`. Gradients of packed
    /// weights have zeros where the panels are padded.
    fn clip(&mut self, grads: &[ValueId], limit: f64) -> Result<ValueId> {
        let limit = Tensor::scalar(limit);
        let limit = self.graph.add_initializer("sardonyx.clip_norm", limit);
        let inputs: Vec<_> = [limit].iter().chain(grads).copied().map(Some).collect();
        let mut builder = Builder::new(&self.graph, "clip");
        let made = builder.node((SARDONYX, "GradientClip"), &inputs, &[], 1)?;
        let patch = builder.finish();
        patch.apply(&mut self.graph);
        infer(&mut self.graph)?;
        Ok(made[0])
    }

    fn update_one(
        &mut self,
        (parameter, entry): (ValueId, &StateEntry),
        [grad, scale]: [Option<ValueId>; 2],
        rule: UpdateRule,
    ) -> Result<()> {
        let hyper = self.graph.inputs[HYPER];
        let fact = self.graph.fact(parameter).cloned();
        let shape = fact.and_then(|fact| fact.fixed_shape());
        let shape = shape.ok_or_else(|| refuse("a weight has no fixed shape"))?;
        let mut states = Vec::with_capacity(rule.states());
        for index in 0..rule.states() {
            let zeros = Tensor::zeros(DType::F32, shape.clone()).map_err(OpError::from)?;
            let name = format!("optimizer/{index}/{}", entry.name);
            states.push(self.graph.add_initializer(&name, zeros));
        }
        let mut inputs = vec![Some(parameter), grad, Some(hyper), scale];
        inputs.extend(states.iter().copied().map(Some));
        let mut builder = Builder::new(&self.graph, "update");
        builder.set_prefix(&format!("update/{}", entry.name));
        let rule_name = ("rule", Attr::from(rule.name()));
        let op = (SARDONYX, "OptimizerUpdate");
        let made = builder.node(op, &inputs, &[rule_name], 1 + states.len())?;
        let patch = builder.finish();
        patch.apply(&mut self.graph);
        let own = StateEntry {
            name: format!("model/{}", entry.name),
            ..entry.clone()
        };
        self.link(parameter, made[0], own);
        for (index, state) in states.into_iter().enumerate() {
            let name = format!("optimizer/{index}/{}", entry.name);
            self.link(
                state,
                made[1 + index],
                StateEntry {
                    name,
                    ..entry.clone()
                },
            );
        }
        Ok(())
    }

    /// Rewrites the whole step for the machine.
    fn finish(&mut self) -> Result<()> {
        // As graph outputs the new states are followed through all rewrites and are not dead code;
        // the caller does not ask for them.
        let asked = self.graph.outputs.len();
        let outputs = self.links.iter().map(|link| link.output);
        self.graph.outputs.extend(outputs);
        prepare_backward(&mut self.graph)?;
        trim_outputs(&mut self.graph);
        let outputs = self.graph.outputs.split_off(asked);
        for (link, output) in self.links.iter_mut().zip(outputs) {
            link.output = output;
        }
        infer(&mut self.graph)?;
        Ok(())
    }

    /// Carries `output` over to `input` of the next step.
    fn link(&mut self, input: ValueId, output: ValueId, entry: StateEntry) {
        self.links.push(StateLink { input, output });
        self.entries.push(entry);
    }
}
