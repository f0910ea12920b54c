//! Elementwise operators of one input: a row each, with the function and its derivative. The
//! gradient of every row is one operator of our own, `UnaryGrad`, which names the row; so a new
//! row needs no further code.

use sardonyx_ir::{Attr, Fact, Node, ONNX, ValueId};
use sardonyx_tensor::Tensor;

use crate::reference::{from_i64, map_float};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// One row: an elementwise function of a float, with up to two float attributes.
#[derive(Debug)]
pub struct Unary {
    /// Operator name.
    pub name: &'static str,
    since: i64,
    /// Names and defaults of the float attributes.
    parameters: &'static [(&'static str, f32)],
    eval: fn(&Params, f64) -> f64,
    /// Derivative at `x`, given `y = f(x)` too.
    derivative: Option<fn(&Params, f64, f64) -> f64>,
    /// The function on integers, where ONNX allows them.
    integer: Option<fn(i64) -> i64>,
    flops: u64,
    /// Interval of the example's inputs, inside the domain and off the kinks.
    range: (f32, f32),
}

/// Values of a row's parameters, in the row's order.
pub type Params = [f64; 2];

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &{
    let mut ops: [&dyn Operator; ROWS.len() + 2] = [&UnaryGrad; ROWS.len() + 2];
    let mut index = 0;
    while index < ROWS.len() {
        ops[index] = &ROWS[index];
        index += 1;
    }
    ops[index] = &Gelu;
    ops
};

const FRAC_2_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;

const fn row(name: &'static str, since: i64, eval: fn(&Params, f64) -> f64) -> Unary {
    Unary {
        name,
        since,
        parameters: &[],
        eval,
        derivative: None,
        integer: None,
        flops: 1,
        range: (-2.0, 2.0),
    }
}

impl Unary {
    const fn derivative(self, derivative: fn(&Params, f64, f64) -> f64) -> Unary {
        Unary {
            derivative: Some(derivative),
            ..self
        }
    }

    const fn integer(self, integer: fn(i64) -> i64) -> Unary {
        Unary {
            integer: Some(integer),
            ..self
        }
    }

    const fn parameters(self, parameters: &'static [(&'static str, f32)]) -> Unary {
        Unary { parameters, ..self }
    }

    const fn range(self, low: f32, high: f32) -> Unary {
        Unary {
            range: (low, high),
            ..self
        }
    }

    const fn flops(self, flops: u64) -> Unary {
        Unary { flops, ..self }
    }

    /// The row's parameters as `node` sets them.
    ///
    /// # Errors
    /// When an attribute has the wrong type.
    pub fn params(&self, node: &Node) -> Result<Params> {
        let mut params = [0.0; 2];
        for (param, (name, default)) in params.iter_mut().zip(self.parameters) {
            *param = f64::from(node.float(name, *default)?);
        }
        Ok(params)
    }
}

/// The row called `name`.
pub fn find(name: &str) -> Option<&'static Unary> {
    ROWS.iter().find(|row| row.name == name)
}

