//! Vector functions beyond the processor's own: exponentials, logarithms and what is made of them.
//!
//! Polynomials are those of the Cephes library (Moshier) for `exp` and `ln`, and Juffa's for `erf`.
//! Every function is within a few units in the last place of the true value, keeps NaN, and has
//! the right limits at infinities, zeros and subnormal numbers.
//!
//! Clamps are written `max(bound, x)`: that order lets a NaN in `x` through (see [`Simd::max`]).

use super::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// `ln 2` split so that a multiple of the first part by a small integer is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Polynomial in `x`, highest coefficient first (Horner).
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let mut sum = s.splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        sum = s.fma(sum, x, s.splat(coefficient));
    }
    sum
}

/// `x` with the sign of `sign`; `x` must not be negative.
#[inline(always)]
fn with_sign<S: Simd>(s: S, x: S::F, sign: S::F) -> S::F {
    let bit = s.i_and(s.to_bits(sign), s.i_splat(i32::MIN));
    s.from_bits(s.i_or(s.to_bits(x), bit))
}

/// `n` and `e^r - 1`, with `x = n ln 2 + r`, for `x` that has been clamped.
#[inline(always)]
fn reduced<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let n = s.round(s.mul(x, s.splat(LOG2_E)));
    let r = s.fma(n, s.splat(-LN_2_HIGH), x);
    let r = s.fma(n, s.splat(-LN_2_LOW), r);
    let tail = polynomial(
        s,
        r,
        [
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            5e-1,
        ],
    );
    (n, s.fma(tail, s.mul(r, r), r))
}

/// `2^n` for an integral `n` in -126..=127.
#[inline(always)]
fn power_of_two<S: Simd>(s: S, n: S::I) -> S::F {
    s.from_bits(s.i_shl::<23>(s.i_add(n, s.i_splat(127))))
}

/// `e^x`.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.min(s.splat(89.0), s.max(s.splat(-104.5), x));
    let (n, less_one) = reduced(s, x);
    // Two factors, so that results near overflow and among the subnormal come out right.
    let half = s.round(s.mul(n, s.splat(0.5)));
    let first = power_of_two(s, s.to_int(half));
    let second = power_of_two(s, s.to_int(s.sub(n, half)));
    s.mul(s.mul(s.add(less_one, s.splat(1.0)), first), second)
}

