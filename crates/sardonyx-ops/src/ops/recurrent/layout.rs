//! What a recurrent node's attributes and shapes say: its sizes, where things lie in its tensors,
//! and in what order its directions go through time.

use sardonyx_ir::{Attr, Node};
use sardonyx_tensor::Tensor;

use super::cell::{Cell, Weights};
use crate::{OpError, Result};

/// Sizes and order of a node's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) time: usize,
    pub(super) batch: usize,
    /// Elements of an input.
    pub(super) input: usize,
    /// Elements of a state.
    pub(super) hidden: usize,
    pub(super) directions: usize,
    /// The batch is the first axis, not the second.
    batch_first: bool,
    /// The first direction goes backwards.
    reverse: bool,
}

/// Number of directions that `node` has, after a check of the attributes that are not supported.
pub(super) fn directions(node: &Node, cell: Cell) -> Result<usize> {
    let directions = match node.text("direction", "forward")? {
        "forward" | "reverse" => 1,
        "bidirectional" => 2,
        _ => {
            let problem = "must be forward, reverse or bidirectional";
            return Err(node.attribute_error("direction", problem).into());
        }
    };
    for name in ["clip", "input_forget"] {
        let plain = matches!(node.attributes.get(name), None | Some(Attr::Int(0)));
        if !plain {
            return Err(OpError::unsupported(
                node,
                format!("the attribute `{name}` is not supported"),
            ));
        }
    }
    let default = cell.activations();
    match node.attributes.get("activations") {
        None => {}
        Some(Attr::Strings(names)) => {
            let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
            let expected = default.iter().cycle().take(directions * default.len());
            if !names
                .iter()
                .map(Vec::as_slice)
                .eq(expected.map(|name| name.as_bytes()))
            {
                let problem = "activations other than the default ones are not supported";
                return Err(OpError::unsupported(node, problem));
            }
        }
        Some(_) => {
            return Err(node
                .attribute_error("activations", "must be strings")
                .into());
        }
    }
    Ok(directions)
}

/// Whether `node` has the batch as the first axis.
pub(super) fn is_batch_first(node: &Node) -> Result<bool> {
    Ok(node.flag("layout", false)?)
}

/// The inputs of a node that has this `cell`, in the operator's order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) cell: Cell,
    pub(super) x: &'a Tensor,
    pub(super) w: &'a Tensor,
    pub(super) r: &'a Tensor,
    pub(super) bias: Option<&'a Tensor>,
    pub(super) lengths: Option<&'a Tensor>,
    pub(super) h: Option<&'a Tensor>,
    pub(super) c: Option<&'a Tensor>,
    pub(super) peepholes: Option<&'a Tensor>,
}

impl Layout {
    /// The layout of `node` with these inputs, all of which are checked against it.
    pub(super) fn of(node: &Node, inputs: &Inputs<'_>) -> Result<Layout> {
        let ([first, second, input], [_, _, hidden]) = (inputs.x.shape(), inputs.r.shape()) else {
            return Err(OpError::invalid(
                node,
                "its input and weights must have three axes",
            ));
        };
        let batch_first = is_batch_first(node)?;
        let (time, batch) = if batch_first {
            (*second, *first)
        } else {
            (*first, *second)
        };
        let layout = Layout {
            time,
            batch,
            input: *input,
            hidden: *hidden,
            directions: directions(node, inputs.cell)?,
            batch_first,
            reverse: node.text("direction", "forward")? == "reverse",
        };
        let (d, rows) = (layout.directions, inputs.cell.gates() * hidden);
        let state = layout.state_shape();
        let expected: [(&str, Option<&Tensor>, &[usize]); 7] = [
            ("W", Some(inputs.w), &[d, rows, *input]),
            ("R", Some(inputs.r), &[d, rows, *hidden]),
            ("B", inputs.bias, &[d, 2 * rows]),
            ("sequence_lens", inputs.lengths, &[batch]),
            ("initial_h", inputs.h, &state),
            ("initial_c", inputs.c, &state),
            ("P", inputs.peepholes, &[d, 3 * hidden]),
        ];
        for (name, tensor, shape) in expected {
            if let Some(tensor) = tensor.filter(|tensor| tensor.shape() != shape) {
                let found = tensor.shape();
                let problem = format!("`{name}` has shape {found:?}, not {shape:?}");
                return Err(OpError::invalid(node, problem));
            }
        }
        Ok(layout)
    }

