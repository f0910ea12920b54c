//! One step of a recurrent cell for one sequence, forward and backward, as ONNX defines `RNN`,
//! `GRU` and `LSTM`.

/// Which cell. Its gates lie one after the other in the weights, in ONNX's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Elman's network: one gate.
    Rnn,
    /// Gates `z`, `r`, `h`.
    Gru {
        /// The reset gate multiplies after the recurrent product, not before.
        linear_before_reset: bool,
    },
    /// Gates `i`, `o`, `f`, `c`; peepholes `i`, `o`, `f`.
    Lstm,
}

/// Weights of one direction, for `G` gates of `H` elements and inputs of `I` elements: `w` is
/// `[G * H, I]`, `r` is `[G * H, H]`, the biases are `[G * H]`, the peepholes `[3 * H]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    pub(super) w: Vec<f64>,
    pub(super) r: Vec<f64>,
    pub(super) w_bias: Vec<f64>,
    pub(super) r_bias: Vec<f64>,
    pub(super) peepholes: Vec<f64>,
}

impl Weights {
    /// Zeros of the same sizes.
    pub(super) fn zeros_like(&self) -> Weights {
        let zeros = |values: &[f64]| vec![0.0; values.len()];
        Weights {
            w: zeros(&self.w),
            r: zeros(&self.r),
            w_bias: zeros(&self.w_bias),
            r_bias: zeros(&self.r_bias),
            peepholes: zeros(&self.peepholes),
        }
    }
}

/// What a step ends with, and what its gradient needs of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    /// Output and hidden state, `[H]`.
    pub(super) h: Vec<f64>,
    /// Cell state, `[H]`; only an LSTM has one.
    pub(super) c: Vec<f64>,
    /// Gates after their activation, `[G * H]`.
    pub(super) gates: Vec<f64>,
    /// Recurrent products with their biases, `[G * H]`.
    pub(super) recurrent: Vec<f64>,
}

impl Step {
    /// The state that a sequence starts from, as a step that ended with it.
    pub(super) fn start(h: Vec<f64>, c: Vec<f64>) -> Step {
        Step {
            h,
            c,
            ..Step::default()
        }
    }
}

/// Gradients by the state that a step starts from and by its input.
#[derive(Debug, Clone)]
pub(super) struct StepGrad {
    pub(super) h: Vec<f64>,
    pub(super) c: Vec<f64>,
    pub(super) x: Vec<f64>,
}

/// Gradients by the gates before activation, `[G * H]`: on the input's side, which is that by its
/// bias too, by the products with the state, and by the recurrent biases.
pub(super) struct GateGrads {
    pub(super) input: Vec<f64>,
    pub(super) recurrent: Vec<f64>,
    recurrent_bias: Vec<f64>,
}

impl GateGrads {
    /// Both sides are only added.
    fn same(gates: Vec<f64>) -> GateGrads {
        GateGrads {
            input: gates.clone(),
            recurrent: gates.clone(),
            recurrent_bias: gates,
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `matrix * x + bias`, by rows.
fn affine(matrix: &[f64], x: &[f64], bias: &[f64]) -> Vec<f64> {
    let dot = |row: usize| {
        let row = &matrix[row * x.len()..(row + 1) * x.len()];
        row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>()
    };
    bias.iter()
        .enumerate()
        .map(|(row, bias)| dot(row) + bias)
        .collect()
}

/// Adds `matrix^T * dy` to `dx`, and `dy * x^T` to `d_matrix`.
pub(super) fn affine_grad(
    matrix: &[f64],
    x: &[f64],
    dy: &[f64],
    dx: &mut [f64],
    d_matrix: &mut [f64],
) {
    let n = x.len();
    for (row, &dy) in dy.iter().enumerate() {
        for column in 0..n {
            dx[column] += matrix[row * n + column] * dy;
            d_matrix[row * n + column] += dy * x[column];
        }
    }
}

impl Cell {
    /// Number of gates.
    pub(super) fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm => 4,
        }
    }

    /// The default activations of one direction, in lower case.
    pub(super) fn activations(self) -> &'static [&'static str] {
        match self {
            Cell::Rnn => &["tanh"],
            Cell::Gru { .. } => &["sigmoid", "tanh"],
            Cell::Lstm => &["sigmoid", "tanh", "tanh"],
        }
    }

