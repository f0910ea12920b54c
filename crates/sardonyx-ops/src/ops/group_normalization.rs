//! `GroupNormalization` (Wu and He, arXiv 1803.08494) and `InstanceNormalization` (Ulyanov, Vedaldi
//! and Lempitsky, arXiv 1607.08022), which is the former with a group for each channel. Since
//! operator set 21 scale and bias go by channel; in 18 they go by group.

use sardonyx_ir::{Attr, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::normalize::{Layout, add_bias, channel_of, gradients, scaled};
use crate::ops::batch_normalization::epsilon;
use crate::ops::conv::common_float;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&GroupNorm::Group, &GroupNormGrad, &GroupNorm::Instance];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupNorm {
    Group,
    Instance,
}

/// The number of groups of a node over `channels` channels.
fn n_groups(node: &Node, channels: usize) -> Result<usize> {
    if node.is("InstanceNormalization") {
        return Ok(channels);
    }
    let groups = node.int("num_groups", 0)?;
    let fits = |groups: &usize| *groups > 0 && channels.is_multiple_of(*groups);
    usize::try_from(groups).ok().filter(fits).ok_or_else(|| {
        let problem = format!("is {groups}, which does not divide {channels} channels");
        node.attribute_error("num_groups", &problem).into()
    })
}

/// Number of elements of scale and bias; `None` when both a group's and a channel's would do.
fn parameter_count(cx_opset: i64, node: &Node, channels: usize) -> Result<Option<usize>> {
    Ok(match node.op_type.as_str() {
        "GroupNormalization" if cx_opset < 21 => Some(n_groups(node, channels)?),
        "GroupNormalizationGrad" => None,
        _ => Some(channels),
    })
}

/// Groups and parameters of the elements of an input of shape `shape`.
fn layout(node: &Node, shape: &[usize], n_parameters: usize) -> Result<(Layout, Vec<usize>)> {
    let &[_, channels, ref inner @ ..] = shape else {
        return Err(OpError::invalid(
            node,
            format!("shape {shape:?} has no axis of channels"),
        ));
    };
    let groups = n_groups(node, channels)?;
    let mut parameter = channel_of(shape);
    if n_parameters == groups {
        let per_group = (channels / groups.max(1)).max(1);
        parameter
            .iter_mut()
            .for_each(|channel| *channel /= per_group);
    } else if n_parameters != channels {
        let problem = format!("{n_parameters} scales do not fit {groups} groups of {channels}");
        return Err(OpError::invalid(node, problem));
    }
    let len = inner.iter().product::<usize>() * channels.checked_div(groups).unwrap_or(0);
    Ok((Layout::rows(shape.iter().product(), len, true), parameter))
}

fn check(cx: &InferCx<'_>, parameters: std::ops::Range<usize>) -> Result<()> {
    common_float(cx)?;
    let Some(shape) = cx.shape(0)? else {
        return Ok(());
    };
    let [_, channels, ..] = shape else {
        return Err(cx.invalid("its input has no axis of channels"));
    };
    let Some(channels) = channels.value() else {
        return Ok(());
    };
    n_groups(cx.node, channels)?;
    let expected = parameter_count(cx.opset, cx.node, channels)?;
    for input in parameters {
        let fact = cx.input(input)?.fact;
        let fits = fact.shape.as_deref().is_none_or(|shape| match shape {
            [dim] => dim.value().zip(expected).is_none_or(|(a, b)| a == b),
            _ => false,
        });
        if !fits {
            return Err(cx.invalid(format!("input {input}, {fact}, does not fit the channels")));
        }
    }
    Ok(())
}

