//! `TopK`: the largest or smallest elements of each lane of an axis, and where they stand.

use sardonyx_ir::{Attr, Dim, Fact, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::reference::around;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&TopK];

#[derive(Debug)]
struct TopK;

const SCHEMA: Schema = Schema::standard("TopK", 1, 1).inputs(1, 2).outputs(2);

impl Operator for TopK {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![
                Fact::unranked(dtype).into(),
                Fact::unranked(DType::I64).into(),
            ]);
        };
        let axis = axis_index(cx.node, cx.node.int("axis", -1)?, shape.len())?;
        let k = if cx.inputs.len() == 1 {
            Some(Dim::known(
                usize::try_from(cx.node.int("k", -1)?).unwrap_or(usize::MAX),
            ))
        } else {
            cx.dims(1).and_then(|dims| dims.first().cloned())
        };
        if let Some((k, length)) = k.as_ref().and_then(Dim::value).zip(shape[axis].value())
            && k > length
        {
            return Err(cx.invalid(format!("axis {axis} has {length} elements, not {k}")));
        }
        let mut out = shape.to_vec();
        out[axis] = k.unwrap_or_else(|| cx.unknown_dim(axis));
        Ok(vec![
            Fact::new(dtype, out.clone()).into(),
            Fact::new(DType::I64, out).into(),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let axis = axis_index(cx.node, cx.node.int("axis", -1)?, x.rank())?;
        let [outer, length, inner] = around(x.shape(), axis)?;
        let asked = match cx.ints(1)? {
            Some(k) => k.first().copied().unwrap_or(-1),
            None => cx.node.int("k", -1)?,
        };
        let k = usize::try_from(asked).ok().filter(|&k| k <= length);
        let k =
            k.ok_or_else(|| cx.invalid(format!("axis {axis} has {length} elements, not {asked}")))?;
        let order = order(x, cx.node.flag("largest", true)?)?;
        let mut shape = x.shape().to_vec();
        shape[axis] = k;
        let mut indices = vec![0i64; outer * k * inner];
        let mut sources = vec![0; indices.len()];
        for row in 0..outer {
            for column in 0..inner {
                let from = |index: usize| (row * length + index) * inner + column;
                let mut lane: Vec<usize> = (0..length).collect();
                lane.sort_by_key(|&index| order[from(index)]);
                for (rank, &index) in lane.iter().take(k).enumerate() {
                    let to = (row * k + rank) * inner + column;
                    indices[to] = index as i64;
                    sources[to] = from(index);
                }
            }
        }
        Ok(vec![
            x.take(shape.clone(), &sources)?,
            Tensor::new(shape, indices)?,
        ])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, indices, dy) = (cx.input(0)?, cx.node.output(1), cx.output_grad(0)?);
        let indices = match indices {
            Some(indices) => indices,
            None => {
                let attributes = super::move_grad::attributes(cx.node);
                let inputs = cx.node.inputs.clone();
                cx.builder.node(("", "TopK"), &inputs, &attributes, 2)?[1]
            }
        };
        let axis = [("axis", Attr::Int(cx.node.int("axis", -1)?))];
        let zeros = cx.builder.zeros_like(x)?;
        let dx = cx
            .builder
            .op("ScatterElements", &[zeros, indices, dy], &axis)?;
        Ok([Some(dx), None]
            .into_iter()
            .take(cx.node.inputs.len())
            .collect())
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 10)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize], k: i64| {
            Example::new(SCHEMA, name)
                .outputs(2)
                .distinct(shape)
                .ints(&[k])
                .grad_by(&[0])
        };
        vec![
            example("largest", &[3, 5], 2),
            example("smallest of the first axis", &[4, 3], 3)
                .attr("largest", 0i64)
                .attr("axis", 0i64),
            example("values only", &[5], 2).outputs(1),
            example("none", &[2, 3], 0),
            example("of nothing", &[0, 3], 1),
            Example::new(SCHEMA, "by an attribute")
                .attr("k", 2i64)
                .outputs(2)
                .distinct(&[2, 4]),
            Example::new(SCHEMA, "with ties")
                .outputs(2)
                .ints(&[3, 1, 3, 1])
                .ints(&[4])
                .no_grad("integers have no gradient"),
        ]
    }
}

/// For each element its place in the wanted order of all elements; equals share a place, so that a
/// stable sort leaves them as they stand.
fn order(x: &Tensor, largest: bool) -> Result<Vec<i64>> {
    let ranks = super::unique::ranks(x)?;
    let sign = if largest { -1 } else { 1 };
    Ok(ranks.into_iter().map(|rank| rank as i64 * sign).collect())
}
