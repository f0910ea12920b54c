//! `GatherElements` and `GatherND`: elements, or blocks, of a tensor by a tensor of coordinates.
//! What they read, `ScatterElements` and `ScatterND` write.

use sardonyx_ir::{Dim, Fact, ValueId};
use sardonyx_tensor::{Tensor, element_count, strides, unravel};

use super::gather::position;
use super::move_grad::{self, Move, Moved};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Gather::Elements, &Gather::Nd];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gather {
    Elements,
    Nd,
}

/// Where each element comes from, one index for each along a single axis.
pub(crate) fn gather_elements(cx: &Move<'_>) -> Result<Moved> {
    let indices = cx.input(0)?;
    let shape = indices.shape().to_vec();
    let axis = axis_index(cx.node, cx.node.int("axis", 0)?, cx.shape.len())?;
    let fits = |other: usize| other == axis || shape[other] <= cx.shape[other];
    if shape.len() != cx.shape.len() || !(0..shape.len()).all(fits) {
        let problem = format!(
            "indices of shape {shape:?} do not fit data of {:?}",
            cx.shape
        );
        return Err(cx.invalid(problem));
    }
    let from = strides(cx.shape);
    let mut coords = vec![0; shape.len()];
    let source = |(at, index): (usize, i64)| {
        unravel(at, &shape, &mut coords);
        coords[axis] = position(cx, index, cx.shape[axis])?;
        Ok(coords.iter().zip(&from).map(|(c, s)| c * s).sum())
    };
    let sources = indices.to_i64()?.into_iter().enumerate().map(source);
    let sources = sources.collect::<Result<_>>()?;
    Ok(Moved { shape, sources })
}

/// Where each element comes from, the last axis of the indices holding coordinates.
pub(crate) fn gather_nd(cx: &Move<'_>) -> Result<Moved> {
    let indices = cx.input(0)?;
    let batch = usize::try_from(cx.node.int("batch_dims", 0)?)
        .map_err(|_| cx.invalid("batch_dims is negative"))?;
    let Some((&length, outer)) = indices.shape().split_last() else {
        return Err(cx.invalid("its indices are a scalar"));
    };
    let fits = batch <= outer.len() && batch + length <= cx.shape.len();
    if !fits || outer[..batch] != cx.shape[..batch] {
        let (from, by) = (cx.shape, indices.shape());
        let problem = format!("indices of shape {by:?} do not fit data of {from:?}");
        return Err(cx.invalid(problem));
    }
    let shape = [outer, &cx.shape[batch + length..]].concat();
    let block = element_count(&cx.shape[batch + length..])?;
    let count = element_count(outer)?;
    let per_batch = (count / element_count(&outer[..batch])?.max(1)).max(1);
    let coordinates = indices.to_i64()?;
    let mut sources = Vec::with_capacity(element_count(&shape)?);
    for tuple in 0..count {
        let mut at = tuple / per_batch;
        for (step, &index) in coordinates[tuple * length..(tuple + 1) * length]
            .iter()
            .enumerate()
        {
            let dim = cx.shape[batch + step];
            at = at * dim + position(cx, index, dim)?;
        }
        sources.extend(at * block..(at + 1) * block);
    }
    Ok(Moved { shape, sources })
}

impl Gather {
    fn moved(self, cx: &Move<'_>) -> Result<Moved> {
        match self {
            Gather::Elements => gather_elements(cx),
            Gather::Nd => gather_nd(cx),
        }
    }
}

impl Operator for Gather {
    fn schema(&self) -> Schema {
        match self {
            Gather::Elements => Schema::standard("GatherElements", 11, 2),
            Gather::Nd => Schema::standard("GatherND", 11, 2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let indices = cx.shape(1)?;
        if *self == Gather::Elements {
            let shape = indices.map(<[Dim]>::to_vec);
            return Ok(vec![Fact { dtype, shape }.into()]);
        }
        let (Some(shape), Some((length, outer))) =
            (cx.shape(0)?, indices.and_then(<[Dim]>::split_last))
        else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let batch = usize::try_from(cx.node.int("batch_dims", 0)?).unwrap_or(usize::MAX);
        let Some(length) = length.value() else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let Some(block) = batch
            .checked_add(length)
            .and_then(|taken| shape.get(taken..))
        else {
            let rank = shape.len();
            return Err(cx.invalid(format!("{batch} + {length} coordinates for {rank} axes")));
        };
        Ok(vec![Fact::new(dtype, [outer, block].concat()).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let moved = self.moved(&Move::of(cx)?)?;
        Ok(vec![cx.input(0)?.take(moved.shape, &moved.sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let indices = cx.input(1)?;
        let name = match self {
            Gather::Elements => "GatherElementsGrad",
            Gather::Nd => "GatherNDGrad",
        };
        move_grad::emit(cx, name, &[Some(indices)])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize]| {
            let example = Example::new(self.schema(), name).uniform(shape, (-1.0, 1.0));
            example.grad_by(&[0])
        };
        match self {
            Gather::Elements => vec![
                example("along the first", &[3, 3]).values(&[2, 3], vec![1i64, 2, 0, -1, 0, 0]),
                example("along the last", &[2, 3])
                    .attr("axis", 1i64)
                    .values(&[2, 1], vec![1i32, -1]),
                example("of nothing", &[2, 3]).values(&[0, 3], Vec::<i64>::new()),
            ],
            Gather::Nd => vec![
                example("of elements", &[2, 3]).values(&[3, 2], vec![0i64, 1, -1, 2, 0, 1]),
                example("of rows", &[2, 3]).values(&[2, 2, 1], vec![1i64, 0, 1, 1]),
                example("in batches", &[2, 3, 2])
                    .attr("batch_dims", 1i64)
                    .values(&[2, 2, 1], vec![1i64, 0, 2, 2]),
                example("of nothing", &[2, 3]).values(&[0, 1], Vec::<i64>::new()),
            ],
        }
    }
}
