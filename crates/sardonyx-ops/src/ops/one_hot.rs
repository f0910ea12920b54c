//! `OneHot`: a new axis that is `on` at an index and `off` elsewhere.

use sardonyx_ir::{Dim, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor};

use super::cast::cast;
use crate::reference::{around, claimed_count};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, axis_index,
    element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&OneHot];

#[derive(Debug)]
struct OneHot;

const SCHEMA: Schema = Schema::standard("OneHot", 9, 3);

/// The number of classes, which may be given as a float.
fn depth(node: &Node, tensor: &Tensor) -> Result<usize> {
    let values = cast(node, tensor, DType::I64)?.to_i64()?;
    match values[..] {
        [depth] if depth >= 0 => Ok(depth as usize),
        _ => Err(OpError::invalid(node, format!("its depth is {values:?}"))),
    }
}

impl Operator for OneHot {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(2)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let axis = axis_index(cx.node, cx.node.int("axis", -1)?, shape.len() + 1)?;
        let dim = match cx.input(1)?.value {
            Some(tensor) => Some(Dim::known(depth(cx.node, tensor)?)),
            None => cx.dims(1).and_then(|dims| dims.first().cloned()),
        };
        let mut out = shape.to_vec();
        out.insert(axis, dim.unwrap_or_else(|| cx.unknown_dim(axis)));
        Ok(vec![Fact::new(dtype, out).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (indices, values) = (cx.input(0)?, cx.input(2)?);
        let depth = depth(cx.node, cx.input(1)?)?;
        if values.len() != 2 {
            return Err(cx.invalid(format!("{} values are given, not off and on", values.len())));
        }
        let axis = axis_index(cx.node, cx.node.int("axis", -1)?, indices.rank() + 1)?;
        let mut shape = indices.shape().to_vec();
        shape.insert(axis, depth);
        let mut sources = vec![0; claimed_count(cx.node, &shape)?];
        let [_, _, inner] = around(&shape, axis)?;
        let indices = cast(cx.node, indices, DType::I64)?.to_i64()?;
        for (at, index) in indices.into_iter().enumerate() {
            let class = if index < 0 {
                index.saturating_add(depth as i64)
            } else {
                index
            };
            // An index outside of the classes leaves everything off.
            if let Some(class) = usize::try_from(class).ok().filter(|&class| class < depth) {
                let (row, column) = (at / inner, at % inner);
                sources[(row * depth + class) * inner + column] = 1;
            }
        }
        Ok(vec![values.take(shape, &sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        if cx.wants(2) {
            return Err(cx.not_differentiable("its on and off values are not parameters"));
        }
        Ok(vec![None; 3])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let example = Example::new(SCHEMA, name);
            example.no_grad("indices have no gradient")
        };
        vec![
            example("last")
                .ints(&[1, -1, 9])
                .values(&[], vec![3i64])
                .values(&[2], vec![0f32, 1.0]),
            example("first")
                .attr("axis", 0i64)
                .values(&[2, 2], vec![0i32, 1, 2, 0])
                .values(&[1], vec![3i64])
                .ints(&[-1, 5]),
            example("by floats")
                .values(&[2], vec![1f32, 0.0])
                .values(&[], vec![2i64])
                .values(&[2], vec![false, true]),
            example("of no class")
                .ints(&[0])
                .values(&[], vec![0i64])
                .ints(&[0, 1]),
        ]
    }
}
