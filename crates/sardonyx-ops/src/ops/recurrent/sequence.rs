//! Plan operators of one direction of a recurrent layer, given the products of all inputs with
//! their weights, which are one product of matrices: the steps, and back through them. The
//! recurrent weights are packed; the gradient by them is that of a dense layer over all steps.

use sardonyx_ir::{Attr, Fact, Node, SARDONYX, ValueId};
use sardonyx_tensor::Tensor;

use super::Recurrent;
use super::cell::{Cell, Step, Weights};
use super::examples;
use super::layout::is_batch_first;
use super::sequence_grad::SequenceGrad;
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema};

/// For `G` gates of `H` hidden units; attributes `layout` (as of ONNX's operators) and `reverse`.
/// Inputs: the inputs' products with their bias, `[T, B, G * H]` or `[B, T, G * H]`; recurrent
/// weights, packed `[1, panels, 1, H, width]`; optional: bias of the recurrent products `[G * H]`,
/// initial state `[B, H]` and, of an LSTM, cell state. A GRU's reset gate works behind its product.
/// Outputs: the last state and, of an LSTM, the last cell state `[B, H]`; the state behind each
/// step (`[T, B, H]` or `[B, T, H]`); then what the gradient reads: the gates behind their
/// activation and, of a GRU, the product that its reset gate multiplies, and the state and, of an
/// LSTM, the cell state before each step.
#[derive(Debug)]
pub(super) struct Sequence(pub(super) Recurrent);

/// Inputs of the forward operator.
const BIAS: usize = 2;
const INITIAL: [usize; 2] = [3, 4];
/// Sizes of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) time: usize,
    pub(super) batch: usize,
    pub(super) hidden: usize,
    pub(super) batch_first: bool,
    pub(super) reverse: bool,
}

impl Recurrent {
    /// The cell as these operators have it.
    pub(super) fn plan_cell(self) -> Cell {
        match self {
            Recurrent::Gru => Cell::Gru {
                linear_before_reset: true,
            },
            Recurrent::Lstm => Cell::Lstm,
            Recurrent::Rnn => Cell::Rnn,
        }
    }

    /// Floats that a step keeps of each hidden unit, its state aside.
    pub(super) fn saved(self) -> usize {
        match self {
            Recurrent::Gru | Recurrent::Lstm => 4,
            Recurrent::Rnn => 1,
        }
    }

    /// States that a step hands to the next one. That of the first output that has a row per step,
    /// too: the last states come first.
    pub(super) fn states(self) -> usize {
        if self == Recurrent::Lstm { 2 } else { 1 }
    }

    /// First output that is kept for the gradient.
    fn first_saved(self) -> usize {
        1 + self.states()
    }
}

impl Sizes {
    /// Those of `node`, of which rows of steps have the shape `rows`, for weights of shape
    /// `packed`, transposed or not; `None` where these do not fit each other.
    pub(super) fn of(
        cell: Recurrent,
        node: &Node,
        [rows, packed]: [&[usize]; 2],
        is_transposed: bool,
    ) -> Result<Option<Sizes>> {
        let (&[first, second, columns], &[1, panels, 1, inner, width]) = (rows, packed) else {
            return Ok(None);
        };
        let gates = cell.plan_cell().gates();
        let (batch_first, reverse) = (is_batch_first(node)?, node.flag("reverse", false)?);
        let (hidden, per_unit, n) = if is_transposed {
            let hidden = inner / gates;
            (hidden, cell.saved(), hidden)
        } else {
            (inner, gates, gates * inner)
        };
        let fits = width > 0
            && panels == n.div_ceil(width)
            && columns.checked_div(per_unit) == Some(hidden)
            && columns % per_unit == 0
            && (!is_transposed || inner % gates == 0);
        let (time, batch) = match batch_first {
            true => (second, first),
            false => (first, second),
        };
        Ok(fits.then_some(Sizes {
            time,
            batch,
            hidden,
            batch_first,
            reverse,
        }))
    }

