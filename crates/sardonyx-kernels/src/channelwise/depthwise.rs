//! Depthwise convolution and its input gradient.

use std::ops::Range;

use super::rows::{Cells, Rows, WindowShape};
use crate::product::{Activation, Addend, Gate};
use crate::simd::{Simd, simd_entry};
use crate::{DType, Isa, Kernel, OperandSpec, Result, Run};

/// Outputs that share each load of a weight.
const OUTPUTS: usize = 4;

/// `y = activation(depthwise convolution(x) + bias)`: each channel with its own window of weights.
///
/// Operands: 0 `x` (read, `[batch, height, width, channels]`), 1 `weights` (read, `[taps,
/// channels]`: ONNX's `[channels, 1, KH, KW]` transposed), 2 `bias` (optional, read,
/// `[channels]`), 3 `y` (written, `[batch, out, channels]`). All f32.
#[derive(Debug)]
pub struct DepthwiseConv {
    shape: WindowShape,
    activation: Activation,
    rows: Rows,
    body: Body,
}

/// `dx = gate(transpose of the depthwise convolution(dy) + addend)`.
///
/// Operands: 0 `dy` (read, `[batch, out, channels]`), 1 `weights` (read, `[taps, channels]`, as in
/// the forward convolution), 2 `residual` (read, as dx, may be dx's own region; needed for
/// [`Addend::Residual`]), 3 `gate` (read, as dx; needed with a gate: the output of the activation
/// that made the convolution's input), 4 `dx` (written, or updated for [`Addend::Output`];
/// `[batch, height, width, channels]`). All f32.
#[derive(Debug)]
pub struct DepthwiseConvInputGradient {
    shape: WindowShape,
    addend: Addend,
    gate: Option<Gate>,
    rows: Rows,
    body: Body,
}

