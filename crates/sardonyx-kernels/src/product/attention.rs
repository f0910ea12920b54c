//! Attention: two products with a softmax between them, whose scores never leave a thread's cache.

use std::ops::Range;

use super::epilogue::Activation;
use super::micro::{Finish, Micro, Segment, Start};
use super::pack::{PanelFn, PanelJob, panel_function};
use super::sweep::{Piece, Sweep, SweepRows, even_part, pieces, rows_scratch, split_scratch};
use crate::axis::axes_nest;
use crate::softmax::{LineFn, line_function};
use crate::{DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// Query rows of an item, in tiles.
const ITEM_TILES: usize = 8;

/// Bytes of scratch beyond which scores and packed operands fall out of the caches.
const MOST_SCRATCH: usize = 1 << 20;

/// One axis of a batch: its length, and floats from one product to the next in the queries, keys,
/// values and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionAxis {
    /// Number of products along the axis.
    pub len: usize,
    /// Strides in q, k, v and y; that of y is 0 only for a length of at most 1.
    pub strides: [usize; 4],
}

/// A matrix within an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionMatrix {
    /// Floats before the first element of the first product.
    pub offset: usize,
    /// Floats from one row and from one column to the next.
    pub steps: [usize; 2],
}

/// Sizes of a batch of `softmax(scale * q x k) x v`, with `q: [rows, depth]`, `k: [depth, keys]`,
/// `v: [keys, cols]` and `y: [rows, cols]`, each given by strides, so that the heads of one
/// projection are read and written where they lie.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionShape {
    /// Queries.
    pub rows: usize,
    /// Keys and values.
    pub keys: usize,
    /// Length of a query and of a key.
    pub depth: usize,
    /// Length of a value.
    pub cols: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Queries, keys (one of its steps is 1) and values (whose columns are neighbours).
    pub inputs: [AttentionMatrix; 3],
    /// Floats from one row of y to the next; its columns are neighbours.
    pub y_row: usize,
    /// The batch, outermost axis first.
    pub batch: Vec<AttentionAxis>,
}

impl AttentionShape {
    fn products(&self) -> usize {
        self.batch.iter().map(|axis| axis.len).product()
    }

    fn matrix(&self, operand: usize) -> ([usize; 2], AttentionMatrix) {
        let sides = match operand {
            Q => [self.rows, self.depth],
            K => [self.depth, self.keys],
            V => [self.keys, self.cols],
            _ => [self.rows, self.cols],
        };
        let y = AttentionMatrix {
            offset: 0,
            steps: [self.y_row, 1],
        };
        (sides, self.inputs.get(operand).copied().unwrap_or(y))
    }

    /// Where product `index` starts in each operand.
    fn offsets(&self, mut index: usize) -> [usize; 4] {
        let [q, k, v] = self.inputs.map(|matrix| matrix.offset);
        let mut offsets = [q, k, v, 0];
        for axis in self.batch.iter().rev() {
            let at = index % axis.len;
            index /= axis.len;
            for (offset, stride) in offsets.iter_mut().zip(axis.strides) {
                *offset += at * stride;
            }
        }
        offsets
    }

    /// Elements up to the last one that is touched of an operand.
    fn extent(&self, operand: usize) -> Option<usize> {
        let (sides, matrix) = self.matrix(operand);
        if self.products() == 0 || sides.contains(&0) {
            return Some(0);
        }
        let batch = self.batch.iter();
        let batch = batch.map(|axis| (axis.len, axis.strides[operand]));
        let mut axes = sides.into_iter().zip(matrix.steps).chain(batch);
        axes.try_fold(matrix.offset.checked_add(1)?, |extent, (len, stride)| {
            extent.checked_add((len - 1).checked_mul(stride)?)
        })
    }

    /// Whether no two elements of y are the same.
    fn y_is_simple(&self) -> bool {
        let mut axes: Vec<(usize, usize)> = vec![(1, self.cols), (self.y_row, self.rows)];
        axes.extend(self.batch.iter().map(|axis| (axis.strides[Y], axis.len)));
        axes_nest(axes)
    }
}

