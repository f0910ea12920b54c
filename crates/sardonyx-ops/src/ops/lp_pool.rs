//! `LpPool`: the p-norm of each window, `(sum |x|^p)^(1/p)`, and its gradient.

use sardonyx_ir::{Node, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use crate::ops::conv::common_float;
use crate::pool::{PoolGeometry, check_shape, infer_pool, pool_attributes, pool_flops};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&LpPool, &LpPoolGrad];

#[derive(Debug)]
struct LpPool;

const SCHEMA: Schema = Schema::standard("LpPool", 2, 1);

/// The order of the norm.
///
/// # Errors
/// When it is not above zero.
pub(crate) fn order(node: &Node) -> Result<f64> {
    match node.int("p", 2)? {
        p if p > 0 => Ok(p as f64),
        _ => Err(node.attribute_error("p", "must be above zero").into()),
    }
}

/// Norm of each window.
pub(crate) fn lp_pool(node: &Node, x: &Tensor) -> Result<Tensor> {
    let geometry = PoolGeometry::read(node, x.shape())?;
    let (p, shape) = (order(node)?, geometry.y_shape());
    let mut y = vec![0.0; element_count(&shape)?];
    let values = x.to_f64()?;
    geometry.visits(|from, to| y[to] += values[from].abs().powf(p));
    let y = y.into_iter().map(|sum: f64| sum.powf(p.recip())).collect();
    Ok(Tensor::from_f64(x.dtype(), shape, y)?)
}

impl Operator for LpPool {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        order(cx.node)?;
        Ok(vec![infer_pool(cx)?.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        Ok(vec![lp_pool(cx.node, cx.input(0)?)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        lp_pool_grad(cx)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        pool_flops(cx).map(|visits| visits.saturating_mul(2))
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let made = Example::new(SCHEMA, name).distinct(&[2, 2, 5, 6]);
            made.attr("kernel_shape", vec![2i64, 3])
        };
        vec![
            example("plain"),
            example("of absolute values").attr("p", 1i64),
            example("cubic, strided and padded")
                .attr("p", 3i64)
                .attr("strides", vec![2i64, 2])
                .attr("pads", vec![1i64, 0, 0, 1]),
            example("dilated with a partial last window")
                .attr("dilations", vec![1i64, 2])
                .attr("strides", vec![2i64, 2])
                .attr("ceil_mode", 1i64),
        ]
    }
}

/// Emits the gradient of `LpPool` or of its global form.
pub(crate) fn lp_pool_grad(cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
    let (x, y, dy) = (cx.input(0)?, cx.output(0)?, cx.output_grad(0)?);
    let attributes = pool_attributes(cx)?;
    Ok(vec![Some(cx.builder.own(
        "LpPoolGrad",
        &[x, y, dy],
        &attributes,
    )?)])
}

/// `LpPoolGrad(x, y, dy)` gives `dx`; it carries the attributes of `LpPool`. Where the norm is
/// zero, so is its gradient.
#[derive(Debug)]
struct LpPoolGrad;

impl LpPoolGrad {
    const SCHEMA: Schema = Schema::own("LpPoolGrad", 3);
}

impl Operator for LpPoolGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        order(cx.node)?;
        infer_pool(cx)?;
        Ok(vec![cx.input(0)?.fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, y, dy) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        let geometry = PoolGeometry::read(cx.node, x.shape())?;
        check_shape(cx.node, y, &geometry.y_shape())?;
        check_shape(cx.node, dy, &geometry.y_shape())?;
        let p = order(cx.node)?;
        let (values, norms, dys) = (x.to_f64()?, y.to_f64()?, dy.to_f64()?);
        let mut dx = vec![0.0; x.len()];
        geometry.visits(|from, to| {
            if norms[to] != 0.0 && values[from] != 0.0 {
                let ratio = (values[from].abs() / norms[to]).powf(p - 1.0);
                dx[from] += dys[to] * ratio * values[from].signum();
            }
        });
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), dx)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        pool_flops(cx).map(|visits| visits.saturating_mul(4))
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "overlapping")
            .attr("kernel_shape", vec![2i64])
            .uniform(&[1, 2, 3], (-1.0, 1.0))
            .uniform(&[1, 2, 2], (0.5, 1.0))
            .uniform(&[1, 2, 2], (-1.0, 1.0));
        vec![example.no_grad("second derivatives are not supported")]
    }
}
