//! Broadcasting for kernels that work element by element: rows along which every operand has one
//! step.

use std::ops::Range;

use super::item_len;
use crate::view::collapse;
use crate::{KernelError, Result, View};

/// A result cut into rows of one step per operand.
#[derive(Debug)]
pub(super) struct Walk<const N: usize> {
    sizes: Vec<usize>,
    /// Per operand and axis.
    strides: Vec<Vec<usize>>,
    offsets: [usize; N],
    /// Elements that every operand must have.
    pub(super) needed: [usize; N],
    /// Elements of the result.
    pub(super) len: usize,
    inner: usize,
}

/// Consecutive elements of the result, and where each operand has its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<const N: usize> {
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) first: [usize; N],
    pub(super) step: [usize; N],
}

impl<const N: usize> Walk<N> {
    /// # Errors
    /// [`KernelError::Geometry`] when a view has another number of axes than the result.
    pub(super) fn new(kernel: &'static str, dims: &[usize], views: [View; N]) -> Result<Walk<N>> {
        if let Some(view) = views.iter().find(|view| view.strides.len() != dims.len()) {
            let (found, axes) = (view.strides.len(), dims.len());
            let problem = format!("a view of {found} axes for a result of {axes}");
            return Err(KernelError::Geometry { kernel, problem });
        }
        let (sizes, strides) = collapse(dims, &views);
        Ok(Walk {
            len: sizes.iter().product(),
            inner: *sizes.last().expect("there is at least one axis"),
            sizes,
            strides,
            offsets: views.each_ref().map(|view| view.offset),
            needed: views.each_ref().map(|view| view.needed_len(dims)),
        })
    }

    pub(super) fn items(&self, size: usize) -> usize {
        self.len.div_ceil(item_len(size))
    }

    pub(super) fn range(&self, size: usize, item: usize) -> Range<usize> {
        let step = item_len(size);
        item * step..self.len.min((item + 1) * step)
    }

    /// The rows, or parts of rows, of an item.
    pub(super) fn rows(&self, size: usize, item: usize) -> impl Iterator<Item = Row<N>> {
        let range = self.range(size, item);
        let mut at = range.start;
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let row = self.row(at, range.end);
                at += row.len;
                row
            })
        })
    }

    fn row(&self, at: usize, end: usize) -> Row<N> {
        let mut row = Row {
            at,
            len: (self.inner - at % self.inner).min(end - at),
            first: self.offsets,
            step: [0; N],
        };
        let mut rest = at;
        for (axis, size) in self.sizes.iter().enumerate().rev() {
            let index = rest % size;
            rest /= size;
            for (first, strides) in row.first.iter_mut().zip(&self.strides) {
                *first += index * strides[axis];
            }
        }
        for (step, strides) in row.step.iter_mut().zip(&self.strides) {
            *step = strides[self.sizes.len() - 1];
        }
        row
    }
}
