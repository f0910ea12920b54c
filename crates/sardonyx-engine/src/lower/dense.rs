//! Fully connected layers over packed weights.

use sardonyx_kernels::{
    Activation as KernelActivation, Addend, Gate, Gemm, GemmOptions, GemmShape, GemmTn,
    GemmTnShape, PackPanels, PanelMap, PanelShape, TransposePanels, UnpackPanels,
};
use sardonyx_ops::ops::dense::DENSE_SLOTS;
use sardonyx_ops::ops::gate::Activation;
use sardonyx_ops::ops::panels::{WeightForm, packed_shape, weight_form};

use super::conv::ShardSums;
use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// The kernels' word for a plan operator's activation.
pub(super) fn activation(activation: Activation) -> KernelActivation {
    match activation {
        Activation::None => KernelActivation::None,
        Activation::Relu => KernelActivation::Relu,
        Activation::Clip { low, high } => KernelActivation::Clip { low, high },
        Activation::LeakyRelu { slope } => KernelActivation::LeakyRelu { slope },
        Activation::HardSigmoid { slope, offset } => {
            KernelActivation::HardSigmoid { slope, offset }
        }
        Activation::HardSwish => KernelActivation::HardSwish,
    }
}

/// The gate that a node's attributes name, where it has the value that it is read off.
pub(super) fn gate(cx: &LowerCx<'_>, slot: usize) -> Result<Option<Gate>> {
    let gate = Gate::of(activation(Activation::gate_of(cx.node)?));
    Ok(gate.filter(|_| cx.node.input(slot).is_some()))
}

pub(super) fn dense(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (x, weight, y) = (cx.input(0), cx.input(1), cx.output(0));
    let (xs, ys, packed) = (cx.shape(x)?, cx.shape(y)?, cx.shape(weight)?);
    if !cx.is_f32() || packed.get(4) != Some(&cx.isa.panel_width()) {
        return Ok(None);
    }
    let (k, n) = (packed[3], ys[ys.len() - 1]);
    let m = xs[..xs.len() - 1].iter().product();
    let residual = cx.node.input(3);
    let options = GemmOptions {
        addend: if residual.is_some() {
            Addend::Residual
        } else {
            Addend::Nothing
        },
        activation: activation(Activation::of(cx.node)?),
        gate: gate(cx, DENSE_SLOTS[1])?,
        rows_per_item: None,
    };
    let gemm = Gemm::new(cx.isa, GemmShape::dense(m, n, k), options)?;
    let operands = vec![
        Slot::Value(x),
        Slot::Value(weight),
        cx.node.input(2).into(),
        residual.into(),
        cx.node.input(DENSE_SLOTS[1]).into(),
        Slot::Value(y),
    ];
    Ok(Some(Lowered::call(gemm, operands)))
}

/// The gradients by a dense layer's weight and bias.
pub(super) fn weight_grad(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (x, dy) = (cx.input(0), cx.input(1));
    let (xs, dys) = (cx.shape(x)?, cx.shape(dy)?);
    let width = usize::try_from(cx.node.int("width", 0)?).unwrap_or(0);
    if !cx.is_f32() || width != cx.isa.panel_width() {
        return Ok(None);
    }
    let (k, n) = (xs[xs.len() - 1], dys[dys.len() - 1]);
    let m = xs[..xs.len() - 1].iter().product();
    let kernel = GemmTn::new(cx.isa, GemmTnShape::dense(m, k, n), 0, false)?;
    let mut lowered = Lowered::default();
    let weight_len = PanelShape::dense(k, n).len(cx.isa);
    let sums = ShardSums::new(&mut lowered, cx, kernel.shards(), weight_len)?;
    let operands = vec![Slot::Value(x), Slot::Value(dy), sums.weight, sums.bias];
    lowered.push(kernel, operands);
    sums.finish(&mut lowered, cx);
    Ok(Some(lowered))
}

pub(super) fn transpose_panels(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let (from, to) = (cx.input(0), cx.output(0));
    let packed = cx.shape(from)?;
    if !cx.is_f32() || packed.get(4) != Some(&cx.isa.panel_width()) {
        return Ok(None);
    }
    let n = usize::try_from(cx.node.int("n", 0)?).unwrap_or(0);
    let shape = PanelShape {
        groups: packed[0],
        n,
        taps: packed[2],
        inner: packed[3],
    };
    let kernel = TransposePanels::new(cx.isa, shape);
    Ok(Some(Lowered::call(
        kernel,
        vec![Slot::Value(from), Slot::Value(to)],
    )))
}

/// Weights that are packed or unpacked while the plan runs.
pub(super) fn pack_panels(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let packs = cx.node.is_own("PackPanels");
    let (from, to) = (cx.input(0), cx.output(0));
    let unpacked = cx.shape(if packs { from } else { to })?;
    let packed = packed_shape(cx.node, &unpacked)?;
    if !cx.is_f32() || packed.width != cx.isa.panel_width() {
        return Ok(None);
    }
    let (k, n) = (packed.inner, packed.n);
    let map = match weight_form(cx.node)? {
        WeightForm::Matrix => PanelMap::matrix(k, n),
        WeightForm::MatrixTransposed => PanelMap::matrix_transposed(k, n),
        WeightForm::Convolution => {
            PanelMap::convolution(packed.groups, n * packed.groups, k, packed.taps)
        }
    };
    let operands = vec![Slot::Value(from), Slot::Value(to)];
    Ok(Some(if packs {
        Lowered::call(PackPanels::new(cx.isa, map), operands)
    } else {
        Lowered::call(UnpackPanels::new(cx.isa, map), operands)
    }))
}
