//! `Pad`: adds to the ends of the axes, or with a negative count takes away from them. What is
//! added is a constant, or elements repeated from the edge, reflected at it, or wrapped around.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, strides, unravel};

use super::move_grad::{self, Move, Moved};
use crate::reference::{claimed_count, join};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, axis_index,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Pad];

#[derive(Debug)]
struct Pad;

const SCHEMA: Schema = Schema::standard("Pad", 2, 1).inputs(1, 4);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constant,
    Edge,
    Reflect,
    Wrap,
}

fn mode(node: &Node) -> Result<Mode> {
    match node.text("mode", "constant")? {
        "constant" => Ok(Mode::Constant),
        "edge" => Ok(Mode::Edge),
        "reflect" => Ok(Mode::Reflect),
        "wrap" => Ok(Mode::Wrap),
        _ => Err(node
            .attribute_error("mode", "must be constant, edge, reflect or wrap")
            .into()),
    }
}

/// Counts added before and after each of `rank` axes.
fn counts(
    node: &Node,
    rank: usize,
    pads: Option<Vec<i64>>,
    axes: Option<Vec<i64>>,
) -> Result<Vec<(i64, i64)>> {
    let pads = match pads {
        Some(pads) => pads,
        None => node.ints("pads")?.unwrap_or_default().to_vec(),
    };
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * axes.len() {
        let (pads, axes) = (pads.len(), axes.len());
        return Err(OpError::invalid(
            node,
            format!("{pads} pads for {axes} axes"),
        ));
    }
    let mut counts = vec![(0, 0); rank];
    for (index, &axis) in axes.iter().enumerate() {
        counts[axis_index(node, axis, rank)?] = (pads[index], pads[index + axes.len()]);
    }
    Ok(counts)
}

/// Length of a padded axis.
fn padded(node: &Node, length: usize, (before, after): (i64, i64)) -> Result<usize> {
    let kept = (length as i64)
        .saturating_add(before.min(0))
        .saturating_add(after.min(0));
    let total = kept
        .saturating_add(before.max(0))
        .saturating_add(after.max(0));
    if kept < 0 {
        let problem = format!("pads {before} and {after} take away more than {length} elements");
        return Err(OpError::invalid(node, problem));
    }
    Ok(total as usize)
}

/// Which element of an axis of `length` elements (after taking away) stands at `at`, counted from
/// the first that is kept; `None` outside of it in constant mode.
fn place(mode: Mode, at: i64, length: i64) -> Option<i64> {
    if (0..length).contains(&at) {
        return Some(at);
    }
    match mode {
        Mode::Constant => None,
        Mode::Edge => Some(at.clamp(0, length - 1)),
        Mode::Reflect if length == 1 => Some(0),
        Mode::Reflect => {
            let at = at.rem_euclid(2 * (length - 1));
            Some(at.min(2 * (length - 1) - at))
        }
        Mode::Wrap => Some(at.rem_euclid(length)),
    }
}

/// Shape of the result, and where its elements come from (`None`: from the constant).
fn places(cx: &Move<'_>) -> Result<(Vec<usize>, Vec<Option<usize>>)> {
    let mode = mode(cx.node)?;
    let counts = counts(cx.node, cx.shape.len(), cx.ints(0)?, cx.ints(2)?)?;
    let mut shape = Vec::with_capacity(cx.shape.len());
    for (&length, &count) in cx.shape.iter().zip(&counts) {
        let total = padded(cx.node, length, count)?;
        let kept = length as i64 + count.0.min(0) + count.1.min(0);
        if kept == 0 && total > 0 && mode != Mode::Constant {
            return Err(cx.invalid("an axis has no element that could be repeated"));
        }
        shape.push(total);
    }
    let from = strides(cx.shape);
    let mut coords = vec![0; shape.len()];
    let place_of = |index| {
        unravel(index, &shape, &mut coords);
        coords.iter().enumerate().try_fold(0, |sum, (axis, &c)| {
            let (before, after) = counts[axis];
            let kept = cx.shape[axis] as i64 + before.min(0) + after.min(0);
            let at = place(mode, c as i64 - before.max(0), kept)? - before.min(0);
            Some(sum + at as usize * from[axis])
        })
    };
    let places = (0..claimed_count(cx.node, &shape)?).map(place_of).collect();
    Ok((shape, places))
}

/// Where the elements come from, in the modes that only copy.
pub(crate) fn pad(cx: &Move<'_>) -> Result<Moved> {
    let (shape, places) = places(cx)?;
    let sources = places.into_iter().collect::<Option<_>>();
    let sources = sources.ok_or_else(|| cx.invalid("constant padding is not a copy"))?;
    Ok(Moved { shape, sources })
}

