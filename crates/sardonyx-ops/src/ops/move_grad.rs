//! Gradients of the operators that only move elements: each output element is a copy of one input
//! element, so the gradient sums, into every input element, the gradients of its copies. A row
//! names the operator and shares the function that says where each element comes from.
//!
//! Inputs of a row: `dy`, the shape of the forward operator's first input as a vector, then the
//! forward operator's further inputs; the attributes are the forward operator's.

use sardonyx_ir::{Attr, Fact, Node, ONNX, SARDONYX, ValueId};
use sardonyx_tensor::Tensor;

use super::{gather, gather_nd, pad, select_by, slice, tile};
use crate::reference::{claimed_count, sizes};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, fact_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &{
    let mut ops: [&dyn Operator; ROWS.len()] = [&ROWS[0]; ROWS.len()];
    let mut index = 0;
    while index < ROWS.len() {
        ops[index] = &ROWS[index];
        index += 1;
    }
    ops
};

/// What decides where elements come from.
#[derive(Debug)]
pub(crate) struct Move<'a> {
    /// Carries the attributes.
    pub(crate) node: &'a Node,
    /// Shape of the tensor that elements are taken from.
    pub(crate) shape: &'a [usize],
    /// The forward operator's inputs but the first.
    pub(crate) rest: Vec<Option<&'a Tensor>>,
}

impl<'a> Move<'a> {
    /// What a forward operator is given.
    pub(crate) fn of(cx: &EvalCx<'a>) -> Result<Move<'a>> {
        Ok(Move {
            node: cx.node,
            shape: cx.input(0)?.shape(),
            rest: cx.inputs[1..].to_vec(),
        })
    }

    /// Further input `index` (the first is 0), which must be there.
    pub(crate) fn input(&self, index: usize) -> Result<&'a Tensor> {
        let input = self.rest.get(index).copied().flatten();
        input.ok_or_else(|| self.invalid(format!("input {} is missing", index + 1)))
    }

    /// Integers of further input `index`, when it is there.
    pub(crate) fn ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        let input = self.rest.get(index).copied().flatten();
        Ok(input.map(Tensor::to_i64).transpose()?)
    }

    /// An error about the node.
    pub(crate) fn invalid(&self, problem: impl Into<String>) -> OpError {
        OpError::invalid(self.node, problem)
    }
}

/// Shape of the output and, for each of its elements, the index of the input element it copies.
pub(crate) struct Moved {
    pub(crate) shape: Vec<usize>,
    pub(crate) sources: Vec<usize>,
}

