//! Matrix product with a packed right-hand side.

use std::ops::Range;

use super::epilogue::{Activation, Addend, Gate};
use super::micro::{Finish, Micro, Segment, Start};
use super::panels::PanelShape;
use super::sweep::{
    Piece, Sweep, SweepRows, even_part, is_even, pieces, rows_scratch, split_scratch,
};
use crate::{DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// Multiply-adds of an item that outweigh handing it out, and of one that makes up for reading its
/// operands again where there are more than a few.
const LEAST_WORK: u64 = 1 << 16;
const ITEM_WORK: u64 = 1 << 20;
const FEW_ITEMS: u64 = 8;

/// Most items that a product is cut into for the sake of sharing it out.
const MOST_ITEMS: u64 = 64;

/// Tiles of rows in an item, so that a piece of a panel is used often enough once it is cached.
const ITEM_TILES: usize = 8;

/// Floats of a cache line.
const LINE: usize = 16;

/// Where rows of A are a multiple of so many floats apart, those of one tile contend for the same
/// lines of the first-level cache; copying them pays where this many panels use the copy.
const SET_STRIDE: usize = 1024;
const COPY_PANELS: usize = 4;

/// Sizes of a product `[m, k] x [k, n]`, and floats from one row to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GemmShape {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Floats from one row of A to the next; at least `k`.
    pub lda: usize,
    /// Floats from one row of C to the next; at least `n`.
    pub ldc: usize,
}

impl GemmShape {
    /// Sizes with no space between rows.
    pub const fn dense(m: usize, n: usize, k: usize) -> GemmShape {
        GemmShape {
            m,
            n,
            k,
            lda: k,
            ldc: n,
        }
    }
}

/// What a product does besides multiplying.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GemmOptions {
    /// What is added to the product besides the bias.
    pub addend: Addend,
    /// Applied last.
    pub activation: Activation,
    /// Multiplies by an activation's derivative; operand `gate` is that activation's output.
    pub gate: Option<Gate>,
    /// Rows of one item; `None` lets the kernel choose. With a number, items are blocks of that
    /// many whole rows, so that products and convolutions can form a chain.
    pub rows_per_item: Option<usize>,
}

/// `C = activation(gate(A x B + bias + addend))` with B in panels.
///
/// Operands: 0 `a` (read, `[m, lda]`), 1 `b` (read, panels of `PanelShape::dense(k, n)`),
/// 2 `bias` (optional, read, `[n]`), 3 `residual` (read, laid out as C, may be C's own region;
/// needed for [`Addend::Residual`]), 4 `gate` (read, laid out as C; needed where the options have
/// a gate), 5 `c` (written, or updated for [`Addend::Output`]; `[m, ldc]`). Elements of C between
/// `n` and `ldc` are left alone. All f32. An item is a block of rows and of panels.
#[derive(Debug)]
pub struct Gemm {
    shape: GemmShape,
    options: GemmOptions,
    micro: Micro,
    isa: Isa,
    pieces: Vec<Piece>,
    row_blocks: usize,
    panel_blocks: usize,
    copies_rows: bool,
}

const A: usize = 0;
const B: usize = 1;
const BIAS: usize = 2;
const RESIDUAL: usize = 3;
const GATE: usize = 4;
const C: usize = 5;

impl Gemm {
    /// The kernel for `shape`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when a row of A or C is shorter than its columns, or items have
    /// no rows.
    pub fn new(isa: Isa, shape: GemmShape, options: GemmOptions) -> Result<Gemm> {
        if shape.lda < shape.k || shape.ldc < shape.n || options.rows_per_item == Some(0) {
            let problem = format!("rows overlap or items are empty in {shape:?}, {options:?}");
            return Err(KernelError::Geometry {
                kernel: "gemm",
                problem,
            });
        }
        let micro = Micro::new(isa);
        let pieces = pieces(&[Segment { a: 0, b: 0 }], shape.k, 1, micro.panel_width);
        let (row_blocks, panel_blocks) = match options.rows_per_item {
            Some(rows) => (shape.m.div_ceil(rows), 1),
            None => blocks(&micro, shape),
        };
        let panels = shape.n.div_ceil(micro.panel_width) / panel_blocks;
        let copies_rows = shape.lda.is_multiple_of(SET_STRIDE) && panels >= COPY_PANELS;
        Ok(Gemm {
            shape,
            options,
            micro,
            isa,
            pieces,
            row_blocks,
            panel_blocks,
            copies_rows,
        })
    }

