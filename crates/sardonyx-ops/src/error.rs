use sardonyx_ir::{GraphError, Node};
use sardonyx_tensor::TensorError;

/// Why a graph cannot be typed, differentiated or evaluated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OpError {
    /// No such operator here, or not in this version.
    #[error("{op} node `{node}`: {problem}")]
    Unsupported {
        /// Operator, with its domain when that is not the standard one.
        op: String,
        /// Node name.
        node: String,
        /// What is missing, with a hint.
        problem: String,
    },
    /// A node whose inputs or attributes contradict the operator's definition.
    #[error("{op} node `{node}`: {problem}")]
    Invalid {
        /// Operator, with its domain when that is not the standard one.
        op: String,
        /// Node name.
        node: String,
        /// The contradiction.
        problem: String,
    },
    /// A value that the caller has to feed is missing, or is not what the graph declares.
    #[error("input `{value}`: {problem}")]
    Feed {
        /// Input's name.
        value: String,
        /// What is wrong.
        problem: String,
    },
    /// The graph is malformed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A tensor is malformed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl OpError {
    /// An [`OpError::Invalid`] about `node`.
    pub fn invalid(node: &Node, problem: impl Into<String>) -> OpError {
        let (op, node) = (node.qualified_op(), node.name.clone());
        OpError::Invalid {
            op,
            node,
            problem: problem.into(),
        }
    }

    /// An [`OpError::Unsupported`] about `node`.
    pub fn unsupported(node: &Node, problem: impl Into<String>) -> OpError {
        let (op, node) = (node.qualified_op(), node.name.clone());
        OpError::Unsupported {
            op,
            node,
            problem: problem.into(),
        }
    }
}

/// Result of an operator function.
pub type Result<T, E = OpError> = std::result::Result<T, E>;
