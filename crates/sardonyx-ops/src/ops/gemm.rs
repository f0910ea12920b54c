//! `Gemm`: `alpha * A' * B' + beta * C`, where a prime is an optional transposition. Its gradients
//! are products of the same kind.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, broadcast_shapes, element_count};

use crate::ops::binary::broadcast;
use crate::reference::{broadcast_pairs, from_i64};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Gemm];

#[derive(Debug)]
struct Gemm;

const SCHEMA: Schema = Schema::standard("Gemm", 7, 2).inputs(2, 3);

/// The attributes of `Gemm`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GemmAttributes {
    /// Factor of the product.
    pub alpha: f64,
    /// Factor of `C`.
    pub beta: f64,
    /// Whether `A` is transposed.
    pub trans_a: bool,
    /// Whether `B` is transposed.
    pub trans_b: bool,
}

impl GemmAttributes {
    /// Reads them.
    ///
    /// # Errors
    /// When one has the wrong type.
    pub fn read(node: &Node) -> Result<GemmAttributes> {
        Ok(GemmAttributes {
            alpha: f64::from(node.float("alpha", 1.0)?),
            beta: f64::from(node.float("beta", 1.0)?),
            trans_a: node.flag("transA", false)?,
            trans_b: node.flag("transB", false)?,
        })
    }
}

/// Rows and columns of a matrix, after transposition.
fn matrix<'a, T>(node: &Node, shape: &'a [T], transposed: bool) -> Result<[&'a T; 2]> {
    match shape {
        [rows, columns] if transposed => Ok([columns, rows]),
        [rows, columns] => Ok([rows, columns]),
        _ => {
            let problem = format!(
                "it multiplies matrices, not a tensor of rank {}",
                shape.len()
            );
            Err(OpError::invalid(node, problem))
        }
    }
}

