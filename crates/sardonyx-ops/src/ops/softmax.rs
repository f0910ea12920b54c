//! `Softmax`, `LogSoftmax`, `Hardmax` and the gradients of the first two. Since operator set 13
//! they run along one axis; before, over all axes from `axis` on, taken as one.

use sardonyx_ir::{Attr, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::ops::conv::common_float;
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &Softmax::Hard,
    &Softmax::Log,
    &SoftmaxGrad::Log,
    &Softmax::Plain,
    &SoftmaxGrad::Plain,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Softmax {
    Plain,
    Log,
    Hard,
}

/// Which elements are normalised together: those that differ in the middle index of
/// `[outer, len, inner]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes {
    /// Product of the axes before.
    pub outer: usize,
    /// Elements of a lane.
    pub len: usize,
    /// Product of the axes behind, which is the step between a lane's elements.
    pub inner: usize,
}

impl Lanes {
    /// The lanes along `axis`.
    pub fn along(shape: &[usize], axis: usize) -> Lanes {
        Lanes {
            outer: shape[..axis].iter().product(),
            len: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        }
    }

    /// The lanes of a softmax node of operator set `opset` over `shape`.
    ///
    /// # Errors
    /// When the axis is out of range.
    pub fn of(node: &Node, opset: i64, shape: &[usize]) -> Result<Lanes> {
        let (axis, flat) = axis(node, opset, shape.len())?;
        if shape.is_empty() {
            return Ok(Lanes {
                outer: 1,
                len: 1,
                inner: 1,
            });
        }
        if !flat {
            return Ok(Lanes::along(shape, axis));
        }
        Ok(Lanes {
            outer: shape[..axis].iter().product(),
            len: shape[axis..].iter().product(),
            inner: 1,
        })
    }

    /// Offsets of the elements of every lane.
    pub fn iter(self) -> impl Iterator<Item = impl Iterator<Item = usize> + Clone> {
        let lane = move |index: usize| {
            let first = index / self.inner * self.len * self.inner + index % self.inner;
            (0..self.len).map(move |element| first + element * self.inner)
        };
        (0..self.outer * self.inner).map(lane)
    }
}

/// The axis of a softmax node, and whether all axes behind it belong to the lane too. The
/// gradients, which have no operator set of their own, carry this as attribute `flat`.
fn axis(node: &Node, opset: i64, rank: usize) -> Result<(usize, bool)> {
    let flat = match node.domain.as_str() {
        sardonyx_ir::SARDONYX => node.flag("flat", false)?,
        _ => opset < 13,
    };
    let axis = node.int("axis", if flat { 1 } else { -1 })?;
    if rank == 0 || (flat && axis == rank as i64) {
        return Ok((rank, flat));
    }
    Ok((axis_index(node, axis, rank)?, flat))
}

/// `softmax` of one lane, shifted by its maximum so that nothing overflows.
fn softmax_lane(x: &[f64], lane: impl Iterator<Item = usize> + Clone, y: &mut [f64], log: bool) {
    let highest = lane
        .clone()
        .fold(f64::NEG_INFINITY, |high, at| high.max(x[at]));
    let sum: f64 = lane.clone().map(|at| (x[at] - highest).exp()).sum();
    for at in lane {
        let shifted = x[at] - highest;
        y[at] = if log {
            shifted - sum.ln()
        } else {
            shifted.exp() / sum
        };
    }
}

/// Natural logarithm of the softmax of `x` over `lanes`.
pub(crate) fn log_softmax(x: &[f64], lanes: Lanes) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for lane in lanes.iter() {
        softmax_lane(x, lane, &mut y, true);
    }
    y
}

fn first_maximum(x: &[f64], lane: impl Iterator<Item = usize>) -> Option<usize> {
    lane.reduce(|best, at| if x[at] > x[best] { at } else { best })
}