    pub(super) fn infer(cell: Recurrent, cx: &InferCx<'_>, is_transposed: bool) -> Result<Sizes> {
        let (rows, packed) = (cx.input(0)?.fact, cx.input(1)?.fact);
        let same = (0..cx.inputs.len())
            .filter_map(|index| cx.optional(index))
            .all(|known| known.fact.dtype == rows.dtype);
        let sizes = match (rows.fixed_shape(), packed.fixed_shape()) {
            (Some(rows), Some(packed)) => {
                Sizes::of(cell, cx.node, [&rows, &packed], is_transposed)?
            }
            _ => None,
        };
        sizes
            .filter(|_| same && rows.dtype.is_float())
            .ok_or_else(|| cx.invalid(format!("{packed} are no recurrent weights of {rows}")))
    }

    /// Checks that the inputs that are there have these shapes.
    pub(super) fn check(cx: &InferCx<'_>, inputs: &[(usize, &[usize])]) -> Result<()> {
        for &(index, shape) in inputs {
            let fact = cx.optional(index).map(|known| known.fact);
            if let Some(fact) = fact.filter(|fact| fact.fixed_shape().as_deref() != Some(shape)) {
                let problem = format!("input {index} is {fact}, not of shape {shape:?}");
                return Err(cx.invalid(problem));
            }
        }
        Ok(())
    }

    /// Shape of what has `width` floats per step and sequence.
    pub(super) fn rows(self, width: usize) -> [usize; 3] {
        match self.batch_first {
            true => [self.batch, self.time, width],
            false => [self.time, self.batch, width],
        }
    }

    /// Where the row of step number `step` of a sequence starts.
    pub(super) fn at(self, step: usize, sequence: usize, width: usize) -> usize {
        let time = match self.reverse {
            true => self.time - 1 - step,
            false => step,
        };
        let row = match self.batch_first {
            true => sequence * self.time + time,
            false => time * self.batch + sequence,
        };
        row * width
    }
}

/// Row-major `[G * H, H]` recurrent weights from packed ones.
pub(super) fn unpacked(
    packed: &Tensor,
    [rows, hidden]: [usize; 2],
    is_transposed: bool,
) -> Result<Vec<f64>> {
    let (values, width) = (packed.to_f64()?, packed.shape()[4]);
    let mut weights = vec![0.0; rows * hidden];
    for (row, k) in (0..rows).flat_map(|row| (0..hidden).map(move |k| (row, k))) {
        let (n, inner, depth) = match is_transposed {
            true => (k, row, rows),
            false => (row, k, hidden),
        };
        weights[row * hidden + k] = values[(n / width * depth + inner) * width + n % width];
    }
    Ok(weights)
}

pub(super) fn weights(
    cell: Recurrent,
    r: Vec<f64>,
    r_bias: Option<Vec<f64>>,
    hidden: usize,
) -> Weights {
    let columns = cell.plan_cell().gates() * hidden;
    Weights {
        r,
        r_bias: r_bias.unwrap_or_else(|| vec![0.0; columns]),
        peepholes: vec![0.0; 3 * hidden],
        ..Weights::default()
    }
}

/// Row `start / line.len()` of a matrix is set to `line`.
pub(super) fn put(matrix: &mut [f64], start: usize, line: &[f64]) {
    matrix[start..start + line.len()].copy_from_slice(line);
}

pub(super) fn floats(cx: &EvalCx<'_>, index: usize) -> Result<Option<Vec<f64>>> {
    Ok(cx.optional(index).map(Tensor::to_f64).transpose()?)
}

