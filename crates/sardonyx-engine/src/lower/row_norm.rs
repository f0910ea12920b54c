//! Normalization of rows by themselves: layer, root-mean-square, group and instance
//! normalization, which differ in what a row is and which scale an element gets.

use sardonyx_kernels::{LayerNorm, LayerNormGrad, LayerNormOptions, Op, Reduction};

use super::elementwise::Fused;
use super::reduce::reduce_axes;
use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// Rows of a node's input, and how scale and bias are spread over them.
struct Rows {
    options: LayerNormOptions,
    /// The input's shape, with axes merged or split so that parameters broadcast to it.
    dims: Vec<usize>,
    /// Shapes of scale and bias in terms of `dims`.
    parameters: [Vec<usize>; 2],
}

impl Rows {
    fn of(cx: &LowerCx<'_>) -> Result<Option<Rows>> {
        let shape = cx.shape(cx.input(0))?;
        let is_grad = cx.node.op_type.ends_with("Grad");
        let parameter = |slot| match cx.node.input(slot) {
            Some(id) => cx.shape(id),
            None => Ok(Vec::new()),
        };
        let scale = parameter(1)?;
        let bias = if is_grad {
            scale.clone()
        } else {
            parameter(2)?
        };
        let count: usize = shape.iter().product();
        let epsilon = cx.node.float("epsilon", 1e-5)?;
        let by_rows = |rows: usize, dims: Vec<usize>, parameters, centred| {
            Some(Rows {
                options: LayerNormOptions {
                    rows,
                    len: count.checked_div(rows).unwrap_or(0),
                    epsilon,
                    centred,
                },
                dims,
                parameters,
            })
        };
        if cx.node.op_type.starts_with("Layer") || cx.node.op_type.starts_with("RMS") {
            let axis = cx.node.int("axis", -1)?;
            let axis = if axis < 0 {
                axis + shape.len() as i64
            } else {
                axis
            };
            let Some(axis) = usize::try_from(axis).ok().filter(|&a| a < shape.len()) else {
                return Ok(None);
            };
            let rows = shape[..axis].iter().product();
            let centred = cx.node.op_type.starts_with("Layer");
            return Ok(by_rows(rows, shape, [scale, bias], centred));
        }
        let [batch, channels, inner @ ..] = &shape[..] else {
            return Ok(None);
        };
        let inner = inner.iter().product::<usize>();
        let groups = match cx.node.op_type.as_str() {
            "InstanceNormalization" => *channels,
            _ => usize::try_from(cx.node.int("num_groups", 0)?).unwrap_or(0),
        };
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Ok(None);
        }
        // The scale goes by channel or by group, as its length says.
        let count = scale.first().copied().unwrap_or(*channels);
        let dims = vec![*batch, count, channels / count.max(1) * inner];
        let parameters = [vec![count, 1], vec![count, 1]];
        Ok(by_rows(batch * groups, dims, parameters, true))
    }

    /// Whether the parameters are one element for each of a row, as the kernels take them.
    fn is_plain(&self) -> bool {
        let is_row = |shape: &Vec<usize>| {
            let width = shape.len();
            let tail = self
                .dims
                .len()
                .checked_sub(width)
                .map(|at| &self.dims[at..]);
            shape.iter().product::<usize>() == self.options.len && tail == Some(&shape[..])
        };
        self.parameters
            .iter()
            .all(|shape| shape.is_empty() || is_row(shape))
    }
}

