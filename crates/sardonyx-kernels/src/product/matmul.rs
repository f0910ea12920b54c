//! Matrix products of two activations: batched, transposed by strides, packed on the way.

use std::ops::Range;

use super::epilogue::{Activation, Addend};
use super::micro::{Finish, Micro, Segment, Start};
use super::pack::{PanelFn, PanelJob, panel_function};
use super::sweep::{Piece, Sweep, SweepRows, even_part, pieces, rows_scratch, split_scratch};
use crate::axis::axes_nest;
use crate::{DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// Multiply-adds of an item that outweigh handing it out.
const ITEM_WORK: usize = 1 << 20;

/// Most items per product.
const MOST_BLOCKS: usize = 64;

/// Rows of an item, in tiles.
const ITEM_TILES: usize = 16;

/// One axis of a batch of products: its length, and floats from one product to the next in A, B
/// and C; 0 where an operand is the same for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAxis {
    /// Number of products along the axis.
    pub len: usize,
    /// Stride in A.
    pub a: usize,
    /// Stride in B.
    pub b: usize,
    /// Stride in C; 0 only for a length of at most 1.
    pub c: usize,
}

/// A batch of products `C = A x B` with `A: [m, k]`, `B: [k, n]`, `C: [m, n]`, each given by
/// strides, so that transposed and interleaved operands need no copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatMulShape {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Floats from one row and from one column of A to the next.
    pub a: [usize; 2],
    /// Floats from one row and from one column of B to the next; one of them is 1.
    pub b: [usize; 2],
    /// Floats from one row of C to the next; its columns are neighbours.
    pub c_row: usize,
    /// The batch, outermost axis first; empty for a single product.
    pub batch: Vec<BatchAxis>,
}

impl MatMulShape {
    /// A single product of row-major matrices, either of which may be stored transposed.
    pub fn plain(m: usize, n: usize, k: usize, transposed: [bool; 2]) -> MatMulShape {
        MatMulShape {
            m,
            n,
            k,
            a: if transposed[0] { [1, m] } else { [k, 1] },
            b: if transposed[1] { [1, k] } else { [n, 1] },
            c_row: n,
            batch: Vec::new(),
        }
    }

    fn products(&self) -> usize {
        self.batch.iter().map(|axis| axis.len).product()
    }

    /// Where product `index` starts in A, B and C.
    fn offsets(&self, mut index: usize) -> [usize; 3] {
        let mut offsets = [0; 3];
        for axis in self.batch.iter().rev() {
            let at = index % axis.len;
            index /= axis.len;
            for (offset, stride) in offsets.iter_mut().zip([axis.a, axis.b, axis.c]) {
                *offset += at * stride;
            }
        }
        offsets
    }

    /// Elements from the first to the last of an operand: 0 is A, 1 is B, 2 is C.
    fn extent(&self, operand: usize) -> Option<usize> {
        let (sides, strides) = match operand {
            0 => ([self.m, self.k], self.a),
            1 => ([self.k, self.n], self.b),
            _ => ([self.m, self.n], [self.c_row, 1]),
        };
        if self.products() == 0 || sides.contains(&0) {
            return Some(0);
        }
        let batch = self
            .batch
            .iter()
            .map(|axis| (axis.len, [axis.a, axis.b, axis.c][operand]));
        sides
            .into_iter()
            .zip(strides)
            .chain(batch)
            .try_fold(1usize, |extent, (len, stride)| {
                extent.checked_add((len - 1).checked_mul(stride)?)
            })
    }

    /// Whether no two elements of C are the same.
    fn c_is_simple(&self) -> bool {
        let mut axes: Vec<(usize, usize)> = vec![(1, self.n), (self.c_row, self.m)];
        axes.extend(self.batch.iter().map(|axis| (axis.c, axis.len)));
        axes_nest(axes)
    }
}

/// `C = alpha * A x B (+ C)` over a batch.
///
/// Operands: 0 `a` (read), 1 `b` (read), 2 `c` (written, or updated for [`Addend::Output`]), all
/// f32 and as long as the strides reach. An item is a block of one product or some whole ones.
#[derive(Debug)]
pub struct MatMul {
    shape: MatMulShape,
    alpha: f32,
    addend: Addend,
    micro: Micro,
    fill: PanelFn,
    pieces: Vec<Piece>,
    /// The whole sum at once, for panels that are read in place.
    whole: Piece,
    products_per_item: usize,
    row_blocks: usize,
    panel_blocks: usize,
}

