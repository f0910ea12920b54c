//! Arithmetic and comparison of integers and truth values.

use std::ops::Range;

use super::walk::Walk;
use crate::{DType, Kernel, KernelError, OperandSpec, Result, Run, View};

/// What an [`IntegerMap`] does to `x` and `y`. Arithmetic wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerOp {
    /// `x + y`.
    Add,
    /// `x - y`.
    Sub,
    /// `x * y`.
    Mul,
    /// `x / y` towards zero; 0 where `y` is 0.
    Div,
    /// What that division leaves, with the sign of `x`; 0 where `y` is 0.
    Fmod,
    /// The same of the division rounded down: with the sign of `y`.
    Mod,
    /// The larger.
    Max,
    /// The smaller.
    Min,
    /// Bits of both.
    BitAnd,
    /// Bits of either.
    BitOr,
    /// Bits of exactly one.
    BitXor,
    /// `x < y`, a truth value.
    Less,
    /// `x <= y`, a truth value.
    LessOrEqual,
    /// `x > y`, a truth value.
    Greater,
    /// `x >= y`, a truth value.
    GreaterOrEqual,
    /// `x == y`, a truth value.
    Equal,
    /// `x != y`, a truth value.
    NotEqual,
    /// Both are not 0, a truth value.
    And,
    /// One or both are not 0, a truth value.
    Or,
    /// Exactly one is not 0, a truth value.
    Xor,
}

impl IntegerOp {
    /// Whether the result is of type `Bool`, not of the operands' type.
    pub const fn is_truth(self) -> bool {
        matches!(
            self,
            IntegerOp::Less
                | IntegerOp::LessOrEqual
                | IntegerOp::Greater
                | IntegerOp::GreaterOrEqual
                | IntegerOp::Equal
                | IntegerOp::NotEqual
                | IntegerOp::And
                | IntegerOp::Or
                | IntegerOp::Xor
        )
    }
}

/// Operands of a row and their steps, the result, and the number of elements.
type Sweep = unsafe fn([*const u8; 2], [usize; 2], *mut u8, usize);

/// Elementwise arithmetic of `I64`, `I32`, `U8` or `Bool` with broadcasting.
///
/// Operands: 0 `x`, 1 `y` (read), 2 `z` (written: truth values as `Bool`, else of the operands'
/// type).
#[derive(Debug)]
pub struct IntegerMap {
    dtype: DType,
    result: DType,
    size: usize,
    walk: Walk<2>,
    sweep: Sweep,
}

impl IntegerMap {
    /// `op` with a result of shape `dims`; `views` say how `x` and `y` are walked.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when the type is not one of those named above, or a view has
    /// another number of axes than the result.
    pub fn new(
        op: IntegerOp,
        dtype: DType,
        dims: &[usize],
        views: [View; 2],
    ) -> Result<IntegerMap> {
        let (size, sweep) = match dtype {
            DType::I64 => (8, sweep_i64(op)),
            DType::I32 => (4, sweep_i32(op)),
            DType::U8 | DType::Bool => (1, sweep_u8(op)),
            _ => {
                return Err(KernelError::Geometry {
                    kernel: "integer_map",
                    problem: format!("{dtype} is not supported"),
                });
            }
        };
        Ok(IntegerMap {
            dtype,
            result: if op.is_truth() { DType::Bool } else { dtype },
            size,
            walk: Walk::new("integer_map", dims, views)?,
            sweep,
        })
    }
}

macro_rules! sweeps {
    ($($name:ident: $ty:ty),*) => {$(
        fn $name(op: IntegerOp) -> Sweep {
            macro_rules! row {
                ($result:ty, |$x:ident, $y:ident| $made:expr) => {{
                    unsafe fn row(
                        from: [*const u8; 2], step: [usize; 2], to: *mut u8, len: usize
                    ) {
                        let [x, y] = from.map(|from| from.cast::<$ty>());
                        for index in 0..len {
                            // SAFETY: the caller vouches for the elements.
                            unsafe {
                                let $x: $ty = *x.add(index * step[0]);
                                let $y: $ty = *y.add(index * step[1]);
                                *to.cast::<$result>().add(index) = $made;
                            }
                        }
                    }
                    row as Sweep
                }};
            }
            match op {
                IntegerOp::Add => row!($ty, |x, y| x.wrapping_add(y)),
                IntegerOp::Sub => row!($ty, |x, y| x.wrapping_sub(y)),
                IntegerOp::Mul => row!($ty, |x, y| x.wrapping_mul(y)),
                IntegerOp::Div => row!($ty, |x, y| if y == 0 { 0 } else { x.wrapping_div(y) }),
                IntegerOp::Fmod => row!($ty, |x, y| if y == 0 { 0 } else { x.wrapping_rem(y) }),
                IntegerOp::Mod => row!($ty, |x, y| if y == 0 {
                    0
                } else {
                    let rest = x.wrapping_rem(y);
                    let behind = rest != 0 && (rest > 0) != (y > 0);
                    if behind { rest.wrapping_add(y) } else { rest }
                }),
                IntegerOp::Max => row!($ty, |x, y| x.max(y)),
                IntegerOp::Min => row!($ty, |x, y| x.min(y)),
                IntegerOp::BitAnd => row!($ty, |x, y| x & y),
                IntegerOp::BitOr => row!($ty, |x, y| x | y),
                IntegerOp::BitXor => row!($ty, |x, y| x ^ y),
                IntegerOp::Less => row!(u8, |x, y| u8::from(x < y)),
                IntegerOp::LessOrEqual => row!(u8, |x, y| u8::from(x <= y)),
                IntegerOp::Greater => row!(u8, |x, y| u8::from(x > y)),
                IntegerOp::GreaterOrEqual => row!(u8, |x, y| u8::from(x >= y)),
                IntegerOp::Equal => row!(u8, |x, y| u8::from(x == y)),
                IntegerOp::NotEqual => row!(u8, |x, y| u8::from(x != y)),
                IntegerOp::And => row!(u8, |x, y| u8::from(x != 0 && y != 0)),
                IntegerOp::Or => row!(u8, |x, y| u8::from(x != 0 || y != 0)),
                IntegerOp::Xor => row!(u8, |x, y| u8::from((x != 0) != (y != 0))),
            }
        }
    )*};
}

sweeps!(sweep_i64: i64, sweep_i32: i32, sweep_u8: u8);

impl Kernel for IntegerMap {
    fn name(&self) -> &'static str {
        "integer_map"
    }

    fn items(&self) -> usize {
        self.walk.items(self.size)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let [x, y] = self.walk.needed;
        vec![
            OperandSpec::read("x", self.dtype, x),
            OperandSpec::read("y", self.dtype, y),
            OperandSpec::write("z", self.result, self.walk.len),
        ]
    }

    fn flops(&self) -> u64 {
        self.walk.len as u64
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        (operand == 2).then(|| self.walk.range(self.size, item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let result = self.result.size_bytes().unwrap_or(0);
        for row in items.flat_map(|item| self.walk.rows(self.size, item)) {
            let from = [0, 1].map(|operand| {
                cx.ptr::<u8>(operand)
                    .wrapping_add(row.first[operand] * self.size)
            });
            let to = cx.ptr_mut::<u8>(2).wrapping_add(row.at * result);
            // SAFETY: rows lie within the operands by their views, and the result's is this
            // call's own.
            unsafe { (self.sweep)(from, row.step, to, row.len) };
        }
    }
}
