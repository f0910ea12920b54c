//! Elements on the move: transposition, slices, padding, joins, look-ups, conversions; and the
//! arithmetic of integers, of which a graph's shapes and indices are made.
//!
//! Kernels that only move elements take any element type of 1, 2, 4 or 8 bytes.

mod cast;
mod concat;
mod gather;
mod integers;
mod permute;
mod remap;
mod select;
#[cfg(test)]
mod tests;
mod walk;

pub use cast::Cast;
pub use concat::Concat;
pub use gather::{Gather, GatherGrad};
pub use integers::{IntegerMap, IntegerOp};
pub use permute::Permute;
pub use remap::{AxisRun, Remap};
pub use select::Select;

use crate::{DType, KernelError, Result};

/// Bytes of one item.
const ITEM_BYTES: usize = 64 * 1024;

/// Runs `$body` with `$ty` as the unsigned integer of `$size` bytes: 1, 2, 4 or 8.
macro_rules! by_size {
    ($size:expr, $ty:ident => $body:expr) => {
        match $size {
            1 => {
                type $ty = u8;
                $body
            }
            2 => {
                type $ty = u16;
                $body
            }
            4 => {
                type $ty = u32;
                $body
            }
            _ => {
                type $ty = u64;
                $body
            }
        }
    };
}
use by_size;

/// Bytes of an element.
fn element_size(kernel: &'static str, dtype: DType) -> Result<usize> {
    dtype.size_bytes().ok_or_else(|| KernelError::Geometry {
        kernel,
        problem: format!("elements of type {dtype} have no fixed size"),
    })
}

/// Elements of one item.
fn item_len(size: usize) -> usize {
    ITEM_BYTES / size
}
