//! `Dropout` (Srivastava et al., JMLR 15, 2014). Which elements are kept is a pure function of
//! numbers that the node carries, so the gradient is the same node applied to the gradient, no
//! mask has to be stored, and the same mask comes out whatever the order of evaluation.

use sardonyx_ir::{Attr, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Philox, Tensor};

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, element_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Dropout, &DropoutTraining];

#[derive(Debug)]
struct Dropout;

const SCHEMA: Schema = Schema::standard("Dropout", 7, 1).inputs(1, 3).outputs(2);

/// Which elements a dropout keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutMask {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the dropout within the model; its low 32 bits count.
    pub stream: u64,
    /// Number of the training step; its low 32 bits count.
    pub step: u64,
    /// Probability that an element is dropped.
    pub ratio: f64,
}

impl DropoutMask {
    /// What a kept element is multiplied by, so that the mean stays the same.
    pub fn scale(&self) -> f64 {
        if self.ratio < 1.0 {
            (1.0 - self.ratio).recip()
        } else {
            0.0
        }
    }

    /// A random word at or above this keeps its element.
    pub fn threshold(&self) -> u64 {
        (self.ratio * 4_294_967_296.0) as u64
    }

    /// The random words of elements `4 * block .. 4 * block + 4`.
    pub fn words(&self, block: u64) -> [u32; 4] {
        let stream = (self.stream << 32) | (self.step & 0xffff_ffff);
        Philox::block(self.seed, stream, block)
    }

    /// Whether each of `count` elements is kept.
    pub fn keeps(&self, count: usize) -> Vec<bool> {
        let threshold = self.threshold();
        let blocks = (0..count.div_ceil(4) as u64).flat_map(|block| self.words(block));
        blocks
            .take(count)
            .map(|word| u64::from(word) >= threshold)
            .collect()
    }

    fn apply(&self, x: &Tensor, keeps: &[bool]) -> Result<Tensor> {
        let scale = self.scale();
        let values = x.to_f64()?.into_iter().zip(keeps);
        let values = values
            .map(|(x, &keep)| if keep { x * scale } else { 0.0 })
            .collect();
        Ok(Tensor::from_f64(x.dtype(), x.shape(), values)?)
    }
}

fn check_ratio(node: &Node, ratio: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&ratio) {
        return Ok(ratio);
    }
    Err(node
        .attribute_error("ratio", "must lie between 0 and 1")
        .into())
}

/// Whether a scalar truth value is set.
fn is_set(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.to_i64()?.first().is_some_and(|&value| value != 0))
}