impl Operator for Pad {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        mode(cx.node)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let (pads, axes) = (cx.constant_ints(1)?, cx.constant_ints(3)?);
        let dynamic = (cx.optional(1).is_some() && pads.is_none())
            || (cx.optional(3).is_some() && axes.is_none());
        if dynamic {
            let dims = (0..shape.len()).map(|axis| cx.unknown_dim(axis));
            return Ok(vec![Fact::new(dtype, dims).into()]);
        }
        let counts = counts(cx.node, shape.len(), pads, axes)?;
        let dims = shape
            .iter()
            .zip(counts)
            .enumerate()
            .map(|(axis, (dim, count))| {
                Ok(match dim.value() {
                    Some(length) => Dim::known(padded(cx.node, length, count)?),
                    None if count == (0, 0) => dim.clone(),
                    None => cx.unknown_dim(axis),
                })
            });
        Ok(vec![
            Fact::new(dtype, dims.collect::<Result<Vec<_>>>()?).into(),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let (shape, places) = places(&Move::of(cx)?)?;
        let constant = match cx.optional(2) {
            Some(value) if value.len() == 1 => value.clone(),
            Some(value) => {
                return Err(cx.invalid(format!("its constant has {} elements", value.len())));
            }
            None if x.dtype().is_float() => {
                let value = f64::from(cx.node.float("value", 0.0)?);
                Tensor::from_f64(x.dtype(), [1], vec![value])?
            }
            None => Tensor::zeros(x.dtype(), [1])?,
        };
        let sources: Vec<usize> = places.into_iter().map(|p| p.unwrap_or(x.len())).collect();
        Ok(vec![join(&[x, &constant])?.take(shape, &sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
        if mode(cx.node)? != Mode::Constant {
            let rest = cx.node.inputs[1..].to_vec();
            return move_grad::emit(cx, "PadGrad", &rest);
        }
        // What was added is taken away, what was taken away is zero.
        let rank = cx.builder.shape(x)?.len();
        let constant = |index| Some(cx.builder.constant(cx.node.input(index)?)?.to_i64());
        let opposite = match (cx.node.input(1), constant(1).transpose()?) {
            (_, Some(pads)) => cx
                .builder
                .ints(&pads.into_iter().map(|n| -n).collect::<Vec<_>>()),
            (Some(pads), None) => cx.builder.op("Neg", &[pads], &[])?,
            (None, None) => {
                let counts = counts(cx.node, rank, None, None)?;
                let before = counts.iter().map(|count| -count.0);
                let pads = before.chain(counts.iter().map(|count| -count.1));
                cx.builder.ints(&pads.collect::<Vec<_>>())
            }
        };
        let inputs = [Some(dy), Some(opposite), None, cx.node.input(3)];
        let dx = cx.builder.node(("", "Pad"), &inputs, &[], 1)?[0];
        let mut grads = vec![None; cx.node.inputs.len()];
        grads[0] = Some(dx);
        if cx.wants(2) {
            let like = cx.input(2)?;
            let sum = |builder: &mut crate::Builder<'_>, value| {
                builder.op("ReduceSum", &[value], &[("keepdims", Attr::Int(0))])
            };
            let (all, kept) = (sum(cx.builder, dy)?, sum(cx.builder, dx)?);
            let added = cx.builder.op("Sub", &[all, kept], &[])?;
            grads[2] = Some(cx.builder.reshape_like(added, like)?);
        }
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize], pads: &[i64]| {
            let example = Example::new(SCHEMA, name).uniform(shape, (-1.0, 1.0));
            example.ints(pads).grad_by(&[0])
        };
        let mode = |mode: &str, shape: &[usize], pads: &[i64]| {
            example(mode, shape, pads).attr("mode", mode)
        };
        vec![
            example("with zeros", &[2, 3], &[1, 0, 2, 3]),
            example("with a constant", &[2, 3], &[0, 1, 0, -1])
                .values(&[], vec![0.7f32])
                .grad_by(&[0, 2]),
            example("of some axes", &[2, 3, 2], &[1, 2])
                .absent()
                .ints(&[-1]),
            example("of nothing", &[0, 3], &[1, 0, 1, 0]),
            mode("edge", &[3, 2], &[2, 1, 1, 3]),
            mode("reflect", &[4, 3], &[3, 2, 5, 0]),
            mode("wrap", &[4, 3], &[1, 2, 5, 4]),
            mode("edge", &[5], &[-2, 2]),
            mode("reflect", &[0, 3], &[0, 1, 0, 1]),
            Example::new(SCHEMA, "by attributes")
                .opset(10)
                .attr("pads", vec![1i64, 0, 0, 2])
                .attr("value", 0.5f32)
                .uniform(&[2, 3], (-1.0, 1.0)),
        ]
    }
}
