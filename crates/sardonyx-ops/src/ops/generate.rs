//! Tensors made from numbers: `ConstantOfShape`, `EyeLike`, `Range`.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor};

use super::cast::type_attribute;
use crate::reference::{claimed_count, from_i64, sizes};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &Generator::ConstantOfShape,
    &Generator::EyeLike,
    &Generator::Range,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generator {
    ConstantOfShape,
    EyeLike,
    Range,
}

/// The element that `ConstantOfShape` repeats: a tensor of one element.
fn fill(node: &Node) -> Result<Tensor> {
    match node.attributes.get("value") {
        None => Ok(Tensor::vector(vec![0f32])),
        Some(Attr::Tensor(tensor)) if tensor.len() == 1 => Ok(tensor.as_ref().clone()),
        Some(_) => Err(node
            .attribute_error("value", "must be a tensor of one element")
            .into()),
    }
}

fn eye(cx: &EvalCx<'_>) -> Result<Tensor> {
    let x = cx.input(0)?;
    let [rows, columns] = *x.shape() else {
        return Err(cx.invalid(format!("its input has shape {:?}, not two axes", x.shape())));
    };
    let shift = cx.node.int("k", 0)?;
    let ones = (0..rows as i64).flat_map(|row| {
        (0..columns as i64).map(move |column| i64::from(row.checked_add(shift) == Some(column)))
    });
    numbers(
        type_attribute(cx.node, "dtype")?.unwrap_or(x.dtype()),
        x.shape(),
        ones.collect(),
    )
}

/// Whole numbers as a tensor of any numeric type.
fn numbers(dtype: DType, shape: &[usize], values: Vec<i64>) -> Result<Tensor> {
    if dtype.is_float() {
        let values = values.into_iter().map(|n| n as f64).collect();
        return Ok(Tensor::from_f64(dtype, shape, values)?);
    }
    from_i64(dtype, shape, values)
}

/// `start, start + delta, ...` as far as `limit`, which is not reached.
fn range(node: &Node, [start, limit, delta]: [&Tensor; 3]) -> Result<Tensor> {
    let dtype = start.dtype();
    if [start.len(), limit.len(), delta.len()] != [1; 3] {
        return Err(OpError::invalid(
            node,
            "start, limit and delta must have one element each",
        ));
    }
    if limit.dtype() != dtype || delta.dtype() != dtype {
        return Err(OpError::invalid(
            node,
            "start, limit and delta are of different types",
        ));
    }
    if dtype.is_float() {
        let (start, limit, delta) = (start.to_f64()?[0], limit.to_f64()?[0], delta.to_f64()?[0]);
        let count = ((limit - start) / delta).ceil();
        if !count.is_finite() {
            return Err(OpError::invalid(
                node,
                format!("{start}..{limit} by {delta} has no end"),
            ));
        }
        let count = claimed_count(node, &[count.max(0.0) as usize])?;
        let values = (0..count).map(|i| start + i as f64 * delta).collect();
        return Ok(Tensor::from_f64(dtype, [count], values)?);
    }
    let (start, limit, delta) = (start.to_i64()?[0], limit.to_i64()?[0], delta.to_i64()?[0]);
    if delta == 0 {
        return Err(OpError::invalid(node, "delta is zero"));
    }
    let distance = i128::from(limit) - i128::from(start);
    let steps = if (distance > 0) == (delta > 0) {
        distance
            .unsigned_abs()
            .div_ceil(u128::from(delta.unsigned_abs()))
    } else {
        0
    };
    let count = claimed_count(node, &[usize::try_from(steps).unwrap_or(usize::MAX)])?;
    from_i64(
        dtype,
        &[count],
        (0..count as i64).map(|i| start + i * delta).collect(),
    )
}

impl Operator for Generator {
    fn schema(&self) -> Schema {
        match self {
            Generator::ConstantOfShape => Schema::standard("ConstantOfShape", 9, 1),
            Generator::EyeLike => Schema::standard("EyeLike", 9, 1),
            Generator::Range => Schema::standard("Range", 11, 3),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        Ok(vec![match self {
            Generator::ConstantOfShape => cx.shaped_by(0, fill(cx.node)?.dtype())?.into(),
            Generator::EyeLike => Fact {
                dtype: type_attribute(cx.node, "dtype")?.unwrap_or(dtype),
                shape: cx.input(0)?.fact.shape.clone(),
            }
            .into(),
            Generator::Range => Fact::new(dtype, [range_dim(cx)?]).into(),
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        Ok(vec![match self {
            Generator::ConstantOfShape => {
                let shape = sizes(cx, 0)?;
                let count = claimed_count(cx.node, &shape)?;
                fill(cx.node)?.take(shape, &vec![0; count])?
            }
            Generator::EyeLike => eye(cx)?,
            Generator::Range => range(cx.node, [cx.input(0)?, cx.input(1)?, cx.input(2)?])?,
        }])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        // The length of a range cannot change by a little; its numbers are not parameters.
        Ok(vec![None; cx.node.inputs.len()])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example =
            |name: &str| Example::new(self.schema(), name).no_grad("it only makes numbers");
        let range = |name: &str, values: [f32; 3]| {
            let [start, limit, delta] = values.map(|value| vec![value]);
            example(name)
                .values(&[], start)
                .values(&[], limit)
                .values(&[], delta)
        };
        match self {
            Generator::ConstantOfShape => vec![
                example("of zeros").ints(&[2, 3]),
                example("of a value")
                    .attr("value", Tensor::vector(vec![7i64]))
                    .ints(&[4]),
                example("of a scalar").ints(&[]),
                example("of zero size").ints(&[0, 3]),
            ],
            Generator::EyeLike => vec![
                example("plain").uniform(&[2, 3], (0.0, 1.0)),
                example("shifted")
                    .attr("k", -1i64)
                    .attr("dtype", 6i64)
                    .uniform(&[3, 2], (0.0, 1.0)),
            ],
            Generator::Range => vec![
                range("up", [0.0, 2.5, 0.5]),
                range("down", [3.0, -1.0, -1.5]),
                range("of nothing", [3.0, 1.0, 1.0]),
                example("of integers")
                    .values(&[], vec![10i64])
                    .values(&[], vec![3i64])
                    .values(&[], vec![-3i64]),
            ],
        }
    }
}

/// Number of elements of a range: `0, 1, ..` up to a followed dimension, or from constants.
fn range_dim(cx: &InferCx<'_>) -> Result<Dim> {
    let known = [0, 1, 2].map(|index| cx.optional(index).and_then(|known| known.value));
    if let [Some(start), Some(limit), Some(delta)] = known {
        // Lengths over the limit on claims are refused here too.
        let length = range(cx.node, [start, limit, delta])?.len();
        return Ok(Dim::known(length));
    }
    let is = |tensor: Option<&std::sync::Arc<Tensor>>, n: i64| {
        tensor.is_some_and(|tensor| tensor.to_i64() == Ok(vec![n]))
    };
    let limit = cx.dims(1).filter(|_| is(known[0], 0) && is(known[2], 1));
    Ok(limit
        .and_then(|dims| dims.first().cloned())
        .unwrap_or_else(|| cx.unknown_dim(0)))
}
