//! The steps of a recurrent layer.

use std::ops::Range;

use super::cell::{CellFn, CellStep, cell_function};
use super::{Lines, RecurrentCell, SequenceShape, copy_lines, stride};
use crate::product::{Finish, Micro, PanelShape, Piece, Segment, Start, Sweep, SweepRows};
use crate::product::{pieces, rows_scratch, split_scratch};
use crate::{DType, Isa, Kernel, OperandSpec, Run};

/// All steps of a recurrent layer, given the products of its inputs.
///
/// Operands (f32), for `G` gates of `H` hidden units, rows per step and sequence as the shape says:
/// 0 `input` (read, rows of `G * H`: products of the input with its weights, with their bias),
/// 1 `weights` (read, panels of `PanelShape::dense(H, G * H)`), 2 `bias` (read, `G * H`, optional:
/// added to the recurrent products), 3 `initial_h` and, of an LSTM, 4 `initial_c` (read, `[batch,
/// H]`, optional: zeros). What is written is all optional: 5 `y` (rows of `H`: the state behind
/// each step), 6 `last_h` and 7 `last_c` (`[batch, H]`), and for the gradient 8 `gates` (rows of
/// [`RecurrentCell::saved`] times `H`; may be `input` where these are as many), 9 `previous_h` and
/// 10 `previous_c` (rows of `H`: the state before each step). An item is a block of sequences.
#[derive(Debug)]
pub struct Sequence {
    shape: SequenceShape,
    isa: Isa,
    micro: Micro,
    pieces: Vec<Piece>,
    cell: CellFn,
}

const INPUT: usize = 0;
const WEIGHTS: usize = 1;
const BIAS: usize = 2;
const INITIAL_H: usize = 3;
const INITIAL_C: usize = 4;
const Y: usize = 5;
const LAST_H: usize = 6;
const LAST_C: usize = 7;
const GATES: usize = 8;
const PREVIOUS_H: usize = 9;
const PREVIOUS_C: usize = 10;

impl Sequence {
    /// The kernel for `shape`.
    pub fn new(isa: Isa, shape: SequenceShape) -> Sequence {
        let micro = Micro::new(isa);
        let whole = [Segment { a: 0, b: 0 }];
        Sequence {
            shape,
            isa,
            micro,
            pieces: pieces(&whole, shape.hidden, 1, micro.panel_width),
            cell: cell_function(isa, shape.cell),
        }
    }

    /// Floats of an item's state, cell state and sums: two states, so that a step can make the
    /// next one while its products still read the last.
    fn state_len(&self, rows: usize) -> usize {
        rows * (3 * stride(self.shape.hidden) + stride(self.shape.columns()))
    }

    /// # Safety
    /// The operands are as [`Kernel::operands`] says, and no one else works on this item.
    unsafe fn run_item(&self, cx: &Run<'_>, item: usize) {
        let shape = self.shape;
        let part = shape.part(item);
        let rows = part.len();
        // SAFETY: the scratch length covers the rows of the largest item, twice.
        let (starts, outs, room) = unsafe { split_scratch(cx, 2 * rows) };
        let (hidden, columns) = (stride(shape.hidden), stride(shape.columns()));
        let lines = |offset: usize, stride: usize| Lines {
            base: room.wrapping_add(rows * offset),
            stride,
        };
        let block = Block {
            first: part.start,
            rows,
            h: [lines(0, hidden), lines(hidden, hidden)],
            c: lines(2 * hidden, hidden),
            sums: lines(3 * hidden, columns),
        };
        for row in 0..2 * rows {
            starts[row] = block.h[row / rows].at(row % rows, 0).cast_const();
            outs[row] = row % rows * columns;
        }
        // SAFETY: the block's lines lie within the scratch and the operands.
        unsafe {
            self.begin(cx, &block);
            for step in 0..shape.time {
                let from = step % 2 * rows;
                let rows = SweepRows {
                    starts: &starts[from..from + rows],
                    outs: &outs[from..from + rows],
                    pieces: &self.pieces,
                };
                self.step(cx, &block, step, rows);
            }
        }
    }

    /// Fills the state with the initial one.
    ///
    /// # Safety
    /// As for [`Sequence::run_item`].
    unsafe fn begin(&self, cx: &Run<'_>, block: &Block) {
        let (shape, size) = (self.shape, [block.rows, self.shape.hidden]);
        let state = |operand| shape.state(cx.ptr_mut(operand), block.first);
        let [h, c] = [INITIAL_H, INITIAL_C].map(state);
        // SAFETY: the block's lines lie within the scratch and the operands.
        unsafe {
            copy_lines(h, block.h[0], size);
            copy_lines(c, block.c, size);
            if shape.time == 0 {
                copy_lines(h, state(LAST_H), size);
                copy_lines(c, state(LAST_C), size);
                return;
            }
            let at = [0, block.first];
            copy_lines(h, shape.lines(cx.ptr_mut(PREVIOUS_H), size[1], at), size);
            copy_lines(c, shape.lines(cx.ptr_mut(PREVIOUS_C), size[1], at), size);
        }
    }

