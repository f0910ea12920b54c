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

/// All inputs but those that only some runtimes know: lengths and peepholes.
fn whole(operator: Recurrent, example: Example) -> Example {
    let example = match operator {
        Recurrent::Gru => example.attr("linear_before_reset", 1i64),
        Recurrent::Lstm | Recurrent::Rnn => example,
    };
    let rows = gates(operator) * HIDDEN;
    let state = [2, BATCH, HIDDEN];
    let example = weighted(operator, example.attr("direction", "bidirectional"), 2)
        .uniform(&[2, 2 * rows], RANGE)
        .absent()
        .uniform(&state, RANGE);
    match operator {
        Recurrent::Lstm => example.uniform(&state, RANGE),
        Recurrent::Gru | Recurrent::Rnn => example,
    }
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
    examples.push(whole(operator, example("of whole sequences both ways")));
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

/// Panels of the plan operators' examples.
const WIDTH: usize = 4;

/// Products of the inputs and packed recurrent weights for `hidden` units.
fn products(operator: Recurrent, example: Example, batch_first: bool, hidden: usize) -> Example {
    let columns = gates(operator) * hidden;
    let rows = if batch_first {
        [BATCH, TIME, columns]
    } else {
        [TIME, BATCH, columns]
    };
    let panels = columns.div_ceil(WIDTH);
    let weight = |index: usize| {
        let column = index / (hidden * WIDTH) * WIDTH + index % WIDTH;
        let value = ((index * 7 % 11) as f32 - 5.0) / 7.0;
        if column < columns { value } else { 0.0 }
    };
    let packed = (0..panels * hidden * WIDTH).map(weight).collect();
    example
        .attr("layout", i64::from(batch_first))
        .uniform(&rows, RANGE)
        .values(&[1, panels, 1, hidden, WIDTH], packed)
}

pub(super) fn sequence(operator: Recurrent, schema: Schema) -> Vec<Example> {
    let (is_lstm, results) = match operator {
        Recurrent::Lstm => (true, 3),
        Recurrent::Gru | Recurrent::Rnn => (false, 2),
    };
    let example = |name: &str| Example::new(schema, name).outputs(results);
    let plain = products(operator, example("plain"), false, 3).grad_by(&[0]);
    let started = example("with bias and initial states").attr("reverse", 1i64);
    // As many columns as fill their panels, behind which the weights have no gradient.
    let mut started = products(operator, started, true, 4)
        .uniform(&[4 * gates(operator)], RANGE)
        .uniform(&[BATCH, 4], RANGE)
        .grad_by(&[0, 1, 2, 3]);
    if is_lstm {
        started = started
            .uniform(&[BATCH, 4], RANGE)
            .grad_by(&[0, 1, 2, 3, 4]);
    }
    let all = example("with all outputs").outputs(schema.max_outputs);
    let all =
        products(operator, all, false, 2).no_grad("what is kept for the gradient is no result");
    vec![plain, started, all]
}

pub(super) fn sequence_grad(operator: Recurrent, schema: Schema) -> Vec<Example> {
    let (saved, columns) = match operator {
        Recurrent::Gru | Recurrent::Lstm => (4, gates(operator) * HIDDEN),
        Recurrent::Rnn => (1, HIDDEN),
    };
    let reason = "it is part of a gradient itself";
    let example = |name: &str| {
        let made = Example::new(schema, name).outputs(schema.max_outputs);
        let made = made
            .uniform(&[TIME, BATCH, saved * HIDDEN], (0.1, 0.9))
            .uniform(&[1, HIDDEN.div_ceil(WIDTH), 1, columns, WIDTH], RANGE);
        match operator {
            Recurrent::Rnn => made.absent(),
            Recurrent::Gru | Recurrent::Lstm => made.uniform(&[TIME, BATCH, HIDDEN], RANGE),
        }
    };
    let states = [TIME, BATCH, HIDDEN];
    let both = example("by all states").attr("reverse", 1i64);
    let both = both
        .uniform(&states, RANGE)
        .uniform(&[BATCH, HIDDEN], RANGE);
    let both = match operator {
        Recurrent::Lstm => both.uniform(&[BATCH, HIDDEN], RANGE),
        Recurrent::Gru | Recurrent::Rnn => both,
    };
    let last = example("by the last state").absent();
    let last = last.uniform(&[BATCH, HIDDEN], RANGE);
    vec![both.no_grad(reason), last.no_grad(reason)]
}