impl Operator for Sequence {
    fn schema(&self) -> Schema {
        let (name, outputs) = match self.0 {
            Recurrent::Gru => ("GruSequence", 4),
            Recurrent::Lstm => ("LstmSequence", 6),
            Recurrent::Rnn => ("RnnSequence", 4),
        };
        Schema::own(name, 2)
            .inputs(2, 3 + self.0.states())
            .outputs(outputs)
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        let sizes = Sizes::infer(self.0, cx, false)?;
        let state = [sizes.batch, sizes.hidden];
        let columns = [self.0.plan_cell().gates() * sizes.hidden];
        let inputs: [(usize, &[usize]); 3] =
            [(BIAS, &columns), (INITIAL[0], &state), (INITIAL[1], &state)];
        Sizes::check(cx, &inputs)?;
        let dtype = cx.dtype(0)?;
        let fact = |shape: &[usize]| Inferred::from(Fact::fixed(dtype, shape));
        let (rows, states) = (fact(&sizes.rows(sizes.hidden)), self.0.states());
        let mut outputs = vec![fact(&state); states];
        outputs.push(rows.clone());
        outputs.push(fact(&sizes.rows(self.0.saved() * sizes.hidden)));
        outputs.extend(vec![rows; states]);
        Ok(outputs)
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        cx.check(self)?;
        let (input, packed) = (cx.input(0)?, cx.input(1)?);
        let sizes = Sizes::of(self.0, cx.node, [input.shape(), packed.shape()], false)?;
        let sizes = sizes.ok_or_else(|| cx.invalid("its weights have another shape"))?;
        let (cell, n) = (self.0.plan_cell(), sizes.hidden);
        let (columns, kept) = (cell.gates() * n, self.0.saved() * n);
        let r = unpacked(packed, [columns, n], false)?;
        let weights = weights(self.0, r, floats(cx, BIAS)?, n);
        let xs = input.to_f64()?;
        let [h0, c0] = INITIAL.map(|index| floats(cx, index));
        let initial = [h0?, c0?];
        let count = sizes.time * sizes.batch;
        let mut gates = vec![0.0; count * kept];
        let mut states = [0; 3].map(|_| vec![0.0; count * n]);
        let mut last = [0; 2].map(|_| vec![0.0; sizes.batch * n]);
        for sequence in 0..sizes.batch {
            let start = |state: &Option<Vec<f64>>| match state {
                Some(state) => state[sequence * n..(sequence + 1) * n].to_vec(),
                None => vec![0.0; n],
            };
            let mut now = Step::start(start(&initial[0]), start(&initial[1]));
            for step in 0..sizes.time {
                let at = sizes.at(step, sequence, n);
                put(&mut states[1], at, &now.h);
                put(&mut states[2], at, &now.c);
                let from = sizes.at(step, sequence, columns);
                let c = if cell == Cell::Lstm { &now.c[..] } else { &[] };
                let next = cell.advance(&weights, &xs[from..from + columns], (&now.h, c));
                let mut saved = next.gates.clone();
                if self.0 == Recurrent::Gru {
                    saved.extend_from_slice(&next.recurrent[2 * n..]);
                }
                put(&mut gates, sizes.at(step, sequence, kept), &saved);
                put(&mut states[0], at, &next.h);
                let c = if cell == Cell::Lstm { next.c } else { now.c };
                now = Step::start(next.h, c);
            }
            put(&mut last[0], sequence * n, &now.h);
            put(&mut last[1], sequence * n, &now.c);
        }
        let outputs = Outputs {
            gates,
            states,
            last,
        };
        outputs.tensors(self.0, sizes, input)
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let (states, first) = (self.0.states(), self.0.first_saved());
        if cx.output_grads.iter().skip(first).any(Option::is_some) {
            return Err(cx.not_differentiable("what is kept for the gradient is no result"));
        }
        let mut saved: Vec<Option<ValueId>> = (first..=first + states)
            .map(|i| cx.node.output(i))
            .collect();
        if saved.contains(&None) {
            saved = self.run_again(cx)?;
        }
        let r = cx.input(1)?;
        let packed = cx.builder.fixed_shape(r)?;
        let columns = self.0.plan_cell().gates() * packed[3];
        let n = ("n", Attr::Int(columns as i64));
        let transposed = cx.builder.own("TransposePanels", &[r], &[n])?;
        let by_output = |index: usize| cx.output_grads.get(index).copied().flatten();
        let previous = match self.0 {
            Recurrent::Rnn => None,
            Recurrent::Gru | Recurrent::Lstm => saved[states],
        };
        let mut inputs = vec![saved[0], Some(transposed), previous];
        inputs.push(by_output(states));
        inputs.extend((0..states).map(by_output));
        let made = cx.builder.node(
            (SARDONYX, SequenceGrad(self.0).schema().name),
            &inputs,
            &order(cx.node)?,
            SequenceGrad(self.0).schema().max_outputs,
        )?;
        let mut grads = vec![None; cx.node.inputs.len()];
        grads[0] = Some(made[0]);
        if cx.wants(1) || cx.wants(BIAS) {
            let by_products = match self.0 {
                Recurrent::Gru => made[2],
                Recurrent::Lstm | Recurrent::Rnn => made[0],
            };
            let n_outputs = if cx.wants(BIAS) { 2 } else { 1 };
            let width = ("width", Attr::Int(packed[4] as i64));
            let by_weight = (SARDONYX, "DenseWeightGrad");
            let inputs = [saved[1], Some(by_products)];
            let out = cx.builder.node(by_weight, &inputs, &[width], n_outputs)?;
            grads[1] = Some(out[0]);
            if let Some(bias) = grads.get_mut(BIAS) {
                *bias = out.get(1).copied();
            }
        }
        for (index, &input) in INITIAL[..states].iter().enumerate() {
            if cx.wants(input) {
                grads[input] = Some(made[1 + index]);
            }
        }
        Ok(grads)
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        product_flops(cx)
    }