/// One row.
struct MoveGrad {
    name: &'static str,
    /// The operator that this is the gradient of.
    forward: &'static str,
    /// Fewest and most inputs.
    inputs: (usize, usize),
    sources: fn(&Move<'_>) -> Result<Moved>,
    examples: fn(Example) -> Vec<Example>,
}

static ROWS: [MoveGrad; 7] = [
    MoveGrad {
        name: "CompressGrad",
        forward: "Compress",
        inputs: (3, 3),
        sources: select_by::compress,
        examples: |example| {
            let example = example.attr("axis", 1i64).uniform(&[2, 1], (-1.0, 1.0));
            vec![
                example
                    .ints(&[2, 3])
                    .values(&[2], vec![false, true])
                    .grad_by(&[0]),
            ]
        },
    },
    MoveGrad {
        name: "GatherElementsGrad",
        forward: "GatherElements",
        inputs: (3, 3),
        sources: gather_nd::gather_elements,
        examples: |example| {
            let example = example.uniform(&[2, 2], (-1.0, 1.0)).ints(&[3, 2]);
            vec![example.values(&[2, 2], vec![2i64, 0, 2, -1]).grad_by(&[0])]
        },
    },
    MoveGrad {
        name: "GatherGrad",
        forward: "Gather",
        inputs: (3, 3),
        sources: gather::gather,
        examples: |example| {
            let example = example.attr("axis", 1i64).uniform(&[2, 4], (-1.0, 1.0));
            vec![example.ints(&[2, 3]).ints(&[2, -1, 0, 2]).grad_by(&[0])]
        },
    },
    MoveGrad {
        name: "GatherNDGrad",
        forward: "GatherND",
        inputs: (3, 3),
        sources: gather_nd::gather_nd,
        examples: |example| {
            let example = example
                .attr("batch_dims", 1i64)
                .uniform(&[2, 2], (-1.0, 1.0));
            let example = example.ints(&[2, 3, 2]).values(&[2, 1], vec![1i64, -1]);
            vec![example.grad_by(&[0])]
        },
    },
    MoveGrad {
        name: "PadGrad",
        forward: "Pad",
        inputs: (2, 5),
        sources: pad::pad,
        examples: |example| {
            let example = example.attr("mode", "wrap").uniform(&[2, 6], (-1.0, 1.0));
            vec![example.ints(&[2, 3]).ints(&[0, 1, 0, 2]).grad_by(&[0])]
        },
    },
    MoveGrad {
        name: "SliceGrad",
        forward: "Slice",
        inputs: (4, 6),
        sources: slice::slice,
        examples: |example| {
            let example = example.uniform(&[2, 2], (-1.0, 1.0)).ints(&[2, 5]);
            let example = example.ints(&[-1]).ints(&[-4]).ints(&[1]).ints(&[-2]);
            vec![example.grad_by(&[0])]
        },
    },
    MoveGrad {
        name: "TileGrad",
        forward: "Tile",
        inputs: (3, 3),
        sources: tile::tile,
        examples: |example| {
            let example = example.uniform(&[4, 3], (-1.0, 1.0)).ints(&[2, 3]);
            vec![example.ints(&[2, 1]).grad_by(&[0])]
        },
    },
];

impl Operator for MoveGrad {
    fn schema(&self) -> Schema {
        Schema::own(self.name, 0).inputs(self.inputs.0, self.inputs.1)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let (dtype, shape) = (cx.dtype(0)?, cx.dims(1));
        Ok(vec![Fact { dtype, shape }.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (dy, shape) = (cx.input(0)?, sizes(cx, 1)?);
        let count = claimed_count(cx.node, &shape)?;
        let moved = (self.sources)(&Move {
            node: cx.node,
            shape: &shape,
            rest: cx.inputs[2..].to_vec(),
        })?;
        if moved.shape != dy.shape() {
            let (is, should) = (dy.shape(), moved.shape);
            return Err(cx.invalid(format!("dy has shape {is:?}, the output {should:?}")));
        }
        let mut dx = vec![0.0; count];
        for (source, dy) in moved.sources.into_iter().zip(dy.to_f64()?) {
            dx[source] += dy;
        }
        Ok(vec![Tensor::from_f64(dy.dtype(), shape, dx)?])
    }

    // The sum over copies is linear, and its transpose is the forward operator.
    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let mut inputs = cx.node.inputs.clone();
        inputs.remove(1);
        inputs[0] = Some(cx.output_grad(0)?);
        let attributes = attributes(cx.node);
        let emitted = cx
            .builder
            .node((ONNX, self.forward), &inputs, &attributes, 1)?;
        let mut grads = vec![None; cx.node.inputs.len()];
        grads[0] = Some(emitted[0]);
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        fact_flops(cx.optional(0)?.fact, 1)
    }

    fn examples(&self) -> Vec<Example> {
        (self.examples)(Example::new(self.schema(), "plain"))
    }
}

/// The attributes of `node`, to be carried over to an emitted one.
pub(crate) fn attributes(node: &Node) -> Vec<(&str, Attr)> {
    let attributes = node.attributes.iter();
    attributes
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect()
}

/// Emits row `name` for the node of `cx`, with `rest` as the forward operator's further inputs,
/// and returns the gradients by all of the node's inputs.
pub(crate) fn emit(
    cx: &mut GradCx<'_, '_>,
    name: &str,
    rest: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>> {
    let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
    let shape = cx.builder.shape_of(x)?;
    let inputs = [&[Some(dy), Some(shape)], rest].concat();
    let emitted = cx
        .builder
        .node((SARDONYX, name), &inputs, &attributes(cx.node), 1)?;
    let mut grads = vec![None; cx.node.inputs.len()];
    grads[0] = Some(emitted[0]);
    Ok(grads)
}
