//! Operators that move elements and compute nothing. Where elements come from is asked of the
//! operator's own reference: it moves the numbers 1, 2, 3, .. and the plan keeps where they went.

use sardonyx_ir::{Node, ONNX, ValueId};
use sardonyx_kernels::{AxisShape, Concat, Gather, GatherGrad, Permute};
use sardonyx_ops::ops::transpose::permutation;
use sardonyx_ops::{EvalCx, MAX_OPSET, lookup};
use sardonyx_tensor::{DType, Tensor};

use super::places::{Copy, blocks};
use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// Most elements that are followed: beyond it the plan would take more memory than the run.
const MAX_FOLLOWED: usize = 1 << 26;

pub(super) fn transpose(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let x = cx.input(0);
    let shape = cx.shape(x)?;
    let axes = permutation(cx.node, shape.len())?;
    let kernel = Permute::new(cx.dtype(x)?, &shape, &axes)?;
    let operands = vec![Slot::Value(x), Slot::Value(cx.output(0))];
    Ok(Some(Lowered::call(kernel, operands)))
}

pub(super) fn concat(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let output = cx.output(0);
    let shape = cx.shape(output)?;
    let axis = cx.node.int("axis", 0)?;
    let axis = usize::try_from(if axis < 0 {
        axis + shape.len() as i64
    } else {
        axis
    });
    let Some(axis) = axis.ok().filter(|&axis| axis < shape.len()) else {
        return Ok(None);
    };
    let inputs: Vec<ValueId> = cx.node.inputs.iter().flatten().copied().collect();
    let len = |&input: &ValueId| Ok(cx.shape(input)?[axis..].iter().product());
    let lens = inputs.iter().map(len).collect::<Result<Vec<usize>>>()?;
    let outer = shape[..axis].iter().product();
    let kernel = Concat::new(cx.dtype(output)?, outer, &lens)?;
    let mut operands: Vec<Slot> = inputs.into_iter().map(Slot::Value).collect();
    operands.push(Slot::Value(output));
    Ok(Some(Lowered::call(kernel, operands)))
}

/// A look-up: by indices of the run, or by constant ones.
pub(super) fn gather(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if cx.constant(1).is_some() {
        return moved(cx);
    }
    let (x, indices) = (cx.input(0), cx.input(1));
    let Some(shape) = axis_shape(cx.node, &cx.shape(x)?)? else {
        return Ok(None);
    };
    let count = cx.shape(indices)?.iter().product();
    let kernel = Gather::new(cx.dtype(x)?, shape, cx.dtype(indices)?, count)?;
    let operands = vec![
        Slot::Value(x),
        Slot::Value(indices),
        Slot::Value(cx.output(0)),
    ];
    Ok(Some(Lowered::call(kernel, operands)))
}

/// `GatherGrad(dy, shape, indices)`.
pub(super) fn gather_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (dy, indices, dx) = (cx.input(0), cx.input(2), cx.output(0));
    if cx.dtype(dy)? != DType::F32 {
        return Ok(None);
    }
    let Some(shape) = axis_shape(cx.node, &cx.shape(dx)?)? else {
        return Ok(None);
    };
    let count = cx.shape(indices)?.iter().product();
    let kernel = GatherGrad::new(cx.isa, shape, cx.dtype(indices)?, count)?;
    let operands = vec![Slot::Value(dy), Slot::Value(indices), Slot::Value(dx)];
    Ok(Some(Lowered::call(kernel, operands)))
}

fn axis_shape(node: &Node, shape: &[usize]) -> Result<Option<AxisShape>> {
    let axis = node.int("axis", 0)?;
    let axis = usize::try_from(if axis < 0 {
        axis + shape.len() as i64
    } else {
        axis
    });
    let axis = axis.ok().filter(|&axis| axis < shape.len());
    Ok(axis.map(|axis| AxisShape::new(shape, axis)))
}

/// Where each element of each output of `node` comes from in an input of shape `shape`, counted
/// from 1; 0 for an element that the operator fills in. `rest` are the constant other inputs.
fn follow(
    cx: &LowerCx<'_>,
    node: &Node,
    shape: &[usize],
    rest: &[Option<&Tensor>],
) -> Result<Vec<Vec<i64>>> {
    let numbers = (1..=shape.iter().product::<usize>() as i64).collect::<Vec<_>>();
    let numbers = Tensor::new(shape, numbers)?;
    let mut inputs = vec![Some(&numbers)];
    inputs.extend(rest);
    let opset = cx.graph.opset(&node.domain).unwrap_or(MAX_OPSET);
    let made = lookup(node, opset)?.eval(&EvalCx {
        node,
        inputs,
        opset,
    })?;
    made.iter().map(|tensor| Ok(tensor.to_i64()?)).collect()
}

