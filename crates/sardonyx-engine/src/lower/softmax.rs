//! Softmax, its logarithm, and the cross entropy of classes, with their gradients.

use sardonyx_kernels::{
    AxisShape, CrossEntropy, CrossEntropyOptions, LabelWeight, Op, Reduce, Reduction, Softmax,
    SoftmaxGrad,
};
use sardonyx_ops::MAX_OPSET;
use sardonyx_tensor::DType;

use super::elementwise::Fused;
use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// The lines that `node` normalises, over a tensor of `shape`: along one axis, or, in old operator
/// sets, along all axes from one on.
pub(super) fn lanes(cx: &LowerCx<'_>, shape: &[usize]) -> Result<Option<AxisShape>> {
    let opset = cx.graph.opset("").unwrap_or(MAX_OPSET);
    let is_old = cx.node.domain.is_empty() && opset < 13;
    let is_flat = is_old || cx.node.flag("flat", false)?;
    let rank = shape.len() as i64;
    let axis = cx.node.int("axis", if is_flat { 1 } else { -1 })?;
    let axis = if axis < 0 { axis + rank } else { axis };
    let Some(axis) = usize::try_from(axis)
        .ok()
        .filter(|&axis| axis <= shape.len())
    else {
        return Ok(None);
    };
    Ok(if is_flat {
        Some(AxisShape {
            outer: shape[..axis].iter().product(),
            len: shape[axis..].iter().product(),
            inner: 1,
        })
    } else {
        (axis < shape.len()).then(|| AxisShape::new(shape, axis))
    })
}

pub(super) fn softmax(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let shape = cx.shape(cx.input(0))?;
    let Some(lanes) = lanes(cx, &shape)?.filter(|_| cx.is_f32()) else {
        return Ok(None);
    };
    let kernel = match cx.node.op_type.as_str() {
        "Softmax" => Softmax::new(cx.isa, lanes),
        _ => Softmax::logarithm(cx.isa, lanes),
    };
    let operands = vec![Slot::Value(cx.input(0)), Slot::Value(cx.output(0))];
    Ok(Some(Lowered::call(kernel, operands)))
}

pub(super) fn softmax_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let shape = cx.shape(cx.input(0))?;
    let Some(lanes) = lanes(cx, &shape)?.filter(|_| cx.is_f32()) else {
        return Ok(None);
    };
    let kernel = match cx.node.op_type.as_str() {
        "SoftmaxGrad" => SoftmaxGrad::new(cx.isa, lanes),
        _ => SoftmaxGrad::logarithm(cx.isa, lanes),
    };
    let operands = vec![
        Slot::Value(cx.input(0)),
        Slot::Value(cx.input(1)),
        Slot::Value(cx.output(0)),
    ];
    Ok(Some(Lowered::call(kernel, operands)))
}

/// How a cross entropy over labels is reduced.
struct Entropy {
    classes: AxisShape,
    options: CrossEntropyOptions,
    /// `None` keeps a loss per label.
    reduction: Option<Reduction>,
    weights: Slot,
}

impl Entropy {
    /// Reads a loss, whose class weights are input `weights`.
    fn read(cx: &LowerCx<'_>, weights: usize) -> Result<Option<Entropy>> {
        let shape = cx.shape(cx.input(0))?;
        if cx.dtype(cx.input(0))? != DType::F32 || shape.len() < 2 {
            return Ok(None);
        }
        let reduction = match cx.node.text("reduction", "mean")? {
            "mean" => Some(Reduction::Mean),
            "sum" => Some(Reduction::Sum),
            _ => None,
        };
        let ignored = cx.node.attributes.contains_key("ignore_index");
        let ignore_index = if ignored {
            Some(cx.node.int("ignore_index", 0)?)
        } else {
            None
        };
        let label_dtype = cx.dtype(cx.input(1))?;
        let options = CrossEntropyOptions {
            label_dtype,
            ignore_index,
            scale_per_line: reduction.is_none(),
        };
        let weights = cx.node.input(weights).into();
        Ok(Some(Entropy {
            classes: AxisShape::new(&shape, 1),
            options,
            reduction,
            weights,
        }))
    }

    /// What a mean divides by, computed into a temporary; absent for other reductions.
    fn divisor(&self, lowered: &mut Lowered, cx: &LowerCx<'_>) -> Result<Slot> {
        if self.reduction != Some(Reduction::Mean) {
            return Ok(Slot::Absent);
        }
        let total = lowered.temporary(1);
        let kernel = LabelWeight::new(self.classes.lines(), self.classes.len, self.options)?;
        lowered.push(kernel, vec![Slot::Value(cx.input(1)), self.weights, total]);
        Ok(total)
    }
}

/// `SoftmaxCrossEntropyLoss(scores, labels, weights?) -> loss, log_prob?`.
pub(super) fn cross_entropy(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let Some(entropy) = Entropy::read(cx, 2)? else {
        return Ok(None);
    };
    let lines = entropy.classes.lines();
    let mut lowered = Lowered::default();
    let loss = Slot::Value(cx.output(0));
    let losses = if entropy.reduction.is_some() {
        lowered.temporary(lines)
    } else {
        loss
    };
    let operands = vec![
        Slot::Value(cx.input(0)),
        Slot::Value(cx.input(1)),
        entropy.weights,
        Slot::Absent,
        Slot::Absent,
        losses,
        cx.node.output(1).into(),
        Slot::Absent,
    ];
    lowered.push(
        CrossEntropy::new(cx.isa, entropy.classes, entropy.options)?,
        operands,
    );
    if entropy.reduction.is_none() {
        return Ok(Some(lowered));
    }
    let divisor = entropy.divisor(&mut lowered, cx)?;
    let sum = if divisor == Slot::Absent {
        loss
    } else {
        lowered.temporary(1)
    };
    let axis = AxisShape {
        outer: 1,
        len: lines,
        inner: 1,
    };
    lowered.push(Reduce::new(cx.isa, Reduction::Sum, axis), vec![losses, sum]);
    if divisor != Slot::Absent {
        let mut fused = Fused::new(vec![1]);
        let (sum, divisor) = (fused.floats(sum, &[1])?, fused.floats(divisor, &[1])?);
        let mean = fused.push(Op::Div, &[sum, divisor])?;
        fused.finish(&mut lowered, cx, &[(mean, loss)])?;
    }
    Ok(Some(lowered))
}

/// `SoftmaxCrossEntropyLossGrad(log_prob, labels, dloss, weights?)`: the softmax of
/// log-probabilities is the softmax of the scores that they came from.
pub(super) fn cross_entropy_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let Some(entropy) = Entropy::read(cx, 3)? else {
        return Ok(None);
    };
    let mut lowered = Lowered::default();
    let divisor = entropy.divisor(&mut lowered, cx)?;
    let operands = vec![
        Slot::Value(cx.input(0)),
        Slot::Value(cx.input(1)),
        entropy.weights,
        Slot::Value(cx.input(2)),
        divisor,
        Slot::Absent,
        Slot::Absent,
        Slot::Value(cx.output(0)),
    ];
    lowered.push(
        CrossEntropy::new(cx.isa, entropy.classes, entropy.options)?,
        operands,
    );
    Ok(Some(lowered))
}
