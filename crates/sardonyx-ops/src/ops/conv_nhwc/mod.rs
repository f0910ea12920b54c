//! Plan operators of a two-dimensional convolution over channels-last images with packed weights:
//! forward with bias, residual, max-pooling and activation in one, and the gradients by input and
//! weight. The pooled forms carry the winning window position of each pooled element (`argmax`, a
//! byte; [`CLOSED`] where the activation lets no gradient through), so that the map before pooling
//! never exists.

mod geometry;

use sardonyx_ir::{Attr, Fact, Node, SARDONYX, ValueId};
use sardonyx_tensor::{DType, Tensor, element_count};

pub use geometry::Conv2d;
use geometry::{Sizes, fixed, multiply_adds, sizes};

use crate::ops::gate::{Activation, emit_gate, finish_gradient};
use crate::ops::panels::{MAX_WIDTH, PackedShape, transpose};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Forward, &InputGrad, &WeightGrad];

/// The `argmax` of a pooled element through which no gradient flows.
pub const CLOSED: u8 = 255;

/// Inputs `x` `[N, H, W, C]`, packed weight, optional bias `[channels]`, optional residual (of the
/// output's shape); attributes of [`Conv2d`], `activation`, `alpha`, `beta`. Outputs `y`
/// `[N, H', W', channels]` and, when pooling, `argmax` (bytes of y's shape).
#[derive(Debug)]
struct Forward;

const FORWARD: Schema = Schema::own("ConvNhwc", 2).inputs(2, 4).outputs(2);

