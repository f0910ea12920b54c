//! Moves transposes towards the outputs until they meet their inverse or turn out to move nothing:
//! two in a row become one, the identity goes, one that moves only axes of size 1 is a reshape,
//! and an elementwise operator lets one through.

use sardonyx_ir::{Attr, Fact, Graph, Node, NodeId, Patch, Producer, ValueId};
use sardonyx_ops::ops::transpose::permutation;
use sardonyx_ops::ops::unary::is_unary;
use sardonyx_ops::{Builder, Result};

/// Patches of the transposes that can be simplified or moved by one step.
///
/// # Errors
/// When a node's attributes are malformed.
pub fn sink_transposes(graph: &Graph) -> Result<Vec<Patch>> {
    let view = View {
        graph,
        producers: graph.producers(),
    };
    let mut patches = Vec::new();
    for (id, node) in graph.nodes() {
        let patch = if node.is("Transpose") {
            view.simplify(id, node)?
        } else if is_elementwise(node) {
            view.sink(id, node)?
        } else {
            None
        };
        patches.extend(patch);
    }
    Ok(patches)
}

/// Operators that treat every element alike, so that the order of axes does not matter.
fn is_elementwise(node: &Node) -> bool {
    const OTHERS: [&str; 12] = [
        "Add", "Cast", "Clip", "Div", "Dropout", "Max", "Min", "Mul", "Pow", "Sub", "Sum", "Where",
    ];
    is_unary(node) || (node.domain == sardonyx_ir::ONNX && OTHERS.contains(&node.op_type.as_str()))
}

struct View<'g> {
    graph: &'g Graph,
    producers: Vec<Option<Producer>>,
}

impl View<'_> {
    /// The transpose that makes `value`: its input and its permutation.
    fn transpose(&self, value: ValueId) -> Result<Option<(ValueId, Vec<usize>)>> {
        let Some(Producer::Node(id, 0)) = self.producers[value.index()] else {
            return Ok(None);
        };
        let node = self.graph.node(id);
        let (true, Some(input)) = (node.is("Transpose"), node.input(0)) else {
            return Ok(None);
        };
        let Some(rank) = self.graph.fact(input).and_then(Fact::rank) else {
            return Ok(None);
        };
        Ok(Some((input, permutation(node, rank)?)))
    }

    fn simplify(&self, id: NodeId, node: &Node) -> Result<Option<Patch>> {
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
            return Ok(None);
        };
        let Some(shape) = self.graph.fact(input).and_then(Fact::fixed_shape) else {
            return Ok(None);
        };
        let mut axes = permutation(node, shape.len())?;
        let mut source = input;
        let before = self.transpose(input)?;
        let merged = before.is_some();
        if let Some((earlier, first)) = before {
            axes = axes.into_iter().map(|axis| first[axis]).collect();
            source = earlier;
        }
        let mut builder = Builder::new(self.graph, "simplify transpose");
        let source_shape = builder.fixed_shape(source)?;
        let replacement = if axes.is_sorted() {
            source
        } else if moves_nothing(&axes, &source_shape) {
            let shape: Vec<i64> = axes.iter().map(|&axis| source_shape[axis] as i64).collect();
            let shape = builder.ints(&shape);
            builder.op("Reshape", &[source, shape], &[("allowzero", Attr::Int(1))])?
        } else if merged {
            let axes = axes.into_iter().map(|axis| axis as i64).collect();
            builder.op("Transpose", &[source], &[("perm", Attr::Ints(axes))])?
        } else {
            return Ok(None);
        };
        let mut patch = builder.finish();
        patch.remove_node(id);
        patch.replace(output, replacement);
        Ok(Some(patch))
    }

    /// Lets an elementwise node work before the transpose that feeds it, and transposes its result.
    fn sink(&self, id: NodeId, node: &Node) -> Result<Option<Patch>> {
        let Some(output) = node.output(0).filter(|_| node.output(1).is_none()) else {
            return Ok(None);
        };
        let mut axes: Option<Vec<usize>> = None;
        let mut inputs = node.inputs.clone();
        for input in inputs.iter_mut().flatten() {
            let is_scalar = self.graph.fact(*input).and_then(Fact::fixed_shape);
            if is_scalar.is_some_and(|shape| shape.iter().all(|&n| n == 1)) {
                continue;
            }
            let Some((source, permuted)) = self.transpose(*input)? else {
                return Ok(None);
            };
            if axes.get_or_insert_with(|| permuted.clone()) != &permuted {
                return Ok(None);
            }
            *input = source;
        }
        let Some(axes) = axes else { return Ok(None) };
        let mut builder = Builder::new(self.graph, "sink transpose");
        builder.set_prefix(self.graph.value_name(output));
        let attributes: Vec<(&str, Attr)> = node
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let op = (node.domain.as_str(), node.op_type.as_str());
        let early = builder.node(op, &inputs, &attributes, 1)?[0];
        let rank = axes.len();
        if builder.shape(early)?.len() != rank {
            return Ok(None);
        }
        let axes = axes.into_iter().map(|axis| axis as i64).collect();
        let late = builder.op("Transpose", &[early], &[("perm", Attr::Ints(axes))])?;
        let mut patch = builder.finish();
        patch.remove_node(id);
        patch.replace(output, late);
        Ok(Some(patch))
    }
}

/// Whether the axes that hold more than one element keep their order.
fn moves_nothing(axes: &[usize], shape: &[usize]) -> bool {
    let full: Vec<usize> = axes
        .iter()
        .copied()
        .filter(|&axis| shape[axis] != 1)
        .collect();
    full.is_sorted()
}
