//! `Resize`, `Upsample` (its old name) and `ResizeGrad`: sample a tensor at other places, axis by
//! axis. The result is linear in the input, so the gradient applies the same weights transposed.

mod weights;

use sardonyx_ir::{Dim, Fact, Node, SARDONYX, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use self::weights::{Axis, Sampling, Weights};
use super::move_grad::attributes;
use crate::reference::{around, claimed_count, from_i64, sizes};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, axis_index,
    element_flops, fact_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Resize::Resize, &Resize::Upsample, &ResizeGrad];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resize {
    Resize,
    Upsample,
}

#[derive(Debug)]
struct ResizeGrad;

const GRAD_SCHEMA: Schema = Schema::own("ResizeGrad", 3).inputs(2, 5);

/// What the inputs after the first ask for. An empty tensor stands for one that is left out.
#[derive(Debug, Default)]
struct Request {
    /// The node is of the form before version 11: scales only.
    old: bool,
    roi: Option<Vec<f64>>,
    scales: Option<Vec<f64>>,
    sizes: Option<Vec<i64>>,
}

impl Request {
    fn of(node: &Node, rest: &[Option<&Tensor>]) -> Result<Request> {
        let get = |index: usize| rest.get(index).copied().flatten().filter(|t| !t.is_empty());
        let floats = |tensor: Option<&Tensor>| tensor.map(Tensor::to_f64).transpose();
        if rest.len() < 2 {
            let scales = match (floats(get(0))?, node.floats("scales")?) {
                (Some(scales), _) => Some(scales),
                (None, scales) => scales.map(|v| v.iter().copied().map(f64::from).collect()),
            };
            return Ok(Request {
                old: true,
                scales,
                ..Request::default()
            });
        }
        Ok(Request {
            old: false,
            roi: floats(get(0))?,
            scales: floats(get(1))?,
            sizes: get(2).map(Tensor::to_i64).transpose()?,
        })
    }
}

/// The axes that are resized, in the order in which scales and sizes name them.
fn resized_axes(node: &Node, rank: usize) -> Result<Vec<usize>> {
    match node.ints("axes")? {
        Some(axes) => axes
            .iter()
            .map(|&axis| axis_index(node, axis, rank))
            .collect(),
        None => Ok((0..rank).collect()),
    }
}

/// What is asked of each axis; `None` for one that is left alone.
fn plan(node: &Node, shape: &[usize], request: &Request) -> Result<Vec<Option<Axis>>> {
    let axes = resized_axes(node, shape.len())?;
    let fits = |length: usize| match length == axes.len() {
        true => Ok(()),
        false => Err(OpError::invalid(
            node,
            format!("{length} factors for {} axes", axes.len()),
        )),
    };
    let lengths: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
    let targets: Vec<(usize, f64)> = match (&request.scales, &request.sizes) {
        (Some(scales), None) => {
            fits(scales.len())?;
            let pairs = lengths.iter().zip(scales);
            pairs
                .map(|(&length, &scale)| scaled(node, length, scale))
                .collect::<Result<_>>()?
        }
        (None, Some(sizes)) => {
            fits(sizes.len())?;
            sized(node, &lengths, sizes)?
        }
        _ => return Err(OpError::invalid(node, "it needs either scales or sizes")),
    };
    let mut regions = vec![(0.0, 1.0); axes.len()];
    if Sampling::of(node, request.old)?.crops() {
        let roi = request.roi.as_deref().unwrap_or_default();
        fits(roi.len() / 2)?;
        regions = (0..axes.len())
            .map(|index| (roi[index], roi[axes.len() + index]))
            .collect();
    }
    let mut plan = vec![None; shape.len()];
    for ((&axis, (to, scale)), region) in axes.iter().zip(targets).zip(regions) {
        let from = shape[axis];
        if from == 0 && to > 0 {
            return Err(OpError::invalid(
                node,
                format!("axis {axis} has no element to sample"),
            ));
        }
        plan[axis] = Some(Axis {
            from,
            to,
            scale,
            region,
        });
    }
    Ok(plan)
}

