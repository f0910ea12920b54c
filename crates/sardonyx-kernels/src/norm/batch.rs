//! Sums over the rows of every channel: mean and spread, and what their gradients need.
//!
//! Rows are cut into a number of parts that depends on the shape alone. An item makes the sums of
//! a part for a few channels, tile by tile; the kernels of `fold` join the parts.

use std::ops::Range;

use crate::simd::line::{load, store};
use crate::simd::{Simd, simd_entry};
use crate::{DType, Gate, Isa, Kernel, OperandSpec, Run};

/// Elements of one part.
const PART_LEN: usize = 16 * 1024;

/// Most parts.
const MAX_PARTS: usize = 64;

/// Channels of one item.
const CHANNELS: usize = 64;

/// Rows that are summed in registers, while they are in the first level of cache.
const TILE_ROWS: usize = 64;

/// Rows of channels: an image batch in NHWC is `N * H * W` rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub channels: usize,
}

impl BatchShape {
    /// Parts that the rows are cut into.
    pub fn parts(self) -> usize {
        let wanted = self.rows * self.channels / PART_LEN;
        wanted.clamp(1, MAX_PARTS).min(self.rows.max(1))
    }

    /// Floats of an operand `partials`.
    pub fn partials_len(self) -> usize {
        self.parts() * 2 * self.channels
    }

    pub(super) const fn elements(self) -> usize {
        self.rows * self.channels
    }

    pub(super) fn part_rows(self, part: usize) -> Range<usize> {
        let parts = self.parts();
        self.rows * part / parts..self.rows * (part + 1) / parts
    }

    fn items(self) -> usize {
        self.parts() * self.channels.div_ceil(CHANNELS)
    }

    fn block(self, item: usize) -> Block {
        let blocks = self.channels.div_ceil(CHANNELS);
        let (part, channel) = (item / blocks, item % blocks * CHANNELS);
        let rows = self.part_rows(part);
        Block {
            start: rows.start * self.channels + channel,
            rows: rows.len(),
            stride: self.channels,
            channel,
            channels: CHANNELS.min(self.channels - channel),
            sums_at: 2 * part * self.channels + channel,
        }
    }
}

/// Some channels of a part.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// First element.
    start: usize,
    rows: usize,
    stride: usize,
    /// First channel.
    channel: usize,
    channels: usize,
    /// Where the first of its two rows of sums begins; the second is `stride` behind it.
    sums_at: usize,
}

/// Mean and sum of squared deviations of every channel, part by part.
///
/// Operands: 0 `x` (read, f32, `[rows, channels]`), 1 `partials` (written, f32,
/// [`BatchShape::partials_len`]: `[parts, 2, channels]`), for [`super::BatchFold`].
#[derive(Debug)]
pub struct BatchMoments {
    shape: BatchShape,
    sweep: unsafe fn(*const f32, [*mut f32; 2], Block),
}

/// Sums of `dy` and of `dy (x - mean)` of every channel, part by part.
///
/// Operands: 0 `x`, 1 `dy` (read, f32, `[rows, channels]`), 2 `mean` (read, f32, one per channel),
/// 3 `slope` and 4 `bias` (read, f32, one per channel, optional: where an activation followed,
/// through whose gate at `(x - mean) slope + bias` `dy` goes), 5 `partials` (written, as for
/// [`BatchMoments`]), for [`super::BatchGradFold`].
#[derive(Debug)]
pub struct BatchGradSums {
    shape: BatchShape,
    gate: Gate,
    sweep: unsafe fn(&Gradient, [*mut f32; 2], Block),
}

/// What the gradient's sums are over; addresses of the block's first element or channel.
#[derive(Debug, Clone, Copy)]
struct Gradient {
    x: *const f32,
    dy: *const f32,
    mean: *const f32,
    /// Both null where there is no gate.
    slope: *const f32,
    bias: *const f32,
    gate: Gate,
}

simd_entry! {
    fn moments_for(x: *const f32, sums: [*mut f32; 2], block: Block) = moments
}
simd_entry! {
    fn gradient_for(of: &Gradient, sums: [*mut f32; 2], block: Block) = gradient
}

impl BatchMoments {
    /// Over rows of that shape.
    pub fn new(isa: Isa, shape: BatchShape) -> BatchMoments {
        BatchMoments {
            shape,
            sweep: moments_for(isa),
        }
    }
}

