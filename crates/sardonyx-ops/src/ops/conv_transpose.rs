//! `ConvTranspose`: the input gradient of a convolution, as a forward operator. Its own gradients
//! are therefore that convolution and its weight gradient.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::ops::conv::{ConvGeometry, bias_grad, check_bias, common_float, group, start_from_bias};
use crate::window::{Padding, WindowAxis, WindowSpec};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&ConvTranspose];

#[derive(Debug)]
struct ConvTranspose;

const SCHEMA: Schema = Schema::standard("ConvTranspose", 1, 2).inputs(2, 3);

/// The attributes of a transposed convolution.
struct Transposed {
    window: WindowSpec,
    output_padding: Vec<usize>,
    output_shape: Option<Vec<usize>>,
}

impl Transposed {
    fn read(node: &Node, kernel: &[usize]) -> Result<Transposed> {
        if node
            .sizes("kernel_shape")?
            .is_some_and(|stated| stated != kernel)
        {
            let problem = format!("does not match the weight's kernel {kernel:?}");
            return Err(node.attribute_error("kernel_shape", &problem).into());
        }
        let rank = kernel.len();
        let extra = node
            .sizes("output_padding")?
            .unwrap_or_else(|| vec![0; rank]);
        let shape = node.sizes("output_shape")?;
        // Some exporters give batch and channels too.
        let shape = shape.map(|shape| match shape.len().checked_sub(rank) {
            Some(2) => shape[2..].to_vec(),
            _ => shape,
        });
        if extra.len() != rank || shape.as_ref().is_some_and(|shape| shape.len() != rank) {
            let problem = format!("output_padding and output_shape must have {rank} entries");
            return Err(OpError::invalid(node, problem));
        }
        let window = WindowSpec::read(node, kernel.to_vec())?;
        Ok(Transposed {
            window,
            output_padding: extra,
            output_shape: shape,
        })
    }

    /// Size that the output would have without padding; `None` on overflow.
    fn full(&self, index: usize, input: usize) -> Option<usize> {
        let window = &self.window;
        let extent = (window.kernel[index] - 1).checked_mul(window.dilations[index])?;
        let steps = input.saturating_sub(1).checked_mul(window.strides[index])?;
        let extra = self.output_padding[index].checked_add(1)?;
        extent.checked_add(steps)?.checked_add(extra)
    }

    /// The windows along one axis, seen from the convolution of which this is the input gradient:
    /// its `input` is our output.
    fn axis(&self, node: &Node, index: usize, input: usize) -> Result<WindowAxis> {
        let window = &self.window;
        let problem = || OpError::invalid(node, format!("its output axis {index} has no size"));
        let full = self.full(index, input).ok_or_else(problem)?;
        let stated = self.output_shape.as_ref().map(|shape| shape[index]);
        let stride = window.strides[index];
        let target = match (&window.padding, stated) {
            (_, Some(size)) => Some(size),
            (Padding::Explicit(_), None) => None,
            (_, None) => Some(input.checked_mul(stride).ok_or_else(problem)?),
        };
        let (size, [pad_begin, pad_end]) = match (target, &window.padding) {
            (None, Padding::Explicit(pads)) => {
                let [begin, end] = pads[index];
                let size = full
                    .checked_sub(begin)
                    .and_then(|size| size.checked_sub(end));
                (size.ok_or_else(problem)?, pads[index])
            }
            (target, padding) => {
                let size = target.ok_or_else(problem)?;
                let total = full.saturating_sub(size);
                let (small, large) = (total / 2, total - total / 2);
                let upper = *padding == Padding::SameUpper;
                (
                    size,
                    if upper {
                        [small, large]
                    } else {
                        [large, small]
                    },
                )
            }
        };
        Ok(WindowAxis {
            input: size,
            output: input,
            kernel: window.kernel[index],
            stride,
            dilation: window.dilations[index],
            pad_begin,
            pad_end,
        })
    }