fn scaled(node: &Node, length: usize, scale: f64) -> Result<(usize, f64)> {
    if !(scale.is_finite() && scale > 0.0) {
        return Err(OpError::invalid(node, format!("a scale is {scale}")));
    }
    // The product is taken in the type of the scales, as other runtimes do, so that the nearest
    // float to 0.7 makes 7 elements of 10.
    Ok(((scale as f32 * length as f32).floor() as usize, scale))
}

/// Lengths and scales from the sizes asked for.
fn sized(node: &Node, lengths: &[usize], sizes: &[i64]) -> Result<Vec<(usize, f64)>> {
    let ratio = |(&length, &size): (&usize, &i64)| {
        let size = usize::try_from(size);
        let size = size.map_err(|_| OpError::invalid(node, "a size is negative"))?;
        Ok((size, size as f64 / length.max(1) as f64))
    };
    let targets = lengths
        .iter()
        .zip(sizes)
        .map(ratio)
        .collect::<Result<Vec<_>>>()?;
    let scales = targets.iter().map(|target| target.1);
    let scale = match node.text("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => return Ok(targets),
        "not_larger" => scales.fold(f64::INFINITY, f64::min),
        "not_smaller" => scales.fold(0.0, f64::max),
        _ => {
            return Err(node
                .attribute_error("keep_aspect_ratio_policy", "is unknown")
                .into());
        }
    };
    Ok(lengths
        .iter()
        .map(|&n| ((scale * n as f64 + 0.5) as usize, scale))
        .collect())
}

/// Weights of each axis; `None` for one that is left alone.
fn all_weights(node: &Node, plan: &[Option<Axis>], old: bool) -> Result<Vec<Option<Weights>>> {
    let sampling = Sampling::of(node, old)?;
    let shape: Vec<usize> = plan
        .iter()
        .map(|axis| axis.map_or(1, |axis| axis.to))
        .collect();
    claimed_count(node, &shape)?;
    let weights = |axis: &Option<Axis>| match *axis {
        // Where nothing changes, the filters do nothing.
        Some(axis) if axis.from == axis.to && axis.scale == 1.0 && !sampling.crops() => None,
        Some(axis) if axis.from == 0 => Some(Weights::new()),
        axis => axis.map(|axis| sampling.weights(axis)),
    };
    Ok(plan.iter().map(weights).collect())
}

/// Samples one axis, or with `transposed` sends back what its sampling takes.
fn apply(
    values: &[f64],
    [before, length, after]: [usize; 3],
    weights: &Weights,
    transposed: Option<usize>,
) -> Vec<f64> {
    let out_length = transposed.unwrap_or(weights.len());
    let mut out = vec![0.0; before * out_length * after];
    for row in 0..before {
        for (index, taps) in weights.iter().enumerate() {
            for &(tap, weight) in taps.iter().flatten() {
                let (to, from) = if transposed.is_some() {
                    (tap, index)
                } else {
                    (index, tap)
                };
                let (to, from) = (
                    (row * out_length + to) * after,
                    (row * length + from) * after,
                );
                for column in 0..after {
                    out[to + column] += weight * values[from + column];
                }
            }
        }
    }
    out
}

/// Resizes `x`, and fills what lies outside of the region with `outside`.
fn resize(x: &Tensor, weights: &[Option<Weights>], outside: f64) -> Result<(Vec<usize>, Vec<f64>)> {
    let (mut shape, mut values) = (x.shape().to_vec(), x.to_f64()?);
    for (axis, weights) in weights.iter().enumerate() {
        if let Some(weights) = weights {
            values = apply(&values, around(&shape, axis)?, weights, None);
            shape[axis] = weights.len();
        }
    }
    for (axis, weights) in weights.iter().enumerate() {
        let [before, length, after] = around(&shape, axis)?;
        let missing = weights
            .iter()
            .flatten()
            .enumerate()
            .filter(|(_, taps)| taps.is_none());
        for (index, _) in missing {
            for row in 0..before {
                let start = (row * length + index) * after;
                values[start..start + after].fill(outside);
            }
        }
    }
    Ok((shape, values))
}

