//! Examples of the recurrent operators and of their gradients.

use super::Recurrent;
use crate::{Example, Operator, Schema};

const TIME: usize = 3;
const BATCH: usize = 2;
const INPUT: usize = 3;
const HIDDEN: usize = 2;
const RANGE: (f32, f32) = (-0.9, 0.9);

fn gates(operator: Recurrent) -> usize {
    match operator {
        Recurrent::Gru => 3,
        Recurrent::Lstm => 4,
        Recurrent::Rnn => 1,
    }
}

/// Input and weights.
fn weighted(operator: Recurrent, example: Example, directions: usize) -> Example {
    let rows = gates(operator) * HIDDEN;
    let example = example.attr("hidden_size", HIDDEN as i64);
    let example = example.uniform(&[TIME, BATCH, INPUT], RANGE);
    let example = example.uniform(&[directions, rows, INPUT], RANGE);
    example.uniform(&[directions, rows, HIDDEN], RANGE)
}

/// All inputs; sequences of the lengths given, or of the whole time.
fn full(
    operator: Recurrent,
    example: Example,
    directions: usize,
    lengths: Option<&[i32]>,
) -> Example {
    let rows = gates(operator) * HIDDEN;
    let state = [directions, BATCH, HIDDEN];
    let example = weighted(operator, example, directions).uniform(&[directions, 2 * rows], RANGE);
    let example = match lengths {
        Some(lengths) => example.values(&[BATCH], lengths.to_vec()),
        None => example.absent(),
    };
    let example = example.uniform(&state, RANGE);
    if operator != Recurrent::Lstm {
        return example.grad_by(&[0, 1, 2, 3, 5]);
    }
    let example = example
        .uniform(&state, RANGE)
        .uniform(&[directions, 3 * HIDDEN], RANGE);
    example.grad_by(&[0, 1, 2, 3, 5, 6, 7])
}

pub(super) fn forward(operator: Recurrent) -> Vec<Example> {
    let outputs = operator.n_outputs();
    let example = |name: &str| Example::new(operator.schema(), name).outputs(outputs);
    let rows = gates(operator) * HIDDEN;
    let batch_first = example("batch first")
        .attr("layout", 1i64)
        .attr("direction", "bidirectional")
        .uniform(&[BATCH, TIME, INPUT], RANGE)
        .uniform(&[2, rows, INPUT], RANGE)
        .uniform(&[2, rows, HIDDEN], RANGE)
        .absent()
        .absent()
        .uniform(&[BATCH, 2, HIDDEN], RANGE);
    let mut examples = vec![
        weighted(operator, example("plain"), 1),
        weighted(operator, example("outputs only").outputs(1), 1),
        full(operator, example("of all inputs"), 1, None),
        full(
            operator,
            example("reverse").attr("direction", "reverse"),
            1,
            Some(&[2, 3]),
        ),
        full(
            operator,
            example("both ways").attr("direction", "bidirectional"),
            2,
            Some(&[3, 0]),
        ),
        batch_first,
        example("of no time")
            .uniform(&[0, BATCH, INPUT], RANGE)
            .uniform(&[1, rows, INPUT], RANGE)
            .uniform(&[1, rows, HIDDEN], RANGE),
    ];
    if operator == Recurrent::Gru {
        let name = "linear before reset";
        let linear = example(name).attr("linear_before_reset", 1i64);
        examples.push(full(operator, linear, 1, Some(&[3, 1])));
    }
    examples
}

pub(super) fn backward(operator: Recurrent, schema: Schema) -> Vec<Example> {
    let outputs = operator.differentiable().len();
    let example = Example::new(schema, "of all inputs").outputs(outputs);
    let state = [1, BATCH, HIDDEN];
    let example = full(operator, example, 1, Some(&[3, 2]));
    let example = example.uniform(&[TIME, 1, BATCH, HIDDEN], RANGE).absent();
    let example = if operator == Recurrent::Lstm {
        example.uniform(&state, RANGE)
    } else {
        example
    };
    vec![example.no_grad("second derivatives are not supported")]
}
