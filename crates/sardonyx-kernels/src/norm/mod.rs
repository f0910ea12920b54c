//! Normalisation: over the rows of every channel (batches), and within rows (layers).

mod batch;
mod fold;
mod layer;
#[cfg(test)]
mod tests;

pub use batch::{BatchGradSums, BatchMoments, BatchShape};
pub use fold::{BatchFold, BatchGradFold};
pub use layer::{LayerNorm, LayerNormGrad, LayerNormOptions};
