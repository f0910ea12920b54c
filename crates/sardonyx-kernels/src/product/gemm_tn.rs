//! The weight gradient of a dense layer: a product whose sum runs over the rows of both sides.

use std::ops::Range;

use super::conv::{Images, WeightCore, WeightOperands, WeightSum};
use super::panels::PanelShape;
use crate::axis::{AxisTaps, WindowAxis};
use crate::{Access, DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// Sizes of `A^T x B` with `A: [m, k]` and `B: [m, n]`, and floats from one row to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GemmTnShape {
    /// Rows of A and B.
    pub m: usize,
    /// Columns of A, rows of the result.
    pub k: usize,
    /// Columns of B and of the result.
    pub n: usize,
    /// Floats from one row of A to the next; at least `k`.
    pub lda: usize,
    /// Floats from one row of B to the next; at least `n`.
    pub ldb: usize,
}

impl GemmTnShape {
    /// Sizes with no space between rows.
    pub const fn dense(m: usize, k: usize, n: usize) -> GemmTnShape {
        GemmTnShape {
            m,
            k,
            n,
            lda: k,
            ldb: n,
        }
    }
}

/// `C = A^T x B` in panels, and the column sums of B: the gradients of a dense layer's weight and
/// bias, `A` being its input and `B` its output gradient.
///
/// Operands: 0 `a` (read, `[m, lda]`), 1 `b` (read, `[m, ldb]`), 2 `c` (written, or updated when
/// accumulating; `[shards]` x panels of `PanelShape::dense(k, n)`, lanes behind the last column
/// zero), 3 `column_sums` (as c, optional; `[shards, n]`). All f32. The sum over `m` is cut into
/// [`GemmTn::shards`] parts only where the result is too small to be shared out; a
/// [`crate::SumShards`] then adds them up.
#[derive(Debug)]
pub struct GemmTn {
    shape: GemmTnShape,
    isa: Isa,
    accumulate: bool,
    sum: WeightCore,
}

impl GemmTn {
    /// The kernel for `shape`. At most `most_shards` shards (0: the kernel's own limit);
    /// `accumulate` adds to the outputs instead of replacing them and needs a limit of one.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when rows overlap, or for accumulation into several shards.
    pub fn new(
        isa: Isa,
        shape: GemmTnShape,
        most_shards: usize,
        accumulate: bool,
    ) -> Result<GemmTn> {
        if shape.lda < shape.k || shape.ldb < shape.n || (accumulate && most_shards != 1) {
            let problem = format!("rows overlap or several shards accumulate in {shape:?}");
            return Err(KernelError::Geometry {
                kernel: "gemm_tn",
                problem,
            });
        }
        let images = |channels| Images {
            height: 1,
            width: shape.m,
            channels,
        };
        let window = WindowAxis {
            kernel: 1,
            stride: 1,
            dilation: 1,
            pad: 0,
        };
        let sum = WeightSum {
            batch: 1,
            x: images(shape.lda),
            dy: images(shape.ldb),
            weights: PanelShape::dense(shape.k, shape.n),
            rows: AxisTaps::forward(&window, 1),
            cols: AxisTaps::forward(&window, shape.m),
            unpool: None,
            accumulate,
        };
        Ok(GemmTn {
            shape,
            isa,
            accumulate,
            sum: WeightCore::new(isa, sum, most_shards),
        })
    }

    /// Parts that the sum over `m` is cut into.
    pub fn shards(&self) -> usize {
        self.sum.shards()
    }
}

