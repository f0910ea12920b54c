//! Look-ups along an axis by indices, and their gradient.

use std::ops::Range;

use super::{by_size, element_size, item_len};
use crate::simd::line::{each_piece, load, store};
use crate::simd::{Simd, simd_entry};
use crate::{AxisShape, DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// Takes slices of a tensor along an axis: `[outer, len, inner]` by `n` indices to
/// `[outer, n, inner]`. An index below 0 counts from the end; one outside gives zeros.
///
/// Operands: 0 `x` (read), 1 `indices` (read, i64 or i32), 2 `y` (written).
#[derive(Debug)]
pub struct Gather {
    dtype: DType,
    size: usize,
    shape: AxisShape,
    indices: Indices,
    rows_per_item: usize,
}

/// Gradient of [`Gather`]: adds slices of `dy`, in the order of the indices, to those of `dx`,
/// which starts at zero. Indices outside are passed over.
///
/// Operands: 0 `dy` (read, f32, `[outer, n, inner]`), 1 `indices` (read), 2 `dx` (written, f32).
#[derive(Debug)]
pub struct GatherGrad {
    shape: AxisShape,
    indices: Indices,
    /// Pieces of the axis, and of every slice, that items own.
    row_parts: usize,
    column_parts: usize,
    add: unsafe fn(*const f32, *mut f32, usize),
}

/// Operand 1 of both.
#[derive(Debug, Clone, Copy)]
struct Indices {
    dtype: DType,
    count: usize,
}

impl Indices {
    fn new(kernel: &'static str, dtype: DType, count: usize) -> Result<Indices> {
        if matches!(dtype, DType::I64 | DType::I32) {
            return Ok(Indices { dtype, count });
        }
        let problem = format!("indices are of type {dtype}, not i64 or i32");
        Err(KernelError::Geometry { kernel, problem })
    }

    const fn spec(self) -> OperandSpec {
        OperandSpec::read("indices", self.dtype, self.count)
    }

    /// The place on an axis of `len` that index `at` names.
    ///
    /// # Safety
    /// `at` is below the number of indices.
    unsafe fn get(self, cx: &Run<'_>, at: usize, len: usize) -> Option<usize> {
        // SAFETY: the caller vouches for the index; no one writes them.
        let found = unsafe {
            match self.dtype {
                DType::I64 => *cx.ptr::<i64>(1).add(at),
                _ => i64::from(*cx.ptr::<i32>(1).add(at)),
            }
        };
        let from_start = if found < 0 {
            found.checked_add(len as i64)?
        } else {
            found
        };
        usize::try_from(from_start)
            .ok()
            .filter(|place| *place < len)
    }
}

simd_entry! {
    /// `y[..len] += x[..len]`.
    fn add_for(x: *const f32, y: *mut f32, len: usize) = add
}

#[inline(always)]
unsafe fn add<S: Simd>(s: S, x: *const f32, y: *mut f32, len: usize) {
    each_piece!(len, |at, count| {
        // SAFETY: the caller vouches for `len` floats at both.
        unsafe {
            let sum = s.add(load(s, count, y.add(at)), load(s, count, x.add(at)));
            store(s, count, y.add(at), sum);
        }
    });
}

impl Gather {
    /// Looks `count` indices of type `index_dtype` up along the axis of `shape`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for elements without a fixed size, and indices that are neither
    /// `I64` nor `I32`.
    pub fn new(dtype: DType, shape: AxisShape, index_dtype: DType, count: usize) -> Result<Gather> {
        let size = element_size("gather", dtype)?;
        Ok(Gather {
            dtype,
            size,
            shape,
            indices: Indices::new("gather", index_dtype, count)?,
            rows_per_item: (item_len(size) / shape.inner.max(16)).max(1),
        })
    }

    fn rows(&self) -> usize {
        self.shape.outer * self.indices.count
    }

    fn row_range(&self, item: usize) -> Range<usize> {
        let first = item * self.rows_per_item;
        first..self.rows().min(first + self.rows_per_item)
    }

    /// # Safety
    /// `T` has the element's size; the row belongs to the item at hand.
    unsafe fn copy_row<T: crate::Element>(&self, cx: &Run<'_>, row: usize) {
        let AxisShape { len, inner, .. } = self.shape;
        let (outer, at) = (row / self.indices.count, row % self.indices.count);
        let y = cx.ptr_mut::<T>(2).wrapping_add(row * inner);
        // SAFETY: the row lies within `y`, and the place that was found within `x`.
        unsafe {
            match self.indices.get(cx, at, len) {
                Some(place) => {
                    let x = cx.ptr::<T>(0).add((outer * len + place) * inner);
                    if inner == 1 {
                        *y = *x;
                    } else {
                        std::ptr::copy_nonoverlapping(x, y, inner);
                    }
                }
                None => std::ptr::write_bytes(y, 0, inner),
            }
        }
    }
}

impl Kernel for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn items(&self) -> usize {
        self.rows().div_ceil(self.rows_per_item)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.dtype, self.shape.elements()),
            self.indices.spec(),
            OperandSpec::write("y", self.dtype, self.rows() * self.shape.inner),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let rows = self.row_range(item);
        (operand == 2).then(|| rows.start * self.shape.inner..rows.end * self.shape.inner)
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for row in items.flat_map(|item| self.row_range(item)) {
            by_size!(self.size, T => {
                // SAFETY: the operands have elements of this size; the row is of this call.
                unsafe { self.copy_row::<T>(cx, row) }
            });
        }
    }
}