/// `y = softmax(scale * q x k) x v` over a batch; the softmax is along the keys.
///
/// Operands: 0 `q`, 1 `k`, 2 `v` (read), 3 `y` (written), all f32 and as long as the strides
/// reach. An item is a block of query rows of one product.
#[derive(Debug)]
pub struct Attention {
    shape: AttentionShape,
    micro: Micro,
    fill: PanelFn,
    softmax: LineFn,
    /// The sums over the depth and over the keys.
    pieces: [Vec<Piece>; 2],
    row_blocks: usize,
}

const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const Y: usize = 3;

impl Attention {
    /// The kernel for `shape`; none where the scores of a block of rows would not stay in cache.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for no keys, strides with which elements of y coincide or operands
    /// would be too long, or operands whose rows and columns are both apart.
    pub fn new(isa: Isa, shape: AttentionShape) -> Result<Option<Attention>> {
        let [_, k, v] = shape.inputs;
        let problem = if shape.keys == 0 {
            Some("no keys")
        } else if !k.steps.contains(&1) || v.steps[1] != 1 {
            Some("neither rows nor columns are neighbours")
        } else if !shape.y_is_simple() {
            Some("elements of y coincide")
        } else if (0..4).any(|operand| shape.extent(operand).is_none()) {
            Some("too many elements")
        } else {
            None
        };
        if let Some(text) = problem {
            return Err(KernelError::Geometry {
                kernel: "attention",
                problem: format!("{text} in {shape:?}"),
            });
        }
        let micro = Micro::new(isa);
        let start = [Segment { a: 0, b: 0 }];
        let width = micro.panel_width;
        let attention = Attention {
            pieces: [
                pieces(&start, shape.depth, shape.inputs[Q].steps[1], width),
                pieces(&start, shape.keys, 1, width),
            ],
            row_blocks: shape.rows.div_ceil(ITEM_TILES * micro.rows()).max(1),
            fill: panel_function(isa),
            softmax: line_function(isa),
            micro,
            shape,
        };
        Ok((attention.scratch_len() <= MOST_SCRATCH).then_some(attention))
    }

    /// Floats of a row of scores.
    fn score_len(&self) -> usize {
        self.shape.keys.next_multiple_of(self.micro.panel_width)
    }

    /// Packs a panel of an operand's columns from `at` on.
    ///
    /// # Safety
    /// The operand's first element is at `from`; `to` has room for a panel.
    unsafe fn pack(&self, operand: usize, from: *const f32, at: usize, to: *mut f32) {
        let ([rows, cols], matrix) = self.shape.matrix(operand);
        let [row, col] = matrix.steps;
        let width = self.micro.panel_width;
        // SAFETY: the panel's columns lie within the operand.
        unsafe {
            (self.fill)(&PanelJob {
                from: from.wrapping_add(at * col),
                row,
                col,
                rows,
                cols: width.min(cols - at),
                width,
                scale: if operand == K { self.shape.scale } else { 1.0 },
                to,
            });
        }
    }

    /// The product of `starts` with an operand, panel by panel, at `outs` from `c` on.
    ///
    /// # Safety
    /// The rows can be read along the operand's rows; as many outputs as it has columns can be
    /// written; `panel` has room for a panel.
    unsafe fn multiply(&self, operand: usize, from: *const f32, panel: *mut f32, job: &Rows<'_>) {
        let ([_, cols], _) = self.shape.matrix(operand);
        let width = self.micro.panel_width;
        for at in (0..cols).step_by(width) {
            // SAFETY: the caller vouches for the operand and the panel.
            unsafe { self.pack(operand, from, at, panel) };
            let sweep = Sweep {
                micro: &self.micro,
                c: job.c.wrapping_add(at),
                a_step: job.a_step,
                b: panel,
                b_step: width,
                panel_len: 0,
                cols: width.min(cols - at),
                start: Start {
                    bias: std::ptr::null(),
                    add: std::ptr::null(),
                },
                finish: Finish {
                    activation: Activation::None,
                    gate: None,
                },
            };
            // SAFETY: the caller vouches for rows and outputs.
            unsafe { sweep.run(job.rows) };
        }
    }

