//! The way back through the steps of one direction of a recurrent layer, as a plan operator.

use sardonyx_ir::{Fact, ValueId};
use sardonyx_tensor::Tensor;

use super::Recurrent;
use super::cell::{Cell, Step, StepGrad, Weights, affine_grad};
use super::examples;
use super::sequence::{Sizes, floats, product_flops, put, unpacked, weights};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Inputs: saved gates, the transposed recurrent weights, the saved state (of a GRU) or cell state
/// (of an LSTM) before each step, and the gradients by the state behind each step, by the last
/// state and by the last cell state, all optional. Outputs: the gradients by the inputs' products,
/// by the initial state, and by the initial cell state (of an LSTM) or by the recurrent products
/// (of a GRU; elsewhere the first output is that too).
#[derive(Debug)]
pub(super) struct SequenceGrad(pub(super) Recurrent);

/// Inputs of the gradient.
const PREVIOUS: usize = 2;
const BY_STATES: usize = 3;
const BY_LAST: [usize; 2] = [4, 5];

impl Operator for SequenceGrad {
    fn schema(&self) -> Schema {
        let (name, inputs, outputs) = match self.0 {
            Recurrent::Gru => ("GruSequenceGrad", 5, 3),
            Recurrent::Lstm => ("LstmSequenceGrad", 6, 3),
            Recurrent::Rnn => ("RnnSequenceGrad", 5, 2),
        };
        Schema::own(name, 2).inputs(2, inputs).outputs(outputs)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let sizes = Sizes::infer(self.0, cx, true)?;
        let (rows, state) = (sizes.rows(sizes.hidden), [sizes.batch, sizes.hidden]);
        let inputs: [(usize, &[usize]); 4] = [
            (PREVIOUS, &rows),
            (BY_STATES, &rows),
            (BY_LAST[0], &state),
            (BY_LAST[1], &state),
        ];
        Sizes::check(cx, &inputs)?;
        if self.0 != Recurrent::Rnn {
            cx.input(PREVIOUS)?;
        }
        let dtype = cx.dtype(0)?;
        let columns = sizes.rows(self.0.plan_cell().gates() * sizes.hidden);
        let products = Inferred::from(Fact::fixed(dtype, &columns));
        let state = Inferred::from(Fact::fixed(dtype, &state));
        Ok(match self.0 {
            Recurrent::Gru => vec![products.clone(), state, products],
            Recurrent::Lstm => vec![products, state.clone(), state],
            Recurrent::Rnn => vec![products, state],
        })
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        cx.check(self)?;
        let (gates, packed) = (cx.input(0)?, cx.input(1)?);
        let sizes = Sizes::of(self.0, cx.node, [gates.shape(), packed.shape()], true)?;
        let sizes = sizes.ok_or_else(|| cx.invalid("its weights have another shape"))?;
        let (n, columns) = (sizes.hidden, self.0.plan_cell().gates() * sizes.hidden);
        let back = Back {
            cell: self.0,
            sizes,
            weights: weights(self.0, unpacked(packed, [columns, n], true)?, None, n),
            gates: gates.to_f64()?,
            previous: floats(cx, PREVIOUS)?,
            by_states: floats(cx, BY_STATES)?,
        };
        let [by_h, by_c] = BY_LAST.map(|index| floats(cx, index));
        let state = || vec![0.0; sizes.batch * n];
        let mut by_last = [by_h?.unwrap_or_else(state), by_c?.unwrap_or_else(state)];
        let rows = || vec![0.0; sizes.time * sizes.batch * columns];
        let mut by_products = [rows(), rows()];
        for sequence in 0..sizes.batch {
            back.run(sequence, &mut by_last, &mut by_products);
        }
        let products = |values| Tensor::from_f64(gates.dtype(), sizes.rows(columns), values);
        let state = |values| Tensor::from_f64(gates.dtype(), [sizes.batch, n], values);
        let ([input, recurrent], [h, c]) = (by_products, by_last);
        Ok(match self.0 {
            Recurrent::Gru => vec![products(input)?, state(h)?, products(recurrent)?],
            Recurrent::Lstm => vec![products(input)?, state(h)?, state(c)?],
            Recurrent::Rnn => vec![products(input)?, state(h)?],
        })
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("it is part of a gradient itself"))
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        product_flops(cx)
    }

    fn examples(&self) -> Vec<Example> {
        examples::sequence_grad(self.0, self.schema())
    }
}

/// What a way back needs.
struct Back {
    cell: Recurrent,
    sizes: Sizes,
    weights: Weights,
    gates: Vec<f64>,
    previous: Option<Vec<f64>>,
    by_states: Option<Vec<f64>>,
}

impl Back {
    /// Goes back through a sequence: `by_last` becomes the gradients by the initial states.
    fn run(&self, sequence: usize, by_last: &mut [Vec<f64>; 2], by_products: &mut [Vec<f64>; 2]) {
        let (n, cell) = (self.sizes.hidden, self.cell.plan_cell());
        let columns = cell.gates() * n;
        let own = sequence * n..(sequence + 1) * n;
        let [mut dh, mut dc] = [0, 1].map(|i| by_last[i][own.clone()].to_vec());
        let mut unused = self.weights.zeros_like();
        for step in (0..self.sizes.time).rev() {
            let at = self.sizes.at(step, sequence, n);
            if let Some(by_states) = &self.by_states {
                let dy = &by_states[at..at + n];
                dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += dy);
            }
            let before = match &self.previous {
                Some(previous) => &previous[at..at + n],
                None => &[],
            };
            let (h, c) = match cell {
                Cell::Lstm => (&[][..], before),
                _ => (before, &[][..]),
            };
            let mut back = StepGrad {
                h: vec![0.0; n],
                c: vec![0.0; c.len()],
                x: Vec::new(),
            };
            let made = self.made(step, sequence, c);
            let weights = (&self.weights, &mut unused);
            let grads = cell.gate_grads(weights, (h, c), &made, (&dh, &dc), &mut back);
            let to = self.sizes.at(step, sequence, columns);
            put(&mut by_products[0], to, &grads.input);
            put(&mut by_products[1], to, &grads.recurrent);
            let mut no_weights = vec![0.0; columns * n];
            let zeros = vec![0.0; n];
            affine_grad(
                &self.weights.r,
                &zeros,
                &grads.recurrent,
                &mut back.h,
                &mut no_weights,
            );
            dh = back.h;
            if cell == Cell::Lstm {
                dc = back.c;
            }
        }
        put(&mut by_last[0], own.start, &dh);
        put(&mut by_last[1], own.start, &dc);
    }

    /// The step as it was, from what it kept and the cell state before it.
    fn made(&self, step: usize, sequence: usize, c: &[f64]) -> Step {
        let (n, kept) = (self.sizes.hidden, self.cell.saved() * self.sizes.hidden);
        let at = self.sizes.at(step, sequence, kept);
        let gates = self.gates[at..at + kept].to_vec();
        let next = |i: usize| gates[2 * n + i] * c[i] + gates[i] * gates[3 * n + i];
        match self.cell {
            Recurrent::Lstm => Step {
                c: (0..n).map(next).collect(),
                gates,
                ..Step::default()
            },
            Recurrent::Gru => {
                let recurrent = [vec![0.0; 2 * n], gates[3 * n..].to_vec()].concat();
                Step {
                    gates,
                    recurrent,
                    ..Step::default()
                }
            }
            Recurrent::Rnn => Step {
                h: gates,
                ..Step::default()
            },
        }
    }
}
