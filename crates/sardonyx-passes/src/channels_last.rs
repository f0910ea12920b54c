//! Brings images into channels-last order, which every convolution kernel works in: each
//! convolution, pool and batch normalization becomes its plan operator between two transposes,
//! which `sink_transposes` then cancels against those of its neighbours.

use sardonyx_ir::{Attr, Graph, Node, NodeId, Patch, SARDONYX, ValueId};
use sardonyx_ops::ops::batch_normalization::SAMPLE_VARIANCE;
use sardonyx_ops::ops::conv::ConvGeometry;
use sardonyx_ops::ops::conv_nhwc::Conv2d;
use sardonyx_ops::ops::pool_nhwc::Pool2d;
use sardonyx_ops::window::WindowSpec;
use sardonyx_ops::{Builder, Result};
use sardonyx_tensor::DType;

/// Axes of `[N, C, ..]` in the order `[N, .., C]`.
fn to_last(rank: usize) -> Vec<i64> {
    let rank = rank as i64;
    std::iter::once(0).chain(2..rank).chain([1]).collect()
}

/// Axes of `[N, .., C]` in the order `[N, C, ..]`.
fn to_first(rank: usize) -> Vec<i64> {
    let last = rank as i64 - 1;
    [0, last].into_iter().chain(1..last).collect()
}

/// Patches that put each two-dimensional convolution and pool over `f32` images of fixed shape,
/// and each batch normalization, into channels-last order. `panel_width` is that of the kernels' packed weights.
///
/// # Errors
/// When a node's attributes are malformed.
pub fn channels_last(graph: &Graph, panel_width: usize) -> Result<Vec<Patch>> {
    let mut patches = Vec::new();
    for (id, node) in graph.nodes() {
        let is_image = node.input(0).is_some_and(|x| is_image(graph, x));
        let patch = match node.op_type.as_str() {
            _ if node.domain != sardonyx_ir::ONNX => None,
            "BatchNormalization" => batch_norm(graph, id, node)?,
            _ if !is_image => None,
            "Conv" => convolution(graph, id, node, panel_width)?,
            "MaxPool" if node.output(1).is_none() => pool(graph, id, node, ("MaxPoolNhwc", 2))?,
            "AveragePool" => pool(graph, id, node, ("AveragePoolNhwc", 1))?,
            "GlobalAveragePool" => global_pool(graph, id, node, "ReduceMean")?,
            "GlobalMaxPool" => global_pool(graph, id, node, "ReduceMax")?,
            _ => None,
        };
        patches.extend(patch);
    }
    Ok(patches)
}

fn is_image(graph: &Graph, value: ValueId) -> bool {
    graph.fact(value).is_some_and(|fact| {
        fact.dtype == DType::F32 && fact.fixed_shape().is_some_and(|shape| shape.len() == 4)
    })
}

fn shape_of(graph: &Graph, value: ValueId) -> Option<Vec<usize>> {
    graph.fact(value)?.fixed_shape()
}

fn transpose(builder: &mut Builder<'_>, value: ValueId, axes: Vec<i64>) -> Result<ValueId> {
    builder.op("Transpose", &[value], &[("perm", Attr::Ints(axes))])
}

/// `value`, of axes `[N, C, ..]`, with the channels last.
fn channels_behind(builder: &mut Builder<'_>, value: ValueId) -> Result<ValueId> {
    match builder.shape(value)?.len() {
        rank @ 3.. => transpose(builder, value, to_last(rank)),
        _ => Ok(value),
    }
}

/// Ends a patch: `last` in channels-first order takes the place of the node's output.
fn finish(mut builder: Builder<'_>, id: NodeId, last: ValueId) -> Result<Option<Patch>> {
    let node = builder.graph().node(id);
    let first = match builder.shape(last)?.len() {
        rank @ 3.. => transpose(&mut builder, last, to_first(rank))?,
        _ => last,
    };
    let old = node.output(0).expect("the node has an output");
    let mut patch = builder.finish();
    patch.remove_node(id);
    patch.replace(old, first);
    Ok(Some(patch))
}

fn builder<'g>(graph: &'g Graph, node: &Node) -> Builder<'g> {
    let mut builder = Builder::new(graph, "channels last");
    let output = node
        .output(0)
        .map_or(&*node.name, |id| graph.value_name(id));
    builder.set_prefix(output);
    builder
}

fn convolution(
    graph: &Graph,
    id: NodeId,
    node: &Node,
    panel_width: usize,
) -> Result<Option<Patch>> {
    let (Some(x), Some(w)) = (node.input(0), node.input(1)) else {
        return Ok(None);
    };
    let (Some(xs), Some(ws)) = (shape_of(graph, x), shape_of(graph, w)) else {
        return Ok(None);
    };
    let geometry = ConvGeometry::read(node, &xs, &ws)?;
    let [rows, columns] = geometry.axes[..] else {
        return Ok(None);
    };
    let conv = Conv2d {
        kernel: [rows.kernel, columns.kernel],
        strides: [rows.stride, columns.stride],
        pads: [
            rows.pad_begin,
            columns.pad_begin,
            rows.pad_end,
            columns.pad_end,
        ],
        dilations: [rows.dilation, columns.dilation],
        groups: geometry.group,
        channels: geometry.out_channels,
        pool: None,
    };
    let mut builder = builder(graph, node);
    let image = channels_behind(&mut builder, x)?;
    if conv.groups == conv.channels && conv.groups == xs[1] && conv.groups > 1 {
        let weight = depthwise_weight(&mut builder, w, &conv)?;
        let mut inputs = vec![Some(image), Some(weight)];
        inputs.extend(node.input(2).map(Some));
        let op = (SARDONYX, "DepthwiseConvNhwc");
        let y = builder.node(op, &inputs, &conv.attributes(), 1)?[0];
        return finish(builder, id, y);
    }
    let attributes = [
        ("form", Attr::from("convolution")),
        ("group", Attr::Int(geometry.group as i64)),
        ("width", Attr::Int(panel_width as i64)),
    ];
    let packed = builder.own("PackPanels", &[w], &attributes)?;
    let mut inputs = vec![Some(image), Some(packed)];
    inputs.extend(node.input(2).map(Some));
    let y = builder.node((SARDONYX, "ConvNhwc"), &inputs, &conv.attributes(), 1)?[0];
    finish(builder, id, y)
}

