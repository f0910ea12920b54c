//! `Expand`: repeats a tensor along axes of size one, to a shape that is given as an input. Its
//! gradient is the sum over the repeats.

use sardonyx_ir::{Fact, ValueId};
use sardonyx_tensor::{Tensor, broadcast_shapes};

use super::binary::broadcast;
use crate::reference::{broadcast_positions, claimed_count, sizes};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Expand];

#[derive(Debug)]
struct Expand;

const SCHEMA: Schema = Schema::standard("Expand", 8, 2);

impl Operator for Expand {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        if let Some(target) = cx.dims(1) {
            let shape = broadcast(cx, shape, &target)?;
            return Ok(vec![Fact::new(dtype, shape).into()]);
        }
        let length = cx.shape(1)?.and_then(|dims| dims.first()?.value());
        Ok(vec![match length {
            Some(length) => {
                let rank = shape.len().max(length);
                Fact::new(dtype, (0..rank).map(|axis| cx.unknown_dim(axis))).into()
            }
            None => Fact::unranked(dtype).into(),
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let shape = broadcast_shapes(x.shape(), &sizes(cx, 1)?)?;
        claimed_count(cx.node, &shape)?;
        let sources = broadcast_positions(x.shape(), &shape)?;
        Ok(vec![x.take(shape, &sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
        Ok(vec![Some(cx.builder.unbroadcast(dy, x)?), None])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, from: &[usize], to: &[i64]| {
            let example = Example::new(SCHEMA, name).uniform(from, (-1.0, 1.0));
            example.ints(to).grad_by(&[0])
        };
        vec![
            example("along one axis", &[3, 1], &[3, 4]),
            example("with more axes", &[3, 1], &[2, 1, 5]),
            example("of a scalar", &[], &[2, 3]),
            example("to a smaller shape", &[2, 3], &[1]),
            example("to zero size", &[1, 3], &[0, 3]),
        ]
    }
}
