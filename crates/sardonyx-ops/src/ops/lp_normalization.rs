//! `LpNormalization` and `MeanVarianceNormalization`: elements divided by a norm, or shifted and
//! divided to mean zero and variance one, along given axes. Neither has parameters, and their
//! gradients are made of standard operators.

use sardonyx_ir::{Attr, Node, ValueId};
use sardonyx_tensor::{Tensor, strides, unravel};

use crate::normalize::Layout;
use crate::ops::conv::common_float;
use crate::ops::softmax::Lanes;
use crate::{
    Builder, EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index,
    element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&LpNormalization, &MeanVarianceNormalization];

#[derive(Debug)]
struct LpNormalization;

const LP_SCHEMA: Schema = Schema::standard("LpNormalization", 1, 1);

/// The order of the norm, 1 or 2.
fn order(node: &Node) -> Result<i64> {
    match node.int("p", 2)? {
        p @ (1 | 2) => Ok(p),
        _ => Err(node.attribute_error("p", "must be 1 or 2").into()),
    }
}

impl Operator for LpNormalization {
    fn schema(&self) -> Schema {
        LP_SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        order(cx.node)?;
        let fact = cx.input(0)?.fact;
        if let Some(rank) = fact.rank() {
            axis_index(cx.node, cx.node.int("axis", -1)?, rank)?;
        }
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, p) = (cx.input(0)?, order(cx.node)?);
        let axis = axis_index(cx.node, cx.node.int("axis", -1)?, x.rank())?;
        let mut values = x.to_f64()?;
        for lane in Lanes::along(x.shape(), axis).iter() {
            let norm = match p {
                1 => lane.clone().map(|at| values[at].abs()).sum::<f64>(),
                _ => lane
                    .clone()
                    .map(|at| values[at].powi(2))
                    .sum::<f64>()
                    .sqrt(),
            };
            // A lane of zeros stays one.
            if norm != 0.0 {
                lane.for_each(|at| values[at] /= norm);
            }
        }
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, y, dy) = (cx.input(0)?, cx.output(0)?, cx.output_grad(0)?);
        let p = order(cx.node)?;
        let axes = [cx.node.int("axis", -1)?];
        let builder = &mut *cx.builder;
        let norm = if p == 1 { "ReduceL1" } else { "ReduceL2" };
        let norm = reduce(builder, norm, x, &axes)?;
        let direction = if p == 1 {
            builder.op("Sign", &[x], &[])?
        } else {
            y
        };
        let product = builder.op("Mul", &[dy, y], &[])?;
        let along = reduce(builder, "ReduceSum", product, &axes)?;
        let lost = builder.op("Mul", &[direction, along], &[])?;
        let rest = builder.op("Sub", &[dy, lost], &[])?;
        Ok(vec![Some(builder.op("Div", &[rest, norm], &[])?)])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 3)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(LP_SCHEMA, name).distinct(&[2, 3, 4]);
        vec![
            example("of length one"),
            example("of sum one").attr("p", 1i64).attr("axis", 1i64),
            example("along the first axis").attr("axis", 0i64),
            Example::new(LP_SCHEMA, "of zeros")
                .values(&[2], vec![0.0f32; 2])
                .no_grad("a norm of zero has a kink"),
        ]
    }
}

/// A reduction that keeps the axes.
fn reduce(builder: &mut Builder<'_>, op: &str, x: ValueId, axes: &[i64]) -> Result<ValueId> {
    let axes = builder.ints(axes);
    builder.op(op, &[x, axes], &[("keepdims", Attr::Int(1))])
}

#[derive(Debug)]
struct MeanVarianceNormalization;

const MVN_SCHEMA: Schema = Schema::standard("MeanVarianceNormalization", 9, 1);

/// What is added to the standard deviation, by the operator's definition as a function.
const MVN_EPSILON: f64 = 1e-9;

/// The axes along which the moments are taken.
fn moment_axes(node: &Node, rank: usize) -> Result<Vec<usize>> {
    let axes = node.ints("axes")?.unwrap_or(&[0, 2, 3]);
    axes.iter()
        .map(|&axis| axis_index(node, axis, rank))
        .collect()
}

impl Operator for MeanVarianceNormalization {
    fn schema(&self) -> Schema {
        MVN_SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        let fact = cx.input(0)?.fact;
        if let Some(rank) = fact.rank() {
            moment_axes(cx.node, rank)?;
        }
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let axes = moment_axes(cx.node, x.rank())?;
        let mut kept = x.shape().to_vec();
        axes.iter().for_each(|&axis| kept[axis] = 1);
        let steps = strides(&kept);
        let mut coords = vec![0; x.rank()];
        let group = |index| {
            unravel(index, x.shape(), &mut coords);
            let kept = coords.iter().zip(&steps).enumerate();
            kept.filter(|(axis, _)| !axes.contains(axis))
                .map(|(_, (c, s))| c * s)
                .sum()
        };
        let layout = Layout {
            group: (0..x.len()).map(group).collect(),
            n_groups: kept.iter().product(),
            is_centered: true,
        };
        let values = x.to_f64()?;
        let moments = layout.statistics(&values);
        let unit = |(x, &group): (&f64, &usize)| {
            (x - moments.mean[group]) / (moments.variance[group].sqrt() + MVN_EPSILON)
        };
        let y = values.iter().zip(&layout.group).map(unit).collect();
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), y)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
        let rank = cx.builder.shape(x)?.len();
        let axes: Vec<i64> = moment_axes(cx.node, rank)?
            .into_iter()
            .map(|axis| axis as i64)
            .collect();
        let builder = &mut *cx.builder;
        let mean = reduce(builder, "ReduceMean", x, &axes)?;
        let centered = builder.op("Sub", &[x, mean], &[])?;
        let square = builder.op("Mul", &[centered, centered], &[])?;
        let variance = reduce(builder, "ReduceMean", square, &axes)?;
        let std = builder.op("Sqrt", &[variance], &[])?;
        let epsilon = builder.scalar_like(std, MVN_EPSILON)?;
        let divisor = builder.op("Add", &[std, epsilon], &[])?;
        let share = builder.op("Div", &[dy, divisor], &[])?;
        let share_mean = reduce(builder, "ReduceMean", share, &axes)?;
        let product = builder.op("Mul", &[share, centered], &[])?;
        let slope = reduce(builder, "ReduceMean", product, &axes)?;
        let scale = builder.op("Mul", &[std, divisor], &[])?;
        let slope = builder.op("Div", &[slope, scale], &[])?;
        let lost = builder.op("Mul", &[centered, slope], &[])?;
        let shifted = builder.op("Sub", &[share, share_mean], &[])?;
        Ok(vec![Some(builder.op("Sub", &[shifted, lost], &[])?)])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 6)
    }

    fn examples(&self) -> Vec<Example> {
        let example =
            |name: &str, x: &[usize]| Example::new(MVN_SCHEMA, name).uniform(x, (-2.0, 2.0));
        vec![
            example("of images", &[2, 3, 2, 2]),
            example("of rows", &[3, 5]).attr("axes", vec![-1i64]),
            example("of no sample", &[0, 3]).attr("axes", vec![1i64]),
        ]
    }
}
