//! Reductions along an axis: sums, extremes and what is made of them.
//!
//! The order of every sum depends on the shape alone: lanes within tiles, tiles in order, and,
//! where one call would leave threads idle, parts of the axis that a second call joins.

mod arg;
mod sweep;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use arg::ArgReduce;

use crate::{AxisShape, DType, Isa, Kernel, OperandSpec, Run};
use sweep::{Columns, TILE_COLUMNS};

pub(crate) use sweep::Sweeps;

/// What a [`Reduce`] makes of the elements along its axis. Of no elements: sums are 0, the product
/// is 1, extremes are infinite, the mean is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Sum.
    Sum,
    /// Sum divided by the number of elements.
    Mean,
    /// Sum of squares.
    SumSquare,
    /// Sum of magnitudes.
    L1,
    /// Root of the sum of squares.
    L2,
    /// Product.
    Product,
    /// Largest element; NaN where there is one.
    Max,
    /// Smallest element; NaN where there is one.
    Min,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials, without overflow.
    LogSumExp,
}

impl Reduction {
    /// What a part of the axis is reduced to, and what joins the parts: the first without, the
    /// second with what comes after the sum.
    const fn halves(self) -> [Reduction; 2] {
        match self {
            Reduction::Mean | Reduction::LogSum => [Reduction::Sum, self],
            Reduction::SumSquare => [self, Reduction::Sum],
            Reduction::L1 => [self, Reduction::Sum],
            // The root of a sum, no longer of squares: see `Finish`.
            Reduction::L2 => [Reduction::SumSquare, Reduction::Sum],
            _ => [self, self],
        }
    }
}

/// What is done to a finished sum.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Finish {
    Nothing,
    DivideBy(f32),
    Root,
    Logarithm,
}

impl Finish {
    fn of(reduction: Reduction, len: usize) -> Finish {
        match reduction {
            Reduction::Mean => Finish::DivideBy(len as f32),
            Reduction::L2 => Finish::Root,
            Reduction::LogSum => Finish::Logarithm,
            _ => Finish::Nothing,
        }
    }

    fn apply(self, sum: f32) -> f32 {
        match self {
            Finish::Nothing => sum,
            Finish::DivideBy(count) => sum / count,
            Finish::Root => sum.sqrt(),
            Finish::Logarithm => sum.ln(),
        }
    }
}

/// Elements of one item.
const ITEM_LEN: usize = 16 * 1024;

/// Most parts that an axis is cut into.
const MAX_PARTS: usize = 64;

/// Reduces a tensor along one axis.
///
/// Operands: 0 `x` (read, f32, the whole shape), 1 `y` (written, f32: `[outer, inner]`, or
/// `[outer, parts, inner]` for the first of [`Reduce::in_two`]).
#[derive(Debug)]
pub struct Reduce {
    shape: AxisShape,
    parts: usize,
    finish: Finish,
    sweeps: Sweeps,
    units_per_item: usize,
}

impl Reduce {
    /// The reduction of the axis of `shape`.
    pub fn new(isa: Isa, reduction: Reduction, shape: AxisShape) -> Reduce {
        let finish = Finish::of(reduction, shape.len);
        Reduce::with_parts(isa, reduction, shape, 1, finish)
    }

    /// The reduction as two calls where one would have too few items for its size: the first
    /// reduces parts of the axis, the second joins them. Its operand `x` is the first one's `y`.
    pub fn in_two(isa: Isa, reduction: Reduction, shape: AxisShape) -> Option<[Reduce; 2]> {
        let parts = (shape.elements() / ITEM_LEN).min(MAX_PARTS).min(shape.len);
        let items = Reduce::new(isa, reduction, shape).items();
        let items_are_short = shape.elements() < 4 * ITEM_LEN * items;
        if items >= 16 || items_are_short || parts < 2 {
            return None;
        }
        let [first, second] = reduction.halves();
        let joined = AxisShape {
            len: parts,
            ..shape
        };
        let finish = Finish::of(reduction, shape.len);
        Some([
            Reduce::with_parts(isa, first, shape, parts, Finish::Nothing),
            Reduce::with_parts(isa, second, joined, 1, finish),
        ])
    }

