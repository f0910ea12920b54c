//! `OptimizerUpdate`: one step of an optimizer as a node of the training graph. Inputs: the
//! parameter, its gradient, the hyper-parameters (`f64`, see [`Hyper`]), optionally a factor of
//! the gradient (of `GradientClip`), then the rule's state; outputs: the parameter and the state
//! after the step. Formulas are PyTorch's.

use sardonyx_ir::{Node, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&OptimizerUpdate];

#[derive(Debug)]
struct OptimizerUpdate;

const SCHEMA: Schema = Schema::own("OptimizerUpdate", 4).inputs(4, 6).outputs(3);

/// Input of the first state tensor.
pub const FIRST_STATE: usize = 4;

/// Elements of the hyper-parameters, in the order of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hyper {
    /// Learning rate of this step.
    LearningRate,
    /// Number of this step, from 1.
    Step,
    /// Weight decay.
    WeightDecay,
    /// Summand of denominators.
    Epsilon,
    /// Decay of the mean gradient.
    Beta1,
    /// Decay of the mean squared gradient.
    Beta2,
    /// Momentum.
    Momentum,
    /// Share of the gradient that does not enter the momentum.
    Dampening,
}

impl Hyper {
    /// Number of elements of the hyper-parameters.
    pub const LEN: usize = 10;
}

/// An update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateRule {
    /// `p -= lr g`.
    Sgd,
    /// Momentum, with Nesterov's where `nesterov`.
    Momentum {
        /// Whether the step looks ahead.
        nesterov: bool,
    },
    /// Adam, with decoupled weight decay where `decoupled` (AdamW).
    Adam {
        /// Whether weight decay acts on the parameter instead of the gradient.
        decoupled: bool,
    },
}

impl UpdateRule {
    /// The rule that `node`'s attribute `rule` names.
    ///
    /// # Errors
    /// When it names none.
    pub fn of(node: &Node) -> Result<UpdateRule> {
        let rules = [
            UpdateRule::Sgd,
            UpdateRule::Momentum { nesterov: false },
            UpdateRule::Momentum { nesterov: true },
            UpdateRule::Adam { decoupled: false },
            UpdateRule::Adam { decoupled: true },
        ];
        let name = node.text("rule", "")?;
        let rule = rules.into_iter().find(|rule| rule.name() == name);
        rule.ok_or_else(|| OpError::invalid(node, format!("unknown rule `{name}`")))
    }

    /// Its name in attribute `rule`.
    pub const fn name(self) -> &'static str {
        match self {
            UpdateRule::Sgd => "sgd",
            UpdateRule::Momentum { nesterov: false } => "momentum",
            UpdateRule::Momentum { nesterov: true } => "nesterov",
            UpdateRule::Adam { decoupled: false } => "adam",
            UpdateRule::Adam { decoupled: true } => "adamw",
        }
    }

    /// Tensors of state per parameter; all start at zero.
    pub const fn states(self) -> usize {
        match self {
            UpdateRule::Sgd => 0,
            UpdateRule::Momentum { .. } => 1,
            UpdateRule::Adam { .. } => 2,
        }
    }

    /// One element: the parameter, its gradient and the state, which is updated.
    fn step(self, h: &[f64], p: f64, g: f64, state: &mut [f64]) -> f64 {
        let at = |field: Hyper| h[field as usize];
        let (lr, t) = (at(Hyper::LearningRate), at(Hyper::Step));
        let decayed = g + at(Hyper::WeightDecay) * p;
        match (self, state) {
            (UpdateRule::Momentum { nesterov }, [m]) => {
                let fresh = (1.0 - at(Hyper::Dampening)) * decayed;
                *m = if t <= 1.0 {
                    decayed
                } else {
                    at(Hyper::Momentum) * *m + fresh
                };
                let step = if nesterov {
                    decayed + at(Hyper::Momentum) * *m
                } else {
                    *m
                };
                p - lr * step
            }
            (UpdateRule::Adam { decoupled }, [mean, square]) => {
                let (b1, b2) = (at(Hyper::Beta1), at(Hyper::Beta2));
                let g = if decoupled { g } else { decayed };
                let p = if decoupled {
                    p * (1.0 - lr * at(Hyper::WeightDecay))
                } else {
                    p
                };
                *mean = b1 * *mean + (1.0 - b1) * g;
                *square = b2 * *square + (1.0 - b2) * g * g;
                let root = (*square / (1.0 - b2.powf(t))).sqrt() + at(Hyper::Epsilon);
                p - lr / (1.0 - b1.powf(t)) * *mean / root
            }
            _ => p - lr * decayed,
        }
    }
}