    fn dim(&self, cx: &InferCx<'_>, index: usize, dim: &Dim) -> Result<Dim> {
        if let Some(input) = dim.value() {
            return Ok(Dim::known(self.axis(cx.node, index, input)?.input));
        }
        let stride = self.window.strides[index];
        let followed = match (&self.window.padding, &self.output_shape) {
            (_, Some(shape)) => Some(Dim::known(shape[index])),
            (Padding::Explicit(pads), None) => {
                let cropped = pads[index][0].checked_add(pads[index][1]);
                let kept = self
                    .full(index, 1)
                    .zip(cropped)
                    .and_then(|(a, b)| a.checked_sub(b));
                // A stride without overlap or gap multiplies; one of 1 adds nothing.
                (kept == Some(stride))
                    .then(|| dim.checked_mul(&Dim::known(stride)))
                    .flatten()
            }
            (_, None) => dim.checked_mul(&Dim::known(stride)),
        };
        Ok(followed.unwrap_or_else(|| cx.unknown_dim(index + 2)))
    }
}

/// Geometry of the convolution of which a node is the input gradient: its `x` is our output, its
/// `y` our input.
///
/// # Errors
/// When shapes and attributes make no transposed convolution.
pub fn transposed_geometry(node: &Node, x: &[usize], w: &[usize]) -> Result<ConvGeometry> {
    let (&[batch, channels, ref input @ ..], &[w_channels, per_group, ref kernel @ ..]) = (x, w)
    else {
        let problem = format!("shapes {x:?} and {w:?} are of too low a rank");
        return Err(OpError::invalid(node, problem));
    };
    let group = group(node)?;
    let in_channels = per_group.checked_mul(group);
    let (true, Some(in_channels)) = (
        channels == w_channels && channels.is_multiple_of(group),
        in_channels,
    ) else {
        let problem = format!(
            "{channels} input channels in {group} groups do not match a weight of {w_channels}"
        );
        return Err(OpError::invalid(node, problem));
    };
    if input.len() != kernel.len() {
        let problem = format!("its kernel {kernel:?} does not fit an input of {input:?}");
        return Err(OpError::invalid(node, problem));
    }
    let transposed = Transposed::read(node, kernel)?;
    let axes = input.iter().enumerate();
    let axes = axes.map(|(index, &size)| transposed.axis(node, index, size));
    let axes = axes.collect::<Result<_>>()?;
    Ok(ConvGeometry {
        batch,
        group,
        in_channels,
        out_channels: channels,
        axes,
    })
}

