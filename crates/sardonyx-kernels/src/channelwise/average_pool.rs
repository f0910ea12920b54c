//! Average pooling and its gradient; with one window as large as the image, global pooling.

use std::ops::Range;

use super::rows::{Cells, Rows, WindowShape};
use crate::axis::AxisTaps;
use crate::simd::{Simd, simd_entry};
use crate::{DType, Isa, Kernel, OperandSpec, Result, Run};

/// Mean of every window: over its elements within the image, or, counting padding, over those
/// within the padded image.
///
/// Operands: 0 `x` (read, `[batch, height, width, channels]`), 1 `y` (written, `[batch, out,
/// channels]`). All f32.
#[derive(Debug)]
pub struct AveragePool {
    shape: WindowShape,
    rows: Rows,
    shares: Shares,
    body: unsafe fn(&Job<'_>, &Cells<'_>),
}

/// Spreads the gradient of every window over its elements.
///
/// Operands: 0 `dy` (read, `[batch, out, channels]`), 1 `dx` (written, `[batch, height, width,
/// channels]`). All f32.
#[derive(Debug)]
pub struct AveragePoolGradient {
    shape: WindowShape,
    rows: Rows,
    shares: Shares,
    body: unsafe fn(&Job<'_>, &Cells<'_>),
}

/// One over the number of elements that windows count, by row and by column of windows.
#[derive(Debug)]
struct Shares([Vec<f32>; 2]);

impl Shares {
    fn new(shape: &WindowShape, count_padding: bool) -> Shares {
        let lens = [shape.height, shape.width];
        Shares([0, 1].map(|axis| {
            let window = shape.axis(axis);
            let taps = AxisTaps::forward(&window, shape.out[axis]);
            let padded = (lens[axis] + shape.pads[axis + 2]).cast_signed();
            let counted = |index: usize| {
                let start = (index * window.stride).cast_signed();
                let all = taps
                    .taps
                    .iter()
                    .filter(|(_, tap)| start + tap < padded)
                    .count();
                if count_padding {
                    all
                } else {
                    taps.valid(index, lens[axis]).len()
                }
            };
            (0..shape.out[axis])
                .map(|index| 1.0 / counted(index) as f32)
                .collect()
        }))
    }
}

/// # Safety
/// For the functions below: at every output's place plus every tap, `channels` floats can be read
/// from `source`; as many can be written at every output to `target`.
#[derive(Debug, Clone, Copy)]
struct Job<'a> {
    channels: usize,
    source: *const f32,
    target: *mut f32,
    shares: &'a Shares,
}

simd_entry! {
    /// Averages neighbouring windows.
    fn mean_for(job: &Job<'_>, cells: &Cells<'_>) = mean
}

simd_entry! {
    /// Gathers the gradients of neighbouring elements.
    fn gather_for(job: &Job<'_>, cells: &Cells<'_>) = gather
}

impl AveragePool {
    /// The kernel for `shape`; items are blocks of `images_per_item` images where that is given.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] for sizes that no window has.
    pub fn new(
        isa: Isa,
        shape: WindowShape,
        count_padding: bool,
        images_per_item: Option<usize>,
    ) -> Result<AveragePool> {
        shape.check("average_pool")?;
        let rows = Rows::forward(&shape, images_per_item.map(|images| images.max(1)));
        let shares = Shares::new(&shape, count_padding);
        Ok(AveragePool {
            shape,
            rows,
            shares,
            body: mean_for(isa),
        })
    }
}

impl AveragePoolGradient {
    /// The kernel for the gradient of a pooling of `shape`; items are blocks of `images_per_item`
    /// images where that is given.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] for sizes that no window has.
    pub fn new(
        isa: Isa,
        shape: WindowShape,
        count_padding: bool,
        images_per_item: Option<usize>,
    ) -> Result<AveragePoolGradient> {
        shape.check("average_pool_gradient")?;
        let rows = Rows::gradient(&shape, images_per_item.map(|images| images.max(1)));
        let shares = Shares::new(&shape, count_padding);
        Ok(AveragePoolGradient {
            shape,
            rows,
            shares,
            body: gather_for(isa),
        })
    }
}

