//! Plan operators of a fully connected layer: rows times a packed weight, with bias, residual and
//! activation applied in registers, and the gradient by its weight.

use sardonyx_ir::{Attr, Dim, Fact, SARDONYX, ValueId};
use sardonyx_tensor::Tensor;

use crate::ops::gate::{Activation, emit_gate, finish_gradient};
use crate::ops::panels::MAX_WIDTH;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, element_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Dense, &DenseWeightGrad];

/// Inputs `x` `[..., K]`, packed weight `[1, panels, 1, K, width]`, optional bias `[N]`, optional
/// residual and gate `[..., N]`; attributes `features` (N), `activation`, `alpha`, `beta`, and
/// those of the gate, which only a gradient has. Output
/// `activation(gate(x w + bias + residual))`.
#[derive(Debug)]
struct Dense;

const DENSE: Schema = Schema::own("Dense", 2).inputs(2, 5);

/// Inputs of the residual and the gate of a `Dense`.
pub const DENSE_SLOTS: [usize; 2] = [3, 4];

/// Inputs `x` `[..., K]`, `dy` `[..., N]`; attribute `width`. Outputs the gradients by the packed
/// weight and by the bias.
#[derive(Debug)]
struct DenseWeightGrad;

const WEIGHT_GRAD: Schema = Schema::own("DenseWeightGrad", 2).outputs(2);

fn features(node: &sardonyx_ir::Node) -> Result<usize> {
    Ok(usize::try_from(node.int("features", 0)?).unwrap_or(0))
}

