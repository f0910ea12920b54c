//! Random tensors: `RandomNormal`, `RandomUniform`, their `Like` forms, and `Bernoulli`. Numbers
//! are those of [`Philox`], named by the `seed` attribute and the node's name: the reference draws
//! the same ones on every run, and a run that wants others hands in another seed.

use sardonyx_ir::{Fact, Node, ONNX, ValueId};
use sardonyx_tensor::{DType, Philox, Tensor};

use super::cast::type_attribute;
use crate::reference::{claimed_count, from_i64};
use crate::{
    EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema, element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &Random::Bernoulli,
    &Random::Normal,
    &Random::NormalLike,
    &Random::Uniform,
    &Random::UniformLike,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Random {
    Bernoulli,
    Normal,
    NormalLike,
    Uniform,
    UniformLike,
}

/// Whether `node` draws random numbers, so that its output must not be taken for a constant.
pub fn is_random(node: &Node) -> bool {
    let drawn = ["Bernoulli", "Dropout", "Multinomial"];
    node.domain == ONNX
        && (node.op_type.starts_with("Random") || drawn.contains(&node.op_type.as_str()))
}

/// The random stream that `node` names: its seed, and its name so that nodes of one seed differ.
///
/// # Errors
/// When `seed` is not a float.
pub fn stream(node: &Node) -> Result<Philox> {
    let seed = node.float("seed", 0.0)?;
    // The 64-bit FNV-1a hash.
    let name = node
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    Ok(Philox::new(u64::from(seed.to_bits()), name))
}

impl Random {
    fn is_like(self) -> bool {
        !matches!(self, Random::Normal | Random::Uniform)
    }

    fn dtype(self, node: &Node, input: Option<DType>) -> Result<DType> {
        let dtype = type_attribute(node, "dtype")?
            .or(input)
            .unwrap_or(DType::F32);
        if dtype == DType::String || (self != Random::Bernoulli && !dtype.is_float()) {
            return Err(OpError::invalid(node, format!("it does not make {dtype}")));
        }
        Ok(dtype)
    }

    fn shape(self, node: &Node) -> Result<Vec<usize>> {
        node.sizes("shape")?
            .ok_or_else(|| OpError::invalid(node, "the attribute `shape` is missing"))
    }
}

impl Operator for Random {
    fn schema(&self) -> Schema {
        match self {
            Random::Bernoulli => Schema::standard("Bernoulli", 15, 1),
            Random::Normal => Schema::standard("RandomNormal", 1, 0),
            Random::NormalLike => Schema::standard("RandomNormalLike", 1, 1),
            Random::Uniform => Schema::standard("RandomUniform", 1, 0),
            Random::UniformLike => Schema::standard("RandomUniformLike", 1, 1),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        if !self.is_like() {
            let dtype = self.dtype(cx.node, None)?;
            return Ok(vec![Fact::fixed(dtype, &self.shape(cx.node)?).into()]);
        }
        let fact = cx.input(0)?.fact;
        let dtype = self.dtype(cx.node, Some(fact.dtype))?;
        Ok(vec![
            Fact {
                dtype,
                shape: fact.shape.clone(),
            }
            .into(),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let dtype = self.dtype(cx.node, cx.optional(0).map(Tensor::dtype))?;
        let shape = match cx.optional(0) {
            Some(like) => like.shape().to_vec(),
            None => self.shape(cx.node)?,
        };
        let count = claimed_count(cx.node, &shape)?;
        let mut rng = stream(cx.node)?;
        let float = |name, default| cx.node.float(name, default).map(f64::from);
        let values: Vec<f64> = match self {
            Random::Bernoulli => {
                let chances = cx.input(0)?.to_f64()?;
                let draw = |p: f64| f64::from(u8::from(rng.uniform_f64() < p));
                chances.into_iter().map(draw).collect()
            }
            Random::Normal | Random::NormalLike => {
                let (mean, scale) = (float("mean", 0.0)?, float("scale", 1.0)?);
                (0..count).map(|_| mean + scale * rng.normal()).collect()
            }
            Random::Uniform | Random::UniformLike => {
                let (low, high) = (float("low", 0.0)?, float("high", 1.0)?);
                (0..count)
                    .map(|_| low + (high - low) * rng.uniform_f64())
                    .collect()
            }
        };
        Ok(vec![if dtype.is_float() {
            Tensor::from_f64(dtype, shape, values)?
        } else {
            from_i64(
                dtype,
                &shape,
                values.into_iter().map(|x| x as i64).collect(),
            )?
        }])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Ok(vec![None; cx.node.inputs.len()])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 20)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let example = Example::new(self.schema(), name).attr("seed", 3.0f32);
            let example = example.no_grad("what is drawn does not depend on an input");
            if self.is_like() {
                example.uniform(&[3, 5], (0.0, 1.0))
            } else {
                example.attr("shape", vec![3i64, 5])
            }
        };
        let parameters = match self {
            Random::Bernoulli => example("of truth values").attr("dtype", 9i64),
            Random::Normal | Random::NormalLike => example("scaled")
                .attr("mean", 2.0f32)
                .attr("scale", 0.1f32)
                .attr("dtype", 11i64),
            Random::Uniform | Random::UniformLike => example("scaled")
                .attr("low", -1.0f32)
                .attr("high", -0.5f32)
                .attr("dtype", 10i64),
        };
        vec![example("plain"), parameters]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(operator: Random, node: &Node, inputs: Vec<Option<&Tensor>>) -> Vec<f64> {
        let cx = EvalCx {
            node,
            inputs,
            opset: 22,
        };
        operator.eval(&cx).expect("legal")[0]
            .to_f64()
            .expect("a number")
    }

    #[test]
    fn moments_are_those_asked_for() {
        let mut node = Node::new(ONNX, "RandomNormal");
        node.attributes
            .insert("shape".to_owned(), vec![100i64, 100].into());
        node.attributes.insert("mean".to_owned(), 3.0f32.into());
        node.attributes.insert("scale".to_owned(), 2.0f32.into());
        let values = eval(Random::Normal, &node, Vec::new());
        let mean = values.iter().sum::<f64>() / 1e4;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e4;
        assert!((mean - 3.0).abs() < 0.1, "mean {mean}");
        assert!((variance - 4.0).abs() < 0.2, "variance {variance}");
    }

    #[test]
    fn bernoulli_draws_by_probability_and_name() {
        let chances = Tensor::new([10_000], vec![0.25f32; 10_000]).expect("it fits");
        let mut node = Node::new(ONNX, "Bernoulli");
        let first = eval(Random::Bernoulli, &node, vec![Some(&chances)]);
        let mean = first.iter().sum::<f64>() / 1e4;
        assert!((mean - 0.25).abs() < 0.02, "mean {mean}");
        node.name = "other".to_owned();
        assert_ne!(first, eval(Random::Bernoulli, &node, vec![Some(&chances)]));
    }
}