type Body = unsafe fn(&Job, &Cells<'_>);

/// # Safety
/// For the function below: at every output's place plus every tap, `channels` floats can be read
/// from `source`; as many from `bias` and from each kernel position's row of `weights`; as many
/// at every output from `add` and the gate's output, and written to `target`.
#[derive(Debug, Clone, Copy)]
struct Job {
    channels: usize,
    source: *const f32,
    weights: *const f32,
    /// Null for none.
    bias: *const f32,
    /// Null for none.
    add: *const f32,
    gate: Option<(Gate, *const f32)>,
    activation: Activation,
    target: *mut f32,
}

simd_entry! {
    /// Computes neighbouring outputs.
    fn body_for(job: &Job, cells: &Cells<'_>) = body
}

impl DepthwiseConv {
    /// The kernel for `shape`; items are blocks of `images_per_item` images where that is given.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] for sizes that no window has.
    pub fn new(
        isa: Isa,
        shape: WindowShape,
        activation: Activation,
        images_per_item: Option<usize>,
    ) -> Result<DepthwiseConv> {
        shape.check("depthwise_conv")?;
        let rows = Rows::forward(&shape, images_per_item.map(|images| images.max(1)));
        Ok(DepthwiseConv {
            shape,
            activation,
            rows,
            body: body_for(isa),
        })
    }
}

impl Kernel for DepthwiseConv {
    fn name(&self) -> &'static str {
        "depthwise_conv"
    }

    fn items(&self) -> usize {
        self.rows.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let shape = &self.shape;
        vec![
            OperandSpec::read("x", DType::F32, shape.in_len()),
            OperandSpec::read("weights", DType::F32, shape.taps() * shape.channels),
            OperandSpec::read("bias", DType::F32, shape.channels).or_absent(),
            OperandSpec::write("y", DType::F32, shape.out_len()),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        match operand {
            0 => self.rows.source_part(item),
            3 => self.rows.target_part(item),
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let job = Job {
            channels: self.shape.channels,
            source: cx.ptr(0),
            weights: cx.ptr(1),
            bias: cx.ptr(2),
            add: std::ptr::null(),
            gate: None,
            activation: self.activation,
            target: cx.ptr_mut(3),
        };
        for item in items {
            // SAFETY: the rows stay within the images, whose sizes the program checked.
            self.rows
                .each(item, |cells| unsafe { (self.body)(&job, cells) });
        }
    }
}

impl DepthwiseConvInputGradient {
    /// The kernel for the gradient of a convolution of `shape`; items are blocks of
    /// `images_per_item` images where that is given.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] for sizes that no window has.
    pub fn new(
        isa: Isa,
        shape: WindowShape,
        addend: Addend,
        gate: Option<Gate>,
        images_per_item: Option<usize>,
    ) -> Result<DepthwiseConvInputGradient> {
        shape.check("depthwise_conv_input_gradient")?;
        let rows = Rows::gradient(&shape, images_per_item.map(|images| images.max(1)));
        Ok(DepthwiseConvInputGradient {
            shape,
            addend,
            gate,
            rows,
            body: body_for(isa),
        })
    }
}

impl Kernel for DepthwiseConvInputGradient {
    fn name(&self) -> &'static str {
        "depthwise_conv_input_gradient"
    }

    fn items(&self) -> usize {
        self.rows.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (shape, dx) = (&self.shape, self.shape.in_len());
        let residual = OperandSpec::read("residual", DType::F32, dx);
        vec![
            OperandSpec::read("dy", DType::F32, shape.out_len()),
            OperandSpec::read("weights", DType::F32, shape.taps() * shape.channels),
            residual.needed_if(self.addend == Addend::Residual),
            OperandSpec::read("gate", DType::F32, dx).needed_if(self.gate.is_some()),
            self.addend.output(OperandSpec::write("dx", DType::F32, dx)),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (2, 4)
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        match operand {
            0 => self.rows.source_part(item),
            2..=4 => self.rows.target_part(item),
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let job = Job {
            channels: self.shape.channels,
            source: cx.ptr(0),
            weights: cx.ptr(1),
            bias: std::ptr::null(),
            add: self.addend.pointer(cx, 2, 4),
            gate: self.gate.map(|gate| (gate, cx.ptr(3))),
            activation: Activation::None,
            target: cx.ptr_mut(4),
        };
        for item in items {
            // SAFETY: the rows stay within the images, whose sizes the program checked.
            self.rows
                .each(item, |cells| unsafe { (self.body)(&job, cells) });
        }
    }
}

#[inline(always)]
unsafe fn body<S: Simd>(s: S, job: &Job, cells: &Cells<'_>) {
    let whole = job.channels - job.channels % S::LANES;
    let mut first = 0;
    // SAFETY: the caller keeps the contract of `Job`; full vectors end at or before `whole`, the
    // others are masked.
    unsafe {
        while first < cells.count {
            let many = cells.count - first >= OUTPUTS;
            for at in (0..whole).step_by(S::LANES) {
                if many {
                    outputs::<S, OUTPUTS, false>(s, job, cells, (first, at));
                } else {
                    outputs::<S, 1, false>(s, job, cells, (first, at));
                }
            }
            let count = if many { OUTPUTS } else { 1 };
            if whole < job.channels {
                for output in first..first + count {
                    outputs::<S, 1, true>(s, job, cells, (output, whole));
                }
            }
            first += count;
        }
    }
}

/// A vector of channels of `N` outputs; with `TAIL` a partial one.
#[inline(always)]
unsafe fn outputs<S: Simd, const N: usize, const TAIL: bool>(
    s: S,
    job: &Job,
    cells: &Cells<'_>,
    (first, at): (usize, usize),
) {
    let left = job.channels - at;
    // SAFETY: the caller vouches for a vector of channels at `at`, or for `left` of them.
    unsafe {
        let load = |from: *const f32| {
            if TAIL {
                s.load_first(left, from)
            } else {
                s.load(from)
            }
        };
        let zero = s.splat(0.0);
        let bias = if job.bias.is_null() {
            zero
        } else {
            load(job.bias.add(at))
        };
        let mut sums = [bias; N];
        let source = cells.source + (first * cells.source_step + at).cast_signed();
        for tap in cells.taps() {
            let weight = load(job.weights.add(tap.position * job.channels + at));
            let from = job.source.wrapping_offset(source + tap.offset);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = s.fma(load(from.wrapping_add(i * cells.source_step)), weight, *sum);
            }
        }
        for (i, sum) in sums.iter().enumerate() {
            let (out, mut sum) = (cells.out + (first + i) * cells.out_step + at, *sum);
            if !job.add.is_null() {
                sum = s.add(sum, load(job.add.add(out)));
            }
            if let Some((gate, output)) = job.gate {
                sum = gate.apply(s, sum, load(output.add(out)));
            }
            sum = job.activation.apply(s, sum);
            if TAIL {
                s.store_first(left, job.target.add(out), sum);
            } else {
                s.store(job.target.add(out), sum);
            }
        }
    }
}
