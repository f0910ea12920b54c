//! Products of two activations: `MatMul` and `Gemm` by strides, so that transposes before and
//! behind them cost nothing.

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Fact, Graph, Node, NodeId, Producer, ValueId};
use sardonyx_kernels::{Addend, BatchAxis, MatMul, MatMulShape, Op};
use sardonyx_ops::ops::transpose::permutation;
use sardonyx_tensor::DType;

use super::elementwise::Fused;
use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// Transposes that products take over.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// Transposed values that products read where they come from: the source and the axes.
    inputs: BTreeMap<ValueId, (ValueId, Vec<usize>)>,
    /// Results that products write transposed: the transposed value and its axes.
    outputs: BTreeMap<ValueId, (ValueId, Vec<usize>)>,
    /// Transposes that are not run.
    pub(crate) skipped: BTreeSet<NodeId>,
}

impl Folded {
    /// The transposes of `graph` whose every reader is a product that can read through them, and
    /// those that are the only reader of a product which can write through them. Values in
    /// `kept` must exist.
    pub(crate) fn of(graph: &Graph, kept: &BTreeSet<ValueId>) -> Result<Folded> {
        let (producers, consumers) = (graph.producers(), graph.consumers());
        let mut folded = Folded::default();
        for (id, node) in graph.nodes() {
            let Some((source, result, axes)) = transpose(graph, node)? else {
                continue;
            };
            let reads = |&reader: &NodeId| reads_through(graph, graph.node(reader), result, &axes);
            let readers = &consumers[result.index()];
            if !kept.contains(&result) && !readers.is_empty() && readers.iter().all(reads) {
                folded.inputs.insert(result, (source, axes));
                folded.skipped.insert(id);
            } else if let Some(product) =
                product_behind(graph, &producers, &consumers, source, kept)
                && axes.last() == Some(&(axes.len() - 1))
            {
                folded.outputs.insert(product, (result, axes));
                folded.skipped.insert(id);
            }
        }
        Ok(folded)
    }

    /// Whether `value` does not exist, because it is read or written transposed.
    pub(super) fn hides(&self, value: ValueId) -> bool {
        self.inputs.contains_key(&value) || self.outputs.contains_key(&value)
    }
}

/// A transpose of floats: its input, output and axes.
fn transpose(graph: &Graph, node: &Node) -> Result<Option<(ValueId, ValueId, Vec<usize>)>> {
    let (true, Some(source), Some(result)) = (node.is("Transpose"), node.input(0), node.output(0))
    else {
        return Ok(None);
    };
    let fact = graph.fact(source).filter(|fact| fact.dtype == DType::F32);
    let Some(rank) = fact.and_then(Fact::rank).filter(|&rank| rank > 1) else {
        return Ok(None);
    };
    Ok(Some((source, result, permutation(node, rank)?)))
}

/// Whether `reader` is a product that can read `value` without its being transposed.
fn reads_through(graph: &Graph, reader: &Node, value: ValueId, axes: &[usize]) -> bool {
    let rank = |slot| reader.input(slot).and_then(|id| graph.fact(id)?.rank());
    // The kernel takes a right operand whose rows or columns are neighbours.
    let near = axes[axes.len() - 2..].contains(&(axes.len() - 1));
    reader.is("MatMul")
        && rank(0) > Some(1)
        && rank(1) > Some(1)
        && (reader.input(1) != Some(value) || near)
}

/// `value`, when a product makes it and nothing but the one transpose reads it.
fn product_behind(
    graph: &Graph,
    producers: &[Option<Producer>],
    consumers: &[Vec<NodeId>],
    value: ValueId,
    kept: &BTreeSet<ValueId>,
) -> Option<ValueId> {
    let Some(Producer::Node(id, 0)) = producers[value.index()] else {
        return None;
    };
    let is_product = graph.node(id).is("MatMul");
    let ranks = [0, 1].map(|slot| {
        graph
            .node(id)
            .input(slot)
            .and_then(|v| graph.fact(v)?.rank())
    });
    let are_matrices = ranks.iter().all(|rank| *rank > Some(1));
    let only = consumers[value.index()].len() == 1 && !kept.contains(&value);
    (is_product && are_matrices && only).then_some(value)
}

