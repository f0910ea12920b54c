//! `Slice`: a range of each axis, with steps of either sign. The ranges are attributes (old
//! operator sets) or inputs (new ones); both forms are read, whatever the version.

use sardonyx_ir::{Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count, strides, unravel};

use super::move_grad::{self, Move, Moved};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, axis_index,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Slice];

#[derive(Debug)]
struct Slice;

const SCHEMA: Schema = Schema::standard("Slice", 1, 1).inputs(1, 5);

/// What is asked of one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: i64,
    end: i64,
    step: i64,
}

impl Range {
    /// First index and number of elements along an axis of `length` elements.
    fn resolve(self, length: usize) -> (i64, usize) {
        let length = length as i64;
        let from_end = |n: i64| if n < 0 { n.saturating_add(length) } else { n };
        let (start, end) = (from_end(self.start), from_end(self.end));
        let (low, high) = if self.step > 0 {
            (0, length)
        } else {
            (-1, length - 1)
        };
        let start = start.max(low.max(0)).min(high);
        let end = end.max(low).min(high);
        let distance = if self.step > 0 {
            end - start
        } else {
            start - end
        };
        let count = (distance.max(0) as u64).div_ceil(self.step.unsigned_abs());
        (start, count as usize)
    }

    /// Whether every axis, of whatever length, is taken whole.
    fn is_whole(self) -> bool {
        self.start == 0 && self.step == 1 && self.end >= i64::from(i32::MAX)
    }
}

/// The four lists that say what is taken; the last two are optional.
type Lists = [Option<Vec<i64>>; 4];

/// The range of each axis of a tensor of rank `rank`; `None` for an axis taken whole.
fn ranges(node: &Node, rank: usize, lists: Lists) -> Result<Vec<Option<Range>>> {
    let [starts, ends, axes, steps] = lists;
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Err(OpError::invalid(node, "its starts or ends are missing"));
    };
    let count = starts.len();
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; count]);
    if [ends.len(), axes.len(), steps.len()] != [count; 3] {
        return Err(OpError::invalid(
            node,
            "starts, ends, axes and steps differ in length",
        ));
    }
    let mut ranges = vec![None; rank];
    for (index, axis) in axes.into_iter().enumerate() {
        let (start, end, step) = (starts[index], ends[index], steps[index]);
        if step == 0 {
            return Err(OpError::invalid(node, "a step is zero"));
        }
        let axis = axis_index(node, axis, rank)?;
        if ranges[axis].replace(Range { start, end, step }).is_some() {
            return Err(OpError::invalid(
                node,
                format!("axis {axis} is given twice"),
            ));
        }
    }
    Ok(ranges)
}

fn attribute_lists(node: &Node) -> Result<Lists> {
    let list = |name| -> Result<_> { Ok(node.ints(name)?.map(<[i64]>::to_vec)) };
    Ok([list("starts")?, list("ends")?, list("axes")?, None])
}

/// Where each element of a slice comes from.
pub(crate) fn slice(cx: &Move<'_>) -> Result<Moved> {
    let lists = if cx.rest.is_empty() {
        attribute_lists(cx.node)?
    } else {
        [cx.ints(0)?, cx.ints(1)?, cx.ints(2)?, cx.ints(3)?]
    };
    let from = strides(cx.shape);
    let ranges = ranges(cx.node, cx.shape.len(), lists)?;
    let mut shape = cx.shape.to_vec();
    let mut base = 0;
    let mut step = vec![0; shape.len()];
    for (axis, range) in ranges.into_iter().enumerate() {
        let range = range.unwrap_or(Range {
            start: 0,
            end: i64::MAX,
            step: 1,
        });
        let (start, count) = range.resolve(shape[axis]);
        shape[axis] = count;
        base += start * from[axis] as i64;
        // A step longer than the axis takes one element: its value does not matter then.
        step[axis] = range.step.saturating_mul(from[axis] as i64);
    }
    let mut coords = vec![0; shape.len()];
    let sources = (0..element_count(&shape)?)
        .map(|index| {
            unravel(index, &shape, &mut coords);
            let offset = coords
                .iter()
                .zip(&step)
                .map(|(&c, &s)| c as i64 * s)
                .sum::<i64>();
            (base + offset) as usize
        })
        .collect();
    Ok(Moved { shape, sources })
}

/// The ranges of a node's axes: `None` when an axis is cut in a way not known before the run.
enum Plan {
    /// Per axis: whole, or a known range.
    Known(Vec<Option<Range>>),
    /// Per axis: whether it may be cut.
    Cut(Vec<bool>),
}

