//! Back through the steps of a recurrent layer (Werbos, "Backpropagation through time", 1990).

use std::ops::Range;

use super::cell_gradient::{CellBack, CellBackFn, cell_gradient_function};
use super::{Lines, RecurrentCell, SequenceShape, copy_lines, stride};
use crate::product::{Finish, Micro, PanelShape, Piece, Segment, Start, Sweep, SweepRows};
use crate::product::{pieces, rows_scratch, split_scratch};
use crate::{DType, Isa, Kernel, OperandSpec, Run};

/// Gradient of [`crate::Sequence`] by the products of its inputs and by its initial state.
///
/// Operands (f32), with that kernel's sizes: 0 `gates` (read), 1 `weights` (read, the transposed
/// panels: those of `PanelShape::dense(G * H, H)`), 2 `dy` (read, rows of `H`, optional), 3
/// `d_last_h` and 4 `d_last_c` (read, `[batch, H]`, optional), 5 `previous` (read, rows of `H`: of
/// a GRU the state before each step, of an LSTM the cell state), 6 `d_input` (written, rows of
/// `G * H`; may be `gates` where these are as many), 7 `d_initial_h` and 8 `d_initial_c` (written,
/// `[batch, H]`, optional), 9 `d_recurrent` (written, rows of `G * H`, optional: of a GRU the
/// gradient by the recurrent products; of the others it is `d_input`). An item is a block of
/// sequences.
#[derive(Debug)]
pub struct SequenceGradient {
    shape: SequenceShape,
    isa: Isa,
    micro: Micro,
    pieces: Vec<Piece>,
    cell: CellBackFn,
}

const GATES: usize = 0;
const WEIGHTS: usize = 1;
const DY: usize = 2;
const D_LAST_H: usize = 3;
const D_LAST_C: usize = 4;
const PREVIOUS: usize = 5;
const D_INPUT: usize = 6;
const D_INITIAL_H: usize = 7;
const D_INITIAL_C: usize = 8;
const D_RECURRENT: usize = 9;

impl SequenceGradient {
    /// The kernel for `shape`, which is that of the forward kernel.
    pub fn new(isa: Isa, shape: SequenceShape) -> SequenceGradient {
        let micro = Micro::new(isa);
        let whole = [Segment { a: 0, b: 0 }];
        SequenceGradient {
            shape,
            isa,
            micro,
            pieces: pieces(&whole, shape.columns(), 1, micro.panel_width),
            cell: cell_gradient_function(isa, shape.cell),
        }
    }

    /// # Safety
    /// The operands are as [`Kernel::operands`] says, and no one else works on this item.
    unsafe fn run_item(&self, cx: &Run<'_>, item: usize) {
        let shape = self.shape;
        let part = shape.part(item);
        let (first, rows) = (part.start, part.len());
        // SAFETY: the scratch length covers the rows of the largest item.
        let (starts, outs, room) = unsafe { split_scratch(cx, rows) };
        let (hidden, columns) = (stride(shape.hidden), stride(shape.columns()));
        let lines = |offset: usize, stride: usize| Lines {
            base: room.wrapping_add(rows * offset),
            stride,
        };
        let (dh, dc) = (lines(0, hidden), lines(hidden, hidden));
        let d_sums = lines(2 * hidden, columns);
        for row in 0..rows {
            starts[row] = d_sums.at(row, 0).cast_const();
            outs[row] = row * hidden;
        }
        let sweep_rows = SweepRows {
            starts,
            outs,
            pieces: &self.pieces,
        };
        let state = |operand| shape.state(cx.ptr_mut(operand), first);
        let size = [rows, shape.hidden];
        // SAFETY: all lines lie within the scratch and the operands, whose lengths the program
        // checked.
        unsafe {
            copy_lines(state(D_LAST_H), dh, size);
            copy_lines(state(D_LAST_C), dc, size);
            for step in (0..shape.time).rev() {
                let at = |operand: usize, width: usize| {
                    shape.lines(cx.ptr_mut(operand), width, [step, first])
                };
                (self.cell)(&CellBack {
                    rows,
                    hidden: shape.hidden,
                    gates: at(GATES, shape.cell.saved() * shape.hidden),
                    previous: at(PREVIOUS, shape.hidden),
                    dy: at(DY, shape.hidden),
                    dh,
                    dc,
                    d_input: at(D_INPUT, shape.columns()),
                    d_sums,
                    d_recurrent: at(D_RECURRENT, shape.columns()),
                });
                if step > 0 || cx.has(D_INITIAL_H) {
                    self.product(cx, dh).run(sweep_rows);
                }
            }
            copy_lines(dh, state(D_INITIAL_H), size);
            copy_lines(dc, state(D_INITIAL_C), size);
        }
    }

    /// The product of a step's gradients with the recurrent weights, which `dh` becomes or, where
    /// the cell left something there, is increased by.
    fn product<'a>(&'a self, cx: &Run<'_>, dh: Lines) -> Sweep<'a> {
        let width = self.micro.panel_width;
        let add = match self.shape.cell {
            RecurrentCell::Gru => dh.base.cast_const(),
            RecurrentCell::Lstm | RecurrentCell::Rnn => std::ptr::null(),
        };
        Sweep {
            micro: &self.micro,
            c: dh.base,
            a_step: 1,
            b: cx.ptr(WEIGHTS),
            b_step: width,
            panel_len: self.shape.columns() * width,
            cols: self.shape.hidden,
            start: Start {
                bias: std::ptr::null(),
                add,
            },
            finish: Finish::default(),
        }
    }
}

impl Kernel for SequenceGradient {
    fn name(&self) -> &'static str {
        match self.shape.cell {
            RecurrentCell::Gru => "gru_sequence_gradient",
            RecurrentCell::Lstm => "lstm_sequence_gradient",
            RecurrentCell::Rnn => "rnn_sequence_gradient",
        }
    }

    fn items(&self) -> usize {
        self.shape.items()
    }

    fn scratch_len(&self) -> usize {
        let rows = self.shape.most_rows();
        let floats = rows * (2 * stride(self.shape.hidden) + stride(self.shape.columns()));
        rows_scratch(rows) + 4 * floats
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let SequenceShape {
            cell,
            batch,
            hidden,
            ..
        } = self.shape;
        let (rows, columns, state) = (self.shape.rows(), self.shape.columns(), batch * hidden);
        let weights = PanelShape::dense(columns, hidden).len(self.isa);
        let read = |name, len| OperandSpec::read(name, DType::F32, len);
        let write = |name, len| OperandSpec::write(name, DType::F32, len);
        vec![
            read("gates", rows * cell.saved() * hidden),
            read("weights", weights),
            read("dy", rows * hidden).or_absent(),
            read("d_last_h", state).or_absent(),
            read("d_last_c", state).or_absent(),
            read("previous", rows * hidden).needed_if(cell != RecurrentCell::Rnn),
            write("d_input", rows * columns),
            write("d_initial_h", state).or_absent(),
            write("d_initial_c", state).or_absent(),
            write("d_recurrent", rows * columns).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        let as_many = self.shape.cell.saved() == self.shape.cell.gates();
        (read, written) == (GATES, D_INPUT) && as_many
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            // SAFETY: the program checked the operands; the machine hands each item out once.
            unsafe { self.run_item(cx, item) }
        }
    }
}
