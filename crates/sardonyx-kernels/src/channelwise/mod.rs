//! Kernels that slide windows over NHWC images and never mix channels: depthwise convolution and
//! pooling, with their gradients.
//!
//! Every one of them computes outputs from the source pixels that [`rows`] names, a vector of
//! channels at a time. Gradients gather too: each input pixel reads the windows that cover it, so
//! that items write disjoint bytes and sums have one order.

mod average_pool;
mod depthwise;
mod depthwise_weight;
mod max_pool;
mod rows;
#[cfg(test)]
mod tests;

pub use average_pool::{AveragePool, AveragePoolGradient};
pub use depthwise::{DepthwiseConv, DepthwiseConvInputGradient};
pub use depthwise_weight::DepthwiseConvWeightGradient;
pub use max_pool::{MaxPool, MaxPoolGradient};
pub use rows::WindowShape;
