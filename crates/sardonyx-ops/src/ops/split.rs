//! `Split`: cuts a tensor into parts along an axis. The parts' lengths are an attribute, an input,
//! or equal; all forms are read, whatever the version. The gradient puts the parts together again.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count};

use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, axis_index,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Split];

#[derive(Debug)]
struct Split;

const SCHEMA: Schema = Schema::standard("Split", 2, 1)
    .inputs(1, 2)
    .outputs(usize::MAX);

/// Most parts that are made on a node's word alone.
const MAX_PARTS: usize = 1 << 16;

fn split_axis(node: &Node, rank: usize) -> Result<usize> {
    axis_index(node, node.int("axis", 0)?, rank)
}

/// Number of equal parts, when no lengths are given, and whether the last may be shorter.
fn equal_parts(node: &Node) -> Result<(usize, bool)> {
    let outputs = node.outputs.len() as i64;
    let (count, uneven) = match node.attributes.contains_key("num_outputs") {
        true => (node.int("num_outputs", outputs)?, true),
        false => (outputs, false),
    };
    usize::try_from(count)
        .ok()
        .filter(|&count| (1..=MAX_PARTS).contains(&count))
        .map(|count| (count, uneven))
        .ok_or_else(|| OpError::invalid(node, format!("it cannot make {count} parts")))
}

/// Lengths of the parts of an axis of `length` elements.
fn lengths(node: &Node, given: Option<Vec<i64>>, length: usize) -> Result<Vec<usize>> {
    let given = match given {
        Some(given) => Some(given),
        None => node.ints("split")?.map(<[i64]>::to_vec),
    };
    if let Some(given) = given {
        let lengths = given
            .iter()
            .map(|&n| usize::try_from(n).ok())
            .collect::<Option<Vec<_>>>();
        let sum = |v: &[usize]| v.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
        return lengths.filter(|v| sum(v) == Some(length)).ok_or_else(|| {
            OpError::invalid(
                node,
                format!("parts {given:?} do not make up {length} elements"),
            )
        });
    }
    let (count, uneven) = equal_parts(node)?;
    if !uneven && !length.is_multiple_of(count) {
        let problem = format!("{length} elements cannot be cut into {count} equal parts");
        return Err(OpError::invalid(node, problem));
    }
    let part = length.div_ceil(count);
    Ok((0..count)
        .map(|index| length.saturating_sub(index * part).min(part))
        .collect())
}

impl Operator for Split {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let given = cx.constant_ints(1)?;
        let dynamic = cx.optional(1).is_some() && given.is_none();
        let parts = match (&given, dynamic, cx.node.ints("split")?) {
            (Some(given), ..) => given.len(),
            (None, true, _) => {
                let length = cx.shape(1)?.and_then(|dims| dims.first()?.value());
                length.unwrap_or(cx.node.outputs.len())
            }
            (None, false, Some(list)) => list.len(),
            (None, false, None) => equal_parts(cx.node)?.0,
        };
        let parts = parts.max(cx.node.outputs.len());
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into(); parts]);
        };
        let axis = split_axis(cx.node, shape.len())?;
        let dims = part_dims(cx, (&shape[axis], axis), given, parts)?;
        let mut values = cx
            .dims(0)
            .filter(|_| shape.len() == 1)
            .unwrap_or_default()
            .into_iter();
        let infer = |dim: Dim| {
            let mut out = shape.to_vec();
            let values = dim
                .value()
                .map(|n| values.by_ref().take(n).collect::<Vec<_>>());
            let complete = |values: &Vec<Dim>| dim.value() == Some(values.len()) && axis == 0;
            let dims = values.filter(complete).filter(|v| !v.is_empty());
            out[axis] = dim;
            Inferred {
                fact: Fact::new(dtype, out),
                dims,
            }
        };
        Ok(dims.into_iter().map(infer).collect())
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let axis = split_axis(cx.node, x.rank())?;
        let length = x.shape()[axis];
        let (outer, inner) = (&x.shape()[..axis], element_count(&x.shape()[axis + 1..])?);
        let outer = element_count(outer)?;
        let mut start = 0;
        let part = |count: usize| {
            let mut shape = x.shape().to_vec();
            shape[axis] = count;
            let rows = (0..outer).map(|row| (row * length + start) * inner);
            let sources: Vec<usize> = rows.flat_map(|from| from..from + count * inner).collect();
            start += count;
            Ok(x.take(shape, &sources)?)
        };
        let lengths = lengths(cx.node, cx.ints(1)?, length)?;
        if lengths.len() < cx.node.outputs.len() {
            return Err(cx.invalid(format!(
                "it has {} parts, not as many as outputs",
                lengths.len()
            )));
        }
        lengths.into_iter().map(part).collect()
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let rank = cx.builder.shape(cx.input(0)?)?.len();
        let axis = [("axis", Attr::Int(split_axis(cx.node, rank)? as i64))];
        let mut grads = Vec::with_capacity(cx.node.outputs.len());
        for index in 0..cx.node.outputs.len() {
            grads.push(match cx.output_grads[index] {
                Some(grad) => grad,
                None => {
                    let output = cx.output(index)?;
                    cx.builder.zeros_like(output)?
                }
            });
        }
        let dx = cx.builder.op("Concat", &grads, &axis)?;
        Ok([Some(dx), None]
            .into_iter()
            .take(cx.node.inputs.len())
            .collect())
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize], outputs: usize| {
            let example = Example::new(SCHEMA, name)
                .outputs(outputs)
                .uniform(shape, (-1.0, 1.0));
            example.grad_by(&[0])
        };
        vec![
            example("in equal parts", &[4, 3], 2),
            example("by an input", &[2, 6], 3)
                .attr("axis", 1i64)
                .ints(&[1, 0, 5]),
            example("by an attribute", &[2, 5, 2], 2)
                .opset(11)
                .attr("axis", -2i64)
                .attr("split", vec![2i64, 3]),
            example("with a shorter last part", &[7], 3).attr("num_outputs", 3i64),
            example("of zero size", &[0, 3], 2),
        ]
    }
}

/// The dimension that each part has on the axis that is cut.
fn part_dims(
    cx: &InferCx<'_>,
    (dim, axis): (&Dim, usize),
    given: Option<Vec<i64>>,
    parts: usize,
) -> Result<Vec<Dim>> {
    // Parts of unknown length differ from each other: each gets its own symbol.
    let unknown = |part: usize| cx.unknown_dim(axis + part * sardonyx_tensor::limits::MAX_RANK);
    if given.is_none() && cx.optional(1).is_some() {
        let dims = cx.dims(1).filter(|dims| dims.len() == parts);
        return Ok(dims.unwrap_or_else(|| (0..parts).map(unknown).collect()));
    }
    if let Some(length) = dim.value() {
        return Ok(lengths(cx.node, given, length)?
            .into_iter()
            .map(Dim::known)
            .collect());
    }
    let given = match given {
        Some(given) => Some(given),
        None => cx.node.ints("split")?.map(<[i64]>::to_vec),
    };
    if let Some(given) = given {
        let dim = |n: i64| usize::try_from(n).map(Dim::known);
        let dims = given.into_iter().map(dim).collect::<Result<Vec<_>, _>>();
        return dims.map_err(|_| cx.invalid("a part has a negative length"));
    }
    Ok(match dim.checked_div(&Dim::known(parts)) {
        Some(part) => vec![part; parts],
        None => (0..parts).map(unknown).collect(),
    })
}
