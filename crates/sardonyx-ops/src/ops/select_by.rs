//! Elements chosen by truth: `Compress` keeps slices where a condition holds, `NonZero` tells the
//! coordinates of the elements that are not zero.

use sardonyx_ir::{Dim, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Data, Tensor, unravel};

use super::move_grad::{self, Move, Moved};
use crate::reference::around;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, axis_index};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Compress, &NonZero];

#[derive(Debug)]
struct Compress;

#[derive(Debug)]
struct NonZero;

fn axis(node: &Node, rank: usize) -> Result<Option<usize>> {
    if node.attributes.contains_key("axis") {
        return axis_index(node, node.int("axis", 0)?, rank).map(Some);
    }
    Ok(None)
}

/// Where the kept elements come from.
pub(crate) fn compress(cx: &Move<'_>) -> Result<Moved> {
    let axis = axis(cx.node, cx.shape.len())?;
    let [outer, length, inner] = match axis {
        Some(axis) => around(cx.shape, axis)?,
        None => [1, sardonyx_tensor::element_count(cx.shape)?, 1],
    };
    let condition = cx.input(0)?.values::<bool>()?;
    let kept = condition.iter().enumerate().filter(|(_, kept)| **kept);
    let kept: Vec<usize> = kept.map(|(index, _)| index).collect();
    if let Some(last) = kept.last().filter(|&&last| last >= length) {
        return Err(cx.invalid(format!("it keeps element {last} of an axis of {length}")));
    }
    let mut shape = match axis {
        Some(_) => cx.shape.to_vec(),
        None => vec![0],
    };
    shape[axis.unwrap_or(0)] = kept.len();
    let starts = (0..outer).flat_map(|row| kept.iter().map(move |at| (row * length + at) * inner));
    let sources = starts.flat_map(|start| start..start + inner).collect();
    Ok(Moved { shape, sources })
}

impl Operator for Compress {
    fn schema(&self) -> Schema {
        Schema::standard("Compress", 9, 2)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let count = match cx.constant_ints(1)? {
            Some(condition) => Dim::known(condition.iter().filter(|&&kept| kept != 0).count()),
            None => cx.unknown_dim(0),
        };
        let Some(shape) = cx.shape(0)? else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let mut out = vec![Dim::known(0)];
        let axis = axis(cx.node, shape.len())?;
        if axis.is_some() {
            out = shape.to_vec();
        }
        out[axis.unwrap_or(0)] = count;
        Ok(vec![Fact::new(dtype, out).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let moved = compress(&Move::of(cx)?)?;
        Ok(vec![cx.input(0)?.take(moved.shape, &moved.sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let condition = cx.input(1)?;
        move_grad::emit(cx, "CompressGrad", &[Some(condition)])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, kept: &[bool]| {
            let example = Example::new(self.schema(), name).uniform(&[3, 2], (-1.0, 1.0));
            example.values(&[kept.len()], kept.to_vec()).grad_by(&[0])
        };
        vec![
            example("of rows", &[true, false, true]).attr("axis", 0i64),
            example("of columns", &[false, true]).attr("axis", -1i64),
            example("of elements", &[true, false, false, true, true]),
            example("of none", &[false]).attr("axis", 1i64),
        ]
    }
}

impl Operator for NonZero {
    fn schema(&self) -> Schema {
        Schema::standard("NonZero", 9, 1)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let rank = cx
            .shape(0)?
            .map_or_else(|| cx.unknown_dim(0), |shape| shape.len().into());
        Ok(vec![
            Fact::new(DType::I64, [rank, cx.unknown_dim(1)]).into(),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let found: Vec<usize> = match x.data() {
            Data::String(texts) => (0..x.len()).filter(|&i| !texts[i].is_empty()).collect(),
            _ => {
                let values = x.to_f64()?;
                (0..x.len()).filter(|&i| values[i] != 0.0).collect()
            }
        };
        let mut coords = vec![0; x.rank()];
        let mut out = vec![0i64; x.rank() * found.len()];
        for (column, &index) in found.iter().enumerate() {
            unravel(index, x.shape(), &mut coords);
            for (row, &c) in coords.iter().enumerate() {
                out[row * found.len() + column] = c as i64;
            }
        }
        Ok(vec![Tensor::new([x.rank(), found.len()], out)?])
    }

    fn grad(&self, _cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Ok(vec![None])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let example = Example::new(self.schema(), name);
            example.no_grad("its result is not a float")
        };
        vec![
            example("of a matrix").values(&[2, 2], vec![0f32, -1.0, f32::NAN, 0.0]),
            example("of truth values").values(&[3], vec![true, false, true]),
            example("of nothing").ints(&[]),
        ]
    }
}
