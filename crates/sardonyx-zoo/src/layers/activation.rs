use sardonyx_ir::{Attr, ValueId};
use sardonyx_tensor::Tensor;

use crate::{Layer, Result, Scope};

/// An activation function, applied to each element (or, for the softmaxes, along the last axis).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` above zero, this slope times `x` below.
    LeakyRelu(f32),
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` above zero, `alpha * (exp(x) - 1)` below.
    Elu(f32),
    /// `x * max(0, min(1, x / 6 + 1 / 2))`.
    HardSwish,
    /// `x` times the normal distribution function at `x`, exact.
    Gelu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Exponentials along the last axis, divided by their sum.
    Softmax,
    /// Logarithm of the softmax.
    LogSoftmax,
}

impl Layer for Activation {
    fn kind(&self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Relu6 => "relu6",
            Activation::Elu(_) => "elu",
            Activation::HardSwish => "hard_swish",
            Activation::Gelu => "gelu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Softmax => "softmax",
            Activation::LogSoftmax => "log_softmax",
        }
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let last = ("axis", Attr::Int(-1));
        let (op, attribute) = match *self {
            Activation::Relu6 => return emit_relu6(scope, input),
            Activation::Relu => ("Relu", None),
            Activation::LeakyRelu(slope) => ("LeakyRelu", Some(("alpha", Attr::Float(slope)))),
            Activation::Elu(alpha) => ("Elu", Some(("alpha", Attr::Float(alpha)))),
            Activation::HardSwish => ("HardSwish", None),
            Activation::Gelu => ("Gelu", None),
            Activation::Sigmoid => ("Sigmoid", None),
            Activation::Tanh => ("Tanh", None),
            Activation::Softmax => ("Softmax", Some(last)),
            Activation::LogSoftmax => ("LogSoftmax", Some(last)),
        };
        let attributes: Vec<_> = attribute.into_iter().collect();
        scope.node(("", op), &[Some(input)], &attributes)
    }
}

fn emit_relu6(scope: &mut Scope, input: ValueId) -> Result<ValueId> {
    let low = scope.constant("min", Tensor::scalar(0f32))?;
    let high = scope.constant("max", Tensor::scalar(6f32))?;
    scope.node(("", "Clip"), &[Some(input), Some(low), Some(high)], &[])
}
