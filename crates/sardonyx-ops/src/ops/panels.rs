//! Weights in the kernels' layout: panels of a few columns, so that one step along the inner
//! product reads one short row. `PackPanels` and `UnpackPanels` are each other's inverse (and
//! gradient); `TransposePanels` makes what an input gradient multiplies with.
//!
//! A packed tensor has shape `[groups, ceil(n / width), taps, inner, width]`, zero behind column
//! `n`. A matrix `[K, N]` has one group, one tap and `inner` = K; a convolution's weight
//! `[O, I / groups, ...]` has a tap per kernel position and `n` = O / groups.

use sardonyx_ir::{Attr, Fact, Node, ValueId};
use sardonyx_tensor::{Data, Element, Tensor, element_count};

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Panels::Pack, &Panels::Transpose, &Panels::Unpack];

/// Widest panel that any kernel uses.
pub(crate) const MAX_WIDTH: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Panels {
    Pack,
    Transpose,
    Unpack,
}

/// What an unpacked weight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightForm {
    /// `[K, N]`, multiplied from the right.
    Matrix,
    /// `[N, K]`, of which the transpose is multiplied from the right.
    MatrixTransposed,
    /// `[O, I / groups, kernel...]`.
    Convolution,
}

/// Sizes of a packed weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedShape {
    /// Independent matrices.
    pub groups: usize,
    /// Columns of each.
    pub n: usize,
    /// Kernel positions.
    pub taps: usize,
    /// Rows of each per kernel position.
    pub inner: usize,
    /// Columns of a panel.
    pub width: usize,
}

impl PackedShape {
    /// Dimensions of the packed tensor.
    pub fn dims(&self) -> [usize; 5] {
        [
            self.groups,
            self.n.div_ceil(self.width),
            self.taps,
            self.inner,
            self.width,
        ]
    }

    /// Position in the packed tensor of an element of the matrix.
    fn at(&self, group: usize, n: usize, tap: usize, inner: usize) -> usize {
        let panel = group * self.n.div_ceil(self.width) + n / self.width;
        ((panel * self.taps + tap) * self.inner + inner) * self.width + n % self.width
    }

    /// Calls `f(packed, unpacked)` with the positions of every element of a weight of `form`.
    fn each(&self, form: WeightForm, mut f: impl FnMut(usize, usize)) {
        let (tap_stride, inner_stride, n_stride) = match form {
            WeightForm::Matrix => (0, self.n, 1),
            WeightForm::MatrixTransposed => (0, 1, self.inner),
            WeightForm::Convolution => (1, self.taps, self.inner * self.taps),
        };
        let panels = self.n.div_ceil(self.width);
        let rows = self.taps * self.inner;
        for (group, panel) in (0..self.groups).flat_map(|g| (0..panels).map(move |p| (g, p))) {
            let lanes = self.width.min(self.n - panel * self.width);
            let first = (group * self.n + panel * self.width) * n_stride;
            let packed = (group * panels + panel) * rows * self.width;
            for (tap, inner) in (0..self.taps).flat_map(|t| (0..self.inner).map(move |i| (t, i))) {
                let packed = packed + (tap * self.inner + inner) * self.width;
                let unpacked = first + tap * tap_stride + inner * inner_stride;
                for lane in 0..lanes {
                    f(packed + lane, unpacked + lane * n_stride);
                }
            }
        }
    }
}

/// The form that `node`'s attribute `form` names.
///
/// # Errors
/// When it names none.
pub fn weight_form(node: &Node) -> Result<WeightForm> {
    match node.text("form", "")? {
        "matrix" => Ok(WeightForm::Matrix),
        "matrix_transposed" => Ok(WeightForm::MatrixTransposed),
        "convolution" => Ok(WeightForm::Convolution),
        other => Err(OpError::invalid(node, format!("unknown form `{other}`"))),
    }
}

