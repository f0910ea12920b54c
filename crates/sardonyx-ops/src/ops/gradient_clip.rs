//! `GradientClip`: the factor by which all gradients of a step are multiplied so that their norm
//! together is at most a limit, `min(limit / (norm + 1e-6), 1)` as
//! `torch.nn.utils.clip_grad_norm_` has it; NaN where the norm is. Inputs: the limit (`f64`,
//! scalar), then the gradients; output: the factor, which `OptimizerUpdate` takes.

use sardonyx_ir::{Fact, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, fact_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&GradientClip];

#[derive(Debug)]
struct GradientClip;

const SCHEMA: Schema = Schema::own("GradientClip", 2).inputs(2, usize::MAX);

/// Input of the first gradient.
pub const FIRST_GRADIENT: usize = 1;

impl Operator for GradientClip {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        if !cx.input(0)?.fact.admits(DType::F64, &[]) {
            return Err(cx.invalid("its limit is not a scalar of float64"));
        }
        let dtype = cx.dtype(FIRST_GRADIENT)?;
        for index in FIRST_GRADIENT..cx.node.inputs.len() {
            if cx.dtype(index)? != dtype {
                return Err(cx.invalid("its gradients are not of one type"));
            }
        }
        Ok(vec![Fact::fixed(dtype, &[]).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let limit = cx.input(0)?.to_f64()?;
        let &[limit] = &limit[..] else {
            return Err(cx.invalid("its limit is not one number"));
        };
        let mut sum = 0.0;
        for index in FIRST_GRADIENT..cx.node.inputs.len() {
            let gradient = cx.input(index)?.to_f64()?;
            sum += gradient.iter().map(|value| value * value).sum::<f64>();
        }
        let ratio = limit / (sum.sqrt() + 1e-6);
        // Written so that a NaN stays.
        let factor = if ratio > 1.0 { 1.0 } else { ratio };
        let dtype = cx.input(FIRST_GRADIENT)?.dtype();
        Ok(vec![Tensor::from_f64(dtype, [], vec![factor])?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("gradients of gradients are not followed"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let gradients = FIRST_GRADIENT..cx.node.inputs.len();
        let flops = |index| fact_flops(cx.input(index).ok()?.fact, 2);
        gradients.map(flops).sum()
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, limit: f64| {
            let example = Example::new(SCHEMA, name).values(&[], vec![limit]);
            let example = example
                .uniform(&[2, 3], (-1.0, 1.0))
                .uniform(&[7], (-1.0, 1.0))
                .uniform(&[0], (-1.0, 1.0));
            example.no_grad("gradients of gradients are not followed")
        };
        vec![example("that clips", 0.5), example("that does not", 50.0)]
    }
}