impl MatMul {
    /// The kernel for `shape`; `addend` is nothing or the output.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for strides with which elements of C coincide or operands would
    /// be too long, a B whose rows and columns are both apart, or a residual.
    pub fn new(isa: Isa, shape: MatMulShape, alpha: f32, addend: Addend) -> Result<MatMul> {
        let problem = if !shape.b.contains(&1) {
            Some("neither rows nor columns of b are neighbours")
        } else if addend == Addend::Residual {
            Some("a residual")
        } else if !shape.c_is_simple() {
            Some("elements of c coincide")
        } else if (0..3).any(|operand| shape.extent(operand).is_none()) {
            Some("too many elements")
        } else {
            None
        };
        if let Some(text) = problem {
            let problem = format!("{text} in {shape:?}");
            return Err(KernelError::Geometry {
                kernel: "matmul",
                problem,
            });
        }
        let micro = Micro::new(isa);
        let start = [Segment { a: 0, b: 0 }];
        let work = shape
            .m
            .saturating_mul(shape.n)
            .saturating_mul(shape.k)
            .max(1);
        let products = shape.products();
        let wanted = (work / ITEM_WORK)
            .clamp(1, MOST_BLOCKS)
            .div_ceil(products.max(1));
        let panels = shape.n.div_ceil(micro.panel_width).max(1);
        let row_blocks = shape.m.div_ceil(ITEM_TILES * micro.rows()).max(1);
        Ok(MatMul {
            pieces: pieces(&start, shape.k, shape.a[1], micro.panel_width),
            whole: Piece::whole(start.to_vec(), shape.k),
            products_per_item: (ITEM_WORK / work).max(1),
            row_blocks,
            panel_blocks: wanted.div_ceil(row_blocks).min(panels),
            fill: panel_function(isa),
            alpha,
            addend,
            micro,
            shape,
        })
    }

    /// # Safety
    /// The operands are as [`Kernel::operands`] says, and no one else works on this block.
    unsafe fn run_block(&self, cx: &Run<'_>, product: usize, block: usize) {
        let (shape, width) = (&self.shape, self.micro.panel_width);
        let [a, b, c] = shape.offsets(product);
        let rows = even_part(shape.m, self.row_blocks, block / self.panel_blocks);
        let panels = even_part(
            shape.n.div_ceil(width),
            self.panel_blocks,
            block % self.panel_blocks,
        );
        // SAFETY: the scratch length covers the rows of the largest block.
        let (starts, outs, room) = unsafe { split_scratch(cx, rows.len()) };
        for (i, row) in rows.clone().enumerate() {
            starts[i] = cx.ptr::<f32>(0).wrapping_add(a + row * shape.a[0]);
            outs[i] = c + row * shape.c_row;
        }
        for panel in panels {
            let at = panel * width;
            let cols = width.min(shape.n - at);
            let from = cx.ptr::<f32>(1).wrapping_add(b + at * shape.b[1]);
            let in_place = self.reads_in_place(rows.len()) && cols == width;
            if !in_place {
                let [row, col] = shape.b;
                let (rows, scale) = (shape.k, self.alpha);
                // SAFETY: the panel's columns lie within B; the scratch has room for one panel.
                unsafe {
                    (self.fill)(&PanelJob {
                        from,
                        row,
                        col,
                        rows,
                        cols,
                        width,
                        scale,
                        to: room,
                    });
                }
            }
            let c_at: *mut f32 = cx.ptr_mut::<f32>(2).wrapping_add(at);
            let sweep = Sweep {
                micro: &self.micro,
                c: c_at,
                a_step: shape.a[1],
                b: if in_place { from } else { room },
                b_step: if in_place { shape.b[0] } else { width },
                panel_len: 0,
                cols,
                start: Start {
                    bias: std::ptr::null(),
                    add: if self.addend == Addend::Output {
                        c_at
                    } else {
                        std::ptr::null()
                    },
                },
                finish: Finish {
                    activation: Activation::None,
                    gate: None,
                },
            };
            let pieces = if in_place {
                std::slice::from_ref(&self.whole)
            } else {
                self.pieces.as_slice()
            };
            // SAFETY: rows and columns are within the operands.
            unsafe {
                sweep.run(SweepRows {
                    starts,
                    outs,
                    pieces,
                })
            }
        }
    }

    /// Whether so few rows use a panel that packing it would not pay.
    fn reads_in_place(&self, rows: usize) -> bool {
        self.shape.b[1] == 1 && self.alpha == 1.0 && rows <= 2 * self.micro.rows()
    }
}