static ROWS: [Unary; 35] = [
    row("Abs", 6, |_, x| x.abs())
        .derivative(|_, x, _| sign(x))
        .integer(i64::wrapping_abs),
    row("Acos", 7, |_, x| x.acos())
        .derivative(|_, x, _| -1.0 / (1.0 - x * x).sqrt())
        .range(-0.9, 0.9)
        .flops(10),
    row("Acosh", 9, |_, x| x.acosh())
        .derivative(|_, x, _| 1.0 / (x * x - 1.0).sqrt())
        .range(1.5, 3.0)
        .flops(10),
    row("Asin", 7, |_, x| x.asin())
        .derivative(|_, x, _| 1.0 / (1.0 - x * x).sqrt())
        .range(-0.9, 0.9)
        .flops(10),
    row("Asinh", 9, |_, x| x.asinh())
        .derivative(|_, x, _| 1.0 / (x * x + 1.0).sqrt())
        .flops(10),
    row("Atan", 7, |_, x| x.atan())
        .derivative(|_, x, _| 1.0 / (x * x + 1.0))
        .flops(10),
    row("Atanh", 9, |_, x| x.atanh())
        .derivative(|_, x, _| 1.0 / (1.0 - x * x))
        .range(-0.9, 0.9)
        .flops(10),
    row("Ceil", 6, |_, x| x.ceil())
        .derivative(|_, _, _| 0.0)
        .range(0.1, 0.9),
    row("Celu", 12, |p, x| {
        x.max(0.0) + (p[0] * ((x / p[0]).exp() - 1.0)).min(0.0)
    })
    .parameters(&[("alpha", 1.0)])
    .derivative(|p, x, _| if x > 0.0 { 1.0 } else { (x / p[0]).exp() })
    .flops(10),
    row("Cos", 7, |_, x| x.cos())
        .derivative(|_, x, _| -x.sin())
        .flops(10),
    row("Cosh", 9, |_, x| x.cosh())
        .derivative(|_, x, _| x.sinh())
        .flops(10),
    row(
        "Elu",
        6,
        |p, x| if x < 0.0 { p[0] * (x.exp() - 1.0) } else { x },
    )
    .parameters(&[("alpha", 1.0)])
    .derivative(|p, x, _| if x < 0.0 { p[0] * x.exp() } else { 1.0 })
    .flops(10),
    row("Erf", 9, |_, x| libm::erf(x))
        .derivative(|_, x, _| FRAC_2_SQRT_PI * (-x * x).exp())
        .flops(10),
    row("Exp", 6, |_, x| x.exp())
        .derivative(|_, _, y| y)
        .flops(10),
    row("Floor", 6, |_, x| x.floor())
        .derivative(|_, _, _| 0.0)
        .range(0.1, 0.9),
    row("HardSigmoid", 6, |p, x| (p[0] * x + p[1]).clamp(0.0, 1.0))
        .parameters(&[("alpha", 0.2), ("beta", 0.5)])
        .derivative(|p, x, _| {
            if (0.0..1.0).contains(&(p[0] * x + p[1])) {
                p[0]
            } else {
                0.0
            }
        })
        .flops(3),
    row("HardSwish", 14, |_, x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0))
        .derivative(|_, x, _| match x {
            x if x <= -3.0 => 0.0,
            x if x >= 3.0 => 1.0,
            x => x / 3.0 + 0.5,
        })
        .flops(4),
    row("LeakyRelu", 6, |p, x| if x < 0.0 { p[0] * x } else { x })
        .parameters(&[("alpha", 0.01)])
        .derivative(|p, x, _| if x < 0.0 { p[0] } else { 1.0 }),
    row("Log", 6, |_, x| x.ln())
        .derivative(|_, x, _| 1.0 / x)
        .range(0.2, 2.0)
        .flops(10),
    row("Mish", 18, |_, x| x * softplus(x).tanh())
        .derivative(|_, x, _| {
            let tanh = softplus(x).tanh();
            tanh + x * sigmoid(x) * (1.0 - tanh * tanh)
        })
        .flops(20),
    row("Neg", 6, |_, x| -x)
        .derivative(|_, _, _| -1.0)
        .integer(i64::wrapping_neg),
    row("Reciprocal", 6, |_, x| 1.0 / x)
        .derivative(|_, _, y| -y * y)
        .range(0.5, 2.0),
    row("Relu", 6, |_, x| if x < 0.0 { 0.0 } else { x })
        .derivative(|_, x, _| f64::from(u8::from(x > 0.0)))
        .integer(|x| x.max(0)),
    row("Round", 11, |_, x| x.round_ties_even())
        .derivative(|_, _, _| 0.0)
        .range(0.1, 0.4),
    row("Selu", 6, |p, x| {
        p[1] * if x <= 0.0 { p[0] * (x.exp() - 1.0) } else { x }
    })
    .parameters(&[("alpha", 1.673_263_2), ("gamma", 1.050_701)])
    .derivative(|p, x, _| p[1] * if x <= 0.0 { p[0] * x.exp() } else { 1.0 })
    .flops(10),
    row("Sigmoid", 6, |_, x| sigmoid(x))
        .derivative(|_, _, y| y * (1.0 - y))
        .flops(10),
    row("Sign", 9, |_, x| sign(x))
        .derivative(|_, _, _| 0.0)
        .integer(i64::signum)
        .range(0.1, 2.0),
    row("Sin", 7, |_, x| x.sin())
        .derivative(|_, x, _| x.cos())
        .flops(10),
    row("Sinh", 9, |_, x| x.sinh())
        .derivative(|_, x, _| x.cosh())
        .flops(10),
    row("Softplus", 1, |_, x| softplus(x))
        .derivative(|_, x, _| sigmoid(x))
        .flops(10),
    row("Softsign", 1, |_, x| x / (1.0 + x.abs()))
        .derivative(|_, x, _| (1.0 + x.abs()).powi(-2))
        .flops(3),
    row("Sqrt", 6, |_, x| x.sqrt())
        .derivative(|_, _, y| 0.5 / y)
        .range(0.2, 2.0),
    row("Tan", 7, |_, x| x.tan())
        .derivative(|_, _, y| 1.0 + y * y)
        .range(-1.0, 1.0)
        .flops(10),
    row("Tanh", 6, |_, x| x.tanh())
        .derivative(|_, _, y| 1.0 - y * y)
        .flops(10),
    row("ThresholdedRelu", 10, |p, x| if x > p[0] { x } else { 0.0 })
        .parameters(&[("alpha", 1.0)])
        .derivative(|p, x, _| f64::from(u8::from(x > p[0]))),
];

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Sign with `sign(0) = 0`; NaN stays.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

