//! `ReverseSequence`: turns around the first elements of each sequence of a batch, as many as the
//! sequence is long. Its gradient is itself.

use sardonyx_ir::{Node, ValueId};
use sardonyx_tensor::{Tensor, strides, unravel};

use super::move_grad::attributes;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, axis_index,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&ReverseSequence];

#[derive(Debug)]
struct ReverseSequence;

const SCHEMA: Schema = Schema::standard("ReverseSequence", 10, 2);

fn axes(node: &Node, rank: usize) -> Result<(usize, usize)> {
    let batch = axis_index(node, node.int("batch_axis", 1)?, rank)?;
    let time = axis_index(node, node.int("time_axis", 0)?, rank)?;
    if batch == time {
        return Err(OpError::invalid(
            node,
            format!("batch and time are both axis {time}"),
        ));
    }
    Ok((batch, time))
}

impl Operator for ReverseSequence {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let fact = cx.input(0)?.fact;
        if let Some(rank) = fact.rank() {
            axes(cx.node, rank)?;
        }
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let (batch, time) = axes(cx.node, x.rank())?;
        let lengths = cx.input(1)?.to_i64()?;
        let longest = x.shape()[time] as i64;
        if lengths.len() != x.shape()[batch] || lengths.iter().any(|n| !(0..=longest).contains(n)) {
            let problem = format!("lengths {lengths:?} do not fit shape {:?}", x.shape());
            return Err(cx.invalid(problem));
        }
        let from = strides(x.shape());
        let mut coords = vec![0; x.rank()];
        let source = |index| {
            unravel(index, x.shape(), &mut coords);
            let length = lengths[coords[batch]] as usize;
            if coords[time] < length {
                coords[time] = length - 1 - coords[time];
            }
            coords.iter().zip(&from).map(|(c, s)| c * s).sum()
        };
        let sources: Vec<usize> = (0..x.len()).map(source).collect();
        Ok(vec![x.take(x.shape(), &sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let inputs = [Some(cx.output_grad(0)?), cx.node.input(1)];
        let attributes = attributes(cx.node);
        let dx = cx
            .builder
            .node(("", "ReverseSequence"), &inputs, &attributes, 1)?[0];
        Ok(vec![Some(dx), None])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize], lengths: &[i64]| {
            let example = Example::new(SCHEMA, name).uniform(shape, (-1.0, 1.0));
            example.ints(lengths).grad_by(&[0])
        };
        vec![
            example("time first", &[4, 3, 2], &[4, 0, 3]),
            example("batch first", &[2, 5], &[1, 3])
                .attr("batch_axis", 0i64)
                .attr("time_axis", 1i64),
            example("of nothing", &[0, 2], &[0, 0]),
        ]
    }
}