pub(super) fn forward(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let Some(rows) = Rows::of(cx)?.filter(|_| cx.is_f32()) else {
        return Ok(None);
    };
    let (x, y) = (Slot::Value(cx.input(0)), Slot::Value(cx.output(0)));
    let [scale, bias] = [1, 2].map(|slot| Slot::from(cx.node.input(slot)));
    let statistics = [1, 2].map(|slot| Slot::from(cx.node.output(slot)));
    let kernel = LayerNorm::new(cx.isa, rows.options);
    let mut lowered = Lowered::default();
    if rows.is_plain() {
        lowered.push(
            kernel,
            vec![x, scale, bias, y, statistics[0], statistics[1]],
        );
        return Ok(Some(lowered));
    }
    let unit = lowered.temporary(rows.options.rows * rows.options.len);
    let absent = Slot::Absent;
    let operands = vec![x, absent, absent, unit, statistics[0], statistics[1]];
    lowered.push(kernel, operands);
    let mut fused = Fused::new(rows.dims.clone());
    let unit = fused.floats(unit, &rows.dims)?;
    let scale = fused.floats(scale, &rows.parameters[0])?;
    let mut result = fused.push(Op::Mul, &[unit, scale])?;
    if bias != Slot::Absent {
        let bias = fused.floats(bias, &rows.parameters[1])?;
        result = fused.push(Op::Add, &[result, bias])?;
    }
    fused.finish(&mut lowered, cx, &[(result, y)])?;
    Ok(Some(lowered))
}

/// `..Grad(x, scale, dy)` to `dx`, `dscale`, `dbias`.
pub(super) fn gradient(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let Some(rows) = Rows::of(cx)?.filter(|_| cx.is_f32()) else {
        return Ok(None);
    };
    let [x, scale, dy] = [0, 1, 2].map(|slot| Slot::Value(cx.input(slot)));
    let [dx, d_scale, d_bias] = [0, 1, 2].map(|slot| Slot::from(cx.node.output(slot)));
    let kernel = LayerNormGrad::new(cx.isa, rows.options);
    let mut lowered = Lowered::default();
    if rows.is_plain() {
        let (parts, len) = (kernel.parts(), rows.options.len);
        let sums = [d_scale, d_bias].map(|slot| match slot {
            Slot::Absent => Slot::Absent,
            _ => lowered.temporary(parts * len),
        });
        lowered.push(kernel, vec![x, dy, scale, dx, sums[0], sums[1]]);
        for (sums, to) in sums.into_iter().zip([d_scale, d_bias]) {
            if to != Slot::Absent {
                reduce_axes(
                    &mut lowered,
                    cx.isa,
                    Reduction::Sum,
                    (&[parts, len], &[true, false]),
                    [sums, to],
                )?;
            }
        }
        return Ok(Some(lowered));
    }
    let count = rows.options.rows * rows.options.len;
    let scaled = lowered.temporary(count);
    let mut fused = Fused::new(rows.dims.clone());
    let (grad, factor) = (
        fused.floats(dy, &rows.dims)?,
        fused.floats(scale, &rows.parameters[0])?,
    );
    let product = fused.push(Op::Mul, &[grad, factor])?;
    fused.finish(&mut lowered, cx, &[(product, scaled)])?;
    let absent = Slot::Absent;
    lowered.push(kernel, vec![x, scaled, absent, dx, absent, absent]);
    let missing = rows.dims.len() - rows.parameters[0].len();
    let shape = &rows.parameters[0];
    let is_summed = |axis: usize| axis < missing || (shape[axis - missing] == 1);
    let summed: Vec<bool> = (0..rows.dims.len()).map(is_summed).collect();
    if d_scale != Slot::Absent {
        let unit = lowered.temporary(count);
        let forward = LayerNorm::new(cx.isa, rows.options);
        lowered.push(forward, vec![x, absent, absent, unit, absent, absent]);
        let product = lowered.temporary(count);
        let mut fused = Fused::new(rows.dims.clone());
        let (grad, unit) = (
            fused.floats(dy, &rows.dims)?,
            fused.floats(unit, &rows.dims)?,
        );
        let result = fused.push(Op::Mul, &[grad, unit])?;
        fused.finish(&mut lowered, cx, &[(result, product)])?;
        let over = (&rows.dims[..], &summed[..]);
        reduce_axes(
            &mut lowered,
            cx.isa,
            Reduction::Sum,
            over,
            [product, d_scale],
        )?;
    }
    if d_bias != Slot::Absent {
        let over = (&rows.dims[..], &summed[..]);
        reduce_axes(&mut lowered, cx.isa, Reduction::Sum, over, [dy, d_bias])?;
    }
    Ok(Some(lowered))
}
