//! Reductions over neighbouring axes.

use sardonyx_kernels::{AxisShape, Isa, Permute, Reduce, Reduction};
use sardonyx_tensor::DType;

use super::{LowerCx, Lowered, Slot};
use crate::Result;

pub(super) fn reduce(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let reduction = match cx.node.op_type.as_str() {
        "ReduceL1" => Reduction::L1,
        "ReduceL2" => Reduction::L2,
        "ReduceLogSum" => Reduction::LogSum,
        "ReduceLogSumExp" => Reduction::LogSumExp,
        "ReduceMax" => Reduction::Max,
        "ReduceMean" => Reduction::Mean,
        "ReduceMin" => Reduction::Min,
        "ReduceProd" => Reduction::Product,
        "ReduceSum" => Reduction::Sum,
        "ReduceSumSquare" => Reduction::SumSquare,
        _ => return Ok(None),
    };
    let shape = cx.shape(cx.input(0))?;
    let is_float = cx.dtype(cx.input(0))? == DType::F32;
    let Some(axes) = axes(cx, shape.len())?.filter(|_| is_float) else {
        return Ok(None);
    };
    let mut lowered = Lowered::default();
    let places = [Slot::Value(cx.input(0)), Slot::Value(cx.output(0))];
    reduce_axes(&mut lowered, cx.isa, reduction, (&shape, &axes), places)?;
    Ok(Some(lowered))
}

/// Adds the reduction of the axes of a tensor of floats that are `reduced`.
pub(super) fn reduce_axes(
    lowered: &mut Lowered,
    isa: Isa,
    reduction: Reduction,
    (shape, reduced): (&[usize], &[bool]),
    [from, to]: [Slot; 2],
) -> Result<()> {
    let mut from = from;
    let lanes = match lanes(shape, reduced) {
        Some(lanes) => lanes,
        None => {
            // Axes that are apart are brought together first.
            let (last, first): (Vec<usize>, Vec<usize>) =
                (0..shape.len()).partition(|&axis| reduced[axis]);
            let product = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product();
            let lanes = AxisShape {
                outer: product(&first),
                len: product(&last),
                inner: 1,
            };
            let permute = Permute::new(DType::F32, shape, &[first, last].concat())?;
            let moved = lowered.temporary(lanes.elements());
            lowered.push(permute, vec![from, moved]);
            from = moved;
            lanes
        }
    };
    match Reduce::in_two(isa, reduction, lanes) {
        None => lowered.push(Reduce::new(isa, reduction, lanes), vec![from, to]),
        Some([first, second]) => {
            let parts = lowered.temporary(first.output_len());
            lowered.push(first, vec![from, parts]);
            lowered.push(second, vec![parts, to]);
        }
    }
    Ok(())
}

/// Which axes are reduced; `None` when they are not constant.
fn axes(cx: &LowerCx<'_>, rank: usize) -> Result<Option<Vec<bool>>> {
    let given = match cx.node.input(1) {
        None => cx.node.ints("axes")?.map(<[i64]>::to_vec),
        Some(_) => match cx.constant(1) {
            None => return Ok(None),
            Some(tensor) => Some(tensor.to_i64()?),
        },
    };
    let given = given.unwrap_or_default();
    if given.is_empty() {
        let keeps_all = cx.node.flag("noop_with_empty_axes", false)?;
        return Ok((!keeps_all).then(|| vec![true; rank]));
    }
    let mut reduced = vec![false; rank];
    for axis in given {
        let index = if axis < 0 { axis + rank as i64 } else { axis };
        match usize::try_from(index).ok().filter(|&index| index < rank) {
            Some(index) => reduced[index] = true,
            None => return Ok(None),
        }
    }
    Ok(Some(reduced))
}

/// The reduced axes as one, where they are neighbours (axes of size 1 do not count).
fn lanes(shape: &[usize], reduced: &[bool]) -> Option<AxisShape> {
    let is_full = |axis: &usize| reduced[*axis] && shape[*axis] != 1;
    let full: Vec<usize> = (0..shape.len()).filter(is_full).collect();
    let (Some(&first), Some(&last)) = (full.first(), full.last()) else {
        // Nothing is added up, but the result is still that of one element.
        let inner = shape.iter().product();
        return Some(AxisShape {
            outer: 1,
            len: 1,
            inner,
        });
    };
    let together = (first..=last).all(|axis| reduced[axis] || shape[axis] == 1);
    together.then(|| AxisShape {
        outer: shape[..first].iter().product(),
        len: shape[first..=last].iter().product(),
        inner: shape[last + 1..].iter().product(),
    })
}
