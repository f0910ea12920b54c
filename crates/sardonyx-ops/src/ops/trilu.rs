//! `Trilu`: the upper or lower triangle of matrices, zero elsewhere. Its gradient is itself.

use sardonyx_ir::ValueId;
use sardonyx_tensor::{Data, Tensor};

use super::move_grad::attributes;
use crate::reference::join;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Trilu];

#[derive(Debug)]
struct Trilu;

const SCHEMA: Schema = Schema::standard("Trilu", 14, 1).inputs(1, 2);

impl Operator for Trilu {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let fact = cx.input(0)?.fact;
        if let Some(rank) = fact.rank().filter(|&rank| rank < 2) {
            return Err(cx.invalid(format!("its input has rank {rank}, not 2 or more")));
        }
        Ok(vec![fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        let [.., rows, columns] = *x.shape() else {
            return Err(cx.invalid(format!("its input has rank {}, not 2 or more", x.rank())));
        };
        let shift = match cx.ints(1)?.as_deref() {
            None => 0,
            Some(&[shift]) => shift,
            Some(other) => return Err(cx.invalid(format!("its diagonal is {other:?}"))),
        };
        let upper = cx.node.flag("upper", true)?;
        let sources: Vec<usize> = (0..x.len())
            .map(|index| {
                let (row, column) = (index / columns % rows, index % columns);
                let above = (column as i64 - row as i64).cmp(&shift);
                let kept = if upper { above.is_ge() } else { above.is_le() };
                if kept { index } else { x.len() }
            })
            .collect();
        let zero = Tensor::from_data([1], Data::zeros(x.dtype(), 1))?;
        Ok(vec![join(&[x, &zero])?.take(x.shape(), &sources)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let mut inputs = cx.node.inputs.clone();
        inputs[0] = Some(cx.output_grad(0)?);
        let dx = cx
            .builder
            .node(("", "Trilu"), &inputs, &attributes(cx.node), 1)?[0];
        Ok([Some(dx), None]
            .into_iter()
            .take(cx.node.inputs.len())
            .collect())
    }

    fn flops(&self, _cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        Some(0)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, shape: &[usize]| {
            Example::new(SCHEMA, name)
                .uniform(shape, (-1.0, 1.0))
                .grad_by(&[0])
        };
        vec![
            example("upper", &[3, 4]),
            example("lower, batched", &[2, 3, 3]).attr("upper", 0i64),
            example("shifted", &[4, 3]).values(&[], vec![-2i64]),
            example("of nothing", &[0, 3]),
        ]
    }
}