    /// # Safety
    /// The operands are as [`Kernel::operands`] says, and no one else works on this block.
    unsafe fn run_block(&self, cx: &Run<'_>, product: usize, block: usize) {
        let shape = &self.shape;
        let offsets = shape.offsets(product);
        let rows = even_part(shape.rows, self.row_blocks, block);
        let score_len = self.score_len();
        // SAFETY: the scratch length covers the rows of the largest block.
        let (starts, outs, scores) = unsafe { split_scratch(cx, rows.len()) };
        let panel = scores.wrapping_add(rows.len() * score_len);
        let q: *const f32 = cx.ptr::<f32>(Q).wrapping_add(offsets[Q]);
        for (index, row) in rows.clone().enumerate() {
            starts[index] = q.wrapping_add(row * shape.inputs[Q].steps[0]);
            outs[index] = index * score_len;
        }
        let k = cx.ptr::<f32>(K).wrapping_add(offsets[K]);
        // SAFETY: rows and columns are within the operands; scores and a panel have their room
        // in scratch, one behind the other.
        unsafe {
            let job = Rows {
                rows: SweepRows {
                    starts,
                    outs,
                    pieces: &self.pieces[0],
                },
                a_step: shape.inputs[Q].steps[1],
                c: scores,
            };
            self.multiply(K, k, panel, &job);
        }
        for (index, row) in rows.enumerate() {
            let line = scores.wrapping_add(index * score_len);
            // SAFETY: the line of scores was just written.
            unsafe { (self.softmax)(line, shape.keys) };
            starts[index] = line;
            outs[index] = row * shape.y_row;
        }
        let v = cx.ptr::<f32>(V).wrapping_add(offsets[V]);
        // SAFETY: as above; the rows of y are the item's own.
        unsafe {
            let job = Rows {
                rows: SweepRows {
                    starts,
                    outs,
                    pieces: &self.pieces[1],
                },
                a_step: 1,
                c: cx.ptr_mut::<f32>(Y).wrapping_add(offsets[Y]),
            };
            self.multiply(V, v, panel, &job);
        }
    }
}

/// Rows of a left operand, and where their products go.
struct Rows<'a> {
    rows: SweepRows<'a>,
    a_step: usize,
    c: *mut f32,
}

