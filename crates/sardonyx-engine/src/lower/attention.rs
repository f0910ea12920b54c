//! Attention as one call: two products with a softmax between them, whose operands are read where
//! the projections left them, through any transposes, splits and reshapes.

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Graph, Node, NodeId, Producer, ValueId};
use sardonyx_kernels::{Attention, AttentionAxis, AttentionMatrix, AttentionShape};

use super::matmul::Strided;
use super::softmax::lanes;
use super::trace::{Part, Tracer, scaled};
use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// Second products that compute a whole attention, and nodes that nothing reads any more.
#[derive(Debug, Default)]
pub(super) struct Attentions {
    pub(super) calls: BTreeMap<NodeId, Lowered>,
    pub(super) dead: BTreeSet<NodeId>,
}

/// What the search looks at.
pub(super) struct Search<'a> {
    /// All nodes in a topological order.
    pub(super) order: &'a [NodeId],
    /// Nodes whose outputs are constants of the plan.
    pub(super) constants: BTreeSet<NodeId>,
    /// Values that must exist.
    pub(super) kept: &'a BTreeSet<ValueId>,
}

impl Attentions {
    /// Finds every attention of `graph`; `cx` makes what a rule looks at.
    pub(super) fn of<'a>(
        graph: &'a Graph,
        search: &Search<'_>,
        cx: impl Fn(NodeId) -> LowerCx<'a>,
    ) -> Result<Attentions> {
        let is_product = |id: &&NodeId| graph.node(**id).is("MatMul");
        if search.order.iter().filter(is_product).count() < 2 {
            return Ok(Attentions::default());
        }
        let (producers, consumers) = (graph.producers(), graph.consumers());
        let mut found = Attentions::default();
        let mut reads = BTreeMap::new();
        for &id in search.order.iter().filter(is_product) {
            let pattern = Pattern {
                cx: cx(id),
                producers: &producers,
                consumers: &consumers,
                kept: search.kept,
            };
            if let Some((call, bases)) = pattern.lower()? {
                found.calls.insert(id, call);
                reads.insert(id, bases);
            }
        }
        if !found.calls.is_empty() {
            let before = live(graph, search, &BTreeMap::new());
            let after = live(graph, search, &reads);
            found.dead = before.difference(&after).copied().collect();
        }
        Ok(found)
    }
}

/// Nodes whose outputs are kept or read by such a node; `reads` says what the nodes in it read
/// instead of their inputs.
fn live(
    graph: &Graph,
    search: &Search<'_>,
    reads: &BTreeMap<NodeId, [ValueId; 3]>,
) -> BTreeSet<NodeId> {
    let mut needed = search.kept.clone();
    let mut live = BTreeSet::new();
    for id in search.order.iter().rev() {
        let node = graph.node(*id);
        if !node.outputs.iter().flatten().any(|v| needed.contains(v)) {
            continue;
        }
        live.insert(*id);
        if let Some(bases) = reads.get(id) {
            needed.extend(bases);
        } else if !search.constants.contains(id) {
            needed.extend(node.inputs.iter().flatten());
        }
    }
    live
}

struct Pattern<'a, 's> {
    /// Of the second product.
    cx: LowerCx<'a>,
    producers: &'s [Option<Producer>],
    consumers: &'s [Vec<NodeId>],
    kept: &'s BTreeSet<ValueId>,
}