/// Sizes of the panels that a weight of shape `unpacked` has, by `node`'s attributes `form`,
/// `group` and `width`.
///
/// # Errors
/// When shape and attributes contradict each other.
pub fn packed_shape(node: &Node, unpacked: &[usize]) -> Result<PackedShape> {
    let groups = usize::try_from(node.int("group", 1)?).unwrap_or(0);
    let width = usize::try_from(node.int("width", 0)?).unwrap_or(0);
    let form = weight_form(node)?;
    let sizes = match (form, unpacked) {
        (WeightForm::Matrix, &[k, n]) => Some((n, 1, k)),
        (WeightForm::MatrixTransposed, &[n, k]) => Some((n, 1, k)),
        (WeightForm::Convolution, [out, inner, kernel @ ..]) if groups > 0 => {
            let divides = out.is_multiple_of(groups);
            divides.then_some((out / groups, element_count(kernel)?, *inner))
        }
        _ => None,
    };
    match sizes {
        Some((n, taps, inner))
            if (1..=MAX_WIDTH).contains(&width)
                && groups > 0
                && (groups == 1 || form == WeightForm::Convolution) =>
        {
            Ok(PackedShape {
                groups,
                n,
                taps,
                inner,
                width,
            })
        }
        _ => {
            let problem = format!("{unpacked:?} is not a weight in {groups} groups, width {width}");
            Err(OpError::invalid(node, problem))
        }
    }
}

/// What `PackPanels` node `node` makes of a weight of shape `unpacked`, in `packed`, which has its
/// length and is zero.
///
/// # Errors
/// As [`packed_shape`].
///
/// # Panics
/// When `values` or `packed` have not the lengths of their shapes.
pub fn pack_into(
    node: &Node,
    unpacked: &[usize],
    values: &[f32],
    packed: &mut [f32],
) -> Result<()> {
    let shape = packed_shape(node, unpacked)?;
    assert_eq!(values.len(), unpacked.iter().product::<usize>());
    assert_eq!(packed.len(), shape.dims().iter().product::<usize>());
    shape.each(weight_form(node)?, |to, from| packed[to] = values[from]);
    Ok(())
}

fn fixed(cx: &InferCx<'_>, index: usize) -> Result<Vec<usize>> {
    let shape = cx.input(index)?.fact.fixed_shape();
    shape.ok_or_else(|| cx.invalid("a packed weight needs a fixed shape"))
}

/// Attribute `shape` of an `UnpackPanels`: that of the unpacked weight.
fn unpacked_dims(node: &Node) -> Result<Vec<usize>> {
    node.sizes("shape")?
        .ok_or_else(|| OpError::invalid(node, "attribute `shape` is missing"))
}

fn transposed(node: &Node, packed: &[usize]) -> Result<(PackedShape, PackedShape)> {
    let n = usize::try_from(node.int("n", 0)?).unwrap_or(0);
    let &[groups, panels, taps, inner, width] = packed else {
        return Err(OpError::invalid(node, "it takes packed weights"));
    };
    let from = PackedShape {
        groups,
        n,
        taps,
        inner,
        width,
    };
    if width == 0 || n.div_ceil(width) != panels {
        return Err(OpError::invalid(
            node,
            format!("{n} columns are not {panels} panels"),
        ));
    }
    Ok((
        from,
        PackedShape {
            n: inner,
            inner: n,
            ..from
        },
    ))
}

/// The elements of packed weights with columns and rows exchanged and kernel positions reversed.
pub(crate) fn transpose<T: Copy + Default>(from: PackedShape, values: &[T]) -> Vec<T> {
    let to = PackedShape {
        n: from.inner,
        inner: from.n,
        ..from
    };
    let mut out = vec![T::default(); to.dims().iter().product()];
    for (group, tap) in (0..from.groups).flat_map(|g| (0..from.taps).map(move |tap| (g, tap))) {
        for (n, inner) in (0..from.n).flat_map(|n| (0..from.inner).map(move |i| (n, i))) {
            let at = to.at(group, inner, from.taps - 1 - tap, n);
            out[at] = values[from.at(group, n, tap, inner)];
        }
    }
    out
}

impl Panels {
    fn move_elements<T: Element + Copy + Default>(
        self,
        node: &Node,
        shape: &[usize],
        values: &[T],
    ) -> Result<Tensor> {
        match self {
            Panels::Pack => {
                let packed = packed_shape(node, shape)?;
                let mut out = vec![T::default(); element_count(&packed.dims())?];
                packed.each(weight_form(node)?, |to, from| out[to] = values[from]);
                Ok(Tensor::new(packed.dims(), out)?)
            }
            Panels::Unpack => {
                let unpacked = unpacked_dims(node)?;
                let packed = packed_shape(node, &unpacked)?;
                if shape != packed.dims() {
                    return Err(OpError::invalid(
                        node,
                        "the packed weight has another shape",
                    ));
                }
                let mut out = vec![T::default(); element_count(&unpacked)?];
                packed.each(weight_form(node)?, |from, to| out[to] = values[from]);
                Ok(Tensor::new(unpacked, out)?)
            }
            Panels::Transpose => {
                let (from, to) = transposed(node, shape)?;
                Ok(Tensor::new(to.dims(), transpose(from, values))?)
            }
        }
    }
}