impl BatchGradSums {
    /// Over rows of that shape. `gate` is that of the activation that followed, for which operands
    /// `slope` and `bias` are there.
    pub fn new(isa: Isa, shape: BatchShape, gate: Gate) -> BatchGradSums {
        BatchGradSums {
            shape,
            gate,
            sweep: gradient_for(isa),
        }
    }
}

fn sums(cx: &Run<'_>, operand: usize, block: Block) -> [*mut f32; 2] {
    let first = cx.ptr_mut::<f32>(operand).wrapping_add(block.sums_at);
    [first, first.wrapping_add(block.stride)]
}

impl Kernel for BatchMoments {
    fn name(&self) -> &'static str {
        "batch_moments"
    }

    fn items(&self) -> usize {
        self.shape.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", DType::F32, self.shape.elements()),
            OperandSpec::write("partials", DType::F32, self.shape.partials_len()),
        ]
    }

    fn flops(&self) -> u64 {
        4 * self.shape.elements() as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            let block = self.shape.block(item);
            let x = cx.ptr::<f32>(0).wrapping_add(block.start);
            // SAFETY: the block lies within `x`, and its sums are this item's own.
            unsafe { (self.sweep)(x, sums(cx, 1, block), block) };
        }
    }
}

impl Kernel for BatchGradSums {
    fn name(&self) -> &'static str {
        "batch_grad_sums"
    }

    fn items(&self) -> usize {
        self.shape.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let len = self.shape.elements();
        vec![
            OperandSpec::read("x", DType::F32, len),
            OperandSpec::read("dy", DType::F32, len),
            OperandSpec::read("mean", DType::F32, self.shape.channels),
            OperandSpec::read("slope", DType::F32, self.shape.channels).or_absent(),
            OperandSpec::read("bias", DType::F32, self.shape.channels).or_absent(),
            OperandSpec::write("partials", DType::F32, self.shape.partials_len()),
        ]
    }

    fn flops(&self) -> u64 {
        4 * self.shape.elements() as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            let block = self.shape.block(item);
            let is_gated = cx.has(3) && cx.has(4);
            let gating = |operand| match is_gated {
                true => cx.ptr::<f32>(operand).wrapping_add(block.channel),
                false => std::ptr::null(),
            };
            let of = Gradient {
                x: cx.ptr::<f32>(0).wrapping_add(block.start),
                dy: cx.ptr::<f32>(1).wrapping_add(block.start),
                mean: cx.ptr::<f32>(2).wrapping_add(block.channel),
                slope: gating(3),
                bias: gating(4),
                gate: self.gate,
            };
            // SAFETY: the block lies within the operands, and its sums are this item's own.
            unsafe { (self.sweep)(&of, sums(cx, 5, block), block) };
        }
    }
}

/// Runs `$tile::<S, N>` over groups of `N` = 4 vectors of channels, then single ones, then what
/// is left with as many lanes as there are.
macro_rules! each_group {
    ($s:ident, $channels:expr, |$at:ident, $count:ident, $n:ident| $tile:expr) => {{
        let mut $at = 0;
        while $at + 4 * S::LANES <= $channels {
            const $n: usize = 4;
            let $count = S::LANES;
            $tile;
            $at += 4 * S::LANES;
        }
        while $at < $channels {
            const $n: usize = 1;
            let $count = S::LANES.min($channels - $at);
            $tile;
            $at += S::LANES;
        }
    }};
}

#[inline(always)]
unsafe fn moments<S: Simd>(s: S, x: *const f32, [mean, spread]: [*mut f32; 2], block: Block) {
    // SAFETY: tiles lie within the block, groups within its channels.
    unsafe {
        for first in (0..block.rows).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(block.rows - first);
            let x = x.add(first * block.stride);
            let size = [rows, block.stride, first];
            each_group!(s, block.channels, |at, count, N| {
                let sums = [mean.add(at), spread.add(at)];
                moments_tile::<S, N>(s, x.add(at), sums, size, count);
            });
        }
        if block.rows == 0 {
            (0..block.channels).for_each(|at| (*mean.add(at), *spread.add(at)) = (0.0, 0.0));
        }
    }
}

