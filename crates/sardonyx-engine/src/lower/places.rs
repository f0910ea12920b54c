//! A copy whose every output element is a known input element: as runs along axes where the axes
//! move independently, else as a look-up of blocks.

use sardonyx_ir::ValueId;
use sardonyx_kernels::{AxisRun, AxisShape, Gather, Remap};
use sardonyx_tensor::{DType, Tensor};

use super::{Lowered, Slot};
use crate::Result;

/// A copy in the making.
pub(super) struct Copy<'a> {
    pub(super) dtype: DType,
    /// Shape of the input.
    pub(super) from: &'a [usize],
    /// Shape of the output.
    pub(super) to: &'a [usize],
    /// Per output element the input element, counted from 1; 0 for one that is filled in.
    pub(super) places: &'a [i64],
    /// Bits of what is filled in.
    pub(super) fill: u64,
}

impl Copy<'_> {
    /// Adds the copy of `x` to `y`; false when no kernel does it.
    pub(super) fn lower(&self, lowered: &mut Lowered, [x, y]: [ValueId; 2]) -> Result<bool> {
        let count = self.from.iter().product::<usize>();
        let is_whole = self.places.len() == count
            && self
                .places
                .iter()
                .zip(1..)
                .all(|(&place, index)| place == index);
        if is_whole {
            lowered.aliases.push((x, y));
            return Ok(true);
        }
        let operands = vec![Slot::Value(x), Slot::Value(y)];
        if let Some((dims, runs)) = self.runs() {
            lowered.push(Remap::new(self.dtype, &dims, &runs, self.fill)?, operands);
            return Ok(true);
        }
        if self.fill != 0 && self.places.contains(&0) {
            return Ok(false);
        }
        let (indices, inner) = blocks(self.places, count);
        let shape = AxisShape {
            outer: 1,
            len: count / inner,
            inner,
        };
        let kernel = Gather::new(self.dtype, shape, DType::I64, indices.len())?;
        let indices = lowered.constant(Tensor::vector(indices));
        lowered.push(kernel, vec![operands[0], indices, operands[1]]);
        Ok(true)
    }

    /// The input's sizes, as many as the output's, and the runs of every output axis.
    fn runs(&self) -> Option<(Vec<usize>, Vec<Vec<AxisRun>>)> {
        let missing = self.to.len().checked_sub(self.from.len())?;
        let mut dims = vec![1; missing];
        dims.extend(self.from);
        let from = strides(&dims);
        let to = strides(self.to);
        let first = self.places.iter().position(|&place| place > 0)?;
        let base = self.places[first] - 1;
        let origin: Vec<usize> = (0..to.len())
            .map(|axis| first / to[axis] % self.to[axis])
            .collect();
        // What each index of each axis reads, found along the lines through the origin.
        let mut reads: Vec<Vec<Option<usize>>> = Vec::with_capacity(to.len());
        for axis in 0..to.len() {
            let start = first - origin[axis] * to[axis];
            let at = base as usize / from[axis] % dims[axis];
            let read = |index: usize| {
                let place = self.places[start + index * to[axis]];
                if place == 0 {
                    return Some(None);
                }
                let distance = place - 1 - base;
                let stride = from[axis] as i64;
                let read = (distance % stride == 0).then(|| at as i64 + distance / stride)?;
                let read = usize::try_from(read).ok().filter(|&read| read < dims[axis]);
                read.map(Some)
            };
            reads.push((0..self.to[axis]).map(read).collect::<Option<_>>()?);
        }
        let holds = |(index, &place): (usize, &i64)| {
            let sum = (0..to.len()).try_fold(0, |sum, axis| {
                let read = reads[axis][index / to[axis] % self.to[axis]]?;
                Some(sum + read * from[axis])
            });
            place == sum.map_or(0, |sum| sum as i64 + 1)
        };
        let holds = self.places.iter().enumerate().all(holds);
        holds.then(|| (dims, reads.iter().map(|reads| run_lengths(reads)).collect()))
    }
}

fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The indices that an axis reads as runs.
fn run_lengths(reads: &[Option<usize>]) -> Vec<AxisRun> {
    let mut runs: Vec<AxisRun> = Vec::new();
    for &read in reads {
        match (runs.last_mut(), read) {
            (Some(AxisRun::Fill { len }), None) => *len += 1,
            (Some(AxisRun::Read { first, step, len }), Some(read)) => {
                let distance = read as isize - *first as isize;
                if *len == 1 {
                    (*step, *len) = (distance, 2);
                } else if distance == *step * *len as isize {
                    *len += 1;
                } else {
                    runs.push(single(read));
                }
            }
            (_, None) => runs.push(AxisRun::Fill { len: 1 }),
            (_, Some(read)) => runs.push(single(read)),
        }
    }
    runs
}

fn single(first: usize) -> AxisRun {
    AxisRun::Read {
        first,
        step: 1,
        len: 1,
    }
}

/// The copy as a look-up of blocks of neighbours, as long as they can be: the index of each block
/// (that behind the last of `count` elements for blocks of zeros) and the elements of one.
pub(super) fn blocks(places: &[i64], count: usize) -> (Vec<i64>, usize) {
    let mut inner = gcd(count, places.len());
    for (index, &place) in places.iter().enumerate() {
        let continues = index > 0 && {
            let before = places[index - 1];
            (place > 0 && place == before + 1 && before > 0) || (place == 0 && before == 0)
        };
        if !continues {
            inner = gcd(inner, index);
            inner = if place > 0 {
                gcd(inner, place as usize - 1)
            } else {
                inner
            };
        }
    }
    let inner = inner.max(1);
    let outside = (count / inner) as i64;
    let index = |&place: &i64| {
        if place > 0 {
            (place - 1) / inner as i64
        } else {
            outside
        }
    };
    (places.iter().step_by(inner).map(index).collect(), inner)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_long_as_they_can_be() {
        assert_eq!(blocks(&[3, 4, 0, 0, 1, 2], 4), (vec![1, 2, 0], 2));
        assert_eq!(blocks(&[2, 1], 2), (vec![1, 0], 1));
        assert_eq!(blocks(&[0, 1, 2, 3], 4), (vec![4, 0, 1, 2], 1));
    }

    #[test]
    fn axes_that_move_apart_are_runs() {
        // A matrix [2, 3] with a column of fill in front, its rows in reverse.
        let places = [0, 4, 5, 6, 0, 1, 2, 3];
        let copy = Copy {
            dtype: DType::F32,
            from: &[2, 3],
            to: &[2, 4],
            places: &places,
            fill: 0,
        };
        let (dims, runs) = copy.runs().expect("the axes are independent");
        assert_eq!(dims, [2, 3]);
        let whole = AxisRun::Read {
            first: 0,
            step: 1,
            len: 3,
        };
        let reverse = AxisRun::Read {
            first: 1,
            step: -1,
            len: 2,
        };
        assert_eq!(runs, [vec![reverse], vec![AxisRun::Fill { len: 1 }, whole]]);
        let transposed = Copy {
            to: &[3, 2],
            places: &[1, 4, 2, 5, 3, 6],
            ..copy
        };
        assert_eq!(transposed.runs(), None);
    }
}
