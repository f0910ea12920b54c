//! `ScatterElements` (and `Scatter`, its old name) and `ScatterND`: write updates into a copy of a
//! tensor at given coordinates, or add, multiply, or take the extreme of what meets there.

use sardonyx_ir::{Attr, Node, ValueId};
use sardonyx_tensor::Tensor;

use super::gather_nd::{gather_elements, gather_nd};
use super::move_grad::{Move, Moved};
use crate::reference::{from_i64, join};
use crate::{
    Builder, EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, fact_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Scatter::Elements, &Scatter::Nd, &Scatter::Old];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scatter {
    Elements,
    Nd,
    Old,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    None,
    Add,
    Mul,
    Max,
    Min,
}

fn reduction(node: &Node) -> Result<Reduction> {
    match node.text("reduction", "none")? {
        "none" => Ok(Reduction::None),
        "add" => Ok(Reduction::Add),
        "mul" => Ok(Reduction::Mul),
        "max" => Ok(Reduction::Max),
        "min" => Ok(Reduction::Min),
        _ => Err(node
            .attribute_error("reduction", "must be none, add, mul, max or min")
            .into()),
    }
}

impl Reduction {
    fn float(self, old: f64, new: f64) -> f64 {
        match self {
            Reduction::None => new,
            Reduction::Add => old + new,
            Reduction::Mul => old * new,
            Reduction::Max => old.max(new),
            Reduction::Min => old.min(new),
        }
    }

    fn integer(self, old: i64, new: i64) -> i64 {
        match self {
            Reduction::None => new,
            Reduction::Add => old.wrapping_add(new),
            Reduction::Mul => old.wrapping_mul(new),
            Reduction::Max => old.max(new),
            Reduction::Min => old.min(new),
        }
    }
}

impl Scatter {
    /// The operator that reads what this one writes.
    fn reader(self) -> &'static str {
        if self == Scatter::Nd {
            "GatherND"
        } else {
            "GatherElements"
        }
    }

    fn gather(self, builder: &mut Builder<'_>, axis: &Attr, from: [ValueId; 2]) -> Result<ValueId> {
        let attributes = [("axis", axis.clone())];
        let attributes = if self == Scatter::Nd {
            &[][..]
        } else {
            &attributes
        };
        builder.op(self.reader(), &from, attributes)
    }

    /// Where each update goes.
    fn targets(self, cx: &EvalCx<'_>) -> Result<Vec<usize>> {
        let to = Move {
            node: cx.node,
            shape: cx.input(0)?.shape(),
            rest: vec![Some(cx.input(1)?)],
        };
        let Moved { shape, sources } = match self {
            Scatter::Nd => gather_nd(&to)?,
            Scatter::Elements | Scatter::Old => gather_elements(&to)?,
        };
        let updates = cx.input(2)?.shape();
        if updates != shape {
            return Err(cx.invalid(format!("updates have shape {updates:?}, not {shape:?}")));
        }
        Ok(sources)
    }
}

