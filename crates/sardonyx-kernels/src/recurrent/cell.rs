//! What a cell makes of a step's sums, for a block of sequences and hidden units.

use super::{Lines, RecurrentCell};
use crate::Isa;
use crate::simd::line::{each_piece, load, store};
use crate::simd::math::{four_quotients, sigmoid_ratio, tanh_ratio};
use crate::simd::{Simd, simd_entry};

/// One step of some sequences and hidden units.
///
/// # Safety
/// For the functions below: each of the lines has `rows` lines with `cols` floats per gate, the
/// gates `hidden` floats apart. `sums`, `input`, `h` and, for an LSTM, `c` are there and can be
/// read; all but `input` and `h` can be written, those not named before may be absent. `gates` may
/// be `input`; no others overlap.
#[derive(Debug)]
pub(super) struct CellStep {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) hidden: usize,
    /// Products of the state with the recurrent weights; room for gates once they are read.
    pub(super) sums: Lines,
    /// Products of the input with its weights.
    pub(super) input: Lines,
    /// State before the step.
    pub(super) h: Lines,
    /// Cell state, updated in place.
    pub(super) c: Lines,
    /// Where the gates go that the gradient reads.
    pub(super) gates: Lines,
    /// Where the new state goes: scratch, output, the next step's previous state, last state.
    pub(super) new_h: [Lines; 4],
    /// Where the new cell state goes besides `c`: the next step's previous one, the last one.
    pub(super) new_c: [Lines; 2],
}

pub(super) type CellFn = unsafe fn(&CellStep);

/// The function of a cell.
pub(super) fn cell_function(isa: Isa, cell: RecurrentCell) -> CellFn {
    match cell {
        RecurrentCell::Gru => gru_for(isa),
        RecurrentCell::Lstm => lstm_for(isa),
        RecurrentCell::Rnn => rnn_for(isa),
    }
}

simd_entry! {
    fn gru_for(step: &CellStep) = gru
}
simd_entry! {
    fn lstm_for(step: &CellStep) = lstm
}
simd_entry! {
    fn rnn_for(step: &CellStep) = rnn
}

impl CellStep {
    /// Sum and input of a gate.
    #[inline(always)]
    unsafe fn both<S: Simd>(&self, s: S, row: usize, at: usize, count: usize) -> [S::F; 2] {
        // SAFETY: the caller stays within the lines.
        unsafe {
            [
                load(s, count, self.sums.at(row, at)),
                load(s, count, self.input.at(row, at)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn total<S: Simd>(&self, s: S, row: usize, at: usize, count: usize) -> S::F {
        // SAFETY: the caller stays within the lines.
        let [sum, input] = unsafe { self.both(s, row, at, count) };
        s.add(sum, input)
    }

    #[inline(always)]
    unsafe fn save<S: Simd, const N: usize>(
        &self,
        s: S,
        [row, at, count]: [usize; 3],
        gates: [S::F; N],
    ) {
        if self.gates.is_absent() {
            return;
        }
        for (gate, value) in gates.into_iter().enumerate() {
            // SAFETY: the caller stays within the lines.
            unsafe { store(s, count, self.gates.at(row, gate * self.hidden + at), value) };
        }
    }
}

/// The hyperbolic tangent with fewer operations than it takes where results may be subnormal.
#[inline(always)]
pub(super) fn short_tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let [numerator, denominator] = tanh_ratio(s, x);
    s.div(numerator, denominator)
}

#[inline(always)]
unsafe fn put<S: Simd>(s: S, [row, at, count]: [usize; 3], to: &[Lines], value: S::F) {
    for lines in to.iter().filter(|lines| !lines.is_absent()) {
        // SAFETY: the caller stays within the lines.
        unsafe { store(s, count, lines.at(row, at), value) };
    }
}

#[inline(always)]
unsafe fn rnn<S: Simd>(s: S, step: &CellStep) {
    for row in 0..step.rows {
        each_piece!(step.cols, |at, count| {
            // SAFETY: rows and pieces stay within the lines that the caller vouches for.
            unsafe {
                let h = short_tanh(s, step.total(s, row, at, count));
                step.save(s, [row, at, count], [h]);
                put(s, [row, at, count], &step.new_h, h);
            }
        });
    }
}

/// In two sweeps: what waits for a gate comes when all gates are done, so that little waits.
#[inline(always)]
unsafe fn gru<S: Simd>(s: S, step: &CellStep) {
    let n = step.hidden;
    for row in 0..step.rows {
        each_piece!(step.cols, |at, count| {
            // SAFETY: rows and pieces stay within the lines that the caller vouches for.
            unsafe {
                let [a, p] = sigmoid_ratio(s, step.total(s, row, at, count));
                let [b, q] = sigmoid_ratio(s, step.total(s, row, n + at, count));
                let whole = s.div(s.splat(1.0), s.mul(p, q));
                store(s, count, step.sums.at(row, at), s.mul(a, s.mul(whole, q)));
                let reset = s.mul(b, s.mul(whole, p));
                store(s, count, step.sums.at(row, n + at), reset);
            }
        });
    }
    for row in 0..step.rows {
        each_piece!(step.cols, |at, count| {
            // SAFETY: as above.
            unsafe {
                let update = load(s, count, step.sums.at(row, at));
                let reset = load(s, count, step.sums.at(row, n + at));
                let [product, input] = step.both(s, row, 2 * n + at, count);
                let new = short_tanh(s, s.fma(reset, product, input));
                let h = load(s, count, step.h.at(row, at));
                let h = s.fma(update, s.sub(h, new), new);
                step.save(s, [row, at, count], [update, reset, new, product]);
                put(s, [row, at, count], &step.new_h, h);
            }
        });
    }
}

/// In two sweeps, as a GRU.
#[inline(always)]
unsafe fn lstm<S: Simd>(s: S, step: &CellStep) {
    let n = step.hidden;
    for row in 0..step.rows {
        each_piece!(step.cols, |at, count| {
            // SAFETY: rows and pieces stay within the lines that the caller vouches for.
            unsafe {
                let enter = sigmoid_ratio(s, step.total(s, row, at, count));
                let leave = sigmoid_ratio(s, step.total(s, row, n + at, count));
                let forget = sigmoid_ratio(s, step.total(s, row, 2 * n + at, count));
                let new = tanh_ratio(s, step.total(s, row, 3 * n + at, count));
                let gates = four_quotients(s, [enter, leave, forget, new]);
                step.save(s, [row, at, count], gates);
                let [enter, leave, forget, new] = gates;
                let c = load(s, count, step.c.at(row, at));
                let c = s.fma(forget, c, s.mul(enter, new));
                store(s, count, step.c.at(row, at), c);
                put(s, [row, at, count], &step.new_c, c);
                store(s, count, step.sums.at(row, at), leave);
            }
        });
    }
    for row in 0..step.rows {
        each_piece!(step.cols, |at, count| {
            // SAFETY: as above.
            unsafe {
                let c = load(s, count, step.c.at(row, at));
                let leave = load(s, count, step.sums.at(row, at));
                let h = s.mul(leave, short_tanh(s, c));
                put(s, [row, at, count], &step.new_h, h);
            }
        });
    }
}
