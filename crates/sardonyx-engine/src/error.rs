use sardonyx_ir::GraphError;
use sardonyx_kernels::KernelError;
use sardonyx_ops::OpError;
use sardonyx_tensor::{DType, TensorError};

/// Why a graph cannot be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A value's type or shape is not fixed, so that no plan can be made.
    #[error("value `{value}` has no fixed type and shape")]
    Dynamic {
        /// The value's name.
        value: String,
    },
    /// There is no input or output of this name.
    #[error("the model has no {what} `{name}`; hint: it has {known}")]
    UnknownName {
        /// `input` or `output`.
        what: &'static str,
        /// Name asked for.
        name: String,
        /// Names that exist.
        known: String,
    },
    /// A tensor that does not fit what the model declares.
    #[error("input `{name}` is {expected}, but was given {found}{shape:?}")]
    Feed {
        /// Input's name.
        name: String,
        /// What the model declares.
        expected: String,
        /// Element type given.
        found: DType,
        /// Shape given.
        shape: Vec<usize>,
    },
    /// The number of tensors given is not that of the model's inputs.
    #[error("the model takes {expected} inputs, {found} were given")]
    InputCount {
        /// Inputs of the model.
        expected: usize,
        /// Tensors given.
        found: usize,
    },
    /// An operator's rule failed.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The graph is malformed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A kernel cannot do what the plan asks of it.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A tensor is malformed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Result of an engine function.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;
