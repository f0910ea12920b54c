//! `Transpose`: permutes axes. Its gradient is the inverse permutation.

use sardonyx_ir::{Attr, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, strides, unravel};

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Transpose];

#[derive(Debug)]
struct Transpose;

const SCHEMA: Schema = Schema::standard("Transpose", 1, 1);

/// The permutation that `node` applies to a tensor of rank `rank`: output axis `i` is input axis
/// `permutation[i]`.
///
/// # Errors
/// When the attribute is not a permutation of the axes.
pub fn permutation(node: &Node, rank: usize) -> Result<Vec<usize>> {
    let Some(axes) = node.sizes("perm")? else {
        return Ok((0..rank).rev().collect());
    };
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        let problem = format!("perm {axes:?} is not a permutation of {rank} axes");
        return Err(OpError::invalid(node, problem));
    }
    Ok(axes)
}

impl Operator for Transpose {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let permutation = permutation(cx.node, shape.len())?;
        Ok(vec![
            Fact::new(
                dtype,
                permutation.into_iter().map(|axis| shape[axis].clone()),
            )
            .into(),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let permutation = permutation(cx.node, x.rank())?;
        let shape: Vec<usize> = permutation.iter().map(|&axis| x.shape()[axis]).collect();
        let from = strides(x.shape());
        let from: Vec<usize> = permutation.iter().map(|&axis| from[axis]).collect();
        let mut coords = vec![0; x.rank()];
        let sources: Vec<usize> = (0..x.len())
            .map(|index| {
                unravel(index, &shape, &mut coords);
                coords.iter().zip(&from).map(|(c, s)| c * s).sum()
            })
            .collect();
        Ok(vec![x.take(shape, &sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
        let permutation = permutation(cx.node, cx.builder.shape(x)?.len())?;
        let mut inverse = vec![0; permutation.len()];
        for (to, &from) in permutation.iter().enumerate() {
            inverse[from] = to as i64;
        }
        Ok(vec![Some(cx.builder.op(
            "Transpose",
            &[dy],
            &[("perm", Attr::Ints(inverse))],
        )?)])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(SCHEMA, name).uniform(&[2, 3, 4], (-1.0, 1.0));
        vec![
            example("reversed"),
            example("permuted").attr("perm", vec![2i64, 0, 1]),
            Example::new(SCHEMA, "zero size").uniform(&[0, 3], (-1.0, 1.0)),
        ]
    }
}
