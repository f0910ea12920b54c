//! Softmax, log-softmax and cross entropy along any axis, with their gradients.

mod entropy;
mod exponent;
mod map;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use entropy::{CrossEntropy, CrossEntropyOptions, LabelWeight};
pub(crate) use map::{LineFn, line_function};
pub use map::{Softmax, SoftmaxGrad};

use crate::AxisShape;

/// Elements of one item: exponentials cost a few times what memory does.
const ITEM_LEN: usize = 4 * 1024;

/// Lines that one pass takes together where they lie side by side: a vector of the widest
/// instruction set.
const GROUP: usize = 16;

/// How a shape is cut into groups of lines (one line where `inner` is 1), and groups into items.
#[derive(Debug, Clone, Copy)]
struct Groups {
    shape: AxisShape,
    groups_per_item: usize,
}

/// Some lines along the axis, side by side.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// First element of the first line.
    start: usize,
    /// Index of the first line, among `outer * inner`.
    line: usize,
    /// Number of lines.
    lines: usize,
}

impl Groups {
    fn new(shape: AxisShape) -> Groups {
        let group_len = shape.len.max(1) * shape.inner.clamp(1, GROUP);
        Groups {
            shape,
            groups_per_item: (ITEM_LEN / group_len).max(1),
        }
    }

    fn groups(&self) -> usize {
        self.shape.outer * self.shape.inner.div_ceil(GROUP)
    }

    fn items(&self) -> usize {
        self.groups().div_ceil(self.groups_per_item)
    }

    fn of_item(&self, item: usize) -> impl Iterator<Item = Group> {
        let range = self.group_range(item);
        range.map(|group| self.group(group))
    }

    fn group(&self, group: usize) -> Group {
        let AxisShape { len, inner, .. } = self.shape;
        let per_outer = inner.div_ceil(GROUP);
        let (outer, column) = (group / per_outer, group % per_outer * GROUP);
        Group {
            start: outer * len * inner + column,
            line: outer * inner + column,
            lines: GROUP.min(inner - column),
        }
    }

    /// Elements that an item touches, where lines are contiguous.
    fn part(&self, item: usize) -> Option<Range<usize>> {
        let groups = self.group_range(item);
        let len = self.shape.len;
        (self.shape.inner == 1).then(|| groups.start * len..groups.end * len)
    }

    fn group_range(&self, item: usize) -> Range<usize> {
        let first = item * self.groups_per_item;
        first..self.groups().min(first + self.groups_per_item)
    }
}