    /// # Safety
    /// As for [`Sequence::run_item`].
    unsafe fn step(&self, cx: &Run<'_>, block: &Block, step: usize, rows: SweepRows<'_>) {
        let (shape, hidden, width) = (self.shape, self.shape.hidden, self.micro.panel_width);
        let sweep = Sweep {
            micro: &self.micro,
            c: block.sums.base,
            a_step: 1,
            b: cx.ptr(WEIGHTS),
            b_step: width,
            panel_len: hidden * width,
            cols: shape.columns(),
            start: Start {
                bias: cx.ptr(BIAS),
                add: std::ptr::null(),
            },
            finish: Finish::default(),
        };
        let job = self.cell_step(cx, block, step);
        let is_zero = step == 0 && !cx.has(INITIAL_H);
        // SAFETY: rows and columns are within the scratch and the operands, whose lengths the
        // program checked.
        unsafe {
            if is_zero {
                let bias = Lines {
                    base: cx.ptr_mut(BIAS),
                    stride: 0,
                };
                copy_lines(bias, block.sums, [block.rows, shape.columns()]);
                (self.cell)(&job);
            } else if hidden.is_multiple_of(width) {
                // A panel of each gate makes the gates of some units while these are in the
                // first-level cache.
                let panels = hidden / width;
                for panel in 0..panels {
                    for gate in 0..shape.cell.gates() {
                        sweep.panel(gate * panels + panel, rows);
                    }
                    (self.cell)(&job.part(panel * width, width));
                }
            } else {
                sweep.run(rows);
                (self.cell)(&job);
            }
        }
    }

    /// All hidden units of a step.
    fn cell_step(&self, cx: &Run<'_>, block: &Block, step: usize) -> CellStep {
        let (shape, first) = (self.shape, block.first);
        let at = |operand: usize, width: usize, step: usize| {
            shape.lines(cx.ptr_mut(operand), width, [step, first])
        };
        let hidden = shape.hidden;
        let last = step + 1 == shape.time;
        let [next_h, next_c] = [PREVIOUS_H, PREVIOUS_C].map(|operand| match last {
            true => Lines::ABSENT,
            false => at(operand, hidden, step + 1),
        });
        let [last_h, last_c] = [LAST_H, LAST_C].map(|operand| match last {
            true => shape.state(cx.ptr_mut(operand), first),
            false => Lines::ABSENT,
        });
        CellStep {
            rows: block.rows,
            cols: hidden,
            hidden,
            sums: block.sums,
            input: at(INPUT, shape.columns(), step),
            h: block.h[step % 2],
            c: block.c,
            gates: at(GATES, shape.cell.saved() * hidden, step),
            new_h: [block.h[(step + 1) % 2], at(Y, hidden, step), next_h, last_h],
            new_c: [next_c, last_c],
        }
    }
}

/// The sequences of an item, and their scratch.
struct Block {
    first: usize,
    rows: usize,
    /// State before a step and behind it, in turn.
    h: [Lines; 2],
    c: Lines,
    sums: Lines,
}

impl CellStep {
    /// The step for `cols` hidden units from `first` on.
    fn part(&self, first: usize, cols: usize) -> CellStep {
        CellStep {
            rows: self.rows,
            cols,
            hidden: self.hidden,
            sums: self.sums.from(first),
            input: self.input.from(first),
            h: self.h.from(first),
            c: self.c.from(first),
            gates: self.gates.from(first),
            new_h: self.new_h.map(|lines| lines.from(first)),
            new_c: self.new_c.map(|lines| lines.from(first)),
        }
    }
}

impl Kernel for Sequence {
    fn name(&self) -> &'static str {
        match self.shape.cell {
            RecurrentCell::Gru => "gru_sequence",
            RecurrentCell::Lstm => "lstm_sequence",
            RecurrentCell::Rnn => "rnn_sequence",
        }
    }

    fn items(&self) -> usize {
        self.shape.items()
    }

    fn scratch_len(&self) -> usize {
        let rows = self.shape.most_rows();
        rows_scratch(2 * rows) + 4 * self.state_len(rows)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let SequenceShape { batch, hidden, .. } = self.shape;
        let (rows, columns, state) = (self.shape.rows(), self.shape.columns(), batch * hidden);
        let weights = PanelShape::dense(hidden, columns).len(self.isa);
        let read = |name, len| OperandSpec::read(name, DType::F32, len);
        let write = |name, len| OperandSpec::write(name, DType::F32, len).or_absent();
        vec![
            read("input", rows * columns),
            read("weights", weights),
            read("bias", columns).or_absent(),
            read("initial_h", state).or_absent(),
            read("initial_c", state).or_absent(),
            write("y", rows * hidden),
            write("last_h", state),
            write("last_c", state),
            write("gates", rows * self.shape.cell.saved() * hidden),
            write("previous_h", rows * hidden),
            write("previous_c", rows * hidden),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        let as_many = self.shape.cell.saved() == self.shape.cell.gates();
        (read, written) == (INPUT, GATES) && as_many
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            // SAFETY: the program checked the operands; the machine hands each item out once.
            unsafe { self.run_item(cx, item) }
        }
    }
}
