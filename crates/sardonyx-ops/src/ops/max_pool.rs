//! `MaxPool` and its gradient, which goes to the first maximum of each window in row-major order,
//! as in PyTorch and TensorFlow.

use sardonyx_ir::{Fact, ValueId};
use sardonyx_tensor::{DType, Tensor, element_count, strides, unravel};

use crate::pool::{PoolGeometry, check_shape, infer_pool, pool_attributes, pool_flops};
use crate::reference::from_i64;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&MaxPool, &MaxPoolGrad];

#[derive(Debug)]
struct MaxPool;

const SCHEMA: Schema = Schema::standard("MaxPool", 1, 1).outputs(2);

/// For each output element the offset of its window's first maximum in the input; `None` for a
/// window that sees padding only. A NaN counts as the largest.
fn first_maxima<T: Copy + PartialOrd>(
    geometry: &PoolGeometry,
    x: &[T],
) -> Result<Vec<Option<usize>>> {
    let is_nan = |value: T| value.partial_cmp(&value).is_none();
    let mut best: Vec<Option<usize>> = vec![None; element_count(&geometry.y_shape())?];
    geometry.visits(|from, to| {
        let beaten =
            best[to].is_none_or(|held| x[from] > x[held] || (is_nan(x[from]) && !is_nan(x[held])));
        if beaten {
            best[to] = Some(from);
        }
    });
    Ok(best)
}

/// Largest element of each window, and its offset in the whole input (-1 where there is none).
pub(crate) fn max_pool(geometry: &PoolGeometry, x: &Tensor) -> Result<(Tensor, Vec<i64>)> {
    let shape = geometry.y_shape();
    let (pooled, best) = if x.dtype().is_float() {
        let values = x.to_f64()?;
        let best = first_maxima(geometry, &values)?;
        let pick = |&at: &Option<usize>| at.map_or(f64::NEG_INFINITY, |at| values[at]);
        let picked = best.iter().map(pick).collect();
        (Tensor::from_f64(x.dtype(), shape, picked)?, best)
    } else {
        let values = x.to_i64()?;
        let lowest = if x.dtype() == DType::I8 { -128 } else { 0 };
        let best = first_maxima(geometry, &values)?;
        let pick = |&at: &Option<usize>| at.map_or(lowest, |at| values[at]);
        (
            from_i64(x.dtype(), &shape, best.iter().map(pick).collect())?,
            best,
        )
    };
    let offset = |at: Option<usize>| at.map_or(-1, |at| at as i64);
    Ok((pooled, best.into_iter().map(offset).collect()))
}

/// Offsets into the input with the spatial axes of each plane in column-major order.
fn column_major(indices: &mut [i64], x_shape: &[usize]) {
    let spatial = &x_shape[2..];
    let reversed: Vec<usize> = spatial.iter().rev().copied().collect();
    let steps = strides(&reversed);
    let plane: usize = spatial.iter().product();
    let mut coords = vec![0; spatial.len()];
    for index in indices.iter_mut() {
        let Ok(offset) = usize::try_from(*index) else {
            continue;
        };
        unravel(offset % plane, spatial, &mut coords);
        let within: usize = coords.iter().rev().zip(&steps).map(|(c, s)| c * s).sum();
        *index = (offset / plane * plane + within) as i64;
    }
}

