//! Dropout in training: the mask is a function of seed, stream, step and place.

use sardonyx_kernels::{Dropout, DropoutOptions};
use sardonyx_ops::ops::dropout::training_mask;
use sardonyx_tensor::{DType, Tensor};

use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// `DropoutTraining(x, step)`.
pub(super) fn training(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (x, y) = (cx.input(0), cx.output(0));
    if cx.dtype(x)? != DType::F32 {
        return Ok(None);
    }
    let mask = training_mask(cx.node, 0)?;
    let options = DropoutOptions {
        seed: mask.seed,
        stream: mask.stream as u32,
        ratio: mask.ratio,
    };
    let len = cx.shape(x)?.iter().product();
    let step = Slot::Value(cx.input(1));
    let operands = vec![Slot::Value(x), step, Slot::Value(y), Slot::Absent];
    Ok(Some(Lowered::call(
        Dropout::new(cx.isa, options, len),
        operands,
    )))
}

/// The standard operator, whose ratio and mode must be constants.
pub(super) fn standard(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (x, y) = (cx.input(0), cx.output(0));
    let is_known = |index: usize| cx.node.input(index).is_none() || cx.constant(index).is_some();
    if cx.dtype(x)? != DType::F32 || !is_known(1) || !is_known(2) {
        return Ok(None);
    }
    let training = cx.constant(2).map(Tensor::to_i64).transpose()?;
    let training = training.is_some_and(|values| values.first().is_some_and(|&v| v != 0));
    let ratio = match cx.constant(1) {
        Some(tensor) => tensor.to_f64()?.first().copied().unwrap_or(0.5),
        None => f64::from(cx.node.float("ratio", 0.5)?),
    };
    let shape = cx.shape(x)?;
    let len = shape.iter().product();
    if !training || ratio == 0.0 {
        let mut lowered = super::view::view(cx)?;
        if let (Some(lowered), Some(mask)) = (&mut lowered, cx.node.output(1)) {
            let ones = Tensor::new(shape, vec![true; len])?;
            lowered.constant_outputs.push((ones, mask));
        }
        return Ok(lowered);
    }
    if !(0.0..=1.0).contains(&ratio) {
        return Ok(None);
    }
    let options = DropoutOptions {
        seed: cx.node.int("seed", 0)? as u64,
        stream: 0,
        ratio,
    };
    let mask = cx.node.output(1).into();
    let operands = vec![Slot::Value(x), Slot::Absent, Slot::Value(y), mask];
    Ok(Some(Lowered::call(
        Dropout::new(cx.isa, options, len),
        operands,
    )))
}
