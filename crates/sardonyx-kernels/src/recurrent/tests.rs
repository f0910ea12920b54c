//! Both kernels against plain loops in `f64`, on odd sizes.

use super::*;
use crate::testing::{Buffer, Rig};
use crate::{Isa, PackPanels, PanelMap, PanelShape, TransposePanels};

/// A layer with its operands, and the gradients that come in from behind.
struct Case {
    shape: SequenceShape,
    input: Vec<f32>,
    /// `[H, G * H]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    /// Empty where the layer starts from zeros.
    initial: [Vec<f32>; 2],
    dy: Vec<f32>,
    d_last: [Vec<f32>; 2],
}

/// Everything that the kernels write, in the order of their operands.
#[derive(Default)]
struct Expected {
    y: Vec<f32>,
    last: [Vec<f32>; 2],
    gates: Vec<f32>,
    previous: [Vec<f32>; 2],
    d_input: Vec<f32>,
    d_recurrent: Vec<f32>,
    d_initial: [Vec<f32>; 2],
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// One step: gates as they are kept, the new state and the new cell state.
fn step(
    cell: RecurrentCell,
    input: &[f64],
    sums: &[f64],
    (h, c): (&[f64], &[f64]),
) -> [Vec<f64>; 3] {
    let n = h.len();
    let total = |gate: usize, i: usize| input[gate * n + i] + sums[gate * n + i];
    let gate = |f: &dyn Fn(usize) -> f64| (0..n).map(f).collect::<Vec<f64>>();
    match cell {
        RecurrentCell::Rnn => {
            let new = gate(&|i| total(0, i).tanh());
            [new.clone(), new, c.to_vec()]
        }
        RecurrentCell::Gru => {
            let update = gate(&|i| sigmoid(total(0, i)));
            let reset = gate(&|i| sigmoid(total(1, i)));
            let new = gate(&|i| (input[2 * n + i] + reset[i] * sums[2 * n + i]).tanh());
            let state = gate(&|i| (1.0 - update[i]) * new[i] + update[i] * h[i]);
            let kept = [update, reset, new, sums[2 * n..].to_vec()].concat();
            [kept, state, c.to_vec()]
        }
        RecurrentCell::Lstm => {
            let [enter, leave, forget] = [0, 1, 2].map(|g| gate(&|i| sigmoid(total(g, i))));
            let new = gate(&|i| total(3, i).tanh());
            let next = gate(&|i| forget[i] * c[i] + enter[i] * new[i]);
            let state = gate(&|i| leave[i] * next[i].tanh());
            [[enter, leave, forget, new].concat(), state, next]
        }
    }
}

/// Gradients of one step by the products of input and state, from what it kept; `dh` and `dc`
/// become those that do not go through the recurrent product.
fn step_back(
    cell: RecurrentCell,
    kept: &[f64],
    (h, c): (&[f64], &[f64]),
    (dh, dc): (&mut [f64], &mut [f64]),
) -> [Vec<f64>; 2] {
    let n = h.len();
    let mut by_input = vec![0.0; cell.gates() * n];
    let mut by_sums = by_input.clone();
    for i in 0..n {
        let gate = |gate: usize| kept[gate * n + i];
        match cell {
            RecurrentCell::Rnn => {
                by_input[i] = dh[i] * (1.0 - gate(0).powi(2));
                by_sums[i] = by_input[i];
                dh[i] = 0.0;
            }
            RecurrentCell::Gru => {
                let [update, reset, new, product] = [0, 1, 2, 3].map(gate);
                let by_new = dh[i] * (1.0 - update) * (1.0 - new * new);
                by_input[i] = dh[i] * (h[i] - new) * update * (1.0 - update);
                by_input[n + i] = by_new * product * reset * (1.0 - reset);
                by_input[2 * n + i] = by_new;
                by_sums[i] = by_input[i];
                by_sums[n + i] = by_input[n + i];
                by_sums[2 * n + i] = by_new * reset;
                dh[i] *= update;
            }
            RecurrentCell::Lstm => {
                let [enter, leave, forget, new] = [0, 1, 2, 3].map(gate);
                let shown = (forget * c[i] + enter * new).tanh();
                let by_cell = dc[i] + dh[i] * leave * (1.0 - shown * shown);
                by_input[i] = by_cell * new * enter * (1.0 - enter);
                by_input[n + i] = dh[i] * shown * leave * (1.0 - leave);
                by_input[2 * n + i] = by_cell * c[i] * forget * (1.0 - forget);
                by_input[3 * n + i] = by_cell * enter * (1.0 - new * new);
                for gate in 0..4 {
                    by_sums[gate * n + i] = by_input[gate * n + i];
                }
                dh[i] = 0.0;
                dc[i] = by_cell * forget;
            }
        }
    }
    [by_input, by_sums]
}

impl Case {
    fn new(shape: SequenceShape, seed: u64, has_initial: bool) -> Case {
        let (rows, state) = (shape.rows(), shape.batch * shape.hidden);
        let scaled = |len: usize, seed: u64, scale: f32| {
            let values = Rig::ramp(len, seed).into_iter();
            values.map(|x| x * scale).collect::<Vec<f32>>()
        };
        let optional = |seed: u64| match has_initial {
            true => scaled(state, seed, 1.0),
            false => Vec::new(),
        };
        let weights = 2.0 / (shape.hidden.max(1) as f32).sqrt();
        Case {
            shape,
            input: scaled(rows * shape.columns(), seed, 3.0),
            weights: scaled(shape.hidden * shape.columns(), seed + 1, weights),
            bias: scaled(shape.columns(), seed + 2, 0.5),
            initial: [optional(seed + 3), optional(seed + 4)],
            dy: scaled(rows * shape.hidden, seed + 5, 1.0),
            d_last: [seed + 6, seed + 7].map(|seed| scaled(state, seed, 1.0)),
        }
    }

