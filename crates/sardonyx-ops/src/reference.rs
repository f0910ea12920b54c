//! Plain loops that reference evaluations share. Floats are computed in `f64` and rounded once.

use sardonyx_ir::Node;
use sardonyx_tensor::{
    DType, Data, Element, Tensor, broadcast_shapes, broadcast_strides, element_count, map_data,
    unravel,
};

use crate::{EvalCx, OpError, Result};

/// Integer vector `index` of the inputs as sizes, none negative.
pub(crate) fn sizes(cx: &EvalCx<'_>, index: usize) -> Result<Vec<usize>> {
    let input = cx.input(index)?;
    if input.rank() != 1 {
        return Err(cx.invalid(format!("input {index} has rank {}, not 1", input.rank())));
    }
    let values = input.to_i64()?;
    let size = |&n: &i64| {
        usize::try_from(n).map_err(|_| cx.invalid(format!("{n} in input {index} is negative")))
    };
    values.iter().map(size).collect()
}

/// Most elements that an operator makes out of nothing but numbers: what repeats, fills or widens
/// is held to this, so that a small model cannot claim all memory.
const MAX_CLAIMED_ELEMENTS: usize = 1 << 28;

/// Number of elements of `shape`, which `node` asks for.
pub(crate) fn claimed_count(node: &Node, shape: &[usize]) -> Result<usize> {
    let count = element_count(shape)?;
    if count > MAX_CLAIMED_ELEMENTS {
        let problem =
            format!("its result of shape {shape:?} is over {MAX_CLAIMED_ELEMENTS} elements");
        return Err(OpError::invalid(node, problem));
    }
    Ok(count)
}

/// `shape` seen around an axis: elements before it, its length, elements after it.
pub(crate) fn around(shape: &[usize], axis: usize) -> Result<[usize; 3]> {
    let (before, after) = (
        element_count(&shape[..axis])?,
        element_count(&shape[axis + 1..])?,
    );
    Ok([before, shape[axis], after])
}

/// All elements of the tensors, one tensor after the other, as a vector.
pub(crate) fn join(tensors: &[&Tensor]) -> Result<Tensor> {
    let Some((first, rest)) = tensors.split_first() else {
        return Ok(Tensor::vector(Vec::<f32>::new()));
    };
    let data = map_data!(first.data(), values => extended(values, rest)?);
    Ok(Tensor::from_data([data.len()], data)?)
}

fn extended<T: Element>(values: &[T], rest: &[&Tensor]) -> Result<Vec<T>> {
    let mut values = values.to_vec();
    for tensor in rest {
        values.extend_from_slice(tensor.values::<T>()?);
    }
    Ok(values)
}

/// For every element of `shape`, its position in an operand that is broadcast to it.
pub(crate) fn broadcast_positions(operand: &[usize], shape: &[usize]) -> Result<Vec<usize>> {
    let strides = broadcast_strides(operand, shape);
    let mut coords = vec![0; shape.len()];
    let position = |index| {
        unravel(index, shape, &mut coords);
        coords.iter().zip(&strides).map(|(c, s)| c * s).sum()
    };
    Ok((0..element_count(shape)?).map(position).collect())
}

/// Applies `f` to every element of a float tensor.
pub(crate) fn map_float(x: &Tensor, f: impl Fn(f64) -> f64) -> Result<Tensor> {
    let values = x.to_f64()?.into_iter().map(f).collect();
    Ok(Tensor::from_f64(x.dtype(), x.shape(), values)?)
}

/// A tensor of integer type `dtype` from `i64` values, wrapping to its width.
pub(crate) fn from_i64(dtype: DType, shape: &[usize], values: Vec<i64>) -> Result<Tensor> {
    macro_rules! cast {
        ($variant:ident, $type:ty) => {
            Data::$variant(values.into_iter().map(|x| x as $type).collect())
        };
    }
    let data = match dtype {
        DType::I8 => cast!(I8, i8),
        DType::I16 => cast!(I16, i16),
        DType::I32 => cast!(I32, i32),
        DType::I64 => Data::I64(values),
        DType::U8 => cast!(U8, u8),
        DType::U16 => cast!(U16, u16),
        DType::U32 => cast!(U32, u32),
        DType::U64 => cast!(U64, u64),
        DType::Bool => Data::Bool(values.into_iter().map(|x| x != 0).collect()),
        found => {
            let expected = DType::I64;
            return Err(sardonyx_tensor::TensorError::DType { expected, found }.into());
        }
    };
    Ok(Tensor::from_data(shape, data)?)
}

/// Calls `f` with the positions, in `a` and in `b`, of each pair of elements under broadcasting,
/// and returns the common shape.
pub(crate) fn broadcast_pairs(
    a: &[usize],
    b: &[usize],
    mut f: impl FnMut(usize, usize),
) -> Result<Vec<usize>> {
    let shape = broadcast_shapes(a, b)?;
    let (sa, sb) = (broadcast_strides(a, &shape), broadcast_strides(b, &shape));
    let mut coords = vec![0; shape.len()];
    for index in 0..element_count(&shape)? {
        unravel(index, &shape, &mut coords);
        let at = |strides: &[usize]| coords.iter().zip(strides).map(|(c, s)| c * s).sum();
        f(at(&sa), at(&sb));
    }
    Ok(shape)
}
