//! Kernels and the machine that runs them: everything that touches memory by pointer lives here.
//!
//! The engine plans a graph into a [`Program`]: stages of chains of [`Call`]s, each a [`Kernel`]
//! over byte [`Region`]s of three [`Arena`]s. [`Program::new`] checks every region once, so that
//! [`Machine::run`] can be a safe function that allocates nothing. Kernels choose their
//! instruction set when they are made ([`Isa`]), and decompose their work into items that depend
//! on geometry alone: the same program gives the same bytes on any number of threads.
//!
//! Invariants: no graph, no IR, no protobuf, no IO, no clock, no environment, no printing. This is
//! the only crate of the engine with `unsafe`; every block says why it is sound.
#![expect(
    unsafe_code,
    reason = "vector intrinsics and concurrent disjoint writes into one arena"
)]

mod affinity;
mod arena;
mod axis;
mod axpby;
mod call;
mod channelwise;
mod elementwise;
mod error;
mod heap;
mod host;
mod isa;
mod machine;
mod memory;
mod movement;
mod norm;
mod optimizer;
mod pool;
mod probe;
mod product;
mod program;
mod random;
mod recurrent;
mod reduce;
mod simd;
mod softmax;
#[cfg(test)]
mod testing;
mod tiles;
mod trace;
mod view;

pub use arena::Arena;
pub use axpby::Axpby;
pub use call::{Access, Call, Chain, Element, Kernel, OperandSpec, Region, Run, Space, Stage};
pub use channelwise::WindowShape;
pub use channelwise::{AveragePool, AveragePoolGradient, MaxPool, MaxPoolGradient};
pub use channelwise::{DepthwiseConv, DepthwiseConvInputGradient, DepthwiseConvWeightGradient};
pub use elementwise::{Elementwise, ElementwiseProgram, ElementwiseShape, Op, Reg};
pub use error::{KernelError, RegionProblem, Result};
pub use heap::{prepare_heap, release_heap};
pub use host::{HostCall, HostFunction, HostRun};
pub use isa::Isa;
pub use machine::{Machine, Timings};
pub use memory::{Constants, Memory};
pub use movement::{AxisRun, Cast, Concat, Gather, GatherGrad, IntegerMap, IntegerOp, Permute};
pub use movement::{Remap, Select};
pub use norm::{BatchFold, BatchGradFold, BatchGradSums, BatchMoments, BatchShape};
pub use norm::{LayerNorm, LayerNormGrad, LayerNormOptions};
pub use optimizer::{ClipScale, EpsilonPlace, GradientNorm, Hyper, Optimizer, Rule};
pub use pool::Pool;
pub use probe::FmaProbe;
pub use product::{Activation, Addend, Gate};
pub use product::{Attention, AttentionAxis, AttentionMatrix, AttentionShape};
pub use product::{BatchAxis, MatMul, MatMulShape};
pub use product::{Conv2d, Conv2dInputGradient, Conv2dWeightGradient};
pub use product::{ConvOptions, ConvShape, InputGradientOptions, WeightGradientOptions};
pub use product::{Gemm, GemmOptions, GemmShape, GemmTn, GemmTnShape};
pub use product::{PackPanels, PanelMap, PanelShape, SumShards, TransposePanels, UnpackPanels};
pub use program::{ArenaLengths, Program};
pub use random::{Distribution, Dropout, DropoutOptions, RandomFill};
pub use recurrent::{RecurrentCell, Sequence, SequenceGradient, SequenceShape};
pub use reduce::{ArgReduce, Reduce, Reduction};
pub use sardonyx_tensor::DType;
pub use softmax::{CrossEntropy, CrossEntropyOptions, LabelWeight, Softmax, SoftmaxGrad};
pub use tiles::{Place, TileCall, TileOperand, Tiles};
pub use trace::{Span, Trace};
pub use view::{AxisShape, View};