impl Operator for Unary {
    fn schema(&self) -> Schema {
        Schema::standard(self.name, self.since, 1)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let fact = cx.input(0)?.fact;
        let legal = fact.dtype.is_float() || (fact.dtype.is_integer() && self.integer.is_some());
        if !legal {
            return Err(cx.invalid(format!("it does not take {}", fact.dtype)));
        }
        self.params(cx.node)?;
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        match self.integer {
            Some(integer) if x.dtype().is_integer() => {
                let values = x.to_i64()?.into_iter().map(integer).collect();
                Ok(vec![from_i64(x.dtype(), x.shape(), values)?])
            }
            _ => {
                let params = self.params(cx.node)?;
                Ok(vec![map_float(x, |x| (self.eval)(&params, x))?])
            }
        }
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        emit_grad(cx, self.name)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, self.flops)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name);
        let mut examples = vec![example("plain").uniform(&[2, 3], self.range)];
        examples.push(example("zero size").uniform(&[0, 3], self.range));
        if let Some((name, default)) = self.parameters.first() {
            let other = example("with a parameter").attr(name, default * 0.7);
            examples.push(other.uniform(&[7], self.range));
        }
        if self.integer.is_some() {
            let integers = example("of integers").values(&[3], vec![-3i32, 0, 4]);
            examples.push(integers.no_grad("integers have no gradient"));
        }
        examples
    }
}

/// `Gelu` (Hendrycks and Gimpel, arXiv 1606.08415), exact or by `tanh`: a row but for its text
/// attribute.
#[derive(Debug)]
struct Gelu;

const SQRT_2_OVER_PI: f64 = FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;

fn gelu(tanh: bool, x: f64) -> f64 {
    if tanh {
        0.5 * x * (1.0 + (SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)).tanh())
    } else {
        0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
    }
}

