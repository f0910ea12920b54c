//! Parameter updates: one sweep over gradient, parameter and state, in place.
//!
//! Hyper-parameters come from memory, so that a plan need not change with the learning rate or
//! the step. What depends on the step alone is worked out once per run in `f64`.

mod norm;
mod rules;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use norm::{ClipScale, GradientNorm};

use crate::{DType, Isa, Kernel, OperandSpec, Run};
use rules::{FACTORS, Pointers, Sweep};

/// Floats of one item.
const ITEM_LEN: usize = 8 * 1024;

/// Numbers of an update rule, as operand `hyper` holds them: `f64`, in the order of the fields.
///
/// Which fields a rule reads is said with [`Rule`]; all read `learning_rate`, `weight_decay`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyper {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Number of this step, from 1.
    pub step: f64,
    /// Multiple of the parameter that is added to its gradient (of the learning rate times it
    /// taken off the parameter, for rules with decoupled decay).
    pub weight_decay: f64,
    /// Keeps quotients finite.
    pub epsilon: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, or of their largest.
    pub beta2: f64,
    /// Momentum.
    pub momentum: f64,
    /// Part of the gradient that does not enter the momentum.
    pub dampening: f64,
    /// Decay of the learning rate per step, or of the momentum for [`Rule::NAdam`].
    pub schedule_decay: f64,
    /// For [`Rule::NAdam`]: product of [`Hyper::nadam_momentum`] of all steps up to this one.
    pub momentum_product: f64,
}

impl Hyper {
    /// Number of elements of operand `hyper`.
    pub const LEN: usize = 10;

    /// The elements of operand `hyper`.
    pub const fn to_array(self) -> [f64; Hyper::LEN] {
        [
            self.learning_rate,
            self.step,
            self.weight_decay,
            self.epsilon,
            self.beta1,
            self.beta2,
            self.momentum,
            self.dampening,
            self.schedule_decay,
            self.momentum_product,
        ]
    }

    /// What [`Hyper::to_array`] was made of.
    pub const fn from_array(values: [f64; Hyper::LEN]) -> Hyper {
        let [
            learning_rate,
            step,
            weight_decay,
            epsilon,
            beta1,
            beta2,
            momentum,
            dampening,
            schedule_decay,
            momentum_product,
        ] = values;
        Hyper {
            learning_rate,
            step,
            weight_decay,
            epsilon,
            beta1,
            beta2,
            momentum,
            dampening,
            schedule_decay,
            momentum_product,
        }
    }

    /// The momentum of NAdam at step `step`: `beta1 (1 - 0.96^(step schedule_decay) / 2)`.
    pub fn nadam_momentum(self, step: f64) -> f64 {
        self.beta1 * (1.0 - 0.5 * 0.96f64.powf(step * self.schedule_decay))
    }
}

/// The fields that PyTorch would start with, but for the learning rate.
impl Default for Hyper {
    fn default() -> Hyper {
        Hyper {
            learning_rate: 1e-3,
            step: 1.0,
            weight_decay: 0.0,
            epsilon: 1e-8,
            beta1: 0.9,
            beta2: 0.999,
            momentum: 0.0,
            dampening: 0.0,
            schedule_decay: 0.0,
            momentum_product: 1.0,
        }
    }
}

/// Where epsilon goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EpsilonPlace {
    /// As in PyTorch: added to the root, after the correction of its bias.
    #[default]
    OutsideRoot,
    /// As in Keras: added before the correction ([`Rule::Adam`]) or under the root.
    Keras,
}

/// An update rule; `g` is the gradient, `p` the parameter, `t` the step, `lr` the learning rate.
/// State starts at zero unless said otherwise. Formulas are those of PyTorch 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `p -= lr g`.
    Sgd,
    /// `m = momentum m + (1 - dampening) g` (`m = g` at the first step); `p -= lr m`. Reads
    /// `momentum`, `dampening`, `step`. State: `m`.
    Momentum {
        /// `p -= lr (g + momentum m)` in place of it.
        nesterov: bool,
        /// As in Keras the learning rate enters `m`, not what is made of it.
        scaled_velocity: bool,
    },
    /// Adam (Kingma and Ba, arXiv 1412.6980). Reads `beta1`, `beta2`, `epsilon`, `step`. State:
    /// mean, mean square, and with `amsgrad` the largest mean square.
    Adam {
        /// Decay of the weights apart from the gradient (AdamW, arXiv 1711.05101).
        decoupled: bool,
        /// The largest mean square so far in place of the latest (arXiv 1904.09237).
        amsgrad: bool,
        /// Where epsilon goes.
        epsilon: EpsilonPlace,
    },
    /// Adagrad. Reads `schedule_decay`, `epsilon`, `step`. State: sum of squares, which the
    /// caller may start above zero.
    Adagrad {
        /// Where epsilon goes.
        epsilon: EpsilonPlace,
    },
    /// RMSprop. Reads `beta2` (PyTorch's alpha), `epsilon`, `momentum`. State: mean square, then
    /// the mean where centred, then the velocity where it has momentum.
    RmsProp {
        /// Whether the mean square is taken about the mean.
        centred: bool,
        /// Whether there is momentum.
        momentum: bool,
        /// Where epsilon goes.
        epsilon: EpsilonPlace,
    },
    /// Adadelta (arXiv 1212.5701). Reads `beta2` (rho), `epsilon`. State: mean square of the
    /// gradient, of the change.
    Adadelta,
    /// Adamax (arXiv 1412.6980). Reads `beta1`, `beta2`, `epsilon`, `step`. State: mean, largest
    /// magnitude.
    Adamax {
        /// Keras adds epsilon to the largest magnitude, PyTorch to every one.
        epsilon: EpsilonPlace,
    },
    /// NAdam (Dozat 2016). Reads `beta1`, `beta2`, `epsilon`, `step`, `schedule_decay`,
    /// `momentum_product`. State: mean, mean square.
    NAdam,
    /// Lion (arXiv 2302.06675), with decoupled decay. Reads `beta1`, `beta2`. State: mean.
    Lion,
}