impl Operator for ConvTranspose {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = common_float(cx)?;
        let (Some(x), Some(w)) = (cx.shape(0)?, cx.shape(1)?) else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        if x.len() != w.len() || x.len() < 3 {
            let problem = format!("inputs of ranks {} and {} do not fit", x.len(), w.len());
            return Err(cx.invalid(problem));
        }
        let fixed = |index| Ok::<_, OpError>(cx.input(index)?.fact.fixed_shape());
        if let (Some(x), Some(w)) = (fixed(0)?, fixed(1)?) {
            let shape = transposed_geometry(cx.node, &x, &w)?.x_shape();
            check_bias(cx, 2, &Dim::known(shape[1]))?;
            return Ok(vec![Fact::fixed(dtype, &shape).into()]);
        }
        let group = Dim::known(group(cx.node)?);
        let channels = w[1]
            .checked_mul(&group)
            .unwrap_or_else(|| cx.unknown_dim(1));
        check_bias(cx, 2, &channels)?;
        let mut dims = vec![x[0].clone(), channels];
        let kernel: Option<Vec<usize>> = w[2..].iter().map(Dim::value).collect();
        match kernel {
            Some(kernel) => {
                let transposed = Transposed::read(cx.node, &kernel)?;
                for (index, dim) in x[2..].iter().enumerate() {
                    dims.push(transposed.dim(cx, index, dim)?);
                }
            }
            None => dims.extend((2..x.len()).map(|axis| cx.unknown_dim(axis))),
        }
        Ok(vec![Fact::new(dtype, dims).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, w) = (cx.input(0)?, cx.input(1)?);
        let geometry = transposed_geometry(cx.node, x.shape(), w.shape())?;
        let shape = geometry.x_shape();
        let mut y = start_from_bias(cx, 2, &shape)?;
        let (xs, ws) = (x.to_f64()?, w.to_f64()?);
        geometry.products(|i, j, k| y[i] += xs[k] * ws[j]);
        Ok(vec![Tensor::from_f64(x.dtype(), shape, y)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, w, dy) = (cx.input(0)?, cx.input(1)?, cx.output_grad(0)?);
        let (x_shape, w_shape) = (cx.builder.shape(x)?, cx.builder.fixed_shape(w)?);
        // The number of samples may be unknown: it has no part in the attributes.
        let sizes: Option<Vec<usize>> = x_shape[1..].iter().map(Dim::value).collect();
        let symbolic = "its spatial axes are symbolic; hint: bind the symbols to numbers first";
        let sizes = sizes.ok_or_else(|| cx.not_differentiable(symbolic))?;
        let geometry = transposed_geometry(cx.node, &[&[1], &sizes[..]].concat(), &w_shape)?;
        let attributes = explicit_attributes(&geometry);
        let inverts = geometry.axes.iter().all(|axis| {
            let padded = axis
                .input
                .saturating_add(axis.pad_begin)
                .saturating_add(axis.pad_end);
            let windows = |slack: usize| slack / axis.stride + 1;
            padded.checked_sub(axis.extent()).map(windows) == Some(axis.output)
        });
        if !inverts {
            let problem = "its output is padded by a whole stride";
            return Err(cx.not_differentiable(problem));
        }
        let mut grads = vec![None; cx.node.inputs.len()];
        if cx.wants(0) {
            grads[0] = Some(cx.builder.op("Conv", &[dy, w], &attributes)?);
        }
        if cx.wants(1) {
            let mut attributes = attributes;
            attributes.push(("kernel_shape", Attr::from(&w_shape[2..])));
            grads[1] = Some(cx.builder.own("ConvWeightGrad", &[dy, x], &attributes)?);
        }
        if cx.wants(2) {
            grads[2] = Some(bias_grad(cx, dy)?);
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let shape = |index| cx.input(index).ok()?.fact.fixed_shape();
        let geometry = transposed_geometry(cx.node, &shape(0)?, &shape(1)?);
        Some(geometry.ok()?.flops())
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize], w: &[usize]| {
            let made = Example::new(SCHEMA, name).uniform(x, (-1.0, 1.0));
            made.uniform(w, (-1.0, 1.0))
        };
        let square = |name: &str| example(name, &[2, 3, 3, 4], &[3, 2, 3, 2]);
        let strided = |name: &str| square(name).attr("strides", vec![2i64, 3]);
        vec![
            square("plain"),
            square("with a bias").uniform(&[2], (-1.0, 1.0)),
            strided("strided and padded")
                .attr("pads", vec![1i64, 0, 2, 1])
                .attr("output_padding", vec![1i64, 2]),
            strided("to a given shape").attr("output_shape", vec![6i64, 11]),
            strided("to the same size").attr("auto_pad", "SAME_UPPER"),
            strided("to the same size before").attr("auto_pad", "SAME_LOWER"),
            square("dilated").attr("dilations", vec![2i64, 3]),
            example("in groups", &[1, 4, 3, 3], &[4, 2, 2, 2]).attr("group", 2i64),
            example("of sequences", &[2, 2, 4], &[2, 3, 3]).attr("strides", vec![2i64]),
            example("of volumes", &[1, 1, 2, 2, 3], &[1, 2, 2, 1, 2]),
            example("of no sample", &[0, 1, 2], &[1, 2, 2]),
        ]
    }
}

/// A geometry as the attributes of `Conv`, its padding spelled out.
fn explicit_attributes(geometry: &ConvGeometry) -> Vec<(&'static str, Attr)> {
    let sizes =
        |size: fn(&WindowAxis) -> usize| -> Vec<usize> { geometry.axes.iter().map(size).collect() };
    let pads = [sizes(|axis| axis.pad_begin), sizes(|axis| axis.pad_end)].concat();
    vec![
        ("dilations", Attr::from(&sizes(|axis| axis.dilation)[..])),
        ("group", Attr::Int(geometry.group as i64)),
        ("pads", Attr::from(&pads[..])),
        ("strides", Attr::from(&sizes(|axis| axis.stride)[..])),
    ]
}
