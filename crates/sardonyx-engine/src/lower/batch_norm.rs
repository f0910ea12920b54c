//! Batch normalization over channels-last rows: statistics in two calls, then one sweep.

use sardonyx_kernels::{
    BatchFold, BatchGradFold, BatchGradSums, BatchMoments, BatchShape, Gate, Op,
};
use sardonyx_ops::ops::batch_norm_nhwc::{GRADIENT_BIAS, REMADE, RESIDUAL, SAVED};
use sardonyx_ops::ops::batch_normalization::SAMPLE_VARIANCE;
use sardonyx_ops::ops::gate::Activation;

use super::dense::activation as kernel_activation;
use super::elementwise::Fused;
use super::{LowerCx, Lowered, Slot};
use crate::Result;

fn batch_shape(shape: &[usize]) -> BatchShape {
    let (channels, rows) = shape
        .split_last()
        .map_or((0, &[][..]), |(c, rows)| (*c, rows));
    BatchShape {
        rows: rows.iter().product(),
        channels,
    }
}

/// What the statistics' kernels make of `x`: an element per channel each.
struct Statistics {
    mean: Slot,
    inv_std: Slot,
    slope: Slot,
}

impl Statistics {
    /// Adds the calls that work them out of input 0. `saved` are the outputs that keep the first
    /// two, `next` the running statistics (input) with their next values (output).
    fn of_batch(
        lowered: &mut Lowered,
        cx: &LowerCx<'_>,
        saved: [Slot; 2],
        running: [[Slot; 2]; 2],
    ) -> Result<Statistics> {
        let shape = batch_shape(&cx.shape(cx.input(0))?);
        let partials = lowered.temporary(shape.partials_len());
        let x = Slot::Value(cx.input(0));
        lowered.push(BatchMoments::new(cx.isa, shape), vec![x, partials]);
        let [mean, inv_std] = saved.map(|slot| match slot {
            Slot::Absent => lowered.temporary(shape.channels),
            kept => kept,
        });
        let slope = lowered.temporary(shape.channels);
        let epsilon = f64::from(cx.node.float("epsilon", 1e-5)?);
        let momentum = f64::from(cx.node.float("momentum", 0.9)?);
        let mut operands = vec![partials, Slot::Value(cx.input(1)), mean, inv_std, slope];
        operands.extend(running.map(|[old, _]| old));
        operands.extend(running.map(|[_, next]| next));
        let mut fold = BatchFold::new(shape, epsilon, momentum);
        if cx.node.flag(SAMPLE_VARIANCE, false)? {
            fold = fold.with_unbiased_running();
        }
        lowered.push(fold, operands);
        Ok(Statistics {
            mean,
            inv_std,
            slope,
        })
    }
}

pub(super) fn forward(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    if !cx.is_f32() {
        return Ok(None);
    }
    let mut lowered = Lowered::default();
    let saved = SAVED.map(|output| cx.node.output(output).into());
    let running = [1, 2].map(|output| match cx.node.output(output) {
        None => [Slot::Absent; 2],
        next => [Slot::Value(cx.input(2 + output)), next.into()],
    });
    let statistics = Statistics::of_batch(&mut lowered, cx, saved, running)?;
    let dims = cx.shape(cx.input(0))?;
    let channels = dims[dims.len() - 1..].to_vec();
    let mut fused = Fused::new(dims);
    let x = fused.value(cx, cx.input(0))?;
    let mean = fused.floats(statistics.mean, &channels)?;
    let slope = fused.floats(statistics.slope, &channels)?;
    let bias = fused.value(cx, cx.input(2))?;
    let distance = fused.push(Op::Sub, &[x, mean])?;
    let mut y = fused.push(Op::MulAdd, &[distance, slope, bias])?;
    if let Some(residual) = cx.node.input(RESIDUAL) {
        let residual = fused.value(cx, residual)?;
        y = fused.push(Op::Add, &[y, residual])?;
    }
    let y = fused.activate(Activation::of(cx.node)?, y)?;
    fused.finish(&mut lowered, cx, &[(y, Slot::Value(cx.output(0)))])?;
    Ok(Some(lowered))
}