impl Operator for MaxPool {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        if !dtype.is_float() && !matches!(dtype, DType::I8 | DType::U8) {
            return Err(cx.invalid(format!("it does not take {dtype}")));
        }
        let fact = infer_pool(cx)?;
        let shape = fact.shape.clone();
        let indices = Fact {
            dtype: DType::I64,
            shape,
        };
        Ok(vec![fact.into(), indices.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let geometry = PoolGeometry::read(cx.node, x.shape())?;
        let (pooled, mut indices) = max_pool(&geometry, x)?;
        if cx.node.flag("storage_order", false)? {
            column_major(&mut indices, x.shape());
        }
        Ok(vec![pooled, Tensor::new(geometry.y_shape(), indices)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        max_pool_grad(cx)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        pool_flops(cx)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize], kernel: &[i64]| {
            let made = Example::new(SCHEMA, name).distinct(x);
            made.attr("kernel_shape", kernel.to_vec())
        };
        let square = |name: &str| example(name, &[2, 3, 6, 7], &[2, 3]);
        let integers = Example::new(SCHEMA, "of integers")
            .attr("kernel_shape", vec![2i64])
            .values(&[1, 1, 4], vec![-7i8, -9, 3, 3]);
        vec![
            square("plain"),
            square("strided").attr("strides", vec![2i64, 3]),
            square("padded")
                .attr("strides", vec![2i64, 2])
                .attr("pads", vec![1i64, 2, 0, 1]),
            square("dilated").attr("dilations", vec![3i64, 2]),
            square("with a partial last window")
                .attr("strides", vec![4i64, 3])
                .attr("ceil_mode", 1i64),
            square("padded to the same size").attr("auto_pad", "SAME_UPPER"),
            square("with indices").outputs(2),
            square("with column-major indices")
                .attr("storage_order", 1i64)
                .outputs(2),
            example("of sequences", &[2, 2, 7], &[3]).attr("strides", vec![2i64]),
            example("of volumes", &[1, 2, 4, 3, 4], &[2, 2, 3]).attr("strides", vec![1i64, 1, 2]),
            example("of no sample", &[0, 2, 4], &[2]),
            integers.outputs(2).no_grad("integers have no gradient"),
        ]
    }
}

/// Emits the gradient of `MaxPool` or of its global form.
pub(crate) fn max_pool_grad(cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
    let (x, y, dy) = (cx.input(0)?, cx.output(0)?, cx.output_grad(0)?);
    let attributes = pool_attributes(cx)?;
    Ok(vec![Some(cx.builder.own(
        "MaxPoolGrad",
        &[x, y, dy],
        &attributes,
    )?)])
}

/// `MaxPoolGrad(x, y, dy)` gives `dx`; it carries the attributes of `MaxPool`. That `y` is given
/// saves a kernel from finding the maxima again.
#[derive(Debug)]
struct MaxPoolGrad;

impl MaxPoolGrad {
    const SCHEMA: Schema = Schema::own("MaxPoolGrad", 3);
}

impl Operator for MaxPoolGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        crate::ops::conv::common_float(cx)?;
        infer_pool(cx)?;
        Ok(vec![cx.input(0)?.fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, dy) = (cx.input(0)?, cx.input(2)?);
        let geometry = PoolGeometry::read(cx.node, x.shape())?;
        check_shape(cx.node, dy, &geometry.y_shape())?;
        let mut dx = vec![0.0; x.len()];
        let best = first_maxima(&geometry, &x.to_f64()?)?;
        for (at, dy) in best.into_iter().zip(dy.to_f64()?) {
            if let Some(at) = at {
                dx[at] += dy;
            }
        }
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), dx)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        pool_flops(cx)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "overlapping")
            .attr("kernel_shape", vec![2i64, 3])
            .attr("strides", vec![1i64, 2])
            .distinct(&[1, 2, 3, 5])
            .uniform(&[1, 2, 2, 2], (-1.0, 1.0))
            .uniform(&[1, 2, 2, 2], (-1.0, 1.0));
        vec![example.no_grad("second derivatives are not supported")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sardonyx_ir::Node;

    #[test]
    fn a_tie_goes_to_the_first() {
        let mut node = Node::new("", "MaxPool");
        node.attributes
            .insert("kernel_shape".to_owned(), vec![2i64, 2].into());
        let geometry = PoolGeometry::read(&node, &[1, 1, 2, 3]).expect("it fits");
        let x = [1.0, 5.0, 5.0, 5.0, f64::NAN, 7.0];
        assert_eq!(first_maxima(&geometry, &x[..]), Ok(vec![Some(4), Some(4)]));
        let x = [1, 5, 5, 5, 2, 5];
        assert_eq!(first_maxima(&geometry, &x[..]), Ok(vec![Some(1), Some(1)]));
    }
}
