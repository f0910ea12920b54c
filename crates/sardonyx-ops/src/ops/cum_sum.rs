//! `CumSum`: running sums along an axis. Its gradient is the running sum from the other end.

use sardonyx_ir::{Attr, ValueId};
use sardonyx_tensor::Tensor;

use crate::reference::{around, from_i64};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&CumSum];

#[derive(Debug)]
struct CumSum;

const SCHEMA: Schema = Schema::standard("CumSum", 11, 2);

/// What order to sum in.
#[derive(Debug, Clone, Copy)]
struct Order {
    /// An element is not part of its own sum.
    exclusive: bool,
    reverse: bool,
}

fn sums<T: Copy>(
    values: &[T],
    lanes: [usize; 3],
    order: Order,
    zero: T,
    add: fn(T, T) -> T,
) -> Vec<T> {
    let [outer, length, inner] = lanes;
    let mut out = values.to_vec();
    for (row, column) in (0..outer).flat_map(|row| (0..inner).map(move |c| (row, c))) {
        let mut sum = zero;
        for step in 0..length {
            let index = if order.reverse {
                length - 1 - step
            } else {
                step
            };
            let at = (row * length + index) * inner + column;
            let with = add(sum, values[at]);
            out[at] = if order.exclusive { sum } else { with };
            sum = with;
        }
    }
    out
}

impl Operator for CumSum {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        Ok(vec![cx.input(0)?.fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let axis = cx.input(1)?.to_i64()?;
        let [axis] = axis[..] else {
            return Err(cx.invalid(format!("its axis has {} elements", axis.len())));
        };
        let lanes = around(x.shape(), axis_index(cx.node, axis, x.rank())?)?;
        let order = Order {
            exclusive: cx.node.flag("exclusive", false)?,
            reverse: cx.node.flag("reverse", false)?,
        };
        Ok(vec![if x.dtype().is_float() {
            let values = sums(&x.to_f64()?, lanes, order, 0.0, |a, b| a + b);
            Tensor::from_f64(x.dtype(), x.shape(), values)?
        } else {
            let values = sums(&x.to_i64()?, lanes, order, 0, i64::wrapping_add);
            from_i64(x.dtype(), x.shape(), values)?
        }])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (dy, axis) = (cx.output_grad(0)?, cx.input(1)?);
        let attributes = [
            ("exclusive", Attr::Int(cx.node.int("exclusive", 0)?)),
            (
                "reverse",
                Attr::Int(i64::from(!cx.node.flag("reverse", false)?)),
            ),
        ];
        Ok(vec![
            Some(cx.builder.op("CumSum", &[dy, axis], &attributes)?),
            None,
        ])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize], axis: i64| {
            let example = Example::new(SCHEMA, name).uniform(shape, (-1.0, 1.0));
            example.values(&[], vec![axis]).grad_by(&[0])
        };
        vec![
            example("along the first", &[3, 2], 0),
            example("along the last", &[2, 3, 2], -1),
            example("exclusive", &[2, 4], 1).attr("exclusive", 1i64),
            example("reverse", &[2, 4], 1).attr("reverse", 1i64),
            example("both", &[2, 4], 1)
                .attr("exclusive", 1i64)
                .attr("reverse", 1i64),
            example("of nothing", &[0, 4], 0),
        ]
    }
}
