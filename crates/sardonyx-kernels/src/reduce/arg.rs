//! Where the largest or smallest element along an axis is.

use std::ops::Range;

use crate::{AxisShape, DType, Kernel, OperandSpec, Run};

/// Elements of one item.
const ITEM_LEN: usize = 8 * 1024;

/// Index along the axis of the largest (or smallest) element. The first of equal ones, or the
/// last; a NaN is larger and smaller than everything, as in numpy.
///
/// Operands: 0 `x` (read, f32, the whole shape), 1 `index` (written, i64, `[outer, inner]`). Along
/// an axis of no elements the index is 0.
#[derive(Debug)]
pub struct ArgReduce {
    shape: AxisShape,
    smallest: bool,
    last: bool,
}

impl ArgReduce {
    /// The index of the first largest element.
    pub fn largest(shape: AxisShape) -> ArgReduce {
        ArgReduce {
            shape,
            smallest: false,
            last: false,
        }
    }

    /// The index of the first smallest element.
    pub fn smallest(shape: AxisShape) -> ArgReduce {
        ArgReduce {
            smallest: true,
            ..ArgReduce::largest(shape)
        }
    }

    /// The last of equal elements, not the first.
    pub fn last_of_equals(self) -> ArgReduce {
        ArgReduce { last: true, ..self }
    }

    fn lines_per_item(&self) -> usize {
        (ITEM_LEN / self.shape.len.max(1)).max(1)
    }

    fn lines(&self, item: usize) -> Range<usize> {
        let first = item * self.lines_per_item();
        first..self.shape.lines().min(first + self.lines_per_item())
    }

    fn is_better(&self, x: f32, best: f32) -> bool {
        if best.is_nan() || x.is_nan() {
            return x.is_nan() && (self.last || !best.is_nan());
        }
        let ahead = if self.smallest { x < best } else { x > best };
        ahead || (self.last && x == best)
    }
}

impl Kernel for ArgReduce {
    fn name(&self) -> &'static str {
        "arg_reduce"
    }

    fn items(&self) -> usize {
        self.shape.lines().div_ceil(self.lines_per_item())
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", DType::F32, self.shape.elements()),
            OperandSpec::write("index", DType::I64, self.shape.lines()),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape.elements() as u64
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let lines = self.lines(item);
        match operand {
            1 => Some(lines),
            _ if self.shape.inner == 1 => {
                Some(lines.start * self.shape.len..lines.end * self.shape.len)
            }
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let AxisShape { len, inner, .. } = self.shape;
        for line in items.flat_map(|item| self.lines(item)) {
            let start = line / inner * len * inner + line % inner;
            let x = cx.ptr::<f32>(0).wrapping_add(start);
            let mut best = 0;
            // SAFETY: the line lies within `x`, and its index is this item's own.
            unsafe {
                for index in 1..len {
                    if self.is_better(*x.add(index * inner), *x.add(best * inner)) {
                        best = index;
                    }
                }
                *cx.ptr_mut::<i64>(1).add(line) = best as i64;
            }
        }
    }
}
