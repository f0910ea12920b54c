/// What can be wrong with a graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GraphError {
    /// Nodes depend on each other in a circle.
    #[error("the graph has a cycle through node `{node}`")]
    Cycle {
        /// A node on the cycle.
        node: String,
    },
    /// A value that is used has no producer, and is neither an input nor an initializer.
    #[error("value `{value}` is used by `{user}` but nothing produces it")]
    Undefined {
        /// The value's name.
        value: String,
        /// Who uses it.
        user: String,
    },
    /// Two places define one value.
    #[error("value `{value}` is defined more than once")]
    Redefined {
        /// The value's name.
        value: String,
    },
    /// Two values have one name.
    #[error("two values have the name `{name}`")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Something that needs a name has an empty one.
    #[error("{what} has no name")]
    Unnamed {
        /// What it is.
        what: &'static str,
    },
    /// A graph is larger than anything sensible.
    #[error("the model has more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Subgraphs or function calls are nested too deep.
    #[error("{what} are nested deeper than {max}")]
    TooDeep {
        /// What is nested.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A model's own function cannot be put in the place of its calls.
    #[error("function `{function}` {problem}")]
    Function {
        /// Domain and name.
        function: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nodes use an operator set whose version is not said.
    #[error(
        "nodes use operator set `{domain}`, but the model imports no version of it; hint: add it to \
         the model's opset_import"
    )]
    MissingOpset {
        /// Domain of the operator set.
        domain: String,
    },
    /// A node has fewer inputs than its subgraphs capture.
    #[error("{op} node `{node}` has fewer inputs than its subgraphs read")]
    Captures {
        /// Operator.
        op: String,
        /// Node name.
        node: String,
    },
    /// An initializer's tensor differs from the value's declared type or shape.
    #[error("initializer `{value}` is {found}, but the graph declares {declared}")]
    InitializerMismatch {
        /// The value's name.
        value: String,
        /// What was declared.
        declared: String,
        /// What the tensor is.
        found: String,
    },
    /// A node lacks an attribute, or has one of another type.
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
}

/// Result of a graph function.
pub type Result<T, E = GraphError> = std::result::Result<T, E>;