fn plan(cx: &InferCx<'_>, rank: usize) -> Result<Plan> {
    if cx.inputs.len() == 1 {
        return Ok(Plan::Known(ranges(
            cx.node,
            rank,
            attribute_lists(cx.node)?,
        )?));
    }
    let mut lists: Lists = [None, None, None, None];
    let mut unknown = [false; 4];
    for index in 0..4 {
        lists[index] = cx.constant_ints(index + 1)?;
        unknown[index] = lists[index].is_none() && cx.optional(index + 1).is_some();
    }
    if unknown == [false; 4] {
        return Ok(Plan::Known(ranges(cx.node, rank, lists)?));
    }
    let length = cx.shape(1)?.and_then(|dims| dims.first()?.value());
    let axes = match (&lists[2], length) {
        _ if unknown[2] => return Ok(Plan::Cut(vec![true; rank])),
        (Some(axes), _) => axes.clone(),
        (None, Some(length)) => (0..length as i64).collect(),
        (None, None) => return Ok(Plan::Cut(vec![true; rank])),
    };
    let mut cut = vec![false; rank];
    for axis in axes {
        cut[axis_index(cx.node, axis, rank)?] = true;
    }
    Ok(Plan::Cut(cut))
}

impl Operator for Slice {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let plan = plan(cx, shape.len())?;
        let dim = |axis: usize, dim: &Dim| match &plan {
            Plan::Known(ranges) => match (ranges[axis], dim.value()) {
                (None, _) => dim.clone(),
                (Some(range), Some(length)) => Dim::known(range.resolve(length).1),
                (Some(range), None) if range.is_whole() => dim.clone(),
                (Some(_), None) => cx.unknown_dim(axis),
            },
            Plan::Cut(cut) if !cut[axis] => dim.clone(),
            Plan::Cut(_) => cx.unknown_dim(axis),
        };
        let out = shape
            .iter()
            .enumerate()
            .map(|(axis, d)| dim(axis, d))
            .collect::<Vec<_>>();
        let dims = match &plan {
            Plan::Known(ranges) if ranges.len() == 1 => follow_dims(cx, ranges[0]),
            _ => None,
        };
        Ok(vec![Inferred {
            fact: Fact::new(dtype, out),
            dims,
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let moved = slice(&Move::of(cx)?)?;
        Ok(vec![cx.input(0)?.take(moved.shape, &moved.sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let rest = if cx.node.inputs.len() > 1 {
            cx.node.inputs[1..].to_vec()
        } else {
            let lists = attribute_lists(cx.node)?;
            let list = |list: Option<Vec<i64>>| list.map(|list| cx.builder.ints(&list));
            lists.map(list).to_vec()
        };
        move_grad::emit(cx, "SliceGrad", &rest)
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize]| {
            Example::new(SCHEMA, name)
                .uniform(shape, (-1.0, 1.0))
                .grad_by(&[0])
        };
        vec![
            example("of leading axes", &[4, 5])
                .ints(&[1, 0])
                .ints(&[3, 4]),
            example("of one axis", &[4, 5])
                .ints(&[-3])
                .ints(&[-1])
                .ints(&[1]),
            example("with steps", &[7, 5])
                .ints(&[6, 0])
                .ints(&[i64::MIN, 99])
                .ints(&[0, -1])
                .ints(&[-2, 3]),
            example("without axes", &[7])
                .ints(&[1])
                .ints(&[6])
                .absent()
                .ints(&[2]),
            example("of nothing", &[4, 3]).ints(&[3]).ints(&[1]),
            example("of zero size", &[0, 3])
                .ints(&[-1])
                .ints(&[-9])
                .ints(&[0])
                .ints(&[-1]),
            example("by attributes", &[4, 5])
                .opset(9)
                .attr("starts", vec![1i64])
                .attr("ends", vec![99i64])
                .attr("axes", vec![-1i64]),
        ]
    }
}

/// A part of a vector of dimensions.
fn follow_dims(cx: &InferCx<'_>, range: Option<Range>) -> Option<Vec<Dim>> {
    let dims = cx.dims(0)?;
    let range = range.unwrap_or(Range {
        start: 0,
        end: i64::MAX,
        step: 1,
    });
    let (start, count) = range.resolve(dims.len());
    (0..count as i64)
        .map(|index| {
            let at = start.checked_add(index.checked_mul(range.step)?)?;
            dims.get(usize::try_from(at).ok()?).cloned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_as_numpy_slices_do() {
        let resolve = |start, end, step, length| Range { start, end, step }.resolve(length);
        assert_eq!(resolve(0, i64::MAX, 1, 5), (0, 5));
        assert_eq!(resolve(-2, i64::MAX, 1, 5), (3, 2));
        assert_eq!(resolve(-1, i64::MIN, -1, 5), (4, 5));
        assert_eq!(resolve(9, -9, -2, 5), (4, 3));
        assert_eq!(resolve(3, 1, 1, 5).1, 0);
        assert_eq!(resolve(0, 0, -1, 0).1, 0);
        assert_eq!(resolve(0, 5, i64::MAX, 5), (0, 1));
        assert_eq!(resolve(4, i64::MIN, i64::MIN, 5), (4, 1));
    }
}
