//! Depthwise convolutions over channels-last images and their gradients.

use sardonyx_kernels::{
    DepthwiseConv, DepthwiseConvInputGradient, DepthwiseConvWeightGradient, WindowShape,
};
use sardonyx_ops::ops::conv_nhwc::Conv2d;
use sardonyx_ops::ops::depthwise_nhwc::INPUT_GRAD_SLOTS;
use sardonyx_ops::ops::gate::Activation;

use super::conv::{ShardSums, addend};
use super::dense::{activation, gate};
use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// The windows over images `[batch, height, width, channels]` that make a map of shape `map`.
fn windows(conv: &Conv2d, image: &[usize], map: &[usize]) -> WindowShape {
    WindowShape {
        batch: image[0],
        height: image[1],
        width: image[2],
        channels: image[3],
        kernel: conv.kernel,
        stride: conv.strides,
        dilation: conv.dilations,
        pads: conv.pads,
        out: [map[1], map[2]],
    }
}

pub(super) fn forward(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if !cx.is_f32() {
        return Ok(None);
    }
    let conv = Conv2d::of(cx.node)?;
    let shape = windows(&conv, &cx.shape(cx.input(0))?, &cx.shape(cx.output(0))?);
    let activation = activation(Activation::of(cx.node)?);
    let kernel = DepthwiseConv::new(cx.isa, shape, activation, None)?;
    let operands = vec![
        Slot::Value(cx.input(0)),
        Slot::Value(cx.input(1)),
        cx.node.input(2).into(),
        Slot::Value(cx.output(0)),
    ];
    Ok(Some(Lowered::call(kernel, operands)))
}

pub(super) fn input_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if !cx.is_f32() {
        return Ok(None);
    }
    let conv = Conv2d::of(cx.node)?;
    let shape = windows(&conv, &cx.shape(cx.output(0))?, &cx.shape(cx.input(0))?);
    let [residual, gated] = INPUT_GRAD_SLOTS;
    let (addend, gate) = (addend(cx, residual), gate(cx, gated)?);
    let kernel = DepthwiseConvInputGradient::new(cx.isa, shape, addend, gate, None)?;
    let operands = vec![
        Slot::Value(cx.input(0)),
        Slot::Value(cx.input(1)),
        cx.node.input(residual).into(),
        cx.node.input(gated).into(),
        Slot::Value(cx.output(0)),
    ];
    Ok(Some(Lowered::call(kernel, operands)))
}

pub(super) fn weight_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if !cx.is_f32() {
        return Ok(None);
    }
    let conv = Conv2d::of(cx.node)?;
    let shape = windows(&conv, &cx.shape(cx.input(0))?, &cx.shape(cx.input(1))?);
    let kernel = DepthwiseConvWeightGradient::new(cx.isa, shape, 0)?;
    let mut lowered = Lowered::default();
    let weight_len = shape.taps() * shape.channels;
    let sums = ShardSums::new(&mut lowered, cx, kernel.shards(), weight_len)?;
    let operands = vec![
        Slot::Value(cx.input(0)),
        Slot::Value(cx.input(1)),
        sums.weight,
        sums.bias,
    ];
    lowered.push(kernel, operands);
    sums.finish(&mut lowered, cx);
    Ok(Some(lowered))
}
