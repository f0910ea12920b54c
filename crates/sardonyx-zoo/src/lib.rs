//! Layers that emit ONNX graphs, and the zoo of models built from them.
//!
//! A [`Model`] is put together layer by layer, as in Keras's `Sequential`, with branches and
//! closures for residual blocks. Each layer's types and shapes are inferred as it is put, so that
//! an error names the layer and both shapes. [`Model::build`] draws the parameters and gives a
//! [`Graph`](sardonyx_ir::Graph) with a symbolic batch `N`, named nodes and initializers
//! (`conv2d_1.weight`), and nothing but standard operators. The [`zoo`] holds well-known networks
//! under torchvision's parameter names and counts.
//!
//! To add a layer: a new file in `layers/` with a struct that implements [`Layer`], its line in
//! `layers/mod.rs`, and a short method in `fluent.rs` when it is in common use. To add a model: its
//! builder in a file of `zoo/` and its line in the sorted table of `zoo/mod.rs`.
//!
//! Invariants: no IO, no clock, no protobuf; the same model and seed give the same bytes, on every
//! machine and whatever the order of building.

mod defaults;
mod error;
mod fluent;
mod init;
mod input;
pub mod layers;
mod model;
mod scope;
pub mod zoo;

pub use defaults::Defaults;
pub use error::{Result, ZooError};
pub use init::{Distribution, Fan, Fans, Init, Seed};
pub use input::Input;
pub use layers::Layer;
pub use model::{Handle, Model};
pub use scope::{CONSTANTS_KEY, Scope};