/// A weight `[C, 1, KH, KW]` as `[taps, C]`.
fn depthwise_weight(builder: &mut Builder<'_>, weight: ValueId, conv: &Conv2d) -> Result<ValueId> {
    let taps = conv.kernel[0] * conv.kernel[1];
    let shape = builder.ints(&[conv.channels as i64, taps as i64]);
    let flat = builder.op("Reshape", &[weight, shape], &[("allowzero", Attr::Int(1))])?;
    transpose(builder, flat, vec![1, 0])
}

/// A pool as plan operator `op` with `outputs` outputs: the gradient of a maximum needs the second.
fn pool(
    graph: &Graph,
    id: NodeId,
    node: &Node,
    (op, outputs): (&str, usize),
) -> Result<Option<Patch>> {
    let (Some(x), Some(kernel)) = (node.input(0), node.sizes("kernel_shape")?) else {
        return Ok(None);
    };
    let Some(shape) = shape_of(graph, x) else {
        return Ok(None);
    };
    let axes = WindowSpec::read(node, kernel)?.axes(node, &shape[2..])?;
    let Some(pool) = Pool2d::new(&axes, node.flag("count_include_pad", false)?) else {
        return Ok(None);
    };
    if pool.kernel[0] * pool.kernel[1] > 255 {
        return Ok(None);
    }
    let mut builder = builder(graph, node);
    let image = channels_behind(&mut builder, x)?;
    let op = (SARDONYX, op);
    let y = builder.node(op, &[Some(image)], &pool.attributes(), outputs)?[0];
    finish(builder, id, y)
}

fn global_pool(graph: &Graph, id: NodeId, node: &Node, op: &str) -> Result<Option<Patch>> {
    let Some(x) = node.input(0) else {
        return Ok(None);
    };
    let mut builder = builder(graph, node);
    let image = channels_behind(&mut builder, x)?;
    let axes = builder.ints(&[1, 2]);
    let y = builder.op(op, &[image, axes], &[("keepdims", Attr::Int(1))])?;
    finish(builder, id, y)
}

/// In training the plan operator; with running statistics a scale and a shift per channel, which
/// are constants unless they are trained.
fn batch_norm(graph: &Graph, id: NodeId, node: &Node) -> Result<Option<Patch>> {
    let Some(x) = node.input(0) else {
        return Ok(None);
    };
    let is_float = |id: &ValueId| graph.fact(*id).is_some_and(|fact| fact.dtype == DType::F32);
    let are_floats = node.inputs.iter().flatten().all(is_float);
    if !are_floats || shape_of(graph, x).is_none_or(|shape| shape.len() < 2) {
        return Ok(None);
    }
    let mut builder = builder(graph, node);
    let rows = channels_behind(&mut builder, x)?;
    let epsilon = node.float("epsilon", 1e-5)?;
    if node.flag("training_mode", false)? {
        let mut inputs = node.inputs.clone();
        inputs[0] = Some(rows);
        let is_sample = node.flag(SAMPLE_VARIANCE, false)?;
        let attributes = [
            ("epsilon", Attr::Float(epsilon)),
            ("momentum", Attr::Float(node.float("momentum", 0.9)?)),
            (SAMPLE_VARIANCE, Attr::Int(is_sample.into())),
        ];
        let made = builder.node((SARDONYX, "BatchNormNhwc"), &inputs, &attributes, 5)?;
        let patch = finish(builder, id, made[0])?;
        return Ok(patch.map(|mut patch| {
            let statistics = node.outputs.iter().zip(&made).skip(1).take(2);
            for (old, new) in statistics {
                if let Some(old) = old {
                    patch.replace(*old, *new);
                }
            }
            patch
        }));
    }
    let inputs: Option<Vec<ValueId>> = (1..5).map(|slot| node.input(slot)).collect();
    let Some(&[scale, bias, mean, variance]) = inputs.as_deref() else {
        return Ok(None);
    };
    let epsilon = builder.scalar_like(variance, f64::from(epsilon))?;
    let shifted = builder.op("Add", &[variance, epsilon], &[])?;
    let deviation = builder.op("Sqrt", &[shifted], &[])?;
    let factor = builder.op("Div", &[scale, deviation], &[])?;
    let centre = builder.op("Mul", &[mean, factor], &[])?;
    let summand = builder.op("Sub", &[bias, centre], &[])?;
    let scaled = builder.op("Mul", &[rows, factor], &[])?;
    let y = builder.op("Add", &[scaled, summand], &[])?;
    finish(builder, id, y)
}
