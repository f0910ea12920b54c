//! `RNN`, `GRU`, `LSTM` and their gradients, which run the sequences again and go back through time
//! (Werbos, "Backpropagation through time", 1990).

mod cell;
mod examples;
mod layout;
mod sequence;
mod sequence_grad;

use sardonyx_ir::{Dim, Fact, Node, SARDONYX, ValueId};
use sardonyx_tensor::Tensor;

use self::cell::{Cell, Step, Weights};
use self::layout::{Inputs, Layout, directions, is_batch_first};
use self::sequence::Sequence;
use self::sequence_grad::SequenceGrad;
use super::move_grad::attributes;
use crate::reference::claimed_count;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema, fact_flops};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[
    &Recurrent::Gru,
    &Recurrent::Lstm,
    &Recurrent::Rnn,
    &RecurrentGrad(Recurrent::Gru),
    &RecurrentGrad(Recurrent::Lstm),
    &RecurrentGrad(Recurrent::Rnn),
    &Sequence(Recurrent::Gru),
    &Sequence(Recurrent::Lstm),
    &Sequence(Recurrent::Rnn),
    &SequenceGrad(Recurrent::Gru),
    &SequenceGrad(Recurrent::Lstm),
    &SequenceGrad(Recurrent::Rnn),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recurrent {
    Gru,
    Lstm,
    Rnn,
}

/// Inputs: those of the forward operator, all of them, then the gradients by its outputs. Outputs:
/// the gradients by `X`, `W`, `R`, `B`, `initial_h`, and for an LSTM by `initial_c` and `P`.
#[derive(Debug)]
struct RecurrentGrad(Recurrent);

impl Recurrent {
    fn cell(self, node: &Node) -> Result<Cell> {
        Ok(match self {
            Recurrent::Gru => Cell::Gru {
                linear_before_reset: node.flag("linear_before_reset", false)?,
            },
            Recurrent::Lstm => Cell::Lstm,
            Recurrent::Rnn => Cell::Rnn,
        })
    }

    /// Most inputs of the forward operator.
    fn n_inputs(self) -> usize {
        if self == Recurrent::Lstm { 8 } else { 6 }
    }

    /// Most outputs of the forward operator.
    fn n_outputs(self) -> usize {
        if self == Recurrent::Lstm { 3 } else { 2 }
    }

    /// The forward operator's inputs by which there are gradients, in the order of the gradients.
    fn differentiable(self) -> &'static [usize] {
        if self == Recurrent::Lstm {
            &[0, 1, 2, 3, 5, 6, 7]
        } else {
            &[0, 1, 2, 3, 5]
        }
    }

    fn inputs<'a>(self, cx: &EvalCx<'a>) -> Result<Inputs<'a>> {
        let lstm = |index: usize| cx.optional(index).filter(|_| self == Recurrent::Lstm);
        Ok(Inputs {
            cell: self.cell(cx.node)?,
            x: cx.input(0)?,
            w: cx.input(1)?,
            r: cx.input(2)?,
            bias: cx.optional(3),
            lengths: cx.optional(4),
            h: cx.optional(5),
            c: lstm(6),
            peepholes: lstm(7),
        })
    }
}

/// All that a run needs, in `f64`.
struct Sequences {
    cell: Cell,
    layout: Layout,
    lengths: Vec<usize>,
    weights: Vec<Weights>,
    x: Vec<f64>,
    h: Vec<f64>,
    /// Empty but for an LSTM.
    c: Vec<f64>,
}

impl Sequences {
    fn of(node: &Node, inputs: &Inputs<'_>) -> Result<Sequences> {
        let layout = Layout::of(node, inputs)?;
        let count = claimed_count(node, &layout.state_shape())?;
        let state = |tensor: Option<&Tensor>, count: usize| match tensor {
            Some(tensor) => tensor.to_f64(),
            None => Ok(vec![0.0; count]),
        };
        Ok(Sequences {
            cell: inputs.cell,
            layout,
            lengths: layout.lengths(node, inputs.lengths)?,
            weights: layout.weights(inputs)?,
            x: inputs.x.to_f64()?,
            h: state(inputs.h, count)?,
            c: state(inputs.c, if inputs.cell == Cell::Lstm { count } else { 0 })?,
        })
    }