    fn examples(&self) -> Vec<Example> {
        examples::sequence(self.0, self.schema())
    }
}

/// The attributes that say how rows lie and in which order time goes.
fn order(node: &Node) -> Result<[(&'static str, Attr); 2]> {
    let flag = |name| Ok::<_, OpError>(Attr::Int(i64::from(node.flag(name, false)?)));
    Ok([("layout", flag("layout")?), ("reverse", flag("reverse")?)])
}

/// A product of each row with the packed weights.
pub(super) fn product_flops(cx: &InferCx<'_>) -> Option<u64> {
    let rows = cx.optional(0)?.fact.fixed_shape()?;
    let weights = cx.optional(1)?.fact.fixed_shape()?;
    let count = |dims: &[usize]| {
        let product = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
        u64::try_from(product).ok()
    };
    let rows = count(rows.get(..2)?)?;
    rows.checked_mul(count(&weights)?)?.checked_mul(2)
}

impl Sequence {
    /// What the gradient reads, of a node that does not give it: from running it once more.
    fn run_again(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        let op = (SARDONYX, self.schema().name);
        let (inputs, n_outputs) = (cx.node.inputs.clone(), self.schema().max_outputs);
        let made = cx.builder.node(op, &inputs, &order(cx.node)?, n_outputs)?;
        let saved = made[self.0.first_saved()..].iter();
        Ok(saved.copied().map(Some).collect())
    }
}

/// All that a run gives.
struct Outputs {
    gates: Vec<f64>,
    /// Behind each step, before it, and the cell's before it.
    states: [Vec<f64>; 3],
    last: [Vec<f64>; 2],
}

impl Outputs {
    fn tensors(self, cell: Recurrent, sizes: Sizes, input: &Tensor) -> Result<Vec<Tensor>> {
        let (dtype, n) = (input.dtype(), sizes.hidden);
        let rows = |width: usize, values| Tensor::from_f64(dtype, sizes.rows(width), values);
        let mut outputs = Vec::new();
        for values in self.last.into_iter().take(cell.states()) {
            outputs.push(Tensor::from_f64(dtype, [sizes.batch, n], values)?);
        }
        let [behind, before, cell_before] = self.states;
        outputs.push(rows(n, behind)?);
        outputs.push(rows(cell.saved() * n, self.gates)?);
        for values in [before, cell_before].into_iter().take(cell.states()) {
            outputs.push(rows(n, values)?);
        }
        Ok(outputs)
    }
}