impl<'a> Pattern<'a, '_> {
    /// The node that makes `value` for one reader alone.
    fn sole_source(&self, value: ValueId) -> Option<NodeId> {
        match self.producers[value.index()] {
            Some(Producer::Node(id, 0))
                if self.consumers[value.index()].len() == 1 && !self.kept.contains(&value) =>
            {
                Some(id)
            }
            _ => None,
        }
    }

    /// The first product and the factor of its result, where a softmax of its rows is what the
    /// second one reads.
    fn scores(&self) -> Result<Option<(&'a Node, f32)>> {
        let graph = self.cx.graph;
        let Some(softmax) = self.sole_source(self.cx.input(0)) else {
            return Ok(None);
        };
        let node = graph.node(softmax);
        if !node.is("Softmax") {
            return Ok(None);
        }
        let cx = LowerCx { node, ..self.cx };
        let shape = cx.shape(cx.input(0))?;
        let rows = lanes(&cx, &shape)?;
        if rows.is_none_or(|rows| rows.inner != 1 || Some(&rows.len) != shape.last()) {
            return Ok(None);
        }
        let (mut value, mut scale) = (cx.input(0), 1.0);
        while let Some(id) = self.sole_source(value) {
            let cx = LowerCx {
                node: graph.node(id),
                ..self.cx
            };
            if cx.node.is("MatMul") {
                return Ok(cx.is_f32().then_some((cx.node, scale)));
            }
            let Some((source, factor)) = scaled(&cx)? else {
                break;
            };
            (value, scale) = (source, scale * factor);
        }
        Ok(None)
    }

    fn lower(&self) -> Result<Option<(Lowered, [ValueId; 3])>> {
        let cx = &self.cx;
        if !cx.is_f32() || cx.known.state.contains(&cx.input(0)) {
            return Ok(None);
        }
        let Some((first, scale)) = self.scores()? else {
            return Ok(None);
        };
        let (Some(q), Some(k)) = (first.input(0), first.input(1)) else {
            return Ok(None);
        };
        let tracer = Tracer {
            cx: self.cx,
            producers: self.producers,
        };
        let y = Strided::output(cx, cx.output(0))?;
        let [q, k, v] = [
            tracer.trace(q)?,
            tracer.trace(k)?,
            tracer.trace(cx.input(1))?,
        ];
        let rank = y.dims.len();
        let traced = [&q, &k, &v];
        let is_fit = |part: &&Part| part.dims.len() == rank && !cx.known.folded.hides(part.base);
        if rank < 2 || !traced.iter().all(is_fit) || v.scale != 1.0 {
            return Ok(None);
        }
        let out = y.dims.iter().zip(&y.strides);
        let out: Vec<(usize, usize)> = out.map(|(&len, &stride)| (len, stride)).collect();
        let lists = traced.map(|part| part.dims[..rank - 2].concat());
        let [q_batch, k_batch, v_batch] = lists;
        let Some(batch) = common_axes([q_batch, k_batch, v_batch, out[..rank - 2].to_vec()]) else {
            return Ok(None);
        };
        let Some(inputs) = matrices(traced, rank) else {
            return Ok(None);
        };
        let last = |part: &Part| part.lengths()[rank - 1];
        let shape = AttentionShape {
            rows: out[rank - 2].0,
            keys: last(&k),
            depth: last(&q),
            cols: out[rank - 1].0,
            scale: scale * q.scale * k.scale,
            inputs,
            y_row: out[rank - 2].1.max(out[rank - 1].0),
            batch,
        };
        if shape.keys == 0 || !inputs[1].steps.contains(&1) || inputs[2].steps[1] != 1 {
            return Ok(None);
        }
        let Some(kernel) = Attention::new(cx.isa, shape)? else {
            return Ok(None);
        };
        let bases = traced.map(|part| part.base);
        let mut operands = bases.map(Slot::Value).to_vec();
        operands.push(Slot::Value(y.value));
        Ok(Some((Lowered::call(kernel, operands), bases)))
    }
}

/// The last two axes of queries, keys and values, where each is one run of equal steps.
fn matrices(parts: [&Part; 3], rank: usize) -> Option<[AttentionMatrix; 3]> {
    let step = |dim: &[(usize, usize)]| match *dim {
        [] => Some(1),
        [(_, stride)] => Some(stride),
        _ => None,
    };
    let matrix = |part: &Part| {
        Some(AttentionMatrix {
            offset: part.offset,
            steps: [step(&part.dims[rank - 2])?, step(&part.dims[rank - 1])?],
        })
    };
    let [q, k, v] = parts.map(matrix);
    Some([q?, k?, v?])
}

/// The axes, as lengths and strides, of four operands that walk the same batch, cut where any of
/// them is; `None` where the cuts do not meet.
fn common_axes(mut lists: [Vec<(usize, usize)>; 4]) -> Option<Vec<AttentionAxis>> {
    lists
        .iter_mut()
        .for_each(|list| list.retain(|(len, _)| *len != 1));
    let mut axes = Vec::new();
    while lists.iter().any(|list| !list.is_empty()) {
        let mut ends = [(0, 0); 4];
        for (end, list) in ends.iter_mut().zip(&mut lists) {
            *end = list.pop()?;
        }
        let len = ends.iter().map(|end| end.0).min()?;
        for (list, &(own, stride)) in lists.iter_mut().zip(&ends) {
            if len == 0 || own % len != 0 {
                return None;
            }
            if own != len {
                list.push((own / len, stride * len));
            }
        }
        let strides = ends.map(|end| end.1);
        axes.push(AttentionAxis { len, strides });
    }
    axes.reverse();
    Some(axes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_cut_where_any_operand_is() {
        let merged = vec![(6, 8)];
        let cut = vec![(2, 100), (1, 7), (3, 10)];
        let found = common_axes([merged.clone(), cut.clone(), merged, cut]);
        let axis = |len, strides| AttentionAxis { len, strides };
        let expected = vec![axis(2, [24, 100, 24, 100]), axis(3, [8, 10, 8, 10])];
        assert_eq!(found, Some(expected));
        let unlike = [vec![(4, 1)], vec![(6, 1)], vec![(4, 1)], vec![(4, 1)]];
        assert_eq!(common_axes(unlike), None);
    }
}
