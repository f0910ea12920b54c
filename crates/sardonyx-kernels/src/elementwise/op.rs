//! The operations of elementwise programs: a row each, from which a loop per instruction set is
//! made.

use crate::Isa;
use crate::simd::{Simd, math, simd_entry};

/// Where an argument of a block is: a float per element, or one vector for all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arg {
    pub(crate) start: *const f32,
    /// All ones, or zero where the vector at `start` serves every element.
    pub(crate) mask: usize,
}

/// Floats of a vector that serves every element: the widest of any instruction set.
pub(crate) const SPLAT_LEN: usize = 16;

/// Most arguments of an operation.
pub(crate) const MAX_ARGS: usize = 3;

/// `to[..len] = op(args)`. An argument may start exactly at `to`; nothing else overlaps.
pub(crate) type Sweep = unsafe fn(*mut f32, &[Arg; MAX_ARGS], [f32; 2], usize);

/// Two sections of rows: of vectors, and of plain numbers for functions that vectors lack.
macro_rules! operations {
    (
        vector($s:ident) { $(
            $(#[$doc:meta])*
            $name:ident $(($($field:ident: $ty:ty),+))? [$($arg:ident),+] = $body:expr;
        )* }
        plain { $($(#[$pdoc:meta])* $pname:ident [$($parg:ident),+] = $pbody:expr;)* }
    ) => {
        /// An elementwise operation. Truth values are 1 and 0; every number but 0 is true.
        ///
        /// In the descriptions `x`, `y`, `z` are the arguments in order, `a` and `b` the
        /// parameters. Arguments of gradients are the function's argument `x` (or its value `y`
        /// where that is said) and the gradient `dy` of its value.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum Op {
            $($(#[$doc])* $name $(($($ty),+))?,)*
            $($(#[$pdoc])* $pname,)*
        }

        impl Op {
            /// Number of arguments.
            pub const fn arity(self) -> usize {
                match self {
                    $(Op::$name { .. } => [$(stringify!($arg)),+].len(),)*
                    $(Op::$pname => [$(stringify!($parg)),+].len(),)*
                }
            }

            /// Rough time of a step, in units of an addition.
            pub(crate) const fn cost(self) -> usize {
                match self {
                    $(Op::$pname => 64,)*
                    Op::Exp | Op::ExpM1 | Op::Log | Op::Log1P | Op::Tanh | Op::Sigmoid => 8,
                    Op::Erf | Op::Softplus | Op::Elu(_) | Op::Celu(_) | Op::Selu(..) => 12,
                    Op::Gelu | Op::GeluTanh | Op::Mish | Op::Swish(_) | Op::SwishGrad(_) => 12,
                    Op::EluGrad(_) | Op::CeluGrad(_) | Op::SeluGrad(..) | Op::ErfGrad => 10,
                    Op::GeluGrad | Op::GeluTanhGrad | Op::SoftplusGrad | Op::MishGrad => 20,
                    _ => 1,
                }
            }

            /// The parameters, as the loops take them.
            pub(crate) fn fields(self) -> [f32; 2] {
                let mut fields = [0.0; 2];
                match self {
                    $(Op::$name $(($($field),+))? => {
                        for (to, from) in fields.iter_mut().zip::<&[f32]>(&[$($($field),+)?]) {
                            *to = *from;
                        }
                    })*
                    $(Op::$pname => {})*
                }
                fields
            }

            /// The loop over a block.
            pub(crate) fn sweep(self, isa: Isa) -> Sweep {
                match self {
                    $(Op::$name { .. } => {
                        #[inline(always)]
                        fn lane<S: Simd>(
                            $s: S, $($arg: S::F,)+ $($($field: S::F,)+)?
                        ) -> S::F {
                            let _ = $s;
                            $body
                        }
                        #[inline(always)]
                        unsafe fn sweep<S: Simd>(
                            s: S, to: *mut f32, args: &[Arg; MAX_ARGS], fields: [f32; 2], len: usize
                        ) {
                            let [$($($field,)+)? ..] = fields;
                            $($(let $field = s.splat($field);)+)?
                            let [$($arg,)+ ..] = *args;
                            let whole = len - len % S::LANES;
                            // SAFETY: the caller vouches for `len` floats at `to` and at every
                            // argument, or for one vector where its mask is zero.
                            unsafe {
                                for at in (0..whole).step_by(S::LANES) {
                                    $(let $arg = s.load($arg.start.add(at & $arg.mask));)+
                                    s.store(to.add(at), lane(s, $($arg,)+ $($($field,)+)?));
                                }
                                let rest = len - whole;
                                if rest > 0 {
                                    $(
                                        let from = $arg.start.add(whole & $arg.mask);
                                        let $arg = s.load_first(rest, from);
                                    )+
                                    let made = lane(s, $($arg,)+ $($($field,)+)?);
                                    s.store_first(rest, to.add(whole), made);
                                }
                            }
                        }
                        simd_entry! {
                            fn entry(
                                to: *mut f32, args: &[Arg; MAX_ARGS], fields: [f32; 2], len: usize
                            ) = sweep
                        }
                        entry(isa)
                    })*
                    $(Op::$pname => {
                        unsafe fn sweep(
                            to: *mut f32, args: &[Arg; MAX_ARGS], _fields: [f32; 2], len: usize
                        ) {
                            let [$($parg,)+ ..] = *args;
                            for at in 0..len {
                                // SAFETY: as for vectors.
                                unsafe {
                                    $(let $parg: f32 = *$parg.start.add(at & $parg.mask);)+
                                    *to.add(at) = $pbody;
                                }
                            }
                        }
                        sweep
                    })*
                }
            }
        }
    };
}

operations! {
    vector(s) {
        /// `x`.
        Identity[x] = x;
        /// `-x`.
        Neg[x] = s.neg(x);
        /// Magnitude.
        Abs[x] = s.abs(x);
        /// -1, 0 or 1; NaN stays.
        Sign[x] = {
            let one = s.select(s.gt(x, zero(s)), s.splat(1.0), zero(s));
            let sign = s.select(s.lt(x, zero(s)), s.splat(-1.0), one);
            s.select(s.ne(x, x), x, sign)
        };
        /// Largest integer not above.
        Floor[x] = s.floor(x);
        /// Smallest integer not below.
        Ceil[x] = s.ceil(x);
        /// Nearest integer, ties to even.
        Round[x] = s.round(x);
        /// Square root.
        Sqrt[x] = s.sqrt(x);
        /// `1 / sqrt(x)`.
        Rsqrt[x] = s.div(s.splat(1.0), s.sqrt(x));
        /// `1 / x`.
        Reciprocal[x] = s.div(s.splat(1.0), x);
        /// `x * x`.
        Square[x] = s.mul(x, x);
        /// `a x + b`.
        Affine(a: f32, b: f32)[x] = s.fma(x, a, b);
        /// `e^x`.
        Exp[x] = math::exp(s, x);
        /// `e^x - 1`.
        ExpM1[x] = math::exp_m1(s, x);
        /// Natural logarithm.
        Log[x] = math::ln(s, x);
        /// `ln(1 + x)`.
        Log1P[x] = math::ln_1p(s, x);
        /// Hyperbolic tangent.
        Tanh[x] = math::tanh(s, x);
        /// `1 / (1 + e^-x)`.
        Sigmoid[x] = math::sigmoid(s, x);
        /// Error function.
        Erf[x] = math::erf(s, x);
        /// `ln(1 + e^x)`.
        Softplus[x] = math::softplus(s, x);
        /// `x / (1 + |x|)`.
        Softsign[x] = s.div(x, s.add(s.splat(1.0), s.abs(x)));
        /// `max(x, 0)`; NaN stays.
        Relu[x] = s.max(zero(s), x);
        /// `x`, or `a x` below 0.
        LeakyRelu(a: f32)[x] = s.select(s.lt(x, zero(s)), s.mul(a, x), x);
        /// `x` above `a`, else 0.
        ThresholdedRelu(a: f32)[x] = s.select(s.gt(x, a), x, zero(s));
        /// `min(max(x, a), b)`; NaN stays.
        Clip(a: f32, b: f32)[x] = s.min(b, s.max(a, x));
        /// `a (e^x - 1)` below 0, else `x`.
        Elu(a: f32)[x] = s.select(s.lt(x, zero(s)), s.mul(a, math::exp_m1(s, x)), x);
        /// `max(x, 0) + min(a (e^(x / a) - 1), 0)`.
        Celu(a: f32)[x] = {
            let curve = s.mul(a, math::exp_m1(s, s.div(x, a)));
            s.add(s.max(zero(s), x), s.min(zero(s), curve))
        };
        /// `b a (e^x - 1)` up to 0, else `b x`.
        Selu(a: f32, b: f32)[x] = {
            let curve = s.mul(a, math::exp_m1(s, x));
            s.mul(b, s.select(s.le(x, zero(s)), curve, x))
        };
        /// `min(max(a x + b, 0), 1)`.
        HardSigmoid(a: f32, b: f32)[x] = unit_clip(s, s.fma(x, a, b));
        /// `x min(max(x / 6 + 1/2, 0), 1)`.
        HardSwish[x] = s.mul(x, unit_clip(s, s.fma(x, s.splat(1.0 / 6.0), s.splat(0.5))));
        /// `x` sigmoid(`a x`).
        Swish(a: f32)[x] = s.mul(x, math::sigmoid(s, s.mul(a, x)));
        /// `x (1 + erf(x / sqrt 2)) / 2`.
        Gelu[x] = s.mul(x, normal_cdf(s, x));
        /// Gelu by `tanh`: `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
        GeluTanh[x] = s.mul(x, math::sigmoid(s, gelu_argument(s, x)));
        /// `x tanh(softplus(x))`.
        Mish[x] = {
            let n = mish_ratio(s, x);
            s.mul(x, s.div(n, s.add(n, s.splat(2.0))))
        };
        /// Whether `x` is 0.
        Not[x] = truth(s, s.eq(x, zero(s)));
        /// Whether it is NaN.
        IsNan[x] = truth(s, s.ne(x, x));
        /// Whether it is infinite of either sign.
        IsInf[x] = truth(s, s.eq(s.abs(x), s.splat(f32::INFINITY)));
        /// `x + y`.
        Add[x, y] = s.add(x, y);
        /// `x - y`.
        Sub[x, y] = s.sub(x, y);
        /// `x * y`.
        Mul[x, y] = s.mul(x, y);
        /// `x / y`.
        Div[x, y] = s.div(x, y);
        /// The larger; NaN where either is.
        Max[x, y] = s.select(s.ne(x, x), x, s.max(x, y));
        /// The smaller; NaN where either is.
        Min[x, y] = s.select(s.ne(x, x), x, s.min(x, y));
        /// `x`, or `y x` below 0.
        PRelu[x, y] = s.select(s.lt(x, zero(s)), s.mul(x, y), x);
        /// `x < y`.
        Less[x, y] = truth(s, s.lt(x, y));
        /// `x <= y`.
        LessOrEqual[x, y] = truth(s, s.le(x, y));
        /// `x > y`.
        Greater[x, y] = truth(s, s.gt(x, y));
        /// `x >= y`.
        GreaterOrEqual[x, y] = truth(s, s.ge(x, y));
        /// `x == y`.
        Equal[x, y] = truth(s, s.eq(x, y));
        /// `x != y`.
        NotEqual[x, y] = truth(s, s.ne(x, y));
        /// Both are true.
        And[x, y] = truth(s, s.and(s.ne(x, zero(s)), s.ne(y, zero(s))));
        /// One or both are true.
        Or[x, y] = truth(s, s.or(s.ne(x, zero(s)), s.ne(y, zero(s))));
        /// Exactly one is true.
        Xor[x, y] = s.select(
            s.ne(x, zero(s)),
            truth(s, s.eq(y, zero(s))),
            truth(s, s.ne(y, zero(s))),
        );
        /// `x y + z`.
        MulAdd[x, y, z] = s.fma(x, y, z);
        /// `y` where `x` is true, else `z`.
        Select[x, y, z] = s.select(s.ne(x, zero(s)), y, z);
        /// Of [`Op::Relu`]; `x` may be its value.
        ReluGrad[x, dy] = s.select(s.gt(x, zero(s)), dy, zero(s));
        /// Of [`Op::LeakyRelu`].
        LeakyReluGrad(a: f32)[x, dy] = s.select(s.lt(x, zero(s)), s.mul(a, dy), dy);
        /// Of [`Op::ThresholdedRelu`].
        ThresholdedReluGrad(a: f32)[x, dy] = s.select(s.gt(x, a), dy, zero(s));
        /// Of [`Op::Clip`]: `dy` strictly between the bounds.
        ClipGrad(a: f32, b: f32)[x, dy] =
            s.select(s.and(s.gt(x, a), s.lt(x, b)), dy, zero(s));
        /// Of [`Op::Elu`].
        EluGrad(a: f32)[x, dy] =
            s.select(s.lt(x, zero(s)), s.mul(dy, s.mul(a, math::exp(s, x))), dy);
        /// Of [`Op::Celu`].
        CeluGrad(a: f32)[x, dy] =
            s.select(s.gt(x, zero(s)), dy, s.mul(dy, math::exp(s, s.div(x, a))));
        /// Of [`Op::Selu`].
        SeluGrad(a: f32, b: f32)[x, dy] = {
            let curve = s.mul(a, math::exp(s, x));
            s.mul(s.mul(b, dy), s.select(s.le(x, zero(s)), curve, s.splat(1.0)))
        };
        /// Of [`Op::Sigmoid`], by its value `y`.
        SigmoidGrad[y, dy] = s.mul(dy, s.mul(y, s.sub(s.splat(1.0), y)));
        /// Of [`Op::Tanh`], by its value `y`.
        TanhGrad[y, dy] = s.mul(dy, s.sub(s.splat(1.0), s.mul(y, y)));
        /// Of [`Op::HardSigmoid`].
        HardSigmoidGrad(a: f32, b: f32)[x, dy] = {
            let line = s.fma(x, a, b);
            let within = s.and(s.ge(line, zero(s)), s.lt(line, s.splat(1.0)));
            s.select(within, s.mul(a, dy), zero(s))
        };
        /// Of [`Op::HardSwish`].
        HardSwishGrad[x, dy] = {
            let line = s.mul(dy, s.fma(x, s.splat(1.0 / 3.0), s.splat(0.5)));
            let below = s.select(s.le(x, s.splat(-3.0)), zero(s), line);
            s.select(s.ge(x, s.splat(3.0)), dy, below)
        };
        /// Of [`Op::Swish`].
        SwishGrad(a: f32)[x, dy] = {
            let scaled = s.mul(a, x);
            let sigmoid = math::sigmoid(s, scaled);
            let slope = s.fma(scaled, s.sub(s.splat(1.0), sigmoid), s.splat(1.0));
            s.mul(dy, s.mul(sigmoid, slope))
        };
        /// Of [`Op::Erf`].
        ErfGrad[x, dy] = {
            let density = math::exp(s, s.neg(s.mul(x, x)));
            s.mul(dy, s.mul(s.splat(std::f32::consts::FRAC_2_SQRT_PI), density))
        };
        /// Of [`Op::Gelu`].
        GeluGrad[x, dy] = {
            let density = math::exp(s, s.mul(s.splat(-0.5), s.mul(x, x)));
            let weighted = s.mul(s.splat(0.398_942_3), s.mul(x, density));
            s.mul(dy, s.add(normal_cdf(s, x), weighted))
        };
        /// Of [`Op::GeluTanh`].
        GeluTanhGrad[x, dy] = {
            let sigmoid = math::sigmoid(s, gelu_argument(s, x));
            let rest = s.sub(s.splat(1.0), sigmoid);
            let inner = s.fma(s.mul(x, x), s.splat(6.0 * 0.044_715), s.splat(2.0));
            let inner = s.mul(s.splat(SQRT_2_OVER_PI), inner);
            // A sigmoid of 0 or 1 ends the curve: the argument's growth no longer matters.
            let bend = s.mul(s.mul(sigmoid, rest), s.mul(x, inner));
            let flat = s.eq(s.mul(sigmoid, rest), zero(s));
            s.mul(dy, s.add(sigmoid, s.select(flat, zero(s), bend)))
        };
        /// Of [`Op::Softplus`].
        SoftplusGrad[x, dy] = s.mul(dy, math::sigmoid(s, x));
        /// Of [`Op::Softsign`].
        SoftsignGrad[x, dy] = {
            let sum = s.add(s.splat(1.0), s.abs(x));
            s.div(dy, s.mul(sum, sum))
        };
        /// Of [`Op::Mish`].
        MishGrad[x, dy] = {
            let n = mish_ratio(s, x);
            let sum = s.add(n, s.splat(2.0));
            let tanh = s.div(n, sum);
            let rest = s.div(s.mul(s.splat(4.0), s.add(n, s.splat(1.0))), s.mul(sum, sum));
            let bend = s.mul(s.mul(x, math::sigmoid(s, x)), rest);
            s.mul(dy, s.add(tanh, bend))
        };
    }
    plain {
        /// `x` to the power of `y`.
        Pow[x, y] = x.powf(y);
        /// Remainder of the division rounded towards zero; the sign of `x`.
        Fmod[x, y] = x % y;
        /// Remainder of the division rounded down; the sign of `y`.
        Mod[x, y] = {
            let rest = x % y;
            if rest != 0.0 && (rest < 0.0) != (y < 0.0) { rest + y } else { rest }
        };
        /// Sine.
        Sin[x] = x.sin();
        /// Cosine.
        Cos[x] = x.cos();
        /// Tangent.
        Tan[x] = x.tan();
        /// Arc sine.
        Asin[x] = x.asin();
        /// Arc cosine.
        Acos[x] = x.acos();
        /// Arc tangent.
        Atan[x] = x.atan();
        /// Hyperbolic sine.
        Sinh[x] = x.sinh();
        /// Hyperbolic cosine.
        Cosh[x] = x.cosh();
        /// Inverse hyperbolic sine.
        Asinh[x] = x.asinh();
        /// Inverse hyperbolic cosine.
        Acosh[x] = x.acosh();
        /// Inverse hyperbolic tangent.
        Atanh[x] = x.atanh();
    }
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;

#[inline(always)]
fn zero<S: Simd>(s: S) -> S::F {
    s.splat(0.0)
}

#[inline(always)]
fn truth<S: Simd>(s: S, mask: S::M) -> S::F {
    s.select(mask, s.splat(1.0), s.splat(0.0))
}

#[inline(always)]
fn unit_clip<S: Simd>(s: S, x: S::F) -> S::F {
    s.min(s.splat(1.0), s.max(s.splat(0.0), x))
}

/// `(1 + erf(x / sqrt 2)) / 2`.
#[inline(always)]
fn normal_cdf<S: Simd>(s: S, x: S::F) -> S::F {
    let scaled = s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let half = s.splat(0.5);
    s.fma(half, math::erf(s, scaled), half)
}

/// `2 sqrt(2 / pi) (x + 0.044715 x^3)`: the sigmoid of this is `(1 + tanh(this / 2)) / 2`.
#[inline(always)]
fn gelu_argument<S: Simd>(s: S, x: S::F) -> S::F {
    let factor = s.fma(s.mul(x, x), s.splat(0.044_715), s.splat(1.0));
    s.mul(s.splat(2.0 * SQRT_2_OVER_PI), s.mul(x, factor))
}

/// `n = e^x (e^x + 2)`, with which `tanh(softplus(x)) = n / (n + 2)`. Beyond the clamp the
/// quotient is 1 in any case.
#[inline(always)]
fn mish_ratio<S: Simd>(s: S, x: S::F) -> S::F {
    let power = math::exp(s, s.min(s.splat(20.0), x));
    s.mul(power, s.add(power, s.splat(2.0)))
}