impl Operator for Forward {
    fn schema(&self) -> Schema {
        FORWARD
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let conv = Conv2d::of(cx.node)?;
        Activation::of(cx.node)?;
        let sizes = sizes(cx.node, &conv, &fixed(cx, 0)?)?;
        let weight = fixed(cx, 1)?;
        let width = weight.get(4).copied().filter(|&width| width > 0);
        if width.is_none_or(|width| weight != conv.packed(sizes.in_channels, width)) {
            return Err(cx.invalid(format!("{weight:?} is not its packed weight")));
        }
        let [height, width] = conv.pooled(sizes.map);
        let shape = [sizes.batch, height, width, conv.channels];
        let dtype = cx.dtype(0)?;
        let y = Fact::fixed(dtype, &shape);
        let fits = |index, fact: &Fact| cx.optional(index).is_none_or(|k| k.fact == fact);
        let same = |index| Ok::<bool, OpError>(dtype.is_float() && cx.dtype(index)? == dtype);
        if !same(1)? || !fits(2, &Fact::fixed(dtype, &[conv.channels])) || !fits(3, &y) {
            return Err(cx.invalid("its weight, bias or residual does not fit"));
        }
        Ok(vec![y.into(), Fact::fixed(DType::U8, &shape).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        cx.check(self)?;
        let (conv, activation) = (Conv2d::of(cx.node)?, Activation::of(cx.node)?);
        let (x, w) = (cx.input(0)?, cx.input(1)?);
        let sizes = sizes(cx.node, &conv, x.shape())?;
        let width = w.shape().last().copied().unwrap_or(1);
        let bias = cx.optional(2).map(Tensor::to_f64).transpose()?;
        let pixels = sizes.batch * sizes.map[0] * sizes.map[1];
        let mut map: Vec<f64> = match bias {
            Some(bias) => (0..pixels).flat_map(|_| bias.iter().copied()).collect(),
            None => vec![0.0; pixels * conv.channels],
        };
        let (xs, ws) = (x.to_f64()?, w.to_f64()?);
        multiply_adds(&conv, &sizes, width, |y, x, w| map[y] += xs[x] * ws[w]);
        let [height, width] = conv.pooled(sizes.map);
        let shape = [sizes.batch, height, width, conv.channels];
        let (mut y, mut argmax) = pool_max(&conv, &sizes, map);
        if let Some(residual) = cx.optional(3) {
            for (y, r) in y.iter_mut().zip(residual.to_f64()?) {
                *y += r;
            }
        }
        for (y, argmax) in y.iter_mut().zip(&mut argmax) {
            *y = activation.apply(*y);
            if activation.derivative_at_output(*y) == Some(0.0) {
                *argmax = CLOSED;
            }
        }
        Ok(vec![
            Tensor::from_f64(x.dtype(), shape, y)?,
            Tensor::new(shape, argmax)?,
        ])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (conv, activation) = (Conv2d::of(cx.node)?, Activation::of(cx.node)?);
        let (x, w, y) = (cx.input(0)?, cx.input(1)?, cx.output(0)?);
        let mut dy = cx.output_grad(0)?;
        // With pooling, argmax says both where the gradient goes and whether it passes.
        let argmax = if conv.pool.is_some() {
            Some(cx.output(1)?)
        } else {
            None
        };
        if argmax.is_none() {
            dy = emit_gate(cx.builder, activation, [y, dy])?;
        }
        let image = cx.builder.fixed_shape(x)?;
        let width = cx.builder.fixed_shape(w)?[4];
        let mut attributes = conv.attributes();
        attributes.push(("image", Attr::from(&image[1..])));
        attributes.push(("width", Attr::Int(width as i64)));
        let mut grads = vec![None; cx.node.inputs.len()];
        if cx.wants(0) {
            let n = ("n", Attr::Int((conv.channels / conv.groups) as i64));
            let transposed = cx.builder.own("TransposePanels", &[w], &[n])?;
            let inputs = [Some(dy), Some(transposed), argmax];
            let name = (SARDONYX, "ConvNhwcInputGrad");
            grads[0] = Some(cx.builder.node(name, &inputs, &attributes, 1)?[0]);
        }
        if cx.wants(1) || cx.wants(2) {
            let n_outputs = if cx.wants(2) { 2 } else { 1 };
            let inputs = [Some(x), Some(dy), argmax];
            let name = (SARDONYX, "ConvNhwcWeightGrad");
            let out = cx.builder.node(name, &inputs, &attributes, n_outputs)?;
            grads[1] = Some(out[0]);
            if let Some(bias) = grads.get_mut(2) {
                *bias = out.get(1).copied();
            }
        }
        if cx.wants(3) {
            if argmax.is_some() {
                return Err(cx.not_differentiable("a residual behind pooling is not followed"));
            }
            grads[3] = Some(dy);
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        flops(cx.node, &cx.input(0).ok()?.fact.fixed_shape()?)
    }

    fn examples(&self) -> Vec<Example> {
        let conv = Conv2d {
            kernel: [3, 2],
            strides: [1, 1],
            pads: [0; 4],
            dilations: [1, 1],
            groups: 1,
            channels: 6,
            pool: None,
        };
        let strided = Conv2d {
            strides: [2, 1],
            pads: [1, 0, 2, 1],
            dilations: [1, 2],
            ..conv
        };
        let grouped = Conv2d {
            groups: 2,
            pads: [1; 4],
            ..conv
        };
        let pooled = Conv2d {
            pool: Some([2, 2]),
            ..conv
        };
        let relu = |example: Example| example.attr("activation", "Relu");
        vec![
            example(FORWARD, "plain", &conv).grad_by(&[0]),
            example(FORWARD, "strided, padded, dilated", &strided).grad_by(&[0]),
            relu(example(FORWARD, "in groups with bias and ReLU", &grouped))
                .uniform(&[6], (-0.5, 0.5))
                .grad_by(&[0, 2]),
            relu(example(FORWARD, "pooled", &pooled))
                .uniform(&[6], (-0.5, 0.5))
                .grad_by(&[0, 2]),
        ]
    }
}

/// Pools a map; without pooling it stays as it is, with zeros for argmax.
fn pool_max(conv: &Conv2d, sizes: &Sizes, map: Vec<f64>) -> (Vec<f64>, Vec<u8>) {
    let Some(pool) = conv.pool else {
        let argmax = vec![0; map.len()];
        return (map, argmax);
    };
    let pooled = conv.pooled(sizes.map);
    let (mut values, mut argmax) = (Vec::new(), Vec::new());
    for image in 0..sizes.batch {
        for (y, x) in (0..pooled[0]).flat_map(|y| (0..pooled[1]).map(move |x| (y, x))) {
            for channel in 0..conv.channels {
                let at = |q: usize| {
                    map[unpooled(conv, sizes, (image, y, x), q) * conv.channels + channel]
                };
                let better = |best: usize, q: usize| if at(q) > at(best) { q } else { best };
                let best = (1..pool[0] * pool[1]).fold(0, better);
                values.push(at(best));
                argmax.push(best as u8);
            }
        }
    }
    (values, argmax)
}

/// Pixel of the map, counted over the batch, at position `q` of a pooled pixel's window.
fn unpooled(conv: &Conv2d, sizes: &Sizes, (image, y, x): (usize, usize, usize), q: usize) -> usize {
    let pool = conv.pool.unwrap_or([1; 2]);
    let (y, x) = (y * pool[0] + q / pool[1], x * pool[1] + q % pool[1]);
    (image * sizes.map[0] + y) * sizes.map[1] + x
}

/// The gradient by the map before pooling.
fn unpool(conv: &Conv2d, sizes: &Sizes, cx: &EvalCx<'_>, slot: usize) -> Result<Vec<f64>> {
    let dy = cx.input(slot)?.to_f64()?;
    let Some(argmax) = cx.optional(2) else {
        return Ok(dy);
    };
    let argmax = argmax.values::<u8>()?;
    let pooled = conv.pooled(sizes.map);
    let mut map = vec![0.0; sizes.batch * sizes.map[0] * sizes.map[1] * conv.channels];
    for (index, (dy, &q)) in dy.into_iter().zip(argmax).enumerate() {
        if q != CLOSED {
            let (pixel, channel) = (index / conv.channels, index % conv.channels);
            let (row, x) = (pixel / pooled[1], pixel % pooled[1]);
            let at = unpooled(
                conv,
                sizes,
                (row / pooled[0], row % pooled[0], x),
                usize::from(q),
            );
            map[at * conv.channels + channel] += dy;
        }
    }
    Ok(map)
}

/// Holds a gradient's `dy` (input `slot`) and `argmax` against the convolution over images of
/// shape `image`.
fn check_gradient(cx: &InferCx<'_>, conv: &Conv2d, image: &[usize], slot: usize) -> Result<()> {
    let sizes = sizes(cx.node, conv, image)?;
    let argmax = cx.optional(2).map(|known| known.fact);
    let map = if argmax.is_some() {
        conv.pooled(sizes.map)
    } else {
        sizes.map
    };
    let shape = [sizes.batch, map[0], map[1], conv.channels];
    let dtype = cx.dtype(slot)?;
    let fits = *cx.input(slot)?.fact == Fact::fixed(dtype, &shape)
        && argmax.is_none_or(|argmax| *argmax == Fact::fixed(DType::U8, &shape));
    if !fits || !dtype.is_float() || cx.dtype(0)? != dtype {
        return Err(cx.invalid("its gradient does not fit the convolution"));
    }
    Ok(())
}

/// The image that a gradient is about: attribute `image` is `[H, W, C]`.
fn image(node: &Node, batch: usize) -> Result<[usize; 4]> {
    match node.sizes("image")?.as_deref() {
        Some(&[height, width, channels]) => Ok([batch, height, width, channels]),
        _ => Err(node
            .attribute_error("image", "must be height, width, channels")
            .into()),
    }
}

fn flops(node: &Node, x: &[usize]) -> Option<u64> {
    let conv = Conv2d::of(node).ok()?;
    let sizes = sizes(node, &conv, x).ok()?;
    let macs = sizes.batch * sizes.map[0] * sizes.map[1] * conv.channels * sizes.in_channels
        / conv.groups
        * conv.kernel[0]
        * conv.kernel[1];
    Some(2 * macs as u64)
}

/// Inputs `dy`, transposed packed weight, optional `argmax`, optional residual and gate (an
/// activation's value), both of the image's shape; attributes of [`Conv2d`], `image`, and those of
/// the gate. Output: `gate(gradient by the image + residual)`.
#[derive(Debug)]
struct InputGrad;

const INPUT_GRAD: Schema = Schema::own("ConvNhwcInputGrad", 2).inputs(2, 5);

/// Inputs of the residual and the gate of a `ConvNhwcInputGrad`.
pub const INPUT_GRAD_SLOTS: [usize; 2] = [3, 4];

impl Operator for InputGrad {
    fn schema(&self) -> Schema {
        INPUT_GRAD
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let conv = Conv2d::of(cx.node)?;
        let batch = fixed(cx, 0)?.first().copied().unwrap_or(0);
        let shape = image(cx.node, batch)?;
        check_gradient(cx, &conv, &shape, 0)?;
        let width = fixed(cx, 1)?.last().copied().unwrap_or(0).max(1);
        if cx.dtype(1)? != cx.dtype(0)? || fixed(cx, 1)? != conv.transposed(shape[3], width) {
            return Err(cx.invalid("its weight does not fit"));
        }
        Ok(vec![Fact::fixed(cx.dtype(0)?, &shape).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        cx.check(self)?;
        let conv = Conv2d::of(cx.node)?;
        let (dy, w) = (cx.input(0)?, cx.input(1)?);
        let batch = dy.shape().first().copied().unwrap_or(0);
        let shape = image(cx.node, batch)?;
        let sizes = sizes(cx.node, &conv, &shape)?;
        let width = w.shape().last().copied().unwrap_or(0).max(1);
        let [groups, _, taps, n, width] = conv.transposed(sizes.in_channels, width);
        let packed = PackedShape {
            groups,
            n: sizes.in_channels / groups,
            taps,
            inner: n,
            width,
        };
        if w.shape() != packed.dims() {
            return Err(cx.invalid("its weight has another shape"));
        }
        let ws = transpose(packed, &w.to_f64()?);
        let map = unpool(&conv, &sizes, cx, 0)?;
        let mut dx = vec![0.0; element_count(&shape)?];
        multiply_adds(&conv, &sizes, width, |y, x, w| dx[x] += map[y] * ws[w]);
        finish_gradient(cx, INPUT_GRAD_SLOTS, &mut dx)?;
        Ok(vec![Tensor::from_f64(dy.dtype(), shape, dx)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("it is part of a gradient itself"))
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        flops(cx.node, &outputs.first()?.fact.fixed_shape()?)
    }

    fn examples(&self) -> Vec<Example> {
        // Held against finite differences as the gradient of `ConvNhwc`.
        Vec::new()
    }
}

/// Inputs `x`, `dy`, optional `argmax`; attributes of [`Conv2d`], `width`. Outputs: the gradients
/// by the packed weight and by the bias.
#[derive(Debug)]
struct WeightGrad;

const WEIGHT_GRAD: Schema = Schema::own("ConvNhwcWeightGrad", 2).inputs(2, 3).outputs(2);

impl WeightGrad {
    fn width(node: &Node) -> Result<usize> {
        let width = usize::try_from(node.int("width", 0)?)
            .ok()
            .filter(|width| (1..=MAX_WIDTH).contains(width));
        width.ok_or_else(|| OpError::invalid(node, "attribute `width` is missing"))
    }
}

impl Operator for WeightGrad {
    fn schema(&self) -> Schema {
        WEIGHT_GRAD
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let conv = Conv2d::of(cx.node)?;
        let sizes = sizes(cx.node, &conv, &fixed(cx, 0)?)?;
        let dtype = cx.dtype(0)?;
        check_gradient(cx, &conv, &fixed(cx, 0)?, 1)?;
        let packed = conv.packed(sizes.in_channels, Self::width(cx.node)?);
        let bias = Fact::fixed(dtype, &[conv.channels]);
        Ok(vec![Fact::fixed(dtype, &packed).into(), bias.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        cx.check(self)?;
        let (conv, width) = (Conv2d::of(cx.node)?, Self::width(cx.node)?);
        let x = cx.input(0)?;
        let sizes = sizes(cx.node, &conv, x.shape())?;
        let map = unpool(&conv, &sizes, cx, 1)?;
        let packed = conv.packed(sizes.in_channels, width);
        let mut weight = vec![0.0; element_count(&packed)?];
        let xs = x.to_f64()?;
        multiply_adds(&conv, &sizes, width, |y, x, w| weight[w] += map[y] * xs[x]);
        let mut bias = vec![0.0; conv.channels];
        for (index, dy) in map.iter().enumerate() {
            bias[index % conv.channels] += dy;
        }
        let weight = Tensor::from_f64(x.dtype(), packed, weight)?;
        Ok(vec![
            weight,
            Tensor::from_f64(x.dtype(), [conv.channels], bias)?,
        ])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("it is part of a gradient itself"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        flops(cx.node, &cx.input(0).ok()?.fact.fixed_shape()?)
    }

    fn examples(&self) -> Vec<Example> {
        // Held against finite differences as the gradient of `ConvNhwc`.
        Vec::new()
    }
}

/// An example of `conv` over two small images of four channels, weights packed by four.
fn example(schema: Schema, name: &str, conv: &Conv2d) -> Example {
    let packed = conv.packed(4, 4);
    let n = conv.channels / conv.groups;
    let panel = packed[2] * packed[3] * packed[4];
    let weight = |i: usize| {
        let column = i / panel % packed[1] * 4 + i % 4;
        if column < n {
            ((i * 5 % 13) as f32 - 6.0) / 9.0
        } else {
            0.0
        }
    };
    let mut example = Example::new(schema, name).uniform(&[2, 6, 5, 4], (-1.0, 1.0));
    for (name, value) in conv.attributes() {
        example = example.attr(name, value);
    }
    example = example.values(&packed, (0..packed.iter().product()).map(weight).collect());
    if conv.pool.is_some() {
        example.outputs(2)
    } else {
        example
    }
}
