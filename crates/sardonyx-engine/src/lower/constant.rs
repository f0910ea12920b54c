//! Nodes whose every input is known when the plan is made: their outputs are constants of the plan.

use sardonyx_ops::{EvalCx, MAX_OPSET, lookup};
use sardonyx_tensor::{DType, Tensor};

use super::{LowerCx, Lowered};
use crate::Result;

/// Outputs of more elements than this are left to run time.
const MAX_ELEMENTS: usize = 1 << 24;

/// Most bytes of a tensor that stands in for one of the same shape.
const MAX_STAND_IN: usize = 1 << 28;

/// The outputs as constants, where they can be computed at once.
pub(super) fn evaluate(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    for &output in cx.node.outputs.iter().flatten() {
        if cx.shape(output)?.iter().product::<usize>() > MAX_ELEMENTS {
            return Ok(None);
        }
    }
    // What these two tell is known without their input's elements.
    let mut stand_in = None;
    if (cx.node.is("Shape") || cx.node.is("Size")) && cx.constant(0).is_none() {
        let shape = cx.shape(cx.input(0))?;
        if shape.iter().product::<usize>() > MAX_STAND_IN {
            return Ok(None);
        }
        stand_in = Some(Tensor::zeros(DType::U8, shape)?);
    }
    let mut inputs = Vec::with_capacity(cx.node.inputs.len());
    for index in 0..cx.node.inputs.len() {
        let known = cx.constant(index).or(stand_in.as_ref());
        if cx.node.input(index).is_some() && known.is_none() {
            return Ok(None);
        }
        inputs.push(known);
    }
    let opset = cx.graph.opset(&cx.node.domain).unwrap_or(MAX_OPSET);
    let made = lookup(cx.node, opset)?.eval(&EvalCx {
        node: cx.node,
        inputs,
        opset,
    })?;
    let mut lowered = Lowered::default();
    for (&output, tensor) in cx.node.outputs.iter().zip(made) {
        if let Some(output) = output {
            lowered.constant_outputs.push((tensor, output));
        }
    }
    Ok(Some(lowered))
}
