//! `QuantizeLinear` and `DequantizeLinear`: floats as integers with a scale and a zero point, which
//! belong to the whole tensor, to each slice of an axis, or to each block along one.

use sardonyx_ir::{Attr, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor, element_count, unravel};

use super::cast::type_attribute;
use crate::reference::from_i64;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, axis_index,
    element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Linear::Dequantize, &Linear::Quantize];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Linear {
    Dequantize,
    Quantize,
}

/// For each element of a tensor, the index of its scale.
fn scale_indices(node: &Node, shape: &[usize], scales: &[usize]) -> Result<Vec<usize>> {
    let count = element_count(shape)?;
    if scales.is_empty() || scales == [1] {
        return Ok(vec![0; count]);
    }
    let axis = axis_index(node, node.int("axis", 1)?, shape.len())?;
    let block = usize::try_from(node.int("block_size", 0)?)
        .map_err(|_| node.attribute_error("block_size", "is negative"))?;
    let mut expected = shape.to_vec();
    if block > 0 {
        expected[axis] = shape[axis].div_ceil(block);
    } else {
        expected = vec![shape[axis]];
    }
    if scales != expected {
        let problem = format!("scales of shape {scales:?} do not fit, which needs {expected:?}");
        return Err(OpError::invalid(node, problem));
    }
    let mut coords = vec![0; shape.len()];
    let index = |at| {
        unravel(at, shape, &mut coords);
        if block == 0 {
            return coords[axis];
        }
        coords[axis] /= block;
        coords
            .iter()
            .zip(scales)
            .fold(0, |index, (c, n)| index * n + c)
    };
    Ok((0..count).map(index).collect())
}

/// Ends of the range of a type that values are quantized to.
fn bounds(node: &Node, dtype: DType) -> Result<(f64, f64)> {
    match dtype {
        DType::I8 => Ok((-128.0, 127.0)),
        DType::U8 => Ok((0.0, 255.0)),
        DType::I16 => Ok((-32768.0, 32767.0)),
        DType::U16 => Ok((0.0, 65535.0)),
        other => Err(OpError::unsupported(
            node,
            format!("it does not quantize to {other}"),
        )),
    }
}

impl Linear {
    /// Type of the result, from that of the scale and of the zero point.
    fn dtype(self, node: &Node, x: DType, scale: DType, zero: Option<DType>) -> Result<DType> {
        if self == Linear::Quantize {
            let dtype = type_attribute(node, "output_dtype")?
                .or(zero)
                .unwrap_or(DType::U8);
            bounds(node, dtype)?;
            if zero.is_some_and(|zero| zero != dtype) {
                return Err(OpError::invalid(
                    node,
                    format!("its zero point is not of {dtype}"),
                ));
            }
            return Ok(dtype);
        }
        if x != DType::I32 {
            bounds(node, x)?;
        }
        if zero.is_some_and(|zero| zero != x) {
            return Err(OpError::invalid(
                node,
                format!("its zero point is not of {x}"),
            ));
        }
        if !scale.is_float() {
            return Err(OpError::invalid(node, format!("its scale is of {scale}")));
        }
        Ok(scale)
    }
}

/// `x / scale`, rounded as 32-bit floats are unless `x` is of 64 bits: a quotient that falls on a
/// half decides between two integers, and runtimes divide in 32 bits.
fn quotient(dtype: DType, x: f64, scale: f64) -> f64 {
    if dtype == DType::F64 {
        x / scale
    } else {
        f64::from(x as f32 / scale as f32)
    }
}

