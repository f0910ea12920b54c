//! `LayerNormalization` (Ba, Kiros and Hinton, arXiv 1607.06450) and `RMSNormalization` (Zhang and
//! Sennrich, arXiv 1910.07467): each row, which is all axes from `axis` on, is normalised by
//! itself.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::normalize::{Layout, add_bias, broadcast_parameter, gradients, scaled};
use crate::ops::batch_normalization::epsilon;
use crate::ops::binary::broadcast;
use crate::ops::conv::common_float;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &RowNorm::Layer,
    &RowNormGrad(RowNorm::Layer),
    &RowNorm::Rms,
    &RowNormGrad(RowNorm::Rms),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowNorm {
    Layer,
    Rms,
}

impl RowNorm {
    fn layout(self, node: &Node, shape: &[usize]) -> Result<Layout> {
        let axis = axis_index(node, node.int("axis", -1)?, shape.len())?;
        let len = shape[axis..].iter().product();
        Ok(Layout::rows(
            shape.iter().product(),
            len,
            self == RowNorm::Layer,
        ))
    }
}

/// Element type of the statistics that `LayerNormalization` gives.
fn stash_type(node: &Node) -> Result<DType> {
    match node.int("stash_type", 1)? {
        1 => Ok(DType::F32),
        11 => Ok(DType::F64),
        16 => Ok(DType::Bf16),
        other => {
            let problem = format!("{other} is not the number of a float type for statistics");
            Err(node.attribute_error("stash_type", &problem).into())
        }
    }
}

/// Checks that a parameter can be broadcast to the input without making it larger.
fn check_parameter(cx: &InferCx<'_>, input: usize) -> Result<()> {
    let (Some(shape), Some(known)) = (cx.shape(0)?, cx.optional(input)) else {
        return Ok(());
    };
    let Some(parameter) = &known.fact.shape else {
        return Ok(());
    };
    let differs = |(a, b): (&Dim, &Dim)| a.value().zip(b.value()).is_some_and(|(a, b)| a != b);
    let sum = broadcast(cx, shape, parameter)?;
    if sum.len() != shape.len() || sum.iter().zip(shape).any(differs) {
        let problem = format!("input {input}, {}, is too large", known.fact);
        return Err(cx.invalid(problem));
    }
    Ok(())
}

/// The axis of a node over an input of known rank.
fn axis(cx: &InferCx<'_>) -> Result<Option<usize>> {
    let axis = cx.node.int("axis", -1)?;
    cx.shape(0)?
        .map(|shape| axis_index(cx.node, axis, shape.len()))
        .transpose()
}

