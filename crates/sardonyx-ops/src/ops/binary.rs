//! Elementwise operators of two inputs with broadcasting: a row each. A row's gradient is emitted
//! as nodes and summed over the axes along which an input was broadcast.

use sardonyx_ir::{Dim, Fact, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::reference::{broadcast_pairs, from_i64};
use crate::{
    Builder, EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, element_flops,
};

type GradRule = fn(&mut Builder<'_>, Operands) -> Result<[ValueId; 2]>;

/// What a gradient rule starts from.
#[derive(Debug, Clone, Copy)]
struct Operands {
    a: ValueId,
    b: ValueId,
    y: ValueId,
    dy: ValueId,
}

/// One row.
struct Binary {
    name: &'static str,
    since: i64,
    float: Option<fn(f64, f64) -> f64>,
    integer: Option<fn(i64, i64) -> i64>,
    boolean: Option<fn(bool, bool) -> bool>,
    /// Comparisons give truth values.
    compares: bool,
    grad: Option<GradRule>,
    range: (f32, f32),
}

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &{
    let mut ops: [&dyn Operator; ROWS.len()] = [&ROWS[0]; ROWS.len()];
    let mut index = 0;
    while index < ROWS.len() {
        ops[index] = &ROWS[index];
        index += 1;
    }
    ops
};

const fn arithmetic(name: &'static str, since: i64, float: fn(f64, f64) -> f64) -> Binary {
    let (integer, boolean, compares, grad) = (None, None, false, None);
    Binary {
        name,
        since,
        float: Some(float),
        integer,
        boolean,
        compares,
        grad,
        range: (0.5, 2.0),
    }
}

const fn comparison(
    name: &'static str,
    float: fn(f64, f64) -> f64,
    integer: fn(i64, i64) -> i64,
) -> Binary {
    Binary {
        integer: Some(integer),
        compares: true,
        ..arithmetic(name, 7, float)
    }
}

const fn logic(name: &'static str, boolean: fn(bool, bool) -> bool) -> Binary {
    Binary {
        float: None,
        boolean: Some(boolean),
        ..arithmetic(name, 7, |_, _| 0.0)
    }
}

const fn bitwise(name: &'static str, integer: fn(i64, i64) -> i64) -> Binary {
    Binary {
        float: None,
        integer: Some(integer),
        ..arithmetic(name, 18, |_, _| 0.0)
    }
}

impl Binary {
    const fn integer(self, integer: fn(i64, i64) -> i64) -> Binary {
        Binary {
            integer: Some(integer),
            ..self
        }
    }

    const fn boolean(self, boolean: fn(bool, bool) -> bool) -> Binary {
        Binary {
            boolean: Some(boolean),
            ..self
        }
    }

    const fn grad(self, grad: GradRule) -> Binary {
        Binary {
            grad: Some(grad),
            ..self
        }
    }
}

static ROWS: [Binary; 16] = [
    arithmetic("Add", 7, |a, b| a + b)
        .integer(i64::wrapping_add)
        .grad(|_, o| Ok([o.dy, o.dy])),
    logic("And", |a, b| a && b),
    bitwise("BitwiseAnd", |a, b| a & b),
    bitwise("BitwiseOr", |a, b| a | b),
    bitwise("BitwiseXor", |a, b| a ^ b),
    // Division by zero of integers is undefined in ONNX; zero is returned instead of a panic.
    arithmetic("Div", 7, |a, b| a / b)
        .integer(|a, b| a.checked_div(b).unwrap_or(0))
        .grad(|builder, o| {
            let da = builder.op("Div", &[o.dy, o.b], &[])?;
            let ratio = builder.op("Div", &[o.y, o.b], &[])?;
            let product = builder.op("Mul", &[o.dy, ratio], &[])?;
            Ok([da, builder.op("Neg", &[product], &[])?])
        }),
    comparison("Equal", |a, b| truth(a == b), |a, b| i64::from(a == b)).boolean(|a, b| a == b),
    comparison("Greater", |a, b| truth(a > b), |a, b| i64::from(a > b)),
    comparison(
        "GreaterOrEqual",
        |a, b| truth(a >= b),
        |a, b| i64::from(a >= b),
    ),
    comparison("Less", |a, b| truth(a < b), |a, b| i64::from(a < b)),
    comparison(
        "LessOrEqual",
        |a, b| truth(a <= b),
        |a, b| i64::from(a <= b),
    ),
    arithmetic("Mul", 7, |a, b| a * b)
        .integer(i64::wrapping_mul)
        .grad(|builder, o| {
            Ok([
                builder.op("Mul", &[o.dy, o.b], &[])?,
                builder.op("Mul", &[o.dy, o.a], &[])?,
            ])
        }),
    logic("Or", |a, b| a || b),
    arithmetic("PRelu", 9, |x, slope| if x < 0.0 { slope * x } else { x })
        .integer(|x, slope| if x < 0 { slope.wrapping_mul(x) } else { x })
        .grad(|builder, o| {
            let zero = builder.scalar_like(o.a, 0.0)?;
            let negative = builder.op("Less", &[o.a, zero], &[])?;
            let scaled = builder.op("Mul", &[o.dy, o.b], &[])?;
            let by_slope = builder.op("Mul", &[o.dy, o.a], &[])?;
            let da = builder.op("Where", &[negative, scaled, o.dy], &[])?;
            Ok([da, builder.op("Where", &[negative, by_slope, zero], &[])?])
        }),
    arithmetic("Sub", 7, |a, b| a - b)
        .integer(i64::wrapping_sub)
        .grad(|builder, o| Ok([o.dy, builder.op("Neg", &[o.dy], &[])?])),
    logic("Xor", |a, b| a != b),
];

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

impl Operator for Binary {
    fn schema(&self) -> Schema {
        Schema::standard(self.name, self.since, 2)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let (a, b) = (cx.dtype(0)?, cx.dtype(1)?);
        if a != b {
            return Err(cx.invalid(format!("its inputs are of different types, {a} and {b}")));
        }
        let legal = match a {
            DType::Bool => self.boolean.is_some(),
            DType::String => self.name == "Equal",
            dtype if dtype.is_float() => self.float.is_some(),
            _ => self.integer.is_some(),
        };
        if !legal {
            return Err(cx.invalid(format!("it does not take {a}")));
        }
        let dtype = if self.compares { DType::Bool } else { a };
        let shape = broadcast_dims(cx)?;
        let dims = if self.compares {
            None
        } else {
            self.follow_dims(cx)
        };
        Ok(vec![Inferred {
            fact: Fact { dtype, shape },
            dims,
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (a, b) = (cx.input(0)?, cx.input(1)?);
        let unsupported = || cx.invalid(format!("it does not take {}", a.dtype()));
        Ok(vec![match a.dtype() {
            DType::Bool => {
                let (x, y) = (a.values::<bool>()?, b.values::<bool>()?);
                let f = self.boolean.ok_or_else(unsupported)?;
                let (shape, values) = pairs(a, b, |i, j| f(x[i], y[j]))?;
                Tensor::new(shape, values)?
            }
            DType::String => {
                let (x, y) = (a.values::<String>()?, b.values::<String>()?);
                let (shape, values) = pairs(a, b, |i, j| x[i] == y[j])?;
                Tensor::new(shape, values)?
            }
            dtype if dtype.is_float() => {
                let (x, y) = (a.to_f64()?, b.to_f64()?);
                let f = self.float.ok_or_else(unsupported)?;
                let (shape, values) = pairs(a, b, |i, j| f(x[i], y[j]))?;
                if self.compares {
                    Tensor::new(shape, values.into_iter().map(|v| v != 0.0).collect())?
                } else {
                    Tensor::from_f64(dtype, shape, values)?
                }
            }
            dtype => {
                let (x, y) = (a.to_i64()?, b.to_i64()?);
                let f = self.integer.ok_or_else(unsupported)?;
                let (shape, values) = pairs(a, b, |i, j| f(x[i], y[j]))?;
                from_i64(
                    if self.compares { DType::Bool } else { dtype },
                    &shape,
                    values,
                )?
            }
        }])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let Some(rule) = self.grad else {
            return Err(cx.not_differentiable("its result is not a float"));
        };
        let (a, b) = (cx.input(0)?, cx.input(1)?);
        let operands = Operands {
            a,
            b,
            y: cx.output(0)?,
            dy: cx.output_grad(0)?,
        };
        let grads = rule(cx.builder, operands)?;
        let mut by_input = Vec::with_capacity(2);
        for (index, (grad, like)) in grads.into_iter().zip([a, b]).enumerate() {
            let wanted = cx.wants(index);
            by_input.push(if wanted {
                Some(cx.builder.unbroadcast(grad, like)?)
            } else {
                None
            });
        }
        Ok(by_input)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name);
        let mut examples = Vec::new();
        if self.float.is_some() {
            let shapes: [(&str, &[usize], &[usize]); 4] = [
                ("same shape", &[2, 3], &[2, 3]),
                ("row", &[2, 3], &[3]),
                ("both broadcast", &[2, 1, 4], &[3, 1]),
                ("zero size", &[0, 3], &[1, 3]),
            ];
            for (name, a, b) in shapes {
                let one_way = self.name == "PRelu" && name == "both broadcast";
                if !one_way {
                    let range = if self.name == "PRelu" {
                        (-2.0, 2.0)
                    } else {
                        self.range
                    };
                    let made = example(name).uniform(a, range).uniform(b, self.range);
                    let reason = "its result is not a float";
                    examples.push(if self.compares {
                        made.no_grad(reason)
                    } else {
                        made
                    });
                }
            }
        }
        if self.integer.is_some() {
            let made = example("of integers").ints(&[7, -8, 0]).ints(&[2]);
            examples.push(made.no_grad("integers have no gradient"));
        }
        if self.boolean.is_some() {
            let made = example("of truth values").values(&[2, 1], vec![true, false]);
            let made = made.values(&[2], vec![true, false]);
            examples.push(made.no_grad("truth values have no gradient"));
        }
        examples
    }
}

impl Binary {
    /// Arithmetic on tensors that hold dimensions: what exporters compute a shape with.
    fn follow_dims(&self, cx: &InferCx<'_>) -> Option<Vec<Dim>> {
        let (a, b) = (cx.dims(0)?, cx.dims(1)?);
        let count = a.len().max(b.len());
        let pick = |dims: &[Dim], index: usize| dims.get(index.min(dims.len() - 1)).cloned();
        if a.is_empty() || b.is_empty() || ![1, count].contains(&a.len().min(b.len())) {
            return None;
        }
        (0..count)
            .map(|index| {
                let (x, y) = (pick(&a, index)?, pick(&b, index)?);
                match self.name {
                    "Add" => x.checked_add(&y),
                    "Mul" => x.checked_mul(&y),
                    "Div" => x.checked_div(&y),
                    _ => None,
                }
            })
            .collect()
    }
}

fn pairs<T>(a: &Tensor, b: &Tensor, f: impl Fn(usize, usize) -> T) -> Result<(Vec<usize>, Vec<T>)> {
    let mut values = Vec::new();
    let shape = broadcast_pairs(a.shape(), b.shape(), |i, j| values.push(f(i, j)))?;
    Ok((shape, values))
}

/// The broadcast shape of the first two inputs; `None` when a rank is unknown.
pub(crate) fn broadcast_dims(cx: &InferCx<'_>) -> Result<Option<Vec<Dim>>> {
    let (Some(a), Some(b)) = (cx.shape(0)?, cx.shape(1)?) else {
        return Ok(None);
    };
    broadcast(cx, a, b).map(Some)
}

/// Broadcasts two symbolic shapes. A symbol against a number other than 1 is taken to be that
/// number: nothing else would be legal.
pub(crate) fn broadcast(cx: &InferCx<'_>, a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let one = Dim::known(1);
    let pick = |dims: &[Dim], axis: usize| {
        (axis + dims.len())
            .checked_sub(rank)
            .map_or(one.clone(), |axis| dims[axis].clone())
    };
    let mut shape = Vec::with_capacity(rank);
    for axis in 0..rank {
        let (x, y) = (pick(a, axis), pick(b, axis));
        shape.push(match (x.value(), y.value()) {
            _ if x == y => x,
            (Some(1), _) => y,
            (_, Some(1)) => x,
            (Some(_), Some(_)) => {
                let show = |dims: &[Dim]| Fact::new(DType::F32, dims.to_vec()).to_string();
                let (a, b) = (show(a), show(b));
                let problem = format!("shapes {} and {} cannot be broadcast", &a[3..], &b[3..]);
                return Err(cx.invalid(problem));
            }
            (Some(_), None) => x,
            (None, Some(_)) => y,
            (None, None) => cx.unknown_dim(axis),
        });
    }
    Ok(shape)
}
