//! The weight and bias gradients of a depthwise convolution.

use std::ops::Range;

use super::rows::{Cells, Rows, WindowShape};
use crate::simd::{Simd, simd_entry};
use crate::{DType, Isa, Kernel, OperandSpec, Result, Run};

/// Most parts that the sum over images is cut into.
const MOST_SHARDS: usize = 16;

/// Multiply-adds of a part that outweigh adding it up.
const SHARD_WORK: usize = 1 << 18;

/// Taps that share each load of a gradient.
const TAPS: usize = 3;

/// `dw[tap][c] = sum over images and outputs of x[output's place + tap][c] * dy[output][c]`, and
/// `db[c] = sum of dy[..][c]`.
///
/// The sum is cut into [`DepthwiseConvWeightGradient::shards`] parts, which depend on the geometry
/// alone; a [`crate::SumShards`] in a later stage adds them up. With one shard the outputs are the
/// gradients themselves.
///
/// Operands: 0 `x` (read, `[batch, height, width, channels]`), 1 `dy` (read, `[batch, out,
/// channels]`), 2 `dw` (written, `[shards, taps, channels]`), 3 `db` (optional, written, `[shards,
/// channels]`). All f32.
#[derive(Debug)]
pub struct DepthwiseConvWeightGradient {
    shape: WindowShape,
    shards: usize,
    rows: Rows,
    body: unsafe fn(&Job, &Cells<'_>),
}

/// # Safety
/// For the function below: at every output's place plus every tap, `channels` floats can be read
/// from `x`; as many at every output from `dy`; as many can be read and written at each kernel
/// position's row of `dw`, and at `db` where it is not null.
#[derive(Debug, Clone, Copy)]
struct Job {
    channels: usize,
    x: *const f32,
    dy: *const f32,
    dw: *mut f32,
    db: *mut f32,
}

simd_entry! {
    /// Adds the products of neighbouring outputs to the sums.
    fn body_for(job: &Job, cells: &Cells<'_>) = body
}

impl DepthwiseConvWeightGradient {
    /// The kernel for the gradients of a convolution of `shape`, with at most `most_shards` shards
    /// (0: the kernel's own limit).
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] for sizes that no window has.
    pub fn new(
        isa: Isa,
        shape: WindowShape,
        most_shards: usize,
    ) -> Result<DepthwiseConvWeightGradient> {
        shape.check("depthwise_conv_weight_gradient")?;
        let limit = if most_shards == 0 {
            MOST_SHARDS
        } else {
            most_shards
        };
        let worth = shape.out_len() * shape.taps() / SHARD_WORK;
        let shards = limit.min(shape.batch).min(worth).max(1);
        let rows = Rows::forward(&shape, Some(1));
        Ok(DepthwiseConvWeightGradient {
            shape,
            shards,
            rows,
            body: body_for(isa),
        })
    }

    /// Parts that the sum over images is cut into.
    pub fn shards(&self) -> usize {
        self.shards
    }
}

impl Kernel for DepthwiseConvWeightGradient {
    fn name(&self) -> &'static str {
        "depthwise_conv_weight_gradient"
    }

    fn items(&self) -> usize {
        self.shards
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let WindowShape { channels, .. } = self.shape;
        let weights = self.shards * self.shape.taps() * channels;
        vec![
            OperandSpec::read("x", DType::F32, self.shape.in_len()),
            OperandSpec::read("dy", DType::F32, self.shape.out_len()),
            OperandSpec::write("dw", DType::F32, weights),
            OperandSpec::write("db", DType::F32, self.shards * channels).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let channels = self.shape.channels;
        let weights = self.shape.taps() * channels;
        for shard in items {
            let (dw, db) = (cx.ptr_mut::<f32>(2), cx.ptr_mut::<f32>(3));
            let job = Job {
                channels,
                x: cx.ptr(0),
                dy: cx.ptr(1),
                dw: dw.wrapping_add(shard * weights),
                db: if db.is_null() {
                    db
                } else {
                    db.wrapping_add(shard * channels)
                },
            };
            let end = self.shape.batch * (shard + 1) / self.shards;
            // SAFETY: a shard's outputs belong to its item, and rows stay within the images,
            // whose sizes the program checked.
            unsafe {
                job.dw.write_bytes(0, weights);
                if !db.is_null() {
                    job.db.write_bytes(0, channels);
                }
                for image in self.shape.batch * shard / self.shards..end {
                    self.rows.each(image, |cells| (self.body)(&job, cells));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn body<S: Simd>(s: S, job: &Job, cells: &Cells<'_>) {
    for at in (0..job.channels).step_by(S::LANES) {
        // SAFETY: the caller keeps the contract of `Job`.
        unsafe {
            if job.channels - at >= S::LANES {
                channels::<S, false>(s, job, cells, at);
            } else {
                channels::<S, true>(s, job, cells, at);
            }
        }
    }
}

/// All sums of one vector of channels; with `TAIL` of a partial one.
#[inline(always)]
unsafe fn channels<S: Simd, const TAIL: bool>(s: S, job: &Job, cells: &Cells<'_>, at: usize) {
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
        let store = |to: *mut f32, value: S::F| {
            if TAIL {
                s.store_first(left, to, value)
            } else {
                s.store(to, value)
            }
        };
        let dy = job.dy.add(cells.out + at);
        if !job.db.is_null() {
            let mut sum = load(job.db.add(at));
            for i in 0..cells.count {
                sum = s.add(sum, load(dy.add(i * cells.out_step)));
            }
            store(job.db.add(at), sum);
        }
        let source = job.x.wrapping_offset(cells.source + at.cast_signed());
        let mut group = [(std::ptr::null::<f32>(), std::ptr::null_mut::<f32>()); TAPS];
        let mut filled = 0;
        for tap in cells.taps() {
            let sum = job.dw.add(tap.position * job.channels + at);
            group[filled] = (source.wrapping_offset(tap.offset), sum);
            filled += 1;
            if filled == TAPS {
                filled = 0;
                let mut sums = [s.splat(0.0); TAPS];
                for (sum, (_, to)) in sums.iter_mut().zip(&group) {
                    *sum = load(to.cast_const());
                }
                for i in 0..cells.count {
                    let gradient = load(dy.add(i * cells.out_step));
                    for (sum, (x, _)) in sums.iter_mut().zip(&group) {
                        *sum = s.fma(load(x.add(i * cells.source_step)), gradient, *sum);
                    }
                }
                for (sum, (_, to)) in sums.iter().zip(&group) {
                    store(*to, *sum);
                }
            }
        }
        for (x, to) in &group[..filled] {
            let mut sum = load(to.cast_const());
            for i in 0..cells.count {
                let gradient = load(dy.add(i * cells.out_step));
                sum = s.fma(load(x.add(i * cells.source_step)), gradient, sum);
            }
            store(*to, sum);
        }
    }
}
