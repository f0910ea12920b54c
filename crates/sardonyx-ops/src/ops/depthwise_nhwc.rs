//! Plan operators of a two-dimensional depthwise convolution over channels-last images: each
//! channel with its own window of weights, which lie as `[taps, C]`, the positions of the window
//! row by row. Forward with bias and activation, and the gradients by input and weight.

use sardonyx_ir::{Attr, Fact, Node, SARDONYX, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use crate::ops::conv_nhwc::Conv2d;
use crate::ops::gate::{Activation, emit_gate, finish_gradient};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Forward, &InputGrad, &WeightGrad];

/// Inputs `x` `[N, H, W, C]`, weight `[taps, C]`, optional bias `[C]`; attributes of [`Conv2d`]
/// (as many channels and groups as C), `activation`, `alpha`, `beta`. Output `[N, H', W', C]`.
#[derive(Debug)]
struct Forward;

const FORWARD: Schema = Schema::own("DepthwiseConvNhwc", 2).inputs(2, 3);

/// Inputs `dy`, weight, optional residual and gate (an activation's value), both of x's shape;
/// attributes of [`Conv2d`], `image`, `[H, W]`, and those of the gate. Output:
/// `gate(gradient by x + residual)`.
#[derive(Debug)]
struct InputGrad;

const INPUT_GRAD: Schema = Schema::own("DepthwiseConvNhwcInputGrad", 2).inputs(2, 4);

/// Inputs of the residual and the gate of a `DepthwiseConvNhwcInputGrad`.
pub const INPUT_GRAD_SLOTS: [usize; 2] = [2, 3];

/// Inputs `x`, `dy`; attributes of [`Conv2d`]. Outputs: the gradients by weight and bias.
#[derive(Debug)]
struct WeightGrad;

const WEIGHT_GRAD: Schema = Schema::own("DepthwiseConvNhwcWeightGrad", 2).outputs(2);

/// A running depthwise convolution.
struct Sizes {
    conv: Conv2d,
    batch: usize,
    input: [usize; 2],
    map: [usize; 2],
}

impl Sizes {
    /// Of `node` over images of shape `x`.
    fn of(node: &Node, x: &[usize]) -> Result<Sizes> {
        let conv = Conv2d::of(node)?;
        let &[batch, height, width, channels] = x else {
            return Err(OpError::invalid(node, "it takes images of four dimensions"));
        };
        let input = [height, width];
        let map = conv.output(input);
        match map.filter(|_| conv.channels == channels && conv.groups == channels) {
            Some(map) => Ok(Sizes {
                conv,
                batch,
                input,
                map,
            }),
            None => Err(OpError::invalid(node, "the kernel does not fit the image")),
        }
    }

    fn taps(&self) -> usize {
        self.conv.kernel[0] * self.conv.kernel[1]
    }

    fn output(&self) -> [usize; 4] {
        [self.batch, self.map[0], self.map[1], self.conv.channels]
    }

    /// Calls `f(element of y, element of x, element of the weight)` for every multiply-add.
    fn multiply_adds(&self, mut f: impl FnMut(usize, usize, usize)) {
        let channels = self.conv.channels;
        let pixels = [self.map, self.input].map(|[height, width]| height * width);
        for image in 0..self.batch {
            self.conv.connect(self.input, self.map, |to, from, tap| {
                let to = (image * pixels[0] + to) * channels;
                let from = (image * pixels[1] + from) * channels;
                (0..channels).for_each(|c| f(to + c, from + c, tap * channels + c));
            });
        }
    }

    fn flops(&self) -> u64 {
        2 * (self.output().iter().product::<usize>() * self.taps()) as u64
    }
}

/// The image that a gradient is about.
fn image(node: &Node, dy: &[usize]) -> Result<[usize; 4]> {
    match (node.sizes("image")?.as_deref(), dy) {
        (Some(&[height, width]), &[batch, _, _, channels]) => Ok([batch, height, width, channels]),
        _ => Err(node
            .attribute_error("image", "must be height and width")
            .into()),
    }
}

fn fixed(cx: &InferCx<'_>, index: usize) -> Result<Vec<usize>> {
    let shape = cx.input(index)?.fact.fixed_shape();
    shape.ok_or_else(|| cx.invalid("a plan operator needs fixed shapes"))
}

fn check(node: &Node, found: &[usize], expected: &[usize]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let problem = format!("it takes {expected:?}, not {found:?}");
    Err(OpError::invalid(node, problem))
}