    /// Every direction of every sequence.
    fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let batch = self.layout.batch;
        (0..self.layout.directions).flat_map(move |d| (0..batch).map(move |b| (d, b)))
    }

    fn input(&self, time: usize, sequence: usize) -> &[f64] {
        let start = self.layout.input_at(time, sequence);
        &self.x[start..start + self.layout.input]
    }

    /// The state that a direction of a sequence starts from, as a step that ended with it.
    fn start(&self, direction: usize, sequence: usize) -> Step {
        let at = self.layout.state_at(direction, sequence);
        let part = |state: &[f64]| match state.is_empty() {
            true => Vec::new(),
            false => state[at..at + self.layout.hidden].to_vec(),
        };
        Step::start(part(&self.h), part(&self.c))
    }

    /// The start and every step of a direction of a sequence, in the order in which it takes them.
    fn run(&self, direction: usize, sequence: usize) -> Vec<Step> {
        let mut steps = vec![self.start(direction, sequence)];
        for time in self.layout.times(direction, self.lengths[sequence]) {
            let last = steps.last().expect("there is a start");
            let x = self.input(time, sequence);
            steps.push(
                self.cell
                    .step(&self.weights[direction], x, &last.h, &last.c),
            );
        }
        steps
    }
}

impl Operator for Recurrent {
    fn schema(&self) -> Schema {
        let (name, inputs) = match self {
            Recurrent::Gru => ("GRU", 6),
            Recurrent::Lstm => ("LSTM", 8),
            Recurrent::Rnn => ("RNN", 6),
        };
        Schema::standard(name, 7, 3)
            .inputs(3, inputs)
            .outputs(self.n_outputs())
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let directions = Dim::known(directions(cx.node, self.cell(cx.node)?)?);
        let batch_first = is_batch_first(cx.node)?;
        let hidden = match (cx.shape(2)?, cx.node.int("hidden_size", 0)?) {
            (Some([_, _, hidden]), _) => hidden.clone(),
            (None, size) if size > 0 => Dim::known(size as usize),
            (None, _) => cx.unknown_dim(3),
            (Some(_), _) => return Err(cx.invalid("its weights must have three axes")),
        };
        let (time, batch) = match cx.shape(0)? {
            None => return Ok(vec![Fact::unranked(dtype).into(); self.n_outputs()]),
            Some([batch, time, _]) if batch_first => (time.clone(), batch.clone()),
            Some([time, batch, _]) => (time.clone(), batch.clone()),
            Some(_) => return Err(cx.invalid("its input must have three axes")),
        };
        let (all, state) = if batch_first {
            (
                [batch.clone(), time, directions.clone(), hidden.clone()],
                [batch, directions, hidden],
            )
        } else {
            (
                [time, directions.clone(), batch.clone(), hidden.clone()],
                [directions, batch, hidden],
            )
        };
        let mut outputs = vec![Inferred::from(Fact::new(dtype, all))];
        outputs.resize(self.n_outputs(), Fact::new(dtype, state).into());
        Ok(outputs)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let inputs = self.inputs(cx)?;
        let sequences = Sequences::of(cx.node, &inputs)?;
        let layout = sequences.layout;
        let mut y = vec![0.0; claimed_count(cx.node, &layout.output_shape())?];
        let (mut h, mut c) = (sequences.h.clone(), sequences.c.clone());
        let n = layout.hidden;
        for (direction, sequence) in sequences.runs() {
            let steps = sequences.run(direction, sequence);
            let times = layout.times(direction, sequences.lengths[sequence]);
            for (step, time) in steps[1..].iter().zip(times) {
                let at = layout.output_at(time, direction, sequence);
                y[at..at + n].copy_from_slice(&step.h);
            }
            let last = steps.last().expect("there is a start");
            let at = layout.state_at(direction, sequence);
            h[at..at + n].copy_from_slice(&last.h);
            if !c.is_empty() {
                c[at..at + n].copy_from_slice(&last.c);
            }
        }
        let (dtype, state) = (inputs.x.dtype(), layout.state_shape());
        let mut outputs = vec![
            Tensor::from_f64(dtype, layout.output_shape(), y)?,
            Tensor::from_f64(dtype, state, h)?,
        ];
        if *self == Recurrent::Lstm {
            outputs.push(Tensor::from_f64(dtype, state, c)?);
        }
        Ok(outputs)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let mut inputs = cx.node.inputs.clone();
        inputs.resize(self.n_inputs(), None);
        inputs.extend((0..self.n_outputs()).map(|i| cx.output_grads.get(i).copied().flatten()));
        let name = RecurrentGrad(*self).schema().name;
        let by = self.differentiable();
        let attributes = attributes(cx.node);
        let emitted = cx
            .builder
            .node((SARDONYX, name), &inputs, &attributes, by.len())?;
        let mut grads = vec![None; cx.node.inputs.len()];
        for (&input, grad) in by.iter().zip(emitted) {
            if cx.node.input(input).is_some() && cx.wants(input) {
                grads[input] = Some(grad);
            }
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        let x = cx.optional(0)?.fact.fixed_shape()?;
        let steps = x.first()?.checked_mul(*x.get(1)?)? as u64;
        let products = |index| fact_flops(cx.optional(index)?.fact, 2);
        products(1)?.checked_add(products(2)?)?.checked_mul(steps)
    }

    fn examples(&self) -> Vec<Example> {
        examples::forward(*self)
    }
}

impl Operator for RecurrentGrad {
    fn schema(&self) -> Schema {
        let name = match self.0 {
            Recurrent::Gru => "GRUGrad",
            Recurrent::Lstm => "LSTMGrad",
            Recurrent::Rnn => "RNNGrad",
        };
        let inputs = self.0.n_inputs() + self.0.n_outputs();
        Schema::own(name, inputs).outputs(self.0.differentiable().len())
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let dtype = cx.dtype(0)?;
        let outputs = self.0.infer(cx)?;
        let state = outputs[1].clone();
        let [x, w, r] = [0, 1, 2].map(|index| cx.input(index));
        let (w, r) = (w?.fact, r?.fact);
        let mut grads: Vec<Inferred> =
            vec![x?.fact.clone().into(), w.clone().into(), r.clone().into()];
        // A bias has an element for each row of both weights, peepholes one for three gates.
        let rows = |factor: usize, gates: usize| match w.shape.as_deref() {
            Some([directions, rows, _]) => {
                let count = rows.checked_mul(&Dim::known(factor));
                let count = count.and_then(|count| count.checked_div(&Dim::known(gates)));
                let count = count.unwrap_or_else(|| cx.unknown_dim(1));
                Inferred::from(Fact::new(dtype, [directions.clone(), count]))
            }
            _ => Fact::unranked(dtype).into(),
        };
        grads.extend([rows(2, 1), state.clone()]);
        if self.0 == Recurrent::Lstm {
            grads.extend([state, rows(3, 4)]);
        }
        Ok(grads)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let inputs = self.0.inputs(cx)?;
        let sequences = Sequences::of(cx.node, &inputs)?;
        let layout = sequences.layout;
        let states = layout.state_shape();
        let dy = |index: usize, shape: &[usize]| match cx.optional(self.0.n_inputs() + index) {
            None => Ok(None),
            Some(dy) if dy.shape() == shape => Ok(Some(dy.to_f64()?)),
            Some(dy) => Err(cx.invalid(format!("dy has shape {:?}, not {shape:?}", dy.shape()))),
        };
        let outer = OutputGrads {
            y: dy(0, &layout.output_shape())?,
            h: dy(1, &states)?,
            c: if self.0 == Recurrent::Lstm {
                dy(2, &states)?
            } else {
                None
            },
        };
        let grads = back_through_time(&sequences, &outer);
        let dtype = inputs.x.dtype();
        let d = layout.directions;
        let join = |part: fn(&Weights) -> Vec<&[f64]>| {
            grads
                .weights
                .iter()
                .flat_map(part)
                .collect::<Vec<_>>()
                .concat()
        };
        let rows = inputs.cell.gates() * layout.hidden;
        let bias = join(|w| vec![&w.w_bias, &w.r_bias]);
        let mut out = vec![
            Tensor::from_f64(dtype, inputs.x.shape(), grads.x)?,
            Tensor::from_f64(dtype, inputs.w.shape(), join(|w| vec![&w.w]))?,
            Tensor::from_f64(dtype, inputs.r.shape(), join(|w| vec![&w.r]))?,
            Tensor::from_f64(dtype, [d, 2 * rows], bias)?,
            Tensor::from_f64(dtype, states, grads.h)?,
        ];
        if self.0 == Recurrent::Lstm {
            out.push(Tensor::from_f64(dtype, states, grads.c)?);
            let peepholes = join(|w| vec![&w.peepholes]);
            out.push(Tensor::from_f64(dtype, [d, 3 * layout.hidden], peepholes)?);
        }
        Ok(out)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("second derivatives are not supported"))
    }

