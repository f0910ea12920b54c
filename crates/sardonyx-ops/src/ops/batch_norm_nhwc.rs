//! Plan operators of batch normalization in training over channels-last rows, whatever axes are in
//! front of the channels: forward with residual and activation in one, keeping the batch's
//! statistics, and the gradient that reads them. What an activation made need not be kept: the
//! gradient works it out anew.

use sardonyx_ir::{Attr, Dim, Fact, Node, SARDONYX, ValueId};
use sardonyx_tensor::Tensor;

use crate::normalize::{Layout, add_bias, scaled, sum_by};
use crate::ops::batch_normalization::{epsilon, kept_variances};
use crate::ops::gate::{Activation, emit_gate};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Forward, &Gradient];

/// Input of the residual.
pub const RESIDUAL: usize = 5;

/// Outputs of the statistics that the gradient reads: mean, inverse of the standard deviation.
pub const SAVED: [usize; 2] = [3, 4];

/// Inputs `x` `[..., C]`; `scale`, `bias`, running `mean` and `var` `[C]`; optional residual (as
/// x). Attributes `epsilon`, `momentum`, `sample_variance`, `activation`, `alpha`, `beta`. Outputs
/// `activation((x - mean) / sqrt(var + epsilon) scale + bias + residual)` by the batch's own
/// statistics, the next running mean and variance, and the batch's mean and
/// `1 / sqrt(var + epsilon)`.
#[derive(Debug)]
struct Forward;

const FORWARD: Schema = Schema::own("BatchNormNhwc", 5).inputs(5, 6).outputs(5);

/// Inputs `x` `[..., C]`, `scale`, `dy`, saved mean, saved inverse deviation (worked out anew where
/// these are absent), and, where an activation follows, `bias`. Attributes `epsilon`,
/// `activation`, `alpha`, `beta`. Outputs `dx`, `dscale`, `dbias`, and what the activation made.
#[derive(Debug)]
struct Gradient;

const GRADIENT: Schema = Schema::own("BatchNormNhwcGrad", 3).inputs(3, 6).outputs(4);

/// Input of the gradient that says that an activation followed.
pub const GRADIENT_BIAS: usize = 5;

/// Output of the gradient that is the forward's first one over again; with a bias only.
pub const REMADE: usize = 3;

/// Checks that inputs `vectors` have an element for each channel, and gives the fact of one.
fn check(cx: &InferCx<'_>, vectors: std::ops::Range<usize>) -> Result<Fact> {
    let x = cx.input(0)?.fact;
    let channels = x.shape.as_ref().and_then(|shape| shape.last());
    let Some(channels) = channels.filter(|_| x.rank() > Some(1)) else {
        return Err(cx.invalid("it takes rows of channels"));
    };
    let vector = Fact::new(x.dtype, [channels.clone()]);
    for input in vectors {
        let fact = cx.optional(input).map(|known| known.fact);
        let fits = fact.is_none_or(|fact| {
            let shape = fact.shape.as_deref();
            shape.is_none_or(|shape| matches!(shape, [dim] if may_equal(dim, channels)))
        });
        if !fits {
            let problem = format!("input {input} is not a vector of {channels} floats");
            return Err(cx.invalid(problem));
        }
    }
    Ok(vector)
}

fn may_equal(a: &Dim, b: &Dim) -> bool {
    a.value().zip(b.value()).is_none_or(|(a, b)| a == b)
}

/// A group for each channel.
fn layout(node: &Node, x: &Tensor, vectors: &[&Tensor]) -> Result<Layout> {
    let channels = x.shape().last().copied().unwrap_or(0);
    if x.rank() < 2 || vectors.iter().any(|vector| vector.shape() != [channels]) {
        let shape = x.shape();
        let problem = format!("its parameters do not fit an input of shape {shape:?}");
        return Err(OpError::invalid(node, problem));
    }
    Ok(Layout {
        group: (0..x.len()).map(|index| index % channels).collect(),
        n_groups: channels,
        is_centered: true,
    })
}

