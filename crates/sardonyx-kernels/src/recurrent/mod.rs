//! Recurrent layers over whole sequences: from the products of all inputs with their weights,
//! which are one matrix product, to the states of all steps, and back.
//!
//! Sequences of a batch do not depend on each other, so an item is a block of sequences that goes
//! through all of its steps by itself: no barrier stands between steps, and the item's state and
//! sums stay in its core's caches. Gates lie in ONNX's order: LSTM `i o f c`, GRU `z r h`.

mod backward;
mod cell;
mod cell_gradient;
mod forward;
#[cfg(test)]
mod tests;

pub use backward::SequenceGradient;
pub use forward::Sequence;

use std::ops::Range;

use crate::product::even_part;

/// Which cell a layer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecurrentCell {
    /// Gated recurrent unit (Cho et al., arXiv 1406.1078) whose reset gate works behind the
    /// recurrent product.
    Gru,
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997) with forget gate.
    Lstm,
    /// Elman's, with the hyperbolic tangent.
    Rnn,
}

impl RecurrentCell {
    /// Columns of the recurrent weights for each hidden unit.
    pub const fn gates(self) -> usize {
        match self {
            RecurrentCell::Gru => 3,
            RecurrentCell::Lstm => 4,
            RecurrentCell::Rnn => 1,
        }
    }

    /// Numbers that a step keeps of each hidden unit for its gradient: the gates, and for a GRU the
    /// recurrent product that its reset gate multiplies.
    pub const fn saved(self) -> usize {
        match self {
            RecurrentCell::Gru | RecurrentCell::Lstm => 4,
            RecurrentCell::Rnn => 1,
        }
    }
}

/// Sizes of a recurrent layer, and how it goes through time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceShape {
    /// The cell.
    pub cell: RecurrentCell,
    /// Steps.
    pub time: usize,
    /// Sequences.
    pub batch: usize,
    /// Hidden units.
    pub hidden: usize,
    /// From the last step to the first.
    pub reverse: bool,
    /// What has a row per step and sequence is `[batch, time, ..]`, not `[time, batch, ..]`.
    pub batch_first: bool,
}

/// Sequences of an item: few enough that there are items for several threads in a small batch,
/// enough that a panel of weights is used for long once it is in the first-level cache.
const ITEM_ROWS: usize = 16;

/// Most items that a batch is cut into.
const MOST_ITEMS: usize = 16;

/// Floats of a cache line.
const LINE: usize = 16;

/// Floats from one row of scratch to the next for rows of `len`: rows start in different sets of
/// the first-level cache.
const fn stride(len: usize) -> usize {
    len.next_multiple_of(LINE) + LINE
}

impl SequenceShape {
    /// Columns of a step's sums.
    fn columns(self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// Rows of what has one per step and sequence.
    fn rows(self) -> usize {
        self.time * self.batch
    }

    fn items(self) -> usize {
        if self.hidden == 0 {
            return 0;
        }
        self.batch.div_ceil(ITEM_ROWS).min(MOST_ITEMS)
    }

    /// Sequences of an item.
    fn part(self, item: usize) -> Range<usize> {
        even_part(self.batch, self.items(), item)
    }

    /// Sequences of the largest item.
    fn most_rows(self) -> usize {
        self.batch.div_ceil(self.items().max(1))
    }

    /// Floating-point operations of the recurrent products.
    fn flops(self) -> u64 {
        2 * self.rows() as u64 * self.columns() as u64 * self.hidden as u64
    }

    /// The time of the step that comes as number `step`.
    fn time_of(self, step: usize) -> usize {
        if self.reverse {
            self.time - 1 - step
        } else {
            step
        }
    }

    /// Lines of a value with a row of `width` floats per step and sequence: those of the sequences
    /// from `first` on, at the time of step number `step`.
    fn lines(self, base: *mut f32, width: usize, [step, first]: [usize; 2]) -> Lines {
        let time = self.time_of(step);
        let (row, stride) = if self.batch_first {
            (first * self.time + time, self.time * width)
        } else {
            (time * self.batch + first, width)
        };
        Lines { base, stride }.from(row * width)
    }

    /// Lines of a value with a row of hidden units per sequence, from sequence `first` on.
    fn state(self, base: *mut f32, first: usize) -> Lines {
        let stride = self.hidden;
        Lines { base, stride }.from(first * stride)
    }
}

/// One line of floats for each sequence of an item; or nothing, where the base is null.
#[derive(Debug, Clone, Copy)]
struct Lines {
    base: *mut f32,
    /// Floats from one line to the next.
    stride: usize,
}

impl Lines {
    const ABSENT: Lines = Lines {
        base: std::ptr::null_mut(),
        stride: 0,
    };

    fn is_absent(self) -> bool {
        self.base.is_null()
    }

    /// The same lines from `offset` floats on.
    #[inline(always)]
    fn from(self, offset: usize) -> Lines {
        if self.is_absent() {
            return self;
        }
        Lines {
            base: self.base.wrapping_add(offset),
            ..self
        }
    }

    /// Address of element `at` of line `row`; null where there are none.
    #[inline(always)]
    fn at(self, row: usize, at: usize) -> *mut f32 {
        self.from(row * self.stride + at).base
    }
}

/// Copies `rows` lines of `len` floats, or zeros where there is nothing to copy.
///
/// # Safety
/// Both can be accessed so, `to` for writing, unless absent; they do not overlap.
unsafe fn copy_lines(from: Lines, to: Lines, [rows, len]: [usize; 2]) {
    if to.is_absent() {
        return;
    }
    for row in 0..rows {
        // SAFETY: the caller vouches for all lines.
        unsafe {
            if from.is_absent() {
                to.at(row, 0).write_bytes(0, len);
            } else {
                to.at(row, 0).copy_from_nonoverlapping(from.at(row, 0), len);
            }
        }
    }
}
