//! What happens to a tile of sums while it is still in registers.

use crate::simd::Simd;
use crate::{Access, OperandSpec, Run};

/// A function applied to every element of a product before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
    /// `min(max(x, low), high)`; NaN stays NaN.
    Clip {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// `x` where it is at least 0, `slope * x` elsewhere.
    LeakyRelu {
        /// Factor of negative elements.
        slope: f32,
    },
    /// `min(max(slope * x + offset, 0), 1)`.
    HardSigmoid {
        /// Factor.
        slope: f32,
        /// Summand.
        offset: f32,
    },
    /// `x * min(max(x / 6 + 1/2, 0), 1)`.
    HardSwish,
}

impl Activation {
    /// The bounds that make up the whole function, where it is a clip or nothing.
    pub(crate) fn clip(self) -> Option<Option<(f32, f32)>> {
        match self {
            Activation::None => Some(None),
            Activation::Relu => Some(Some((0.0, f32::INFINITY))),
            Activation::Clip { low, high } => Some(Some((low, high))),
            _ => None,
        }
    }

    /// The function on a vector.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        let zero = s.splat(0.0);
        match self {
            Activation::None => x,
            Activation::Relu => s.max(zero, x),
            Activation::Clip { low, high } => s.min(s.splat(high), s.max(s.splat(low), x)),
            Activation::LeakyRelu { slope } => s.select(s.lt(x, zero), s.mul(x, s.splat(slope)), x),
            Activation::HardSigmoid { slope, offset } => {
                let line = s.fma(x, s.splat(slope), s.splat(offset));
                s.min(s.splat(1.0), s.max(zero, line))
            }
            Activation::HardSwish => {
                let line = s.fma(x, s.splat(1.0 / 6.0), s.splat(0.5));
                s.mul(x, s.min(s.splat(1.0), s.max(zero, line)))
            }
        }
    }

    /// The function on one number, as the kernels compute it up to rounding.
    pub fn of(self, x: f32) -> f32 {
        // NaN must come through: `f32::max` would drop it.
        let at_least = |x: f32, low: f32| if low > x { low } else { x };
        let at_most = |x: f32, high: f32| if high < x { high } else { x };
        match self {
            Activation::None => x,
            Activation::Relu => at_least(x, 0.0),
            Activation::Clip { low, high } => at_most(at_least(x, low), high),
            Activation::LeakyRelu { slope } => {
                if x < 0.0 {
                    slope * x
                } else {
                    x
                }
            }
            Activation::HardSigmoid { slope, offset } => {
                at_most(at_least(x * slope + offset, 0.0), 1.0)
            }
            Activation::HardSwish => x * at_most(at_least(x / 6.0 + 0.5, 0.0), 1.0),
        }
    }
}

/// What a product's sums start from, besides the bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addend {
    /// Zero.
    #[default]
    Nothing,
    /// The operand `residual`.
    Residual,
    /// What the output holds.
    Output,
}

impl Addend {
    /// Where the addend lies; null for none.
    pub(crate) fn pointer(self, cx: &Run<'_>, residual: usize, output: usize) -> *const f32 {
        match self {
            Addend::Nothing => std::ptr::null(),
            Addend::Residual => cx.ptr(residual),
            Addend::Output => cx.ptr(output),
        }
    }

    /// The output's specification: updated where the sums start from it.
    pub(crate) fn output(self, spec: OperandSpec) -> OperandSpec {
        let reads = self == Addend::Output;
        OperandSpec {
            access: if reads {
                Access::ReadWrite
            } else {
                Access::Write
            },
            ..spec
        }
    }
}

/// The derivative of a piecewise linear activation, read off its output `y`: the gradient passes
/// where `low < y < high` and is multiplied by `slope` elsewhere. ReLU is `(0, inf, 0)`, a clip
/// `(low, high, 0)`, leaky ReLU with a positive slope `(0, inf, slope)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// Lower bound of the outputs that pass.
    pub low: f32,
    /// Upper bound of the outputs that pass.
    pub high: f32,
    /// Factor elsewhere.
    pub slope: f32,
}

impl Gate {
    /// The derivative of ReLU.
    pub const RELU: Gate = Gate {
        low: 0.0,
        high: f32::INFINITY,
        slope: 0.0,
    };

    /// The gate of an activation, where its derivative has this form.
    pub fn of(activation: Activation) -> Option<Gate> {
        match activation {
            Activation::Relu => Some(Gate::RELU),
            Activation::Clip { low, high } => Some(Gate {
                low,
                high,
                slope: 0.0,
            }),
            Activation::LeakyRelu { slope } if slope > 0.0 => Some(Gate {
                low: 0.0,
                high: f32::INFINITY,
                slope,
            }),
            _ => None,
        }
    }

    /// The gradient before the activation from the one behind it.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, gradient: S::F, output: S::F) -> S::F {
        let open = s.and(
            s.gt(output, s.splat(self.low)),
            s.lt(output, s.splat(self.high)),
        );
        s.select(open, gradient, s.mul(gradient, s.splat(self.slope)))
    }
}