impl Operator for OptimizerUpdate {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let rule = UpdateRule::of(cx.node)?;
        let parameter = cx.input(0)?.fact;
        let is_hyper = cx.input(2)?.fact.admits(DType::F64, &[Hyper::LEN]);
        if cx.input(1)?.fact != parameter || !is_hyper {
            return Err(cx.invalid("gradient or hyper-parameters do not fit the parameter"));
        }
        let states = (0..rule.states()).map(|i| cx.input(FIRST_STATE + i));
        for state in states {
            if state?.fact != parameter {
                return Err(cx.invalid("its state does not fit the parameter"));
            }
        }
        Ok(vec![parameter.clone().into(); 1 + rule.states()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let rule = UpdateRule::of(cx.node)?;
        let (parameter, hyper) = (cx.input(0)?, cx.input(2)?.to_f64()?);
        if hyper.len() != Hyper::LEN {
            return Err(cx.invalid("its hyper-parameters are not complete"));
        }
        let scale = cx.optional(3).map(Tensor::to_f64).transpose()?;
        let scale = scale
            .and_then(|scale| scale.first().copied())
            .unwrap_or(1.0);
        let mut values = parameter.to_f64()?;
        let gradient = cx.input(1)?.to_f64()?;
        let states = (0..rule.states()).map(|i| Ok(cx.input(FIRST_STATE + i)?.to_f64()?));
        let mut states = states.collect::<Result<Vec<Vec<f64>>>>()?;
        if gradient.len() != values.len() || states.iter().any(|s| s.len() != values.len()) {
            return Err(cx.invalid("gradient or state do not fit the parameter"));
        }
        let mut own = [0.0; 2];
        for (index, (p, g)) in values.iter_mut().zip(gradient).enumerate() {
            let own = &mut own[..states.len()];
            for (slot, state) in own.iter_mut().zip(&states) {
                *slot = state[index];
            }
            *p = rule.step(&hyper, *p, g * scale, own);
            for (slot, state) in own.iter().zip(&mut states) {
                state[index] = *slot;
            }
        }
        let tensor = |values| Tensor::from_f64(parameter.dtype(), parameter.shape(), values);
        Ok(std::iter::once(values)
            .chain(states)
            .map(tensor)
            .collect::<Result<_, _>>()?)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("steps of an optimizer are not followed"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        crate::element_flops(outputs, 4 * outputs.len() as u64)
    }

    fn examples(&self) -> Vec<Example> {
        let hyper = vec![0.1, 3.0, 0.01, 1e-8, 0.9, 0.999, 0.8, 0.1, 0.0, 1.0];
        let example = |rule: UpdateRule| {
            let example = Example::new(SCHEMA, rule.name()).attr("rule", rule.name());
            let example = example
                .uniform(&[2, 3], (-1.0, 1.0))
                .uniform(&[2, 3], (-1.0, 1.0));
            let mut example = example.values(&[Hyper::LEN], hyper.clone()).absent();
            for _ in 0..rule.states() {
                example = example.uniform(&[2, 3], (0.0, 1.0));
            }
            let reason = "steps of an optimizer are not followed";
            example.outputs(1 + rule.states()).no_grad(reason)
        };
        vec![
            example(UpdateRule::Sgd),
            example(UpdateRule::Momentum { nesterov: true }),
            example(UpdateRule::Adam { decoupled: false }),
            example(UpdateRule::Adam { decoupled: true }),
        ]
    }
}
