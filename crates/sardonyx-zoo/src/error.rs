/// Why a model cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ZooError {
    /// A layer does not fit what it is put on, or its settings contradict each other.
    #[error("layer `{layer}` ({op} on {inputs}): {problem}")]
    Layer {
        /// The layer's full name.
        layer: String,
        /// The operator, or the kind of layer when no operator was reached.
        op: String,
        /// Types and shapes of all that the operator reads, parameters included.
        inputs: String,
        /// What does not fit, with a hint.
        problem: String,
    },
    /// Two layers, parameters or inputs have one name.
    #[error("the name `{name}` is taken; hint: give each layer of a scope its own name")]
    NameTaken {
        /// The full name.
        name: String,
    },
    /// A handle of another model.
    #[error("layer `{layer}`: the handle is of another model; hint: use handles of this model")]
    ForeignHandle {
        /// The layer that was to read it.
        layer: String,
    },
    /// No model of this name in the zoo.
    #[error("there is no model `{name}` in the zoo; hint: {hint}")]
    UnknownModel {
        /// The name that was asked for.
        name: String,
        /// The nearest name, or all of them.
        hint: String,
    },
    /// An option that this model of the zoo cannot have.
    #[error("model `{model}`: {problem}")]
    Options {
        /// The model's name.
        model: String,
        /// What is wrong, with a hint.
        problem: String,
    },
    /// The operators do not accept the finished graph.
    #[error(transparent)]
    Op(#[from] sardonyx_ops::OpError),
    /// The finished graph is malformed.
    #[error(transparent)]
    Graph(#[from] sardonyx_ir::GraphError),
    /// A parameter's tensor is malformed.
    #[error(transparent)]
    Tensor(#[from] sardonyx_tensor::TensorError),
}

/// Result of a function that builds.
pub type Result<T, E = ZooError> = std::result::Result<T, E>;