/// The statistics that were saved, with the slope made of them.
fn saved(lowered: &mut Lowered, cx: &LowerCx<'_>, inputs: [Slot; 2]) -> Result<Statistics> {
    let channels = cx.shape(cx.input(1))?;
    let mut fused = Fused::new(channels.clone());
    let scale = fused.value(cx, cx.input(1))?;
    let inv_std = fused.floats(inputs[1], &channels)?;
    let product = fused.push(Op::Mul, &[scale, inv_std])?;
    let slope = lowered.temporary(channels[0]);
    fused.finish(lowered, cx, &[(product, slope)])?;
    Ok(Statistics {
        mean: inputs[0],
        inv_std: inputs[1],
        slope,
    })
}

/// `slope dy + (x - mean) bend + shift`, where bend and shift come from two sums over the batch.
/// What an activation made of `(x - mean) slope + bias` is written on the way where it is asked
/// for: into the memory of `x`, if nothing else reads that.
pub(super) fn gradient(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let activation = Activation::of(cx.node)?;
    let gate = Gate::of(kernel_activation(activation));
    let (bias, remade) = (cx.node.input(GRADIENT_BIAS), cx.node.output(REMADE));
    let is_known = bias.is_some() == gate.is_some() && (remade.is_none() || bias.is_some());
    if !cx.is_f32() || !is_known {
        return Ok(None);
    }
    let mut lowered = Lowered::default();
    let statistics = match [cx.node.input(3), cx.node.input(4)] {
        [Some(mean), Some(inv_std)] => saved(&mut lowered, cx, [mean, inv_std].map(Slot::Value))?,
        _ => Statistics::of_batch(&mut lowered, cx, [Slot::Absent; 2], [[Slot::Absent; 2]; 2])?,
    };
    let dims = cx.shape(cx.input(0))?;
    let shape = batch_shape(&dims);
    let partials = lowered.temporary(shape.partials_len());
    let (x, dy) = (Slot::Value(cx.input(0)), Slot::Value(cx.input(2)));
    let sums = BatchGradSums::new(cx.isa, shape, gate.unwrap_or(Gate::RELU));
    let gating = bias.map(|bias| [statistics.slope, Slot::Value(bias)]);
    let [slope, bias] = gating.unwrap_or([Slot::Absent; 2]);
    lowered.push(sums, vec![x, dy, statistics.mean, slope, bias, partials]);
    let [bend, shift] = [(); 2].map(|()| lowered.temporary(shape.channels));
    let operands = vec![
        partials,
        statistics.inv_std,
        statistics.slope,
        cx.node.output(1).into(),
        cx.node.output(2).into(),
        bend,
        shift,
    ];
    lowered.push(BatchGradFold::new(shape), operands);
    let channels = [shape.channels];
    let mut fused = Fused::new(dims);
    let (x, mut dy) = (fused.value(cx, cx.input(0))?, fused.value(cx, cx.input(2))?);
    let mean = fused.floats(statistics.mean, &channels)?;
    let [slope, bend, shift] =
        [statistics.slope, bend, shift].map(|slot| fused.floats(slot, &channels));
    let (slope, bend, shift) = (slope?, bend?, shift?);
    let distance = fused.push(Op::Sub, &[x, mean])?;
    let mut made = Vec::new();
    if let Slot::Value(bias) = bias {
        let bias = fused.value(cx, bias)?;
        let argument = fused.push(Op::MulAdd, &[distance, slope, bias])?;
        // Behind the gate, `x` and `dy` have been read: the value may go where they are.
        dy = fused.gate(activation, argument, dy)?;
        if let Some(remade) = remade {
            let value = fused.activate(activation, argument)?;
            made.push((value, Slot::Value(remade)));
        }
    }
    let bent = fused.push(Op::MulAdd, &[distance, bend, shift])?;
    let dx = fused.push(Op::MulAdd, &[slope, dy, bent])?;
    made.insert(0, (dx, Slot::Value(cx.output(0))));
    fused.finish(&mut lowered, cx, &made)?;
    Ok(Some(lowered))
}
