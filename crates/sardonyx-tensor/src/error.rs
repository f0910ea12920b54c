use crate::DType;

/// What can be wrong with a tensor made from outside data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The shape has more dimensions than [`crate::limits::MAX_RANK`].
    #[error("a tensor of rank {rank} is over the limit of {max} dimensions")]
    Rank {
        /// Rank found.
        rank: usize,
        /// Highest rank allowed.
        max: usize,
    },
    /// The product of the dimensions overflows or is over [`crate::limits::MAX_ELEMENTS`].
    #[error("shape {shape:?} has too many elements")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// Data and shape do not agree.
    #[error("shape {shape:?} needs {expected} elements, the data has {found}")]
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// Elements that the shape needs.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// A tensor of another element type was needed.
    #[error("expected a tensor of {expected}, found {found}")]
    DType {
        /// The type needed.
        expected: DType,
        /// The type found.
        found: DType,
    },
    /// Two shapes that cannot be broadcast together.
    #[error("shapes {left:?} and {right:?} cannot be broadcast together")]
    Broadcast {
        /// First shape.
        left: Vec<usize>,
        /// Second shape.
        right: Vec<usize>,
    },
}

/// Result of a tensor function.
pub type Result<T, E = TensorError> = std::result::Result<T, E>;
