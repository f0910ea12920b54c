use crate::error::{Result, TensorError};
use crate::limits::{MAX_ELEMENTS, MAX_RANK};

/// Number of elements of a shape, with checked arithmetic.
///
/// # Errors
/// [`TensorError::Rank`] or [`TensorError::TooLarge`] when a limit is passed. A zero dimension
/// gives zero elements, whatever the others are.
pub fn element_count(shape: &[usize]) -> Result<usize> {
    if shape.len() > MAX_RANK {
        return Err(TensorError::Rank {
            rank: shape.len(),
            max: MAX_RANK,
        });
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim))
        .filter(|&count| count <= MAX_ELEMENTS)
        .ok_or_else(|| TensorError::TooLarge {
            shape: shape.to_vec(),
        })
}

/// Row-major strides, in elements. A shape of no element may have dimensions whose product
/// overflows; its strides, which nothing reads, saturate.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        out[axis - 1] = usize::saturating_mul(out[axis], shape[axis].max(1));
    }
    out
}

/// The shape that two operands have together under numpy's (and ONNX's) broadcasting rule.
///
/// # Errors
/// [`TensorError::Broadcast`] when a pair of dimensions differs and neither is 1.
pub fn broadcast_shapes(left: &[usize], right: &[usize]) -> Result<Vec<usize>> {
    let rank = left.len().max(right.len());
    let dim = |shape: &[usize], axis: usize| {
        (axis + shape.len())
            .checked_sub(rank)
            .map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (dim(left, axis), dim(right, axis)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(TensorError::Broadcast {
                left: left.to_vec(),
                right: right.to_vec(),
            }),
        })
        .collect()
}

/// Strides that read `shape` as if it were broadcast to `target`: zero along the repeated axes.
///
/// `shape` must be broadcastable to `target`; this is asserted.
pub fn broadcast_strides(shape: &[usize], target: &[usize]) -> Vec<usize> {
    assert!(
        shape.len() <= target.len(),
        "{shape:?} cannot be broadcast to {target:?}"
    );
    let own = strides(shape);
    let lead = target.len() - shape.len();
    (0..target.len())
        .map(|axis| match axis.checked_sub(lead) {
            None => 0,
            Some(axis) if shape[axis] == 1 => 0,
            Some(axis) => {
                assert_eq!(
                    shape[axis],
                    target[axis + lead],
                    "{shape:?} against {target:?}"
                );
                own[axis]
            }
        })
        .collect()
}

/// Writes the coordinates of row-major element `index` of `shape` into `coords`.
pub fn unravel(mut index: usize, shape: &[usize], coords: &mut [usize]) {
    assert_eq!(shape.len(), coords.len());
    for axis in (0..shape.len()).rev() {
        coords[axis] = index % shape[axis];
        index /= shape[axis];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_checked() {
        assert_eq!(element_count(&[]), Ok(1));
        assert_eq!(element_count(&[2, 3, 4]), Ok(24));
        assert_eq!(element_count(&[0, usize::MAX, usize::MAX]), Ok(0));
        assert!(element_count(&[usize::MAX, 2]).is_err());
        assert!(element_count(&[1; 33]).is_err());
    }

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast_shapes(&[2, 1, 4], &[3, 1]), Ok(vec![2, 3, 4]));
        assert_eq!(broadcast_shapes(&[], &[5]), Ok(vec![5]));
        assert_eq!(broadcast_shapes(&[0], &[1]), Ok(vec![0]));
        assert!(broadcast_shapes(&[2], &[3]).is_err());
        assert_eq!(broadcast_strides(&[3, 1], &[2, 3, 4]), vec![0, 1, 0]);
    }

    #[test]
    fn strides_and_unravel_agree() {
        let shape = [2, 3, 4];
        let strides = strides(&shape);
        let mut coords = [0; 3];
        for index in 0..24 {
            unravel(index, &shape, &mut coords);
            assert_eq!(
                coords
                    .iter()
                    .zip(&strides)
                    .map(|(c, s)| c * s)
                    .sum::<usize>(),
                index
            );
        }
    }
}