impl Kernel for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn items(&self) -> usize {
        let blocks = self.row_blocks * self.panel_blocks;
        if self.shape.m == 0 || self.shape.n == 0 {
            0
        } else if blocks == 1 {
            self.shape.products().div_ceil(self.products_per_item)
        } else {
            self.shape.products() * blocks
        }
    }

    fn scratch_len(&self) -> usize {
        let rows = self.shape.m.div_ceil(self.row_blocks);
        rows_scratch(rows) + 4 * self.shape.k * self.micro.panel_width
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let extent = |operand| {
            self.shape
                .extent(operand)
                .expect("checked when it was made")
        };
        vec![
            OperandSpec::read("a", DType::F32, extent(0)),
            OperandSpec::read("b", DType::F32, extent(1)),
            self.addend
                .output(OperandSpec::write("c", DType::F32, extent(2))),
        ]
    }

    fn flops(&self) -> u64 {
        let [m, n, k] = [self.shape.m, self.shape.n, self.shape.k].map(|size| size as u64);
        2 * m * n * k * self.shape.products() as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let blocks = self.row_blocks * self.panel_blocks;
        for item in items {
            let (products, block) = if blocks == 1 {
                let first = item * self.products_per_item;
                (
                    first..self.shape.products().min(first + self.products_per_item),
                    0,
                )
            } else {
                (item / blocks..item / blocks + 1, item % blocks)
            };
            for product in products {
                // SAFETY: the program checked the operands; the machine hands each item out once.
                unsafe { self.run_block(cx, product, block) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Buffer, Rig};

    fn shapes() -> Vec<MatMulShape> {
        let plain = MatMulShape::plain;
        let batch = |len, a, b, c| BatchAxis { len, a, b, c };
        let mut shapes = vec![
            plain(1, 1, 1, [false; 2]),
            plain(0, 3, 2, [false; 2]),
            plain(3, 4, 0, [false; 2]),
        ];
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            shapes.push(plain(37, 45, 29, transposed));
            shapes.push(plain(3, 70, 300, transposed));
            shapes.push(plain(300, 17, 64, transposed));
        }
        // Heads interleaved in rows, as attention has them: [batch 2, rows, heads 3, 8].
        shapes.push(MatMulShape {
            a: [24, 1],
            b: [1, 24],
            batch: vec![
                batch(2, 40 * 24, 35 * 24, 3 * 40 * 35),
                batch(3, 8, 8, 40 * 35),
            ],
            ..plain(40, 35, 8, [false; 2])
        });
        // B is the same for all of the outer axis; C has gaps.
        shapes.push(MatMulShape {
            c_row: 50,
            batch: vec![batch(5, 7 * 9, 0, 1000), batch(2, 0, 9 * 33, 400)],
            ..plain(7, 33, 9, [false; 2])
        });
        shapes
    }

    #[test]
    fn products_agree_with_the_sum() {
        for (isa, shape) in Isa::available()
            .into_iter()
            .flat_map(|isa| shapes().into_iter().map(move |s| (isa, s)))
        {
            let extent = |operand| shape.extent(operand).unwrap();
            let (a, b) = (Rig::ramp(extent(0), 1), Rig::ramp(extent(1), 2));
            let variants = [
                (1.0, Addend::Output, a),
                (0.125, Addend::Nothing, Rig::extremes(extent(0), 4)),
            ];
            for (alpha, addend, a) in variants {
                let old = Rig::ramp(extent(2), 3);
                let mut expected = old.clone();
                for product in 0..shape.products() {
                    let [a_at, b_at, c_at] = shape.offsets(product);
                    for i in 0..shape.m * shape.n {
                        let (row, col) = (i / shape.n, i % shape.n);
                        let dot: f64 = (0..shape.k)
                            .map(|k| {
                                let left = a[a_at + row * shape.a[0] + k * shape.a[1]];
                                let right = b[b_at + k * shape.b[0] + col * shape.b[1]];
                                f64::from(left) * f64::from(right)
                            })
                            .sum();
                        let to = &mut expected[c_at + row * shape.c_row + col];
                        let start = if addend == Addend::Output { *to } else { 0.0 };
                        *to = start + alpha * dot as f32;
                    }
                }
                let kernel = MatMul::new(isa, shape.clone(), alpha, addend).unwrap();
                let made =
                    Rig::new(kernel).run(&[Buffer::f32s(&a), Buffer::f32s(&b), Buffer::f32s(&old)]);
                Rig::assert_close(&made[2].to_f32s(), &expected, 3e-6);
            }
        }
    }

    #[test]
    fn numbers_too_small_to_be_normal_are_kept() {
        for isa in Isa::available() {
            let (m, k) = (19, 37);
            let a: Vec<f32> = (0..m * k).map(|i| f32::from_bits(i as u32 + 1)).collect();
            let is_unit = |i: usize| f32::from(u8::from(i.is_multiple_of(k + 1)));
            let unit: Vec<f32> = (0..k * k).map(is_unit).collect();
            let shape = MatMulShape::plain(m, k, k, [false; 2]);
            let kernel = MatMul::new(isa, shape, 1.0, Addend::Nothing).unwrap();
            let c = Buffer::unset(m * k);
            let made = Rig::new(kernel).run(&[Buffer::f32s(&a), Buffer::f32s(&unit), c]);
            assert_eq!(made[2].to_f32s(), a);
        }
    }

    #[test]
    fn coinciding_outputs_are_refused() {
        let plain = MatMulShape::plain(4, 4, 4, [false; 2]);
        let batch = |c| {
            vec![BatchAxis {
                len: 2,
                a: 16,
                b: 16,
                c,
            }]
        };
        let bad = [
            MatMulShape {
                batch: batch(0),
                ..plain.clone()
            },
            MatMulShape {
                batch: batch(8),
                ..plain.clone()
            },
            MatMulShape {
                c_row: 3,
                ..plain.clone()
            },
            MatMulShape {
                b: [4, 2],
                ..plain.clone()
            },
        ];
        for shape in bad {
            assert!(MatMul::new(Isa::Scalar, shape, 1.0, Addend::Nothing).is_err());
        }
        assert!(
            MatMul::new(
                Isa::Scalar,
                MatMulShape {
                    batch: batch(16),
                    ..plain
                },
                1.0,
                Addend::Nothing
            )
            .is_ok()
        );
    }
}