impl Kernel for GemmTn {
    fn name(&self) -> &'static str {
        "gemm_tn"
    }

    fn items(&self) -> usize {
        self.sum.items()
    }

    fn scratch_len(&self) -> usize {
        self.sum.scratch_len()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let GemmTnShape { m, k, n, lda, ldb } = self.shape;
        let extent = |stride: usize, cols: usize| {
            if m == 0 || cols == 0 {
                0
            } else {
                (m - 1) * stride + cols
            }
        };
        let access = if self.accumulate {
            Access::ReadWrite
        } else {
            Access::Write
        };
        let output = |name, len: usize| OperandSpec {
            access,
            ..OperandSpec::write(name, DType::F32, self.shards() * len)
        };
        vec![
            OperandSpec::read("a", DType::F32, extent(lda, k)),
            OperandSpec::read("b", DType::F32, extent(ldb, n)),
            output("c", PanelShape::dense(k, n).len(self.isa)),
            output("column_sums", n).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        2 * self.shape.m as u64 * self.shape.n as u64 * self.shape.k as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let operands = WeightOperands {
            x: cx.ptr(0),
            dy: cx.ptr(1),
            argmax: std::ptr::null(),
            dw: cx.ptr_mut(2),
            db: cx.ptr_mut(3),
        };
        for item in items {
            // SAFETY: the program checked the operands; the machine hands each item out once.
            unsafe { self.sum.run(cx, &operands, item) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::panels::{PanelMap, UnpackPanels};
    use super::super::shards::SumShards;
    use super::*;
    use crate::testing::{Buffer, Rig};

    fn reduced(isa: Isa, shards: usize, parts: Buffer) -> Buffer {
        let len = parts.to_f32s().len() / shards;
        let kernel = SumShards::new(isa, shards, len, false);
        Rig::new(kernel).run(&[parts, Buffer::unset(len)])[1].clone()
    }

    #[test]
    fn product_and_column_sums_agree_with_the_sum() {
        let shapes = [
            GemmTnShape::dense(1, 1, 1),
            GemmTnShape {
                m: 37,
                k: 29,
                n: 33,
                lda: 31,
                ldb: 40,
            },
            GemmTnShape::dense(500, 130, 70),
            GemmTnShape::dense(3000, 9, 10),
            GemmTnShape::dense(0, 5, 6),
        ];
        for (isa, shape, draw) in Isa::available()
            .into_iter()
            .flat_map(|isa| shapes.map(|shape| (isa, shape)))
            .flat_map(|(isa, shape)| Rig::DRAWS.map(|draw| (isa, shape, draw)))
        {
            let GemmTnShape { m, k, n, lda, ldb } = shape;
            let (a, b) = (draw(m * lda, 1), Rig::ramp(m * ldb, 2));
            let dot = |row: usize, col: usize| {
                let terms =
                    (0..m).map(|i| f64::from(a[i * lda + row]) * f64::from(b[i * ldb + col]));
                terms.sum::<f64>() as f32
            };
            let expected: Vec<f32> = (0..k * n).map(|i| dot(i / n, i % n)).collect();
            let column = |col: usize| (0..m).map(|i| f64::from(b[i * ldb + col])).sum::<f64>();
            let sums: Vec<f32> = (0..n).map(|col| column(col) as f32).collect();
            let kernel = GemmTn::new(isa, shape, 0, false).unwrap();
            let (shards, len) = (kernel.shards(), PanelShape::dense(k, n).len(isa));
            let made = Rig::new(kernel).run(&[
                Buffer::f32s(&a),
                Buffer::f32s(&b),
                Buffer::unset(shards * len),
                Buffer::unset(shards * n),
            ]);
            let panels = reduced(isa, shards, made[2].clone());
            let is_number = |values: &[f32]| values.iter().all(|x| x.is_finite());
            assert!(
                is_number(&panels.to_f32s()) || !is_number(&a),
                "every lane is written"
            );
            let unpack = UnpackPanels::new(isa, PanelMap::matrix(k, n));
            let unpacked = Rig::new(unpack).run(&[panels, Buffer::unset(k * n)]);
            Rig::assert_close(&unpacked[1].to_f32s(), &expected, 3e-6);
            Rig::assert_close(
                &reduced(isa, shards, made[3].clone()).to_f32s(),
                &sums,
                3e-6,
            );
        }
    }
}
