//! Packing a matrix into panels within a thread's scratch.

use crate::Isa;
use crate::simd::{Simd, simd_entry};

/// A panel of `width` lanes to be filled from columns of a strided matrix: row `k` of the panel
/// is `scale * from[k * row + lane * col]` for the first `cols` lanes and zero behind them.
///
/// # Safety
/// For the function below: `rows * width` floats can be written at `to`, the elements named above
/// can be read, and one of `row` and `col` is 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelJob {
    pub(crate) from: *const f32,
    pub(crate) row: usize,
    pub(crate) col: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) width: usize,
    pub(crate) scale: f32,
    pub(crate) to: *mut f32,
}

simd_entry! {
    /// Fills one panel.
    fn fill_for(job: &PanelJob) = fill
}

pub(crate) type PanelFn = unsafe fn(&PanelJob);

pub(crate) fn panel_function(isa: Isa) -> PanelFn {
    fill_for(isa)
}

#[inline(always)]
unsafe fn fill<S: Simd>(s: S, job: &PanelJob) {
    // SAFETY: the caller keeps the contract of `PanelJob`.
    unsafe {
        if job.col == 1 {
            fill_from_rows(s, job);
        } else {
            fill_from_columns(job, s);
            if job.scale != 1.0 {
                let scale = s.splat(job.scale);
                for at in (0..job.rows * job.width).step_by(S::LANES) {
                    s.store(job.to.add(at), s.mul(scale, s.load(job.to.add(at))));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn fill_from_rows<S: Simd>(s: S, job: &PanelJob) {
    let scale = s.splat(job.scale);
    for k in 0..job.rows {
        for at in (0..job.width).step_by(S::LANES) {
            let left = job.cols.saturating_sub(at).min(S::LANES);
            // SAFETY: the caller keeps the contract of `PanelJob`; masked loads touch `left`.
            unsafe {
                let from = job.from.wrapping_add(k * job.row + at);
                s.store(
                    job.to.add(k * job.width + at),
                    s.mul(scale, s.load_first(left, from)),
                );
            }
        }
    }
}

/// Columns are contiguous in the source: blocks of 8 x 8 are transposed, the rest goes by element.
#[inline(always)]
unsafe fn fill_from_columns<S: Simd>(job: &PanelJob, s: S) {
    let (rows, cols) = (job.rows - job.rows % 8, job.cols - job.cols % 8);
    // SAFETY: the caller keeps the contract of `PanelJob`; blocks lie within rows and columns.
    unsafe {
        for lane in (0..cols).step_by(8) {
            for k in (0..rows).step_by(8) {
                let from = job.from.add(k * job.row + lane * job.col);
                s.transpose8(from, job.col, job.to.add(k * job.width + lane), job.width);
            }
        }
        for k in 0..job.rows {
            let first = if k < rows { cols } else { 0 };
            for lane in first..job.width {
                let value = if lane < job.cols {
                    *job.from.add(k * job.row + lane * job.col)
                } else {
                    0.0
                };
                *job.to.add(k * job.width + lane) = value;
            }
        }
    }
}
