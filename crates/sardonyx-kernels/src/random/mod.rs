//! Kernels that draw random numbers. Every number is a function of seed, stream and place
//! ([`sardonyx_tensor::Philox`]): nothing is remembered, and any number of threads draws the same.

mod dropout;
mod fill;

pub use dropout::{Dropout, DropoutOptions};
pub use fill::{Distribution, RandomFill};
