//! Fully connected layers: a `Gemm` or `MatMul` by a two-dimensional weight becomes the plan
//! operator over packed weights. Where the layer reads flattened channels-last images, the
//! weight's rows are permuted instead of the images.

use sardonyx_ir::{Attr, Fact, Graph, Node, NodeId, Patch, Producer, SARDONYX, ValueId};
use sardonyx_ops::ops::transpose::permutation;
use sardonyx_ops::{Builder, Result};
use sardonyx_tensor::DType;

/// Patches that turn products by a weight (an initializer, or a parameter fed as one) into `Dense`.
///
/// # Errors
/// When a node's attributes are malformed.
pub fn to_dense(graph: &Graph, panel_width: usize) -> Result<Vec<Patch>> {
    let producers = graph.producers();
    let mut patches = Vec::new();
    for (id, node) in graph.nodes() {
        if let Some(layer) = Layer::read(graph, &producers, node)? {
            patches.extend(layer.patch(graph, &producers, id, panel_width)?);
        }
    }
    Ok(patches)
}

struct Layer {
    x: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
    transposed: bool,
    features: usize,
}

impl Layer {
    fn read(graph: &Graph, producers: &[Option<Producer>], node: &Node) -> Result<Option<Layer>> {
        let gemm = node.is("Gemm");
        let plain = gemm
            && !node.flag("transA", false)?
            && node.float("alpha", 1.0)? == 1.0
            && node.float("beta", 1.0)? == 1.0;
        let (Some(x), Some(weight)) = (node.input(0), node.input(1)) else {
            return Ok(None);
        };
        let is_weight = producers[weight.index()] == Some(Producer::Initializer);
        let fact = |id| graph.fact(id).filter(|fact| fact.dtype == DType::F32);
        let shape = |id| fact(id).and_then(Fact::fixed_shape);
        let (Some(xs), Some(ws)) = (shape(x), shape(weight)) else {
            return Ok(None);
        };
        let ranks_fit = ws.len() == 2 && !xs.is_empty();
        if !(plain || node.is("MatMul")) || !is_weight || !ranks_fit || xs.len() < 2 {
            return Ok(None);
        }
        let transposed = gemm && node.flag("transB", false)?;
        let features = if transposed { ws[0] } else { ws[1] };
        let bias = if gemm { node.input(2) } else { None };
        // Any other shape of C is left to the general product.
        if bias.is_some_and(|bias| shape(bias) != Some(vec![features])) || features == 0 {
            return Ok(None);
        }
        Ok(Some(Layer {
            x,
            weight,
            bias,
            transposed,
            features,
        }))
    }

    fn patch(
        &self,
        graph: &Graph,
        producers: &[Option<Producer>],
        id: NodeId,
        panel_width: usize,
    ) -> Result<Option<Patch>> {
        let output = graph.node(id).output(0).expect("a product has an output");
        let mut builder = Builder::new(graph, "to dense");
        builder.set_prefix(graph.value_name(output));
        let (mut x, mut weight) = (self.x, self.weight);
        if let Some(flat) = Flattened::read(graph, producers, self.x)? {
            x = flat.early(&mut builder, self.x)?;
            weight = flat.permute_rows(&mut builder, weight, self.transposed)?;
        }
        let form = if self.transposed {
            "matrix_transposed"
        } else {
            "matrix"
        };
        let attributes = [
            ("form", Attr::from(form)),
            ("width", Attr::Int(panel_width as i64)),
        ];
        let packed = builder.own("PackPanels", &[weight], &attributes)?;
        let mut inputs = vec![Some(x), Some(packed)];
        inputs.extend(self.bias.map(Some));
        let features = [("features", Attr::Int(self.features as i64))];
        let y = builder.node((SARDONYX, "Dense"), &inputs, &features, 1)?[0];
        let mut patch = builder.finish();
        patch.remove_node(id);
        patch.replace(output, y);
        Ok(Some(patch))
    }
}

/// A transposed batch of images that is flattened to rows right away.
struct Flattened {
    source: ValueId,
    axes: Vec<usize>,
    /// Shape before the transpose.
    shape: Vec<usize>,
}

impl Flattened {
    fn read(
        graph: &Graph,
        producers: &[Option<Producer>],
        value: ValueId,
    ) -> Result<Option<Flattened>> {
        let made_by = |value: ValueId| match producers[value.index()] {
            Some(Producer::Node(id, 0)) => Some(graph.node(id)),
            _ => None,
        };
        let fixed = |value| graph.fact(value).and_then(Fact::fixed_shape);
        let Some(flat) = made_by(value).filter(|n| n.is("Flatten") || n.is("Reshape")) else {
            return Ok(None);
        };
        let Some(image) = flat.input(0) else {
            return Ok(None);
        };
        let Some(transpose) = made_by(image).filter(|node| node.is("Transpose")) else {
            return Ok(None);
        };
        let Some(source) = transpose.input(0) else {
            return Ok(None);
        };
        let (Some(rows), Some(shape)) = (fixed(value), fixed(source)) else {
            return Ok(None);
        };
        let axes = permutation(transpose, shape.len())?;
        let keeps_batch = rows.len() == 2 && axes.first() == Some(&0) && rows[0] == shape[0];
        Ok(keeps_batch.then_some(Flattened {
            source,
            axes,
            shape,
        }))
    }

    /// The rows without the transpose.
    fn early(&self, builder: &mut Builder<'_>, rows: ValueId) -> Result<ValueId> {
        let shape: Vec<i64> = builder
            .fixed_shape(rows)?
            .iter()
            .map(|&n| n as i64)
            .collect();
        let shape = builder.ints(&shape);
        builder.op(
            "Reshape",
            &[self.source, shape],
            &[("allowzero", Attr::Int(1))],
        )
    }

    /// The weight with the features that it multiplies in the order before the transpose.
    fn permute_rows(
        &self,
        builder: &mut Builder<'_>,
        weight: ValueId,
        transposed: bool,
    ) -> Result<ValueId> {
        let flat = builder.fixed_shape(weight)?;
        let image: Vec<i64> = self.axes[1..]
            .iter()
            .map(|&axis| self.shape[axis] as i64)
            .collect();
        let count = image.len();
        // Position, among the transposed axes, of each axis before the transpose.
        let mut back: Vec<i64> = vec![0; count];
        for (position, &axis) in self.axes[1..].iter().enumerate() {
            back[axis - 1] = position as i64;
        }
        let (mut split, mut perm) = (image, back);
        if transposed {
            split.insert(0, flat[0] as i64);
            perm = std::iter::once(0)
                .chain(perm.into_iter().map(|axis| axis + 1))
                .collect();
        } else {
            split.push(flat[1] as i64);
            perm.push(count as i64);
        }
        let split = builder.ints(&split);
        let image = builder.op("Reshape", &[weight, split], &[("allowzero", Attr::Int(1))])?;
        let moved = builder.op("Transpose", &[image], &[("perm", Attr::Ints(perm))])?;
        let flat: Vec<i64> = flat.into_iter().map(|n| n as i64).collect();
        let flat = builder.ints(&flat);
        builder.op("Reshape", &[moved, flat], &[("allowzero", Attr::Int(1))])
    }
}
