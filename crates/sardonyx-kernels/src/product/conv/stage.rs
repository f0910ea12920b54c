//! Brings the part of an image that a block of outputs reads into scratch, with zeros where it
//! reaches over the border: the inner loops then know no borders.

use std::ops::Range;

use crate::Isa;
use crate::simd::{Simd, simd_entry};

/// Images of one tensor in NHWC order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Images {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Floats from one pixel to the next.
    pub(crate) channels: usize,
}

impl Images {
    /// Floats of one image.
    pub(crate) const fn len(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// A rectangle of an image, which may reach over its border, and a range of its channels.
#[derive(Debug, Clone)]
pub(super) struct Patch {
    pub(super) top: isize,
    pub(super) left: isize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) channels: Range<usize>,
    /// Floats from one pixel of the copy to the next; channels behind the range become zero.
    pub(super) pixel: usize,
}

/// Gradients behind a max-pool that tiles the images without gaps, and which element of its window
/// each came from: counted row by row, anything else for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pooled {
    pub(super) values: *const f32,
    pub(super) argmax: *const u8,
    pub(super) window: [usize; 2],
}

/// How to fill a patch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stager {
    spread: unsafe fn(&Spread),
    pick: unsafe fn(&Pick),
    split: unsafe fn(&SplitJob<'_>),
}

/// Some channels of consecutive pixels.
///
/// # Safety
/// For the functions below: for every `i < count`, `channels` floats can be read at
/// `from + i * from_pixel`, and `to_pixel` (at least `channels`) floats written at
/// `to + i * to_pixel`.
#[derive(Debug, Clone, Copy)]
struct Pick {
    from: *const f32,
    from_pixel: usize,
    to: *mut f32,
    to_pixel: usize,
    channels: usize,
    count: usize,
}

/// One window's row of one pooled pixel, spread over the patch.
///
/// # Safety
/// For the functions below: `channels` values and indices can be read; for every `q < count`,
/// `padded` (at least `channels`) floats can be written at `to + q * pixel`.
#[derive(Debug, Clone, Copy)]
struct Spread {
    values: *const f32,
    argmax: *const u8,
    channels: usize,
    /// Index within the window of the first column.
    first: usize,
    count: usize,
    to: *mut f32,
    pixel: usize,
    padded: usize,
}

simd_entry! {
    /// Writes each value to the column it came from, and zero to the others.
    fn spread_for(job: &Spread) = spread
}

/// Pixels to be split into blocks of channels.
///
/// # Safety
/// For the function below: for every `i < count` and every block, its channels can be read at
/// `from + i * from_pixel`, and [`SplitJob::BLOCK`] floats written at `to + i * BLOCK` and so many
/// `to_block` further on for every block.
#[derive(Debug, Clone, Copy)]
pub(super) struct SplitJob<'a> {
    pub(super) from: *const f32,
    pub(super) from_pixel: usize,
    pub(super) to: *mut f32,
    pub(super) to_block: usize,
    pub(super) blocks: &'a [Range<usize>],
    pub(super) count: usize,
}

impl SplitJob<'_> {
    /// Floats of one pixel in a block: a tile's rows, rounded up to whole vectors.
    pub(super) const BLOCK: usize = 16;

    /// Floats from one block of so many pixels to the next: not a power of two, so that blocks do
    /// not contend for the same cache lines.
    pub(super) const fn block_len(pixels: usize) -> usize {
        pixels * Self::BLOCK + Self::BLOCK
    }
}