fn gelu_derivative(tanh: bool, x: f64) -> f64 {
    if tanh {
        let t = (SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)).tanh();
        let inner = SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044_715 * x * x);
        0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
    } else {
        let density = (-0.5 * x * x).exp() * 0.5 * SQRT_2_OVER_PI;
        0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)) + x * density
    }
}

fn is_tanh(node: &Node) -> Result<bool> {
    match node.text("approximate", "none")? {
        "none" => Ok(false),
        "tanh" => Ok(true),
        _ => Err(node
            .attribute_error("approximate", "must be `none` or `tanh`")
            .into()),
    }
}

impl Operator for Gelu {
    fn schema(&self) -> Schema {
        Schema::standard("Gelu", 20, 1)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let fact = cx.input(0)?.fact;
        is_tanh(cx.node)?;
        if !fact.dtype.is_float() {
            return Err(cx.invalid(format!("it does not take {}", fact.dtype)));
        }
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let tanh = is_tanh(cx.node)?;
        Ok(vec![map_float(cx.input(0)?, |x| gelu(tanh, x))?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        emit_grad(cx, "Gelu")
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 20)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name).uniform(&[3, 5], (-3.0, 3.0));
        vec![
            example("exact"),
            example("by tanh").attr("approximate", "tanh"),
        ]
    }
}

fn emit_grad(cx: &mut GradCx<'_, '_>, op: &str) -> Result<Vec<Option<ValueId>>> {
    let (x, y, dy) = (cx.input(0)?, cx.output(0)?, cx.output_grad(0)?);
    let mut attributes = vec![("op", Attr::from(op))];
    attributes.extend(
        cx.node
            .attributes
            .iter()
            .map(|(name, a)| (name.as_str(), a.clone())),
    );
    Ok(vec![Some(cx.builder.own(
        "UnaryGrad",
        &[x, y, dy],
        &attributes,
    )?)])
}

/// Gradient of any row: inputs `x`, `y = f(x)`, `dy`; output `f'(x) * dy`. Attribute `op` names
/// the row; the row's own attributes are carried along.
#[derive(Debug)]
pub struct UnaryGrad;

impl UnaryGrad {
    const SCHEMA: Schema = Schema::own("UnaryGrad", 3);

    /// The derivative that `node` asks for, as a function of `x` and `y`.
    ///
    /// # Errors
    /// When `op` names no row, or one without derivative.
    pub fn derivative(node: &Node) -> Result<Box<dyn Fn(f64, f64) -> f64>> {
        let op = node.text("op", "")?;
        if op == "Gelu" {
            let tanh = is_tanh(node)?;
            return Ok(Box::new(move |x, _| gelu_derivative(tanh, x)));
        }
        let row = find(op).and_then(|row| Some((row, row.derivative?)));
        let (row, derivative) =
            row.ok_or_else(|| OpError::unsupported(node, format!("`{op}` has no derivative")))?;
        let params = row.params(node)?;
        Ok(Box::new(move |x, y| derivative(&params, x, y)))
    }
}

impl Operator for UnaryGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        drop(Self::derivative(cx.node)?);
        let fact: &Fact = cx.input(0)?.fact;
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let derivative = Self::derivative(cx.node)?;
        let (x, y, dy) = (cx.input(0)?, cx.input(1)?.to_f64()?, cx.input(2)?.to_f64()?);
        let values = x.to_f64()?.into_iter().zip(y).zip(dy);
        let values = values.map(|((x, y), dy)| derivative(x, y) * dy).collect();
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 3)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "of Relu").attr("op", "Relu");
        let example = example.uniform(&[5], (-2.0, 2.0)).uniform(&[5], (0.0, 2.0));
        vec![
            example
                .uniform(&[5], (-1.0, 1.0))
                .no_grad("second derivatives are not supported"),
        ]
    }
}

/// Whether `node` is a row of this table or `Gelu`.
pub fn is_unary(node: &Node) -> bool {
    node.domain == ONNX && (node.op_type == "Gelu" || find(&node.op_type).is_some())
}
