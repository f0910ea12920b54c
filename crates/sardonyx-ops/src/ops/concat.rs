//! `Concat`: puts tensors one after the other along an axis. Its gradient cuts them apart again.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use crate::reference::join;
use crate::{
    EvalCx, Example, FREE_DIM, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema,
    axis_index,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Concat];

#[derive(Debug)]
struct Concat;

const SCHEMA: Schema = Schema::standard("Concat", 4, 1).inputs(1, usize::MAX);

fn concat_axis(node: &Node, rank: usize) -> Result<usize> {
    if !node.attributes.contains_key("axis") {
        return Err(OpError::invalid(node, "the attribute `axis` is missing"));
    }
    axis_index(node, node.int("axis", 0)?, rank)
}

impl Operator for Concat {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let mut shapes = Vec::with_capacity(cx.inputs.len());
        for index in 0..cx.inputs.len() {
            if cx.dtype(index)? != dtype {
                let other = cx.dtype(index)?;
                return Err(cx.invalid(format!("input {index} is {other}, the first {dtype}")));
            }
            match cx.shape(index)? {
                Some(shape) => shapes.push(shape),
                None => return Ok(vec![Fact::unranked(dtype).into()]),
            }
        }
        let axis = concat_axis(cx.node, shapes[0].len())?;
        let mut out = shapes[0].to_vec();
        for (index, shape) in shapes.iter().enumerate().skip(1) {
            join_shape(cx, (&mut out, axis), shape, index)?;
        }
        let dims = if out.len() == 1 {
            follow_dims(cx)
        } else {
            None
        };
        Ok(vec![Inferred {
            fact: Fact::new(dtype, out),
            dims,
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let tensors = (0..cx.inputs.len())
            .map(|i| cx.input(i))
            .collect::<Result<Vec<_>>>()?;
        let mut shape = tensors[0].shape().to_vec();
        let axis = concat_axis(cx.node, shape.len())?;
        let others = |shape: &[usize]| [&shape[..axis], &shape[axis + 1..]].concat();
        for (index, tensor) in tensors.iter().enumerate().skip(1) {
            if tensor.rank() != shape.len() || others(tensor.shape()) != others(&shape) {
                let (own, first) = (tensor.shape(), tensors[0].shape());
                let problem = format!("input {index} of shape {own:?} does not fit {first:?}");
                return Err(cx.invalid(problem));
            }
            shape[axis] += tensor.shape()[axis];
        }
        let outer = element_count(&shape[..axis])?;
        let mut sources = Vec::with_capacity(element_count(&shape)?);
        for row in 0..outer {
            let mut start = 0;
            for tensor in &tensors {
                let length = tensor.len() / outer;
                sources.extend((0..length).map(|i| start + row * length + i));
                start += tensor.len();
            }
        }
        Ok(vec![join(&tensors)?.take(shape, &sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let dy = cx.output_grad(0)?;
        let axis = concat_axis(cx.node, cx.builder.shape(dy)?.len())?;
        let inputs = cx.node.inputs.iter().copied().flatten().collect::<Vec<_>>();
        let lengths = inputs
            .iter()
            .map(|&x| Ok(cx.builder.shape(x)?[axis].value()));
        let Some(lengths) = lengths.collect::<Result<Option<Vec<_>>>>()? else {
            return split(cx, &inputs, dy, axis);
        };
        let mut grads = Vec::with_capacity(inputs.len());
        let mut start = 0;
        for (index, length) in lengths.into_iter().enumerate() {
            let end = start + length as i64;
            grads.push(if cx.wants(index) {
                let range = [start, end, axis as i64].map(|n| cx.builder.ints(&[n]));
                Some(
                    cx.builder
                        .op("Slice", &[dy, range[0], range[1], range[2]], &[])?,
                )
            } else {
                None
            });
            start = end;
        }
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let range = (-1.0, 1.0);
        let example = |name: &str, axis: i64| Example::new(SCHEMA, name).attr("axis", axis);
        vec![
            example("of vectors", 0)
                .uniform(&[2], range)
                .uniform(&[3], range),
            example("along the middle", 1)
                .uniform(&[2, 1, 3], range)
                .uniform(&[2, 4, 3], range)
                .uniform(&[2, 2, 3], range),
            example("along the last", -1)
                .uniform(&[2, 1], range)
                .uniform(&[2, 3], range),
            example("of one", 0).uniform(&[2, 3], range),
            example("with an empty one", 1)
                .uniform(&[2, 0], range)
                .uniform(&[2, 3], range),
            example("of nothing", 1)
                .uniform(&[0, 2], range)
                .uniform(&[0, 3], range),
        ]
    }
}

/// Gradients by lengths that only a run knows.
fn split(
    cx: &mut GradCx<'_, '_>,
    inputs: &[ValueId],
    dy: ValueId,
    axis: usize,
) -> Result<Vec<Option<ValueId>>> {
    let range = [
        ("start", Attr::Int(axis as i64)),
        ("end", Attr::Int(axis as i64 + 1)),
    ];
    let lengths = inputs.iter().map(|&x| cx.builder.op("Shape", &[x], &range));
    let lengths = lengths.collect::<Result<Vec<_>>>()?;
    let lengths = cx
        .builder
        .op("Concat", &lengths, &[("axis", Attr::Int(0))])?;
    let axis = [("axis", Attr::Int(axis as i64))];
    let split = ("", "Split");
    let parts = cx
        .builder
        .node(split, &[Some(dy), Some(lengths)], &axis, inputs.len())?;
    Ok(parts.into_iter().map(Some).collect())
}

/// Adds the shape of input `index` to what is known of the output's.
fn join_shape(
    cx: &InferCx<'_>,
    (out, axis): (&mut [Dim], usize),
    shape: &[Dim],
    index: usize,
) -> Result<()> {
    if shape.len() != out.len() {
        let (rank, first) = (shape.len(), out.len());
        return Err(cx.invalid(format!("input {index} has rank {rank}, the first {first}")));
    }
    for (own, (dim, other)) in out.iter_mut().zip(shape).enumerate() {
        if own == axis {
            *dim = dim
                .checked_add(other)
                .unwrap_or_else(|| cx.unknown_dim(axis));
        } else if let (Some(a), Some(b)) = (dim.value(), other.value()) {
            if a != b {
                let problem = format!("input {index} has {b} elements on axis {own}, not {a}");
                return Err(cx.invalid(problem));
            }
        } else if dim.value().is_none() {
            // A number beside a symbol is what the symbol has to be.
            *dim = other.clone();
        }
    }
    Ok(())
}

/// A vector of dimensions put together, in which -1 may stand for the one to work out.
fn follow_dims(cx: &InferCx<'_>) -> Option<Vec<Dim>> {
    let part = |index: usize| {
        let constant = cx
            .optional(index)?
            .value
            .and_then(|value| value.to_i64().ok());
        if constant == Some(vec![-1]) {
            Some(vec![Dim::symbol(FREE_DIM)])
        } else {
            cx.dims(index)
        }
    };
    let parts = (0..cx.inputs.len()).map(part).collect::<Option<Vec<_>>>();
    parts.map(|parts| parts.concat())
}
