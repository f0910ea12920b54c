//! `SoftmaxCrossEntropyLoss` and `NegativeLogLikelihoodLoss`: the loss by class labels, with class
//! weights, an ignored label and three reductions; and their gradients. Scores are
//! `[N, C, d..]`, labels `[N, d..]`.

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor, element_count};

use crate::ops::softmax::{Lanes, log_softmax};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &LabelLoss::LogLikelihood,
    &LabelLossGrad::LogLikelihood,
    &LabelLoss::CrossEntropy,
    &LabelLossGrad::CrossEntropy,
];

/// How the losses of the elements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean, weighted by the labels' class weights.
    Mean,
    /// Their sum.
    Sum,
    /// They stay apart.
    None,
}

impl Reduction {
    /// Reads attribute `reduction`.
    ///
    /// # Errors
    /// When it is none of the three.
    pub fn read(node: &Node) -> Result<Reduction> {
        match node.text("reduction", "mean")? {
            "mean" => Ok(Reduction::Mean),
            "sum" => Ok(Reduction::Sum),
            "none" => Ok(Reduction::None),
            _ => {
                let problem = "must be `mean`, `sum` or `none`";
                Err(node.attribute_error("reduction", problem).into())
            }
        }
    }
}

/// For each label the offset of its score and its weight; `None` where it is ignored.
struct Targets {
    picks: Vec<Option<(usize, f64)>>,
    /// Sum of the weights, by which a mean divides.
    total: f64,
}

impl Targets {
    fn read(
        node: &Node,
        scores: &[usize],
        labels: &Tensor,
        weights: Option<&Tensor>,
    ) -> Result<Targets> {
        let shape_error = || {
            let problem = format!("labels of shape {:?} do not fit {scores:?}", labels.shape());
            OpError::invalid(node, problem)
        };
        if scores.len() < 2 || labels.shape() != label_shape(scores) {
            return Err(shape_error());
        }
        let (classes, inner) = (scores[1], scores[2..].iter().product::<usize>());
        let weights = weights.map(Tensor::to_f64).transpose()?;
        if weights
            .as_ref()
            .is_some_and(|weights| weights.len() != classes)
        {
            return Err(OpError::invalid(
                node,
                format!("there are not {classes} class weights"),
            ));
        }
        let ignored = node
            .attributes
            .get("ignore_index")
            .map(|_| node.int("ignore_index", 0));
        let ignored = ignored.transpose()?;
        let pick = |(index, label): (usize, i64)| {
            if Some(label) == ignored {
                return Ok(None);
            }
            let class = usize::try_from(label).ok().filter(|&class| class < classes);
            let class = class.ok_or_else(|| {
                let problem = format!("label {label} is not one of the {classes} classes");
                OpError::invalid(node, problem)
            })?;
            let at = (index / inner * classes + class) * inner + index % inner;
            Ok(Some((
                at,
                weights.as_ref().map_or(1.0, |weights| weights[class]),
            )))
        };
        let picks: Vec<_> = labels
            .to_i64()?
            .into_iter()
            .enumerate()
            .map(pick)
            .collect::<Result<_>>()?;
        let total = picks.iter().flatten().map(|(_, weight)| weight).sum();
        Ok(Targets { picks, total })
    }
}

/// The shape of the labels to scores of shape `scores`: all axes but the classes'.
fn label_shape<T: Clone>(scores: &[T]) -> Vec<T> {
    [&scores[..1], &scores[2..]].concat()
}

