//! `Max`, `Mean`, `Min` and `Sum` of any number of inputs, with broadcasting. The gradient of an
//! extreme is shared evenly among the inputs that attain it, as PyTorch's `maximum` does.

use sardonyx_ir::{Dim, Fact, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::ops::binary::broadcast;
use crate::reference::{broadcast_pairs, from_i64};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, element_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &Variadic::Max,
    &Variadic::Mean,
    &Variadic::Min,
    &Variadic::Sum,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variadic {
    Max,
    Mean,
    Min,
    Sum,
}

impl Variadic {
    const fn is_extreme(self) -> bool {
        matches!(self, Variadic::Max | Variadic::Min)
    }

    /// Two floats; a NaN wins over any number.
    fn combine(self, a: f64, b: f64) -> f64 {
        match self {
            Variadic::Mean | Variadic::Sum => a + b,
            _ if a.is_nan() || b.is_nan() => f64::NAN,
            Variadic::Max => a.max(b),
            Variadic::Min => a.min(b),
        }
    }

    fn extreme<T: Ord>(self, a: T, b: T) -> T {
        if self == Variadic::Max {
            a.max(b)
        } else {
            a.min(b)
        }
    }

    fn floats(self, cx: &EvalCx<'_>, first: &Tensor) -> Result<Tensor> {
        let (mut shape, mut held) = (first.shape().to_vec(), first.to_f64()?);
        for index in 1..cx.inputs.len() {
            let (next, mut values) = (cx.input(index)?, Vec::new());
            let other = next.to_f64()?;
            shape = broadcast_pairs(&shape, next.shape(), |i, j| {
                values.push(self.combine(held[i], other[j]));
            })?;
            held = values;
        }
        if self == Variadic::Mean {
            let count = cx.inputs.len() as f64;
            held.iter_mut().for_each(|value| *value /= count);
        }
        Ok(Tensor::from_f64(first.dtype(), shape, held)?)
    }

    fn integers(self, cx: &EvalCx<'_>, first: &Tensor) -> Result<Tensor> {
        let is_wide = first.dtype() == DType::U64;
        let (mut shape, mut held) = (first.shape().to_vec(), first.to_i64()?);
        for index in 1..cx.inputs.len() {
            let (next, mut values) = (cx.input(index)?, Vec::new());
            let other = next.to_i64()?;
            shape = broadcast_pairs(&shape, next.shape(), |i, j| {
                values.push(match is_wide {
                    // The widest unsigned type is compared as such.
                    true => self.extreme(held[i] as u64, other[j] as u64) as i64,
                    false => self.extreme(held[i], other[j]),
                });
            })?;
            held = values;
        }
        from_i64(first.dtype(), &shape, held)
    }
}

impl Operator for Variadic {
    fn schema(&self) -> Schema {
        let name = match self {
            Variadic::Max => "Max",
            Variadic::Mean => "Mean",
            Variadic::Min => "Min",
            Variadic::Sum => "Sum",
        };
        Schema::standard(name, 8, 1).inputs(1, usize::MAX)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let legal = dtype.is_float() || (dtype.is_integer() && self.is_extreme());
        if !legal {
            return Err(cx.invalid(format!("it does not take {dtype}")));
        }
        let mut shape: Option<Vec<Dim>> = cx.shape(0)?.map(<[Dim]>::to_vec);
        for index in 1..cx.inputs.len() {
            let other = cx.dtype(index)?;
            if other != dtype {
                let problem = format!("its inputs are of different types, {dtype} and {other}");
                return Err(cx.invalid(problem));
            }
            shape = match (shape, cx.shape(index)?) {
                (Some(shape), Some(other)) => Some(broadcast(cx, &shape, other)?),
                _ => None,
            };
        }
        Ok(vec![Fact { dtype, shape }.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let first = cx.input(0)?;
        let is_float = first.dtype().is_float();
        Ok(vec![if is_float {
            self.floats(cx, first)?
        } else {
            self.integers(cx, first)?
        }])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let dy = cx.output_grad(0)?;
        let count = cx.node.inputs.len();
        if count == 1 {
            return Ok(vec![Some(dy)]);
        }
        let mut grads = vec![None; count];
        let shares = if self.is_extreme() {
            extreme_shares(cx, dy)?
        } else {
            let mut share = dy;
            if *self == Variadic::Mean {
                let divisor = cx.builder.scalar_like(dy, count as f64)?;
                share = cx.builder.op("Div", &[dy, divisor], &[])?;
            }
            vec![share; count]
        };
        for (index, share) in shares.into_iter().enumerate() {
            if cx.wants(index) {
                grads[index] = Some(cx.builder.unbroadcast(share, cx.input(index)?)?);
            }
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, cx.inputs.len() as u64)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name).distinct(&[2, 3]);
        let mut examples = vec![
            example("of one"),
            example("of two").distinct(&[2, 3]),
            example("of three, broadcast")
                .distinct(&[3])
                .uniform(&[4, 1, 1], (-0.5, 0.5)),
            Example::new(self.schema(), "of nothing")
                .distinct(&[0, 3])
                .distinct(&[3]),
        ];
        if self.is_extreme() {
            let reason = "integers have no gradient";
            let integers = Example::new(self.schema(), "of integers");
            let wide = Example::new(self.schema(), "of wide integers");
            examples.extend([
                integers
                    .values(&[3], vec![-3i8, 4, 5])
                    .values(&[], vec![4i8])
                    .no_grad(reason),
                wide.values(&[2], vec![u64::MAX, 3])
                    .values(&[], vec![5u64])
                    .no_grad(reason),
            ]);
        }
        examples
    }
}

/// The output's gradient as it is shared among the inputs, in the output's shape.
fn extreme_shares(cx: &mut GradCx<'_, '_>, dy: ValueId) -> Result<Vec<ValueId>> {
    let y = cx.output(0)?;
    let one = cx.builder.scalar_like(dy, 1.0)?;
    let zero = cx.builder.scalar_like(dy, 0.0)?;
    let mut masks = Vec::new();
    for index in 0..cx.node.inputs.len() {
        let attained = cx.builder.op("Equal", &[cx.input(index)?, y], &[])?;
        masks.push(cx.builder.op("Where", &[attained, one, zero], &[])?);
    }
    let ties = cx.builder.op("Sum", &masks, &[])?;
    let share = cx.builder.op("Div", &[dy, ties], &[])?;
    masks
        .into_iter()
        .map(|mask| cx.builder.op("Mul", &[mask, share], &[]))
        .collect()
}
