//! From the sums of all parts to what a normalisation multiplies and adds.

use std::ops::Range;

use super::BatchShape;
use crate::{DType, Kernel, OperandSpec, Run};

/// Channels of one item.
const CHANNELS: usize = 256;

/// Joins the parts of [`super::BatchMoments`].
///
/// Operands (f32, one element per channel but for the first):
/// 0. `partials` (read);
/// 1. `scale` (read, optional: 1);
/// 2. `mean` (written);
/// 3. `inv_std` (written, optional): `1 / sqrt(variance + epsilon)`, the variance being the
///    population's;
/// 4. `slope` (written): `scale * inv_std`, so that the normalised value is
///    `(x - mean) slope + bias`;
/// 5. `running_mean` and 6. `running_variance` (read, optional);
/// 7. `next_mean` and 8. `next_variance` (written, optional, with their running value only; may be
///    that value's region): `running momentum + batch (1 - momentum)`.
#[derive(Debug)]
pub struct BatchFold {
    shape: BatchShape,
    epsilon: f64,
    momentum: f64,
    unbiased_running: bool,
}

impl BatchFold {
    /// Over the parts of `shape`, with running statistics as ONNX and Keras keep them: the
    /// population's variance.
    pub fn new(shape: BatchShape, epsilon: f64, momentum: f64) -> BatchFold {
        BatchFold {
            shape,
            epsilon,
            momentum,
            unbiased_running: false,
        }
    }

    /// Keeps the sample's variance (divided by one less than the rows), as PyTorch does.
    pub fn with_unbiased_running(self) -> BatchFold {
        BatchFold {
            unbiased_running: true,
            ..self
        }
    }

    /// # Safety
    /// The channel belongs to the item at hand.
    unsafe fn fold(&self, cx: &Run<'_>, channel: usize) {
        let BatchShape { rows, channels } = self.shape;
        let (mut before, mut mean, mut spread) = (0.0f64, 0.0f64, 0.0f64);
        for part in 0..self.shape.parts() {
            let count = self.shape.part_rows(part).len() as f64;
            let at = 2 * part * channels + channel;
            // SAFETY: the sums lie within the operand.
            let sums =
                unsafe { [at, at + channels].map(|at| f64::from(*cx.ptr::<f32>(0).add(at))) };
            let step = sums[0] - mean;
            let total = before + count;
            if count > 0.0 {
                mean += step * count / total;
                spread += sums[1] + step * step * before * count / total;
            }
            before = total;
        }
        // The mean of no rows is no number, as their variance is none.
        let mean = if rows == 0 { f64::NAN } else { mean };
        let variance = spread / rows as f64;
        let inv_std = (variance + self.epsilon).sqrt().recip();
        let kept = if self.unbiased_running {
            variance * rows as f64 / rows.saturating_sub(1).max(1) as f64
        } else {
            variance
        };
        // SAFETY: the operands have an element per channel, and this one is the item's own.
        unsafe {
            let scale = if cx.has(1) {
                *cx.ptr::<f32>(1).add(channel)
            } else {
                1.0
            };
            // A product of floats, which the gradient makes anew of what is kept: to the last bit.
            let slope = scale * inv_std as f32;
            for (operand, value) in [(2, mean as f32), (3, inv_std as f32), (4, slope)] {
                if cx.has(operand) {
                    *cx.ptr_mut::<f32>(operand).add(channel) = value;
                }
            }
            for (running, next, value) in [(5, 7, mean), (6, 8, kept)] {
                if cx.has(running) && cx.has(next) {
                    let old = f64::from(*cx.ptr::<f32>(running).add(channel)) * self.momentum;
                    let made = old + value * (1.0 - self.momentum);
                    *cx.ptr_mut::<f32>(next).add(channel) = made as f32;
                }
            }
        }
    }
}

