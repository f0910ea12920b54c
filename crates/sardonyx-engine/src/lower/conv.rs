//! Convolutions over channels-last images and their gradients.

use sardonyx_ir::Node;
use sardonyx_kernels::{
    Addend, Conv2d as ConvKernel, Conv2dInputGradient, Conv2dWeightGradient, ConvOptions,
    ConvShape, InputGradientOptions, Isa, SumShards, WeightGradientOptions,
};
use sardonyx_ops::ops::conv_nhwc::{Conv2d, INPUT_GRAD_SLOTS};
use sardonyx_ops::ops::gate::Activation;

use super::dense::{activation, gate};
use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// The kernels' shape of a convolution over images `[batch, height, width, channels]`.
fn kernel_shape(conv: &Conv2d, image: &[usize]) -> ConvShape {
    ConvShape {
        batch: image[0],
        height: image[1],
        width: image[2],
        in_channels: image[3],
        out_channels: conv.channels,
        groups: conv.groups,
        kernel: conv.kernel,
        stride: conv.strides,
        dilation: conv.dilations,
        pads: conv.pads,
    }
}

/// Whether a node of this file is one that the kernels do: floats, panels of their width.
fn is_supported(cx: &LowerCx<'_>, width: usize) -> bool {
    let is_float = cx.node.input(0).and_then(|id| cx.graph.fact(id));
    is_float.is_some_and(|fact| fact.dtype == sardonyx_tensor::DType::F32)
        && width == cx.isa.panel_width()
}

/// What a kernel's sums start from, by whether the node has a residual.
pub(super) fn addend(cx: &LowerCx<'_>, slot: usize) -> Addend {
    match cx.node.input(slot) {
        Some(_) => Addend::Residual,
        None => Addend::Nothing,
    }
}

pub(super) fn forward(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let conv = Conv2d::of(cx.node)?;
    let weight = cx.shape(cx.input(1))?;
    if !is_supported(cx, weight[4]) {
        return Ok(None);
    }
    let residual = cx.node.input(3);
    if residual.is_some() && conv.pool.is_some() {
        return Ok(None);
    }
    let options = ConvOptions {
        addend: if residual.is_some() {
            Addend::Residual
        } else {
            Addend::Nothing
        },
        activation: activation(Activation::of(cx.node)?),
        pool: conv.pool,
        images_per_item: None,
    };
    let shape = kernel_shape(&conv, &cx.shape(cx.input(0))?);
    let kernel = ConvKernel::new(cx.isa, shape, options)?;
    let operands = vec![
        Slot::Value(cx.input(0)),
        Slot::Value(cx.input(1)),
        cx.node.input(2).into(),
        residual.into(),
        Slot::Value(cx.output(0)),
        cx.node.output(1).filter(|_| conv.pool.is_some()).into(),
    ];
    Ok(Some(Lowered::call(kernel, operands)))
}

fn image(node: &Node, batch: usize) -> Result<Vec<usize>> {
    let sizes = node.sizes("image")?.unwrap_or_default();
    Ok([&[batch][..], &sizes].concat())
}

pub(super) fn input_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let conv = Conv2d::of(cx.node)?;
    let weight = cx.shape(cx.input(1))?;
    if !is_supported(cx, weight[4]) {
        return Ok(None);
    }
    let batch = cx.shape(cx.input(0))?[0];
    let shape = kernel_shape(&conv, &image(cx.node, batch)?);
    let argmax = cx.node.input(2);
    let options = InputGradientOptions {
        unpool: conv.pool.filter(|_| argmax.is_some()),
        addend: addend(cx, INPUT_GRAD_SLOTS[0]),
        gate: gate(cx, INPUT_GRAD_SLOTS[1])?,
        images_per_item: None,
    };
    let kernel = Conv2dInputGradient::new(cx.isa, shape, options)?;
    let operands = vec![
        Slot::Value(cx.input(0)),
        argmax.into(),
        Slot::Value(cx.input(1)),
        cx.node.input(INPUT_GRAD_SLOTS[0]).into(),
        cx.node.input(INPUT_GRAD_SLOTS[1]).into(),
        Slot::Value(cx.output(0)),
    ];
    Ok(Some(Lowered::call(kernel, operands)))
}

pub(super) fn weight_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let conv = Conv2d::of(cx.node)?;
    let width = usize::try_from(cx.node.int("width", 0)?).unwrap_or(0);
    if !is_supported(cx, width) {
        return Ok(None);
    }
    let shape = kernel_shape(&conv, &cx.shape(cx.input(0))?);
    let argmax = cx.node.input(2);
    let options = WeightGradientOptions {
        unpool: conv.pool.filter(|_| argmax.is_some()),
        accumulate: false,
        most_shards: 0,
    };
    let kernel = Conv2dWeightGradient::new(cx.isa, shape, options)?;
    let shards = kernel.shards();
    let mut lowered = Lowered::default();
    let sums = ShardSums::new(&mut lowered, cx, shards, shape.weights().len(cx.isa))?;
    let operands = vec![
        Slot::Value(cx.input(0)),
        Slot::Value(cx.input(1)),
        argmax.into(),
        sums.weight,
        sums.bias,
    ];
    lowered.push(kernel, operands);
    sums.finish(&mut lowered, cx);
    Ok(Some(lowered))
}

/// Where a weight gradient's kernel writes: the outputs themselves, or shards that are added up.
pub(super) struct ShardSums {
    /// Operand of the weight's gradient.
    pub(super) weight: Slot,
    /// Operand of the bias's gradient.
    pub(super) bias: Slot,
    shards: usize,
    weight_len: usize,
    bias_len: usize,
}

impl ShardSums {
    /// For `shards` shards of `weight_len` floats of packed weight.
    pub(super) fn new(
        lowered: &mut Lowered,
        cx: &LowerCx<'_>,
        shards: usize,
        weight_len: usize,
    ) -> Result<ShardSums> {
        let bias = cx.node.output(1);
        let bias_len = match bias {
            Some(bias) => cx.shape(bias)?.iter().product(),
            None => 0,
        };
        let (weight, bias) = if shards == 1 {
            (Slot::Value(cx.output(0)), bias.into())
        } else {
            let weight = lowered.temporary(shards * weight_len);
            (
                weight,
                bias.map_or(Slot::Absent, |_| lowered.temporary(shards * bias_len)),
            )
        };
        Ok(ShardSums {
            weight,
            bias,
            shards,
            weight_len,
            bias_len,
        })
    }

    /// Adds the shards up.
    pub(super) fn finish(self, lowered: &mut Lowered, cx: &LowerCx<'_>) {
        if self.shards == 1 {
            return;
        }
        let sum = |isa: Isa, len: usize| SumShards::new(isa, self.shards, len, false);
        let weight = vec![self.weight, Slot::Value(cx.output(0))];
        lowered.push(sum(cx.isa, self.weight_len), weight);
        if let Some(bias) = cx.node.output(1) {
            lowered.push(
                sum(cx.isa, self.bias_len),
                vec![self.bias, Slot::Value(bias)],
            );
        }
    }
}
