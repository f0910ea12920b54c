//! Max-pooling of a convolution's outputs before they leave the first-level cache.

use crate::Isa;
use crate::product::epilogue::Activation;
use crate::simd::{Simd, simd_entry};

/// Index that says that no element of a window receives the gradient.
pub(super) const NO_GRADIENT: i32 = 255;

/// Sums of one panel for whole windows, to be pooled.
///
/// # Safety
/// For the function below: `sums` has `count * window` rows of `width` floats. At every
/// `outs[i] + at`, for `i < count`, `cols` floats can be written to `to` and `cols` bytes to
/// `argmax` where it is not null.
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolTile {
    pub(super) sums: *const f32,
    pub(super) width: usize,
    /// Elements of one window, which follow each other in `sums`.
    pub(super) window: usize,
    pub(super) count: usize,
    pub(super) cols: usize,
    pub(super) outs: *const usize,
    pub(super) at: usize,
    pub(super) to: *mut f32,
    pub(super) argmax: *mut u8,
    pub(super) activation: Activation,
}

simd_entry! {
    /// Writes `activation(max)` of every window, and which element was the first largest one: or
    /// [`NO_GRADIENT`] where the activation is flat there. NaN is larger than everything.
    pub(super) fn pool_for(tile: &PoolTile) = pool
}

/// The function of one instruction set.
pub(super) type PoolFn = unsafe fn(&PoolTile);

pub(super) fn pool_function(isa: Isa) -> PoolFn {
    pool_for(isa)
}

#[inline(always)]
unsafe fn pool<S: Simd>(s: S, t: &PoolTile) {
    let flat = t.activation.clip().flatten();
    for i in 0..t.count {
        for first in (0..t.cols).step_by(S::LANES) {
            let left = (t.cols - first).min(S::LANES);
            // SAFETY: the caller keeps the contract of `PoolTile`; rows of sums are as wide as a
            // panel, whose width is a multiple of the lanes.
            unsafe {
                let rows = t.sums.add(i * t.window * t.width + first);
                let (mut most, mut index) = (s.load(rows), s.i_splat(0));
                for q in 1..t.window {
                    let value = s.load(rows.add(q * t.width));
                    let larger = s.or(s.gt(value, most), s.ne(value, value));
                    most = s.select(larger, value, most);
                    index = s.i_select(larger, s.i_splat(q as i32), index);
                }
                let at = *t.outs.add(i) + t.at + first;
                s.store_first(left, t.to.add(at), t.activation.apply(s, most));
                if t.argmax.is_null() {
                    continue;
                }
                if let Some((low, high)) = flat {
                    let shut = s.or(s.le(most, s.splat(low)), s.ge(most, s.splat(high)));
                    index = s.i_select(shut, s.i_splat(NO_GRADIENT), index);
                }
                store_bytes(s, left, t.argmax.add(at), index);
            }
        }
    }
}

/// Writes the low bytes of the first `count` lanes.
#[inline(always)]
unsafe fn store_bytes<S: Simd>(s: S, count: usize, to: *mut u8, index: S::I) {
    // SAFETY: the caller vouches for `count` bytes at `to`; the buffer holds any vector's lanes.
    unsafe {
        if count == S::LANES {
            s.i_store_u8(to, index);
        } else {
            let mut bytes = [0u8; 16];
            s.i_store_u8(bytes.as_mut_ptr(), index);
            to.copy_from_nonoverlapping(bytes.as_ptr(), count);
        }
    }
}