impl Rule {
    /// Floats of state per parameter.
    pub const fn states(self) -> usize {
        match self {
            Rule::Sgd => 0,
            Rule::Momentum { .. } | Rule::Adagrad { .. } | Rule::Lion => 1,
            Rule::Adam { amsgrad, .. } => 2 + amsgrad as usize,
            Rule::RmsProp {
                centred, momentum, ..
            } => 1 + centred as usize + momentum as usize,
            Rule::Adadelta | Rule::Adamax { .. } | Rule::NAdam => 2,
        }
    }
}

/// Updates parameters in place.
///
/// Operands: 0 `hyper` (read, f64, [`Hyper::LEN`]), 1 `gradient_scale` (read, one f32, optional:
/// gradients are multiplied by it first), 2 `gradient` (read, f32), 3 `parameter` (read and
/// written, f32), then the rule's states (read and written, f32), each of `len` elements.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    len: usize,
    sweep: Sweep,
}

impl Optimizer {
    /// The update of `len` parameters by `rule`.
    pub fn new(isa: Isa, rule: Rule, len: usize) -> Optimizer {
        let sweep = rules::sweep_for(rule, isa);
        Optimizer { rule, len, sweep }
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    fn range(&self, item: usize) -> Range<usize> {
        item * ITEM_LEN..self.len.min((item + 1) * ITEM_LEN)
    }

    fn factors(&self, cx: &Run<'_>) -> [f32; FACTORS] {
        // SAFETY: operand 0 has this many elements, and no one writes it; the same for the one
        // element of operand 1.
        let (values, scale) = unsafe {
            let values = *cx.ptr::<f64>(0).cast::<[f64; Hyper::LEN]>();
            (values, if cx.has(1) { *cx.ptr::<f32>(1) } else { 1.0 })
        };
        rules::factors(self.rule, Hyper::from_array(values), scale)
    }
}

impl Kernel for Optimizer {
    fn name(&self) -> &'static str {
        match self.rule {
            Rule::Sgd => "sgd",
            Rule::Momentum { .. } => "momentum",
            Rule::Adam { decoupled, .. } => match decoupled {
                true => "adamw",
                false => "adam",
            },
            Rule::Adagrad { .. } => "adagrad",
            Rule::RmsProp { .. } => "rmsprop",
            Rule::Adadelta => "adadelta",
            Rule::Adamax { .. } => "adamax",
            Rule::NAdam => "nadam",
            Rule::Lion => "lion",
        }
    }

    fn items(&self) -> usize {
        self.len.div_ceil(ITEM_LEN)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let mut operands = vec![
            OperandSpec::read("hyper", DType::F64, Hyper::LEN),
            OperandSpec::read("gradient_scale", DType::F32, 1).or_absent(),
            OperandSpec::read("gradient", DType::F32, self.len),
            OperandSpec::update("parameter", DType::F32, self.len),
        ];
        let state = OperandSpec::update("state", DType::F32, self.len);
        operands.extend((0..self.rule.states()).map(|_| state));
        operands
    }

    fn flops(&self) -> u64 {
        (4 + 4 * self.rule.states() as u64) * self.len as u64
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        (operand >= 2).then(|| self.range(item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let factors = self.factors(cx);
        for item in items {
            let range = self.range(item);
            let mut states = [std::ptr::null_mut(); 3];
            for (index, state) in states[..self.rule.states()].iter_mut().enumerate() {
                *state = cx.ptr_mut::<f32>(4 + index).wrapping_add(range.start);
            }
            let at = Pointers {
                gradient: cx.ptr::<f32>(2).wrapping_add(range.start),
                parameter: cx.ptr_mut::<f32>(3).wrapping_add(range.start),
                states,
            };
            // SAFETY: all operands have `len` floats, and items are disjoint ranges of them.
            unsafe { (self.sweep)(&at, &factors, range.len()) };
        }
    }
}
