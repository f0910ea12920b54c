//! Steps of optimizers, in place on the parameters' and the optimizer's state, and the norm of the
//! gradients that they take.

use sardonyx_kernels::{ClipScale, EpsilonPlace, GradientNorm, Optimizer, Rule};
use sardonyx_ops::ops::gradient_clip::FIRST_GRADIENT;
use sardonyx_ops::ops::update::{FIRST_STATE, UpdateRule};

use super::{LowerCx, Lowered, Slot};
use crate::Result;

pub(super) fn update(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let update = UpdateRule::of(cx.node)?;
    let rule = match update {
        UpdateRule::Sgd => Rule::Sgd,
        UpdateRule::Momentum { nesterov } => Rule::Momentum {
            nesterov,
            scaled_velocity: false,
        },
        UpdateRule::Adam { decoupled } => Rule::Adam {
            amsgrad: false,
            decoupled,
            epsilon: EpsilonPlace::OutsideRoot,
        },
    };
    let parameter = cx.input(0);
    let is_whole = (0..=update.states()).all(|index| cx.node.output(index).is_some());
    if cx.dtype(parameter)? != sardonyx_tensor::DType::F32 || !is_whole {
        return Ok(None);
    }
    let len = cx.shape(parameter)?.iter().product();
    let states = (0..update.states()).map(|index| cx.input(FIRST_STATE + index));
    let mut operands = vec![
        Slot::Value(cx.input(2)),
        cx.node.input(3).into(),
        Slot::Value(cx.input(1)),
        Slot::Value(parameter),
    ];
    operands.extend(states.clone().map(Slot::Value));
    let mut lowered = Lowered::call(Optimizer::new(cx.isa, rule, len), operands);
    lowered.aliases.push((parameter, cx.output(0)));
    for (index, state) in states.enumerate() {
        lowered.aliases.push((state, cx.output(1 + index)));
    }
    Ok(Some(lowered))
}

pub(super) fn clip(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let gradients = cx.node.inputs.iter().skip(FIRST_GRADIENT).flatten();
    let gradients: Vec<_> = gradients.copied().collect();
    let mut lens = Vec::with_capacity(gradients.len());
    for &gradient in &gradients {
        if cx.dtype(gradient)? != sardonyx_tensor::DType::F32 {
            return Ok(None);
        }
        lens.push(cx.shape(gradient)?.iter().product());
    }
    let norm = GradientNorm::new(cx.isa, &lens);
    let scale = ClipScale::new(norm.partials());
    let mut lowered = Lowered::default();
    let partials = lowered.temporary(norm.partials());
    let mut operands: Vec<Slot> = gradients.into_iter().map(Slot::Value).collect();
    operands.push(partials);
    lowered.push(norm, operands);
    let (limit, factor) = (Slot::Value(cx.input(0)), Slot::Value(cx.output(0)));
    lowered.push(scale, vec![partials, limit, Slot::Absent, factor]);
    Ok(Some(lowered))
}