/// Checks types and shapes of scores, labels and class weights (input `weights`).
fn check_inputs(cx: &InferCx<'_>, weights: usize) -> Result<()> {
    let (scores, labels) = (cx.input(0)?.fact, cx.input(1)?.fact);
    if !scores.dtype.is_float() || !matches!(labels.dtype, DType::I32 | DType::I64) {
        let problem = format!(
            "it does not take scores of {} and labels of {}",
            scores.dtype, labels.dtype
        );
        return Err(cx.invalid(problem));
    }
    Reduction::read(cx.node)?;
    cx.node.int("ignore_index", 0)?;
    let differ = |a: &Dim, b: &Dim| a.value().zip(b.value()).is_some_and(|(a, b)| a != b);
    let Some(shape) = &scores.shape else {
        return Ok(());
    };
    if shape.len() < 2 {
        return Err(cx.invalid(format!("scores {scores} have no axis of classes")));
    }
    if let Some(labels) = &labels.shape {
        let expected = label_shape(shape);
        if labels.len() != expected.len() || labels.iter().zip(&expected).any(|(a, b)| differ(a, b))
        {
            return Err(cx.invalid(format!("labels {} do not fit {scores}", cx.input(1)?.fact)));
        }
    }
    if let Some(known) = cx.optional(weights) {
        let fits = known.fact.dtype == scores.dtype
            && known
                .fact
                .shape
                .as_ref()
                .is_none_or(|w| w.len() == 1 && !differ(&w[0], &shape[1]));
        if !fits {
            let problem = format!("class weights {} do not fit {scores}", known.fact);
            return Err(cx.invalid(problem));
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LabelLoss {
    CrossEntropy,
    LogLikelihood,
}

impl Operator for LabelLoss {
    fn schema(&self) -> Schema {
        match self {
            LabelLoss::CrossEntropy => Schema::standard("SoftmaxCrossEntropyLoss", 12, 2)
                .inputs(2, 3)
                .outputs(2),
            LabelLoss::LogLikelihood => {
                Schema::standard("NegativeLogLikelihoodLoss", 12, 2).inputs(2, 3)
            }
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        check_inputs(cx, 2)?;
        let (scores, labels) = (cx.input(0)?.fact, cx.input(1)?.fact);
        let shape = match Reduction::read(cx.node)? {
            Reduction::None => labels
                .shape
                .clone()
                .or_else(|| scores.shape.as_deref().map(label_shape)),
            _ => Some(Vec::new()),
        };
        let dtype = scores.dtype;
        let mut outputs = vec![Fact { dtype, shape }.into()];
        if *self == LabelLoss::CrossEntropy {
            outputs.push(scores.clone().into());
        }
        Ok(outputs)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (scores, labels) = (cx.input(0)?, cx.input(1)?);
        let targets = Targets::read(cx.node, scores.shape(), labels, cx.optional(2))?;
        let mut log_prob = scores.to_f64()?;
        if *self == LabelLoss::CrossEntropy {
            log_prob = log_softmax(&log_prob, Lanes::along(scores.shape(), 1));
        }
        let loss = |pick: &Option<(usize, f64)>| pick.map_or(0.0, |(at, w)| -w * log_prob[at]);
        let losses: Vec<f64> = targets.picks.iter().map(loss).collect();
        let sum = || losses.iter().sum::<f64>();
        let (shape, values) = match Reduction::read(cx.node)? {
            Reduction::Mean => (Vec::new(), vec![sum() / targets.total]),
            Reduction::Sum => (Vec::new(), vec![sum()]),
            Reduction::None => (labels.shape().to_vec(), losses),
        };
        let mut outputs = vec![Tensor::from_f64(scores.dtype(), shape, values)?];
        if *self == LabelLoss::CrossEntropy {
            outputs.push(Tensor::from_f64(scores.dtype(), scores.shape(), log_prob)?);
        }
        Ok(outputs)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        if cx.wants(2) {
            return Err(cx.not_differentiable("class weights are taken to be constants"));
        }
        let mut dx = None;
        if cx.output_grads.first().copied().flatten().is_some() {
            dx = Some(self.by_loss(cx)?);
        }
        if let Some(d_log_prob) = cx.output_grads.get(1).copied().flatten() {
            let (log_prob, axis) = (cx.output(1)?, ("axis", Attr::Int(1)));
            let more = cx
                .builder
                .own("LogSoftmaxGrad", &[log_prob, d_log_prob], &[axis])?;
            dx = Some(match dx {
                None => more,
                Some(dx) => cx.builder.op("Add", &[dx, more], &[])?,
            });
        }
        let mut grads = vec![None; cx.node.inputs.len()];
        grads[0] = dx;
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let scores = cx.input(0).ok()?.fact.clone();
        match self {
            LabelLoss::CrossEntropy => crate::element_flops(&[scores.into()], 12),
            LabelLoss::LogLikelihood => crate::element_flops(&[scores.into()], 1),
        }
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let made = Example::new(self.schema(), name).uniform(&[4, 3], (-2.0, 2.0));
            made.ints(&[2, 0, 1, 2]).grad_by(&[0])
        };
        let image = |name: &str| {
            let labels = vec![0i32, 3, 1, -1, 2, 2, 0, 1, 3, 3, 0, -1];
            let made = Example::new(self.schema(), name).uniform(&[2, 4, 2, 3], (-2.0, 2.0));
            let made = made.values(&[2, 2, 3], labels).grad_by(&[0]);
            made.uniform(&[4], (0.5, 2.0)).attr("ignore_index", -1i64)
        };
        let mut examples = vec![
            example("mean"),
            example("sum").attr("reduction", "sum"),
            example("apart").attr("reduction", "none"),
            example("weighted").uniform(&[3], (0.5, 2.0)),
            example("ignoring a class").attr("ignore_index", 2i64),
            image("of images, weighted, ignoring"),
            image("of images, weighted, ignoring, sum").attr("reduction", "sum"),
            image("of images, weighted, ignoring, apart").attr("reduction", "none"),
        ];
        if *self == LabelLoss::CrossEntropy {
            examples.push(example("with log-probabilities").outputs(2));
            examples.push(image("of images with log-probabilities").outputs(2));
        }
        examples
    }
}

impl LabelLoss {
    /// The gradient that flows through the loss.
    fn by_loss(self, cx: &mut GradCx<'_, '_>) -> Result<ValueId> {
        let node = cx.node;
        let attributes: Vec<(&str, Attr)> = node
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let (op, known) = match self {
            LabelLoss::LogLikelihood => ("NegativeLogLikelihoodLossGrad", cx.input(0)?),
            LabelLoss::CrossEntropy => (
                "SoftmaxCrossEntropyLossGrad",
                match node.output(1) {
                    Some(log_prob) => log_prob,
                    // The node does not give its log-probabilities: one that does is emitted.
                    None => {
                        let op = (sardonyx_ir::ONNX, node.op_type.as_str());
                        cx.builder.node(op, &node.inputs, &attributes, 2)?[1]
                    }
                },
            ),
        };
        let inputs = [
            Some(known),
            node.input(1),
            Some(cx.output_grad(0)?),
            node.input(2),
        ];
        let given = if node.input(2).is_some() { 4 } else { 3 };
        let op = (sardonyx_ir::SARDONYX, op);
        Ok(cx.builder.node(op, &inputs[..given], &attributes, 1)?[0])
    }
}

/// `SoftmaxCrossEntropyLossGrad(log_prob, labels, dloss, weights?)` and
/// `NegativeLogLikelihoodLossGrad(log_prob, labels, dloss, weights?)` give the gradient by the
/// scores and by the log-probabilities; they carry the attributes of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LabelLossGrad {
    CrossEntropy,
    LogLikelihood,
}

impl Operator for LabelLossGrad {
    fn schema(&self) -> Schema {
        let name = match self {
            LabelLossGrad::CrossEntropy => "SoftmaxCrossEntropyLossGrad",
            LabelLossGrad::LogLikelihood => "NegativeLogLikelihoodLossGrad",
        };
        Schema::own(name, 3).inputs(3, 4)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        check_inputs(cx, 3)?;
        Ok(vec![cx.input(0)?.fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (log_prob, labels) = (cx.input(0)?, cx.input(1)?);
        let shape = log_prob.shape();
        let targets = Targets::read(cx.node, shape, labels, cx.optional(3))?;
        let reduction = Reduction::read(cx.node)?;
        let d_loss = cx.input(2)?;
        let expected = if reduction == Reduction::None {
            labels.shape()
        } else {
            &[]
        };
        crate::pool::check_shape(cx.node, d_loss, expected)?;
        let d_loss = d_loss.to_f64()?;
        let factor = if reduction == Reduction::Mean {
            targets.total.recip()
        } else {
            1.0
        };
        let mut dx = vec![0.0; element_count(shape)?];
        let values = log_prob.to_f64()?;
        let lanes = Lanes::along(shape, 1);
        for (index, (lane, pick)) in lanes.iter().zip(&targets.picks).enumerate() {
            let Some((at, weight)) = *pick else { continue };
            let share = d_loss[if reduction == Reduction::None {
                index
            } else {
                0
            }];
            let share = share * factor * weight;
            if *self == LabelLossGrad::CrossEntropy {
                lane.for_each(|at| dx[at] = values[at].exp() * share);
            }
            dx[at] -= share;
        }
        Ok(vec![Tensor::from_f64(log_prob.dtype(), shape, dx)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        crate::element_flops(outputs, 8)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let log_prob = [0.2f32, 0.8, 0.5, 0.5, 0.7, 0.3].map(f32::ln);
            let made = Example::new(self.schema(), name).values(&[3, 2], log_prob.to_vec());
            let made = made.ints(&[1, 0, 1]);
            made.no_grad("second derivatives are not supported")
        };
        vec![
            example("mean").uniform(&[], (0.5, 1.0)),
            example("weighted, apart")
                .attr("reduction", "none")
                .uniform(&[3], (0.5, 1.0))
                .uniform(&[2], (0.5, 1.0)),
        ]
    }
}
