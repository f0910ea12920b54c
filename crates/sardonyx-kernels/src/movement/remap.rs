//! Every output element is an input element or a constant, axis by axis: slices of any step,
//! padding, repetition, reversal and what is made of them.

use std::ops::Range;

use super::{by_size, element_size, item_len};
use crate::{DType, Kernel, KernelError, OperandSpec, Result, Run};

const KERNEL: &str = "remap";

/// Consecutive indices of an output's axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisRun {
    /// `len` indices that read the input at `first`, `first + step`, and so on.
    Read {
        /// Index along the input's axis.
        first: usize,
        /// Difference of one index to the next; 0 repeats.
        step: isize,
        /// Number of indices.
        len: usize,
    },
    /// `len` indices whose elements are the constant.
    Fill {
        /// Number of indices.
        len: usize,
    },
}

impl AxisRun {
    pub(super) const fn len(self) -> usize {
        match self {
            AxisRun::Read { len, .. } | AxisRun::Fill { len } => len,
        }
    }

    /// Whether it reads `size` indices in order, from the first.
    const fn is_whole(self, size: usize) -> bool {
        matches!(self, AxisRun::Read { first: 0, step: 1, len } if len == size)
    }

    fn fits(self, size: usize) -> bool {
        let AxisRun::Read { first, step, len } = self else {
            return true;
        };
        let Some(steps) = len.checked_sub(1) else {
            return true;
        };
        let last = isize::try_from(steps)
            .ok()
            .and_then(|steps| steps.checked_mul(step));
        let last = last.and_then(|distance| first.checked_add_signed(distance));
        first < size && last.is_some_and(|last| last < size)
    }
}

/// Copies elements axis by axis: the output's index along every axis says, by that axis' runs,
/// which index of the input it reads, or that it is constant.
///
/// A slice is one run per axis; padding is a fill, a run, a fill (runs of step -1 reflect, runs
/// of step 0 repeat an edge); repeating a tensor is a run per repetition; expanding an axis of
/// size 1 is a run of step 0.
///
/// Operands: 0 `x` (read), 1 `y` (written), both of the element type.
#[derive(Debug)]
pub struct Remap {
    dtype: DType,
    size: usize,
    fill: u64,
    input_len: usize,
    output_len: usize,
    /// Per outer axis of the output, where each index begins in the input; `None` for fill.
    outer: Vec<Vec<Option<usize>>>,
    /// The last axis that is not copied whole.
    runs: Vec<AxisRun>,
    /// Elements per index of that axis, side by side in both.
    block: usize,
    /// Elements of an output row.
    row_len: usize,
    rows_per_item: usize,
}

impl Remap {
    /// The copy of an input of sizes `dims` by `runs`, a list per axis. `fill` is the constant's
    /// bits, in as many low bytes as an element has.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when there is not one list per axis, or a run leaves its axis.
    pub fn new(dtype: DType, dims: &[usize], runs: &[Vec<AxisRun>], fill: u64) -> Result<Remap> {
        let size = element_size(KERNEL, dtype)?;
        check(dims, runs)?;
        let mut inner = dims.len();
        let mut block = 1;
        while inner > 0 && matches!(runs[inner - 1][..], [run] if run.is_whole(dims[inner - 1])) {
            inner -= 1;
            block *= dims[inner];
        }
        let mut strides = vec![block; inner];
        for axis in (1..inner).rev() {
            strides[axis - 1] = strides[axis] * dims[axis];
        }
        let (last, before) = match inner.checked_sub(1) {
            Some(last) => (runs[last].clone(), last),
            None => (
                vec![AxisRun::Read {
                    first: 0,
                    step: 1,
                    len: 1,
                }],
                0,
            ),
        };
        let axes = runs[..before].iter().zip(&strides);
        let outer: Vec<Vec<Option<usize>>> =
            axes.map(|(runs, stride)| starts(runs, *stride)).collect();
        let row_len = last.iter().map(|run| run.len()).sum::<usize>() * block;
        let rows: usize = outer.iter().map(Vec::len).product();
        Ok(Remap {
            dtype,
            size,
            fill,
            input_len: dims.iter().product(),
            output_len: rows * row_len,
            outer,
            runs: last,
            block,
            row_len,
            rows_per_item: (item_len(size) / row_len.max(1)).max(1),
        })
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.output_len
    }

    fn rows(&self) -> usize {
        self.output_len.checked_div(self.row_len).unwrap_or(0)
    }