    /// Shape of the states.
    pub(super) fn state_shape(&self) -> [usize; 3] {
        let (d, b) = (self.directions, self.batch);
        if self.batch_first {
            [b, d, self.hidden]
        } else {
            [d, b, self.hidden]
        }
    }

    /// Shape of all outputs.
    pub(super) fn output_shape(&self) -> [usize; 4] {
        let (t, d, b, h) = (self.time, self.directions, self.batch, self.hidden);
        if self.batch_first {
            [b, t, d, h]
        } else {
            [t, d, b, h]
        }
    }

    /// Where the input of a sequence at a time starts.
    pub(super) fn input_at(&self, time: usize, sequence: usize) -> usize {
        let row = if self.batch_first {
            sequence * self.time + time
        } else {
            time * self.batch + sequence
        };
        row * self.input
    }

    /// Where the output of a sequence at a time starts.
    pub(super) fn output_at(&self, time: usize, direction: usize, sequence: usize) -> usize {
        let row = if self.batch_first {
            (sequence * self.time + time) * self.directions + direction
        } else {
            (time * self.directions + direction) * self.batch + sequence
        };
        row * self.hidden
    }

    /// Where the state of a sequence starts.
    pub(super) fn state_at(&self, direction: usize, sequence: usize) -> usize {
        let row = if self.batch_first {
            sequence * self.directions + direction
        } else {
            direction * self.batch + sequence
        };
        row * self.hidden
    }

    /// The times of a sequence of `length` steps in the order in which a direction takes them.
    pub(super) fn times(&self, direction: usize, length: usize) -> Vec<usize> {
        let mut times: Vec<usize> = (0..length).collect();
        if self.reverse || direction == 1 {
            times.reverse();
        }
        times
    }

    /// Number of steps of each sequence.
    pub(super) fn lengths(&self, node: &Node, lengths: Option<&Tensor>) -> Result<Vec<usize>> {
        let Some(lengths) = lengths else {
            return Ok(vec![self.time; self.batch]);
        };
        let length = |n: i64| {
            let n = usize::try_from(n).ok().filter(|&n| n <= self.time);
            n.ok_or_else(|| OpError::invalid(node, "a sequence is longer than the input"))
        };
        lengths.to_i64()?.into_iter().map(length).collect()
    }

    /// The weights of each direction.
    pub(super) fn weights(&self, inputs: &Inputs<'_>) -> Result<Vec<Weights>> {
        let (w, r) = (inputs.w.to_f64()?, inputs.r.to_f64()?);
        let or_zeros = |tensor: Option<&Tensor>, count: usize| match tensor {
            Some(tensor) => tensor.to_f64(),
            None => Ok(vec![0.0; count]),
        };
        let (d, n) = (self.directions, inputs.cell.gates() * self.hidden);
        let bias = or_zeros(inputs.bias, d * 2 * n)?;
        let peepholes = or_zeros(inputs.peepholes, d * 3 * self.hidden)?;
        let part = |values: &[f64], index: usize, count: usize| {
            values[index * count..(index + 1) * count].to_vec()
        };
        let weights = |direction: usize| Weights {
            w: part(&w, direction, n * self.input),
            r: part(&r, direction, n * self.hidden),
            w_bias: part(&bias, 2 * direction, n),
            r_bias: part(&bias, 2 * direction + 1, n),
            peepholes: part(&peepholes, direction, 3 * self.hidden),
        };
        Ok((0..d).map(weights).collect())
    }
}
