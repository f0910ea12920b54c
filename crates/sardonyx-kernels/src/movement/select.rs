//! Choice between two tensors by a third.

use std::ops::Range;

use super::walk::Walk;
use super::{by_size, element_size};
use crate::{DType, Kernel, OperandSpec, Result, Run, View};

/// `where(condition, yes, no)` with broadcasting, for elements of any type.
///
/// Operands: 0 `condition` (read, bool), 1 `yes`, 2 `no` (read), 3 `y` (written).
#[derive(Debug)]
pub struct Select {
    dtype: DType,
    size: usize,
    walk: Walk<3>,
}

impl Select {
    /// A choice of shape `dims`; `views` say how condition, `yes` and `no` are walked.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] when a view has another number of axes than the result, or
    /// elements have no fixed size.
    pub fn new(dtype: DType, dims: &[usize], views: [View; 3]) -> Result<Select> {
        Ok(Select {
            dtype,
            size: element_size("select", dtype)?,
            walk: Walk::new("select", dims, views)?,
        })
    }

    /// # Safety
    /// `T` has the element's size; the item is one of this call's.
    unsafe fn run_item<T: crate::Element>(&self, cx: &Run<'_>, item: usize) {
        for row in self.walk.rows(self.size, item) {
            let condition = cx.ptr::<u8>(0).wrapping_add(row.first[0]);
            let yes = cx.ptr::<T>(1).wrapping_add(row.first[1]);
            let no = cx.ptr::<T>(2).wrapping_add(row.first[2]);
            let y = cx.ptr_mut::<T>(3).wrapping_add(row.at);
            for index in 0..row.len {
                // SAFETY: rows lie within the operands by their views.
                unsafe {
                    let is = *condition.add(index * row.step[0]) != 0;
                    let (yes, no) = (*yes.add(index * row.step[1]), *no.add(index * row.step[2]));
                    *y.add(index) = if is { yes } else { no };
                }
            }
        }
    }
}

impl Kernel for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn items(&self) -> usize {
        self.walk.items(self.size)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let [condition, yes, no] = self.walk.needed;
        vec![
            OperandSpec::read("condition", DType::Bool, condition),
            OperandSpec::read("yes", self.dtype, yes),
            OperandSpec::read("no", self.dtype, no),
            OperandSpec::write("y", self.dtype, self.walk.len),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        (operand == 3).then(|| self.walk.range(self.size, item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            by_size!(self.size, T => {
                // SAFETY: the operands have elements of this size.
                unsafe { self.run_item::<T>(cx, item) }
            });
        }
    }
}
