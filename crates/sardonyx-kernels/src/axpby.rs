//! `y = alpha * x + beta * y`: accumulation of gradients, and the pattern every kernel follows.

use std::ops::Range;

use crate::simd::{Simd, simd_entry};
use crate::{DType, Isa, Kernel, OperandSpec, Run};

/// Floats of one item: enough work to outweigh handing it out.
const ITEM_LEN: usize = 16 * 1024;

/// `y = alpha * x + beta * y` over `len` floats. With `beta` 0 the old `y` is not read.
///
/// Operands: 0 `x` (read, `len` f32), 1 `y` (read and written, `len` f32).
#[derive(Debug)]
pub struct Axpby {
    len: usize,
    alpha: f32,
    beta: f32,
    body: unsafe fn(*const f32, *mut f32, usize, [f32; 2]),
}

simd_entry! {
    /// `y[..len] = factors[0] * x[..len] + factors[1] * y[..len]`; both have `len` floats.
    fn axpby_for(x: *const f32, y: *mut f32, len: usize, factors: [f32; 2]) = axpby
}

impl Axpby {
    /// The kernel for `len` floats.
    pub fn new(isa: Isa, len: usize, alpha: f32, beta: f32) -> Axpby {
        Axpby {
            len,
            alpha,
            beta,
            body: axpby_for(isa),
        }
    }

    fn range(&self, item: usize) -> Range<usize> {
        item * ITEM_LEN..self.len.min((item + 1) * ITEM_LEN)
    }
}

impl Kernel for Axpby {
    fn name(&self) -> &'static str {
        "axpby"
    }

    fn items(&self) -> usize {
        self.len.div_ceil(ITEM_LEN)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", DType::F32, self.len),
            OperandSpec::update("y", DType::F32, self.len),
        ]
    }

    fn flops(&self) -> u64 {
        3 * self.len as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (0, 1)
    }

    fn part(&self, _operand: usize, item: usize) -> Option<Range<usize>> {
        Some(self.range(item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            let range = self.range(item);
            let (x, y) = (cx.ptr::<f32>(0), cx.ptr_mut::<f32>(1));
            // SAFETY: both operands have `len` floats, and items are disjoint ranges of them.
            unsafe {
                (self.body)(
                    x.add(range.start),
                    y.add(range.start),
                    range.len(),
                    [self.alpha, self.beta],
                );
            }
        }
    }
}

#[inline(always)]
unsafe fn axpby<S: Simd>(s: S, x: *const f32, y: *mut f32, len: usize, factors: [f32; 2]) {
    let (alpha, beta) = (s.splat(factors[0]), s.splat(factors[1]));
    let keep = factors[1] != 0.0;
    let whole = len - len % S::LANES;
    // SAFETY: every access is below `len`, which both pointers have.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            let scaled = s.mul(alpha, s.load(x.add(at)));
            let sum = if keep {
                s.fma(beta, s.load(y.add(at)), scaled)
            } else {
                scaled
            };
            s.store(y.add(at), sum);
        }
        let rest = len - whole;
        let scaled = s.mul(alpha, s.load_first(rest, x.add(whole)));
        let old = s.load_first(if keep { rest } else { 0 }, y.add(whole));
        s.store_first(rest, y.add(whole), s.fma(beta, old, scaled));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Buffer, Rig};

    #[test]
    fn agrees_with_plain_rust() {
        for isa in Isa::available() {
            for len in [0, 1, 7, 8, 31, 33, ITEM_LEN, 2 * ITEM_LEN + 5] {
                let (x, y) = (Rig::extremes(len, 1), Rig::extremes(len, 2));
                let operands = [Buffer::f32s(&x), Buffer::f32s(&y)];
                let made = Rig::new(Axpby::new(isa, len, 0.5, 2.0)).run(&operands);
                let expected: Vec<f32> = x
                    .iter()
                    .zip(&y)
                    .map(|(x, y)| 2.0f32.mul_add(*y, 0.5 * x))
                    .collect();
                Rig::assert_close(&made[1].to_f32s(), &expected, 1e-6);
            }
        }
    }

    #[test]
    fn zero_beta_ignores_the_old_values() {
        for isa in Isa::available() {
            let mut x = Rig::extremes(19, 3);
            x.retain(|value| !value.is_nan());
            x.resize(19, 0.0);
            let operands = [Buffer::f32s(&x), Buffer::f32s(&[f32::NAN; 19])];
            let made = Rig::new(Axpby::new(isa, 19, 1.0, 0.0)).run(&operands);
            assert_eq!(made[1].to_f32s(), x);
        }
    }
}