impl Operator for Resize {
    fn schema(&self) -> Schema {
        match self {
            Resize::Resize => Schema::standard("Resize", 10, 2).inputs(2, 4),
            Resize::Upsample => Schema::standard("Upsample", 7, 1).inputs(1, 2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        Ok(vec![Fact::new(dtype, infer_dims(cx, shape)?).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let request = Request::of(cx.node, &cx.inputs[1..])?;
        let plan = plan(cx.node, x.shape(), &request)?;
        let weights = all_weights(cx.node, &plan, request.old)?;
        let outside = f64::from(cx.node.float("extrapolation_value", 0.0)?);
        let (shape, values) = resize(x, &weights, outside)?;
        Ok(vec![if x.dtype().is_float() {
            Tensor::from_f64(x.dtype(), shape, values)?
        } else {
            from_i64(
                x.dtype(),
                &shape,
                values.into_iter().map(|v| v as i64).collect(),
            )?
        }])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
        let shape = cx.builder.shape_of(x)?;
        let inputs = [&[Some(dy), Some(shape)], &cx.node.inputs[1..]].concat();
        let attributes = attributes(cx.node);
        let dx = cx
            .builder
            .node((SARDONYX, "ResizeGrad"), &inputs, &attributes, 1)?[0];
        let mut grads = vec![None; cx.node.inputs.len()];
        grads[0] = Some(dx);
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 8)
    }

    fn examples(&self) -> Vec<Example> {
        let range = (-1.0, 1.0);
        let scales = |name: &str, mode: &str, scales: [f32; 2]| {
            let example = Example::new(self.schema(), name).attr("mode", mode);
            let example = example.uniform(&[1, 2, 5, 4], range);
            let scales = vec![1.0, 1.0, scales[0], scales[1]];
            let example = if *self == Resize::Resize {
                example.absent()
            } else {
                example
            };
            example.values(&[4], scales).grad_by(&[0])
        };
        if *self == Resize::Upsample {
            return vec![
                scales("nearest", "nearest", [2.0, 3.0]),
                scales("linear", "linear", [2.0, 1.5]),
            ];
        }
        let coordinates = "coordinate_transformation_mode";
        let sizes = |name: &str, sizes: &[i64]| {
            let example = Example::new(self.schema(), name).attr("axes", vec![2i64, -1]);
            let example = example.uniform(&[1, 2, 5, 4], range).absent().absent();
            example.ints(sizes).grad_by(&[0])
        };
        vec![
            scales("nearest", "nearest", [2.0, 0.6]),
            scales("linear", "linear", [0.5, 2.5]),
            scales("cubic", "cubic", [1.7, 0.8]),
            scales("cubic inside", "cubic", [2.0, 2.0]).attr("exclude_outside", 1i64),
            scales("linear, antialiased", "linear", [0.4, 0.5]).attr("antialias", 1i64),
            scales("cubic, antialiased", "cubic", [0.4, 0.9]).attr("antialias", 1i64),
            scales("aligned", "linear", [2.0, 3.0]).attr(coordinates, "align_corners"),
            scales("asymmetric", "nearest", [2.0, 3.0])
                .attr(coordinates, "asymmetric")
                .attr("nearest_mode", "floor"),
            sizes("to sizes", &[7, 3]),
            sizes("to sizes in proportion", &[7, 3]).attr("keep_aspect_ratio_policy", "not_larger"),
            Example::new(self.schema(), "of a region")
                .attr("mode", "linear")
                .attr(coordinates, "tf_crop_and_resize")
                .attr("extrapolation_value", 9.0f32)
                .uniform(&[4, 5], range)
                .values(&[4], vec![0.2f32, 0.4, 0.8, 1.3])
                .absent()
                .ints(&[3, 4])
                .grad_by(&[0]),
            Example::new(self.schema(), "of version 10")
                .opset(10)
                .uniform(&[2, 3], range)
                .values(&[2], vec![1.0f32, 2.0])
                .grad_by(&[0]),
            Example::new(self.schema(), "of nothing")
                .uniform(&[0, 3], range)
                .absent()
                .values(&[2], vec![1.0f32, 2.0])
                .grad_by(&[0]),
        ]
    }
}

fn infer_dims(cx: &InferCx<'_>, shape: &[Dim]) -> Result<Vec<Dim>> {
    let axes = resized_axes(cx.node, shape.len())?;
    let unknown = || {
        let dim = |(axis, dim): (usize, &Dim)| match axes.contains(&axis) {
            true => cx.unknown_dim(axis),
            false => dim.clone(),
        };
        Ok(shape.iter().enumerate().map(dim).collect())
    };
    let stretches = cx.node.text("keep_aspect_ratio_policy", "stretch")? == "stretch";
    let dynamic = (1..cx.inputs.len()).any(|index| {
        cx.optional(index)
            .is_some_and(|known| known.value.is_none())
    });
    if dynamic {
        let Some(sizes) = cx
            .dims(3)
            .filter(|sizes| stretches && sizes.len() == axes.len())
        else {
            return unknown();
        };
        let mut dims = shape.to_vec();
        axes.iter()
            .zip(sizes)
            .for_each(|(&axis, size)| dims[axis] = size);
        return Ok(dims);
    }
    let rest = (1..cx.inputs.len()).map(|index| Some(cx.optional(index)?.value?.as_ref()));
    let rest: Vec<Option<&Tensor>> = rest.collect();
    let request = Request::of(cx.node, &rest)?;
    // Symbols stand for one element here; what depends on them is not taken from the plan.
    let lengths: Vec<usize> = shape.iter().map(|dim| dim.value().unwrap_or(1)).collect();
    let plan = plan(cx.node, &lengths, &request)?;
    let symbolic = axes.iter().any(|&axis| shape[axis].value().is_none());
    if request.sizes.is_some() && symbolic && !stretches {
        return unknown();
    }
    let dim = |(axis, dim): (usize, &Dim)| match plan[axis] {
        None => dim.clone(),
        Some(asked) if dim.value().is_some() || request.sizes.is_some() => Dim::known(asked.to),
        Some(asked) if asked.scale.fract() == 0.0 => {
            let product = dim.checked_mul(&Dim::known(asked.scale as usize));
            product.unwrap_or_else(|| cx.unknown_dim(axis))
        }
        Some(_) => cx.unknown_dim(axis),
    };
    Ok(shape.iter().enumerate().map(dim).collect())
}

/// Inputs: `dy`, the shape of the forward operator's input as a vector, then its further inputs;
/// attributes as the forward operator's.
impl Operator for ResizeGrad {
    fn schema(&self) -> Schema {
        GRAD_SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        Ok(vec![cx.shaped_by(1, cx.dtype(0)?)?.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (dy, shape) = (cx.input(0)?, sizes(cx, 1)?);
        let request = Request::of(cx.node, &cx.inputs[2..])?;
        let plan = plan(cx.node, &shape, &request)?;
        let weights = all_weights(cx.node, &plan, request.old)?;
        let mut own = dy.shape().to_vec();
        let to = |(axis, &from): (usize, &usize)| plan[axis].map_or(from, |axis| axis.to);
        let expected: Vec<usize> = shape.iter().enumerate().map(to).collect();
        if own != expected {
            return Err(cx.invalid(format!("dy has shape {own:?}, the output {expected:?}")));
        }
        let mut values = dy.to_f64()?;
        for (axis, weights) in weights.iter().enumerate() {
            if let Some(weights) = weights {
                values = apply(&values, around(&own, axis)?, weights, Some(shape[axis]));
                own[axis] = shape[axis];
            }
        }
        assert_eq!(
            values.len(),
            element_count(&shape)?,
            "every axis has the input's length"
        );
        Ok(vec![Tensor::from_f64(dy.dtype(), shape, values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        fact_flops(cx.optional(0)?.fact, 8)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(GRAD_SCHEMA, "linear").attr("mode", "linear");
        let example = example.uniform(&[4, 3], (-1.0, 1.0)).ints(&[2, 3]).absent();
        let example = example.values(&[2], vec![2.0f32, 1.0]);
        vec![example.no_grad("second derivatives are not supported")]
    }
}
