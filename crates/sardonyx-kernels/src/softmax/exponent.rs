//! The sums of exponentials that all softmaxes are made of.

use crate::simd::line::{each_piece, first_lanes, load, load_or, store};
use crate::simd::{Simd, math};

/// Largest element and the sum of `e^(x - largest)`, lane by lane or for the whole line.
#[derive(Clone, Copy)]
pub(super) struct Peak<T> {
    pub(super) largest: T,
    pub(super) sum: T,
}

/// Of one contiguous line, whose exponentials are left at `powers` if that is not null.
///
/// # Safety
/// `len` floats can be read at `x`, and written at `powers`, which is at `x` or elsewhere.
#[inline(always)]
pub(super) unsafe fn of_line<S: Simd>(
    s: S,
    x: *const f32,
    powers: *mut f32,
    len: usize,
) -> Peak<f32> {
    let mut largest = s.splat(f32::NEG_INFINITY);
    // SAFETY: every piece lies within the line.
    unsafe {
        each_piece!(len, |at, count| {
            // A NaN is passed over here; its exponential makes the sum NaN.
            largest = s.max(load_or(s, count, x.add(at), f32::NEG_INFINITY), largest);
        });
        let largest = s.largest(largest);
        let mut sum = s.splat(0.0);
        each_piece!(len, |at, count| {
            let value = load(s, count, x.add(at));
            let power = math::exp(s, s.sub(value, s.splat(largest)));
            if !powers.is_null() {
                store(s, count, powers.add(at), power);
            }
            if count == S::LANES {
                sum = s.add(sum, power);
            } else {
                sum = s.add(sum, s.select(first_lanes(s, count), power, s.splat(0.0)));
            }
        });
        Peak {
            largest,
            sum: s.sum(sum),
        }
    }
}

/// Of up to `LANES` lines side by side, whose elements are `stride` apart. Exponentials are left
/// at `powers` if that is not null.
///
/// # Safety
/// `lines` floats can be read at `x`, `x + stride` and so on, `len` times, and written in the same
/// places from `powers` on, which is at `x` or elsewhere.
#[inline(always)]
pub(super) unsafe fn of_lines<S: Simd>(
    s: S,
    x: *const f32,
    powers: *mut f32,
    [len, stride]: [usize; 2],
    lines: usize,
) -> Peak<S::F> {
    let mut largest = s.splat(f32::NEG_INFINITY);
    let mut sum = s.splat(0.0);
    // SAFETY: the caller vouches for the floats.
    unsafe {
        for at in (0..len).map(|at| at * stride) {
            largest = s.max(load(s, lines, x.add(at)), largest);
        }
        for at in (0..len).map(|at| at * stride) {
            let power = math::exp(s, s.sub(load(s, lines, x.add(at)), largest));
            if !powers.is_null() {
                store(s, lines, powers.add(at), power);
            }
            sum = s.add(sum, power);
        }
    }
    Peak { largest, sum }
}