impl Kernel for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn items(&self) -> usize {
        if self.shape.rows == 0 || self.shape.cols == 0 {
            0
        } else {
            self.shape.products() * self.row_blocks
        }
    }

    fn scratch_len(&self) -> usize {
        let rows = self.shape.rows.div_ceil(self.row_blocks);
        let panel = self.shape.depth.max(self.shape.keys) * self.micro.panel_width;
        rows_scratch(rows) + 4 * (rows * self.score_len() + panel)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let extent = |operand| {
            let extent = self.shape.extent(operand);
            extent.expect("checked when it was made")
        };
        vec![
            OperandSpec::read("q", DType::F32, extent(Q)),
            OperandSpec::read("k", DType::F32, extent(K)),
            OperandSpec::read("v", DType::F32, extent(V)),
            OperandSpec::write("y", DType::F32, extent(Y)),
        ]
    }

    fn flops(&self) -> u64 {
        let shape = &self.shape;
        let scores = (shape.products() * shape.rows * shape.keys) as u64;
        2 * scores * (shape.depth + shape.cols) as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            // SAFETY: the program checked the operands; the machine hands each item out once.
            unsafe { self.run_block(cx, item / self.row_blocks, item % self.row_blocks) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Buffer, Rig};

    /// Heads side by side in one projection `[batch, rows, 3, heads, depth]`.
    fn projected(batch: usize, rows: usize, heads: usize, depth: usize) -> AttentionShape {
        let row = 3 * heads * depth;
        let matrix = |part: usize, steps| AttentionMatrix {
            offset: part * heads * depth,
            steps,
        };
        let whole = rows * row;
        let axis = |len, x, y| AttentionAxis {
            len,
            strides: [x, x, x, y],
        };
        AttentionShape {
            rows,
            keys: rows,
            depth,
            cols: depth,
            scale: 0.7,
            inputs: [
                matrix(0, [row, 1]),
                matrix(1, [1, row]),
                matrix(2, [row, 1]),
            ],
            y_row: heads * depth,
            batch: vec![
                axis(batch, whole, rows * heads * depth),
                axis(heads, depth, depth),
            ],
        }
    }

    fn shapes() -> Vec<AttentionShape> {
        let plain = |rows, keys, depth, cols| AttentionShape {
            rows,
            keys,
            depth,
            cols,
            scale: 1.0,
            inputs: [[depth, 1], [keys, 1], [cols, 1]]
                .map(|steps| AttentionMatrix { offset: 0, steps }),
            y_row: cols,
            batch: Vec::new(),
        };
        vec![
            plain(1, 1, 1, 1),
            plain(3, 5, 0, 2),
            plain(0, 3, 2, 2),
            plain(131, 37, 17, 45),
            plain(7, 300, 3, 33),
            projected(2, 19, 3, 8),
            projected(1, 64, 4, 32),
            projected(3, 33, 2, 40),
        ]
    }

    fn expected(shape: &AttentionShape, inputs: [&[f32]; 3], y_len: usize) -> Vec<f32> {
        let mut y = vec![f32::NAN; y_len];
        let at = |operand: usize, offset: usize, row: usize, col: usize| {
            let [row_step, col_step] = shape.inputs[operand].steps;
            f64::from(inputs[operand][offset + row * row_step + col * col_step])
        };
        for product in 0..shape.products() {
            let offsets = shape.offsets(product);
            for row in 0..shape.rows {
                let score = |key| -> f64 {
                    let terms = (0..shape.depth)
                        .map(|d| at(Q, offsets[Q], row, d) * at(K, offsets[K], d, key));
                    terms.sum::<f64>() * f64::from(shape.scale)
                };
                let powers: Vec<f64> = (0..shape.keys).map(|key| score(key).exp()).collect();
                let sum: f64 = powers.iter().sum();
                for col in 0..shape.cols {
                    let keys = powers.iter().enumerate();
                    let mean: f64 = keys.map(|(key, p)| p * at(V, offsets[V], key, col)).sum();
                    y[offsets[Y] + row * shape.y_row + col] = (mean / sum) as f32;
                }
            }
        }
        y
    }

    #[test]
    fn it_agrees_with_the_sums() {
        for (isa, shape) in Isa::available()
            .into_iter()
            .flat_map(|isa| shapes().into_iter().map(move |s| (isa, s)))
        {
            let extent = |operand| shape.extent(operand).unwrap();
            let inputs = [Q, K, V].map(|operand| Rig::ramp(extent(operand), operand as u64));
            let expected = expected(&shape, [&inputs[0], &inputs[1], &inputs[2]], extent(Y));
            let kernel = Attention::new(isa, shape.clone()).unwrap().unwrap();
            let [q, k, v] = inputs.map(|input| Buffer::f32s(&input));
            let made = Rig::new(kernel).run(&[q, k, v, Buffer::unset(extent(Y))]);
            Rig::assert_close(&made[Y].to_f32s(), &expected, 3e-6);
        }
    }

    #[test]
    fn what_is_no_number_spreads_along_its_row() {
        let shape = projected(1, 5, 1, 4);
        for isa in Isa::available() {
            let mut x = Rig::ramp(shape.extent(V).unwrap(), 1);
            // A component of the second query.
            x[12] = f32::NAN;
            let kernel = Attention::new(isa, shape.clone()).unwrap().unwrap();
            let x = || Buffer::f32s(&x);
            let made = Rig::new(kernel).run(&[x(), x(), x(), Buffer::unset(20)]);
            let made = made[Y].to_f32s();
            assert!(
                (0..20).all(|at| made[at].is_nan() == (at / 4 == 1)),
                "{made:?}"
            );
        }
    }

    #[test]
    fn misfits_are_refused() {
        let good = projected(2, 5, 2, 4);
        let mut coinciding = good.clone();
        coinciding.y_row = 3;
        let mut apart = good.clone();
        apart.inputs[V].steps = [24, 2];
        let no_keys = AttentionShape { keys: 0, ..good };
        for shape in [coinciding, apart, no_keys] {
            assert!(Attention::new(Isa::Scalar, shape).is_err());
        }
        let huge = projected(1, 1 << 16, 1, 4);
        assert!(Attention::new(Isa::Scalar, huge).unwrap().is_none());
    }
}
