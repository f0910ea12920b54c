use crate::{DType, Space};

/// What can be wrong with a kernel's geometry, a program or its arenas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// Sizes or options that the kernel cannot have.
    #[error("{kernel}: {problem}")]
    Geometry {
        /// Name of the kernel.
        kernel: &'static str,
        /// What does not fit.
        problem: String,
    },
    /// A call has more or fewer operands than its kernel.
    #[error("{kernel} takes {expected} operands, the call has {found}")]
    OperandCount {
        /// Name of the kernel.
        kernel: &'static str,
        /// Operands of the kernel.
        expected: usize,
        /// Operands of the call.
        found: usize,
    },
    /// A region is absent, short, misaligned, outside its arena or constant where it is written.
    #[error("operand {operand} of {kernel}: {problem}")]
    Operand {
        /// Name of the kernel.
        kernel: &'static str,
        /// Name of the operand.
        operand: &'static str,
        /// What is wrong with it.
        problem: RegionProblem,
    },
    /// Calls of one chain have different numbers of items.
    #[error("{kernel} has {found} items in a chain of {expected}")]
    Items {
        /// Name of the kernel.
        kernel: &'static str,
        /// Items of the chain's first call.
        expected: usize,
        /// Items of this kernel.
        found: usize,
    },
    /// Two threads could touch the same bytes of a stage, one of them writing.
    #[error("stage {stage}: {first} and {second} would touch the same bytes at the same time")]
    Race {
        /// Index of the stage.
        stage: usize,
        /// Name of one kernel.
        first: &'static str,
        /// Name of the other kernel.
        second: &'static str,
    },
    /// An arena is shorter than the program needs.
    #[error("the {space:?} arena has {found} bytes, the program needs {needed}")]
    ArenaShort {
        /// Which arena.
        space: Space,
        /// Bytes needed.
        needed: usize,
        /// Bytes found.
        found: usize,
    },
    /// Worker threads could not be started.
    #[error("cannot start {threads} worker threads: {problem}; hint: ask for fewer threads")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the operating system said.
        problem: String,
    },
}

/// What can be wrong with one region of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegionProblem {
    /// The operand is not optional and the call has none.
    #[error("is missing")]
    Missing,
    /// The region is too short.
    #[error("needs {needed} bytes ({elements} x {dtype}), the region has {found}")]
    Short {
        /// Bytes needed.
        needed: usize,
        /// Elements needed.
        elements: usize,
        /// Element type.
        dtype: DType,
        /// Bytes found.
        found: usize,
    },
    /// The offset is no multiple of 64.
    #[error("starts at byte {offset}, which is no multiple of 64")]
    Misaligned {
        /// Offset of the region.
        offset: usize,
    },
    /// The region ends behind the end of its arena.
    #[error("ends at byte {end} of a {space:?} arena of {arena} bytes")]
    Outside {
        /// End of the region.
        end: usize,
        /// Which arena.
        space: Space,
        /// Bytes of the arena.
        arena: usize,
    },
    /// The kernel writes it and it lies among the constants.
    #[error("is written and lies among the constants")]
    Constant,
    /// Another operand of the call overlaps it in a way that the kernel does not allow.
    #[error("overlaps operand {other}")]
    Overlap {
        /// Name of the other operand.
        other: &'static str,
    },
    /// Strings have no place in an arena.
    #[error("has element type {dtype}, which has no fixed size")]
    Unsized {
        /// Element type.
        dtype: DType,
    },
}

/// Result of planning a program.
pub type Result<T, E = KernelError> = std::result::Result<T, E>;
