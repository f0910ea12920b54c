//! `BatchNormalization` (Ioffe and Szegedy, arXiv 1502.03167) in both forms: with the running
//! statistics, and (`training_mode`) with those of the batch, where it also gives the running
//! statistics' next values, `running * momentum + batch * (1 - momentum)`, the variance being the
//! population's, or the sample's by [`SAMPLE_VARIANCE`].

use sardonyx_ir::{Attr, Dim, Fact, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::normalize::{Layout, Statistics, add_bias, channel_of, gradients, scaled};
use crate::ops::conv::{bias_grad, common_float};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&BatchNormalization, &BatchNormalizationGrad];

#[derive(Debug)]
struct BatchNormalization;

const SCHEMA: Schema = Schema::standard("BatchNormalization", 9, 5).outputs(3);

/// Attribute of plans, no standard one: the running variance is the mean of the samples' (divided
/// by one less than their number), as PyTorch keeps it. ONNX and Keras keep the population's.
pub const SAMPLE_VARIANCE: &str = "sample_variance";

/// The batch's variances as the running ones take them up, of `count` elements each.
pub(crate) fn kept_variances(node: &Node, variances: &[f64], count: usize) -> Result<Vec<f64>> {
    let factor = match node.flag(SAMPLE_VARIANCE, false)? {
        true => count as f64 / count.saturating_sub(1).max(1) as f64,
        false => 1.0,
    };
    Ok(variances.iter().map(|variance| variance * factor).collect())
}

/// The small number under the root.
pub(crate) fn epsilon(node: &Node) -> Result<f64> {
    Ok(f64::from(node.float("epsilon", 1e-5)?))
}

/// Checks that inputs 1 and on are vectors with an element for each of `channels`.
fn check_parameters(cx: &InferCx<'_>, inputs: std::ops::Range<usize>, x: &[Dim]) -> Result<()> {
    let [_, channels, ..] = x else {
        return Err(cx.invalid("its input has no axis of channels"));
    };
    for input in inputs {
        let fact = cx.input(input)?.fact;
        let fits = fact.shape.as_deref().is_none_or(|shape| match shape {
            [dim] => dim
                .value()
                .zip(channels.value())
                .is_none_or(|(a, b)| a == b),
            _ => false,
        });
        if !fits || !fact.dtype.is_float() {
            let problem = format!("input {input} is {fact}, not a vector of {channels} floats");
            return Err(cx.invalid(problem));
        }
    }
    Ok(())
}

/// Checks the same of tensors.
fn check_vectors(node: &Node, x: &Tensor, parameters: &[&Tensor]) -> Result<()> {
    let channels = x.shape().get(1..2);
    let fits = |parameter: &&Tensor| Some(parameter.shape()) == channels;
    if parameters.iter().all(fits) {
        return Ok(());
    }
    let problem = format!(
        "its parameters do not fit an input of shape {:?}",
        x.shape()
    );
    Err(OpError::invalid(node, problem))
}

impl Operator for BatchNormalization {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let (x, mean) = (cx.input(0)?.fact, cx.input(3)?.fact);
        if !x.dtype.is_float() {
            return Err(cx.invalid(format!("it does not take {}", x.dtype)));
        }
        if let Some(shape) = &x.shape {
            check_parameters(cx, 1..5, shape)?;
        }
        let mut outputs = vec![x.clone().into()];
        if cx.node.flag("training_mode", false)? {
            let running = Fact::new(mean.dtype, x.shape.iter().map(|shape| shape[1].clone()));
            let running = if x.shape.is_some() {
                running
            } else {
                mean.clone()
            };
            outputs.extend([running.clone().into(), running.into()]);
        }
        Ok(outputs)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let inputs: Vec<&Tensor> = (1..5).map(|index| cx.input(index)).collect::<Result<_>>()?;
        check_vectors(cx.node, x, &inputs)?;
        let values = inputs.iter().map(|input| input.to_f64());
        let values: Vec<Vec<f64>> = values.collect::<Result<_, _>>()?;
        let [scale, bias, mean, variance] = &values[..] else {
            return Err(cx.invalid("it takes four parameters"));
        };
        let layout = Layout::channels(x.shape());
        let xs = x.to_f64()?;
        let running = Statistics::given(mean.clone(), variance.clone());
        let training = cx.node.flag("training_mode", false)?;
        let statistics = if training {
            layout.statistics(&xs)
        } else {
            running
        };
        let parameter = channel_of(x.shape());
        let unit = layout.apply(&xs, &statistics, epsilon(cx.node)?);
        let mut y = scaled(&unit, scale, &parameter);
        add_bias(&mut y, bias, &parameter);
        let mut outputs = vec![Tensor::from_f64(x.dtype(), x.shape(), y)?];
        if training {
            let momentum = f64::from(cx.node.float("momentum", 0.9)?);
            let blend = |(old, new): (&f64, &f64)| old * momentum + new * (1.0 - momentum);
            let count = xs.len() / statistics.mean.len().max(1);
            let kept = kept_variances(cx.node, &statistics.variance, count)?;
            let pairs = [(mean, &statistics.mean), (variance, &kept)];
            for (input, (old, new)) in inputs[2..].iter().zip(pairs) {
                let next = old.iter().zip(new).map(blend).collect();
                outputs.push(Tensor::from_f64(input.dtype(), input.shape(), next)?);
            }
        }
        Ok(outputs)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        if !cx.node.flag("training_mode", false)? {
            return inference_grad(cx);
        }
        if cx.output_grads.iter().skip(1).any(Option::is_some) {
            return Err(cx.not_differentiable("running statistics are taken to be constants"));
        }
        let epsilon = ("epsilon", Attr::Float(cx.node.float("epsilon", 1e-5)?));
        let inputs = [
            Some(cx.input(0)?),
            Some(cx.input(1)?),
            Some(cx.output_grad(0)?),
        ];
        let op = (sardonyx_ir::SARDONYX, "BatchNormalizationGrad");
        let grads = cx.builder.node(op, &inputs, &[epsilon], 3)?;
        Ok(grads.into_iter().map(Some).chain([None, None]).collect())
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        let training = cx.node.flag("training_mode", false).ok()?;
        element_flops(outputs, if training { 7 } else { 2 })
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize]| {
            let made = Example::new(SCHEMA, name).uniform(x, (-2.0, 2.0));
            let made = made
                .uniform(&x[1..2], (0.5, 1.5))
                .uniform(&x[1..2], (-1.0, 1.0));
            made.uniform(&x[1..2], (-0.5, 0.5))
                .uniform(&x[1..2], (0.5, 2.0))
        };
        let training = |name: &str, x: &[usize]| {
            example(name, x)
                .attr("training_mode", 1i64)
                .grad_by(&[0, 1, 2])
        };
        vec![
            example("of images", &[2, 3, 2, 2]),
            example("of rows", &[4, 3]).attr("epsilon", 0.1f32),
            example("of sequences, old", &[2, 3, 4]).opset(9),
            example("of no sample", &[0, 3, 2]),
            training("training on images", &[2, 3, 2, 2]),
            training("training on rows", &[5, 2]).attr("epsilon", 0.01f32),
            training("training with all outputs", &[4, 2, 3])
                .attr("momentum", 0.7f32)
                .outputs(3)
                .no_grad("running statistics are taken to be constants"),
            training("training with the samples' variance", &[4, 2, 3])
                .attr(SAMPLE_VARIANCE, 1i64)
                .outputs(3)
                .no_grad("running statistics are taken to be constants"),
        ]
    }
}

