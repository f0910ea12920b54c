//! The gradient of what a cell makes of a step's sums, for a block of sequences.

use super::cell::short_tanh;
use super::{Lines, RecurrentCell};
use crate::Isa;
use crate::simd::line::{each_piece, load, store};
use crate::simd::{Simd, simd_entry};

/// The gradient of one step of some sequences.
///
/// # Safety
/// For the functions below: each of the lines has `rows` lines with `hidden` floats per gate.
/// `gates`, `dh`, and where the cell has them `previous` and `dc`, are there and can be read,
/// `dy` too unless it is absent; `dh`, `dc`, `d_input` and `d_sums` can be written, and so can
/// `d_recurrent` unless it is absent. `d_input` may be `gates`; no others overlap.
#[derive(Debug)]
pub(super) struct CellBack {
    pub(super) rows: usize,
    pub(super) hidden: usize,
    /// What the step kept.
    pub(super) gates: Lines,
    /// GRU: state before the step. LSTM: cell state before it.
    pub(super) previous: Lines,
    /// Gradient by the step's output.
    pub(super) dy: Lines,
    /// Gradient by the state behind the step, without what comes through the output; becomes that
    /// by the state before it, without what comes through the recurrent product.
    pub(super) dh: Lines,
    /// Gradient by the cell state behind the step; becomes that by the one before it.
    pub(super) dc: Lines,
    /// Gradient by the products of the input.
    pub(super) d_input: Lines,
    /// Gradient by the recurrent products, in scratch.
    pub(super) d_sums: Lines,
    /// The same once more, where it differs from that by the products of the input.
    pub(super) d_recurrent: Lines,
}

pub(super) type CellBackFn = unsafe fn(&CellBack);

/// The function of a cell.
pub(super) fn cell_gradient_function(isa: Isa, cell: RecurrentCell) -> CellBackFn {
    match cell {
        RecurrentCell::Gru => gru_for(isa),
        RecurrentCell::Lstm => lstm_for(isa),
        RecurrentCell::Rnn => rnn_for(isa),
    }
}

simd_entry! {
    fn gru_for(back: &CellBack) = gru
}
simd_entry! {
    fn lstm_for(back: &CellBack) = lstm
}
simd_entry! {
    fn rnn_for(back: &CellBack) = rnn
}

impl CellBack {
    /// Gradient by the state behind the step.
    #[inline(always)]
    unsafe fn by_state<S: Simd>(&self, s: S, [row, at, count]: [usize; 3]) -> S::F {
        // SAFETY: the caller stays within the lines.
        unsafe {
            let dh = load(s, count, self.dh.at(row, at));
            if self.dy.is_absent() {
                return dh;
            }
            s.add(dh, load(s, count, self.dy.at(row, at)))
        }
    }

    #[inline(always)]
    unsafe fn saved<S: Simd, const N: usize>(
        &self,
        s: S,
        [row, at, count]: [usize; 3],
    ) -> [S::F; N] {
        std::array::from_fn(|gate| {
            // SAFETY: the caller stays within the lines.
            unsafe { load(s, count, self.gates.at(row, gate * self.hidden + at)) }
        })
    }

    #[inline(always)]
    unsafe fn put<S: Simd, const N: usize>(
        &self,
        s: S,
        [row, at, count]: [usize; 3],
        to: Lines,
        grads: [S::F; N],
    ) {
        for (gate, grad) in grads.into_iter().enumerate() {
            // SAFETY: the caller stays within the lines.
            unsafe { store(s, count, to.at(row, gate * self.hidden + at), grad) };
        }
    }
}

/// Derivative of a sigmoid, at its value.
#[inline(always)]
fn by_sigmoid<S: Simd>(s: S, y: S::F) -> S::F {
    s.fma(s.neg(y), y, y)
}

/// Derivative of a hyperbolic tangent, at its value.
#[inline(always)]
fn by_tanh<S: Simd>(s: S, y: S::F) -> S::F {
    s.fma(s.neg(y), y, s.splat(1.0))
}

#[inline(always)]
unsafe fn rnn<S: Simd>(s: S, back: &CellBack) {
    for row in 0..back.rows {
        each_piece!(back.hidden, |at, count| {
            let place = [row, at, count];
            // SAFETY: rows and pieces stay within the lines that the caller vouches for.
            unsafe {
                let [h] = back.saved(s, place);
                let grad = s.mul(back.by_state(s, place), by_tanh(s, h));
                back.put(s, place, back.d_input, [grad]);
                back.put(s, place, back.d_sums, [grad]);
            }
        });
    }
}

#[inline(always)]
unsafe fn gru<S: Simd>(s: S, back: &CellBack) {
    for row in 0..back.rows {
        each_piece!(back.hidden, |at, count| {
            let place = [row, at, count];
            // SAFETY: rows and pieces stay within the lines that the caller vouches for.
            unsafe {
                let [update, reset, new, product] = back.saved(s, place);
                let h = load(s, count, back.previous.at(row, at));
                let dh = back.by_state(s, place);
                let kept = s.mul(dh, update);
                let by_new = s.mul(s.sub(dh, kept), by_tanh(s, new));
                let by_update = s.mul(s.mul(dh, s.sub(h, new)), by_sigmoid(s, update));
                let by_reset = s.mul(s.mul(by_new, product), by_sigmoid(s, reset));
                back.put(s, place, back.d_input, [by_update, by_reset, by_new]);
                let grads = [by_update, by_reset, s.mul(by_new, reset)];
                back.put(s, place, back.d_sums, grads);
                if !back.d_recurrent.is_absent() {
                    back.put(s, place, back.d_recurrent, grads);
                }
                back.put(s, place, back.dh, [kept]);
            }
        });
    }
}

#[inline(always)]
unsafe fn lstm<S: Simd>(s: S, back: &CellBack) {
    for row in 0..back.rows {
        each_piece!(back.hidden, |at, count| {
            let place = [row, at, count];
            // SAFETY: rows and pieces stay within the lines that the caller vouches for.
            unsafe {
                let [enter, leave, forget, new] = back.saved(s, place);
                let before = load(s, count, back.previous.at(row, at));
                // As the step computed it, to the bit.
                let shown = short_tanh(s, s.fma(forget, before, s.mul(enter, new)));
                let dh = back.by_state(s, place);
                let dc = load(s, count, back.dc.at(row, at));
                let dc = s.fma(s.mul(dh, leave), by_tanh(s, shown), dc);
                let grads = [
                    s.mul(s.mul(dc, new), by_sigmoid(s, enter)),
                    s.mul(s.mul(dh, shown), by_sigmoid(s, leave)),
                    s.mul(s.mul(dc, before), by_sigmoid(s, forget)),
                    s.mul(s.mul(dc, enter), by_tanh(s, new)),
                ];
                back.put(s, place, back.d_input, grads);
                back.put(s, place, back.d_sums, grads);
                back.put(s, place, back.dc, [s.mul(dc, forget)]);
            }
        });
    }
}