impl Operator for Forward {
    fn schema(&self) -> Schema {
        FORWARD
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let vector = check(cx, 1..5)?;
        Activation::of(cx.node)?;
        let x = cx.input(0)?.fact.clone();
        let mut outputs = vec![x.into()];
        outputs.extend((0..4).map(|_| vector.clone().into()));
        Ok(outputs)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let activation = Activation::of(cx.node)?;
        let x = cx.input(0)?;
        let inputs: Vec<&Tensor> = (1..5).map(|index| cx.input(index)).collect::<Result<_>>()?;
        let layout = layout(cx.node, x, &inputs)?;
        let values = inputs.iter().map(|input| input.to_f64());
        let values: Vec<Vec<f64>> = values.collect::<Result<_, _>>()?;
        let (xs, epsilon) = (x.to_f64()?, epsilon(cx.node)?);
        let statistics = layout.statistics(&xs);
        let unit = layout.apply(&xs, &statistics, epsilon);
        let mut y = scaled(&unit, &values[0], &layout.group);
        add_bias(&mut y, &values[1], &layout.group);
        if let Some(residual) = cx.optional(RESIDUAL) {
            crate::pool::check_shape(cx.node, residual, x.shape())?;
            let residual = residual.to_f64()?;
            y.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
        }
        y.iter_mut().for_each(|y| *y = activation.apply(*y));
        let count = xs.len() / statistics.mean.len().max(1);
        let kept = kept_variances(cx.node, &statistics.variance, count)?;
        let momentum = f64::from(cx.node.float("momentum", 0.9)?);
        let blend = |(old, new): (&f64, &f64)| old * momentum + new * (1.0 - momentum);
        let next = |old: &[f64], new: &[f64]| old.iter().zip(new).map(blend).collect();
        let vector = |values: Vec<f64>| Tensor::from_f64(x.dtype(), [values.len()], values);
        Ok(vec![
            Tensor::from_f64(x.dtype(), x.shape(), y)?,
            vector(next(&values[2], &statistics.mean))?,
            vector(next(&values[3], &kept))?,
            vector(statistics.mean.clone())?,
            vector(statistics.inv_std(epsilon))?,
        ])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        if cx.output_grads.iter().skip(1).any(Option::is_some) {
            return Err(cx.not_differentiable("running statistics are taken to be constants"));
        }
        let activation = Activation::of(cx.node)?;
        let mut dy = cx.output_grad(0)?;
        let mut attributes = vec![("epsilon", Attr::Float(cx.node.float("epsilon", 1e-5)?))];
        let mut inputs = vec![Some(cx.input(0)?), Some(cx.input(1)?)];
        let has_residual = cx.node.input(RESIDUAL).is_some();
        if has_residual {
            // Both the residual and the normalization take the gradient behind the gate.
            dy = emit_gate(cx.builder, activation, [cx.output(0)?, dy])?;
        }
        inputs.push(Some(dy));
        inputs.extend(SAVED.map(|output| cx.node.output(output)));
        if activation != Activation::None && !has_residual {
            inputs.push(Some(cx.input(2)?));
            attributes.extend(activation.attributes());
        }
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let op = (SARDONYX, "BatchNormNhwcGrad");
        let grads = cx.builder.node(op, &inputs, &attributes, 3)?;
        let mut grads: Vec<Option<ValueId>> = grads.into_iter().map(Some).collect();
        grads.resize(cx.node.inputs.len(), None);
        if has_residual {
            grads[RESIDUAL] = Some(dy);
        }
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 7)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize]| {
            let channels = &x[x.len() - 1..];
            let made = Example::new(FORWARD, name).uniform(x, (-2.0, 2.0));
            let made = made
                .uniform(channels, (0.5, 1.5))
                .uniform(channels, (-1.0, 1.0));
            made.uniform(channels, (-0.5, 0.5))
                .uniform(channels, (0.5, 2.0))
                .grad_by(&[0, 1, 2])
        };
        let relu = |example: Example| example.attr("activation", "Relu");
        vec![
            example("of images", &[2, 3, 2, 5]),
            example("of rows", &[7, 3]).attr("epsilon", 0.01f32),
            relu(example("with ReLU", &[2, 2, 3, 4])),
            example("with clip", &[2, 2, 3, 4])
                .attr("activation", "Clip")
                .attr("alpha", -0.5f32)
                .attr("beta", 1.0f32),
            relu(example("with residual", &[2, 2, 3, 4]))
                .uniform(&[2, 2, 3, 4], (-1.0, 1.0))
                .grad_by(&[0, 1, 2, 5]),
            relu(example("with all outputs", &[3, 4, 2]))
                .attr("momentum", 0.7f32)
                .outputs(5)
                .no_grad("running statistics are taken to be constants"),
        ]
    }
}