impl Operator for Panels {
    fn schema(&self) -> Schema {
        match self {
            Panels::Pack => Schema::own("PackPanels", 1),
            Panels::Transpose => Schema::own("TransposePanels", 1),
            Panels::Unpack => Schema::own("UnpackPanels", 1),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let shape = fixed(cx, 0)?;
        let shape = match self {
            Panels::Pack => packed_shape(cx.node, &shape)?.dims().to_vec(),
            Panels::Transpose => transposed(cx.node, &shape)?.1.dims().to_vec(),
            Panels::Unpack => unpacked_dims(cx.node)?,
        };
        Ok(vec![Fact::fixed(dtype, &shape).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let moved = match x.data() {
            Data::F32(values) => self.move_elements(cx.node, x.shape(), values)?,
            Data::F64(values) => self.move_elements(cx.node, x.shape(), values)?,
            _ => return Err(cx.invalid(format!("it does not take {}", x.dtype()))),
        };
        Ok(vec![moved])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        if *self != Panels::Pack {
            return Err(cx.not_differentiable("it is part of a gradient itself"));
        }
        let (x, dy) = (cx.input(0)?, cx.output_grad(0)?);
        let mut attributes: Vec<(&str, Attr)> = cx
            .node
            .attributes
            .iter()
            .map(|(name, a)| (name.as_str(), a.clone()))
            .collect();
        let shape = cx.builder.fixed_shape(x)?;
        attributes.push(("shape", Attr::from(&shape[..])));
        Ok(vec![Some(cx.builder.own(
            "UnpackPanels",
            &[dy],
            &attributes,
        )?)])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name).attr("width", 4i64);
        let range = (-1.0, 1.0);
        match self {
            Panels::Pack => vec![
                example("matrix")
                    .attr("form", "matrix")
                    .uniform(&[3, 6], range),
                example("transposed")
                    .attr("form", "matrix_transposed")
                    .uniform(&[5, 3], range),
                example("convolution")
                    .attr("form", "convolution")
                    .attr("group", 2i64)
                    .uniform(&[6, 2, 3, 1], range),
            ],
            Panels::Transpose => vec![
                Example::new(self.schema(), "two groups")
                    .attr("n", 3i64)
                    .uniform(&[2, 1, 3, 2, 4], range)
                    .no_grad("it is part of a gradient itself"),
            ],
            Panels::Unpack => vec![
                example("convolution")
                    .attr("form", "convolution")
                    .attr("shape", vec![6i64, 2, 3, 1])
                    .uniform(&[1, 2, 3, 2, 4], range)
                    .no_grad("it is part of a gradient itself"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(op: Panels, attributes: &[(&str, Attr)], x: &Tensor) -> Tensor {
        let mut node = Node::new(sardonyx_ir::SARDONYX, op.schema().name);
        for (name, value) in attributes {
            node.attributes.insert((*name).to_owned(), value.clone());
        }
        let cx = EvalCx {
            node: &node,
            inputs: vec![Some(x)],
            opset: 1,
        };
        op.eval(&cx).expect("legal inputs").remove(0)
    }

    #[test]
    fn unpacking_undoes_packing() {
        let x = Tensor::from_fn([6, 2, 3, 2], |i| i as f32).expect("small");
        let form = ("form", Attr::from("convolution"));
        let common = [form, ("group", Attr::Int(2)), ("width", Attr::Int(4))];
        let packed = run(Panels::Pack, &common, &x);
        assert_eq!(packed.shape(), [2, 1, 6, 2, 4]);
        let shape = ("shape", Attr::Ints(vec![6, 2, 3, 2]));
        let attributes = [&common[..], &[shape]].concat();
        assert_eq!(run(Panels::Unpack, &attributes, &packed), x);
        let once = run(Panels::Transpose, &[("n", Attr::Int(3))], &packed);
        assert_eq!(
            run(Panels::Transpose, &[("n", Attr::Int(2))], &once),
            packed
        );
    }
}
