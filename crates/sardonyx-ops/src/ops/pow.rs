//! `Pow`, which alone among the elementwise operators takes two element types: the result is of
//! the base's, whatever the exponent's.

use sardonyx_ir::{Fact, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::ops::binary::broadcast_dims;
use crate::reference::{broadcast_pairs, from_i64};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, element_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Pow, &PowGrad];

#[derive(Debug)]
struct Pow;

const SCHEMA: Schema = Schema::standard("Pow", 7, 2);

fn is_number(dtype: DType) -> bool {
    dtype.is_float() || dtype.is_integer()
}

/// An integer power of an integer, wrapping; a negative exponent goes through floats.
fn integer_power(base: i64, exponent: i64) -> i64 {
    match u32::try_from(exponent) {
        Ok(exponent) => base.wrapping_pow(exponent),
        Err(_) => (base as f64).powf(exponent as f64) as i64,
    }
}

impl Operator for Pow {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let (dtype, exponent) = (cx.dtype(0)?, cx.dtype(1)?);
        if !is_number(dtype) || !is_number(exponent) {
            return Err(cx.invalid(format!("it does not raise {dtype} to {exponent}")));
        }
        Ok(vec![
            Fact {
                dtype,
                shape: broadcast_dims(cx)?,
            }
            .into(),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (a, b) = (cx.input(0)?, cx.input(1)?);
        if a.dtype().is_integer() && b.dtype().is_integer() {
            let (x, y, mut values) = (a.to_i64()?, b.to_i64()?, Vec::new());
            let shape = broadcast_pairs(a.shape(), b.shape(), |i, j| {
                values.push(integer_power(x[i], y[j]));
            })?;
            return Ok(vec![from_i64(a.dtype(), &shape, values)?]);
        }
        let (x, y, mut values) = (a.to_f64()?, b.to_f64()?, Vec::new());
        let shape = broadcast_pairs(a.shape(), b.shape(), |i, j| values.push(x[i].powf(y[j])))?;
        if a.dtype().is_float() {
            return Ok(vec![Tensor::from_f64(a.dtype(), shape, values)?]);
        }
        let values = values.into_iter().map(|value| value as i64).collect();
        Ok(vec![from_i64(a.dtype(), &shape, values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (a, b, dy) = (cx.input(0)?, cx.input(1)?, cx.output_grad(0)?);
        let exponent = cx.builder.constant(b).filter(|tensor| tensor.len() == 1);
        let exponent = exponent.map(Tensor::to_f64).transpose()?;
        if let (Some([exponent]), false) = (exponent.as_deref(), cx.wants(1)) {
            let da = constant_exponent(cx, dy, *exponent)?;
            return Ok(vec![Some(cx.builder.unbroadcast(da, a)?), None]);
        }
        if cx.wants(1) && cx.builder.dtype(b)? != cx.builder.dtype(a)? {
            let problem = "its exponent is of another type than its base";
            return Err(cx.not_differentiable(problem));
        }
        let op = (sardonyx_ir::SARDONYX, "PowGrad");
        let grads = cx.builder.node(op, &[Some(a), Some(b), Some(dy)], &[], 2)?;
        let mut by_input = vec![None, None];
        for (index, (grad, like)) in grads.into_iter().zip([a, b]).enumerate() {
            if cx.wants(index) {
                by_input[index] = Some(cx.builder.unbroadcast(grad, like)?);
            }
        }
        Ok(by_input)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 10)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(SCHEMA, name).uniform(&[2, 3], (0.5, 2.0));
        let reason = "integers have no gradient";
        let mut examples = vec![
            example("by elements").uniform(&[2, 3], (-2.0, 2.0)),
            example("by a row").uniform(&[3], (-2.0, 2.0)),
            example("of a column").uniform(&[4, 1, 1], (-2.0, 2.0)),
            example("by integers")
                .values(&[3], vec![2i64, 0, -1])
                .grad_by(&[0]),
            example("by a float, wider")
                .values(&[1, 1, 1], vec![3i32])
                .grad_by(&[0]),
            Example::new(SCHEMA, "of negative numbers")
                .uniform(&[5], (-2.0, -0.5))
                .values(&[], vec![2i64])
                .grad_by(&[0]),
            Example::new(SCHEMA, "of integers by floats")
                .values(&[3], vec![4i32, 9, 2])
                .values(&[], vec![0.5f32])
                .no_grad(reason),
            Example::new(SCHEMA, "of integers")
                .values(&[4], vec![-3i64, 2, 7, 1])
                .values(&[4], vec![3i64, 10, 0, -2])
                .no_grad(reason),
            Example::new(SCHEMA, "of nothing")
                .uniform(&[0, 3], (0.5, 2.0))
                .uniform(&[3], (0.0, 1.0)),
        ];
        for exponent in [0i64, 1, 2, -2] {
            let made = example(&format!("by the constant {exponent}"));
            examples.push(made.values(&[], vec![exponent]).grad_by(&[0]));
        }
        examples
    }
}

/// The gradient by the base for one constant exponent: the common small ones need no power.
fn constant_exponent(cx: &mut GradCx<'_, '_>, dy: ValueId, exponent: f64) -> Result<ValueId> {
    let a = cx.input(0)?;
    let factor = cx.builder.scalar_like(a, exponent)?;
    if exponent == 1.0 {
        return Ok(dy);
    }
    let scaled = cx.builder.op("Mul", &[dy, factor], &[])?;
    if exponent == 0.0 {
        return Ok(scaled);
    }
    let power = if exponent == 2.0 {
        a
    } else {
        let less = cx.builder.scalar_like(a, exponent - 1.0)?;
        cx.builder.op("Pow", &[a, less], &[])?
    };
    cx.builder.op("Mul", &[scaled, power], &[])
}

/// `PowGrad(a, b, dy)` gives the gradients by base and exponent, both in the broadcast shape and
/// of the base's type. As in PyTorch, an exponent of zero gives the base none, and a base of zero
/// under an exponent that is not negative gives the exponent none.
#[derive(Debug)]
struct PowGrad;

impl PowGrad {
    const SCHEMA: Schema = Schema::own("PowGrad", 3).outputs(2);
}

impl Operator for PowGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        if !dtype.is_float() || !is_number(cx.dtype(1)?) || cx.dtype(2)? != dtype {
            return Err(cx.invalid("it takes a float base and its gradient"));
        }
        let fact = Fact {
            dtype,
            shape: broadcast_dims(cx)?,
        };
        Ok(vec![fact.clone().into(), fact.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (a, b, dy) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        let (x, y, dys) = (a.to_f64()?, b.to_f64()?, dy.to_f64()?);
        let (mut da, mut db) = (Vec::new(), Vec::new());
        let shape = broadcast_pairs(a.shape(), b.shape(), |i, j| {
            let (x, y) = (x[i], y[j]);
            da.push(if y == 0.0 { 0.0 } else { y * x.powf(y - 1.0) });
            db.push(if x == 0.0 && y >= 0.0 {
                0.0
            } else {
                x.powf(y) * x.ln()
            });
        })?;
        crate::pool::check_shape(cx.node, dy, &shape)?;
        [da, db]
            .into_iter()
            .map(|slopes| {
                let values = slopes.into_iter().zip(&dys).map(|(slope, dy)| slope * dy);
                Ok(Tensor::from_f64(
                    a.dtype(),
                    shape.clone(),
                    values.collect(),
                )?)
            })
            .collect()
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 32)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "at zero")
            .values(&[3], vec![0.0f32, 0.0, 2.0])
            .values(&[3], vec![0.0f32, 2.0, 0.0])
            .uniform(&[3], (-1.0, 1.0))
            .outputs(2);
        vec![example.no_grad("second derivatives are not supported")]
    }
}
