//! Elementwise operators of one input that are no functions of a float to a float: `Not`,
//! `BitwiseNot`, `IsInf`, `IsNaN`.

use sardonyx_ir::{Fact, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::reference::from_i64;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, element_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &Predicate::BitwiseNot,
    &Predicate::IsInf,
    &Predicate::IsNan,
    &Predicate::Not,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Predicate {
    BitwiseNot,
    IsInf,
    IsNan,
    Not,
}

impl Operator for Predicate {
    fn schema(&self) -> Schema {
        match self {
            Predicate::BitwiseNot => Schema::standard("BitwiseNot", 18, 1),
            Predicate::IsInf => Schema::standard("IsInf", 10, 1),
            Predicate::IsNan => Schema::standard("IsNaN", 9, 1),
            Predicate::Not => Schema::standard("Not", 1, 1),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let fact = cx.input(0)?.fact;
        let (legal, dtype) = match self {
            Predicate::BitwiseNot => (fact.dtype.is_integer(), fact.dtype),
            Predicate::IsInf | Predicate::IsNan => (fact.dtype.is_float(), DType::Bool),
            Predicate::Not => (fact.dtype == DType::Bool, DType::Bool),
        };
        if !legal {
            return Err(cx.invalid(format!("it does not take {}", fact.dtype)));
        }
        Ok(vec![
            Fact {
                dtype,
                shape: fact.shape.clone(),
            }
            .into(),
        ])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let holds = |f: &dyn Fn(f64) -> bool| -> Result<Vec<bool>> {
            Ok(x.to_f64()?.into_iter().map(f).collect())
        };
        let truth = match self {
            Predicate::BitwiseNot => {
                let values = x.to_i64()?.into_iter().map(|n| !n).collect();
                return Ok(vec![from_i64(x.dtype(), x.shape(), values)?]);
            }
            Predicate::IsInf => {
                let positive = cx.node.flag("detect_positive", true)?;
                let negative = cx.node.flag("detect_negative", true)?;
                holds(&|x| {
                    (positive && x == f64::INFINITY) || (negative && x == f64::NEG_INFINITY)
                })?
            }
            Predicate::IsNan => holds(&f64::is_nan)?,
            Predicate::Not => x.values::<bool>()?.iter().map(|&x| !x).collect(),
        };
        Ok(vec![Tensor::new(x.shape(), truth)?])
    }

    fn grad(&self, _cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Ok(vec![None])
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let example = Example::new(self.schema(), name);
            example.no_grad("its result is not a float")
        };
        let special = vec![0.5f32, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        match self {
            Predicate::BitwiseNot => vec![example("of bytes").values(&[3], vec![0u8, 255, 5])],
            Predicate::Not => vec![
                example("plain").values(&[2], vec![true, false]),
                example("of nothing").values(&[0, 2], Vec::<bool>::new()),
            ],
            Predicate::IsNan => vec![example("plain").values(&[2, 2], special)],
            Predicate::IsInf => vec![
                example("of both signs").values(&[4], special.clone()),
                example("above")
                    .attr("detect_negative", 0i64)
                    .values(&[4], special.clone()),
                example("below")
                    .attr("detect_positive", 0i64)
                    .values(&[4], special),
            ],
        }
    }
}
