//! Steps of optimizers, in place on the parameters' and the optimizer's state.

use sardonyx_kernels::{EpsilonPlace, Optimizer, Rule};
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
    if cx.dtype(parameter)? != sardonyx_tensor::DType::F32 {
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
