//! `Tile`: repeats a tensor along its axes, as a whole.

use sardonyx_ir::{Dim, Fact, ValueId};
use sardonyx_tensor::{Tensor, strides, unravel};

use super::move_grad::{self, Move, Moved};
use crate::reference::claimed_count;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Tile];

#[derive(Debug)]
struct Tile;

const SCHEMA: Schema = Schema::standard("Tile", 6, 2);

/// Where each element of the repeated tensor comes from.
pub(crate) fn tile(cx: &Move<'_>) -> Result<Moved> {
    let repeats = cx.ints(0)?.unwrap_or_default();
    let rank = cx.shape.len();
    if repeats.len() != rank {
        return Err(cx.invalid(format!("{} repeats for {rank} axes", repeats.len())));
    }
    let dim = |(&n, &times): (&usize, &i64)| n.checked_mul(usize::try_from(times).ok()?);
    let shape = cx
        .shape
        .iter()
        .zip(&repeats)
        .map(dim)
        .collect::<Option<Vec<_>>>();
    let shape = shape.ok_or_else(|| cx.invalid(format!("it cannot repeat {repeats:?} times")))?;
    let from = strides(cx.shape);
    let mut coords = vec![0; rank];
    let sources = (0..claimed_count(cx.node, &shape)?)
        .map(|index| {
            unravel(index, &shape, &mut coords);
            let axes = coords.iter().zip(cx.shape).zip(&from);
            axes.map(|((&c, &n), &stride)| (c % n) * stride).sum()
        })
        .collect();
    Ok(Moved { shape, sources })
}

impl Operator for Tile {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let unknown = |axis| cx.unknown_dim(axis);
        let dims = match cx.dims(1) {
            Some(repeats) if repeats.len() == shape.len() => (shape.iter().zip(&repeats))
                .enumerate()
                .map(|(axis, (n, times))| n.checked_mul(times).unwrap_or_else(|| unknown(axis)))
                .collect(),
            Some(repeats) => {
                let (count, rank) = (repeats.len(), shape.len());
                return Err(cx.invalid(format!("{count} repeats for {rank} axes")));
            }
            None => (0..shape.len()).map(unknown).collect::<Vec<Dim>>(),
        };
        Ok(vec![Fact::new(dtype, dims).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let moved = tile(&Move::of(cx)?)?;
        Ok(vec![cx.input(0)?.take(moved.shape, &moved.sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let repeats = cx.input(1)?;
        move_grad::emit(cx, "TileGrad", &[Some(repeats)])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize], repeats: &[i64]| {
            let example = Example::new(SCHEMA, name).uniform(shape, (-1.0, 1.0));
            example.ints(repeats).grad_by(&[0])
        };
        vec![
            example("along both axes", &[2, 3], &[3, 2]),
            example("once", &[2, 3], &[1, 1]),
            example("never", &[2, 3], &[1, 0]),
            example("of zero size", &[0, 3], &[2, 2]),
            example("of a scalar", &[], &[]),
        ]
    }
}
