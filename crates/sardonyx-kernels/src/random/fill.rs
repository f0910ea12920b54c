//! Tensors of random numbers.

use std::ops::Range;

use sardonyx_tensor::Philox;

use crate::{DType, Kernel, OperandSpec, Run};

/// Floats of one item; whole blocks of random words.
const ITEM_LEN: usize = 4 * 1024;

/// What numbers are drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Even between two bounds, the upper one excluded.
    Uniform {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        deviation: f32,
    },
}

/// Writes random numbers: those that [`Philox::uniform`] and [`Philox::normal`] would give one
/// after the other.
///
/// Operands: 0 `step` (read, one i64, added to the stream; 0 where absent), 1 `y` (written, f32).
#[derive(Debug)]
pub struct RandomFill {
    distribution: Distribution,
    seed: u64,
    stream: u64,
    len: usize,
}

impl RandomFill {
    /// `len` numbers of stream `stream` of seed `seed`.
    pub fn new(distribution: Distribution, seed: u64, stream: u64, len: usize) -> RandomFill {
        RandomFill {
            distribution,
            seed,
            stream,
            len,
        }
    }

    fn range(&self, item: usize) -> Range<usize> {
        item * ITEM_LEN..self.len.min((item + 1) * ITEM_LEN)
    }

    fn number(&self, stream: u64, at: usize) -> f32 {
        let at = at as u64;
        match self.distribution {
            Distribution::Uniform { low, high } => {
                let word = Philox::block(self.seed, stream, at / 4)[at as usize % 4];
                let unit = (word >> 8) as f32 * (1.0 / 16_777_216.0);
                unit.mul_add(high - low, low)
            }
            Distribution::Normal { mean, deviation } => {
                let [a, b, c, d] = Philox::block(self.seed, stream, at).map(u64::from);
                let unit = |low: u64, high: u64| {
                    ((low | high << 32) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
                };
                let radius = (-2.0 * (1.0 - unit(a, b)).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * unit(c, d)).cos();
                normal.mul_add(f64::from(deviation), f64::from(mean)) as f32
            }
        }
    }
}

impl Kernel for RandomFill {
    fn name(&self) -> &'static str {
        "random_fill"
    }

    fn items(&self) -> usize {
        self.len.div_ceil(ITEM_LEN)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("step", DType::I64, 1).or_absent(),
            OperandSpec::write("y", DType::F32, self.len),
        ]
    }

    fn flops(&self) -> u64 {
        8 * self.len as u64
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        (operand == 1).then(|| self.range(item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        // SAFETY: the operand has one element, which no one writes.
        let step = unsafe { cx.slice::<i64>(0, 0..usize::from(cx.has(0))) };
        let step = step.first().copied().unwrap_or(0);
        let stream = self.stream.wrapping_add(step.cast_unsigned());
        for at in items.flat_map(|item| self.range(item)) {
            // SAFETY: the element is this call's own.
            unsafe { *cx.ptr_mut::<f32>(1).add(at) = self.number(stream, at) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Buffer, Rig};

    #[test]
    fn numbers_are_those_of_the_generator() {
        for len in [0, 5, ITEM_LEN + 3] {
            let operands = [Buffer::of(&[3i64]), Buffer::unset(len)];
            let uniform = Distribution::Uniform {
                low: -1.0,
                high: 3.0,
            };
            let mut random = Philox::new(9, 15);
            let made = Rig::new(RandomFill::new(uniform, 9, 12, len)).run(&operands);
            let expected: Vec<f32> = (0..len)
                .map(|_| random.uniform().mul_add(4.0, -1.0))
                .collect();
            assert_eq!(made[1].to_f32s(), expected);
            let normal = Distribution::Normal {
                mean: 0.5,
                deviation: 2.0,
            };
            let mut random = Philox::new(9, 15);
            let made = Rig::new(RandomFill::new(normal, 9, 12, len)).run(&operands);
            let expected: Vec<f32> = (0..len)
                .map(|_| random.normal().mul_add(2.0, 0.5) as f32)
                .collect();
            assert_eq!(made[1].to_f32s(), expected);
        }
    }
}