    fn row_range(&self, item: usize) -> Range<usize> {
        let first = item * self.rows_per_item;
        first..self.rows().min(first + self.rows_per_item)
    }

    /// Where a row begins in the input; `None` for one of nothing but fill.
    fn locate(&self, row: usize) -> Option<usize> {
        let mut rest = row;
        let mut found = 0;
        for starts in self.outer.iter().rev() {
            found += starts[rest % starts.len()]?;
            rest /= starts.len();
        }
        Some(found)
    }

    /// # Safety
    /// `T` has the element's size; the row belongs to the item at hand.
    unsafe fn copy_row<T: Copy>(&self, x: *const T, y: *mut T, row: usize, fill: T) {
        let mut y = y.wrapping_add(row * self.row_len);
        let Some(start) = self.locate(row) else {
            // SAFETY: the caller vouches for the row.
            unsafe { fill_with(y, self.row_len, fill) };
            return;
        };
        let x = x.wrapping_add(start);
        for run in &self.runs {
            let len = run.len() * self.block;
            // SAFETY: runs were checked against the input's axis; together they are one row.
            unsafe {
                match *run {
                    AxisRun::Fill { .. } => fill_with(y, len, fill),
                    AxisRun::Read { first, step, len } => {
                        self.copy_run(x.wrapping_add(first * self.block), y, step, len);
                    }
                }
            }
            y = y.wrapping_add(len);
        }
    }

    /// # Safety
    /// `len` indices of `block` elements can be read from `x` on, `step` indices apart, and
    /// written at `y`.
    unsafe fn copy_run<T: Copy>(&self, x: *const T, y: *mut T, step: isize, len: usize) {
        let block = self.block;
        // SAFETY: the caller vouches for the elements; the input is no part of the output.
        unsafe {
            match (step, block) {
                (1, _) => std::ptr::copy_nonoverlapping(x, y, len * block),
                (0, 1) => fill_with(y, len, *x),
                (_, 1) => {
                    for index in 0..len {
                        *y.add(index) = *x.offset(index as isize * step);
                    }
                }
                _ => {
                    let step = step * block as isize;
                    for index in 0..len {
                        let from = x.offset(index as isize * step);
                        std::ptr::copy_nonoverlapping(from, y.add(index * block), block);
                    }
                }
            }
        }
    }
}

/// # Safety
/// `len` elements can be written at `to`.
unsafe fn fill_with<T: Copy>(to: *mut T, len: usize, value: T) {
    for index in 0..len {
        // SAFETY: the caller vouches for the elements.
        unsafe { *to.add(index) = value };
    }
}

/// Where every index of an axis begins in the input.
fn starts(runs: &[AxisRun], stride: usize) -> Vec<Option<usize>> {
    let indices = runs.iter().flat_map(|run| {
        (0..run.len()).map(move |index| match *run {
            AxisRun::Read { first, step, .. } => first.checked_add_signed(index as isize * step),
            AxisRun::Fill { .. } => None,
        })
    });
    indices
        .map(|index| index.map(|index| index * stride))
        .collect()
}

fn check(dims: &[usize], runs: &[Vec<AxisRun>]) -> Result<()> {
    let geometry = |problem| KernelError::Geometry {
        kernel: KERNEL,
        problem,
    };
    if dims.len() != runs.len() {
        let problem = format!("{} lists of runs for {} axes", runs.len(), dims.len());
        return Err(geometry(problem));
    }
    for (axis, (runs, size)) in runs.iter().zip(dims).enumerate() {
        if let Some(run) = runs.iter().find(|run| !run.fits(*size)) {
            return Err(geometry(format!(
                "{run:?} leaves axis {axis} of size {size}"
            )));
        }
    }
    Ok(())
}

impl Kernel for Remap {
    fn name(&self) -> &'static str {
        KERNEL
    }

    fn items(&self) -> usize {
        self.rows().div_ceil(self.rows_per_item)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.dtype, self.input_len),
            OperandSpec::write("y", self.dtype, self.output_len),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let rows = self.row_range(item);
        (operand == 1).then(|| rows.start * self.row_len..rows.end * self.row_len)
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for row in items.flat_map(|item| self.row_range(item)) {
            by_size!(self.size, T => {
                let (x, y) = (cx.ptr::<T>(0), cx.ptr_mut::<T>(1));
                // SAFETY: the operands have elements of this size and as many as the rows need;
                // the row is of one of this call's items.
                unsafe { self.copy_row::<T>(x, y, row, self.fill as T) }
            });
        }
    }
}