impl Operator for Softmax {
    fn schema(&self) -> Schema {
        let name = match self {
            Softmax::Plain => "Softmax",
            Softmax::Log => "LogSoftmax",
            Softmax::Hard => "Hardmax",
        };
        Schema::standard(name, 1, 1)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        let fact = cx.input(0)?.fact;
        if let Some(rank) = fact.rank() {
            axis(cx.node, cx.opset, rank)?;
        }
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let lanes = Lanes::of(cx.node, cx.opset, x.shape())?;
        let values = x.to_f64()?;
        let mut y = vec![0.0; values.len()];
        for lane in lanes.iter() {
            match self {
                Softmax::Hard => {
                    if let Some(at) = first_maximum(&values, lane) {
                        y[at] = 1.0;
                    }
                }
                Softmax::Plain => softmax_lane(&values, lane, &mut y, false),
                Softmax::Log => softmax_lane(&values, lane, &mut y, true),
            }
        }
        Ok(vec![Tensor::from_f64(x.dtype(), x.shape(), y)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let op = match self {
            Softmax::Plain => "SoftmaxGrad",
            Softmax::Log => "LogSoftmaxGrad",
            Softmax::Hard => return Ok(vec![None]),
        };
        let (y, dy) = (cx.output(0)?, cx.output_grad(0)?);
        let opset = cx
            .builder
            .graph()
            .opset(&cx.node.domain)
            .unwrap_or(crate::MAX_OPSET);
        let (axis, flat) = axis(cx.node, opset, cx.builder.shape(y)?.len())?;
        let mut attributes = vec![("axis", Attr::Int(axis as i64))];
        attributes.extend(flat.then_some(("flat", Attr::Int(1))));
        Ok(vec![Some(cx.builder.own(op, &[y, dy], &attributes)?)])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 12)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize]| {
            let made = Example::new(self.schema(), name).distinct(x);
            match self {
                Softmax::Hard => made.no_grad("it is constant but for jumps"),
                _ => made,
            }
        };
        vec![
            example("plain", &[3, 5]),
            example("along the middle", &[2, 3, 4]).attr("axis", 1i64),
            example("along the first from behind", &[2, 3]).attr("axis", -2i64),
            example("of no row", &[0, 3]),
            example("of empty rows", &[3, 0]),
            example("of old, flat", &[2, 3, 4]).opset(11),
            example("of old, flat from the first", &[2, 3, 2])
                .opset(12)
                .attr("axis", 0i64),
        ]
    }
}

/// `SoftmaxGrad(y, dy)` and `LogSoftmaxGrad(y, dy)` give `dx`; attributes `axis` and `flat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SoftmaxGrad {
    Plain,
    Log,
}

impl Operator for SoftmaxGrad {
    fn schema(&self) -> Schema {
        match self {
            SoftmaxGrad::Plain => Schema::own("SoftmaxGrad", 2),
            SoftmaxGrad::Log => Schema::own("LogSoftmaxGrad", 2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        let fact = cx.input(0)?.fact;
        if let Some(rank) = fact.rank() {
            axis(cx.node, cx.opset, rank)?;
        }
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (y, dy) = (cx.input(0)?, cx.input(1)?);
        crate::pool::check_shape(cx.node, dy, y.shape())?;
        let (ys, dys) = (y.to_f64()?, dy.to_f64()?);
        let mut dx = vec![0.0; ys.len()];
        for lane in Lanes::of(cx.node, cx.opset, y.shape())?.iter() {
            match self {
                SoftmaxGrad::Plain => {
                    let mean: f64 = lane.clone().map(|at| ys[at] * dys[at]).sum();
                    lane.for_each(|at| dx[at] = ys[at] * (dys[at] - mean));
                }
                SoftmaxGrad::Log => {
                    let sum: f64 = lane.clone().map(|at| dys[at]).sum();
                    lane.for_each(|at| dx[at] = dys[at] - ys[at].exp() * sum);
                }
            }
        }
        Ok(vec![Tensor::from_f64(y.dtype(), y.shape(), dx)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 5)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(self.schema(), "along the middle")
            .attr("axis", 1i64)
            .uniform(&[2, 3, 2], (0.1, 0.9))
            .uniform(&[2, 3, 2], (-1.0, 1.0));
        vec![example.no_grad("second derivatives are not supported")]
    }
}