impl Operator for Gradient {
    fn schema(&self) -> Schema {
        GRADIENT
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        check(cx, 1..2)?;
        let vector = check(cx, 3..6)?;
        let activation = Activation::of(cx.node)?;
        let has_bias = cx.optional(GRADIENT_BIAS).is_some();
        if !activation.is_gate() || (activation != Activation::None && !has_bias) {
            return Err(cx.invalid("its activation cannot be read off its value"));
        }
        let dx = cx.input(0)?.fact.clone();
        let vectors = [vector.clone().into(), vector.into()];
        let mut outputs = vec![dx.clone().into()];
        outputs.extend(vectors);
        outputs.push(dx.into());
        Ok(outputs)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, scale, dy) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        let layout = layout(cx.node, x, &[scale])?;
        crate::pool::check_shape(cx.node, dy, x.shape())?;
        let (xs, mut dys) = (x.to_f64()?, dy.to_f64()?);
        let statistics = layout.statistics(&xs);
        let (mut mean, mut inv_std) = (
            statistics.mean.clone(),
            statistics.inv_std(epsilon(cx.node)?),
        );
        for (slot, values) in [(3, &mut mean), (4, &mut inv_std)] {
            if let Some(saved) = cx.optional(slot) {
                self::layout(cx.node, x, &[saved])?;
                *values = saved.to_f64()?;
            }
        }
        let (group, scales) = (&layout.group, scale.to_f64()?);
        let unit = xs
            .iter()
            .zip(group)
            .map(|(x, &c)| (x - mean[c]) * inv_std[c]);
        let unit: Vec<f64> = unit.collect();
        let mut remade = scaled(&unit, &scales, group);
        if let Some(bias) = cx.optional(GRADIENT_BIAS) {
            self::layout(cx.node, x, &[bias])?;
            add_bias(&mut remade, &bias.to_f64()?, group);
            let activation = Activation::of(cx.node)?;
            for (dy, y) in dys.iter_mut().zip(&mut remade) {
                *y = activation.apply(*y);
                *dy *= activation.derivative_at_output(*y).unwrap_or(f64::NAN);
            }
        }
        let by_scale = dys.iter().zip(&unit).map(|(dy, unit)| dy * unit);
        let d_scale = sum_by(by_scale, group, layout.n_groups);
        let d_bias = sum_by(dys.iter().copied(), group, layout.n_groups);
        let rows = (xs.len() / layout.n_groups.max(1)) as f64;
        let elements = dys.iter().zip(&unit).zip(group);
        let dx = elements.map(|((dy, unit), &c)| {
            scales[c] * inv_std[c] * (dy - d_bias[c] / rows - unit * d_scale[c] / rows)
        });
        Ok(vec![
            Tensor::from_f64(x.dtype(), x.shape(), dx.collect())?,
            Tensor::from_f64(x.dtype(), scale.shape(), d_scale)?,
            Tensor::from_f64(x.dtype(), scale.shape(), d_bias)?,
            Tensor::from_f64(x.dtype(), x.shape(), remade)?,
        ])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("it is part of a gradient itself"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 10)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let made = Example::new(GRADIENT, name).uniform(&[6, 3], (-2.0, 2.0));
            let made = made.uniform(&[3], (0.5, 1.5)).uniform(&[6, 3], (-1.0, 1.0));
            made.uniform(&[3], (-0.1, 0.1))
                .uniform(&[3], (0.5, 1.0))
                .outputs(3)
                .no_grad("it is part of a gradient itself")
        };
        vec![
            example("by saved statistics"),
            example("behind an activation")
                .attr("activation", "LeakyRelu")
                .attr("alpha", 0.1f32)
                .uniform(&[3], (-1.0, 1.0))
                .outputs(4),
        ]
    }
}
