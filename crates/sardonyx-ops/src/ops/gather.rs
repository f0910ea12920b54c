//! `Gather`: rows of a tensor along an axis, by index; an embedding is a gather.

use sardonyx_ir::{Dim, Fact, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use super::move_grad::{self, Move, Moved};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Gather];

#[derive(Debug)]
struct Gather;

const SCHEMA: Schema = Schema::standard("Gather", 1, 2);

/// Index `index` into an axis of `length` elements, where a negative one counts from the end.
pub(crate) fn position(cx: &Move<'_>, index: i64, length: usize) -> Result<usize> {
    let at = if index < 0 {
        index.saturating_add(length as i64)
    } else {
        index
    };
    usize::try_from(at)
        .ok()
        .filter(|&at| at < length)
        .ok_or_else(|| {
            cx.invalid(format!(
                "index {index} is out of range for {length} elements"
            ))
        })
}

/// Where each gathered element comes from.
pub(crate) fn gather(cx: &Move<'_>) -> Result<Moved> {
    let indices = cx.input(0)?;
    let axis = axis_index(cx.node, cx.node.int("axis", 0)?, cx.shape.len())?;
    let (outer, length) = (&cx.shape[..axis], cx.shape[axis]);
    let inner = &cx.shape[axis + 1..];
    let shape = [outer, indices.shape(), inner].concat();
    let (outer, inner) = (element_count(outer)?, element_count(inner)?);
    let rows = indices
        .to_i64()?
        .into_iter()
        .map(|index| position(cx, index, length));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let mut sources = Vec::with_capacity(element_count(&shape)?);
    for block in 0..outer {
        for row in &rows {
            let start = (block * length + row) * inner;
            sources.extend(start..start + inner);
        }
    }
    Ok(Moved { shape, sources })
}

impl Operator for Gather {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let (Some(shape), Some(indices)) = (cx.shape(0)?, cx.shape(1)?) else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let axis = axis_index(cx.node, cx.node.int("axis", 0)?, shape.len())?;
        let out = [&shape[..axis], indices, &shape[axis + 1..]].concat();
        Ok(vec![Inferred {
            dims: if shape.len() == 1 && out.len() < 2 {
                follow_dims(cx)
            } else {
                None
            },
            fact: Fact::new(dtype, out),
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let moved = gather(&Move::of(cx)?)?;
        Ok(vec![cx.input(0)?.take(moved.shape, &moved.sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let indices = cx.input(1)?;
        move_grad::emit(cx, "GatherGrad", &[Some(indices)])
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
            example("of rows", &[4, 3]).ints(&[2, -1, 2]),
            example("by a matrix", &[4, 3]).values(&[2, 2], vec![0i32, 1, 3, 3]),
            example("along the middle", &[2, 4, 3])
                .attr("axis", 1i64)
                .ints(&[3, 0]),
            example("along the last", &[2, 3])
                .attr("axis", -1i64)
                .values(&[], vec![1i64]),
            example("of nothing", &[4, 3]).ints(&[]),
            example("of empty rows", &[4, 0]).ints(&[1]),
        ]
    }
}

/// Elements of a vector of dimensions.
fn follow_dims(cx: &InferCx<'_>) -> Option<Vec<Dim>> {
    let dims = cx.dims(0)?;
    let indices = cx.constant_ints(1).ok()??;
    let pick = |index: i64| {
        let at = if index < 0 {
            index.checked_add(dims.len() as i64)?
        } else {
            index
        };
        dims.get(usize::try_from(at).ok()?).cloned()
    };
    indices.into_iter().map(pick).collect()
}
