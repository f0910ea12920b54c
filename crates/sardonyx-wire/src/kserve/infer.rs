use sardonyx_tensor::Tensor;

use crate::Value;

/// An infer request, whatever it was encoded as.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferRequest {
    /// What the client calls it; empty for nothing.
    pub id: String,
    /// Priority, 1 the highest; 0 for the model's default.
    pub priority: u64,
    /// Longest time that it may take, in microseconds; 0 for the model's default.
    pub timeout_us: u64,
    /// The sequence that it belongs to.
    pub sequence_id: Option<SequenceId>,
    /// Whether it opens its sequence.
    pub sequence_start: bool,
    /// Whether it closes its sequence.
    pub sequence_end: bool,
    /// Whether outputs that do not say otherwise are wanted as binary data.
    pub binary_output: bool,
    /// Every other parameter, by name.
    pub parameters: Vec<(String, Parameter)>,
    /// The inputs, in the order of the request.
    pub inputs: Vec<InferInput>,
    /// The outputs that are wanted; none means all.
    pub outputs: Vec<RequestedOutput>,
}

/// What a sequence is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SequenceId {
    /// By number; never 0.
    Number(u64),
    /// By text; never empty.
    Text(String),
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// An integer without sign, over the range of the others.
    Unsigned(u64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// An input of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct InferInput {
    /// Its name.
    pub name: String,
    /// Its elements. `BYTES` come as [`Value::Bytes`].
    pub value: Value,
}

/// An output that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// Whether it is wanted as binary data, when that was said.
    pub binary: Option<bool>,
    /// How many of the highest classes are wanted in its place; 0 for the output itself.
    pub classification: usize,
}

impl InferRequest {
    /// Whether this output is wanted as binary data in a reply over HTTP.
    pub fn is_binary(&self, output: &str) -> bool {
        let wanted = self.outputs.iter().find(|wanted| wanted.name == output);
        wanted
            .and_then(|wanted| wanted.binary)
            .unwrap_or(self.binary_output)
    }
}

/// A reply, before it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct InferReply<'a> {
    /// Name of the model.
    pub model_name: &'a str,
    /// The version that answered.
    pub model_version: &'a str,
    /// What the client called the request; empty for nothing.
    pub id: &'a str,
    /// The outputs, in order.
    pub outputs: Vec<ReplyOutput<'a>>,
}

/// An output of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyOutput<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its elements.
    pub tensor: &'a Tensor,
    /// Whether it goes as binary data (over HTTP; over gRPC every output does).
    pub binary: bool,
}