/// Columns of a slice that an item owns where there are too few rows to share.
const COLUMN_PART: usize = 64;

/// Most pieces of the axis: every one of them passes over all indices.
const MAX_ROW_PARTS: usize = 32;

impl GatherGrad {
    /// The gradient of [`Gather::new`] with the same arguments.
    ///
    /// # Errors
    /// As [`Gather::new`].
    pub fn new(isa: Isa, shape: AxisShape, index_dtype: DType, count: usize) -> Result<GatherGrad> {
        let wanted = shape.len * shape.inner / item_len(size_of::<f32>());
        let row_parts = wanted.clamp(1, MAX_ROW_PARTS).min(shape.len.max(1));
        let column_parts = if row_parts < 8 {
            shape.inner.div_ceil(COLUMN_PART)
        } else {
            1
        };
        Ok(GatherGrad {
            shape,
            indices: Indices::new("gather_grad", index_dtype, count)?,
            row_parts,
            column_parts: column_parts.max(1),
            add: add_for(isa),
        })
    }
}

impl Kernel for GatherGrad {
    fn name(&self) -> &'static str {
        "gather_grad"
    }

    fn items(&self) -> usize {
        self.shape.outer * self.row_parts * self.column_parts
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let slices = self.shape.lines() * self.indices.count;
        vec![
            OperandSpec::read("dy", DType::F32, slices),
            self.indices.spec(),
            OperandSpec::write("dx", DType::F32, self.shape.elements()),
        ]
    }

    fn flops(&self) -> u64 {
        (self.shape.lines() * self.indices.count) as u64
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let AxisShape { len, inner, .. } = self.shape;
        for item in items {
            let (column, rest) = (item % self.column_parts, item / self.column_parts);
            let (part, outer) = (rest % self.row_parts, rest / self.row_parts);
            let rows = len * part / self.row_parts..len * (part + 1) / self.row_parts;
            let share = |part: usize| inner * part / self.column_parts;
            let columns = share(column)..share(column + 1);
            let dy = cx
                .ptr::<f32>(0)
                .wrapping_add(outer * self.indices.count * inner);
            let dx = cx.ptr_mut::<f32>(2).wrapping_add(outer * len * inner);
            // SAFETY: rows and columns lie within the slices of this outer index; those of `dx`
            // are this item's own.
            unsafe {
                for row in rows.clone() {
                    let start = dx.wrapping_add(row * inner + columns.start);
                    std::ptr::write_bytes(start, 0, columns.len());
                }
                for at in 0..self.indices.count {
                    let place = self.indices.get(cx, at, len);
                    if let Some(row) = place.filter(|place| rows.contains(place)) {
                        let from = dy.add(at * inner + columns.start);
                        (self.add)(from, dx.add(row * inner + columns.start), columns.len());
                    }
                }
            }
        }
    }
}