/// The inputs from `first` on, when all of them are constants.
fn constants<'a>(cx: &LowerCx<'a>, first: usize) -> Option<Vec<Option<&'a Tensor>>> {
    let inputs = (first..cx.node.inputs.len()).map(|index| {
        match (cx.node.input(index), cx.constant(index)) {
            (None, _) => Some(None),
            (Some(_), constant) => constant.map(Some),
        }
    });
    inputs.collect()
}

fn is_followable(cx: &LowerCx<'_>) -> Result<bool> {
    let values = cx.node.inputs.first().into_iter().chain(&cx.node.outputs);
    for &value in values.flatten() {
        if cx.shape(value)?.iter().product::<usize>() > MAX_FOLLOWED {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Any operator that gives every output an element of its first input, or zero.
pub(super) fn moved(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (x, Some(mut rest)) = (cx.input(0), constants(cx, 1)) else {
        return Ok(None);
    };
    if !is_followable(cx)? {
        return Ok(None);
    }
    let mut node = cx.node.clone();
    let (mut fill, zero) = (0, Tensor::scalar(0i64));
    if node.is("Pad") {
        let Some(bits) = pad_fill(cx)? else {
            return Ok(None);
        };
        fill = bits;
        node.attributes.remove("value");
        if let Some(value @ Some(_)) = rest.get_mut(1) {
            *value = Some(&zero);
        }
    }
    let shape = cx.shape(x)?;
    let places = follow(cx, &node, &shape, &rest)?;
    let mut lowered = Lowered::default();
    for (&output, places) in node.outputs.iter().zip(&places) {
        let Some(output) = output else { continue };
        let copy = Copy {
            dtype: cx.dtype(x)?,
            from: &shape,
            to: &cx.shape(output)?,
            places,
            fill,
        };
        if !copy.lower(&mut lowered, [x, output])? {
            return Ok(None);
        }
    }
    Ok(Some(lowered))
}

/// Bits of what a `Pad` fills in.
fn pad_fill(cx: &LowerCx<'_>) -> Result<Option<u64>> {
    let dtype = cx.dtype(cx.input(0))?;
    let value = match cx.constant(2) {
        Some(tensor) => tensor.clone(),
        None if dtype.is_float() => {
            let value = f64::from(cx.node.float("value", 0.0)?);
            Tensor::from_f64(dtype, [1], vec![value])?
        }
        None => Tensor::zeros(dtype, [1])?,
    };
    let bytes = crate::host::to_bytes(&value);
    let mut bits = [0; 8];
    let Some(own) = bits.get_mut(..bytes.len()) else {
        return Ok(None);
    };
    own.copy_from_slice(&bytes);
    Ok(Some(u64::from_le_bytes(bits)))
}

/// The gradient of such an operator, `dy` and the shape of its first input given, then its other
/// inputs: sums the gradients of an element's copies.
pub(super) fn moved_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (dy, dx) = (cx.input(0), cx.output(0));
    let forward = cx.node.op_type.trim_end_matches("Grad");
    let is_gather = forward == "Gather";
    let Some(rest) = constants(cx, 2).filter(|_| cx.dtype(dy).is_ok_and(|d| d == DType::F32))
    else {
        return if is_gather { gather_grad(cx) } else { Ok(None) };
    };
    if !is_followable(cx)? {
        return Ok(None);
    }
    let node = Node {
        domain: ONNX.to_owned(),
        op_type: forward.to_owned(),
        inputs: cx.node.inputs[1..].to_vec(),
        ..cx.node.clone()
    };
    let shape = cx.shape(dx)?;
    let places = follow(cx, &node, &shape, &rest)?.swap_remove(0);
    let mut lowered = Lowered::default();
    // Where no element has two copies, the gradient is a move too.
    let mut sources = vec![0i64; shape.iter().product()];
    let mut is_injective = true;
    for (index, &place) in places.iter().enumerate() {
        if let Some(source) = (place as usize).checked_sub(1) {
            is_injective &= std::mem::replace(&mut sources[source], index as i64 + 1) == 0;
        }
    }
    if is_injective {
        let copy = Copy {
            dtype: DType::F32,
            from: &cx.shape(dy)?,
            to: &shape,
            places: &sources,
            fill: 0,
        };
        return Ok(copy.lower(&mut lowered, [dy, dx])?.then_some(lowered));
    }
    if is_gather {
        return gather_grad(cx);
    }
    let (indices, inner) = blocks(&places, sources.len());
    let lanes = AxisShape {
        outer: 1,
        len: sources.len() / inner,
        inner,
    };
    let kernel = GatherGrad::new(cx.isa, lanes, DType::I64, indices.len())?;
    let indices = lowered.constant(Tensor::vector(indices));
    lowered.push(kernel, vec![Slot::Value(dy), indices, Slot::Value(dx)]);
    Ok(Some(lowered))
}