impl Operator for GroupNorm {
    fn schema(&self) -> Schema {
        match self {
            GroupNorm::Group => Schema::standard("GroupNormalization", 18, 3),
            GroupNorm::Instance => Schema::standard("InstanceNormalization", 6, 3),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        check(cx, 1..3)?;
        Ok(vec![cx.input(0)?.fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, scale, bias) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        let channels = x.shape().get(1).copied().unwrap_or(0);
        let expected = parameter_count(cx.opset, cx.node, channels)?;
        if scale.shape() != bias.shape() || expected.is_some_and(|n| scale.shape() != [n]) {
            let problem = format!("scale and bias do not fit an input of {:?}", x.shape());
            return Err(cx.invalid(problem));
        }
        let (layout, parameter) = layout(cx.node, x.shape(), scale.len())?;
        let xs = x.to_f64()?;
        let unit = layout.apply(&xs, &layout.statistics(&xs), epsilon(cx.node)?);
        let mut y = scaled(&unit, &scale.to_f64()?, &parameter);
        add_bias(&mut y, &bias.to_f64()?, &parameter);
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), y)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, scale, dy) = (cx.input(0)?, cx.input(1)?, cx.output_grad(0)?);
        let groups = match self {
            GroupNorm::Group => cx.node.int("num_groups", 0)?,
            GroupNorm::Instance => {
                let channels = cx
                    .builder
                    .shape(x)?
                    .get(1)
                    .and_then(sardonyx_ir::Dim::value);
                let symbolic = "its number of channels is unknown";
                channels.ok_or_else(|| cx.not_differentiable(symbolic))? as i64
            }
        };
        let attributes = [
            ("num_groups", Attr::Int(groups)),
            ("epsilon", Attr::Float(cx.node.float("epsilon", 1e-5)?)),
        ];
        let inputs = [Some(x), Some(scale), Some(dy)];
        let op = (sardonyx_ir::SARDONYX, "GroupNormalizationGrad");
        let grads = cx.builder.node(op, &inputs, &attributes, 3)?;
        Ok(grads.into_iter().map(Some).collect())
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 8)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize], parameters: usize| {
            let made = Example::new(self.schema(), name).uniform(x, (-2.0, 2.0));
            made.uniform(&[parameters], (0.5, 1.5))
                .uniform(&[parameters], (-1.0, 1.0))
        };
        match self {
            GroupNorm::Instance => vec![
                example("of images", &[2, 3, 3, 2], 3),
                example("of sequences", &[2, 2, 5], 2).attr("epsilon", 0.1f32),
                example("of no sample", &[0, 2, 5], 2),
            ],
            GroupNorm::Group => vec![
                example("of images", &[2, 4, 3, 2], 4).attr("num_groups", 2i64),
                example("in one group", &[2, 3, 4], 3)
                    .attr("num_groups", 1i64)
                    .attr("epsilon", 0.1f32),
                example("of old, scaled by group", &[2, 6, 2], 3)
                    .attr("num_groups", 3i64)
                    .opset(18),
            ],
        }
    }
}

/// `GroupNormalizationGrad(x, scale, dy)` gives `dx`, `dscale` and `dbias`; attributes
/// `num_groups` and `epsilon`. The scale goes by channel or by group, as its length says.
#[derive(Debug)]
struct GroupNormGrad;

impl GroupNormGrad {
    const SCHEMA: Schema = Schema::own("GroupNormalizationGrad", 3).outputs(3);
}

impl Operator for GroupNormGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        check(cx, 1..2)?;
        let (x, scale) = (cx.input(0)?.fact, cx.input(1)?.fact);
        Ok([x, scale, scale]
            .into_iter()
            .map(|fact| fact.clone().into())
            .collect())
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, scale, dy) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        crate::pool::check_shape(cx.node, dy, x.shape())?;
        let (layout, parameter) = layout(cx.node, x.shape(), scale.len())?;
        gradients(&layout, &parameter, [x, scale, dy], epsilon(cx.node)?)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 14)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "of sequences")
            .uniform(&[2, 4, 3], (-2.0, 2.0))
            .uniform(&[4], (0.5, 1.5))
            .uniform(&[2, 4, 3], (-1.0, 1.0))
            .attr("num_groups", 2i64)
            .outputs(3);
        vec![example.no_grad("second derivatives are not supported")]
    }
}