impl Kernel for BatchFold {
    fn name(&self) -> &'static str {
        "batch_fold"
    }

    fn items(&self) -> usize {
        self.shape.channels.div_ceil(CHANNELS)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let channels = self.shape.channels;
        vec![
            OperandSpec::read("partials", DType::F32, self.shape.partials_len()),
            OperandSpec::read("scale", DType::F32, channels).or_absent(),
            OperandSpec::write("mean", DType::F32, channels),
            OperandSpec::write("inv_std", DType::F32, channels).or_absent(),
            OperandSpec::write("slope", DType::F32, channels),
            OperandSpec::read("running_mean", DType::F32, channels).or_absent(),
            OperandSpec::read("running_variance", DType::F32, channels).or_absent(),
            OperandSpec::write("next_mean", DType::F32, channels).or_absent(),
            OperandSpec::write("next_variance", DType::F32, channels).or_absent(),
        ]
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        matches!((read, written), (5, 7) | (6, 8))
    }

    fn flops(&self) -> u64 {
        8 * self.shape.partials_len() as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for channel in items.flat_map(|item| channels(self.shape, item)) {
            // SAFETY: the channel is one of this call's.
            unsafe { self.fold(cx, channel) };
        }
    }
}

/// Joins the parts of [`super::BatchGradSums`].
///
/// The gradient of the input is `slope dy + (x - mean) bend + shift`, where `slope` is that of
/// [`BatchFold`] and `dy` counts as 0 where a rectifier that followed was 0.
///
/// Operands (f32, one element per channel but for the first):
/// 0. `partials` (read);
/// 1. `inv_std` and 2. `slope` (read), as [`BatchFold`] made them;
/// 3. `d_scale` and 4. `d_bias` (written, optional);
/// 5. `bend` and 6. `shift` (written, optional).
#[derive(Debug)]
pub struct BatchGradFold {
    shape: BatchShape,
}

impl BatchGradFold {
    /// Over the parts of `shape`.
    pub fn new(shape: BatchShape) -> BatchGradFold {
        BatchGradFold { shape }
    }

    /// # Safety
    /// The channel belongs to the item at hand.
    unsafe fn fold(&self, cx: &Run<'_>, channel: usize) {
        let BatchShape { rows, channels } = self.shape;
        let mut sums = [0.0f64; 2];
        for (row, part) in (0..self.shape.parts()).flat_map(|part| [(0, part), (1, part)]) {
            let at = (2 * part + row) * channels + channel;
            // SAFETY: the sums lie within the operand.
            sums[row] += f64::from(unsafe { *cx.ptr::<f32>(0).add(at) });
        }
        // SAFETY: the operands have an element per channel, and this one is the item's own.
        unsafe {
            let [inv_std, slope] =
                [1, 2].map(|operand| f64::from(*cx.ptr::<f32>(operand).add(channel)));
            let d_scale = sums[1] * inv_std;
            let bend = -slope * inv_std * d_scale / rows as f64;
            let shift = -slope * sums[0] / rows as f64;
            for (operand, value) in [(3, d_scale), (4, sums[0]), (5, bend), (6, shift)] {
                if cx.has(operand) {
                    *cx.ptr_mut::<f32>(operand).add(channel) = value as f32;
                }
            }
        }
    }
}

impl Kernel for BatchGradFold {
    fn name(&self) -> &'static str {
        "batch_grad_fold"
    }

    fn items(&self) -> usize {
        self.shape.channels.div_ceil(CHANNELS)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let channels = self.shape.channels;
        let written = ["d_scale", "d_bias", "bend", "shift"];
        let written = written.map(|name| OperandSpec::write(name, DType::F32, channels));
        let mut operands = vec![
            OperandSpec::read("partials", DType::F32, self.shape.partials_len()),
            OperandSpec::read("inv_std", DType::F32, channels),
            OperandSpec::read("slope", DType::F32, channels),
        ];
        operands.extend(written.map(OperandSpec::or_absent));
        operands
    }

    fn flops(&self) -> u64 {
        2 * self.shape.partials_len() as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for channel in items.flat_map(|item| channels(self.shape, item)) {
            // SAFETY: the channel is one of this call's.
            unsafe { self.fold(cx, channel) };
        }
    }
}

fn channels(shape: BatchShape, item: usize) -> Range<usize> {
    item * CHANNELS..shape.channels.min((item + 1) * CHANNELS)
}
