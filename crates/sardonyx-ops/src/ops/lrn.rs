//! `LRN`, local response normalisation (Krizhevsky, Sutskever and Hinton, NIPS 2012): each element
//! is divided by a power of the sum of squares over neighbouring channels.

use std::ops::RangeInclusive;

use sardonyx_ir::{Attr, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::ops::conv::common_float;
use crate::ops::softmax::Lanes;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Lrn, &LrnGrad];

#[derive(Debug)]
struct Lrn;

const SCHEMA: Schema = Schema::standard("LRN", 1, 1);

/// `base = bias + alpha / size * sum of squares`, `y = x / base^beta`.
struct Response {
    /// `alpha / size`.
    slope: f64,
    beta: f64,
    bias: f64,
    before: usize,
    after: usize,
}

impl Response {
    fn read(node: &Node) -> Result<Response> {
        let size = usize::try_from(node.int("size", 0)?).unwrap_or(0);
        if size == 0 {
            return Err(node.attribute_error("size", "must be above zero").into());
        }
        Ok(Response {
            slope: f64::from(node.float("alpha", 1e-4)?) / size as f64,
            beta: f64::from(node.float("beta", 0.75)?),
            bias: f64::from(node.float("bias", 1.0)?),
            before: (size - 1) / 2,
            after: size / 2,
        })
    }

    /// Channels that channel `channel` of `channels` sees.
    fn window(&self, channel: usize, channels: usize) -> RangeInclusive<usize> {
        channel.saturating_sub(self.before)..=channel.saturating_add(self.after).min(channels - 1)
    }

    /// The base of each element of a column of channels.
    fn bases(&self, column: &[f64]) -> Vec<f64> {
        let base = |channel| {
            let seen = &column[self.window(channel, column.len())];
            self.bias + self.slope * seen.iter().map(|x| x * x).sum::<f64>()
        };
        (0..column.len()).map(base).collect()
    }
}

/// The columns of channels of a tensor.
fn columns(node: &Node, shape: &[usize]) -> Result<Lanes> {
    if shape.len() < 2 {
        return Err(OpError::invalid(
            node,
            format!("shape {shape:?} has no axis of channels"),
        ));
    }
    Ok(Lanes::along(shape, 1))
}

fn infer(cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
    common_float(cx)?;
    Response::read(cx.node)?;
    let fact = cx.input(0)?.fact;
    if fact.rank().is_some_and(|rank| rank < 2) {
        return Err(cx.invalid(format!("{fact} has no axis of channels")));
    }
    Ok(vec![fact.clone().into()])
}

impl Operator for Lrn {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        infer(cx)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, response) = (cx.input(0)?, Response::read(cx.node)?);
        let values = x.to_f64()?;
        let mut y = vec![0.0; values.len()];
        for lane in columns(cx.node, x.shape())?.iter() {
            let column: Vec<f64> = lane.clone().map(|at| values[at]).collect();
            for (at, base) in lane.zip(response.bases(&column)) {
                y[at] = values[at] * base.powf(-response.beta);
            }
        }
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), y)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
        let attributes = cx.node.attributes.iter();
        let attributes: Vec<(&str, Attr)> = attributes
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        Ok(vec![Some(cx.builder.own(
            "LRNGrad",
            &[x, dy],
            &attributes,
        )?)])
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        let size = u64::try_from(cx.node.int("size", 0).ok()?).ok()?;
        element_flops(outputs, size.saturating_add(10))
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize], size: i64| {
            let made = Example::new(SCHEMA, name).uniform(x, (-2.0, 2.0));
            made.attr("size", size).attr("alpha", 0.3f32)
        };
        vec![
            example("of images", &[2, 5, 2, 2], 3),
            example("of an even window", &[1, 6, 3], 4)
                .attr("beta", 0.5f32)
                .attr("bias", 2.0f32),
            example("of a window wider than the channels", &[2, 3], 9),
            example("of no sample", &[0, 3, 2], 3),
        ]
    }
}

/// `LRNGrad(x, dy)` gives `dx`; it carries the attributes of `LRN`.
#[derive(Debug)]
struct LrnGrad;

impl LrnGrad {
    const SCHEMA: Schema = Schema::own("LRNGrad", 2);
}

impl Operator for LrnGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        infer(cx)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, dy, response) = (cx.input(0)?, cx.input(1)?, Response::read(cx.node)?);
        crate::pool::check_shape(cx.node, dy, x.shape())?;
        let (values, dys) = (x.to_f64()?, dy.to_f64()?);
        let mut dx = vec![0.0; values.len()];
        for lane in columns(cx.node, x.shape())?.iter() {
            let offsets: Vec<usize> = lane.collect();
            let column: Vec<f64> = offsets.iter().map(|&at| values[at]).collect();
            for (channel, base) in response.bases(&column).into_iter().enumerate() {
                let (at, power) = (offsets[channel], base.powf(-response.beta));
                dx[at] += dys[at] * power;
                let share = 2.0 * response.slope * response.beta * dys[at] * values[at];
                for seen in response.window(channel, column.len()) {
                    dx[offsets[seen]] -= share * power / base * column[seen];
                }
            }
        }
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), dx)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        let size = u64::try_from(cx.node.int("size", 0).ok()?).ok()?;
        element_flops(outputs, size.saturating_mul(3).saturating_add(15))
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "of images")
            .uniform(&[1, 4, 2, 2], (-2.0, 2.0))
            .uniform(&[1, 4, 2, 2], (-1.0, 1.0))
            .attr("size", 3i64);
        vec![example.no_grad("second derivatives are not supported")]
    }
}
