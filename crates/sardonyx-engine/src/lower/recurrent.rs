//! Recurrent layers: all steps as one call, and back.

use sardonyx_ir::ValueId;
use sardonyx_kernels::{RecurrentCell, Sequence, SequenceGradient, SequenceShape};

use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// The layer of a node whose steps have rows of `per_unit` floats for each hidden unit, in input
/// 0; `None` where its weights are not packed for the kernels.
fn shape(cx: &LowerCx<'_>, cell: RecurrentCell, per_unit: usize) -> Result<Option<SequenceShape>> {
    let (rows, packed) = (cx.shape(cx.input(0))?, cx.shape(cx.input(1))?);
    if !cx.is_f32() || packed.get(4) != Some(&cx.isa.panel_width()) {
        return Ok(None);
    }
    let batch_first = cx.node.flag("layout", false)?;
    let (time, batch) = match batch_first {
        true => (rows[1], rows[0]),
        false => (rows[0], rows[1]),
    };
    Ok(Some(SequenceShape {
        cell,
        time,
        batch,
        hidden: rows[2] / per_unit,
        reverse: cx.node.flag("reverse", false)?,
        batch_first,
    }))
}

fn cell(cx: &LowerCx<'_>) -> RecurrentCell {
    match cx.node.op_type.as_str() {
        "GruSequence" | "GruSequenceGrad" => RecurrentCell::Gru,
        "LstmSequence" | "LstmSequenceGrad" => RecurrentCell::Lstm,
        _ => RecurrentCell::Rnn,
    }
}

/// The steps, given the inputs' products.
pub(super) fn forward(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let cell = cell(cx);
    let Some(shape) = shape(cx, cell, cell.gates())? else {
        return Ok(None);
    };
    let is_lstm = cell == RecurrentCell::Lstm;
    let input = |index| Slot::from(cx.node.input(index));
    let of_lstm = |value: Option<ValueId>| Slot::from(value.filter(|_| is_lstm));
    // Behind the last states: the states of steps, what was kept, the states before steps.
    let output = |index: usize| cx.node.output(index + usize::from(is_lstm));
    let operands = vec![
        input(0),
        input(1),
        input(2),
        input(3),
        of_lstm(cx.node.input(4)),
        output(1).into(),
        cx.node.output(0).into(),
        of_lstm(cx.node.output(1)),
        output(2).into(),
        output(3).into(),
        of_lstm(output(4)),
    ];
    Ok(Some(Lowered::call(Sequence::new(cx.isa, shape), operands)))
}

/// Back through the steps.
pub(super) fn gradient(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let cell = cell(cx);
    let Some(shape) = shape(cx, cell, cell.saved())? else {
        return Ok(None);
    };
    let of = |wanted: RecurrentCell, value: Option<ValueId>| {
        Slot::from(value.filter(|_| cell == wanted))
    };
    let input = |index| Slot::from(cx.node.input(index));
    let operands = vec![
        input(0),
        input(1),
        input(3),
        input(4),
        of(RecurrentCell::Lstm, cx.node.input(5)),
        input(2),
        Slot::Value(cx.output(0)),
        cx.node.output(1).into(),
        of(RecurrentCell::Lstm, cx.node.output(2)),
        of(RecurrentCell::Gru, cx.node.output(2)),
    ];
    let kernel = SequenceGradient::new(cx.isa, shape);
    Ok(Some(Lowered::call(kernel, operands)))
}