impl Operator for RowNorm {
    fn schema(&self) -> Schema {
        match self {
            RowNorm::Layer => Schema::standard("LayerNormalization", 17, 2)
                .inputs(2, 3)
                .outputs(3),
            RowNorm::Rms => Schema::standard("RMSNormalization", 23, 2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let x = cx.input(0)?.fact;
        if *self == RowNorm::Layer {
            common_float(cx)?;
        }
        let dtype = cx.dtype(1)?;
        if !x.dtype.is_float() || !dtype.is_float() {
            return Err(cx.invalid(format!("it does not take {} and {dtype}", x.dtype)));
        }
        check_parameter(cx, 1)?;
        check_parameter(cx, 2)?;
        let stash = stash_type(cx.node)?;
        let axis = axis(cx)?;
        let y = Fact {
            dtype,
            shape: x.shape.clone(),
        };
        let mut outputs = vec![y.into()];
        if *self == RowNorm::Layer {
            let shape = x.shape.as_ref().zip(axis).map(|(shape, axis)| {
                let kept = |(index, dim): (usize, &Dim)| {
                    if index < axis {
                        dim.clone()
                    } else {
                        Dim::known(1)
                    }
                };
                shape.iter().enumerate().map(kept).collect()
            });
            let statistics = Fact {
                dtype: stash,
                shape,
            };
            outputs.extend([statistics.clone().into(), statistics.into()]);
        }
        Ok(outputs)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, scale) = (cx.input(0)?, cx.input(1)?);
        let shape = x.shape();
        let layout = self.layout(cx.node, shape)?;
        let (xs, epsilon) = (x.to_f64()?, epsilon(cx.node)?);
        let statistics = layout.statistics(&xs);
        let parameter = broadcast_parameter(cx, scale.shape(), shape)?;
        let unit = layout.apply(&xs, &statistics, epsilon);
        let mut y = scaled(&unit, &scale.to_f64()?, &parameter);
        if let Some(bias) = cx.optional(2) {
            let parameter = broadcast_parameter(cx, bias.shape(), shape)?;
            add_bias(&mut y, &bias.to_f64()?, &parameter);
        }
        let mut outputs = vec![Tensor::from_f64(scale.dtype(), shape, y)?];
        if *self == RowNorm::Layer {
            let axis = axis_index(cx.node, cx.node.int("axis", -1)?, shape.len())?;
            let mut kept = shape.to_vec();
            kept[axis..].fill(1);
            let inv_std = statistics.inv_std(epsilon);
            // Rows without elements have no statistics; zeros keep the outputs' shape.
            let rows: usize = kept.iter().product();
            for mut values in [statistics.mean, inv_std] {
                values.resize(rows, 0.0);
                outputs.push(Tensor::from_f64(
                    stash_type(cx.node)?,
                    kept.clone(),
                    values,
                )?);
            }
        }
        Ok(outputs)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        if cx.output_grads.iter().skip(1).any(Option::is_some) {
            return Err(cx.not_differentiable("its statistics are taken to be constants"));
        }
        let (x, scale, dy) = (cx.input(0)?, cx.input(1)?, cx.output_grad(0)?);
        let attributes = [
            ("axis", Attr::Int(cx.node.int("axis", -1)?)),
            ("epsilon", Attr::Float(cx.node.float("epsilon", 1e-5)?)),
        ];
        let schema = RowNormGrad(*self).schema();
        let (op, inputs) = (
            (schema.domain, schema.name),
            [Some(x), Some(scale), Some(dy)],
        );
        let made = cx
            .builder
            .node(op, &inputs, &attributes, schema.max_outputs)?;
        let mut grads = vec![Some(made[0]), Some(made[1])];
        if let Some(bias) = cx.node.input(2) {
            let same = cx.builder.shape(bias)? == cx.builder.shape(scale)?;
            grads.push(match same {
                true => Some(made[2]),
                false => Some(cx.builder.unbroadcast(dy, bias)?),
            });
        }
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 8)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize], scale: &[usize]| {
            let made = Example::new(self.schema(), name).uniform(x, (-2.0, 2.0));
            made.uniform(scale, (0.5, 1.5))
        };
        let mut examples = vec![
            example("of the last axis", &[2, 3, 5], &[5]),
            example("of two axes", &[2, 3, 4], &[3, 4])
                .attr("axis", 1i64)
                .attr("epsilon", 0.1f32),
            example("of all axes, scaled as one", &[2, 3], &[1]).attr("axis", -2i64),
            example("of no row", &[0, 3], &[3]),
            example("of empty rows", &[2, 0], &[0]),
        ];
        if *self == RowNorm::Layer {
            let biased = |name: &str| {
                let made = example(name, &[2, 3, 4], &[3, 4]).uniform(&[3, 4], (-1.0, 1.0));
                made.attr("axis", -2i64)
            };
            examples.extend([
                biased("with a bias"),
                example("with a bias of another shape", &[2, 3, 4], &[4])
                    .uniform(&[3, 1], (-1.0, 1.0))
                    .attr("axis", 1i64),
                biased("with its statistics")
                    .outputs(3)
                    .no_grad("its statistics are taken to be constants"),
            ]);
        }
        examples
    }
}

/// `LayerNormalizationGrad(x, scale, dy)` gives `dx`, `dscale` and the gradient by a bias of the
/// scale's shape; `RMSNormalizationGrad(x, scale, dy)` gives the first two. Attributes `axis` and
/// `epsilon`.
#[derive(Debug)]
struct RowNormGrad(RowNorm);

impl Operator for RowNormGrad {
    fn schema(&self) -> Schema {
        match self.0 {
            RowNorm::Layer => Schema::own("LayerNormalizationGrad", 3).outputs(3),
            RowNorm::Rms => Schema::own("RMSNormalizationGrad", 3).outputs(2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        axis(cx)?;
        check_parameter(cx, 1)?;
        let (x, scale) = (cx.input(0)?.fact, cx.input(1)?.fact);
        let facts = [x, scale, scale]
            .into_iter()
            .take(self.schema().max_outputs);
        Ok(facts.map(|fact| fact.clone().into()).collect())
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, scale, dy) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        crate::pool::check_shape(cx.node, dy, x.shape())?;
        let layout = self.0.layout(cx.node, x.shape())?;
        let parameter = broadcast_parameter(cx, scale.shape(), x.shape())?;
        let mut grads = gradients(&layout, &parameter, [x, scale, dy], epsilon(cx.node)?)?;
        grads.truncate(self.schema().max_outputs);
        Ok(grads)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 14)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(self.schema(), "of the last axis")
            .uniform(&[2, 3, 5], (-2.0, 2.0))
            .uniform(&[5], (0.5, 1.5))
            .uniform(&[2, 3, 5], (-1.0, 1.0))
            .outputs(self.schema().max_outputs);
        vec![example.no_grad("second derivatives are not supported")]
    }
}