    /// Floats from one copied row of A to the next: rows start in different cache sets.
    fn copied_row(&self) -> usize {
        self.shape.k.next_multiple_of(LINE) + LINE
    }

    fn rows_of(&self, block: usize) -> Range<usize> {
        match self.options.rows_per_item {
            Some(rows) => block * rows..self.shape.m.min((block + 1) * rows),
            None => even_part(self.shape.m, self.row_blocks, block),
        }
    }

    /// Columns of a block of panels.
    fn cols_of(&self, block: usize) -> Range<usize> {
        let width = self.micro.panel_width;
        let part = even_part(self.shape.n.div_ceil(width), self.panel_blocks, block);
        part.start * width..self.shape.n.min(part.end * width)
    }

    /// # Safety
    /// The operands are as [`Kernel::operands`] says, and no one else works on this item.
    unsafe fn run_item(&self, cx: &Run<'_>, item: usize) {
        let shape = self.shape;
        let rows = self.rows_of(item / self.panel_blocks);
        let cols = self.cols_of(item % self.panel_blocks);
        // SAFETY: the scratch length covers the rows of the largest block.
        let (starts, outs, room) = unsafe { split_scratch(cx, rows.len()) };
        for (i, row) in rows.enumerate() {
            let from = cx.ptr::<f32>(A).wrapping_add(row * shape.lda);
            starts[i] = from;
            if self.copies_rows {
                let to = room.wrapping_add(i * self.copied_row());
                // SAFETY: a row of A has `k` elements; the scratch has room for all rows.
                unsafe { to.copy_from_nonoverlapping(from, shape.k) };
                starts[i] = to.cast_const();
            }
            outs[i] = row * shape.ldc + cols.start;
        }
        let sweep = Sweep {
            micro: &self.micro,
            c: cx.ptr_mut(C),
            a_step: 1,
            b: cx.ptr::<f32>(B).wrapping_add(cols.start * shape.k),
            b_step: self.micro.panel_width,
            panel_len: shape.k * self.micro.panel_width,
            cols: cols.len(),
            start: Start {
                bias: if cx.has(BIAS) {
                    cx.ptr::<f32>(BIAS).wrapping_add(cols.start)
                } else {
                    std::ptr::null()
                },
                add: self.options.addend.pointer(cx, RESIDUAL, C),
            },
            finish: Finish {
                activation: self.options.activation,
                gate: self.options.gate.map(|gate| (gate, cx.ptr(GATE))),
            },
        };
        // SAFETY: rows and columns are within the operands, whose lengths the program checked.
        unsafe {
            sweep.run(SweepRows {
                starts,
                outs,
                pieces: &self.pieces,
            })
        }
    }
}

/// Blocks of rows and of panels: enough items to share out, none so small that its panels are
/// read for a handful of rows.
fn blocks(micro: &Micro, shape: GemmShape) -> (usize, usize) {
    let panels = shape.n.div_ceil(micro.panel_width);
    if shape.m == 0 || panels == 0 {
        return (0, 1);
    }
    let work = shape.m as u64 * shape.n as u64 * shape.k as u64;
    let few = (work / LEAST_WORK).clamp(1, FEW_ITEMS);
    let wanted = (work / ITEM_WORK).clamp(few, MOST_ITEMS) as usize;
    let more = |parts: usize| (2 * parts..panels).find(|&parts| is_even(panels, parts));
    let split = |parts: usize| more(parts).unwrap_or(panels);
    let most_rows = ITEM_TILES * micro.rows();
    let mut row_blocks = shape.m.div_ceil(most_rows);
    let mut panel_blocks = 1;
    while row_blocks * panel_blocks < wanted {
        let rows = shape.m.div_ceil(row_blocks);
        let block_panels = panels.div_ceil(panel_blocks);
        if block_panels > 1 && (rows <= most_rows / 2 || block_panels > 4) {
            panel_blocks = split(panel_blocks);
        } else if rows > micro.rows() {
            row_blocks = (row_blocks * 2).min(shape.m.div_ceil(micro.rows()));
        } else if block_panels > 1 {
            panel_blocks = split(panel_blocks);
        } else {
            break;
        }
    }
    (row_blocks, panel_blocks)
}

