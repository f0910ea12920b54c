//! Matrix products and convolutions: one micro-kernel, many ways to point it at memory.
//!
//! Everything here is a sum over `k` of a broadcast element of A times a row of a packed B, held
//! in registers for a tile of rows: a matrix product, a convolution, its input gradient and its
//! weight gradient differ only in where the rows of A start, how a step along `k` moves, and what
//! B is ([`micro`]). [`sweep`] walks the tiles of one work item in a cache-friendly order.

mod attention;
mod conv;
mod edge;
mod epilogue;
mod gemm;
mod gemm_tn;
mod matmul;
mod micro;
mod pack;
mod panels;
mod shards;
pub(crate) mod sweep;

pub use attention::{Attention, AttentionAxis, AttentionMatrix, AttentionShape};
pub use conv::{
    Conv2d, Conv2dInputGradient, Conv2dWeightGradient, ConvOptions, ConvShape,
    InputGradientOptions, WeightGradientOptions,
};
pub use epilogue::{Activation, Addend, Gate};
pub use gemm::{Gemm, GemmOptions, GemmShape};
pub use gemm_tn::{GemmTn, GemmTnShape};
pub use matmul::{BatchAxis, MatMul, MatMulShape};
pub(crate) use micro::{Finish, Micro, Segment, Start};
pub use panels::{PackPanels, PanelMap, PanelShape, TransposePanels, UnpackPanels};
pub use shards::SumShards;
pub(crate) use sweep::{Piece, Sweep, SweepRows, even_part, pieces, rows_scratch, split_scratch};
