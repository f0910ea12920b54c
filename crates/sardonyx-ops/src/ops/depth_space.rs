//! `DepthToSpace` and `SpaceToDepth`: move blocks of channels to blocks of pixels and back.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{Tensor, element_count, strides, unravel};

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Move::DepthToSpace, &Move::SpaceToDepth];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    DepthToSpace,
    SpaceToDepth,
}

fn block_size(node: &Node) -> Result<usize> {
    usize::try_from(node.int("blocksize", 0)?)
        .ok()
        .filter(|&size| size > 0)
        .ok_or_else(|| {
            node.attribute_error("blocksize", "must be a positive integer")
                .into()
        })
}

/// Whether a pixel's channels are consecutive (`CRD`), not apart (`DCR`).
fn is_column_row_depth(node: &Node) -> Result<bool> {
    match node.text("mode", "DCR")? {
        "CRD" => Ok(true),
        "DCR" => Ok(false),
        _ => Err(node.attribute_error("mode", "must be DCR or CRD").into()),
    }
}

impl Move {
    fn shape(self, node: &Node, shape: &[Dim]) -> Result<[Option<Dim>; 4]> {
        let [batch, channels, rows, columns] = shape else {
            let problem = format!("its input has rank {}, not 4", shape.len());
            return Err(OpError::invalid(node, problem));
        };
        let size = Dim::known(block_size(node)?);
        let area = size.checked_mul(&size);
        let area = area.ok_or_else(|| OpError::invalid(node, "the block size is too large"))?;
        let divide = |dim: &Dim, by: &Dim| match (dim.checked_div(by), dim.value()) {
            (None, Some(n)) => Err(OpError::invalid(
                node,
                format!("{n} elements are not whole blocks of {by}"),
            )),
            (quotient, _) => Ok(quotient),
        };
        Ok(match self {
            Move::DepthToSpace => [
                Some(batch.clone()),
                divide(channels, &area)?,
                rows.checked_mul(&size),
                columns.checked_mul(&size),
            ],
            Move::SpaceToDepth => [
                Some(batch.clone()),
                channels.checked_mul(&area),
                divide(rows, &size)?,
                divide(columns, &size)?,
            ],
        })
    }

    /// The input seen in six axes, and the order of these axes in the output.
    fn blocks(self, node: &Node, shape: [usize; 4]) -> Result<([usize; 6], [usize; 6])> {
        let [n, c, h, w] = shape;
        let size = block_size(node)?;
        Ok(match self {
            Move::SpaceToDepth => ([n, c, h / size, size, w / size, size], [0, 3, 5, 1, 2, 4]),
            Move::DepthToSpace if is_column_row_depth(node)? => {
                ([n, c / (size * size), size, size, h, w], [0, 1, 4, 2, 5, 3])
            }
            Move::DepthToSpace => ([n, size, size, c / (size * size), h, w], [0, 3, 4, 1, 5, 2]),
        })
    }
}

impl Operator for Move {
    fn schema(&self) -> Schema {
        match self {
            Move::DepthToSpace => Schema::standard("DepthToSpace", 1, 1),
            Move::SpaceToDepth => Schema::standard("SpaceToDepth", 1, 1),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        is_column_row_depth(cx.node)?;
        let dims = self.shape(cx.node, shape)?.into_iter().enumerate();
        let dims = dims.map(|(axis, dim)| dim.unwrap_or_else(|| cx.unknown_dim(axis)));
        Ok(vec![Fact::new(dtype, dims).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let dims: Vec<Dim> = x.shape().iter().copied().map(Dim::known).collect();
        let out = self
            .shape(cx.node, &dims)?
            .map(|dim| dim.and_then(|dim| dim.value()));
        let out = out.into_iter().collect::<Option<Vec<_>>>();
        let out = out.ok_or_else(|| cx.invalid("the number of elements overflows"))?;
        let input = x.shape().try_into().expect("the rank was checked");
        let (shape, order) = self.blocks(cx.node, input)?;
        let from = strides(&shape);
        let shape = order.map(|axis| shape[axis]);
        let mut coords = [0; 6];
        let source = |index| {
            unravel(index, &shape, &mut coords);
            coords
                .iter()
                .zip(order)
                .map(|(c, axis)| c * from[axis])
                .sum()
        };
        let sources: Vec<usize> = (0..element_count(&shape)?).map(source).collect();
        Ok(vec![x.take(out, &sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let dy = cx.output_grad(0)?;
        let size = block_size(cx.node)?;
        let attributes = [("blocksize", Attr::Int(size as i64))];
        let opposite = match self {
            Move::DepthToSpace => "SpaceToDepth",
            Move::SpaceToDepth => "DepthToSpace",
        };
        let dx = cx.builder.op(opposite, &[dy], &attributes)?;
        if *self == Move::SpaceToDepth || !is_column_row_depth(cx.node)? {
            return Ok(vec![Some(dx)]);
        }
        // `SpaceToDepth` only knows the other order of channels.
        let channels = cx.builder.shape(dy)?[1].value();
        let channels = channels.ok_or_else(|| cx.invalid("the number of channels is unknown"))?;
        let order: Vec<i64> = (0..channels)
            .flat_map(|channel| (0..size * size).map(move |at| (at * channels + channel) as i64))
            .collect();
        let order = cx.builder.ints(&order);
        Ok(vec![Some(cx.builder.op(
            "Gather",
            &[dx, order],
            &[("axis", Attr::Int(1))],
        )?)])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize]| {
            Example::new(self.schema(), name)
                .attr("blocksize", 2i64)
                .uniform(shape, (-1.0, 1.0))
        };
        match self {
            Move::DepthToSpace => vec![
                example("depth first", &[2, 8, 1, 3]),
                example("columns first", &[2, 8, 1, 3]).attr("mode", "CRD"),
                example("zero size", &[0, 4, 2, 2]),
            ],
            Move::SpaceToDepth => vec![
                example("plain", &[2, 3, 2, 4]),
                example("zero size", &[1, 3, 0, 4]),
            ],
        }
    }
}