impl Kernel for Gemm {
    fn name(&self) -> &'static str {
        "gemm"
    }

    fn items(&self) -> usize {
        self.row_blocks * self.panel_blocks
    }

    fn scratch_len(&self) -> usize {
        let rows = (0..self.row_blocks)
            .map(|b| self.rows_of(b).len())
            .max()
            .unwrap_or(0);
        let copies = if self.copies_rows {
            rows * self.copied_row()
        } else {
            0
        };
        rows_scratch(rows) + 4 * copies
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let GemmShape { m, n, k, lda, ldc } = self.shape;
        let c_len = if m == 0 || n == 0 {
            0
        } else {
            (m - 1) * ldc + n
        };
        let a_len = if m == 0 || k == 0 {
            0
        } else {
            (m - 1) * lda + k
        };
        let c = OperandSpec::write("c", DType::F32, c_len);
        vec![
            OperandSpec::read("a", DType::F32, a_len),
            OperandSpec::read("b", DType::F32, PanelShape::dense(k, n).len(self.isa)),
            OperandSpec::read("bias", DType::F32, n).or_absent(),
            OperandSpec::read("residual", DType::F32, c_len)
                .needed_if(self.options.addend == Addend::Residual),
            OperandSpec::read("gate", DType::F32, c_len).needed_if(self.options.gate.is_some()),
            self.options.addend.output(c),
        ]
    }

    fn flops(&self) -> u64 {
        2 * self.shape.m as u64 * self.shape.n as u64 * self.shape.k as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (RESIDUAL, C)
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let rows = self.rows_of(item / self.panel_blocks);
        match operand {
            A => Some(rows.start * self.shape.lda..rows.end * self.shape.lda),
            RESIDUAL | GATE | C if self.panel_blocks == 1 => {
                Some(rows.start * self.shape.ldc..rows.end * self.shape.ldc)
            }
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            // SAFETY: the program checked the operands; the machine hands each item out once.
            unsafe { self.run_item(cx, item) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::panels::{PackPanels, PanelMap};
    use super::*;
    use crate::testing::{Buffer, Rig};

    fn reference(shape: GemmShape, a: &[f32], b: &[f32], start: &[f32]) -> Vec<f32> {
        let mut c = start.to_vec();
        for i in 0..shape.m {
            for j in 0..shape.n {
                let dot: f64 = (0..shape.k)
                    .map(|t| f64::from(a[i * shape.lda + t]) * f64::from(b[t * shape.n + j]))
                    .sum();
                c[i * shape.ldc + j] += dot as f32;
            }
        }
        c
    }

    fn packed(isa: Isa, k: usize, n: usize, b: &[f32]) -> Buffer {
        let map = PanelMap::matrix(k, n);
        let operands = [Buffer::f32s(b), Buffer::unset(map.shape.len(isa))];
        Rig::new(PackPanels::new(isa, map)).run(&operands)[1].clone()
    }

    fn shapes() -> Vec<GemmShape> {
        vec![
            GemmShape::dense(1, 1, 1),
            GemmShape {
                m: 13,
                n: 31,
                k: 7,
                lda: 9,
                ldc: 40,
            },
            GemmShape::dense(29, 33, 65),
            GemmShape {
                m: 150,
                n: 70,
                k: 600,
                lda: 600,
                ldc: 71,
            },
            GemmShape::dense(3, 257, 19),
            GemmShape::dense(64, 16, 1),
            GemmShape {
                m: 17,
                n: 130,
                k: 70,
                lda: 1024,
                ldc: 130,
            },
            GemmShape::dense(0, 5, 3),
            GemmShape::dense(5, 4, 0),
        ]
    }

    #[test]
    fn product_bias_residual_and_activation_agree_with_the_sum() {
        for isa in Isa::available() {
            let shapes = shapes().into_iter();
            for (shape, draw) in shapes.flat_map(|shape| Rig::DRAWS.map(|draw| (shape, draw))) {
                let GemmShape { m, n, k, lda, ldc } = shape;
                let (a, b) = (draw(m * lda, 1), Rig::ramp(k * n, 2));
                let (bias, old) = (Rig::ramp(n, 3), Rig::ramp(m * ldc, 4));
                let mut start = old.clone();
                for (index, value) in start.iter_mut().enumerate() {
                    *value += bias.get(index % ldc).copied().unwrap_or(0.0);
                }
                let sum = reference(shape, &a, &b, &start);
                let leaky = Activation::LeakyRelu { slope: 0.25 };
                let expected: Vec<f32> = (0..m * ldc)
                    .map(|i| {
                        if i % ldc < n {
                            leaky.of(sum[i])
                        } else {
                            old[i]
                        }
                    })
                    .collect();
                for rows_per_item in [None, Some(4)] {
                    let options = GemmOptions {
                        addend: Addend::Output,
                        activation: leaky,
                        rows_per_item,
                        ..Default::default()
                    };
                    let gemm = Gemm::new(isa, shape, options).unwrap();
                    let made = Rig::new(gemm).run(&[
                        Buffer::f32s(&a),
                        packed(isa, k, n, &b),
                        Buffer::f32s(&bias),
                        Buffer::absent(),
                        Buffer::absent(),
                        Buffer::f32s(&old),
                    ]);
                    Rig::assert_close(&made[C].to_f32s(), &expected, 2e-6);
                }
            }
        }
    }

    #[test]
    fn residual_and_gate_agree_with_the_sum() {
        for isa in Isa::available() {
            let shape = GemmShape::dense(45, 50, 700);
            let (a, b) = (Rig::ramp(45 * 700, 1), Rig::ramp(700 * 50, 2));
            let (residual, gate) = (Rig::ramp(45 * 50, 3), Rig::ramp(45 * 50, 4));
            let expected: Vec<f32> = reference(shape, &a, &b, &residual)
                .iter()
                .zip(&gate)
                .map(|(sum, gate)| if *gate > 0.0 { *sum } else { 0.0 })
                .collect();
            let options = GemmOptions {
                addend: Addend::Residual,
                gate: Some(Gate::RELU),
                ..Default::default()
            };
            let made = Rig::new(Gemm::new(isa, shape, options).unwrap()).run(&[
                Buffer::f32s(&a),
                packed(isa, 700, 50, &b),
                Buffer::absent(),
                Buffer::f32s(&residual),
                Buffer::f32s(&gate),
                Buffer::unset(45 * 50),
            ]);
            Rig::assert_close(&made[C].to_f32s(), &expected, 2e-6);
        }
    }

    #[test]
    fn every_activation_agrees_with_its_scalar_form_and_keeps_nan() {
        let values = [
            -4.0,
            -2.9,
            -1.0,
            -0.0,
            0.0,
            0.3,
            2.0,
            6.5,
            f32::NAN,
            f32::INFINITY,
        ];
        let activations = [
            Activation::None,
            Activation::Relu,
            Activation::Clip {
                low: -1.0,
                high: 6.0,
            },
            Activation::LeakyRelu { slope: 0.1 },
            Activation::HardSigmoid {
                slope: 0.2,
                offset: 0.5,
            },
            Activation::HardSwish,
        ];
        for isa in Isa::available() {
            for activation in activations {
                let options = GemmOptions {
                    activation,
                    ..Default::default()
                };
                let gemm = Gemm::new(isa, GemmShape::dense(10, 1, 1), options).unwrap();
                let made = Rig::new(gemm).run(&[
                    Buffer::f32s(&values),
                    packed(isa, 1, 1, &[1.0]),
                    Buffer::absent(),
                    Buffer::absent(),
                    Buffer::absent(),
                    Buffer::unset(10),
                ]);
                let expected: Vec<f32> = values.iter().map(|x| activation.of(*x)).collect();
                Rig::assert_close(&made[C].to_f32s(), &expected, 1e-6);
            }
        }
    }

    #[test]
    fn overlapping_rows_are_refused() {
        let shape = GemmShape {
            lda: 3,
            ..GemmShape::dense(2, 2, 4)
        };
        assert!(Gemm::new(Isa::Scalar, shape, GemmOptions::default()).is_err());
    }
}