/// Joins mean and squared deviations of a tile to those of the `before` rows in front of it (Chan,
/// Golub and LeVeque, "Algorithms for computing the sample variance", 1983).
#[inline(always)]
unsafe fn moments_tile<S: Simd, const N: usize>(
    s: S,
    x: *const f32,
    [mean, spread]: [*mut f32; 2],
    [rows, stride, before]: [usize; 3],
    count: usize,
) {
    let zero = s.splat(0.0);
    let (mut sums, mut squares) = ([zero; N], [zero; N]);
    let share = s.splat(1.0 / rows as f32);
    let total = (before + rows) as f32;
    let weight = s.splat(rows as f32 / total);
    let between = s.splat(before as f32 * rows as f32 / total);
    // SAFETY: the caller vouches for the rows and for `N` vectors of `count` lanes in each.
    unsafe {
        for row in 0..rows {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum = s.add(*sum, load(s, count, x.add(row * stride + lane * S::LANES)));
            }
        }
        let means = sums.map(|sum| s.mul(sum, share));
        for row in 0..rows {
            for (lane, square) in squares.iter_mut().enumerate() {
                let found = load(s, count, x.add(row * stride + lane * S::LANES));
                let distance = s.sub(found, means[lane]);
                *square = s.fma(distance, distance, *square);
            }
        }
        for lane in 0..N {
            let (mean, spread) = (mean.add(lane * S::LANES), spread.add(lane * S::LANES));
            let old = if before == 0 {
                [zero; 2]
            } else {
                [load(s, count, mean), load(s, count, spread)]
            };
            let step = s.sub(means[lane], old[0]);
            store(s, count, mean, s.fma(step, weight, old[0]));
            let apart = s.mul(s.mul(step, step), between);
            store(s, count, spread, s.add(s.add(old[1], squares[lane]), apart));
        }
    }
}

#[inline(always)]
unsafe fn gradient<S: Simd>(s: S, of: &Gradient, [plain, moved]: [*mut f32; 2], block: Block) {
    // SAFETY: tiles lie within the block, groups within its channels.
    unsafe {
        for at in 0..block.channels {
            (*plain.add(at), *moved.add(at)) = (0.0, 0.0);
        }
        for first in (0..block.rows).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(block.rows - first);
            let size = [rows, block.stride];
            each_group!(s, block.channels, |at, count, N| {
                let start = first * block.stride + at;
                let tile = Gradient {
                    x: of.x.wrapping_add(start),
                    dy: of.dy.wrapping_add(start),
                    mean: of.mean.wrapping_add(at),
                    slope: of.slope.wrapping_add(at),
                    bias: of.bias.wrapping_add(at),
                    gate: of.gate,
                };
                let sums = [plain.add(at), moved.add(at)];
                if of.slope.is_null() {
                    gradient_tile::<S, N, false>(s, &tile, sums, size, count);
                } else {
                    gradient_tile::<S, N, true>(s, &tile, sums, size, count);
                }
            });
        }
    }
}

/// Adds the sums of a tile to what is there.
#[inline(always)]
unsafe fn gradient_tile<S: Simd, const N: usize, const GATED: bool>(
    s: S,
    of: &Gradient,
    [plain, moved]: [*mut f32; 2],
    [rows, stride]: [usize; 2],
    count: usize,
) {
    let zero = s.splat(0.0);
    let mut sums = [[zero; 2]; N];
    let (mut means, mut slopes, mut biases) = ([zero; N], [zero; N], [zero; N]);
    // SAFETY: the caller vouches for the rows and for `N` vectors of `count` lanes in each.
    unsafe {
        for lane in 0..N {
            means[lane] = load(s, count, of.mean.add(lane * S::LANES));
            if GATED {
                slopes[lane] = load(s, count, of.slope.add(lane * S::LANES));
                biases[lane] = load(s, count, of.bias.add(lane * S::LANES));
            }
        }
        for row in 0..rows {
            for (lane, sums) in sums.iter_mut().enumerate() {
                let at = row * stride + lane * S::LANES;
                let mut dy = load(s, count, of.dy.add(at));
                let distance = s.sub(load(s, count, of.x.add(at)), means[lane]);
                if GATED {
                    // Gates tell the same of an activation's argument as of its value.
                    let argument = s.fma(distance, slopes[lane], biases[lane]);
                    dy = of.gate.apply(s, dy, argument);
                }
                sums[0] = s.add(sums[0], dy);
                sums[1] = s.fma(dy, distance, sums[1]);
            }
        }
        for (lane, sums) in sums.into_iter().enumerate() {
            for (sum, to) in sums.into_iter().zip([plain, moved]) {
                let to = to.add(lane * S::LANES);
                store(s, count, to, s.add(load(s, count, to), sum));
            }
        }
    }
}