    fn row(&self, step: usize, sequence: usize) -> usize {
        let time = self.shape.time_of(step);
        match self.shape.batch_first {
            true => sequence * self.shape.time + time,
            false => time * self.shape.batch + sequence,
        }
    }

    /// Row `row` of `values`; zeros where there are none.
    fn line(values: &[f32], row: usize, len: usize) -> Vec<f64> {
        let line = values.get(row * len..(row + 1) * len);
        line.map_or(vec![0.0; len], |line| {
            line.iter().map(|&x| f64::from(x)).collect()
        })
    }

    fn expected(&self) -> Expected {
        let (shape, n) = (self.shape, self.shape.hidden);
        let (rows, columns) = (shape.rows(), shape.columns());
        let room = |len: usize| vec![0.0f32; len];
        let [per_step, per_sequence] = [rows * n, shape.batch * n];
        let mut made = Expected {
            y: room(per_step),
            last: [room(per_sequence), room(per_sequence)],
            gates: room(rows * shape.cell.saved() * n),
            previous: [room(per_step), room(per_step)],
            d_input: room(rows * columns),
            d_recurrent: room(rows * columns),
            d_initial: [room(per_sequence), room(per_sequence)],
        };
        for sequence in 0..shape.batch {
            self.run(sequence, &mut made);
        }
        made
    }

    fn run(&self, sequence: usize, made: &mut Expected) {
        let (cell, n, columns) = (self.shape.cell, self.shape.hidden, self.shape.columns());
        let weight = |k: usize, column: usize| f64::from(self.weights[k * columns + column]);
        let put = |to: &mut [f32], row: usize, line: &[f64]| {
            for (to, &from) in to[row * line.len()..].iter_mut().zip(line) {
                *to = from as f32;
            }
        };
        let [mut h, mut c] = [0, 1].map(|i| Case::line(&self.initial[i], sequence, n));
        let mut kept = Vec::new();
        for step_index in 0..self.shape.time {
            let row = self.row(step_index, sequence);
            let sum = |column: usize| {
                let products = (0..n).map(|k| h[k] * weight(k, column));
                products.sum::<f64>() + f64::from(self.bias[column])
            };
            let sums: Vec<f64> = (0..columns).map(sum).collect();
            let input = Case::line(&self.input, row, columns);
            let [gates, new_h, new_c] = step(cell, &input, &sums, (&h, &c));
            put(&mut made.previous[0], row, &h);
            put(&mut made.previous[1], row, &c);
            put(&mut made.gates, row, &gates);
            put(&mut made.y, row, &new_h);
            kept.push((gates, h, c));
            (h, c) = (new_h, new_c);
        }
        put(&mut made.last[0], sequence, &h);
        put(&mut made.last[1], sequence, &c);
        let [mut dh, mut dc] = [0, 1].map(|i| Case::line(&self.d_last[i], sequence, n));
        for (step_index, (gates, h, c)) in kept.iter().enumerate().rev() {
            let row = self.row(step_index, sequence);
            let dy = Case::line(&self.dy, row, n);
            dh.iter_mut().zip(&dy).for_each(|(dh, dy)| *dh += dy);
            let [by_input, by_sums] = step_back(cell, gates, (h, c), (&mut dh, &mut dc));
            for (k, dh) in dh.iter_mut().enumerate() {
                let products = by_sums.iter().enumerate().map(|(j, d)| d * weight(k, j));
                *dh += products.sum::<f64>();
            }
            put(&mut made.d_input, row, &by_input);
            put(&mut made.d_recurrent, row, &by_sums);
        }
        put(&mut made.d_initial[0], sequence, &dh);
        put(&mut made.d_initial[1], sequence, &dc);
    }

