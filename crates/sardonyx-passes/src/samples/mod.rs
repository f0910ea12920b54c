//! Whether a model treats the samples of a batch apart, so that samples of strangers may share a
//! run: what comes out for one must not depend on which others, nor on how many, are beside it.
//!
//! Each value is followed along the axis on which it has the samples, from the inputs to the
//! outputs. Only operators that are known to keep samples apart are let through; one that is
//! not known, or that mixes them (a sum over the batch, a reshape that merges the axis), ends it.

mod operators;

use sardonyx_ir::{Dim, Graph, Node, ValueId};

use operators::{ALONG_ONE_AXIS, ELEMENTWISE, FROM_AXIS, OVER_IMAGES, RESHAPES};

/// What a value has of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Samples {
    /// Nothing: it is the same whatever is fed.
    None,
    /// Nothing but their number: a shape, or what was computed from one.
    Count,
    /// Each at its place along this axis.
    Axis(usize),
}

/// Whether every input and output of `graph` has the samples along its first axis, of a size that
/// the file leaves open, and each sample's outputs come from that sample's inputs alone.
///
/// Constants must have been lifted and shapes inferred. A `false` may be wrong, a `true` is not.
pub fn treats_samples_apart(graph: &Graph) -> bool {
    let fed = |id: &&ValueId| !graph.initializers.contains_key(id);
    let inputs: Vec<ValueId> = graph.inputs.iter().filter(fed).copied().collect();
    let Some(batch) = inputs.first().and_then(|&id| first_dim(graph, id)) else {
        return false;
    };
    let has_batch = |&id: &ValueId| first_dim(graph, id) == Some(batch);
    if batch.value().is_some() || !inputs.iter().all(has_batch) || graph.outputs.is_empty() {
        return false;
    }
    let Some(found) = Follower::new(graph, batch, &inputs).follow() else {
        return false;
    };
    graph
        .outputs
        .iter()
        .all(|id| found[id.index()] == Samples::Axis(0))
}

fn first_dim(graph: &Graph, id: ValueId) -> Option<&Dim> {
    graph.fact(id)?.shape.as_ref()?.first()
}

struct Follower<'g> {
    graph: &'g Graph,
    batch: &'g Dim,
    found: Vec<Samples>,
}