impl Operator for Gemm {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        for known in cx.inputs.iter().flatten() {
            let other = known.fact.dtype;
            if other != dtype || !(dtype.is_float() || dtype.is_integer()) {
                return Err(cx.invalid(format!("it does not multiply {dtype} by {other}")));
            }
        }
        let attributes = GemmAttributes::read(cx.node)?;
        let a = cx
            .shape(0)?
            .map(|a| matrix(cx.node, a, attributes.trans_a))
            .transpose()?;
        let b = cx
            .shape(1)?
            .map(|b| matrix(cx.node, b, attributes.trans_b))
            .transpose()?;
        if let Some((k, other)) = a.zip(b).and_then(|(a, b)| a[1].value().zip(b[0].value()))
            && k != other
        {
            let problem = format!("{k} columns on the left do not match {other} rows on the right");
            return Err(cx.invalid(problem));
        }
        let rows = a.map_or_else(|| cx.unknown_dim(0), |a| a[0].clone());
        let columns = b.map_or_else(|| cx.unknown_dim(1), |b| b[1].clone());
        let shape = [rows, columns];
        if let Some(c) = cx.optional(2).and_then(|known| known.fact.shape.as_deref()) {
            check_addend(cx, c, &shape)?;
        }
        Ok(vec![Fact::new(dtype, shape).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (a, b) = (cx.input(0)?, cx.input(1)?);
        let attributes = GemmAttributes::read(cx.node)?;
        let [&m, &k] = matrix(cx.node, a.shape(), attributes.trans_a)?;
        let [&rows, &n] = matrix(cx.node, b.shape(), attributes.trans_b)?;
        if k != rows {
            return Err(cx.invalid(format!("{k} columns on the left do not match {rows} rows")));
        }
        let (x, y) = (a.to_f64()?, b.to_f64()?);
        let step_a = if attributes.trans_a { [1, m] } else { [k, 1] };
        let step_b = if attributes.trans_b { [1, k] } else { [n, 1] };
        let mut values = vec![0.0; element_count(&[m, n])?];
        for (index, value) in values.iter_mut().enumerate() {
            let (row, column) = (index / n, index % n);
            let products = (0..k).map(|p| {
                x[row * step_a[0] + p * step_a[1]] * y[p * step_b[0] + column * step_b[1]]
            });
            *value = attributes.alpha * products.sum::<f64>();
        }
        if let Some(c) = cx.optional(2) {
            if broadcast_shapes(c.shape(), &[m, n])? != [m, n] {
                let problem = format!("C of shape {:?} is too large to be added", c.shape());
                return Err(cx.invalid(problem));
            }
            let addend = c.to_f64()?;
            broadcast_pairs(c.shape(), &[m, n], |i, j| {
                values[j] += attributes.beta * addend[i]
            })?;
        }
        if a.dtype().is_float() {
            return Ok(vec![Tensor::from_f64(a.dtype(), [m, n], values)?]);
        }
        let values = values.into_iter().map(|value| value as i64).collect();
        Ok(vec![from_i64(a.dtype(), &[m, n], values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (a, b, dy) = (cx.input(0)?, cx.input(1)?, cx.output_grad(0)?);
        let GemmAttributes {
            trans_a,
            trans_b,
            beta,
            ..
        } = GemmAttributes::read(cx.node)?;
        let alpha = cx.node.float("alpha", 1.0)?;
        let product = |cx: &mut GradCx<'_, '_>, left: (ValueId, bool), right: (ValueId, bool)| {
            let mut attributes = Vec::new();
            if alpha != 1.0 {
                attributes.push(("alpha", Attr::Float(alpha)));
            }
            for (name, transposed) in [("transA", left.1), ("transB", right.1)] {
                attributes.extend(transposed.then_some((name, Attr::Int(1))));
            }
            cx.builder.op("Gemm", &[left.0, right.0], &attributes)
        };
        let mut grads = vec![None; cx.node.inputs.len()];
        if cx.wants(0) {
            grads[0] = Some(match trans_a {
                false => product(cx, (dy, false), (b, !trans_b))?,
                true => product(cx, (b, trans_b), (dy, true))?,
            });
        }
        if cx.wants(1) {
            grads[1] = Some(match trans_b {
                false => product(cx, (a, !trans_a), (dy, false))?,
                true => product(cx, (dy, true), (a, trans_a))?,
            });
        }
        if cx.wants(2) {
            let mut dc = cx.builder.unbroadcast(dy, cx.input(2)?)?;
            if beta != 1.0 {
                let factor = cx.builder.scalar_like(dc, beta)?;
                dc = cx.builder.op("Mul", &[dc, factor], &[])?;
            }
            grads[2] = Some(dc);
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        let attributes = GemmAttributes::read(cx.node).ok()?;
        let [_, k] = matrix(cx.node, cx.shape(0).ok()??, attributes.trans_a).ok()?;
        crate::element_flops(outputs, 2 * k.value()? as u64)
    }

    fn examples(&self) -> Vec<Example> {
        let range = (-1.0, 1.0);
        let example = |name: &str, a: &[usize], b: &[usize]| {
            Example::new(SCHEMA, name)
                .uniform(a, range)
                .uniform(b, range)
        };
        let scaled = |made: Example| made.attr("alpha", 0.5f32).attr("beta", -1.5f32);
        vec![
            example("plain", &[3, 4], &[4, 5]),
            example("with a row added", &[3, 4], &[4, 5]).uniform(&[5], range),
            example("left transposed", &[4, 3], &[4, 5])
                .uniform(&[3, 1], range)
                .attr("transA", 1i64),
            scaled(example("right transposed, scaled", &[3, 4], &[5, 4]))
                .attr("transB", 1i64)
                .uniform(&[1], range),
            scaled(example("both transposed, scaled", &[4, 3], &[5, 4]))
                .attr("transA", 1i64)
                .attr("transB", 1i64)
                .uniform(&[], range),
            example("of no row", &[0, 4], &[4, 5]).uniform(&[1, 5], range),
            Example::new(SCHEMA, "of integers")
                .values(&[1, 2], vec![3i32, -4])
                .values(&[2, 2], vec![1i32, 2, 3, 4])
                .values(&[], vec![7i32])
                .no_grad("integers have no gradient"),
        ]
    }
}

fn check_addend(cx: &InferCx<'_>, c: &[Dim], shape: &[Dim; 2]) -> Result<()> {
    let sum = broadcast(cx, c, shape)?;
    let grows = sum.len() != 2
        || sum.iter().zip(shape).any(|(sum, dim)| {
            dim.value().is_some() && sum.value().is_some() && sum.value() != dim.value()
        });
    if grows {
        return Err(cx.invalid("its C is too large to be added to the product"));
    }
    Ok(())
}
