use sardonyx_ir::GraphError;
use sardonyx_onnx::OnnxError;

/// Why a model file is not a graph, or a graph not a model file.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read or written, or is not an ONNX file.
    #[error(transparent)]
    File(#[from] OnnxError),
    /// The file is not a well-formed graph, or the graph not a well-formed model.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The format version is not one that is known.
    #[error("the model has IR version {found}, supported are {min} to {max}; hint: {hint}")]
    IrVersion {
        /// Version found.
        found: i64,
        /// Oldest that is read.
        min: i64,
        /// Newest that is read.
        max: i64,
        /// What to do.
        hint: &'static str,
    },
    /// A type that values here cannot have.
    #[error(
        "{what} `{name}` is {found}, which is not supported; hint: dense tensors are, of floats and \
         integers of 8 to 64 bits, bool and string"
    )]
    Type {
        /// What has the type.
        what: &'static str,
        /// Its name.
        name: String,
        /// The type, in ONNX's words.
        found: String,
    },
    /// An attribute that cannot be taken.
    #[error("{op} node `{node}`: attribute `{attribute}` {problem}")]
    Attribute {
        /// Operator.
        op: String,
        /// Node name.
        node: String,
        /// Attribute name.
        attribute: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something is said in two ways.
    #[error("{what} `{key}` is given twice, and differently")]
    Repeated {
        /// What it is.
        what: &'static str,
        /// Its key.
        key: String,
    },
    /// One of our own operators, which no other program knows, on its way in or out.
    #[error("{op} node `{node}` is part of a plan and cannot be in a model file")]
    OwnOperator {
        /// Operator.
        op: String,
        /// Node name.
        node: String,
    },
    /// The names of the classes in the model's key-value pairs are not a list of texts.
    #[error("`sardonyx.classes` of the model's metadata {problem}")]
    Classes {
        /// What is wrong.
        problem: String,
    },
}

/// Result of a model function.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;