    /// The weights' panels and their transpose.
    fn panels(&self, isa: Isa) -> [Buffer; 2] {
        let map = PanelMap::matrix(self.shape.hidden, self.shape.columns());
        let packed = Rig::new(PackPanels::new(isa, map)).run(&[
            Buffer::f32s(&self.weights),
            Buffer::unset(map.shape.len(isa)),
        ]);
        let turned = Rig::new(TransposePanels::new(isa, map.shape)).run(&[
            packed[1].clone(),
            Buffer::unset(map.shape.transposed().len(isa)),
        ]);
        [packed[1].clone(), turned[1].clone()]
    }

    fn check(&self, isa: Isa) {
        let (shape, n) = (self.shape, self.shape.hidden);
        let (rows, state) = (shape.rows(), shape.batch * n);
        let is_lstm = shape.cell == RecurrentCell::Lstm;
        let given = |values: &[f32]| match values.is_empty() && state > 0 {
            true => Buffer::absent(),
            false => Buffer::f32s(values),
        };
        let of_lstm = |buffer: Buffer| if is_lstm { buffer } else { Buffer::absent() };
        let [weights, turned] = self.panels(isa);
        let expected = self.expected();
        let made = Rig::new(Sequence::new(isa, shape)).run(&[
            Buffer::f32s(&self.input),
            weights.clone(),
            Buffer::f32s(&self.bias),
            given(&self.initial[0]),
            of_lstm(given(&self.initial[1])),
            Buffer::unset(rows * n),
            Buffer::unset(state),
            of_lstm(Buffer::unset(state)),
            Buffer::unset(rows * shape.cell.saved() * n),
            Buffer::unset(rows * n),
            of_lstm(Buffer::unset(rows * n)),
        ]);
        let close = |made: &Buffer, expected: &[f32]| {
            Rig::assert_close(&made.to_f32s(), expected, 1e-5);
        };
        close(&made[5], &expected.y);
        close(&made[6], &expected.last[0]);
        close(&made[8], &expected.gates);
        close(&made[9], &expected.previous[0]);
        let mut previous = made[9].clone();
        if is_lstm {
            close(&made[7], &expected.last[1]);
            close(&made[10], &expected.previous[1]);
            previous = made[10].clone();
        }
        let back = Rig::new(SequenceGradient::new(isa, shape)).run(&[
            made[8].clone(),
            turned,
            Buffer::f32s(&self.dy),
            Buffer::f32s(&self.d_last[0]),
            of_lstm(Buffer::f32s(&self.d_last[1])),
            previous,
            Buffer::unset(rows * shape.columns()),
            Buffer::unset(state),
            of_lstm(Buffer::unset(state)),
            match shape.cell {
                RecurrentCell::Gru => Buffer::unset(rows * shape.columns()),
                _ => Buffer::absent(),
            },
        ]);
        close(&back[6], &expected.d_input);
        close(&back[7], &expected.d_initial[0]);
        match shape.cell {
            RecurrentCell::Gru => close(&back[9], &expected.d_recurrent),
            RecurrentCell::Lstm => close(&back[8], &expected.d_initial[1]),
            RecurrentCell::Rnn => {}
        }
        self.check_last_state_alone(isa, &weights, &made[6]);
    }