impl Operator for Forward {
    fn schema(&self) -> Schema {
        FORWARD
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        Activation::of(cx.node)?;
        let sizes = Sizes::of(cx.node, &fixed(cx, 0)?)?;
        check(
            cx.node,
            &fixed(cx, 1)?,
            &[sizes.taps(), sizes.conv.channels],
        )?;
        Ok(vec![Fact::fixed(cx.dtype(0)?, &sizes.output()).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, w, activation) = (cx.input(0)?, cx.input(1)?, Activation::of(cx.node)?);
        let sizes = Sizes::of(cx.node, x.shape())?;
        let channels = sizes.conv.channels;
        check(cx.node, w.shape(), &[sizes.taps(), channels])?;
        let shape = sizes.output();
        let mut y = vec![0.0; element_count(&shape)?];
        if let Some(bias) = cx.optional(2) {
            check(cx.node, bias.shape(), &[channels])?;
            let bias = bias.to_f64()?;
            y.iter_mut()
                .enumerate()
                .for_each(|(i, y)| *y = bias[i % channels]);
        }
        let (xs, ws) = (x.to_f64()?, w.to_f64()?);
        sizes.multiply_adds(|to, from, tap| y[to] += xs[from] * ws[tap]);
        y.iter_mut().for_each(|y| *y = activation.apply(*y));
        Ok(vec![Tensor::from_f64(x.dtype(), shape, y)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let activation = Activation::of(cx.node)?;
        let (x, w, y) = (cx.input(0)?, cx.input(1)?, cx.output(0)?);
        let dy = emit_gate(cx.builder, activation, [y, cx.output_grad(0)?])?;
        let image = cx.builder.fixed_shape(x)?;
        let mut attributes = Conv2d::of(cx.node)?.attributes();
        attributes.push(("image", Attr::from(&image[1..3])));
        let mut grads = vec![None; cx.node.inputs.len()];
        if cx.wants(0) {
            let op = "DepthwiseConvNhwcInputGrad";
            grads[0] = Some(cx.builder.own(op, &[dy, w], &attributes)?);
        }
        if cx.wants(1) || cx.wants(2) {
            let op = (SARDONYX, "DepthwiseConvNhwcWeightGrad");
            let n_outputs = if cx.wants(2) { 2 } else { 1 };
            let inputs = [Some(x), Some(dy)];
            let made = cx.builder.node(op, &inputs, &attributes, n_outputs)?;
            for (grad, made) in grads[1..].iter_mut().zip(made) {
                *grad = Some(made);
            }
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let x = cx.input(0).ok()?.fact.fixed_shape()?;
        Some(Sizes::of(cx.node, &x).ok()?.flops())
    }

    fn examples(&self) -> Vec<Example> {
        let conv = Conv2d {
            kernel: [3, 2],
            strides: [1, 1],
            pads: [0; 4],
            dilations: [1, 1],
            groups: 3,
            channels: 3,
            pool: None,
        };
        let strided = Conv2d {
            strides: [2, 1],
            pads: [1, 0, 2, 1],
            dilations: [1, 2],
            ..conv
        };
        let example = |name: &str, conv: &Conv2d| {
            let mut example = Example::new(FORWARD, name).uniform(&[2, 6, 5, 3], (-1.0, 1.0));
            for (name, value) in conv.attributes() {
                example = example.attr(name, value);
            }
            example.uniform(&[6, 3], (-1.0, 1.0))
        };
        vec![
            example("plain", &conv),
            example("strided, padded, dilated", &strided),
            example("with bias and ReLU", &conv)
                .uniform(&[3], (-0.5, 0.5))
                .attr("activation", "Relu"),
        ]
    }
}

impl Operator for InputGrad {
    fn schema(&self) -> Schema {
        INPUT_GRAD
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let image = image(cx.node, &fixed(cx, 0)?)?;
        Sizes::of(cx.node, &image)?;
        Ok(vec![Fact::fixed(cx.dtype(0)?, &image).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (dy, w) = (cx.input(0)?, cx.input(1)?);
        let image = image(cx.node, dy.shape())?;
        let sizes = Sizes::of(cx.node, &image)?;
        check(cx.node, dy.shape(), &sizes.output())?;
        check(cx.node, w.shape(), &[sizes.taps(), sizes.conv.channels])?;
        let (dys, ws) = (dy.to_f64()?, w.to_f64()?);
        let mut dx = vec![0.0; element_count(&image)?];
        sizes.multiply_adds(|to, from, tap| dx[from] += dys[to] * ws[tap]);
        finish_gradient(cx, INPUT_GRAD_SLOTS, &mut dx)?;
        Ok(vec![Tensor::from_f64(dy.dtype(), image, dx)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("it is part of a gradient itself"))
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        let image = outputs.first()?.fact.fixed_shape()?;
        Some(Sizes::of(cx.node, &image).ok()?.flops())
    }

    fn examples(&self) -> Vec<Example> {
        // Held against finite differences as the gradient of `DepthwiseConvNhwc`.
        Vec::new()
    }
}

impl Operator for WeightGrad {
    fn schema(&self) -> Schema {
        WEIGHT_GRAD
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let sizes = Sizes::of(cx.node, &fixed(cx, 0)?)?;
        let (dtype, channels) = (cx.dtype(0)?, sizes.conv.channels);
        let weight = Fact::fixed(dtype, &[sizes.taps(), channels]);
        Ok(vec![weight.into(), Fact::fixed(dtype, &[channels]).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, dy) = (cx.input(0)?, cx.input(1)?);
        let sizes = Sizes::of(cx.node, x.shape())?;
        check(cx.node, dy.shape(), &sizes.output())?;
        let (xs, dys) = (x.to_f64()?, dy.to_f64()?);
        let (taps, channels) = (sizes.taps(), sizes.conv.channels);
        let (mut weight, mut bias) = (vec![0.0; taps * channels], vec![0.0; channels]);
        sizes.multiply_adds(|to, from, tap| weight[tap] += dys[to] * xs[from]);
        for (index, dy) in dys.iter().enumerate() {
            bias[index % channels] += dy;
        }
        Ok(vec![
            Tensor::from_f64(x.dtype(), [taps, channels], weight)?,
            Tensor::from_f64(x.dtype(), [channels], bias)?,
        ])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("it is part of a gradient itself"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let x = cx.input(0).ok()?.fact.fixed_shape()?;
        Some(Sizes::of(cx.node, &x).ok()?.flops())
    }

    fn examples(&self) -> Vec<Example> {
        // Held against finite differences as the gradient of `DepthwiseConvNhwc`.
        Vec::new()
    }
}
