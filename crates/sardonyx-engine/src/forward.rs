//! The rewrites that every plan starts with, for training as for inference: constants folded,
//! images channels-last, weights packed, layers fused with what follows them; and those that a
//! differentiated graph needs once more.

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Graph, ValueId};
use sardonyx_kernels::Isa;
use sardonyx_passes::{
    FuseFor, Hoisted, Packing, apply, apply_until_stable, channels_last, drop_inference_only,
    fold_batch_norm, fold_constants, fuse, fuse_gradients, hoist, hoist_later, lift_constants,
    remake_values, remove_dead_code, sink_transposes, to_dense, to_recurrent,
};

use crate::Result;

/// What the forward rewrites are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardOptions {
    /// Instruction set of the kernels, which decides the layout of packed weights.
    pub isa: Isa,
    /// Whether the graph will be differentiated.
    pub purpose: FuseFor,
}

/// Rewrites `graph` for the machine; its symbols are bound to `symbols` first. The initializers in
/// `variable` change from run to run, so nothing computed from them is folded. Returns the
/// parameters that changed their layout.
///
/// # Errors
/// When a node is malformed or of an unknown operator.
pub fn prepare_forward(
    graph: &mut Graph,
    symbols: &BTreeMap<String, usize>,
    variable: &BTreeSet<ValueId>,
    options: ForwardOptions,
) -> Result<Vec<Hoisted>> {
    simplify(graph, symbols, variable, options)?;
    let hoisted = hoist(graph)?;
    finish(graph, variable, options.purpose)?;
    Ok(hoisted)
}

/// Rewrites `graph`, whatever its shapes, as every prediction with it would: what does so once need
/// not for every batch size, and weights that it makes are the same ones for all.
///
/// # Errors
/// When a node is malformed or of an unknown operator.
pub(crate) fn prepare_model(graph: &mut Graph) -> Result<()> {
    apply(graph, lift_constants)?;
    sardonyx_ops::infer(graph)?;
    apply_until_stable(graph, drop_inference_only)?;
    apply_until_stable(graph, |graph| fold_constants(graph, &BTreeSet::new()))?;
    apply_until_stable(graph, fold_batch_norm)?;
    remove_dead_code(graph)?;
    Ok(())
}

/// As [`prepare_forward`] for a prediction, but that weights are left to be packed where the plan
/// wants them: until then they are inputs of the graph, behind its own.
pub(crate) fn prepare_prediction(
    graph: &mut Graph,
    symbols: &BTreeMap<String, usize>,
    isa: Isa,
) -> Result<Vec<Packing>> {
    let (purpose, variable) = (FuseFor::Inference, BTreeSet::new());
    let options = ForwardOptions { isa, purpose };
    simplify(graph, symbols, &variable, options)?;
    let later = hoist_later(graph)?;
    finish(graph, &variable, purpose)?;
    Ok(later)
}

/// All but the packing of weights and what follows it.
fn simplify(
    graph: &mut Graph,
    symbols: &BTreeMap<String, usize>,
    variable: &BTreeSet<ValueId>,
    options: ForwardOptions,
) -> Result<()> {
    apply(graph, lift_constants)?;
    sardonyx_ops::bind(graph, symbols)?;
    graph
        .opsets
        .entry(sardonyx_ir::SARDONYX.to_owned())
        .or_insert(1);
    apply_until_stable(graph, drop_inference_only)?;
    apply_until_stable(graph, |graph| fold_constants(graph, variable))?;
    if options.purpose == FuseFor::Inference {
        apply_until_stable(graph, fold_batch_norm)?;
    }
    remove_dead_code(graph)?;
    let width = options.isa.panel_width();
    apply(graph, |graph| channels_last(graph, width))?;
    apply_until_stable(graph, sink_transposes)?;
    apply(graph, |graph| to_dense(graph, width))?;
    apply(graph, |graph| to_recurrent(graph, width))?;
    apply_until_stable(graph, sink_transposes)?;
    // What the transposes left behind would count as readers of what is to be fused.
    remove_dead_code(graph)?;
    apply_until_stable(graph, |graph| fuse(graph, options.purpose))?;
    Ok(())
}

fn finish(graph: &mut Graph, variable: &BTreeSet<ValueId>, purpose: FuseFor) -> Result<()> {
    if purpose == FuseFor::Inference {
        apply_until_stable(graph, |graph| fold_constants(graph, variable))?;
    }
    remove_dead_code(graph)?;
    sardonyx_ops::infer(graph)?;
    Ok(())
}

/// Rewrites a graph that [`prepare_forward`] has prepared and that has been differentiated since.
/// The graph's outputs keep their order.
///
/// # Errors
/// When a node is malformed.
pub fn prepare_backward(graph: &mut Graph) -> Result<()> {
    remove_dead_code(graph)?;
    apply_until_stable(graph, sink_transposes)?;
    remove_dead_code(graph)?;
    apply_until_stable(graph, fuse_gradients)?;
    apply(graph, remake_values)?;
    remove_dead_code(graph)?;
    sardonyx_ops::infer(graph)?;
    Ok(())
}
