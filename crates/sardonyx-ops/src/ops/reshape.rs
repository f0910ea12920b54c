//! `Reshape` and its relatives that move no element: `Flatten`, `Identity`, `Squeeze`,
//! `Unsqueeze`. All share one gradient: the output's gradient in the input's shape.

use sardonyx_ir::{Dim, Fact, ValueId};
use sardonyx_tensor::Tensor;

use crate::{
    EvalCx, Example, FREE_DIM, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema,
    axis_index,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &View::Flatten,
    &View::Identity,
    &View::Reshape,
    &View::Squeeze,
    &View::Unsqueeze,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Flatten,
    Identity,
    Reshape,
    Squeeze,
    Unsqueeze,
}

/// What decides a view's shape besides the input's: the second input, as dimensions where they
/// are known, and as integers (which may hold -1 and 0).
struct Request {
    given: bool,
    ints: Option<Vec<i64>>,
    dims: Option<Vec<Dim>>,
}

impl View {
    /// The output's shape; `None` when it depends on values that are not known yet.
    fn shape(
        self,
        node: &sardonyx_ir::Node,
        shape: &[Dim],
        request: Request,
    ) -> Result<Option<Vec<Dim>>> {
        match self {
            View::Identity => Ok(Some(shape.to_vec())),
            View::Flatten => flatten(node, shape).map(Some),
            View::Reshape => reshape(node, shape, request),
            View::Squeeze | View::Unsqueeze => {
                let axes = match (request.ints, node.ints("axes")?) {
                    (Some(axes), _) => Some(axes),
                    (None, Some(axes)) => Some(axes.to_vec()),
                    (None, None) if request.given => return Ok(None),
                    (None, None) => None,
                };
                match self {
                    View::Squeeze => squeeze(node, shape, axes).map(Some),
                    _ => unsqueeze(node, shape, &axes.unwrap_or_default()).map(Some),
                }
            }
        }
    }
}

fn overflow(node: &sardonyx_ir::Node) -> OpError {
    OpError::invalid(node, "the number of elements overflows")
}

fn flatten(node: &sardonyx_ir::Node, shape: &[Dim]) -> Result<Vec<Dim>> {
    let axis = node.int("axis", 1)?;
    // The axis may be the rank itself: then all dimensions go to the left.
    let axis = if axis == shape.len() as i64 {
        shape.len()
    } else {
        axis_index(node, axis, shape.len())?
    };
    let product = |dims: &[Dim]| Dim::product(dims).ok_or_else(|| overflow(node));
    Ok(vec![product(&shape[..axis])?, product(&shape[axis..])?])
}

fn reshape(node: &sardonyx_ir::Node, shape: &[Dim], request: Request) -> Result<Option<Vec<Dim>>> {
    let Some(ints) = request.ints else {
        return request
            .dims
            .map(|dims| reshape_to(node, shape, dims))
            .transpose();
    };
    let allow_zero = node.flag("allowzero", false)?;
    let mut free = None;
    let mut out = Vec::with_capacity(ints.len());
    for (axis, &n) in ints.iter().enumerate() {
        out.push(match n {
            -1 if free.replace(axis).is_none() => Dim::known(1),
            -1 => return Err(OpError::invalid(node, "its shape has more than one -1")),
            0 if !allow_zero => shape.get(axis).cloned().ok_or_else(|| {
                OpError::invalid(
                    node,
                    format!("dimension {axis} is to be copied, but is not there"),
                )
            })?,
            n => Dim::known(usize::try_from(n).map_err(|_| {
                OpError::invalid(node, format!("dimension {n} of its shape is negative"))
            })?),
        });
    }
    let total = Dim::product(shape).ok_or_else(|| overflow(node))?;
    let known = Dim::product(&out).ok_or_else(|| overflow(node))?;
    if let Some(axis) = free {
        if known.value() == Some(0) {
            return Err(OpError::invalid(
                node,
                "-1 beside a zero dimension can be any number",
            ));
        }
        match (total.checked_div(&known), total.value().zip(known.value())) {
            (Some(dim), _) => out[axis] = dim,
            (None, Some(_)) => return Err(mismatch(node, shape, &ints)),
            (None, None) => out[axis] = free_symbol(node, axis),
        }
    } else if total
        .value()
        .zip(known.value())
        .is_some_and(|(a, b)| a != b)
    {
        return Err(mismatch(node, shape, &ints));
    }
    Ok(Some(out))
}

/// As [`reshape`], to dimensions that inference has followed.
fn reshape_to(node: &sardonyx_ir::Node, shape: &[Dim], dims: Vec<Dim>) -> Result<Vec<Dim>> {
    let allow_zero = node.flag("allowzero", false)?;
    let mut out = dims;
    for (axis, dim) in out.iter_mut().enumerate() {
        if let Some(own) = shape
            .get(axis)
            .filter(|_| dim.value() == Some(0) && !allow_zero)
        {
            *dim = own.clone();
        }
    }
    if let Some(axis) = out.iter().position(is_free) {
        out[axis] = Dim::known(1);
        let (total, known) = (Dim::product(shape), Dim::product(&out));
        let rest = total
            .zip(known)
            .and_then(|(total, known)| total.checked_div(&known));
        out[axis] = rest.unwrap_or_else(|| free_symbol(node, axis));
    }
    Ok(out)
}

fn is_free(dim: &Dim) -> bool {
    dim.symbols().eq([FREE_DIM])
}