/// The gradients of the form with running statistics, by all five inputs.
fn inference_grad(cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
    let (x, scale, mean) = (cx.input(0)?, cx.input(1)?, cx.input(3)?);
    let (variance, dy) = (cx.input(4)?, cx.output_grad(0)?);
    let rank = cx.builder.shape(x)?.len() as i64;
    let column = |cx: &mut GradCx<'_, '_>, value| {
        if rank == 2 {
            return Ok(value);
        }
        let axes = cx.builder.ints(&(1..rank - 1).collect::<Vec<_>>());
        cx.builder.op("Unsqueeze", &[value, axes], &[])
    };
    let epsilon = cx.builder.scalar_like(variance, epsilon(cx.node)?)?;
    let shifted = cx.builder.op("Add", &[variance, epsilon], &[])?;
    let std = cx.builder.op("Sqrt", &[shifted], &[])?;
    let factor = cx.builder.op("Div", &[scale, std], &[])?;
    let mut grads = vec![None; 5];
    if cx.wants(0) {
        let factors = column(cx, factor)?;
        grads[0] = Some(cx.builder.op("Mul", &[dy, factors], &[])?);
    }
    if cx.wants(1) || cx.wants(4) {
        let means = column(cx, mean)?;
        let centered = cx.builder.op("Sub", &[x, means], &[])?;
        let product = cx.builder.op("Mul", &[dy, centered], &[])?;
        let sum = bias_grad(cx, product)?;
        grads[1] = Some(cx.builder.op("Div", &[sum, std], &[])?);
        if cx.wants(4) {
            let minus_half = cx.builder.scalar_like(sum, -0.5)?;
            let half = cx.builder.op("Mul", &[sum, minus_half], &[])?;
            let scaled = cx.builder.op("Mul", &[half, factor], &[])?;
            grads[4] = Some(cx.builder.op("Div", &[scaled, shifted], &[])?);
        }
    }
    if cx.wants(2) || cx.wants(3) {
        let sum = bias_grad(cx, dy)?;
        grads[2] = Some(sum);
        if cx.wants(3) {
            let scaled = cx.builder.op("Mul", &[sum, factor], &[])?;
            grads[3] = Some(cx.builder.op("Neg", &[scaled], &[])?);
        }
    }
    Ok(grads)
}

/// `BatchNormalizationGrad(x, scale, dy)` gives `dx`, `dscale` and `dbias` of the form with the
/// batch's statistics; attribute `epsilon`.
#[derive(Debug)]
struct BatchNormalizationGrad;

impl BatchNormalizationGrad {
    const SCHEMA: Schema = Schema::own("BatchNormalizationGrad", 3).outputs(3);
}

impl Operator for BatchNormalizationGrad {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        let (x, scale) = (cx.input(0)?.fact, cx.input(1)?.fact);
        if let Some(shape) = &x.shape {
            check_parameters(cx, 1..2, shape)?;
        }
        Ok([x, scale, scale]
            .into_iter()
            .map(|fact| fact.clone().into())
            .collect())
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (x, scale, dy) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        check_vectors(cx.node, x, &[scale])?;
        crate::pool::check_shape(cx.node, dy, x.shape())?;
        let (layout, parameter) = (Layout::channels(x.shape()), channel_of(x.shape()));
        gradients(&layout, &parameter, [x, scale, dy], epsilon(cx.node)?)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 14)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(Self::SCHEMA, "of images")
            .uniform(&[2, 3, 2, 2], (-2.0, 2.0))
            .uniform(&[3], (0.5, 1.5))
            .uniform(&[2, 3, 2, 2], (-1.0, 1.0));
        vec![
            example
                .outputs(3)
                .no_grad("second derivatives are not supported"),
        ]
    }
}
