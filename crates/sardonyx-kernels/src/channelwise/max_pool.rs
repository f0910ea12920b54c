//! Max-pooling and its gradient.

use std::ops::Range;

use super::rows::{Cells, Rows, WindowShape};
use crate::simd::{Simd, simd_entry};
use crate::{DType, Isa, Kernel, OperandSpec, Result, Run};

/// Largest element of every window, and which of the kernel's positions it is (row by row; the
/// first one of equals). NaN is larger than everything; padding is smaller.
///
/// Operands: 0 `x` (read, f32 `[batch, height, width, channels]`), 1 `y` (written, f32 `[batch,
/// out, channels]`), 2 `positions` (optional, written, as y: u8 where the window has at most 256
/// elements, i32 otherwise).
#[derive(Debug)]
pub struct MaxPool {
    shape: WindowShape,
    rows: Rows,
    body: unsafe fn(&Job, &Cells<'_>),
}

/// Gives the gradient of every window to the element it took.
///
/// Operands: 0 `dy` (read, f32 `[batch, out, channels]`), 1 `positions` (read, as [`MaxPool`]
/// wrote them), 2 `dx` (written, f32 `[batch, height, width, channels]`).
#[derive(Debug)]
pub struct MaxPoolGradient {
    shape: WindowShape,
    rows: Rows,
    body: unsafe fn(&Job, &Cells<'_>),
}

/// # Safety
/// For the functions below: at every output's place plus every tap, `channels` floats can be read
/// from `source`, and for gradients as many positions; `channels` floats can be written at every
/// output to `target`, and as many positions where they are not null.
#[derive(Debug, Clone, Copy)]
struct Job {
    channels: usize,
    source: *const f32,
    target: *mut f32,
    bytes: *mut u8,
    words: *mut i32,
}

simd_entry! {
    /// Pools neighbouring windows.
    fn pool_for(job: &Job, cells: &Cells<'_>) = pool
}

simd_entry! {
    /// Gathers the gradients of neighbouring elements.
    fn gather_for(job: &Job, cells: &Cells<'_>) = gather
}

/// Type of the positions of a window's elements.
fn position_type(shape: &WindowShape) -> DType {
    if shape.taps() <= 256 {
        DType::U8
    } else {
        DType::I32
    }
}

fn job(cx: &Run<'_>, shape: &WindowShape, [source, target, positions]: [usize; 3]) -> Job {
    let small = position_type(shape) == DType::U8;
    Job {
        channels: shape.channels,
        source: cx.ptr(source),
        target: cx.ptr_mut(target),
        bytes: if small {
            cx.ptr_mut(positions)
        } else {
            std::ptr::null_mut()
        },
        words: if small {
            std::ptr::null_mut()
        } else {
            cx.ptr_mut(positions)
        },
    }
}

impl MaxPool {
    /// The kernel for `shape`; items are blocks of `images_per_item` images where that is given.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] for sizes that no window has.
    pub fn new(isa: Isa, shape: WindowShape, images_per_item: Option<usize>) -> Result<MaxPool> {
        shape.check("max_pool")?;
        let rows = Rows::forward(&shape, images_per_item.map(|images| images.max(1)));
        Ok(MaxPool {
            shape,
            rows,
            body: pool_for(isa),
        })
    }
}

impl Kernel for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn items(&self) -> usize {
        self.rows.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (shape, y) = (&self.shape, self.shape.out_len());
        vec![
            OperandSpec::read("x", DType::F32, shape.in_len()),
            OperandSpec::write("y", DType::F32, y),
            OperandSpec::write("positions", position_type(shape), y).or_absent(),
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
        let job = job(cx, &self.shape, [0, 1, 2]);
        for item in items {
            // SAFETY: the rows stay within the images, whose sizes the program checked.
            self.rows
                .each(item, |cells| unsafe { (self.body)(&job, cells) });
        }
    }
}

impl MaxPoolGradient {
    /// The kernel for the gradient of a pooling of `shape`; items are blocks of `images_per_item`
    /// images where that is given.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] for sizes that no window has.
    pub fn new(
        isa: Isa,
        shape: WindowShape,
        images_per_item: Option<usize>,
    ) -> Result<MaxPoolGradient> {
        shape.check("max_pool_gradient")?;
        let rows = Rows::gradient(&shape, images_per_item.map(|images| images.max(1)));
        Ok(MaxPoolGradient {
            shape,
            rows,
            body: gather_for(isa),
        })
    }
}

impl Kernel for MaxPoolGradient {
    fn name(&self) -> &'static str {
        "max_pool_gradient"
    }

    fn items(&self) -> usize {
        self.rows.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (shape, y) = (&self.shape, self.shape.out_len());
        vec![
            OperandSpec::read("dy", DType::F32, y),
            OperandSpec::read("positions", position_type(shape), y),
            OperandSpec::write("dx", DType::F32, shape.in_len()),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape.flops() / 2
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        if operand == 2 {
            self.rows.target_part(item)
        } else {
            self.rows.source_part(item)
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let job = job(cx, &self.shape, [0, 2, 1]);
        for item in items {
            // SAFETY: the rows stay within the images, whose sizes the program checked.
            self.rows
                .each(item, |cells| unsafe { (self.body)(&job, cells) });
        }
    }
}

#[inline(always)]
unsafe fn pool<S: Simd>(s: S, job: &Job, cells: &Cells<'_>) {
    for output in 0..cells.count {
        for at in (0..job.channels).step_by(S::LANES) {
            let left = (job.channels - at).min(S::LANES);
            let place = cells.source + (output * cells.source_step + at).cast_signed();
            let mut most = s.splat(f32::NEG_INFINITY);
            // The first element is taken whatever it is: a window may hold nothing larger.
            let mut position = s.i_splat(-1);
            // SAFETY: the caller keeps the contract of `Job`; masked accesses touch `left`.
            unsafe {
                for tap in cells.taps() {
                    let value = s.load_first(left, job.source.wrapping_offset(place + tap.offset));
                    let here = s.i_splat(tap.position as i32);
                    let unset = s.i_gt(s.i_splat(0), position);
                    let larger = s.or(s.gt(value, most), s.ne(value, value));
                    let take = s.or(larger, unset);
                    most = s.select(take, value, most);
                    position = s.i_select(take, here, position);
                }
                let out = cells.out + output * cells.out_step + at;
                s.store_first(left, job.target.add(out), most);
                let mut words = [0i32; 16];
                if !job.words.is_null() {
                    s.i_store(words.as_mut_ptr(), position);
                    job.words
                        .add(out)
                        .copy_from_nonoverlapping(words.as_ptr(), left);
                }
                if !job.bytes.is_null() && left == S::LANES {
                    s.i_store_u8(job.bytes.add(out), position);
                } else if !job.bytes.is_null() {
                    let bytes = words.as_mut_ptr().cast::<u8>();
                    s.i_store_u8(bytes, position);
                    job.bytes.add(out).copy_from_nonoverlapping(bytes, left);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn gather<S: Simd>(s: S, job: &Job, cells: &Cells<'_>) {
    let zero = s.splat(0.0);
    for output in 0..cells.count {
        for at in (0..job.channels).step_by(S::LANES) {
            let left = (job.channels - at).min(S::LANES);
            let place = cells.source + (output * cells.source_step + at).cast_signed();
            let mut sum = zero;
            // SAFETY: the caller keeps the contract of `Job`; masked accesses touch `left`.
            unsafe {
                for tap in cells.taps() {
                    let from = place + tap.offset;
                    let value = s.load_first(left, job.source.wrapping_offset(from));
                    let position = positions(s, job, from, left);
                    let mine = s.i_eq(position, s.i_splat(tap.position as i32));
                    sum = s.add(sum, s.select(mine, value, zero));
                }
                let out = cells.out + output * cells.out_step + at;
                s.store_first(left, job.target.add(out), sum);
            }
        }
    }
}

/// The first `count` positions at element `from`.
#[inline(always)]
unsafe fn positions<S: Simd>(s: S, job: &Job, from: isize, count: usize) -> S::I {
    // SAFETY: the caller vouches for `count` positions; the buffers hold any vector's lanes.
    unsafe {
        if !job.words.is_null() {
            let mut words = [0i32; 16];
            let from = job.words.wrapping_offset(from);
            words.as_mut_ptr().copy_from_nonoverlapping(from, count);
            s.i_load(words.as_ptr())
        } else if count == S::LANES {
            s.i_load_u8(job.bytes.wrapping_offset(from))
        } else {
            let mut bytes = [0u8; 16];
            let from = job.bytes.wrapping_offset(from);
            bytes.as_mut_ptr().copy_from_nonoverlapping(from, count);
            s.i_load_u8(bytes.as_ptr())
        }
    }
}
