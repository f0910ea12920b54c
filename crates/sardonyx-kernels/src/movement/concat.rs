//! Tensors joined along an axis.

use std::ops::Range;

use super::{by_size, element_size, item_len};
use crate::{DType, Kernel, OperandSpec, Result, Run};

/// Joins tensors that differ in one axis only.
///
/// Operands: the inputs in order (read), then the output (written), all of the element type.
#[derive(Debug)]
pub struct Concat {
    dtype: DType,
    size: usize,
    outer: usize,
    /// Per input, elements of one outer index.
    lens: Vec<usize>,
    row_len: usize,
}

impl Concat {
    /// Joins inputs of shapes `[outer, axis, inner]`, whose `axis * inner` are `lens`.
    ///
    /// # Errors
    /// [`crate::KernelError::Geometry`] when elements have no fixed size.
    pub fn new(dtype: DType, outer: usize, lens: &[usize]) -> Result<Concat> {
        Ok(Concat {
            dtype,
            size: element_size("concat", dtype)?,
            outer,
            lens: lens.to_vec(),
            row_len: lens.iter().sum(),
        })
    }

    fn range(&self, item: usize) -> Range<usize> {
        let step = item_len(self.size);
        item * step..(self.outer * self.row_len).min((item + 1) * step)
    }

    /// # Safety
    /// `T` has the element's size; the elements `range` of the output belong to the item at hand.
    unsafe fn copy<T: crate::Element>(&self, cx: &Run<'_>, range: Range<usize>) {
        let y = cx.ptr_mut::<T>(self.lens.len());
        for outer in range.start / self.row_len..range.end.div_ceil(self.row_len) {
            let mut start = outer * self.row_len;
            for (input, len) in self.lens.iter().enumerate() {
                let from = range.start.max(start);
                let to = range.end.min(start + len);
                if from < to {
                    let x = cx.ptr::<T>(input).wrapping_add(outer * len + from - start);
                    // SAFETY: the piece lies within the input's row and within the output.
                    unsafe { std::ptr::copy_nonoverlapping(x, y.add(from), to - from) };
                }
                start += len;
            }
        }
    }
}

impl Kernel for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn items(&self) -> usize {
        (self.outer * self.row_len).div_ceil(item_len(self.size))
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let inputs = self.lens.iter();
        let inputs = inputs.map(|len| OperandSpec::read("input", self.dtype, self.outer * len));
        let output = OperandSpec::write("output", self.dtype, self.outer * self.row_len);
        inputs.chain([output]).collect()
    }

    fn flops(&self) -> u64 {
        0
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        (operand == self.lens.len()).then(|| self.range(item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            by_size!(self.size, T => {
                // SAFETY: the operands have elements of this size; the range is the item's own.
                unsafe { self.copy::<T>(cx, self.range(item)) }
            });
        }
    }
}
