//! Derivatives of the functions of one argument, as steps of a program.

use super::op::Op;
use super::program::{ElementwiseProgram, Reg, geometry};
use crate::Result;

/// Adds `f'(x) dy` for `op` as `f`, given its value `y` too.
pub(super) fn push(p: &mut ElementwiseProgram, op: Op, x: Reg, y: Reg, dy: Reg) -> Result<Reg> {
    if let Some((of_value, step)) = single(op) {
        return p.push(step, &[if of_value { y } else { x }, dy]);
    }
    match op {
        Op::Identity => p.push(Op::Identity, &[dy]),
        Op::Neg => p.push(Op::Neg, &[dy]),
        Op::Abs => {
            let sign = p.push(Op::Sign, &[x])?;
            p.push(Op::Mul, &[sign, dy])
        }
        Op::Sign | Op::Floor | Op::Ceil | Op::Round => Ok(p.constant(0.0)),
        Op::Affine(a, _) => p.push(Op::Affine(a, 0.0), &[dy]),
        Op::Square => {
            let twice = p.push(Op::Affine(2.0, 0.0), &[x])?;
            p.push(Op::Mul, &[twice, dy])
        }
        Op::Sqrt => scaled_quotient(p, 0.5, dy, y),
        Op::Rsqrt => {
            let quotient = p.push(Op::Div, &[y, x])?;
            let slope = p.push(Op::Affine(-0.5, 0.0), &[quotient])?;
            p.push(Op::Mul, &[slope, dy])
        }
        Op::Reciprocal => {
            let square = p.push(Op::Square, &[y])?;
            let product = p.push(Op::Mul, &[square, dy])?;
            p.push(Op::Neg, &[product])
        }
        Op::ExpM1 => {
            let power = p.push(Op::Affine(1.0, 1.0), &[y])?;
            p.push(Op::Mul, &[power, dy])
        }
        Op::Log => p.push(Op::Div, &[dy, x]),
        Op::Log1P => {
            let sum = p.push(Op::Affine(1.0, 1.0), &[x])?;
            p.push(Op::Div, &[dy, sum])
        }
        _ => trigonometric(p, op, x, y, dy),
    }
}

/// The functions whose gradient is one step, and whether its first argument is the value.
fn single(op: Op) -> Option<(bool, Op)> {
    Some(match op {
        Op::Relu => (false, Op::ReluGrad),
        Op::LeakyRelu(a) => (false, Op::LeakyReluGrad(a)),
        Op::ThresholdedRelu(a) => (false, Op::ThresholdedReluGrad(a)),
        Op::Clip(a, b) => (false, Op::ClipGrad(a, b)),
        Op::Elu(a) => (false, Op::EluGrad(a)),
        Op::Celu(a) => (false, Op::CeluGrad(a)),
        Op::Selu(a, b) => (false, Op::SeluGrad(a, b)),
        Op::Sigmoid => (true, Op::SigmoidGrad),
        Op::Tanh => (true, Op::TanhGrad),
        Op::HardSigmoid(a, b) => (false, Op::HardSigmoidGrad(a, b)),
        Op::HardSwish => (false, Op::HardSwishGrad),
        Op::Swish(a) => (false, Op::SwishGrad(a)),
        Op::Erf => (false, Op::ErfGrad),
        Op::Gelu => (false, Op::GeluGrad),
        Op::GeluTanh => (false, Op::GeluTanhGrad),
        Op::Softplus => (false, Op::SoftplusGrad),
        Op::Softsign => (false, Op::SoftsignGrad),
        Op::Mish => (false, Op::MishGrad),
        Op::Exp => (true, Op::Mul),
        _ => return None,
    })
}

fn scaled_quotient(p: &mut ElementwiseProgram, scale: f32, dy: Reg, by: Reg) -> Result<Reg> {
    let scaled = p.push(Op::Affine(scale, 0.0), &[dy])?;
    p.push(Op::Div, &[scaled, by])
}

fn trigonometric(p: &mut ElementwiseProgram, op: Op, x: Reg, y: Reg, dy: Reg) -> Result<Reg> {
    // Functions whose derivative is another function of x, or a power of 1 +- x^2.
    let (slope, negative) = match op {
        Op::Sin => (p.push(Op::Cos, &[x])?, false),
        Op::Cos => (p.push(Op::Sin, &[x])?, true),
        Op::Sinh => (p.push(Op::Cosh, &[x])?, false),
        Op::Cosh => (p.push(Op::Sinh, &[x])?, false),
        Op::Tan => {
            let square = p.push(Op::Square, &[y])?;
            (p.push(Op::Affine(1.0, 1.0), &[square])?, false)
        }
        Op::Asin => (power_of_square(p, x, [-1.0, 1.0], Op::Rsqrt)?, false),
        Op::Acos => (power_of_square(p, x, [-1.0, 1.0], Op::Rsqrt)?, true),
        Op::Atan => (power_of_square(p, x, [1.0, 1.0], Op::Reciprocal)?, false),
        Op::Asinh => (power_of_square(p, x, [1.0, 1.0], Op::Rsqrt)?, false),
        Op::Acosh => (power_of_square(p, x, [1.0, -1.0], Op::Rsqrt)?, false),
        Op::Atanh => (power_of_square(p, x, [-1.0, 1.0], Op::Reciprocal)?, false),
        _ => return Err(geometry(format!("{op:?} has no gradient"))),
    };
    let made = p.push(Op::Mul, &[slope, dy])?;
    if negative {
        p.push(Op::Neg, &[made])
    } else {
        Ok(made)
    }
}

/// `power(factors[0] x^2 + factors[1])`.
fn power_of_square(
    p: &mut ElementwiseProgram,
    x: Reg,
    factors: [f32; 2],
    power: Op,
) -> Result<Reg> {
    let square = p.push(Op::Square, &[x])?;
    let sum = p.push(Op::Affine(factors[0], factors[1]), &[square])?;
    p.push(power, &[sum])
}