impl Operator for Dropout {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let fact = cx.input(0)?.fact;
        if !fact.dtype.is_float() {
            return Err(cx.invalid(format!("it does not take {}", fact.dtype)));
        }
        if cx
            .optional(2)
            .is_some_and(|known| known.fact.dtype != DType::Bool)
        {
            return Err(cx.invalid("its training_mode must be a truth value"));
        }
        let mask = Fact {
            dtype: DType::Bool,
            shape: fact.shape.clone(),
        };
        Ok(vec![fact.clone().into(), mask.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let training = cx.optional(2).map(is_set).transpose()?.unwrap_or(false);
        let ratio = match cx.optional(1) {
            Some(ratio) => ratio.to_f64()?.first().copied().unwrap_or(0.5),
            None => f64::from(cx.node.float("ratio", 0.5)?),
        };
        let ratio = check_ratio(cx.node, ratio)?;
        if !training || ratio == 0.0 {
            let mask = Tensor::new(x.shape(), vec![true; x.len()])?;
            return Ok(vec![x.clone(), mask]);
        }
        let seed = cx.node.int("seed", 0)? as u64;
        let mask = DropoutMask {
            seed,
            stream: 0,
            step: 0,
            ratio,
        };
        let keeps = mask.keeps(x.len());
        Ok(vec![mask.apply(x, &keeps)?, Tensor::new(x.shape(), keeps)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let mut grads = vec![None; cx.node.inputs.len()];
        let dy = cx.output_grad(0)?;
        let node = cx.node;
        if node.input(2).is_none() {
            grads[0] = Some(dy);
            return Ok(grads);
        }
        let attributes: Vec<(&str, Attr)> = node
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let inputs = [Some(dy), node.input(1), node.input(2)];
        let op = (sardonyx_ir::ONNX, "Dropout");
        grads[0] = Some(cx.builder.node(op, &inputs, &attributes, 1)?[0]);
        Ok(grads)
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            Example::new(SCHEMA, name)
                .uniform(&[3, 7], (-1.0, 1.0))
                .grad_by(&[0])
        };
        let training = |name: &str, ratio: f32| {
            let made = example(name)
                .values(&[], vec![ratio])
                .values(&[], vec![true]);
            made.attr("seed", 11i64)
        };
        vec![
            example("at inference"),
            example("at inference, with a mask").outputs(2),
            example("at inference, old").attr("ratio", 0.3f32).opset(10),
            example("not training").absent().values(&[], vec![false]),
            training("training", 0.4),
            training("training, with a mask", 0.25).outputs(2),
            training("training, keeping all", 0.0).outputs(2),
            training("training, dropping all", 1.0),
            example("training by default")
                .absent()
                .values(&[], vec![true]),
        ]
    }
}

/// `DropoutTraining(x, step)`, where `step` is an `i64` scalar: the dropout of training step
/// `step` of a run. Attributes `ratio` (default 0.5), `seed` and `stream`, the dropout's number
/// within the model.
#[derive(Debug)]
struct DropoutTraining;

impl DropoutTraining {
    const SCHEMA: Schema = Schema::own("DropoutTraining", 2);
}

/// The mask of a `DropoutTraining` node at step `step`.
///
/// # Errors
/// When an attribute has the wrong type or the ratio is no probability.
pub fn training_mask(node: &Node, step: u64) -> Result<DropoutMask> {
    Ok(DropoutMask {
        seed: node.int("seed", 0)? as u64,
        stream: node.int("stream", 0)? as u64,
        step,
        ratio: check_ratio(node, f64::from(node.float("ratio", 0.5)?))?,
    })
}

impl Operator for DropoutTraining {
    fn schema(&self) -> Schema {
        Self::SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let (fact, step) = (cx.input(0)?.fact, cx.input(1)?.fact);
        if !fact.dtype.is_float() || step.dtype != DType::I64 {
            return Err(cx.invalid(format!("it does not take {} and {step}", fact.dtype)));
        }
        training_mask(cx.node, 0)?;
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let step = match cx.input(1)?.values::<i64>()? {
            &[step] => step as u64,
            _ => return Err(cx.invalid("its step is not one number")),
        };
        let mask = training_mask(cx.node, step)?;
        Ok(vec![mask.apply(x, &mask.keeps(x.len()))?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (dy, step) = (cx.output_grad(0)?, cx.input(1)?);
        let node = cx.node;
        let attributes: Vec<(&str, Attr)> = node
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let dx = cx
            .builder
            .own("DropoutTraining", &[dy, step], &attributes)?;
        Ok(vec![Some(dx), None])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, step: i64| {
            let made = Example::new(Self::SCHEMA, name).uniform(&[3, 7], (-1.0, 1.0));
            made.values(&[], vec![step])
                .attr("seed", 3i64)
                .attr("stream", 2i64)
        };
        vec![
            example("at the first step", 0),
            example("at a later step", 1000).attr("ratio", 0.1f32),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: DropoutMask = DropoutMask {
        seed: 5,
        stream: 1,
        step: 9,
        ratio: 0.3,
    };

    #[test]
    fn the_ratio_is_met() {
        let kept = MASK.keeps(100_000).into_iter().filter(|&keep| keep).count();
        // Four standard deviations of a binomial distribution.
        assert!(
            (kept as f64 - 70_000.0).abs() < 4.0 * (100_000.0f64 * 0.21).sqrt(),
            "{kept}"
        );
        let none = DropoutMask { ratio: 1.0, ..MASK };
        assert_eq!((none.keeps(9), none.scale()), (vec![false; 9], 0.0));
    }

    #[test]
    fn seed_stream_and_step_matter() {
        let keeps = |mask: DropoutMask| mask.keeps(64);
        assert_eq!(keeps(MASK), keeps(MASK));
        assert_eq!(keeps(MASK)[..13], MASK.keeps(13)[..]);
        for other in [
            DropoutMask { seed: 6, ..MASK },
            DropoutMask { stream: 2, ..MASK },
            DropoutMask { step: 10, ..MASK },
        ] {
            assert_ne!(keeps(MASK), keeps(other));
        }
    }
}