macro_rules! average_kernel {
    ($kernel:ty, $name:literal, $source:literal, $target:literal, $lens:expr) => {
        impl Kernel for $kernel {
            fn name(&self) -> &'static str {
                $name
            }

            fn items(&self) -> usize {
                self.rows.items()
            }

            fn operands(&self) -> Vec<OperandSpec> {
                let [source, target] = $lens(&self.shape);
                vec![
                    OperandSpec::read($source, DType::F32, source),
                    OperandSpec::write($target, DType::F32, target),
                ]
            }

            fn flops(&self) -> u64 {
                self.shape.flops() / 2
            }

            fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
                if operand == 0 {
                    self.rows.source_part(item)
                } else {
                    self.rows.target_part(item)
                }
            }

            fn run(&self, cx: &Run<'_>, items: Range<usize>) {
                let job = Job {
                    channels: self.shape.channels,
                    source: cx.ptr(0),
                    target: cx.ptr_mut(1),
                    shares: &self.shares,
                };
                for item in items {
                    self.rows.each(item, |cells| {
                        // SAFETY: the rows stay within the images, whose sizes the program
                        // checked.
                        unsafe { (self.body)(&job, cells) }
                    });
                }
            }
        }
    };
}

average_kernel!(
    AveragePool,
    "average_pool",
    "x",
    "y",
    |shape: &WindowShape| { [shape.in_len(), shape.out_len()] }
);
average_kernel!(
    AveragePoolGradient,
    "average_pool_gradient",
    "dy",
    "dx",
    |shape: &WindowShape| { [shape.out_len(), shape.in_len()] }
);

#[inline(always)]
unsafe fn mean<S: Simd>(s: S, job: &Job<'_>, cells: &Cells<'_>) {
    for output in 0..cells.count {
        let [row, col] = cells.out_place;
        let share = s.splat(job.shares.0[0][row] * job.shares.0[1][col + output]);
        for at in (0..job.channels).step_by(S::LANES) {
            let left = (job.channels - at).min(S::LANES);
            let place = cells.source + (output * cells.source_step + at).cast_signed();
            let mut sum = s.splat(0.0);
            // SAFETY: the caller keeps the contract of `Job`; masked accesses touch `left`.
            unsafe {
                for tap in cells.taps() {
                    let from = job.source.wrapping_offset(place + tap.offset);
                    sum = s.add(sum, s.load_first(left, from));
                }
                let out = cells.out + output * cells.out_step + at;
                s.store_first(left, job.target.add(out), s.mul(sum, share));
            }
        }
    }
}

#[inline(always)]
unsafe fn gather<S: Simd>(s: S, job: &Job<'_>, cells: &Cells<'_>) {
    for output in 0..cells.count {
        let [row, col] = [cells.place[0], cells.place[1] + output * cells.place_step];
        for at in (0..job.channels).step_by(S::LANES) {
            let left = (job.channels - at).min(S::LANES);
            let place = cells.source + (output * cells.source_step + at).cast_signed();
            let mut sum = s.splat(0.0);
            // SAFETY: the caller keeps the contract of `Job`; masked accesses touch `left`.
            unsafe {
                for tap in cells.taps() {
                    let rows = job.shares.0[0][row.wrapping_add_signed(tap.y)];
                    let cols = job.shares.0[1][col.wrapping_add_signed(tap.x)];
                    let from = job.source.wrapping_offset(place + tap.offset);
                    sum = s.fma(s.load_first(left, from), s.splat(rows * cols), sum);
                }
                let out = cells.out + output * cells.out_step + at;
                s.store_first(left, job.target.add(out), sum);
            }
        }
    }
}
