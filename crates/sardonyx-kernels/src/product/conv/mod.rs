//! Convolutions over NHWC images, as matrix products whose left side is read where it lies.
//!
//! [`window`] says which source pixels an output reads, [`stage`] brings them into scratch where
//! they reach over a border, [`core`] cuts the work into items and runs the micro-kernel over
//! them. The kernels themselves differ in operands only.

mod core;
mod forward;
mod input_gradient;
mod narrow;
mod plan;
mod pool_tile;
mod shape;
mod stage;
mod weight_gradient;
mod weight_plan;
mod weight_run;
mod weight_terms;
#[cfg(test)]
mod weight_tests;
mod window;

#[cfg(test)]
mod tests;

pub use forward::{Conv2d, ConvOptions};
pub use input_gradient::{Conv2dInputGradient, InputGradientOptions};
pub use shape::ConvShape;
pub(crate) use stage::Images;
pub use weight_gradient::{Conv2dWeightGradient, WeightGradientOptions};
pub(crate) use weight_plan::WeightSum;
pub(crate) use weight_run::{WeightCore, WeightOperands};