/// A new symbol for a dimension that cannot be worked out.
fn free_symbol(node: &sardonyx_ir::Node, axis: usize) -> Dim {
    let output = node.output(0).map_or(0, |id| id.index());
    Dim::symbol(&format!("?{output}.{axis}"))
}

fn mismatch(node: &sardonyx_ir::Node, shape: &[Dim], ints: &[i64]) -> OpError {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let problem = format!(
        "shape [{}] does not have as many elements as {ints:?}",
        dims.join(",")
    );
    OpError::invalid(node, problem)
}

fn squeeze(node: &sardonyx_ir::Node, shape: &[Dim], axes: Option<Vec<i64>>) -> Result<Vec<Dim>> {
    let mut dropped: Vec<bool> = match &axes {
        None => shape.iter().map(Dim::is_one).collect(),
        Some(_) => vec![false; shape.len()],
    };
    for axis in axes.unwrap_or_default() {
        let index = axis_index(node, axis, shape.len())?;
        if shape[index].value().is_some_and(|n| n != 1) {
            let problem = format!("axis {axis} has {} elements, not one", shape[index]);
            return Err(OpError::invalid(node, problem));
        }
        dropped[index] = true;
    }
    Ok(shape
        .iter()
        .zip(dropped)
        .filter(|(_, dropped)| !dropped)
        .map(|(d, _)| d.clone())
        .collect())
}

fn unsqueeze(node: &sardonyx_ir::Node, shape: &[Dim], axes: &[i64]) -> Result<Vec<Dim>> {
    let rank = shape.len() + axes.len();
    let mut added = vec![false; rank];
    for &axis in axes {
        let index = axis_index(node, axis, rank)?;
        if std::mem::replace(&mut added[index], true) {
            return Err(OpError::invalid(
                node,
                format!("axis {axis} is inserted twice"),
            ));
        }
    }
    let mut rest = shape.iter().cloned();
    let dim = |added| {
        if added {
            Some(Dim::known(1))
        } else {
            rest.next()
        }
    };
    Ok(added.into_iter().filter_map(dim).collect())
}

impl Operator for View {
    fn schema(&self) -> Schema {
        match self {
            View::Flatten => Schema::standard("Flatten", 1, 1),
            View::Identity => Schema::standard("Identity", 1, 1),
            View::Reshape => Schema::standard("Reshape", 5, 2),
            View::Squeeze => Schema::standard("Squeeze", 1, 1).inputs(1, 2),
            View::Unsqueeze => Schema::standard("Unsqueeze", 1, 1).inputs(1, 2),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let known = cx.input(0)?;
        let dtype = known.fact.dtype;
        let request = Request {
            given: cx.optional(1).is_some(),
            ints: cx.constant_ints(1)?,
            dims: cx.dims(1),
        };
        let shape = match &known.fact.shape {
            Some(shape) => self.shape(cx.node, shape, request)?,
            None if *self == View::Reshape => request.dims.map(|dims| {
                let dims = dims.into_iter().enumerate();
                dims.map(|(axis, dim)| {
                    if is_free(&dim) {
                        cx.unknown_dim(axis)
                    } else {
                        dim
                    }
                })
                .collect()
            }),
            None => None,
        };
        // The elements stay what they are; a followed shape vector keeps its dimensions.
        Ok(vec![Inferred {
            fact: Fact { dtype, shape },
            dims: cx.dims(0),
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let dims: Vec<Dim> = x.shape().iter().copied().map(Dim::known).collect();
        let request = Request {
            given: cx.optional(1).is_some(),
            ints: cx.ints(1)?,
            dims: None,
        };
        let shape = self.shape(cx.node, &dims, request)?;
        let shape =
            shape.and_then(|shape| shape.iter().map(Dim::value).collect::<Option<Vec<_>>>());
        let shape = shape.ok_or_else(|| cx.invalid("the shape to take is missing"))?;
        Ok(vec![x.clone().reshape(shape)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
        let dx = cx.builder.reshape_like(dy, x)?;
        Ok(vec![Some(dx), None]
            .into_iter()
            .take(cx.node.inputs.len())
            .collect())
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name);
        let range = (-1.0, 1.0);
        match self {
            View::Flatten => vec![
                example("of images").uniform(&[2, 3, 4], range),
                example("at the rank")
                    .attr("axis", 3i64)
                    .uniform(&[2, 3, 4], range),
            ],
            View::Identity => vec![example("plain").uniform(&[2, 3], range)],
            View::Reshape => vec![
                example("with a free dimension")
                    .uniform(&[2, 6], range)
                    .ints(&[-1, 3])
                    .grad_by(&[0]),
                example("copying one")
                    .uniform(&[2, 6], range)
                    .ints(&[0, 3, 2])
                    .grad_by(&[0]),
                example("zero size")
                    .attr("allowzero", 1i64)
                    .uniform(&[0, 6], range)
                    .ints(&[3, 0])
                    .grad_by(&[0]),
            ],
            View::Squeeze => vec![
                example("all").uniform(&[1, 3, 1], range),
                example("one axis")
                    .uniform(&[1, 3, 1], range)
                    .ints(&[-1])
                    .grad_by(&[0]),
            ],
            View::Unsqueeze => {
                vec![
                    example("two axes")
                        .uniform(&[3], range)
                        .ints(&[0, -1])
                        .grad_by(&[0]),
                ]
            }
        }
    }
}