    /// What is not asked for changes nothing else.
    fn check_last_state_alone(&self, isa: Isa, weights: &Buffer, expected: &Buffer) {
        let given = |values: &[f32]| match values.is_empty() {
            true => Buffer::absent(),
            false => Buffer::f32s(values),
        };
        let mut operands = vec![
            Buffer::f32s(&self.input),
            weights.clone(),
            Buffer::f32s(&self.bias),
            given(&self.initial[0]),
            Buffer::absent(),
        ];
        if self.shape.cell == RecurrentCell::Lstm {
            operands[4] = given(&self.initial[1]);
        }
        operands.resize(11, Buffer::absent());
        operands[6] = Buffer::unset(self.shape.batch * self.shape.hidden);
        let made = Rig::new(Sequence::new(isa, self.shape)).run(&operands);
        assert_eq!(&made[6], expected);
    }
}

const CELLS: [RecurrentCell; 3] = [RecurrentCell::Gru, RecurrentCell::Lstm, RecurrentCell::Rnn];

#[test]
fn steps_and_gradients_agree_with_plain_loops() {
    let mut seed = 0;
    for isa in Isa::available() {
        for (hidden, batch, time) in [
            (1, 1, 1),
            (1, 65, 5),
            (7, 3, 5),
            (7, 1, 0),
            (32, 17, 3),
            (33, 3, 1),
            (33, 65, 2),
            (64, 3, 5),
            (64, 65, 1),
            (300, 2, 2),
            (5, 0, 3),
            (0, 4, 3),
        ] {
            for cell in CELLS {
                seed += 1;
                let shape = SequenceShape {
                    cell,
                    time,
                    batch,
                    hidden,
                    reverse: seed % 2 == 1,
                    batch_first: seed % 4 < 2,
                };
                Case::new(shape, seed * 10, seed % 3 > 0).check(isa);
            }
        }
    }
}

#[test]
fn a_missing_bias_is_zero() {
    for (isa, cell) in Isa::available()
        .into_iter()
        .flat_map(|isa| CELLS.map(|cell| (isa, cell)))
    {
        let shape = SequenceShape {
            cell,
            time: 3,
            batch: 2,
            hidden: 9,
            reverse: false,
            batch_first: true,
        };
        let case = Case::new(shape, 1, false);
        let weights = case.panels(isa)[0].clone();
        let run = |bias: Buffer| {
            let mut operands = vec![Buffer::f32s(&case.input), weights.clone(), bias];
            operands.resize(11, Buffer::absent());
            operands[5] = Buffer::unset(shape.rows() * shape.hidden);
            Rig::new(Sequence::new(isa, shape)).run(&operands)[5].to_f32s()
        };
        let zeros = Buffer::f32s(&vec![0.0; shape.columns()]);
        assert_eq!(run(Buffer::absent()), run(zeros));
    }
}

#[test]
fn infinite_and_undefined_inputs_stay_in_their_sequence() {
    for (isa, cell) in Isa::available()
        .into_iter()
        .flat_map(|isa| CELLS.map(|cell| (isa, cell)))
    {
        let shape = SequenceShape {
            cell,
            time: 2,
            batch: 3,
            hidden: 8,
            reverse: false,
            batch_first: false,
        };
        let mut case = Case::new(shape, 3, false);
        let columns = shape.columns();
        case.input[..columns].fill(f32::NAN);
        case.input[columns..2 * columns].fill(f32::INFINITY);
        let mut operands = vec![Buffer::f32s(&case.input), case.panels(isa)[0].clone()];
        operands.resize(11, Buffer::absent());
        operands[6] = Buffer::unset(shape.batch * shape.hidden);
        let made = Rig::new(Sequence::new(isa, shape)).run(&operands)[6].to_f32s();
        let (undefined, rest) = made.split_at(shape.hidden);
        assert!(undefined.iter().all(|h| h.is_nan()));
        assert!(rest.iter().all(|h| h.is_finite() && h.abs() <= 1.0));
        let len = PanelShape::dense(shape.hidden, columns).len(isa);
        assert_eq!(case.panels(isa)[0].to_f32s().len(), len);
    }
}