    fn with_parts(
        isa: Isa,
        reduction: Reduction,
        shape: AxisShape,
        parts: usize,
        finish: Finish,
    ) -> Reduce {
        let unit_len = shape.len.div_ceil(parts) * shape.inner.min(TILE_COLUMNS);
        Reduce {
            shape,
            parts,
            finish,
            sweeps: Sweeps::of(reduction, isa),
            units_per_item: (ITEM_LEN / unit_len.max(1)).max(1),
        }
    }

    /// Floats of operand `y`.
    pub fn output_len(&self) -> usize {
        self.shape.lines() * self.parts
    }

    /// Units of one outer index and part.
    fn blocks(&self) -> usize {
        self.shape.inner.div_ceil(TILE_COLUMNS)
    }

    fn units(&self) -> usize {
        self.shape.outer * self.parts * self.blocks()
    }

    fn unit_range(&self, item: usize) -> Range<usize> {
        let first = item * self.units_per_item;
        first..self.units().min(first + self.units_per_item)
    }

    /// Whole contiguous lines, all in one.
    ///
    /// # Safety
    /// The lines belong to the item at hand.
    unsafe fn run_lines(&self, cx: &Run<'_>, lines: Range<usize>) {
        let len = self.shape.len;
        let x = cx.ptr::<f32>(0).wrapping_add(lines.start * len);
        let y = cx.ptr_mut::<f32>(1).wrapping_add(lines.start);
        // SAFETY: the lines lie within `x`, their results within `y`.
        unsafe {
            (self.sweeps.lines)(x, y, [lines.len(), len]);
            self.finish(y, lines.len());
        }
    }

    /// # Safety
    /// `count` sums can be written at `sums`.
    unsafe fn finish(&self, sums: *mut f32, count: usize) {
        if self.finish != Finish::Nothing {
            for at in 0..count {
                // SAFETY: the caller vouches for the sums.
                unsafe { *sums.add(at) = self.finish.apply(*sums.add(at)) };
            }
        }
    }

    /// # Safety
    /// The unit belongs to the item at hand.
    unsafe fn run_unit(&self, cx: &Run<'_>, unit: usize) {
        let AxisShape { len, inner, .. } = self.shape;
        let (line, column) = (unit / self.blocks(), unit % self.blocks() * TILE_COLUMNS);
        let (outer, part) = (line / self.parts, line % self.parts);
        // Parts differ by at most one in length.
        let range = len * part / self.parts..len * (part + 1) / self.parts;
        let x = cx
            .ptr::<f32>(0)
            .wrapping_add((outer * len + range.start) * inner + column);
        let y = cx.ptr_mut::<f32>(1).wrapping_add(line * inner + column);
        let columns = Columns {
            len: range.len(),
            stride: inner,
            count: TILE_COLUMNS.min(inner - column),
        };
        // SAFETY: the part of the axis and the columns lie within `x`, the columns within `y`,
        // where they belong to this unit alone.
        unsafe {
            if inner == 1 {
                (self.sweeps.lines)(x, y, [1, range.len()]);
            } else {
                (self.sweeps.columns)(x, y, columns);
            }
            self.finish(y, columns.count);
        }
    }
}

impl Kernel for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn items(&self) -> usize {
        self.units().div_ceil(self.units_per_item)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", DType::F32, self.shape.elements()),
            OperandSpec::write("y", DType::F32, self.output_len()),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape.elements() as u64
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let units = self.unit_range(item);
        let whole_lines = self.shape.inner == 1 && self.parts == 1;
        match operand {
            0 if whole_lines => Some(units.start * self.shape.len..units.end * self.shape.len),
            1 if self.shape.inner == 1 => Some(units),
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for item in items {
            let units = self.unit_range(item);
            if self.shape.inner == 1 && self.parts == 1 {
                // SAFETY: the lines are of one of this call's items.
                unsafe { self.run_lines(cx, units) };
                continue;
            }
            for unit in units {
                // SAFETY: the unit is of one of this call's items.
                unsafe { self.run_unit(cx, unit) };
            }
        }
    }
}