impl Operator for Linear {
    fn schema(&self) -> Schema {
        match self {
            Linear::Dequantize => Schema::standard("DequantizeLinear", 10, 3).inputs(2, 3),
            Linear::Quantize => Schema::standard("QuantizeLinear", 10, 3).inputs(2, 3),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let zero = cx.optional(2).map(|known| known.fact.dtype);
        let dtype = self.dtype(cx.node, cx.dtype(0)?, cx.dtype(1)?, zero)?;
        let shape = cx.input(0)?.fact.shape.clone();
        Ok(vec![Fact { dtype, shape }.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, scale) = (cx.input(0)?, cx.input(1)?);
        let zero = cx.optional(2);
        let dtype = self.dtype(cx.node, x.dtype(), scale.dtype(), zero.map(Tensor::dtype))?;
        let indices = scale_indices(cx.node, x.shape(), scale.shape())?;
        let zeros = match zero {
            Some(zero) if zero.len() == scale.len() => zero.to_f64()?,
            Some(zero) => {
                let (zeros, scales) = (zero.len(), scale.len());
                return Err(cx.invalid(format!("{zeros} zero points for {scales} scales")));
            }
            None => vec![0.0; scale.len()],
        };
        let (values, scales) = (x.to_f64()?.into_iter().zip(indices), scale.to_f64()?);
        if *self == Linear::Dequantize {
            let values = values
                .map(|(x, index)| (x - zeros[index]) * scales[index])
                .collect();
            return Ok(vec![Tensor::from_f64(dtype, x.shape(), values)?]);
        }
        let (low, high) = bounds(cx.node, dtype)?;
        let quantize = |(value, index): (f64, usize)| {
            let steps = quotient(x.dtype(), value, scales[index]).round_ties_even();
            (steps + zeros[index]).clamp(low, high) as i64
        };
        Ok(vec![from_i64(
            dtype,
            x.shape(),
            values.map(quantize).collect(),
        )?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let mut grads = vec![None; cx.node.inputs.len()];
        if *self == Linear::Quantize || !cx.wants(1) {
            return Ok(grads);
        }
        // Each element is its scale times a number of steps.
        let (scale, y, dy) = (cx.input(1)?, cx.output(0)?, cx.output_grad(0)?);
        let rank = cx.builder.shape(y)?.len();
        let scales = cx.builder.shape(scale)?.len();
        if scales > 1 {
            return Err(cx.not_differentiable("its scales belong to blocks"));
        }
        let axis = axis_index(cx.node, cx.node.int("axis", 1)?, rank);
        let kept = if cx
            .builder
            .shape(scale)?
            .iter()
            .all(sardonyx_ir::Dim::is_one)
        {
            None
        } else {
            Some(axis? as i64)
        };
        let others: Vec<i64> = (0..rank as i64)
            .filter(|&axis| Some(axis) != kept)
            .collect();
        let product = cx.builder.op("Mul", &[dy, y], &[])?;
        let axes = cx.builder.ints(&others);
        let attributes = [
            ("keepdims", Attr::Int(0)),
            ("noop_with_empty_axes", Attr::Int(1)),
        ];
        let sum = cx.builder.op("ReduceSum", &[product, axes], &attributes)?;
        let sum = cx.builder.reshape_like(sum, scale)?;
        grads[1] = Some(cx.builder.op("Div", &[sum, scale], &[])?);
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 2)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name);
        let range = (-30.0, 30.0);
        if *self == Linear::Quantize {
            let example = |name: &str| example(name).no_grad("its result is not a float");
            return vec![
                example("of a tensor")
                    .uniform(&[2, 5], range)
                    .values(&[], vec![0.2f32]),
                example("with a zero point")
                    .uniform(&[2, 5], range)
                    .values(&[], vec![0.25f32])
                    .values(&[], vec![-3i8]),
                example("by an axis")
                    .attr("axis", -1i64)
                    .uniform(&[3, 2], range)
                    .values(&[2], vec![0.1f32, 2.0])
                    .values(&[2], vec![100u16, 30_000]),
                example("in blocks")
                    .attr("axis", 1i64)
                    .attr("block_size", 2i64)
                    .attr("output_dtype", 5i64)
                    .uniform(&[1, 5], range)
                    .values(&[1, 3], vec![0.1f32, 2.0, 0.5]),
                example("of nothing")
                    .uniform(&[0, 5], range)
                    .values(&[1], vec![0.2f32]),
            ];
        }
        vec![
            example("of a tensor")
                .values(&[4], vec![0u8, 3, 255, 7])
                .values(&[], vec![0.2f32]),
            example("with a zero point")
                .values(&[2, 2], vec![-128i8, 0, 127, 5])
                .values(&[1], vec![0.25f32])
                .values(&[1], vec![-3i8]),
            example("by an axis")
                .values(&[2, 2], vec![-70_000i32, 0, 5, 7])
                .values(&[2], vec![0.1f32, 2.0]),
            example("in blocks")
                .attr("axis", 0i64)
                .attr("block_size", 2i64)
                .values(&[3, 1], vec![1i16, 2, 3])
                .values(&[2, 1], vec![0.1f32, 2.0])
                .no_grad("the gradient by scales of blocks is not supported"),
        ]
    }
}