impl Operator for Dense {
    fn schema(&self) -> Schema {
        DENSE
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let fact = cx.input(0)?.fact;
        Activation::of(cx.node)?;
        let Some(mut shape) = fact.shape.clone() else {
            return Ok(vec![Fact::unranked(fact.dtype).into()]);
        };
        let (n, weight) = (features(cx.node)?, cx.input(1)?.fact.fixed_shape());
        let is_float = (0..4)
            .filter_map(|i| cx.optional(i))
            .all(|k| k.fact.dtype == fact.dtype);
        let fits = fact.dtype.is_float()
            && is_float
            && match (weight.as_deref(), shape.last().and_then(Dim::value)) {
                (Some(&[1, panels, 1, k, width]), Some(columns)) if width > 0 => {
                    k == columns && panels == n.div_ceil(width)
                }
                _ => false,
            };
        if !fits {
            let weight = cx.input(1)?.fact;
            return Err(cx.invalid(format!("{weight} is no weight of {fact} to {n} features")));
        }
        if let Some(last) = shape.last_mut() {
            *last = Dim::known(n);
        }
        let out = Fact::new(fact.dtype, shape);
        let bias = cx
            .optional(2)
            .is_none_or(|bias| *bias.fact == Fact::fixed(fact.dtype, &[n]));
        if !bias || cx.optional(3).is_some_and(|residual| *residual.fact != out) {
            return Err(cx.invalid("its bias or residual has another shape"));
        }
        Ok(vec![out.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        cx.check(self)?;
        let (x, w) = (cx.input(0)?, cx.input(1)?);
        let (n, activation) = (features(cx.node)?, Activation::of(cx.node)?);
        let (&[1, _, 1, k, width], Some(&columns)) = (w.shape(), x.shape().last()) else {
            return Err(cx.invalid("its weight is not packed"));
        };
        if k != columns || w.len() != n.div_ceil(width.max(1)) * k * width {
            return Err(cx.invalid("its weight has another shape"));
        }
        let bias = cx.optional(2).map(Tensor::to_f64).transpose()?;
        let rows = x.shape()[..x.rank() - 1].iter().product::<usize>();
        let (xs, ws) = (x.to_f64()?, w.to_f64()?);
        let mut values = Vec::with_capacity(rows * n);
        for (row, column) in (0..rows).flat_map(|row| (0..n).map(move |column| (row, column))) {
            let panel = &ws[column / width * k * width..];
            let product = |p: usize| xs[row * k + p] * panel[p * width + column % width];
            let mut sum = (0..k).map(product).sum::<f64>();
            sum += bias.as_ref().map_or(0.0, |bias| bias[column]);
            values.push(sum);
        }
        finish_gradient(cx, DENSE_SLOTS, &mut values)?;
        values
            .iter_mut()
            .for_each(|value| *value = activation.apply(*value));
        let shape = [&x.shape()[..x.rank() - 1], &[n]].concat();
        Ok(vec![Tensor::from_f64(x.dtype(), shape, values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (x, w, y) = (cx.input(0)?, cx.input(1)?, cx.output(0)?);
        if cx.node.input(DENSE_SLOTS[1]).is_some() {
            return Err(cx.not_differentiable("it is part of a gradient itself"));
        }
        let dy = emit_gate(
            cx.builder,
            Activation::of(cx.node)?,
            [y, cx.output_grad(0)?],
        )?;
        let packed = cx.builder.fixed_shape(w)?;
        let mut grads = vec![None; cx.node.inputs.len()];
        if cx.wants(0) {
            let n = ("n", Attr::Int(features(cx.node)? as i64));
            let transposed = cx.builder.own("TransposePanels", &[w], &[n])?;
            let inputs = ("features", Attr::Int(packed[3] as i64));
            grads[0] = Some(cx.builder.own("Dense", &[dy, transposed], &[inputs])?);
        }
        if cx.wants(1) || cx.wants(2) {
            let width = ("width", Attr::Int(packed[4] as i64));
            let n_outputs = if cx.wants(2) { 2 } else { 1 };
            let by_weight = (SARDONYX, "DenseWeightGrad");
            let out = cx
                .builder
                .node(by_weight, &[Some(x), Some(dy)], &[width], n_outputs)?;
            grads[1] = Some(out[0]);
            if let Some(bias) = grads.get_mut(2) {
                *bias = out.get(1).copied();
            }
        }
        if cx.wants(3) {
            grads[3] = Some(dy);
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        let k = cx.shape(0).ok()??.last()?.value()?;
        element_flops(outputs, 2 * k as u64)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize], n: usize| {
            let k = x[x.len() - 1];
            let mut packed = vec![0f32; n.div_ceil(4) * k * 4];
            for (i, value) in packed.iter_mut().enumerate() {
                let column = i / (k * 4) * 4 + i % 4;
                *value = if column < n {
                    ((i * 7 % 11) as f32 - 5.0) / 7.0
                } else {
                    0.0
                };
            }
            let example = Example::new(DENSE, name).attr("features", n as i64);
            example
                .uniform(x, (-1.0, 1.0))
                .values(&[1, n.div_ceil(4), 1, k, 4], packed)
        };
        vec![
            example("plain", &[3, 5], 6).grad_by(&[0]),
            example("with bias and ReLU", &[3, 5], 6)
                .attr("activation", "Relu")
                .uniform(&[6], (-0.5, 0.5))
                .grad_by(&[0, 2]),
            example("with residual", &[2, 2, 5], 4)
                .absent()
                .uniform(&[2, 2, 4], (-1.0, 1.0))
                .grad_by(&[0, 1, 3]),
            example("with residual and gate", &[3, 5], 6)
                .absent()
                .uniform(&[3, 6], (-1.0, 1.0))
                .uniform(&[3, 6], (-1.0, 1.0))
                .attr("gate", "Relu")
                .no_grad("it is part of a gradient itself"),
        ]
    }
}

impl Operator for DenseWeightGrad {
    fn schema(&self) -> Schema {
        WEIGHT_GRAD
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let width = usize::try_from(cx.node.int("width", 0)?).unwrap_or(0);
        let last = |index| -> Result<Option<usize>> {
            Ok(cx.shape(index)?.and_then(|shape| shape.last()?.value()))
        };
        let (Some(k), Some(n), 1..) = (last(0)?, last(1)?, width) else {
            return Err(cx.invalid("it needs fixed features and a panel width"));
        };
        let dtype = cx.dtype(0)?;
        let rows = |index| -> Result<_> {
            Ok(cx
                .shape(index)?
                .map(|shape| shape[..shape.len() - 1].to_vec()))
        };
        let is_legal = dtype.is_float() && cx.dtype(1)? == dtype && width <= MAX_WIDTH;
        if !is_legal || rows(0)? != rows(1)? {
            return Err(cx.invalid("its inputs are not rows of the same floats"));
        }
        let weight = Fact::fixed(dtype, &[1, n.div_ceil(width), 1, k, width]);
        Ok(vec![weight.into(), Fact::fixed(dtype, &[n]).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        cx.check(self)?;
        let (x, dy) = (cx.input(0)?, cx.input(1)?);
        let width = usize::try_from(cx.node.int("width", 0)?).unwrap_or(0);
        let (Some(&k), Some(&n), 1..) = (x.shape().last(), dy.shape().last(), width) else {
            return Err(cx.invalid("it takes rows, and a panel width"));
        };
        let (xs, dys) = (x.to_f64()?, dy.to_f64()?);
        let rows = xs.len().checked_div(k).unwrap_or(0);
        if rows * n != dys.len() {
            return Err(cx.invalid("its inputs have different numbers of rows"));
        }
        let panels = n.div_ceil(width);
        let mut weight = vec![0.0; panels * k * width];
        let mut bias = vec![0.0; n];
        for row in 0..rows {
            for column in 0..n {
                let dy = dys[row * n + column];
                bias[column] += dy;
                let panel = &mut weight[column / width * k * width..];
                for p in 0..k {
                    panel[p * width + column % width] += xs[row * k + p] * dy;
                }
            }
        }
        let weight = Tensor::from_f64(x.dtype(), [1, panels, 1, k, width], weight)?;
        Ok(vec![weight, Tensor::from_f64(x.dtype(), [n], bias)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("it is part of a gradient itself"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let (x, dy) = (cx.input(0).ok()?.fact.fixed_shape()?, cx.shape(1).ok()??);
        let elements: usize = x.iter().product();
        Some(2 * elements as u64 * dy.last()?.value()? as u64)
    }

    fn examples(&self) -> Vec<Example> {
        let example = Example::new(WEIGHT_GRAD, "both outputs")
            .attr("width", 4i64)
            .outputs(2);
        let example = example
            .uniform(&[3, 5], (-1.0, 1.0))
            .uniform(&[3, 6], (-1.0, 1.0));
        vec![example.no_grad("it is part of a gradient itself")]
    }
}
