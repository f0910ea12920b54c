use sardonyx_ir::{Attr, ValueId};

use crate::{Fans, Init, Layer, Result, Scope};

/// The cell of a recurrent layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecurrentKind {
    /// Elman's, with the hyperbolic tangent.
    Rnn,
    /// Gated recurrent unit (Cho et al., arXiv 1406.1078), the reset gate applied after the
    /// recurrent product as PyTorch, cuDNN and Keras do (`linear_before_reset`).
    Gru,
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997), with forget gate and without
    /// peepholes.
    Lstm,
}

/// A recurrent layer over `[N, steps, features]`, in ONNX's layout: `weight [1, gates * hidden,
/// features]`, `recurrence [1, gates * hidden, hidden]` and `bias [1, 2 * gates * hidden]`, the
/// gates in ONNX's order (`iofc` and `zrh`), initially uniform up to `1 / sqrt(hidden)`. It gives
/// the last hidden state `[N, hidden]`, or all of them `[N, steps, hidden]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recurrent {
    cell: RecurrentKind,
    hidden: usize,
    gives_sequence: bool,
    init: Option<Init>,
}

impl Recurrent {
    /// A layer with this many hidden units that gives its last state.
    pub fn new(cell: RecurrentKind, hidden: usize) -> Recurrent {
        Recurrent {
            cell,
            hidden,
            gives_sequence: false,
            init: None,
        }
    }

    /// Gives the state after each step.
    pub fn sequences(mut self) -> Recurrent {
        self.gives_sequence = true;
        self
    }

    /// Initial values of all three parameters.
    pub fn init(mut self, init: Init) -> Recurrent {
        self.init = Some(init);
        self
    }

    fn op(&self) -> (&'static str, usize) {
        match self.cell {
            RecurrentKind::Rnn => ("RNN", 1),
            RecurrentKind::Gru => ("GRU", 3),
            RecurrentKind::Lstm => ("LSTM", 4),
        }
    }
}

impl Layer for Recurrent {
    fn kind(&self) -> &'static str {
        match self.cell {
            RecurrentKind::Rnn => "rnn",
            RecurrentKind::Gru => "gru",
            RecurrentKind::Lstm => "lstm",
        }
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        scope.ranked(input, 3, "[N, steps, features]")?;
        let (features, hidden) = (scope.size(input, 2)?, self.hidden);
        if hidden == 0 {
            return Err(scope.problem(&[input], "it has no hidden units"));
        }
        let (op, gates) = self.op();
        let bound = Init::Uniform(1.0 / (hidden as f32).sqrt());
        let init = self.init.unwrap_or(bound);
        let rows = gates.saturating_mul(hidden);
        let fans = |fan_in| (init, Fans::new(fan_in, rows));
        let weight = scope.parameter("weight", &[1, rows, features], fans(features))?;
        let recurrence = scope.parameter("recurrence", &[1, rows, hidden], fans(hidden))?;
        let bias = scope.parameter("bias", &[1, rows.saturating_mul(2)], fans(hidden))?;
        let perm = [("perm", Attr::from(&[1, 0, 2][..]))];
        let steps_first = scope.node(("steps_first", "Transpose"), &[Some(input)], &perm)?;
        let mut attributes = vec![("hidden_size", Attr::Int(hidden as i64))];
        if self.cell == RecurrentKind::Gru {
            attributes.push(("linear_before_reset", Attr::Int(1)));
        }
        let inputs = [steps_first, weight, recurrence, bias].map(Some);
        if self.gives_sequence {
            let outputs = [Some("states")];
            let states = scope.nodes(("cell", op), &inputs, &attributes, &outputs)?[0];
            let axes = scope.ints("directions", &[1])?;
            let inputs = [Some(states), Some(axes)];
            let states = scope.node(("states", "Squeeze"), &inputs, &[])?;
            return scope.node(("", "Transpose"), &[Some(states)], &perm);
        }
        let outputs = [None, Some("last")];
        let last = scope.nodes(("cell", op), &inputs, &attributes, &outputs)?[0];
        let axes = scope.ints("directions", &[0])?;
        scope.node(("", "Squeeze"), &[Some(last), Some(axes)], &[])
    }
}