    fn flops(&self, cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        self.0.flops(cx, outputs)?.checked_mul(3)
    }

    fn examples(&self) -> Vec<Example> {
        examples::backward(self.0, self.schema())
    }
}

/// Gradients by the outputs; `None` where the loss does not depend on one.
struct OutputGrads {
    y: Option<Vec<f64>>,
    h: Option<Vec<f64>>,
    c: Option<Vec<f64>>,
}

/// Gradients by the inputs.
struct InputGrads {
    x: Vec<f64>,
    h: Vec<f64>,
    c: Vec<f64>,
    weights: Vec<Weights>,
}

fn back_through_time(sequences: &Sequences, outer: &OutputGrads) -> InputGrads {
    let layout = sequences.layout;
    let n = layout.hidden;
    let zeros = |values: &[f64]| vec![0.0; values.len()];
    let mut grads = InputGrads {
        x: zeros(&sequences.x),
        h: zeros(&sequences.h),
        c: zeros(&sequences.c),
        weights: sequences.weights.iter().map(Weights::zeros_like).collect(),
    };
    for (direction, sequence) in sequences.runs() {
        let steps = sequences.run(direction, sequence);
        let times = layout.times(direction, sequences.lengths[sequence]);
        let state = layout.state_at(direction, sequence);
        let part = |grad: &Option<Vec<f64>>, at: usize| match grad {
            Some(grad) => grad[at..at + n].to_vec(),
            None => vec![0.0; n],
        };
        let (mut dh, mut dc) = (part(&outer.h, state), part(&outer.c, state));
        for (index, &time) in times.iter().enumerate().rev() {
            let dy = part(&outer.y, layout.output_at(time, direction, sequence));
            dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += dy);
            let from = &steps[index];
            let back = sequences.cell.step_grad(
                (&sequences.weights[direction], &mut grads.weights[direction]),
                (sequences.input(time, sequence), &from.h, &from.c),
                &steps[index + 1],
                (&dh, &dc),
            );
            let at = layout.input_at(time, sequence);
            let dx = &mut grads.x[at..at + layout.input];
            dx.iter_mut().zip(back.x).for_each(|(sum, dx)| *sum += dx);
            (dh, dc) = (back.h, back.c);
        }
        grads.h[state..state + n].copy_from_slice(&dh);
        if !grads.c.is_empty() {
            grads.c[state..state + n].copy_from_slice(&dc);
        }
    }
    grads
}
