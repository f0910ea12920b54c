//! `Where`: picks each element from one of two tensors by a truth value, with broadcasting.

use sardonyx_ir::{Dim, Fact, ValueId};
use sardonyx_tensor::{DType, Tensor, broadcast_shapes};

use super::binary::broadcast;
use crate::reference::{broadcast_positions, join};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, element_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Where];

#[derive(Debug)]
struct Where;

const SCHEMA: Schema = Schema::standard("Where", 9, 3);

impl Operator for Where {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let (condition, dtype, other) = (cx.dtype(0)?, cx.dtype(1)?, cx.dtype(2)?);
        if condition != DType::Bool {
            return Err(cx.invalid(format!("its condition is of type {condition}, not bool")));
        }
        if dtype != other {
            return Err(cx.invalid(format!("it cannot choose between {dtype} and {other}")));
        }
        let (Some(c), Some(x), Some(y)) = (cx.shape(0)?, cx.shape(1)?, cx.shape(2)?) else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let shape = broadcast(cx, &broadcast(cx, x, y)?, c)?;
        Ok(vec![Inferred {
            dims: if shape.len() < 2 {
                follow_dims(cx)
            } else {
                None
            },
            fact: Fact::new(dtype, shape),
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (c, x, y) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        let shape = broadcast_shapes(x.shape(), y.shape())?;
        let shape = broadcast_shapes(c.shape(), &shape)?;
        let condition = c.values::<bool>()?;
        let at = |operand: &Tensor| broadcast_positions(operand.shape(), &shape);
        let chosen: Vec<usize> = (at(c)?.into_iter().zip(at(x)?).zip(at(y)?))
            .map(|((c, i), j)| if condition[c] { i } else { x.len() + j })
            .collect();
        Ok(vec![join(&[x, y])?.take(shape, &chosen)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (condition, dy) = (cx.input(0)?, cx.output_grad(0)?);
        let zero = cx.builder.scalar_like(dy, 0.0)?;
        let mut grads = vec![None; 3];
        for (index, branches) in [(1, [dy, zero]), (2, [zero, dy])] {
            if cx.wants(index) {
                let inputs = [condition, branches[0], branches[1]];
                let masked = cx.builder.op("Where", &inputs, &[])?;
                let like = cx.input(index)?;
                grads[index] = Some(cx.builder.unbroadcast(masked, like)?);
            }
        }
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let range = (-1.0, 1.0);
        let example = |name: &str| Example::new(SCHEMA, name);
        let mask = vec![true, false, true];
        vec![
            example("same shape")
                .values(&[3], mask.clone())
                .uniform(&[3], range)
                .uniform(&[3], range),
            example("broadcast")
                .values(&[3], mask.clone())
                .uniform(&[2, 1], range)
                .uniform(&[], range),
            example("condition broadcast")
                .values(&[3, 1], mask.clone())
                .uniform(&[3, 2], range)
                .uniform(&[2, 3, 2], range),
            example("zero size")
                .values(&[0], Vec::<bool>::new())
                .uniform(&[1], range)
                .uniform(&[0], range),
            example("of integers")
                .values(&[3], mask)
                .ints(&[1, 2, 3])
                .ints(&[4])
                .no_grad("integers have no gradient"),
        ]
    }
}

/// A choice between vectors of dimensions, by a constant condition of the same length.
fn follow_dims(cx: &InferCx<'_>) -> Option<Vec<Dim>> {
    let condition = cx.optional(0)?.value?.to_i64().ok()?;
    let (x, y) = (cx.dims(1)?, cx.dims(2)?);
    let count = condition.len().max(x.len()).max(y.len());
    let pick =
        |index: usize, length: usize| (length == 1 || length == count).then_some(index % length);
    (0..count)
        .map(|index| {
            let branch = if condition[pick(index, condition.len())?] != 0 {
                &x
            } else {
                &y
            };
            Some(branch[pick(index, branch.len())?].clone())
        })
        .collect()
}
