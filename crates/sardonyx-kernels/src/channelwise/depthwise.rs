//! Depthwise convolution and its input gradient.

use std::ops::Range;

use super::rows::{Cells, Rows, WindowShape};
use crate::product::sweep::even_part;
use crate::product::{Activation, Addend, Gate};
use crate::simd::{Simd, simd_entry};
use crate::{DType, Isa, Kernel, OperandSpec, Result, Run};

/// Channels of a block: rows of so many stay in the first-level cache until the next row of
/// outputs reads them again. A multiple of the longest vector.
const BLOCK_CHANNELS: usize = 64;
const VECTOR: usize = 16;

/// Bytes of an image beyond which it comes from memory that wants to be read in order.
const CACHED_BYTES: usize = 768 * 1024;

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
    channel_blocks: usize,
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

impl Job {
    /// The bounds that make up all that happens to a sum before it is stored, where they do.
    fn clip(&self) -> Option<(f32, f32)> {
        let plain = self.add.is_null() && self.gate.is_none();
        let clip = self.activation.clip().filter(|_| plain)?;
        Some(clip.unwrap_or((f32::NEG_INFINITY, f32::INFINITY)))
    }
}

type Body = unsafe fn(&Job, &Cells<'_>);

/// # Safety
/// For the function below: at every output's place plus every tap, `channels` floats can be read
/// from `source`; as many from `bias` and from each kernel position's row of `weights`; as many
/// at every output from `add` and the gate's output, and written to `target`.
#[derive(Debug, Clone, Copy)]
struct Job {
    channels: usize,
    /// Channels to compute: from a multiple of the longest vector on.
    from: usize,
    to: usize,
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
        let mut rows = Rows::forward(&shape, images_per_item.map(|images| images.max(1)));
        let image_bytes = 4 * shape.height * shape.width * shape.channels;
        let is_cached = images_per_item.is_none() && image_bytes <= CACHED_BYTES;
        let channel_blocks = match shape.channels / BLOCK_CHANNELS {
            // An even number is shared out evenly among the commonest numbers of threads.
            blocks @ 2.. if is_cached => blocks.next_multiple_of(2),
            _ => 1,
        };
        rows.take_more(channel_blocks);
        Ok(DepthwiseConv {
            shape,
            activation,
            rows,
            channel_blocks,
            body: body_for(isa),
        })
    }
}