/// A tensor as a product walks it.
#[derive(Debug, Clone)]
pub(super) struct Strided {
    pub(super) value: ValueId,
    pub(super) dims: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Strided {
    fn whole(value: ValueId, dims: Vec<usize>) -> Strided {
        let mut strides = vec![1; dims.len()];
        for axis in (1..dims.len()).rev() {
            strides[axis - 1] = strides[axis] * dims[axis];
        }
        Strided {
            value,
            dims,
            strides,
        }
    }

    /// An input of a product.
    fn input(cx: &LowerCx<'_>, value: ValueId) -> Result<Strided> {
        let Some((source, axes)) = cx.known.folded.inputs.get(&value) else {
            return Ok(Strided::whole(value, cx.shape(value)?));
        };
        let whole = Strided::whole(*source, cx.shape(*source)?);
        let pick = |from: &[usize]| axes.iter().map(|&axis| from[axis]).collect();
        Ok(Strided {
            value: *source,
            dims: pick(&whole.dims),
            strides: pick(&whole.strides),
        })
    }

    /// A product's result.
    pub(super) fn output(cx: &LowerCx<'_>, value: ValueId) -> Result<Strided> {
        let Some((result, axes)) = cx.known.folded.outputs.get(&value) else {
            return Ok(Strided::whole(value, cx.shape(value)?));
        };
        let whole = Strided::whole(*result, cx.shape(*result)?);
        let mut strides = vec![0; axes.len()];
        for (position, &axis) in axes.iter().enumerate() {
            strides[axis] = whole.strides[position];
        }
        Ok(Strided {
            value: *result,
            dims: cx.shape(value)?,
            strides,
        })
    }

    /// Adds an axis of one element.
    fn insert(&mut self, axis: usize) {
        self.dims.insert(axis, 1);
        self.strides.insert(axis, 1);
    }

    /// Stride along batch axis `axis` of `rank`, aligned at the last; 0 where it is repeated.
    fn batch_stride(&self, axis: usize, rank: usize) -> usize {
        let own = self.dims.len() - 2;
        match (axis + own).checked_sub(rank) {
            Some(axis) if self.dims[axis] != 1 => self.strides[axis],
            _ => 0,
        }
    }
}

/// The axes of a batch of products, neighbours merged where all operands allow it.
fn batch_axes(dims: &[usize], [a, b, c]: [&Strided; 3]) -> Vec<BatchAxis> {
    let mut axes: Vec<BatchAxis> = Vec::new();
    for (axis, &len) in dims.iter().enumerate().filter(|(_, len)| **len != 1) {
        let own = BatchAxis {
            len,
            a: a.batch_stride(axis, dims.len()),
            b: b.batch_stride(axis, dims.len()),
            c: c.batch_stride(axis, dims.len()),
        };
        match axes.last_mut() {
            Some(before)
                if [(before.a, own.a), (before.b, own.b), (before.c, own.c)]
                    .iter()
                    .all(|(outer, inner)| *outer == inner * len) =>
            {
                *before = BatchAxis {
                    len: before.len * len,
                    ..own
                };
            }
            _ => axes.push(own),
        }
    }
    axes
}

/// `MatMul(a, b)`.
pub(super) fn matmul(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if !cx.is_f32() {
        return Ok(None);
    }
    let mut a = Strided::input(cx, cx.input(0))?;
    let mut b = Strided::input(cx, cx.input(1))?;
    let mut c = Strided::output(cx, cx.output(0))?;
    // Vectors are matrices of one row or column.
    if a.dims.len() == 1 {
        a.insert(0);
        let end = c.dims.len() - usize::from(b.dims.len() > 1);
        c.insert(end);
    }
    if b.dims.len() == 1 {
        b.insert(1);
        let end = c.dims.len();
        c.insert(end);
    }
    let rank = c.dims.len() - 2;
    let [m, n] = [c.dims[rank], c.dims[rank + 1]];
    let k = a.dims[a.dims.len() - 1];
    let last = |operand: &Strided| {
        let at = operand.strides.len() - 2;
        [operand.strides[at], operand.strides[at + 1]]
    };
    let (mut a_steps, mut b_steps) = (last(&a), last(&b));
    if a.dims[a.dims.len() - 2] == 1 {
        a_steps[0] = a_steps[0].max(k);
    }
    if !b_steps.contains(&1) {
        // A matrix of one row or column may call any stride its own.
        match [b.dims[b.dims.len() - 2], b.dims[b.dims.len() - 1]] {
            [1, _] => b_steps[0] = 1,
            [_, 1] => b_steps[1] = 1,
            _ => return Ok(None),
        }
    }
    let mut shape = MatMulShape {
        m,
        n,
        k,
        a: a_steps,
        b: b_steps,
        c_row: last(&c)[0].max(n),
        batch: batch_axes(&c.dims[..rank], [&a, &b, &c]),
    };
    // Rows of all products are rows of one where they share the right operand.
    while let Some(axis) = shape.batch.last().copied()
        && axis.b == 0
        && axis.a == shape.m * shape.a[0]
        && axis.c == shape.m * shape.c_row
    {
        shape.batch.pop();
        shape.m *= axis.len;
    }
    let kernel = MatMul::new(cx.isa, shape, 1.0, Addend::Nothing)?;
    let operands = [a.value, b.value, c.value].map(Slot::Value).to_vec();
    Ok(Some(Lowered::call(kernel, operands)))
}

/// `Gemm(a, b, c?)`: `alpha a b + beta c`.
pub(super) fn gemm(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (a, y) = (cx.input(0), cx.output(0));
    if !cx.is_f32() {
        return Ok(None);
    }
    let transposed = [
        cx.node.flag("transA", false)?,
        cx.node.flag("transB", false)?,
    ];
    let dims = cx.shape(y)?;
    let left = cx.shape(a)?;
    let (&[m, n], &[rows, columns]) = (&dims[..], &left[..]) else {
        return Ok(None);
    };
    let k = if transposed[0] { rows } else { columns };
    let mut lowered = Lowered::default();
    let mut addend = Addend::Nothing;
    if let Some(c) = cx.node.input(2) {
        // The sums start from what is added.
        let mut fused = Fused::new(dims.clone());
        let c = fused.value(cx, c)?;
        let scaled = fused.push(Op::Affine(cx.node.float("beta", 1.0)?, 0.0), &[c])?;
        fused.finish(&mut lowered, cx, &[(scaled, Slot::Value(y))])?;
        addend = Addend::Output;
    }
    let shape = MatMulShape::plain(m, n, k, transposed);
    let kernel = MatMul::new(cx.isa, shape, cx.node.float("alpha", 1.0)?, addend)?;
    let operands = [a, cx.input(1), y].map(Slot::Value).to_vec();
    lowered.push(kernel, operands);
    Ok(Some(lowered))
}
