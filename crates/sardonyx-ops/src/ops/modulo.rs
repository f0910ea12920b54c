//! `Mod` and `BitShift`: elementwise operators of two inputs that an attribute changes.

use sardonyx_ir::{Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor};

use super::binary::broadcast_dims;
use crate::reference::{broadcast_pairs, from_i64};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Modulo::BitShift, &Modulo::Mod];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modulo {
    BitShift,
    Mod,
}

/// A function of integers. 64-bit unsigned ones are given and returned by their bits.
type Whole = fn(i64, i64) -> i64;

// Division by zero of integers is undefined in ONNX; zero is returned instead of a panic.
fn whole(operator: Modulo, node: &Node, dtype: DType) -> Result<Whole> {
    let unsigned = dtype == DType::U64;
    if operator == Modulo::Mod {
        return Ok(match node.flag("fmod", false)? {
            _ if unsigned => |a, b| (a as u64).checked_rem(b as u64).unwrap_or(0) as i64,
            true => |a, b| a.checked_rem(b).unwrap_or(0),
            // The remainder has the divisor's sign.
            false => |a, b| {
                let rest = a.checked_rem(b).unwrap_or(0);
                if rest != 0 && (rest < 0) != (b < 0) {
                    rest + b
                } else {
                    rest
                }
            },
        });
    }
    match node.text("direction", "")? {
        "LEFT" => Ok(|a, b| (a as u64).checked_shl(bits(b)).unwrap_or(0) as i64),
        "RIGHT" => Ok(|a, b| (a as u64).checked_shr(bits(b)).unwrap_or(0) as i64),
        _ => Err(node
            .attribute_error("direction", "must be LEFT or RIGHT")
            .into()),
    }
}

fn bits(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Modulo {
    fn check(self, node: &Node, a: DType, b: DType) -> Result<()> {
        let legal = match self {
            Modulo::BitShift => matches!(a, DType::U8 | DType::U16 | DType::U32 | DType::U64),
            Modulo::Mod => a.is_integer() || a.is_float(),
        };
        if !legal || a != b {
            return Err(OpError::invalid(
                node,
                format!("it does not take {a} and {b}"),
            ));
        }
        if a.is_float() && !node.flag("fmod", false)? {
            return Err(OpError::invalid(
                node,
                "of floats it needs the attribute fmod=1",
            ));
        }
        Ok(())
    }
}

impl Operator for Modulo {
    fn schema(&self) -> Schema {
        match self {
            Modulo::BitShift => Schema::standard("BitShift", 11, 2),
            Modulo::Mod => Schema::standard("Mod", 10, 2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        self.check(cx.node, dtype, cx.dtype(1)?)?;
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
        self.check(cx.node, a.dtype(), b.dtype())?;
        if a.dtype().is_float() {
            let (x, y) = (a.to_f64()?, b.to_f64()?);
            let mut values = Vec::new();
            let shape = broadcast_pairs(a.shape(), b.shape(), |i, j| values.push(x[i] % y[j]))?;
            return Ok(vec![Tensor::from_f64(a.dtype(), shape, values)?]);
        }
        let (x, y) = (a.to_i64()?, b.to_i64()?);
        let f = whole(*self, cx.node, a.dtype())?;
        let mut values = Vec::new();
        let shape = broadcast_pairs(a.shape(), b.shape(), |i, j| values.push(f(x[i], y[j])))?;
        Ok(vec![from_i64(a.dtype(), &shape, values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (a, b, y, dy) = (
            cx.input(0)?,
            cx.input(1)?,
            cx.output(0)?,
            cx.output_grad(0)?,
        );
        let mut grads = vec![None; 2];
        if cx.wants(0) {
            grads[0] = Some(cx.builder.unbroadcast(dy, a)?);
        }
        if cx.wants(1) {
            // The remainder is `a - b * quotient`, with a quotient that does not change by little.
            let multiple = cx.builder.op("Sub", &[y, a], &[])?;
            let opposite = cx.builder.op("Div", &[multiple, b], &[])?;
            let db = cx.builder.op("Mul", &[dy, opposite], &[])?;
            grads[1] = Some(cx.builder.unbroadcast(db, b)?);
        }
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name);
        let whole = |name: &str| example(name).no_grad("integers have no gradient");
        match self {
            Modulo::BitShift => vec![
                whole("left")
                    .attr("direction", "LEFT")
                    .values(&[3], vec![1u8, 200, 3])
                    .values(&[1], vec![1u8]),
                whole("right")
                    .attr("direction", "RIGHT")
                    .values(&[2], vec![u64::MAX, 8])
                    .values(&[2], vec![99u64, 2]),
            ],
            Modulo::Mod => vec![
                whole("of integers").ints(&[-7, 7, 5]).ints(&[3, -3, 0]),
                whole("as in C")
                    .attr("fmod", 1i64)
                    .ints(&[-7, 7, 5])
                    .ints(&[3, -3, 0]),
                example("of floats")
                    .attr("fmod", 1i64)
                    .values(&[2, 2], vec![-4.3f32, 7.2, 5.1, -1.4])
                    .values(&[2], vec![2.1f32, -3.4]),
            ],
        }
    }
}
