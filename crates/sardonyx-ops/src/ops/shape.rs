//! `Shape` and `Size`: what a tensor's dimensions are, as integers. Inference follows them as
//! dimensions, so that shapes computed from them stay known.

use sardonyx_ir::{Dim, Fact, Node, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Measure::Shape, &Measure::Size];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Shape,
    Size,
}

/// The axes that `Shape` tells of, `start..end`, both held inside the rank.
fn range(node: &Node, rank: usize) -> Result<std::ops::Range<usize>> {
    let rank = rank as i64;
    let clamp = |axis: i64| {
        let axis = if axis < 0 {
            axis.saturating_add(rank)
        } else {
            axis
        };
        axis.clamp(0, rank) as usize
    };
    let (start, end) = (clamp(node.int("start", 0)?), clamp(node.int("end", rank)?));
    Ok(start..end.max(start))
}

impl Operator for Measure {
    fn schema(&self) -> Schema {
        match self {
            Measure::Shape => Schema::standard("Shape", 1, 1),
            Measure::Size => Schema::standard("Size", 1, 1),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let shape = cx.shape(0)?;
        if *self == Measure::Size {
            let count = shape.and_then(Dim::product);
            return Ok(vec![Inferred {
                fact: Fact::fixed(DType::I64, &[]),
                dims: count.map(|count| vec![count]),
            }]);
        }
        let Some(shape) = shape else {
            return Ok(vec![Fact::new(DType::I64, [cx.unknown_dim(0)]).into()]);
        };
        let dims = shape[range(cx.node, shape.len())?].to_vec();
        Ok(vec![Inferred {
            fact: Fact::fixed(DType::I64, &[dims.len()]),
            dims: Some(dims),
        }])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        if *self == Measure::Size {
            return Ok(vec![Tensor::scalar(x.len() as i64)]);
        }
        let dims = &x.shape()[range(cx.node, x.rank())?];
        Ok(vec![Tensor::vector(
            dims.iter().map(|&n| n as i64).collect(),
        )])
    }

    fn grad(&self, _cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Ok(vec![None])
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, start: Option<i64>, end: Option<i64>| {
            let mut example = Example::new(self.schema(), name).uniform(&[2, 0, 3], (0.0, 1.0));
            for (name, value) in [("start", start), ("end", end)] {
                if let Some(value) = value {
                    example = example.attr(name, value);
                }
            }
            example.no_grad("its result is not a float")
        };
        let mut examples = vec![example("plain", None, None)];
        if *self == Measure::Shape {
            examples.push(example("from an axis", Some(-1), None));
            examples.push(example("up to an axis", None, Some(-1)));
            examples.push(example("beyond the axes", Some(-9), Some(9)));
            examples.push(example("of no axis", Some(2), Some(1)));
        }
        examples
    }
}
