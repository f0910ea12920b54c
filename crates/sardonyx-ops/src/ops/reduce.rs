//! Reductions over axes: a row each. Axes come as an attribute (old operator sets) or as an input
//! (new ones); both forms are read, whatever the version.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor, element_count, strides, unravel};

use crate::reference::from_i64;
use crate::{
    Builder, EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, fact_flops,
};

type GradRule = fn(&mut Builder<'_>, Operands) -> Result<ValueId>;

/// What a gradient rule starts from; `y` and `dy` have the reduced axes as ones.
#[derive(Debug, Clone, Copy)]
struct Operands {
    x: ValueId,
    y: ValueId,
    dy: ValueId,
    /// Number of elements that each output element is made of; `None` when symbolic.
    count: Option<usize>,
}

/// One row: `finish(sum of map(x), count)`, or the extreme or the product of `x`.
struct Reduce {
    name: &'static str,
    start: f64,
    step: fn(f64, f64) -> f64,
    finish: fn(f64, usize) -> f64,
    grad: GradRule,
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

static ROWS: [Reduce; 10] = [
    sum(
        "ReduceL1",
        |acc, x| acc + x.abs(),
        |acc, _| acc,
        |builder, o| {
            let sign = builder.op("Sign", &[o.x], &[])?;
            builder.op("Mul", &[sign, o.dy], &[])
        },
    ),
    sum(
        "ReduceL2",
        |acc, x| acc + x * x,
        |acc, _| acc.sqrt(),
        |builder, o| {
            let unit = builder.op("Div", &[o.x, o.y], &[])?;
            builder.op("Mul", &[unit, o.dy], &[])
        },
    ),
    sum(
        "ReduceLogSum",
        |acc, x| acc + x,
        |acc, _| acc.ln(),
        |builder, o| {
            let sum = builder.op("Exp", &[o.y], &[])?;
            let ratio = builder.op("Div", &[o.dy, sum], &[])?;
            expand(builder, ratio, o.x)
        },
    ),
    Reduce {
        name: "ReduceLogSumExp",
        start: f64::NEG_INFINITY,
        step: log_add_exp,
        finish: |acc, _| acc,
        grad: |builder, o| {
            let shifted = builder.op("Sub", &[o.x, o.y], &[])?;
            let softmax = builder.op("Exp", &[shifted], &[])?;
            builder.op("Mul", &[softmax, o.dy], &[])
        },
    },
    Reduce {
        name: "ReduceMax",
        start: f64::NEG_INFINITY,
        step: |acc, x| if x > acc || x.is_nan() { x } else { acc },
        finish: |acc, _| acc,
        grad: extreme_grad,
    },
    sum(
        "ReduceMean",
        |acc, x| acc + x,
        |acc, n| acc / n as f64,
        |builder, o| {
            let Some(count) = o.count else {
                let ratio = builder.op("Shape", &[o.x], &[])?;
                return mean_grad_symbolic(builder, o, ratio);
            };
            let count = builder.scalar_like(o.dy, count as f64)?;
            let share = builder.op("Div", &[o.dy, count], &[])?;
            expand(builder, share, o.x)
        },
    ),
    Reduce {
        name: "ReduceMin",
        start: f64::INFINITY,
        step: |acc, x| if x < acc || x.is_nan() { x } else { acc },
        finish: |acc, _| acc,
        grad: extreme_grad,
    },
    Reduce {
        name: "ReduceProd",
        start: 1.0,
        step: |acc, x| acc * x,
        finish: |acc, _| acc,
        grad: |builder, o| {
            let product = builder.op("Mul", &[o.y, o.dy], &[])?;
            builder.op("Div", &[product, o.x], &[])
        },
    },
    sum(
        "ReduceSum",
        |acc, x| acc + x,
        |acc, _| acc,
        |builder, o| expand(builder, o.dy, o.x),
    ),
    sum(
        "ReduceSumSquare",
        |acc, x| acc + x * x,
        |acc, _| acc,
        |builder, o| {
            let two = builder.scalar_like(o.x, 2.0)?;
            let twice = builder.op("Mul", &[o.x, two], &[])?;
            builder.op("Mul", &[twice, o.dy], &[])
        },
    ),
];

const fn sum(
    name: &'static str,
    step: fn(f64, f64) -> f64,
    finish: fn(f64, usize) -> f64,
    grad: GradRule,
) -> Reduce {
    Reduce {
        name,
        start: 0.0,
        step,
        finish,
        grad,
    }
}

fn log_add_exp(acc: f64, x: f64) -> f64 {
    let high = acc.max(x);
    if high.is_infinite() {
        high
    } else {
        high + ((acc - high).exp() + (x - high).exp()).ln()
    }
}

fn expand(builder: &mut Builder<'_>, value: ValueId, like: ValueId) -> Result<ValueId> {
    let shape = builder.shape_of(like)?;
    builder.op("Expand", &[value, shape], &[])
}

fn mean_grad_symbolic(builder: &mut Builder<'_>, o: Operands, x_shape: ValueId) -> Result<ValueId> {
    let y_shape = builder.op("Shape", &[o.y], &[])?;
    let ratio = builder.op("Div", &[x_shape, y_shape], &[])?;
    let count = builder.op("ReduceProd", &[ratio], &[("keepdims", Attr::Int(0))])?;
    let to = if builder.dtype(o.dy)? == DType::F64 {
        11
    } else {
        1
    };
    let count = builder.op("Cast", &[count], &[("to", Attr::Int(to))])?;
    let share = builder.op("Div", &[o.dy, count], &[])?;
    expand(builder, share, o.x)
}

/// The gradient of a maximum or minimum is shared evenly among the elements that attain it, as
/// PyTorch's `amax` and `amin` do.
fn extreme_grad(builder: &mut Builder<'_>, o: Operands) -> Result<ValueId> {
    let attained = builder.op("Equal", &[o.x, o.y], &[])?;
    let one = builder.scalar_like(o.x, 1.0)?;
    let zero = builder.scalar_like(o.x, 0.0)?;
    let mask = builder.op("Where", &[attained, one, zero], &[])?;
    let ties = builder.unbroadcast(mask, o.y)?;
    let share = builder.op("Div", &[o.dy, ties], &[])?;
    builder.op("Mul", &[mask, share], &[])
}

/// Which axes a node reduces, as flags by axis; `None` when they are not constant.
pub(crate) fn reduced_axes(
    node: &Node,
    input: Option<Vec<i64>>,
    input_is_dynamic: bool,
    rank: usize,
) -> Result<Option<Vec<bool>>> {
    if input_is_dynamic {
        return Ok(None);
    }
    let attribute = node.ints("axes")?.map(<[i64]>::to_vec);
    let axes = input.or(attribute).unwrap_or_default();
    if axes.is_empty() {
        let keep_all = node.flag("noop_with_empty_axes", false)?;
        return Ok(Some(vec![!keep_all; rank]));
    }
    let mut reduced = vec![false; rank];
    for axis in axes {
        reduced[crate::axis_index(node, axis, rank)?] = true;
    }
    Ok(Some(reduced))
}

impl Operator for Reduce {
    fn schema(&self) -> Schema {
        Schema::standard(self.name, 1, 1).inputs(1, 2)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let extreme = matches!(self.name, "ReduceMax" | "ReduceMin");
        let legal = dtype.is_float() || dtype.is_integer() || (extreme && dtype == DType::Bool);
        if !legal {
            return Err(cx.invalid(format!("it does not take {dtype}")));
        }
        let keep = cx.node.flag("keepdims", true)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let axes = cx.constant_ints(1)?;
        let dynamic = axes.is_none() && cx.optional(1).is_some();
        let Some(reduced) = reduced_axes(cx.node, axes, dynamic, shape.len())? else {
            let unknown = (0..shape.len()).map(|axis| cx.unknown_dim(axis)).collect();
            return Ok(vec![
                Fact {
                    dtype,
                    shape: keep.then_some(unknown),
                }
                .into(),
            ]);
        };
        let dims = shape
            .iter()
            .zip(&reduced)
            .filter_map(|(dim, &reduced)| match reduced {
                false => Some(dim.clone()),
                true => keep.then_some(Dim::known(1)),
            });
        Ok(vec![Fact::new(dtype, dims).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let keep = cx.node.flag("keepdims", true)?;
        let reduced = reduced_axes(cx.node, cx.ints(1)?, false, x.rank())?
            .expect("the axes of a running node are given");
        let kept: Vec<usize> = x
            .shape()
            .iter()
            .zip(&reduced)
            .map(|(&n, &r)| if r { 1 } else { n })
            .collect();
        let out_strides = strides(&kept);
        let mut acc = vec![self.start; element_count(&kept)?];
        let mut coords = vec![0; x.rank()];
        for (index, value) in x.to_f64()?.into_iter().enumerate() {
            unravel(index, x.shape(), &mut coords);
            let axes = coords.iter().zip(&out_strides).zip(&reduced);
            let at: usize = axes.map(|((c, s), &r)| if r { 0 } else { c * s }).sum();
            acc[at] = (self.step)(acc[at], value);
        }
        let count = x.len() / acc.len().max(1);
        let values: Vec<f64> = acc
            .into_iter()
            .map(|acc| (self.finish)(acc, count))
            .collect();
        let squeezed = kept
            .iter()
            .zip(&reduced)
            .filter(|(_, r)| keep || !**r)
            .map(|(&n, _)| n);
        let shape: Vec<usize> = squeezed.collect();
        if x.dtype().is_float() {
            return Ok(vec![Tensor::from_f64(x.dtype(), shape, values)?]);
        }
        Ok(vec![from_i64(
            x.dtype(),
            &shape,
            values.into_iter().map(|v| v as i64).collect(),
        )?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, y, dy) = (cx.input(0)?, cx.output(0)?, cx.output_grad(0)?);
        let shape = cx.builder.shape(x)?;
        let axes = cx
            .node
            .input(1)
            .and_then(|id| cx.builder.constant(id))
            .map(Tensor::to_i64);
        let dynamic = axes.is_none() && cx.node.input(1).is_some();
        let reduced = reduced_axes(cx.node, axes.transpose()?, dynamic, shape.len())?;
        let reduced = reduced.ok_or_else(|| cx.not_differentiable("its axes are not constant"))?;
        let flagged = || shape.iter().zip(&reduced);
        let count = flagged()
            .filter(|(_, r)| **r)
            .map(|(dim, _)| dim.value())
            .product();
        let (mut y, mut dy) = (y, dy);
        if !cx.node.flag("keepdims", true)? {
            let axes: Vec<i64> = (0..reduced.len())
                .filter(|&axis| reduced[axis])
                .map(|axis| axis as i64)
                .collect();
            let axes = cx.builder.ints(&axes);
            y = cx.builder.op("Unsqueeze", &[y, axes], &[])?;
            dy = cx.builder.op("Unsqueeze", &[dy, axes], &[])?;
        }
        Ok(vec![
            Some((self.grad)(cx.builder, Operands { x, y, dy, count })?),
            None,
        ])
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        fact_flops(cx.optional(0)?.fact, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name);
        let some = |name: &str| match self.name {
            "ReduceMax" | "ReduceMin" => example(name).distinct(&[2, 3, 4]),
            _ => example(name).uniform(&[2, 3, 4], (0.5, 2.0)),
        };
        let integers = example("of integers")
            .values(&[2, 2], vec![3i32, 1, 4, 1])
            .ints(&[1]);
        let mut examples = vec![
            some("all axes").grad_by(&[0]),
            some("one axis").ints(&[1]).grad_by(&[0]),
            some("two axes, dropped")
                .ints(&[0, -1])
                .attr("keepdims", 0i64)
                .grad_by(&[0]),
            some("axes as attribute")
                .attr("axes", vec![2i64])
                .opset(13)
                .grad_by(&[0]),
        ];
        if !matches!(self.name, "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp") {
            examples.push(integers.no_grad("integers have no gradient"));
        }
        examples
    }
}