    /// A step from input `x` and state `h`, `c`.
    pub(super) fn step(self, weights: &Weights, x: &[f64], h: &[f64], c: &[f64]) -> Step {
        let input = affine(&weights.w, x, &weights.w_bias);
        self.advance(weights, &input, (h, c))
    }

    /// A step from the input's products, with their bias, and state `h`, `c`.
    pub(super) fn advance(
        self,
        weights: &Weights,
        input: &[f64],
        (h, c): (&[f64], &[f64]),
    ) -> Step {
        let n = h.len();
        let recurrent = affine(&weights.r, h, &weights.r_bias);
        let sum: Vec<f64> = input.iter().zip(&recurrent).map(|(a, b)| a + b).collect();
        match self {
            Cell::Rnn => {
                let h: Vec<f64> = sum.into_iter().map(f64::tanh).collect();
                Step {
                    gates: h.clone(),
                    h,
                    c: Vec::new(),
                    recurrent,
                }
            }
            Cell::Gru {
                linear_before_reset,
            } => {
                let mut gates: Vec<f64> = sum[..2 * n].iter().copied().map(sigmoid).collect();
                let reset = gates[n..].to_vec();
                let mut recurrent = recurrent;
                if !linear_before_reset {
                    let kept: Vec<f64> = reset.iter().zip(h).map(|(r, h)| r * h).collect();
                    let last = affine(&weights.r[2 * n * n..], &kept, &weights.r_bias[2 * n..]);
                    recurrent.splice(2 * n.., last);
                }
                gates.extend((0..n).map(|i| {
                    let factor = if linear_before_reset { reset[i] } else { 1.0 };
                    (input[2 * n + i] + factor * recurrent[2 * n + i]).tanh()
                }));
                let mixed = (0..n).map(|i| (1.0 - gates[i]) * gates[2 * n + i] + gates[i] * h[i]);
                Step {
                    h: mixed.collect(),
                    c: Vec::new(),
                    gates,
                    recurrent,
                }
            }
            Cell::Lstm => {
                let mut step = Step {
                    gates: vec![0.0; 4 * n],
                    recurrent,
                    ..Step::default()
                };
                for i in 0..n {
                    let [p_i, p_o, p_f] = [0, 1, 2].map(|gate| weights.peepholes[gate * n + i]);
                    let enter = sigmoid(sum[i] + p_i * c[i]);
                    let forget = sigmoid(sum[2 * n + i] + p_f * c[i]);
                    let new = sum[3 * n + i].tanh();
                    let cell = forget * c[i] + enter * new;
                    let leave = sigmoid(sum[n + i] + p_o * cell);
                    step.h.push(leave * cell.tanh());
                    step.c.push(cell);
                    for (gate, value) in [enter, leave, forget, new].into_iter().enumerate() {
                        step.gates[gate * n + i] = value;
                    }
                }
                step
            }
        }
    }

    /// The gradient of a step from `x`, `h`, `c` that gave `step`, given that by its end state.
    /// Gradients by the weights are added to `grads`.
    pub(super) fn step_grad(
        self,
        (weights, grads): (&Weights, &mut Weights),
        (x, h, c): (&[f64], &[f64], &[f64]),
        step: &Step,
        (dh, dc): (&[f64], &[f64]),
    ) -> StepGrad {
        let (state, cell) = (vec![0.0; h.len()], vec![0.0; c.len()]);
        let mut back = StepGrad {
            h: state,
            c: cell,
            x: vec![0.0; x.len()],
        };
        let gates = self.gate_grads((weights, grads), (h, c), step, (dh, dc), &mut back);
        affine_grad(&weights.w, x, &gates.input, &mut back.x, &mut grads.w);
        affine_grad(&weights.r, h, &gates.recurrent, &mut back.h, &mut grads.r);
        add(&mut grads.w_bias, &gates.input);
        add(&mut grads.r_bias, &gates.recurrent_bias);
        back
    }

    /// The part of [`Cell::step_grad`] before the products: gradients by the gates. What does not
    /// go through a product with a weight is added to `back`.
    pub(super) fn gate_grads(
        self,
        (weights, grads): (&Weights, &mut Weights),
        (h, c): (&[f64], &[f64]),
        step: &Step,
        (dh, dc): (&[f64], &[f64]),
        back: &mut StepGrad,
    ) -> GateGrads {
        match self {
            Cell::Rnn => {
                let da = dh.iter().zip(&step.h).map(|(d, h)| d * (1.0 - h * h));
                GateGrads::same(da.collect())
            }
            Cell::Gru {
                linear_before_reset: true,
            } => gru_linear_grad(step, h, dh, back),
            Cell::Gru {
                linear_before_reset: false,
            } => gru_grad((weights, grads), step, h, dh, back),
            Cell::Lstm => lstm_grad((weights, grads), c, step, (dh, dc), back),
        }
    }
}

