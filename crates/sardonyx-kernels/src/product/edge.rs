//! Tiles that the micro-kernel cannot start or finish in registers: those with fewer columns than
//! vectors have lanes, with a gate, or with an activation beyond clipping. They pass through a
//! small buffer.

use super::micro::{Finish, MAX_ROWS, Start};
use crate::Isa;
use crate::simd::{Simd, simd_entry};

/// Floats of the buffer: the largest tile of any instruction set.
const BUFFER_LEN: usize = MAX_ROWS * MAX_WIDTH;

const MAX_WIDTH: usize = 32;

/// Memory for one tile, aligned as vectors are.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Buffer {
    _floats: [f32; BUFFER_LEN],
}

/// A tile between buffer and output.
///
/// # Safety
/// For the functions below: `outs` leads to `rows` offsets, `cols` is at most `width`, and
/// `rows * width` is at most [`BUFFER_LEN`]. At every `outs[i] + at`, `cols` floats can be read
/// from `start.add` and the gate's output, and written to `c`; `cols` floats can be read from
/// `start.bias`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EdgeTile {
    pub(crate) buffer: *mut f32,
    /// Floats from one row of the buffer to the next.
    pub(crate) width: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) outs: *const usize,
    pub(crate) c: *mut f32,
    pub(crate) at: usize,
    pub(crate) start: Start,
    pub(crate) finish: Finish,
}

/// The functions of one instruction set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    /// Fills the buffer with what the sums start from.
    pub(crate) begin: unsafe fn(&EdgeTile),
    /// Writes the buffer to the output.
    pub(crate) end: unsafe fn(&EdgeTile),
}

simd_entry! {
    /// See [`Edge::begin`].
    fn begin_for(tile: &EdgeTile) = begin
}

simd_entry! {
    /// See [`Edge::end`].
    fn end_for(tile: &EdgeTile) = end
}

impl Edge {
    pub(crate) fn new(isa: Isa) -> Edge {
        Edge {
            begin: begin_for(isa),
            end: end_for(isa),
        }
    }
}

#[inline(always)]
unsafe fn begin<S: Simd>(s: S, t: &EdgeTile) {
    for row in 0..t.rows {
        for first in (0..t.width).step_by(S::LANES) {
            let left = t.cols.saturating_sub(first).min(S::LANES);
            // SAFETY: the caller keeps the contract of `EdgeTile`; masked accesses touch `left`.
            unsafe {
                let at = *t.outs.add(row) + t.at + first;
                let mut sum = s.splat(0.0);
                if !t.start.bias.is_null() {
                    sum = s.load_first(left, t.start.bias.wrapping_add(first));
                }
                if !t.start.add.is_null() {
                    sum = s.add(sum, s.load_first(left, t.start.add.wrapping_add(at)));
                }
                s.store(t.buffer.add(row * t.width + first), sum);
            }
        }
    }
}

#[inline(always)]
unsafe fn end<S: Simd>(s: S, t: &EdgeTile) {
    for row in 0..t.rows {
        for first in (0..t.cols).step_by(S::LANES) {
            let left = (t.cols - first).min(S::LANES);
            // SAFETY: the caller keeps the contract of `EdgeTile`; masked accesses touch `left`.
            unsafe {
                let at = *t.outs.add(row) + t.at + first;
                let mut sum = s.load(t.buffer.add(row * t.width + first));
                if let Some((gate, output)) = t.finish.gate {
                    sum = gate.apply(s, sum, s.load_first(left, output.add(at)));
                }
                sum = t.finish.activation.apply(s, sum);
                s.store_first(left, t.c.add(at), sum);
            }
        }
    }
}
