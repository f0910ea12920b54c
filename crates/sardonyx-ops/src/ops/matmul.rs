//! `MatMul`: matrix product with numpy's rules: vectors are promoted, leading axes are batches
//! and broadcast.

use sardonyx_ir::{Attr, Dim, Fact, ValueId};
use sardonyx_tensor::{Tensor, broadcast_shapes, element_count};

use crate::ops::binary::broadcast;
use crate::reference::broadcast_pairs;
use crate::{Builder, EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&MatMul];

#[derive(Debug)]
struct MatMul;

const SCHEMA: Schema = Schema::standard("MatMul", 9, 2);

/// A shape as a stack of matrices: batch axes, rows, columns.
struct Stack<'a, T> {
    batch: &'a [T],
    rows: T,
    columns: T,
}

/// Reads the left (or right) operand's shape as a stack; a vector is one row (one column).
fn stack<T: Clone>(shape: &[T], is_left: bool, one: T) -> Option<Stack<'_, T>> {
    match shape {
        [] => None,
        [n] if is_left => Some(Stack {
            batch: &[],
            rows: one,
            columns: n.clone(),
        }),
        [n] => Some(Stack {
            batch: &[],
            rows: n.clone(),
            columns: one,
        }),
        [batch @ .., rows, columns] => Some(Stack {
            batch,
            rows: rows.clone(),
            columns: columns.clone(),
        }),
    }
}

impl Operator for MatMul {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let (dtype, other) = (cx.dtype(0)?, cx.dtype(1)?);
        if dtype != other || !(dtype.is_float() || dtype.is_integer()) {
            return Err(cx.invalid(format!("it does not multiply {dtype} by {other}")));
        }
        let (Some(a), Some(b)) = (cx.shape(0)?, cx.shape(1)?) else {
            return Ok(vec![Fact::unranked(dtype).into()]);
        };
        let one = Dim::known(1);
        let stacks = stack(a, true, one.clone()).zip(stack(b, false, one));
        let (left, right) = stacks.ok_or_else(|| cx.invalid("it does not take scalars"))?;
        if let (Some(k), Some(other)) = (left.columns.value(), right.rows.value())
            && k != other
        {
            let problem = format!("{k} columns on the left do not match {other} rows on the right");
            return Err(cx.invalid(problem));
        }
        let mut shape = broadcast(cx, left.batch, right.batch)?;
        shape.extend((a.len() > 1).then_some(left.rows));
        shape.extend((b.len() > 1).then_some(right.columns));
        Ok(vec![Fact::new(dtype, shape).into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let (a, b) = (cx.input(0)?, cx.input(1)?);
        let stacks = stack(a.shape(), true, 1).zip(stack(b.shape(), false, 1));
        let (left, right) = stacks.ok_or_else(|| cx.invalid("it does not take scalars"))?;
        let (m, k, n) = (left.rows, left.columns, right.columns);
        if k != right.rows {
            let rows = right.rows;
            return Err(cx.invalid(format!("{k} columns on the left do not match {rows} rows")));
        }
        let batch = broadcast_shapes(left.batch, right.batch)?;
        let (x, y) = (a.to_f64()?, b.to_f64()?);
        let mut values = Vec::with_capacity(element_count(&batch)? * m * n);
        broadcast_pairs(left.batch, right.batch, |i, j| {
            let (x, y) = (
                &x[i * m * k..(i + 1) * m * k],
                &y[j * k * n..(j + 1) * k * n],
            );
            for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
                values.push(
                    (0..k)
                        .map(|p| x[row * k + p] * y[p * n + column])
                        .sum::<f64>(),
                );
            }
        })?;
        let mut shape = batch;
        shape.extend((a.rank() > 1).then_some(m));
        shape.extend((b.rank() > 1).then_some(n));
        if a.dtype().is_float() {
            return Ok(vec![Tensor::from_f64(a.dtype(), shape, values)?]);
        }
        // Products of integers below 2^53 are exact in `f64`; ONNX leaves overflow undefined.
        let values = values.into_iter().map(|v| v as i64).collect();
        Ok(vec![crate::reference::from_i64(a.dtype(), &shape, values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (a, b, dy) = (cx.input(0)?, cx.input(1)?, cx.output_grad(0)?);
        let (want_a, want_b) = (cx.wants(0), cx.wants(1));
        let builder = &mut *cx.builder;
        let (rank_a, rank_b) = (builder.shape(a)?.len(), builder.shape(b)?.len());
        let a_matrix = if rank_a == 1 {
            unsqueeze(builder, a, 0)?
        } else {
            a
        };
        let b_matrix = if rank_b == 1 {
            unsqueeze(builder, b, 1)?
        } else {
            b
        };
        let mut dy = dy;
        if rank_b == 1 {
            dy = unsqueeze(builder, dy, -1)?;
        }
        if rank_a == 1 {
            dy = unsqueeze(builder, dy, -2)?;
        }
        let mut grads = vec![None, None];
        if want_a {
            let transposed = swap_last(builder, b_matrix)?;
            let da = builder.op("MatMul", &[dy, transposed], &[])?;
            let da = builder.unbroadcast(da, a_matrix)?;
            grads[0] = Some(builder.reshape_like(da, a)?);
        }
        if want_b {
            let transposed = swap_last(builder, a_matrix)?;
            let db = builder.op("MatMul", &[transposed, dy], &[])?;
            let db = builder.unbroadcast(db, b_matrix)?;
            grads[1] = Some(builder.reshape_like(db, b)?);
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        let k = cx.shape(0).ok()??.last()?.value()?;
        crate::element_flops(outputs, 2 * k as u64)
    }

    fn examples(&self) -> Vec<Example> {
        let cases: [(&str, &[usize], &[usize]); 8] = [
            ("matrices", &[3, 4], &[4, 5]),
            ("batch", &[2, 3, 4], &[2, 4, 5]),
            ("batch against matrix", &[2, 3, 4], &[4, 5]),
            ("batches broadcast", &[2, 1, 3, 4], &[3, 4, 2]),
            ("vector against matrix", &[4], &[4, 5]),
            ("matrix against vector", &[3, 4], &[4]),
            ("vectors", &[4], &[4]),
            ("zero rows", &[0, 4], &[4, 5]),
        ];
        let range = (-1.0, 1.0);
        let example = |(name, a, b): (&str, &[usize], &[usize])| {
            Example::new(SCHEMA, name)
                .uniform(a, range)
                .uniform(b, range)
        };
        cases.into_iter().map(example).collect()
    }
}

fn unsqueeze(builder: &mut Builder<'_>, value: ValueId, axis: i64) -> Result<ValueId> {
    let axes = builder.ints(&[axis]);
    builder.op("Unsqueeze", &[value, axes], &[])
}

/// Swaps the last two axes.
pub(crate) fn swap_last(builder: &mut Builder<'_>, value: ValueId) -> Result<ValueId> {
    let rank = builder.shape(value)?.len() as i64;
    let mut permutation: Vec<i64> = (0..rank).collect();
    permutation.swap(rank as usize - 1, rank as usize - 2);
    builder.op("Transpose", &[value], &[("perm", Attr::Ints(permutation))])
}
