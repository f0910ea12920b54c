//! The yardstick: as many multiply-adds as the processor can do, and nothing else.

use std::ops::Range;

use crate::simd::{Simd, simd_entry};
use crate::{Isa, Kernel, OperandSpec, Run};

/// Independent sums: more than latency times throughput of any multiply-adder.
const SUMS: usize = 12;

/// Steps of one item.
const STEPS: usize = 20_000;

/// Does nothing but fused multiply-adds in registers: `flops` over the time of a run is the
/// processor's peak, which other kernels are measured against. It has no operands.
#[derive(Debug)]
pub struct FmaProbe {
    items: usize,
    lanes: usize,
    body: unsafe fn(steps: usize) -> f32,
}

simd_entry! {
    /// `SUMS * steps` multiply-adds of vectors; needs nothing.
    fn probe_for(steps: usize) -> f32 = probe
}

impl FmaProbe {
    /// The kernel with `items` items of some hundred thousand multiply-adds of vectors.
    pub fn new(isa: Isa, items: usize) -> FmaProbe {
        let lanes = if isa == Isa::Avx512 { 16 } else { 8 };
        FmaProbe {
            items,
            lanes,
            body: probe_for(isa),
        }
    }
}

impl Kernel for FmaProbe {
    fn name(&self) -> &'static str {
        "fma_probe"
    }

    fn items(&self) -> usize {
        self.items
    }

    fn operands(&self) -> Vec<OperandSpec> {
        Vec::new()
    }

    fn flops(&self) -> u64 {
        2 * (self.items * SUMS * STEPS * self.lanes) as u64
    }

    fn run(&self, _cx: &Run<'_>, items: Range<usize>) {
        for _ in items {
            // SAFETY: the body touches no memory.
            std::hint::black_box(unsafe { (self.body)(std::hint::black_box(STEPS)) });
        }
    }
}

#[inline(always)]
fn probe<S: Simd>(s: S, steps: usize) -> f32 {
    let (factor, summand) = (s.splat(0.999), s.splat(0.001));
    // Different starts: equal sums, or sums at rest, would be computed only once.
    let mut sums = [s.splat(0.0); SUMS];
    for (index, sum) in sums.iter_mut().enumerate() {
        *sum = s.splat(index as f32);
    }
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = s.fma(*sum, factor, summand);
        }
    }
    sums.iter().fold(0.0, |total, sum| total + s.sum(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    #[test]
    fn it_sums_what_it_says() {
        for isa in Isa::available() {
            let kernel = FmaProbe::new(isa, 2);
            // SAFETY: the body touches no memory.
            let total = unsafe { probe_for(isa)(2) };
            let starts = (0..SUMS).map(|start| start as f32);
            let expected: f32 = starts.map(|x| (x * 0.999 + 0.001) * 0.999 + 0.001).sum();
            assert!((total / (expected * kernel.lanes as f32) - 1.0).abs() < 1e-5);
            assert_eq!(kernel.flops(), 2 * 2 * (SUMS * STEPS * kernel.lanes) as u64);
            assert!(Rig::new(kernel).run(&[]).is_empty());
        }
    }
}