impl Operator for Scatter {
    fn schema(&self) -> Schema {
        match self {
            Scatter::Elements => Schema::standard("ScatterElements", 11, 3),
            Scatter::Nd => Schema::standard("ScatterND", 11, 3),
            Scatter::Old => Schema::standard("Scatter", 9, 3),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        reduction(cx.node)?;
        let (data, updates) = (cx.dtype(0)?, cx.dtype(2)?);
        if data != updates {
            return Err(cx.invalid(format!("updates of {updates} do not fit data of {data}")));
        }
        Ok(vec![cx.input(0)?.fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (data, updates) = (cx.input(0)?, cx.input(2)?);
        let targets = self.targets(cx)?;
        let reduction = reduction(cx.node)?;
        if reduction == Reduction::None {
            let mut sources: Vec<usize> = (0..data.len()).collect();
            for (update, &target) in targets.iter().enumerate() {
                sources[target] = data.len() + update;
            }
            return Ok(vec![join(&[data, updates])?.take(data.shape(), &sources)?]);
        }
        if data.dtype().is_float() {
            let mut values = data.to_f64()?;
            for (&target, update) in targets.iter().zip(updates.to_f64()?) {
                values[target] = reduction.float(values[target], update);
            }
            return Ok(vec![Tensor::from_f64(data.dtype(), data.shape(), values)?]);
        }
        let mut values = data.to_i64()?;
        for (&target, update) in targets.iter().zip(updates.to_i64()?) {
            values[target] = reduction.integer(values[target], update);
        }
        Ok(vec![from_i64(data.dtype(), data.shape(), values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (data, indices, updates) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        let (y, dy) = (cx.output(0)?, cx.output_grad(0)?);
        let axis = Attr::Int(cx.node.int("axis", 0)?);
        let reduction = reduction(cx.node)?;
        let (want_data, want_updates) = (cx.wants(0), cx.wants(2));
        let builder = &mut *cx.builder;
        let scatter = |builder: &mut Builder<'_>, into: ValueId, what: ValueId, how: &str| {
            let mut attributes = vec![("reduction", Attr::from(how))];
            attributes.extend((*self != Scatter::Nd).then(|| ("axis", axis.clone())));
            let op = if *self == Scatter::Nd {
                "ScatterND"
            } else {
                "ScatterElements"
            };
            builder.op(op, &[into, indices, what], &attributes)
        };
        let mut grads = vec![None; 3];
        if want_data {
            grads[0] = Some(match reduction {
                Reduction::None => {
                    let zeros = builder.zeros_like(updates)?;
                    scatter(builder, dy, zeros, "none")?
                }
                Reduction::Add => dy,
                // The product of what else meets an element is its factor.
                Reduction::Mul => scatter(builder, dy, updates, "mul")?,
                Reduction::Max | Reduction::Min => where_equal(builder, [data, y], dy)?,
            });
        }
        if want_updates {
            let read = self.gather(builder, &axis, [dy, indices])?;
            grads[2] = Some(match reduction {
                Reduction::None | Reduction::Add => read,
                Reduction::Mul => {
                    let product = builder.op("Mul", &[dy, y], &[])?;
                    let product = self.gather(builder, &axis, [product, indices])?;
                    builder.op("Div", &[product, updates], &[])?
                }
                Reduction::Max | Reduction::Min => {
                    let result = self.gather(builder, &axis, [y, indices])?;
                    where_equal(builder, [updates, result], read)?
                }
            });
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        fact_flops(cx.optional(2)?.fact, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| Example::new(self.schema(), name).grad_by(&[0, 2]);
        let plain = |name: &str| {
            let example = example(name).uniform(&[3, 4], (0.5, 2.0));
            match self {
                Scatter::Nd => example
                    .values(&[2, 1], vec![2i64, -3])
                    .uniform(&[2, 4], (0.5, 2.0)),
                _ => example
                    .values(&[2, 2], vec![0i64, -1, 2, 1])
                    .uniform(&[2, 2], (0.5, 2.0)),
            }
        };
        let meeting = |how: &str| {
            let example = example(how).attr("reduction", how).distinct(&[2, 3]);
            match self {
                Scatter::Nd => example
                    .values(&[3, 2], vec![0i64, 1, 1, -1, 0, 1])
                    .uniform(&[3], (0.5, 2.0)),
                _ => example
                    .attr("axis", 1i64)
                    .values(&[2, 3], vec![0i64, 2, 0, 1, 1, 1])
                    .uniform(&[2, 3], (0.5, 2.0)),
            }
        };
        if *self == Scatter::Old {
            return vec![plain("plain")];
        }
        let mut examples = vec![plain("plain")];
        examples.extend(["add", "mul", "max", "min"].map(meeting));
        examples
    }
}

/// `grad` where the two values are equal, zero elsewhere.
fn where_equal(builder: &mut Builder<'_>, values: [ValueId; 2], grad: ValueId) -> Result<ValueId> {
    let equal = builder.op("Equal", &values, &[])?;
    let zero = builder.scalar_like(grad, 0.0)?;
    builder.op("Where", &[equal, grad, zero], &[])
}
