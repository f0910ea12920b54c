use sardonyx_tensor::Tensor;

use crate::{Result, Value, WireError};

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

impl Parameter {
    /// The integer, when it is one and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Parameter::Integer(value) => u64::try_from(*value).ok(),
            Parameter::Unsigned(value) => Some(*value),
            Parameter::Bool(_) | Parameter::Number(_) | Parameter::Text(_) => None,
        }
    }

    /// The truth value, when it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Parameter::Bool(value) = self {
            Some(*value)
        } else {
            None
        }
    }
}

fn wrong(name: &str, expected: &str) -> WireError {
    WireError::invalid(format!("parameter '{name}' must be {expected}"))
}

fn unsigned(name: &str, value: &Parameter) -> Result<u64> {
    value
        .as_u64()
        .ok_or_else(|| wrong(name, "an unsigned integer"))
}

fn truth(name: &str, value: &Parameter) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong(name, "a boolean"))
}

impl InferRequest {
    /// Takes a parameter of the request.
    pub(super) fn set(&mut self, name: String, value: Parameter) -> Result<()> {
        match name.as_str() {
            "priority" => self.priority = unsigned(&name, &value)?,
            "timeout" => self.timeout_us = unsigned(&name, &value)?,
            "sequence_start" => self.sequence_start = truth(&name, &value)?,
            "sequence_end" => self.sequence_end = truth(&name, &value)?,
            "binary_data_output" => self.binary_output = truth(&name, &value)?,
            "sequence_id" => {
                self.sequence_id = match value {
                    Parameter::Text(text) if text.is_empty() => None,
                    Parameter::Text(text) => Some(SequenceId::Text(text)),
                    other => match unsigned(&name, &other)? {
                        0 => None,
                        number => Some(SequenceId::Number(number)),
                    },
                };
            }
            _ => self.parameters.push((name, value)),
        }
        Ok(())
    }

    /// Whether this output is wanted as binary data in a reply over HTTP.
    pub fn is_binary(&self, output: &str) -> bool {
        let wanted = self.outputs.iter().find(|wanted| wanted.name == output);
        wanted
            .and_then(|wanted| wanted.binary)
            .unwrap_or(self.binary_output)
    }
}

impl RequestedOutput {
    /// Takes a parameter of the output.
    pub(super) fn set(&mut self, name: &str, value: &Parameter) -> Result<()> {
        match name {
            "binary_data" => self.binary = Some(truth(name, value)?),
            "classification" => {
                let count = usize::try_from(unsigned(name, value)?);
                self.classification = count.map_err(|_| wrong(name, "a count"))?;
            }
            _ if name.starts_with("shared_memory_") => {
                return Err(super::request_json::no_shared_memory());
            }
            _ => {}
        }
        Ok(())
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
