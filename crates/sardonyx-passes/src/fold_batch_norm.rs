//! Batch normalization after a convolution, folded into its weights: at inference
//! `scale * (conv(x) + b - mean) / sqrt(var + eps) + bias` is a convolution with scaled weights
//! (Jacob et al., "Quantization and Training of Neural Networks", arXiv 1712.05877, section 3.2).

use sardonyx_ir::{Attr, Graph, Node, NodeId, Patch, Producer, ValueId};
use sardonyx_ops::Result;
use sardonyx_tensor::{Tensor, spread};

/// Patches that fold each `BatchNormalization` in inference mode into the `Conv` or `Gemm` before
/// it, where nothing else reads that one's output and all weights are constant.
///
/// # Errors
/// When a node's attributes are malformed.
pub fn fold_batch_norm(graph: &Graph) -> Result<Vec<Patch>> {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let mut pairs = Vec::new();
    for (id, norm) in graph.nodes() {
        if !norm.is("BatchNormalization") || norm.flag("training_mode", false)? {
            continue;
        }
        let Some(input) = norm.input(0) else { continue };
        let Some(Producer::Node(source, 0)) = producers[input.index()] else {
            continue;
        };
        let only_reader = consumers[input.index()].len() == 1 && !graph.outputs.contains(&input);
        if only_reader {
            pairs.push((source, id));
        }
    }
    let bytes = |(source, _): &(NodeId, _)| {
        let weight = graph.node(*source).input(1);
        let weight = weight.and_then(|id| graph.constant(id));
        weight.map_or(0, |weight| weight.size_bytes())
    };
    let fold = |&(source, id): &(NodeId, NodeId)| fold(graph, source, id, graph.node(id));
    let patches = spread(&pairs, bytes, fold).into_iter();
    patches.filter_map(Result::transpose).collect()
}

fn fold(graph: &Graph, source: NodeId, id: NodeId, norm: &Node) -> Result<Option<Patch>> {
    let conv = graph.node(source);
    let channels_first = conv.is("Conv") || (conv.is("Gemm") && conv.flag("transB", false)?);
    let plain_gemm = conv.float("alpha", 1.0)? == 1.0 && conv.float("beta", 1.0)? == 1.0;
    if !channels_first || !plain_gemm {
        return Ok(None);
    }
    let constant = |id: Option<ValueId>| Some(graph.constant(id?)?.as_ref());
    let Some(weight) = constant(conv.input(1)) else {
        return Ok(None);
    };
    if conv.input(2).is_some() && constant(conv.input(2)).is_none() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for slot in 1..5 {
        let Some(tensor) = constant(norm.input(slot)) else {
            return Ok(None);
        };
        parts.push(tensor.to_f64()?);
    }
    let Some(&channels) = weight.shape().first() else {
        return Ok(None);
    };
    let old_bias = constant(conv.input(2)).map(Tensor::to_f64).transpose()?;
    let old_bias = old_bias.unwrap_or_else(|| vec![0.0; channels]);
    if parts
        .iter()
        .chain([&old_bias])
        .any(|part| part.len() != channels)
    {
        return Ok(None);
    }
    let epsilon = f64::from(norm.float("epsilon", 1e-5)?);
    let factor = |c: usize| parts[0][c] / (parts[3][c] + epsilon).sqrt();
    let factors: Vec<f64> = (0..channels).map(factor).collect();
    let bias = (0..channels)
        .map(|c| (old_bias[c] - parts[2][c]) * factors[c] + parts[1][c])
        .collect();
    let dtype = weight.dtype();
    let mut patch = Patch::new(graph, "fold batch norm");
    let name = |slot| conv.input(slot).map_or("bias", |id| graph.value_name(id));
    let weight = scaled(weight, &factors)?;
    let weight = patch.add_initializer(&format!("{}_folded", name(1)), weight);
    let bias = Tensor::from_f64(dtype, [channels], bias)?;
    let bias = patch.add_initializer(&format!("{}_folded", name(2)), bias);
    replace_pair(graph, (source, id), &mut patch, [weight, bias]);
    Ok(Some(patch))
}

/// `weight` with each slice along its first axis multiplied by its factor, which there is one of.
fn scaled(weight: &Tensor, factors: &[f64]) -> Result<Tensor> {
    let per_channel = (weight.len() / factors.len().max(1)).max(1);
    if let Ok(values) = weight.values::<f32>() {
        let mut scaled = Vec::with_capacity(values.len());
        for (channel, &factor) in values.chunks_exact(per_channel).zip(factors) {
            scaled.extend(channel.iter().map(|&w| (f64::from(w) * factor) as f32));
        }
        return Ok(Tensor::new(weight.shape(), scaled)?);
    }
    let values = weight.to_f64()?.into_iter().enumerate();
    let values = values.map(|(i, w)| w * factors[i / per_channel]).collect();
    Ok(Tensor::from_f64(weight.dtype(), weight.shape(), values)?)
}

fn replace_pair(
    graph: &Graph,
    (source, id): (NodeId, NodeId),
    patch: &mut Patch,
    [weight, bias]: [ValueId; 2],
) {
    let norm = graph.node(id);
    let old = norm.output(0).expect("a batch normalization has an output");
    let output = patch.add_value(graph.value_name(old), graph.fact(old).cloned());
    let mut conv = graph.node(source).clone();
    conv.inputs.truncate(1);
    conv.inputs.extend([Some(weight), Some(bias)]);
    conv.outputs = vec![Some(output)];
    if conv.is("Gemm") {
        conv.attributes.insert("beta".to_owned(), Attr::Float(1.0));
    }
    patch.remove_node(source);
    patch.remove_node(id);
    patch.add_node(conv);
    patch.replace(old, output);
}
