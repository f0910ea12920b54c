//! How operands are walked: by strides along the axes of a result, or along one axis of their own.

use crate::{KernelError, Result};

/// Where the element of an operand for index `i` of a result lies: `offset` plus the sum of
/// `i[axis] * strides[axis]`, in elements. A stride of zero repeats the operand along that axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Element for index zero.
    pub offset: usize,
    /// One per axis of the result, in elements.
    pub strides: Vec<usize>,
}

impl View {
    /// A whole row-major operand of the result's own shape.
    pub fn full(dims: &[usize]) -> View {
        let mut strides = vec![1; dims.len()];
        for axis in (1..dims.len()).rev() {
            strides[axis - 1] = strides[axis] * dims[axis];
        }
        View { offset: 0, strides }
    }

    /// A single element for the whole result.
    pub fn scalar(dims: &[usize]) -> View {
        let strides = vec![0; dims.len()];
        View { offset: 0, strides }
    }

    /// A row-major operand of shape `from`, repeated to shape `to` as ONNX (and numpy) broadcast:
    /// shapes are aligned at their last axes, and axes of size 1 or missing are repeated.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when `from` does not broadcast to `to`.
    pub fn broadcast(from: &[usize], to: &[usize]) -> Result<View> {
        let misfit = || KernelError::Geometry {
            kernel: "broadcast",
            problem: format!("shape {from:?} does not broadcast to {to:?}"),
        };
        let missing = to.len().checked_sub(from.len()).ok_or_else(misfit)?;
        let mut strides = vec![0; to.len()];
        for (axis, stride) in View::full(from).strides.into_iter().enumerate() {
            match (from[axis], to[missing + axis]) {
                (a, b) if a == b => strides[missing + axis] = if a == 1 { 0 } else { stride },
                (1, _) => {}
                _ => return Err(misfit()),
            }
        }
        Ok(View { offset: 0, strides })
    }

    /// Fewest elements that the operand must have for a result of shape `dims`.
    pub fn needed_len(&self, dims: &[usize]) -> usize {
        if dims.contains(&0) {
            return 0;
        }
        let last = dims.iter().zip(&self.strides).map(|(dim, s)| (dim - 1) * s);
        self.offset + last.sum::<usize>() + 1
    }
}

/// A tensor seen along one of its axes: `[outer, len, inner]`, row-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisShape {
    /// Product of the sizes before the axis.
    pub outer: usize,
    /// Size of the axis.
    pub len: usize,
    /// Product of the sizes behind the axis.
    pub inner: usize,
}

impl AxisShape {
    /// The axis `axis` of a tensor of sizes `dims`.
    ///
    /// # Panics
    /// When there is no such axis.
    pub fn new(dims: &[usize], axis: usize) -> AxisShape {
        AxisShape {
            outer: dims[..axis].iter().product(),
            len: dims[axis],
            inner: dims[axis + 1..].iter().product(),
        }
    }

    /// Number of elements.
    pub const fn elements(self) -> usize {
        self.outer * self.len * self.inner
    }

    /// Number of lines along the axis.
    pub const fn lines(self) -> usize {
        self.outer * self.inner
    }
}

/// A result's axes with as many as possible merged, for several views at once: axes of size 1 are
/// dropped, and neighbours that every view walks as one axis become one. There is at least one
/// axis. Gives the sizes and, per view, its strides.
pub(crate) fn collapse(dims: &[usize], views: &[View]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut sizes: Vec<usize> = Vec::new();
    let mut strides: Vec<Vec<usize>> = vec![Vec::new(); views.len()];
    for (axis, &dim) in dims.iter().enumerate().filter(|(_, dim)| **dim != 1) {
        let mergeable = !sizes.is_empty()
            && views
                .iter()
                .zip(&strides)
                .all(|(view, made)| made.last() == Some(&(view.strides[axis] * dim)));
        if mergeable && let Some(size) = sizes.last_mut() {
            *size *= dim;
        } else {
            sizes.push(dim);
        }
        for (view, made) in views.iter().zip(&mut strides) {
            if mergeable {
                made.pop();
            }
            made.push(view.strides[axis]);
        }
    }
    if sizes.is_empty() {
        sizes.push(1);
        strides.iter_mut().for_each(|made| made.push(0));
    }
    (sizes, strides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let strides = |from: &[usize], to: &[usize]| View::broadcast(from, to).unwrap().strides;
        assert_eq!(strides(&[3], &[2, 3]), [0, 1]);
        assert_eq!(strides(&[2, 1], &[2, 3]), [1, 0]);
        assert_eq!(strides(&[], &[2, 3]), [0, 0]);
        assert_eq!(strides(&[4, 1, 3], &[2, 4, 5, 3]), [0, 3, 0, 1]);
        assert_eq!(strides(&[1, 0], &[5, 0]), [0, 1]);
        assert!(View::broadcast(&[2], &[3]).is_err());
        assert!(View::broadcast(&[1, 3], &[3]).is_err());
    }

    #[test]
    fn axes_merge_where_every_view_agrees() {
        let dims = [4, 1, 5, 6];
        let full = View::full(&dims);
        assert_eq!(
            collapse(&dims, std::slice::from_ref(&full)),
            (vec![120], vec![vec![1]])
        );
        let channel = View::broadcast(&[6], &dims).unwrap();
        let views = [full.clone(), channel];
        assert_eq!(
            collapse(&dims, &views),
            (vec![20, 6], vec![vec![6, 1], vec![0, 1]])
        );
        let row = View::broadcast(&[4, 1, 1, 1], &dims).unwrap();
        assert_eq!(
            collapse(&dims, &[full, row]),
            (vec![4, 30], vec![vec![30, 1], vec![1, 0]])
        );
        assert_eq!(
            collapse(&[], &[View::scalar(&[])]),
            (vec![1], vec![vec![0]])
        );
    }
}