impl Kernel for DepthwiseConv {
    fn name(&self) -> &'static str {
        "depthwise_conv"
    }

    fn items(&self) -> usize {
        self.rows.items() * self.channel_blocks
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
        let channels = self.shape.channels;
        let mut job = Job {
            channels,
            from: 0,
            to: channels,
            source: cx.ptr(0),
            weights: cx.ptr(1),
            bias: cx.ptr(2),
            add: std::ptr::null(),
            gate: None,
            activation: self.activation,
            target: cx.ptr_mut(3),
        };
        let (rows, blocks) = (self.rows.items(), self.channel_blocks);
        for item in items {
            let part = even_part(channels.div_ceil(VECTOR), blocks, item / rows);
            (job.from, job.to) = (part.start * VECTOR, channels.min(part.end * VECTOR));
            // SAFETY: the rows stay within the images, whose sizes the program checked.
            self.rows
                .each(item % rows, |cells| unsafe { (self.body)(&job, cells) });
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
            from: 0,
            to: self.shape.channels,
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
    let kind = cells.across(job.channels);
    let whole = job.to - (job.to - job.from) % S::LANES;
    let mut first = 0;
    // SAFETY: the caller keeps the contract of `Job`; full vectors end at or before `whole`, the
    // others are masked.
    unsafe {
        while first < cells.count {
            let left = cells.count - first;
            first += match kind {
                Some((3, 1)) if left >= 8 => row::<S, 3, 1, 8, 1>(s, job, cells, first),
                Some((3, 1)) if left >= 4 => row::<S, 3, 1, 4, 2>(s, job, cells, first),
                Some((3, 1)) if left >= 2 => row::<S, 3, 1, 2, 4>(s, job, cells, first),
                Some((3, 2)) if left >= 4 => row::<S, 3, 2, 4, 2>(s, job, cells, first),
                Some((3, 2)) if left >= 2 => row::<S, 3, 2, 2, 4>(s, job, cells, first),
                Some((5, 1)) if left >= 4 => row::<S, 5, 1, 4, 2>(s, job, cells, first),
                _ if left >= 4 => outputs::<S, 4>(s, job, cells, first),
                _ => outputs::<S, 1>(s, job, cells, first),
            };
        }
        if whole < job.to {
            for output in 0..cells.count {
                vectors::<S, 1, 1, true>(s, job, cells, (output, whole));
            }
        }
    }
}

/// `N` outputs whose windows have `WIDTH` neighbouring columns and lie `STRIDE` columns apart, in
/// groups of `COUNT` vectors of channels. Returns the number of outputs.
#[inline(always)]
unsafe fn row<
    S: Simd,
    const WIDTH: usize,
    const STRIDE: usize,
    const N: usize,
    const COUNT: usize,
>(
    s: S,
    job: &Job,
    cells: &Cells<'_>,
    first: usize,
) -> usize {
    let strip = Strip {
        source: cells.source + (first * cells.source_step).cast_signed(),
        out: cells.out + first * cells.out_step,
        clip: job.clip(),
    };
    let mut at = job.from;
    // SAFETY: the caller vouches for vectors of channels that end before `to`.
    unsafe {
        while at + COUNT * S::LANES <= job.to {
            strip.vectors::<S, WIDTH, STRIDE, N, COUNT>(s, job, cells, at);
            at += COUNT * S::LANES;
        }
        while COUNT > 1 && at + S::LANES <= job.to {
            strip.vectors::<S, WIDTH, STRIDE, N, 1>(s, job, cells, at);
            at += S::LANES;
        }
    }
    N
}

/// Neighbouring outputs: where they read and write, and how they are bounded where that is all.
struct Strip {
    source: isize,
    out: usize,
    clip: Option<(f32, f32)>,
}

impl Strip {
    /// `COUNT` vectors of channels from `at` on. Columns that windows share are loaded once.
    #[inline(always)]
    unsafe fn vectors<
        S: Simd,
        const WIDTH: usize,
        const STRIDE: usize,
        const N: usize,
        const COUNT: usize,
    >(
        &self,
        s: S,
        job: &Job,
        cells: &Cells<'_>,
        at: usize,
    ) {
        let source = job.source.wrapping_offset(self.source).wrapping_add(at);
        // SAFETY: the caller vouches for the vectors.
        unsafe {
            let begin = |v: usize| [start::<S, false>(s, job, at + v * S::LANES); N];
            let mut sums: [[S::F; N]; COUNT] = std::array::from_fn(begin);
            for line in cells.lines() {
                let from = source.wrapping_offset(line[0].offset);
                for (v, sums) in sums.iter_mut().enumerate() {
                    let weight = |tap: usize| {
                        let row = line[tap].position * job.channels;
                        s.load(job.weights.add(row + at + v * S::LANES))
                    };
                    let weights: [S::F; WIDTH] = std::array::from_fn(weight);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        for (tap, weight) in weights.iter().enumerate() {
                            let column = (i * STRIDE + tap) * job.channels + v * S::LANES;
                            *sum = s.fma(s.load(from.wrapping_add(column)), *weight, *sum);
                        }
                    }
                }
            }
            for (v, sums) in sums.iter().enumerate() {
                for (i, sum) in sums.iter().enumerate() {
                    let out = self.out + i * cells.out_step + at + v * S::LANES;
                    if let Some((low, high)) = self.clip {
                        let sum = s.min(s.splat(high), s.max(s.splat(low), *sum));
                        s.store(job.target.add(out), sum);
                    } else {
                        finish::<S, false>(s, job, out, *sum);
                    }
                }
            }
        }
    }
}

