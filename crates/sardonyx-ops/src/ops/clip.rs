//! `Clip`: limits elements to an interval. The bounds come as attributes (before operator set 11)
//! or as optional inputs.

use sardonyx_ir::{Attr, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::reference::{from_i64, map_float};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, element_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Clip, &ClipGrad];

#[derive(Debug)]
struct Clip;

const SCHEMA: Schema = Schema::standard("Clip", 6, 1).inputs(1, 3);

/// Checks that the bounds are scalars of the input's type.
fn check_bounds(cx: &InferCx<'_>, first: usize) -> Result<()> {
    let dtype = cx.dtype(0)?;
    for bound in [first, first + 1]
        .into_iter()
        .filter_map(|index| cx.optional(index))
    {
        let one = bound
            .fact
            .fixed_shape()
            .is_none_or(|s| s.iter().product::<usize>() == 1);
        if bound.fact.dtype != dtype || !one {
            let problem = format!("its bound {} is not a scalar of {dtype}", bound.fact);
            return Err(cx.invalid(problem));
        }
    }
    Ok(())
}

/// The bounds of a float node: inputs `first` and `first + 1`, or the attributes.
fn bounds(cx: &EvalCx<'_>, first: usize) -> Result<[f64; 2]> {
    let bound = |index: usize, name: &str, default: f32| -> Result<f64> {
        match cx.optional(index) {
            None if cx.node.attributes.contains_key(name) => {
                Ok(f64::from(cx.node.float(name, default)?))
            }
            None => Ok(f64::from(default)),
            Some(tensor) => match tensor.to_f64()?[..] {
                [bound] => Ok(bound),
                _ => Err(cx.invalid(format!("its bound `{name}` is not a scalar"))),
            },
        }
    };
    let low = bound(first, "min", f32::NEG_INFINITY)?;
    Ok([low, bound(first + 1, "max", f32::INFINITY)?])
}

/// Limits `x`, first from below; a NaN stays.
fn limit<T: PartialOrd>(x: T, low: T, high: T) -> T {
    let raised = if x < low { low } else { x };
    if raised > high { high } else { raised }
}

/// The bounds that a node has as attributes.
fn attributes(node: &Node) -> Vec<(&str, Attr)> {
    let attributes = node.attributes.iter();
    attributes
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect()
}

impl Operator for Clip {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let fact = cx.input(0)?.fact;
        if !fact.dtype.is_float() && !fact.dtype.is_integer() {
            return Err(cx.invalid(format!("it does not take {}", fact.dtype)));
        }
        check_bounds(cx, 1)?;
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        if x.dtype().is_float() {
            let [low, high] = bounds(cx, 1)?;
            return Ok(vec![map_float(x, |x| limit(x, low, high))?]);
        }
        let bound = |index: usize| -> Result<Option<i64>> {
            Ok(cx.ints(index)?.and_then(|values| values.first().copied()))
        };
        // The widest unsigned type is compared as such: its values do not all fit into `i64`.
        let is_wide = x.dtype() == sardonyx_tensor::DType::U64;
        let key = |x: i64| {
            if is_wide {
                i128::from(x as u64)
            } else {
                i128::from(x)
            }
        };
        let low = bound(1)?.map_or(i128::MIN, key);
        let high = bound(2)?.map_or(i128::MAX, key);
        let values = x
            .to_i64()?
            .into_iter()
            .map(|x| limit(key(x), low, high) as i64);
        Ok(vec![from_i64(x.dtype(), x.shape(), values.collect())?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        if cx.wants(1) || cx.wants(2) {
            return Err(cx.not_differentiable("its bounds are taken to be constants"));
        }
        let node = cx.node;
        let mut inputs = vec![Some(cx.input(0)?), Some(cx.output_grad(0)?)];
        inputs.extend(node.inputs.iter().skip(1));
        let op = (sardonyx_ir::SARDONYX, "ClipGrad");
        let mut grads = vec![None; node.inputs.len()];
        grads[0] = Some(cx.builder.node(op, &inputs, &attributes(node), 1)?[0]);
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 2)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(SCHEMA, name).distinct(&[5, 7]).grad_by(&[0]);
        let integers = |name: &str| {
            let made = Example::new(SCHEMA, name).values(&[4], vec![-5i32, 0, 3, 9]);
            made.no_grad("integers have no gradient")
        };
        vec![
            example("between two bounds")
                .values(&[], vec![-0.5f32])
                .values(&[], vec![1.0f32]),
            example("from below").values(&[], vec![-0.5f32]),
            example("from above").absent().values(&[], vec![0.5f32]),
            example("without bounds"),
            example("with the bounds crossed")
                .values(&[], vec![1.0f32])
                .values(&[], vec![-1.0f32]),
            example("of old")
                .attr("min", 0.0f32)
                .attr("max", 1.5f32)
                .opset(10),
            integers("of integers")
                .values(&[], vec![-1i32])
                .values(&[], vec![4i32]),
            integers("of integers from above")
                .absent()
                .values(&[], vec![4i32]),
        ]
    }
}

/// `ClipGrad(x, dy, min?, max?)` gives `dy` where `x` lies strictly between the bounds and zero
/// elsewhere, as the gradients of PyTorch's `relu6` and `hardtanh` and TensorFlow's `relu6` do,
/// and as `Relu` does at zero; it carries the attributes of `Clip`.
#[derive(Debug)]
struct ClipGrad;

impl ClipGrad {
    const SCHEMA: Schema = Schema::own("ClipGrad", 2).inputs(2, 4);
}

impl Operator for ClipGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        crate::ops::conv::common_float(cx)?;
        check_bounds(cx, 2)?;
        Ok(vec![cx.input(0)?.fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, dy) = (cx.input(0)?, cx.input(1)?);
        crate::pool::check_shape(cx.node, dy, x.shape())?;
        let [low, high] = bounds(cx, 2)?;
        let pairs = x.to_f64()?.into_iter().zip(dy.to_f64()?);
        let inside = |(x, dy): (f64, f64)| if x > low && x < high { dy } else { 0.0 };
        let values = pairs.map(inside).collect();
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 2)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "at its bounds")
            .values(&[3], vec![0.0f32, 6.0, 6.5])
            .uniform(&[3], (0.5, 1.0))
            .values(&[], vec![0.0f32])
            .values(&[], vec![6.0f32]);
        vec![example.no_grad("second derivatives are not supported")]
    }
}