/// `e^x - 1`, accurate near zero.
#[inline(always)]
pub(crate) fn exp_m1<S: Simd>(s: S, x: S::F) -> S::F {
    let clamped = s.min(s.splat(89.0), s.max(s.splat(-18.0), x));
    let (n, less_one) = reduced(s, clamped);
    // Half the power, so that it fits where the result still does.
    let half_power = power_of_two(s, s.to_int(s.sub(n, s.splat(1.0))));
    let half = s.fma(half_power, less_one, s.sub(half_power, s.splat(0.5)));
    let made = s.add(half, half);
    // Keeps the sign of zero.
    s.select(s.eq(x, s.splat(0.0)), x, made)
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn ln<S: Simd>(s: S, x: S::F) -> S::F {
    /// Bits of the square root of one half: the mantissa is taken from there to the root of two.
    const ROOT_HALF: i32 = 0x3f35_04f3;
    const ONE: i32 = 0x3f80_0000;
    let subnormal = s.lt(x, s.splat(f32::MIN_POSITIVE));
    let scaled = s.select(subnormal, s.mul(x, s.splat(8_388_608.0)), x);
    let shift = s.select(subnormal, s.splat(-150.0), s.splat(-127.0));
    let bits = s.i_add(s.to_bits(scaled), s.i_splat(ONE - ROOT_HALF));
    let exponent = s.add(s.to_float(s.i_shr::<23>(bits)), shift);
    let mantissa = s.i_add(s.i_and(bits, s.i_splat(0x7f_ffff)), s.i_splat(ROOT_HALF));
    let f = s.sub(s.from_bits(mantissa), s.splat(1.0));
    let square = s.mul(f, f);
    let tail = polynomial(
        s,
        f,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_7e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let tail = s.mul(s.mul(tail, f), square);
    let tail = s.fma(exponent, s.splat(LN_2_LOW), tail);
    let tail = s.fma(square, s.splat(-0.5), tail);
    let made = s.fma(exponent, s.splat(LN_2_HIGH), s.add(f, tail));
    // Outside the positive finite numbers: infinity and NaN stay, zero and below have their own.
    let made = s.select(s.lt(x, s.splat(f32::INFINITY)), made, x);
    let made = s.select(s.lt(x, s.splat(0.0)), s.splat(f32::NAN), made);
    s.select(s.eq(x, s.splat(0.0)), s.splat(f32::NEG_INFINITY), made)
}

/// `ln(1 + x)`, accurate near zero.
#[inline(always)]
pub(crate) fn ln_1p<S: Simd>(s: S, x: S::F) -> S::F {
    let sum = s.add(x, s.splat(1.0));
    let rounded = s.sub(sum, s.splat(1.0));
    // What rounding `1 + x` lost is a factor of the result (Goldberg, "What every computer
    // scientist should know about floating-point arithmetic", theorem 4).
    let made = s.mul(ln(s, sum), s.div(x, rounded));
    let exact = s.or(s.eq(rounded, s.splat(0.0)), s.eq(x, s.splat(f32::INFINITY)));
    let made = s.select(exact, x, made);
    s.select(s.eq(x, s.splat(-1.0)), s.splat(f32::NEG_INFINITY), made)
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let twice = s.min(s.splat(20.0), s.abs(s.add(x, x)));
    let less_one = exp_m1(s, twice);
    with_sign(s, s.div(less_one, s.add(less_one, s.splat(2.0))), x)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let decay = exp(s, s.neg(s.abs(x)));
    let upper = s.div(s.splat(1.0), s.add(decay, s.splat(1.0)));
    s.select(s.lt(x, s.splat(0.0)), s.mul(decay, upper), upper)
}

/// Least exponent whose power is a normal number, as a clamp for what decays.
const DECAYED: f32 = -87.0;

/// Numerator and denominator of the logistic function, for who divides several at once: the
/// denominator is in 1..=2. Below -87 it stays at that point's value.
#[inline(always)]
pub(crate) fn sigmoid_ratio<S: Simd>(s: S, x: S::F) -> [S::F; 2] {
    let (n, less_one) = reduced(s, s.max(s.splat(DECAYED), s.neg(s.abs(x))));
    let power = power_of_two(s, s.to_int(n));
    let decay = s.fma(power, less_one, power);
    let one = s.splat(1.0);
    let numerator = s.select(s.lt(x, s.splat(0.0)), decay, one);
    [numerator, s.add(decay, one)]
}

/// Numerator and denominator of the hyperbolic tangent, for who divides several at once: the
/// denominator is in 1..=2.
#[inline(always)]
pub(crate) fn tanh_ratio<S: Simd>(s: S, x: S::F) -> [S::F; 2] {
    let twice = s.neg(s.abs(s.add(x, x)));
    let (n, less_one) = reduced(s, s.max(s.splat(DECAYED), twice));
    let power = power_of_two(s, s.to_int(n));
    let lost = s.fma(s.neg(power), less_one, s.sub(s.splat(1.0), power));
    [with_sign(s, lost, x), s.sub(s.splat(2.0), lost)]
}

/// The quotients of four ratios whose denominators are in 1..=2, by one division.
#[inline(always)]
pub(crate) fn four_quotients<S: Simd>(s: S, ratios: [[S::F; 2]; 4]) -> [S::F; 4] {
    let [[a, p], [b, q], [c, u], [d, v]] = ratios;
    let (first, second) = (s.mul(p, q), s.mul(u, v));
    let whole = s.div(s.splat(1.0), s.mul(first, second));
    let (first, second) = (s.mul(whole, second), s.mul(whole, first));
    [
        s.mul(a, s.mul(first, q)),
        s.mul(b, s.mul(first, p)),
        s.mul(c, s.mul(second, v)),
        s.mul(d, s.mul(second, u)),
    ]
}

/// `ln(1 + e^x)`.
#[inline(always)]
pub(crate) fn softplus<S: Simd>(s: S, x: S::F) -> S::F {
    let decay = exp(s, s.neg(s.abs(x)));
    s.add(s.max(s.splat(0.0), x), ln_1p(s, decay))
}

/// Error function.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    let (magnitude, square) = (s.abs(x), s.mul(x, x));
    let near = polynomial(
        s,
        square,
        [
            -5.967_617e-4,
            4.991_194_2e-3,
            -2.676_813_5e-2,
            1.128_199_25e-1,
            -3.761_253_4e-1,
            1.283_791_7e-1,
        ],
    );
    let near = s.fma(near, x, x);
    let t = s.min(s.splat(4.0), magnitude);
    let exponent = polynomial(
        s,
        t,
        [
            -1.728_534_7e-5,
            3.831_971_3e-4,
            -3.883_964_4e-3,
            2.425_462_2e-2,
            -1.067_778_8e-1,
            -6.348_467e-1,
            -1.287_175_1e-1,
        ],
    );
    let far = s.sub(s.splat(1.0), exp(s, s.fma(exponent, t, s.neg(t))));
    let far = with_sign(s, s.max(s.splat(0.0), far), x);
    s.select(s.gt(magnitude, s.splat(0.927_734_4)), far, near)
}

#[cfg(test)]
mod tests {
    use super::{erf, exp, exp_m1, ln, ln_1p, sigmoid, softplus, tanh};
    use super::{four_quotients, sigmoid_ratio, tanh_ratio};
    use crate::Isa;
    use crate::simd::{Simd, simd_entry};

    /// The logistic function, divided among others.
    #[inline(always)]
    fn shared_sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
        let [own, other] = [sigmoid_ratio(s, x), tanh_ratio(s, x)];
        four_quotients(s, [other, own, other, other])[1]
    }

    /// The hyperbolic tangent, divided among others.
    #[inline(always)]
    fn shared_tanh<S: Simd>(s: S, x: S::F) -> S::F {
        let [other, own] = [sigmoid_ratio(s, x), tanh_ratio(s, x)];
        four_quotients(s, [other, other, other, own])[3]
    }

    macro_rules! functions {
        ($($name:ident),*) => {$(
            mod $name {
                use super::*;

                #[inline(always)]
                unsafe fn sweep<S: Simd>(s: S, values: &mut [f32]) {
                    for chunk in values.chunks_exact_mut(S::LANES) {
                        // SAFETY: the chunk has `LANES` floats.
                        let x = unsafe { s.load(chunk.as_ptr()) };
                        let y = super::$name(s, x);
                        // SAFETY: as above.
                        unsafe { s.store(chunk.as_mut_ptr(), y) };
                    }
                }

                simd_entry! {
                    pub(super) fn entry(values: &mut [f32]) = sweep
                }
            }
        )*};
    }

    functions!(exp, exp_m1, ln, ln_1p, tanh, sigmoid, softplus, erf);
    functions!(shared_sigmoid, shared_tanh);

    type Entry = fn(Isa) -> unsafe fn(&mut [f32]);

    /// Error function by its series, every term of which is positive.
    fn erf_f64(x: f64) -> f64 {
        if x.is_nan() || x.abs() > 6.0 {
            return if x.is_nan() { x } else { x.signum() };
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
    }

    fn softplus_f64(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }

    /// Every number has its turn in exponent and mantissa; edges are added.
    fn arguments() -> Vec<f32> {
        let mut values: Vec<f32> = (0..1u32 << 17)
            .map(|i| f32::from_bits(i.wrapping_mul(0x8001).wrapping_add(i >> 3)))
            .collect();
        values.extend((0..60_000).map(|i| (i as f32 - 30_000.0) * 3.7e-3));
        values.extend((0..20_000).map(|i| (i as f32 - 10_000.0) * 1.1e-4));
        values.extend([
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ]);
        values.extend([88.7, 88.73, 89.5, -87.4, -103.9, -104.2, 0.927_734_4, 1e-45]);
        values.resize(values.len().next_multiple_of(16), 0.5);
        values
    }

    /// Distance from `truth` in units in the last place of its `f32`.
    fn ulps(made: f32, truth: f64) -> f64 {
        let nearest = truth as f32;
        if made == nearest || (made.is_nan() && nearest.is_nan()) {
            return 0.0;
        }
        if !made.is_finite() || !nearest.is_finite() {
            // Overflow may come one step early or late.
            let edge = made.abs().min(nearest.abs()) >= f32::MAX * 0.999_999;
            return if edge { 1.0 } else { f64::INFINITY };
        }
        let magnitude = nearest.abs().max(f32::MIN_POSITIVE);
        let unit = f64::from(f32::from_bits(magnitude.to_bits() + 1)) - f64::from(magnitude);
        (f64::from(made) - truth).abs() / unit
    }

    fn check(name: &str, entry: Entry, truth: fn(f64) -> f64, limit: f64) {
        let arguments = arguments();
        for isa in Isa::available() {
            let mut made = arguments.clone();
            // SAFETY: the length is a multiple of 16, hence of every number of lanes.
            unsafe { entry(isa)(&mut made) };
            for (&x, &y) in arguments.iter().zip(&made) {
                let expected = truth(f64::from(x));
                let error = ulps(y, expected);
                assert!(
                    error <= limit,
                    "{name}({x:e}) = {y:e}, not {expected:e}: {error} on {isa}"
                );
            }
        }
    }

    #[test]
    fn within_a_few_units_in_the_last_place() {
        check("exp", exp::entry, f64::exp, 2.0);
        check("exp_m1", exp_m1::entry, f64::exp_m1, 3.0);
        check("ln", ln::entry, f64::ln, 2.0);
        check("ln_1p", ln_1p::entry, f64::ln_1p, 3.0);
        check("tanh", tanh::entry, f64::tanh, 4.0);
        check("sigmoid", sigmoid::entry, |x| 1.0 / (1.0 + (-x).exp()), 3.0);
        let logistic = |x: f64| {
            let decay = if x < -87.0 { 87.0 } else { -x };
            1.0 / (1.0 + decay.exp())
        };

        check("shared_sigmoid", shared_sigmoid::entry, logistic, 5.0);
        check("shared_tanh", shared_tanh::entry, f64::tanh, 5.0);
        check("softplus", softplus::entry, softplus_f64, 3.0);
        check("erf", erf::entry, erf_f64, 3.0);
    }

    #[test]
    fn zero_keeps_its_sign() {
        let entries: [Entry; 5] = [
            exp_m1::entry,
            ln_1p::entry,
            tanh::entry,
            shared_tanh::entry,
            erf::entry,
        ];
        for isa in Isa::available() {
            for entry in entries {
                let mut values = [-0.0f32; 16];
                // SAFETY: the length is a multiple of the number of lanes.
                unsafe { entry(isa)(&mut values) };
                assert_eq!(values[0].to_bits(), (-0.0f32).to_bits());
            }
        }
    }
}