/// `N` outputs whatever their windows. Returns their number.
#[inline(always)]
unsafe fn outputs<S: Simd, const N: usize>(
    s: S,
    job: &Job,
    cells: &Cells<'_>,
    first: usize,
) -> usize {
    let mut at = job.from;
    // SAFETY: the caller vouches for vectors of channels that end before `to`.
    unsafe {
        while N == 1 && at + 4 * S::LANES <= job.to {
            vectors::<S, 1, 4, false>(s, job, cells, (first, at));
            at += 4 * S::LANES;
        }
        while at + S::LANES <= job.to {
            vectors::<S, N, 1, false>(s, job, cells, (first, at));
            at += S::LANES;
        }
    }
    N
}

/// `COUNT` vectors of channels of `N` outputs; with `TAIL` partial ones.
#[inline(always)]
unsafe fn vectors<S: Simd, const N: usize, const COUNT: usize, const TAIL: bool>(
    s: S,
    job: &Job,
    cells: &Cells<'_>,
    (first, at): (usize, usize),
) {
    let source = job.source.wrapping_offset(cells.source);
    let source = source.wrapping_add(first * cells.source_step + at);
    let left = job.to - at;
    // SAFETY: the caller vouches for the vectors from `at` on.
    unsafe {
        let begin = |v: usize| [start::<S, TAIL>(s, job, at + v * S::LANES); N];
        let mut sums: [[S::F; N]; COUNT] = std::array::from_fn(begin);
        for line in cells.lines() {
            for tap in line {
                let weights = job.weights.add(tap.position * job.channels + at);
                let from = source.wrapping_offset(tap.offset);
                for (v, sums) in sums.iter_mut().enumerate() {
                    let weight = load::<S, TAIL>(s, left, weights.wrapping_add(v * S::LANES));
                    for (i, sum) in sums.iter_mut().enumerate() {
                        let column = from.wrapping_add(i * cells.source_step + v * S::LANES);
                        *sum = s.fma(load::<S, TAIL>(s, left, column), weight, *sum);
                    }
                }
            }
        }
        for (v, sums) in sums.iter().enumerate() {
            for (i, sum) in sums.iter().enumerate() {
                let out = cells.out + (first + i) * cells.out_step + at + v * S::LANES;
                finish::<S, TAIL>(s, job, out, *sum);
            }
        }
    }
}

/// What the sums of the channels from `at` on start from.
#[inline(always)]
unsafe fn start<S: Simd, const TAIL: bool>(s: S, job: &Job, at: usize) -> S::F {
    if job.bias.is_null() {
        return s.splat(0.0);
    }
    // SAFETY: the caller vouches for the bias.
    unsafe { load::<S, TAIL>(s, job.to - at, job.bias.add(at)) }
}

/// Stores the channels of an output that are written at `out`.
#[inline(always)]
unsafe fn finish<S: Simd, const TAIL: bool>(s: S, job: &Job, out: usize, sum: S::F) {
    let (left, mut sum) = (job.to % S::LANES, sum);
    // SAFETY: the caller vouches for what lies at every output.
    unsafe {
        if !job.add.is_null() {
            sum = s.add(sum, load::<S, TAIL>(s, left, job.add.add(out)));
        }
        if let Some((gate, output)) = job.gate {
            sum = gate.apply(s, sum, load::<S, TAIL>(s, left, output.add(out)));
        }
        sum = job.activation.apply(s, sum);
        if TAIL {
            s.store_first(left, job.target.add(out), sum);
        } else {
            s.store(job.target.add(out), sum);
        }
    }
}

/// A vector, or with `TAIL` its first `left` lanes.
#[inline(always)]
unsafe fn load<S: Simd, const TAIL: bool>(s: S, left: usize, from: *const f32) -> S::F {
    // SAFETY: the caller vouches for as much.
    unsafe {
        if TAIL {
            s.load_first(left, from)
        } else {
            s.load(from)
        }
    }
}
