//! `AveragePool` and its gradient. The divisor is the number of taps that read inside the input,
//! or inside the padded input (`count_include_pad`); a window that reaches over the padding's end
//! (`ceil_mode`) counts only what lies before that end.

use sardonyx_ir::{Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count, unravel};

use crate::ops::conv::common_float;
use crate::pool::{
    PoolGeometry, check_shape, infer_pool, pool_attributes, pool_flops, spatial_shape,
};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&AveragePool, &AveragePoolGrad];

#[derive(Debug)]
struct AveragePool;

const SCHEMA: Schema = Schema::standard("AveragePool", 1, 1);

/// What the sum of each window of a plane is divided by, in row-major order; never zero.
pub fn divisors(geometry: &PoolGeometry, count_include_pad: bool) -> Result<Vec<f64>> {
    let shape: Vec<usize> = geometry.axes.iter().map(|axis| axis.output).collect();
    let mut coords = vec![0; shape.len()];
    let divisor = |index| {
        unravel(index, &shape, &mut coords);
        let counts = geometry.axes.iter().zip(&coords);
        let count: usize = counts
            .map(|(axis, &output)| match count_include_pad {
                true => axis.padded_taps(output),
                false => axis.taps(output).len(),
            })
            .product();
        count.max(1) as f64
    };
    Ok((0..element_count(&shape)?).map(divisor).collect())
}

/// Mean of each window.
pub(crate) fn average_pool(node: &Node, x: &Tensor) -> Result<Tensor> {
    let geometry = PoolGeometry::read(node, x.shape())?;
    let shape = geometry.y_shape();
    let mut y = vec![0.0; element_count(&shape)?];
    let divisors = divisors(&geometry, node.flag("count_include_pad", false)?)?;
    let values = x.to_f64()?;
    geometry.visits(|from, to| y[to] += values[from]);
    for (sum, divisor) in y.iter_mut().zip(divisors.iter().cycle()) {
        *sum /= divisor;
    }
    Ok(Tensor::from_f64(x.dtype(), shape, y)?)
}

impl Operator for AveragePool {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        Ok(vec![infer_pool(cx)?.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        Ok(vec![average_pool(cx.node, cx.input(0)?)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        average_pool_grad(cx)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        pool_flops(cx)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize], kernel: &[i64]| {
            let made = Example::new(SCHEMA, name).uniform(x, (-1.0, 1.0));
            made.attr("kernel_shape", kernel.to_vec())
        };
        let square = |name: &str| example(name, &[2, 2, 6, 7], &[2, 3]);
        let padded = |name: &str| {
            square(name)
                .attr("strides", vec![3i64, 2])
                .attr("pads", vec![1i64, 2, 0, 1])
        };
        vec![
            square("plain"),
            padded("padded"),
            padded("counting the padding").attr("count_include_pad", 1i64),
            padded("with a partial last window").attr("ceil_mode", 1i64),
            padded("counting the padding of a partial last window")
                .attr("count_include_pad", 1i64)
                .attr("ceil_mode", 1i64),
            square("dilated").attr("dilations", vec![3i64, 2]),
            square("padded to the same size").attr("auto_pad", "SAME_LOWER"),
            example("of sequences", &[2, 2, 7], &[3]).attr("strides", vec![2i64]),
            example("of volumes", &[1, 2, 4, 3, 4], &[2, 2, 3]),
            example("of no sample", &[0, 2, 4], &[2]),
        ]
    }
}

/// Emits the gradient of `AveragePool` or of its global form.
pub(crate) fn average_pool_grad(cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
    let dy = cx.output_grad(0)?;
    let mut attributes = pool_attributes(cx)?;
    attributes.push(("input_shape", spatial_shape(cx)?));
    Ok(vec![Some(cx.builder.own(
        "AveragePoolGrad",
        &[dy],
        &attributes,
    )?)])
}

/// `AveragePoolGrad(dy)` gives `dx`, whose spatial shape is attribute `input_shape`; it carries
/// the attributes of `AveragePool`.
#[derive(Debug)]
struct AveragePoolGrad;

impl AveragePoolGrad {
    const SCHEMA: Schema = Schema::own("AveragePoolGrad", 1);

    fn input_shape(node: &Node) -> Result<Vec<usize>> {
        let shape = node.sizes("input_shape")?;
        shape.ok_or_else(|| node.attribute_error("input_shape", "must be given").into())
    }

    fn geometry(node: &Node, dy: &[usize]) -> Result<PoolGeometry> {
        let &[batch, channels, ..] = dy else {
            return Err(OpError::invalid(
                node,
                format!("shape {dy:?} is of too low a rank"),
            ));
        };
        let x = [&[batch, channels], &Self::input_shape(node)?[..]].concat();
        PoolGeometry::read(node, &x)
    }
}

impl Operator for AveragePoolGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = common_float(cx)?;
        let spatial = Self::input_shape(cx.node)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        if shape.len() != spatial.len() + 2 {
            return Err(cx.invalid("its input is not of the rank that input_shape asks for"));
        }
        let spatial = spatial.into_iter().map(Dim::known);
        let dims = shape[..2].iter().cloned().chain(spatial);
        Ok(vec![Fact::new(dtype, dims).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let dy = cx.input(0)?;
        let geometry = Self::geometry(cx.node, dy.shape())?;
        check_shape(cx.node, dy, &geometry.y_shape())?;
        let divisors = divisors(&geometry, cx.node.flag("count_include_pad", false)?)?;
        let shares = dy.to_f64()?.into_iter().zip(divisors.iter().cycle());
        let shares: Vec<f64> = shares.map(|(dy, divisor)| dy / divisor).collect();
        let shape = geometry.x_shape();
        let mut dx = vec![0.0; element_count(&shape)?];
        geometry.visits(|x, y| dx[x] += shares[y]);
        Ok(vec![Tensor::from_f64(dy.dtype(), shape, dx)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let shape = cx.input(0).ok()?.fact.fixed_shape()?;
        Some(Self::geometry(cx.node, &shape).ok()?.flops())
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "overlapping")
            .attr("kernel_shape", vec![2i64, 3])
            .attr("strides", vec![1i64, 2])
            .attr("input_shape", vec![3i64, 5])
            .uniform(&[1, 2, 2, 2], (-1.0, 1.0));
        vec![example.no_grad("second derivatives are not supported")]
    }
}