fn add(sum: &mut [f64], values: &[f64]) {
    sum.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}

/// Gradients by the update and new-state gates, which both forms of a GRU share; returns them with
/// room for the reset gate's between them.
fn gru_common_grad(step: &Step, h: &[f64], dh: &[f64], back: &mut StepGrad) -> Vec<f64> {
    let n = h.len();
    let mut gates = vec![0.0; 3 * n];
    for i in 0..n {
        let (update, new) = (step.gates[i], step.gates[2 * n + i]);
        gates[i] = dh[i] * (h[i] - new) * update * (1.0 - update);
        gates[2 * n + i] = dh[i] * (1.0 - update) * (1.0 - new * new);
        back.h[i] += dh[i] * update;
    }
    gates
}

fn gru_linear_grad(step: &Step, h: &[f64], dh: &[f64], back: &mut StepGrad) -> GateGrads {
    let n = h.len();
    let mut input = gru_common_grad(step, h, dh, back);
    let mut recurrent = input.clone();
    for i in 0..n {
        let (reset, new) = (step.gates[n + i], input[2 * n + i]);
        input[n + i] = new * step.recurrent[2 * n + i] * reset * (1.0 - reset);
        recurrent[n + i] = input[n + i];
        recurrent[2 * n + i] = new * reset;
    }
    GateGrads {
        input,
        recurrent_bias: recurrent.clone(),
        recurrent,
    }
}

fn gru_grad(
    (weights, grads): (&Weights, &mut Weights),
    step: &Step,
    h: &[f64],
    dh: &[f64],
    back: &mut StepGrad,
) -> GateGrads {
    let n = h.len();
    let mut input = gru_common_grad(step, h, dh, back);
    let reset = &step.gates[n..2 * n];
    let kept: Vec<f64> = reset.iter().zip(h).map(|(r, h)| r * h).collect();
    let mut d_kept = vec![0.0; n];
    let last = 2 * n * n;
    affine_grad(
        &weights.r[last..],
        &kept,
        &input[2 * n..],
        &mut d_kept,
        &mut grads.r[last..],
    );
    for i in 0..n {
        back.h[i] += d_kept[i] * reset[i];
        input[n + i] = d_kept[i] * h[i] * reset[i] * (1.0 - reset[i]);
    }
    // The last gate's product is not with the state itself, and is done.
    GateGrads {
        recurrent: input[..2 * n].to_vec(),
        recurrent_bias: input.clone(),
        input,
    }
}

fn lstm_grad(
    (weights, grads): (&Weights, &mut Weights),
    c: &[f64],
    step: &Step,
    (dh, dc): (&[f64], &[f64]),
    back: &mut StepGrad,
) -> GateGrads {
    let n = c.len();
    let mut gates = vec![0.0; 4 * n];
    for i in 0..n {
        let [enter, leave, forget, new] = [0, 1, 2, 3].map(|gate| step.gates[gate * n + i]);
        let [p_i, p_o, p_f] = [0, 1, 2].map(|gate| weights.peepholes[gate * n + i]);
        let shown = step.c[i].tanh();
        let d_leave = dh[i] * shown * leave * (1.0 - leave);
        let d_cell = dc[i] + dh[i] * leave * (1.0 - shown * shown) + d_leave * p_o;
        let d_enter = d_cell * new * enter * (1.0 - enter);
        let d_forget = d_cell * c[i] * forget * (1.0 - forget);
        let d_new = d_cell * enter * (1.0 - new * new);
        back.c[i] += d_cell * forget + d_enter * p_i + d_forget * p_f;
        grads.peepholes[i] += d_enter * c[i];
        grads.peepholes[n + i] += d_leave * step.c[i];
        grads.peepholes[2 * n + i] += d_forget * c[i];
        for (gate, value) in [d_enter, d_leave, d_forget, d_new].into_iter().enumerate() {
            gates[gate * n + i] = value;
        }
    }
    GateGrads::same(gates)
}