impl<'g> Follower<'g> {
    fn new(graph: &'g Graph, batch: &'g Dim, inputs: &[ValueId]) -> Follower<'g> {
        let mut found = vec![Samples::None; graph.value_count()];
        for id in inputs {
            found[id.index()] = Samples::Axis(0);
        }
        Follower {
            graph,
            batch,
            found,
        }
    }

    /// What every value has of the samples; `None` when they may mix.
    fn follow(mut self) -> Option<Vec<Samples>> {
        for id in self.graph.topological_order().ok()? {
            let node = self.graph.node(id);
            if node.subgraphs().next().is_some() {
                return None;
            }
            for (index, &output) in node.outputs.iter().enumerate() {
                if let Some(output) = output {
                    self.found[output.index()] = self.output(node, index, output)?;
                }
            }
        }
        Some(self.found)
    }

    fn of(&self, value: Option<ValueId>) -> Samples {
        value.map_or(Samples::None, |value| self.found[value.index()])
    }

    fn shape(&self, value: ValueId) -> Option<&'g [Dim]> {
        self.graph.fact(value)?.shape.as_deref()
    }

    fn rank(&self, value: Option<ValueId>) -> Option<usize> {
        self.shape(value?).map(<[Dim]>::len)
    }

    fn output(&self, node: &Node, index: usize, output: ValueId) -> Option<Samples> {
        let inputs = || node.inputs.iter().flatten();
        let has = |wanted: fn(Samples) -> bool| inputs().any(|&id| wanted(self.of(Some(id))));
        let op = node.op_type.as_str();
        if !node.domain.is_empty() {
            return (!has(|s| s != Samples::None)).then_some(Samples::None);
        }
        if op == "Shape" || op == "Size" {
            return Some(match self.of(node.input(0)) {
                Samples::None => Samples::None,
                _ => Samples::Count,
            });
        }
        if !has(|s| matches!(s, Samples::Axis(_))) {
            if !has(|s| s == Samples::Count) {
                return Some(Samples::None);
            }
            // Made from the number of samples alone: rows that are all alike, or a shape.
            return self.by_count(node, output);
        }
        self.by_operator(node, op, index, output)
    }

    /// Integers computed from a shape stay such; a tensor filled to a shape has the samples where
    /// its dimension is theirs.
    fn by_count(&self, node: &Node, output: ValueId) -> Option<Samples> {
        if !matches!(node.op_type.as_str(), "ConstantOfShape" | "Expand") {
            let is_whole = self.graph.fact(output)?.dtype.is_integer();
            return is_whole.then_some(Samples::Count);
        }
        let shape = self.shape(output)?;
        let mut places = shape
            .iter()
            .enumerate()
            .filter(|(_, dim)| *dim == self.batch);
        let (axis, _) = places.next()?;
        let is_filled =
            node.op_type != "Expand" || self.is_one_from_right(node.input(0)?, output, axis);
        (places.next().is_none() && is_filled).then_some(Samples::Axis(axis))
    }

    fn is_one_from_right(&self, value: ValueId, output: ValueId, axis: usize) -> bool {
        let (Some(small), Some(large)) = (self.shape(value), self.shape(output)) else {
            return false;
        };
        (large.len() - axis) > small.len() || small[small.len() + axis - large.len()].is_one()
    }

    fn by_operator(&self, node: &Node, op: &str, index: usize, output: ValueId) -> Option<Samples> {
        if ELEMENTWISE.contains(&op) {
            return self.elementwise(node, output);
        }
        if RESHAPES.contains(&op) {
            return self.reshape(node, output);
        }
        if OVER_IMAGES.contains(&op) {
            let is_kept = index == 0 && !node.flag("training_mode", false).ok()?;
            return (is_kept && self.only_first(node) == Some(0)).then_some(Samples::Axis(0));
        }
        if op.starts_with("Reduce") || matches!(op, "ArgMax" | "ArgMin") {
            return self.reduce(node, op);
        }
        if let Some(&(_, default)) = ALONG_ONE_AXIS.iter().find(|(name, _)| *name == op) {
            let axis = self.only_first(node)?;
            let along = self.constant_axis(node, default)?;
            return (along != axis).then_some(Samples::Axis(axis));
        }
        if FROM_AXIS.contains(&op) {
            let axis = self.only_first(node)?;
            let is_old = op.ends_with("oftmax") && self.graph.opset("")? < 13;
            let from = self.axis_of(node, if is_old { 1 } else { -1 })?;
            return (index == 0 && axis < from).then_some(Samples::Axis(axis));
        }
        match op {
            "Gemm" => self.gemm(node),
            "MatMul" => self.mat_mul(node, output),
            "Transpose" => self.transpose(node),
            "Concat" => self.concat(node),
            "Gather" => self.gather(node),
            "Slice" => self.slice(node),
            "Pad" => self.pad(node),
            "Expand" => self.expand(node, output),
            "Dropout" => self.only_first(node).map(Samples::Axis),
            "LSTM" | "GRU" | "RNN" => self.recurrent(node, index),
            _ => None,
        }
    }

    /// The axis of the samples of the first input, when no other input has any.
    fn only_first(&self, node: &Node) -> Option<usize> {
        let Samples::Axis(axis) = self.of(node.input(0)) else {
            return None;
        };
        let others = node.inputs.iter().skip(1);
        let is_free = others
            .flatten()
            .all(|&id| self.of(Some(id)) == Samples::None);
        is_free.then_some(axis)
    }

    fn axis_of(&self, node: &Node, default: i64) -> Option<usize> {
        let rank = self.rank(node.input(0))?;
        normalized(node.int("axis", default).ok()?, rank)
    }

    /// The attribute `axis`, or for `CumSum` its second input.
    fn constant_axis(&self, node: &Node, default: i64) -> Option<usize> {
        if !node.is("CumSum") {
            return self.axis_of(node, default);
        }
        let axis = self.constant(node.input(1))?;
        normalized(*axis.first()?, self.rank(node.input(0))?)
    }

    fn constant(&self, value: Option<ValueId>) -> Option<Vec<i64>> {
        self.graph.constant(value?)?.to_i64().ok()
    }

    /// Samples must lie on one axis, counted from the right; what has none must not be as long there
    /// as the batch, else it would give each sample something of its own.
    fn elementwise(&self, node: &Node, output: ValueId) -> Option<Samples> {
        let rank = self.rank(Some(output))?;
        let mut found = None;
        for &id in node.inputs.iter().flatten() {
            match self.of(Some(id)) {
                Samples::Count => return None,
                Samples::None => {}
                Samples::Axis(axis) => {
                    let axis = axis + rank - self.rank(Some(id))?;
                    if *found.get_or_insert(axis) != axis {
                        return None;
                    }
                }
            }
        }
        let axis = found?;
        let is_free = |id: &ValueId| {
            self.of(Some(*id)) != Samples::None || self.is_one_from_right(*id, output, axis)
        };
        let others_are_free = node.inputs.iter().flatten().all(is_free);
        others_are_free.then_some(Samples::Axis(axis))
    }

    /// The samples stay apart where as many elements are before their axis as were, and the axis
    /// has their number.
    fn reshape(&self, node: &Node, output: ValueId) -> Option<Samples> {
        let Samples::Axis(axis) = self.of(node.input(0)) else {
            return None;
        };
        let (from, to) = (self.shape(node.input(0)?)?, self.shape(output)?);
        let before = Dim::product(&from[..axis])?;
        let is_axis = |&at: &usize| {
            to[at] == *self.batch && Dim::product(&to[..at]).as_ref() == Some(&before)
        };
        (0..to.len()).find(is_axis).map(Samples::Axis)
    }

    fn reduce(&self, node: &Node, op: &str) -> Option<Samples> {
        let axis = self.only_first(node)?;
        let rank = self.rank(node.input(0))?;
        let axes: Vec<i64> = if op.starts_with("Arg") {
            vec![node.int("axis", 0).ok()?]
        } else if let Some(axes) = node.ints("axes").ok()? {
            axes.to_vec()
        } else if node.input(1).is_some() {
            self.constant(node.input(1))?
        } else if node.flag("noop_with_empty_axes", false).ok()? {
            Vec::new()
        } else {
            return None;
        };
        let is_noop = node.flag("noop_with_empty_axes", false).ok()?;
        if axes.is_empty() && !is_noop {
            return None;
        }
        let axes: Vec<usize> = axes
            .into_iter()
            .map(|axis| normalized(axis, rank))
            .collect::<Option<_>>()?;
        if axes.contains(&axis) {
            return None;
        }
        let lost = axes.iter().filter(|&&other| other < axis).count();
        let keeps = node.flag("keepdims", true).ok()?;
        Some(Samples::Axis(if keeps { axis } else { axis - lost }))
    }

    fn gemm(&self, node: &Node) -> Option<Samples> {
        let is_plain = !node.flag("transA", false).ok()? && self.only_first(node) == Some(0);
        let bias_is_free = node.input(2).is_none_or(|bias| {
            self.shape(bias)
                .is_some_and(|dims| dims.len() < 2 || dims[0].is_one())
        });
        (is_plain && bias_is_free).then_some(Samples::Axis(0))
    }

    fn mat_mul(&self, node: &Node, output: ValueId) -> Option<Samples> {
        let (left, right) = (node.input(0)?, node.input(1)?);
        let (n, l, r) = (
            self.rank(Some(output))?,
            self.rank(Some(left))?,
            self.rank(Some(right))?,
        );
        // Vectors change the ranks; nothing that exports models makes such products of batches.
        if l < 2 || r < 2 {
            return None;
        }
        match (self.of(Some(left)), self.of(Some(right))) {
            (Samples::Axis(a), Samples::None) => {
                let at = a + n - l;
                let is_row = a + 2 == l;
                let is_free = is_row || self.is_one_from_right(right, output, at);
                (a + 1 < l && is_free).then_some(Samples::Axis(at))
            }
            (Samples::None, Samples::Axis(b)) => {
                let at = b + n - r;
                let is_column = b + 1 == r;
                let is_free = is_column || self.is_one_from_right(left, output, at);
                (b + 2 != r && is_free).then_some(Samples::Axis(at))
            }
            (Samples::Axis(a), Samples::Axis(b)) => {
                let is_stack = a + 2 < l && b + 2 < r && a + n - l == b + n - r;
                is_stack.then_some(Samples::Axis(a + n - l))
            }
            _ => None,
        }
    }

    fn transpose(&self, node: &Node) -> Option<Samples> {
        let axis = self.only_first(node)?;
        let rank = self.rank(node.input(0))?;
        let place = match node.sizes("perm").ok()? {
            Some(order) => order.iter().position(|&from| from == axis)?,
            None => rank - 1 - axis,
        };
        Some(Samples::Axis(place))
    }

    fn concat(&self, node: &Node) -> Option<Samples> {
        let along = self.axis_of(node, 0)?;
        let first = self.of(node.input(0));
        let is_same = |id: &Option<ValueId>| self.of(*id) == first;
        let is_apart = first != Samples::Axis(along) && node.inputs.iter().all(is_same);
        (is_apart && matches!(first, Samples::Axis(_))).then_some(first)
    }

    fn gather(&self, node: &Node) -> Option<Samples> {
        let along = self.axis_of(node, 0)?;
        let indices_rank = self.rank(node.input(1))?;
        match (self.of(node.input(0)), self.of(node.input(1))) {
            (Samples::None, Samples::Axis(axis)) => Some(Samples::Axis(along + axis)),
            (Samples::Axis(axis), Samples::None) if axis < along => Some(Samples::Axis(axis)),
            (Samples::Axis(axis), Samples::None) if axis > along => {
                Some(Samples::Axis(axis + indices_rank - 1))
            }
            _ => None,
        }
    }

    fn slice(&self, node: &Node) -> Option<Samples> {
        let axis = self.only_first(node)?;
        let rank = self.rank(node.input(0))?;
        let axes = match node.ints("axes").ok()? {
            Some(axes) => axes.to_vec(),
            None => self.constant(node.input(3))?,
        };
        let is_other = |&other: &i64| normalized(other, rank).is_some_and(|other| other != axis);
        axes.iter().all(is_other).then_some(Samples::Axis(axis))
    }

    fn pad(&self, node: &Node) -> Option<Samples> {
        let axis = self.only_first(node)?;
        let rank = self.rank(node.input(0))?;
        if node.input(3).is_some() {
            return None;
        }
        let pads = match node.ints("pads").ok()? {
            Some(pads) => pads.to_vec(),
            None => self.constant(node.input(1))?,
        };
        let is_kept = pads.get(axis) == Some(&0) && pads.get(axis + rank) == Some(&0);
        is_kept.then_some(Samples::Axis(axis))
    }

    fn expand(&self, node: &Node, output: ValueId) -> Option<Samples> {
        let Samples::Axis(axis) = self.of(node.input(0)) else {
            return None;
        };
        let at = axis + self.rank(Some(output))? - self.rank(node.input(0))?;
        (self.shape(output)?.get(at) == Some(self.batch)).then_some(Samples::Axis(at))
    }

    /// `X` and the initial states have the samples on axis 1; so have the states that come out, and
    /// `Y` on axis 2.
    fn recurrent(&self, node: &Node, index: usize) -> Option<Samples> {
        if node.int("layout", 0).ok()? != 0 || self.of(node.input(0)) != Samples::Axis(1) {
            return None;
        }
        let weights = [1, 2, 3, 7];
        let is_free = |at: usize| self.of(node.input(at)) == Samples::None;
        let lengths = self.of(node.input(4));
        let suits = |at: usize| match self.of(node.input(at)) {
            Samples::Axis(axis) => axis == 1,
            Samples::None => node.input(at).is_none(),
            Samples::Count => false,
        };
        let is_kept = weights.into_iter().all(is_free)
            && (node.input(4).is_none() || lengths == Samples::Axis(0))
            && suits(5)
            && suits(6);
        is_kept.then_some(Samples::Axis(if index == 0 { 2 } else { 1 }))
    }
}

fn normalized(axis: i64, rank: usize) -> Option<usize> {
    let rank_i64 = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis + rank_i64 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

#[cfg(test)]
mod tests;