simd_entry! {
    /// Copies each block of channels of each pixel; what lies behind a block is undefined.
    fn split_for(job: &SplitJob<'_>) = split
}

simd_entry! {
    /// Copies the channels of each pixel, with zeros behind them.
    fn pick_for(job: &Pick) = pick
}

impl Stager {
    pub(super) fn new(isa: Isa) -> Stager {
        Stager {
            spread: spread_for(isa),
            pick: pick_for(isa),
            split: split_for(isa),
        }
    }

    /// Copies a patch of the image at `from`.
    ///
    /// # Safety
    /// The image can be read, and `rows * cols * pixel` floats can be written at `to`.
    pub(super) unsafe fn copy(
        &self,
        images: &Images,
        from: *const f32,
        patch: &Patch,
        to: *mut f32,
    ) {
        let across = overlap(patch.left, patch.cols, images.width);
        let down = overlap(patch.top, patch.rows, images.height);
        let line = patch.cols * patch.pixel;
        let whole = patch.channels.len() == images.channels && patch.pixel == images.channels;
        for row in 0..patch.rows {
            let to = to.wrapping_add(row * line);
            // SAFETY: the rectangle of overlap is within both the image and the patch.
            unsafe {
                if !down.contains(&row) || across.is_empty() {
                    to.write_bytes(0, line);
                    continue;
                }
                let y = patch.top.wrapping_add_unsigned(row).unsigned_abs();
                let x = patch
                    .left
                    .wrapping_add_unsigned(across.start)
                    .unsigned_abs();
                let from = from.add((y * images.width + x) * images.channels);
                to.write_bytes(0, across.start * patch.pixel);
                let inside = to.add(across.start * patch.pixel);
                if whole {
                    inside.copy_from_nonoverlapping(from, across.len() * patch.pixel);
                } else {
                    (self.pick)(&Pick {
                        from: from.add(patch.channels.start),
                        from_pixel: images.channels,
                        to: inside,
                        to_pixel: patch.pixel,
                        channels: patch.channels.len(),
                        count: across.len(),
                    });
                }
                let behind = (patch.cols - across.end) * patch.pixel;
                to.add(across.end * patch.pixel).write_bytes(0, behind);
            }
        }
    }

    /// Splits pixels into blocks of channels.
    ///
    /// # Safety
    /// The contract of [`SplitJob`].
    pub(super) unsafe fn split(&self, job: &SplitJob<'_>) {
        // SAFETY: the caller keeps the contract.
        unsafe { (self.split)(job) }
    }

    /// Fills a patch with the gradients of an unpooled image: `images` is that image, `pooled`
    /// its pooled gradients. Pixels behind the last whole window are zero.
    ///
    /// # Safety
    /// The pooled image can be read, and `rows * cols * pixel` floats can be written at `to`.
    pub(super) unsafe fn unpool(
        &self,
        images: &Images,
        pooled: &Pooled,
        patch: &Patch,
        to: *mut f32,
    ) {
        let [window_h, window_w] = pooled.window;
        let pooled_w = images.width / window_w;
        let across = overlap(patch.left, patch.cols, pooled_w * window_w);
        let down = overlap(patch.top, patch.rows, images.height / window_h * window_h);
        let line = patch.cols * patch.pixel;
        for row in 0..patch.rows {
            let to = to.wrapping_add(row * line);
            // SAFETY: the rectangle of overlap is within both the image and the patch, and every
            // window in it within the pooled image.
            unsafe {
                if !down.contains(&row) || across.is_empty() {
                    to.write_bytes(0, line);
                    continue;
                }
                to.write_bytes(0, across.start * patch.pixel);
                let behind = (patch.cols - across.end) * patch.pixel;
                to.add(across.end * patch.pixel).write_bytes(0, behind);
                let y = patch.top.wrapping_add_unsigned(row).unsigned_abs();
                let mut col = across.start;
                while col < across.end {
                    let x = patch.left.wrapping_add_unsigned(col).unsigned_abs();
                    let count = (window_w - x % window_w).min(across.end - col);
                    let pixel = y / window_h * pooled_w + x / window_w;
                    let at = pixel * images.channels + patch.channels.start;
                    (self.spread)(&Spread {
                        values: pooled.values.add(at),
                        argmax: pooled.argmax.add(at),
                        channels: patch.channels.len(),
                        first: y % window_h * window_w + x % window_w,
                        count,
                        to: to.add(col * patch.pixel),
                        pixel: patch.pixel,
                        padded: patch.pixel,
                    });
                    col += count;
                }
            }
        }
    }
}

/// Positions of a window `first..first + len` that lie in `0..limit`, counted from its start.
fn overlap(first: isize, len: usize, limit: usize) -> Range<usize> {
    let start = (-first).max(0).unsigned_abs().min(len);
    let end = (limit.cast_signed() - first)
        .clamp(0, len.cast_signed())
        .unsigned_abs();
    start..end.max(start)
}

#[inline(always)]
unsafe fn spread<S: Simd>(s: S, job: &Spread) {
    let zero = s.splat(0.0);
    let whole = job.channels - job.channels % S::LANES;
    // SAFETY: the caller keeps the contract of `Spread`.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            let value = s.load(job.values.add(at));
            let index = s.i_load_u8(job.argmax.add(at));
            for q in 0..job.count {
                let here = s.i_eq(index, s.i_splat((job.first + q) as i32));
                s.store(job.to.add(q * job.pixel + at), s.select(here, value, zero));
            }
        }
        for q in 0..job.count {
            let to = job.to.add(q * job.pixel);
            for at in whole..job.padded {
                let here = at < job.channels && usize::from(*job.argmax.add(at)) == job.first + q;
                *to.add(at) = if here { *job.values.add(at) } else { 0.0 };
            }
        }
    }
}

#[inline(always)]
unsafe fn pick<S: Simd>(s: S, job: &Pick) {
    for i in 0..job.count {
        // SAFETY: the caller keeps the contract of `Pick`; masked accesses touch what is left.
        unsafe {
            let (from, to) = (
                job.from.add(i * job.from_pixel),
                job.to.add(i * job.to_pixel),
            );
            for at in (0..job.to_pixel).step_by(S::LANES) {
                let left = job.channels.saturating_sub(at);
                let value = if left >= S::LANES {
                    s.load(from.add(at))
                } else {
                    s.load_first(left, from.wrapping_add(at))
                };
                if job.to_pixel - at >= S::LANES {
                    s.store(to.add(at), value);
                } else {
                    s.store_first(job.to_pixel - at, to.add(at), value);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn split<S: Simd>(s: S, job: &SplitJob<'_>) {
    let end = job.blocks.last().map_or(0, |block| block.end);
    for i in 0..job.count {
        let from = job.from.wrapping_add(i * job.from_pixel);
        let mut to = job.to.wrapping_add(i * SplitJob::BLOCK);
        for block in job.blocks {
            for at in (0..SplitJob::BLOCK).step_by(S::LANES) {
                // What follows a block within the pixel may be read, what follows the last not.
                let left = end.saturating_sub(block.start + at);
                // SAFETY: the caller keeps the contract of `SplitJob`.
                unsafe {
                    let from = from.wrapping_add(block.start + at);
                    let value = if left >= S::LANES {
                        s.load(from)
                    } else {
                        s.load_first(left, from)
                    };
                    s.store(to.add(at), value);
                }
            }
            to = to.wrapping_add(job.to_block);
        }
    }
}
