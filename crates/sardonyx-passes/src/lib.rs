//! Rewrites: one file each, from a graph to labelled patches of it.
//!
//! A pass only reads the graph and returns [`sardonyx_ir::Patch`]es; [`apply`] changes the graph,
//! infers the new values and, in debug builds, verifies the result. Passes that keep a model a
//! valid ONNX file (`lift_constants`, `fold_batch_norm`, ...) serve saved models; those that bring
//! in operators of our own domain (`channels_last`, `fuse`, `pack`, ...) serve plans only.
//!
//! Invariants: no kernels, no IO, no state; the same graph gives the same patches.

mod ancestry;
mod autodiff;
mod channels_last;
mod dead_code;
mod drop_inference_only;
mod fold_batch_norm;
mod fold_constants;
mod fuse;
mod fuse_gradients;
mod hoist;
mod lift_constants;
mod parameters;
mod remake_values;
mod runner;
mod samples;
mod sink_transposes;
mod to_dense;
mod to_recurrent;
mod train_mode;
mod untie;

pub use autodiff::differentiate;
pub use channels_last::channels_last;
pub use dead_code::{remove_dead_code, trim_outputs};
pub use drop_inference_only::drop_inference_only;
pub use fold_batch_norm::fold_batch_norm;
pub use fold_constants::fold_constants;
pub use fuse::{FuseFor, fuse};
pub use fuse_gradients::fuse_gradients;
pub use hoist::{Hoisted, Layout, Packing, hoist, hoist_later};
pub use lift_constants::lift_constants;
pub use parameters::{CONSTANTS_KEY, trainable_parameters};
pub use remake_values::remake_values;
pub use runner::{apply, apply_until_stable};
pub use samples::treats_samples_apart;
pub use sardonyx_ops::{OpError, Result};
pub use sink_transposes::sink_transposes;
pub use to_dense::to_dense;
pub use to_recurrent::to_recurrent;
pub use train_mode::{StateLink, train_mode};
pub use untie::untie_parameters;
