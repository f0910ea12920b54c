use crate::proto::serving::Input;
use crate::{Result, WireError};

/// A decoded body of `:classify` or `:regress`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExamplesBody {
    /// Name of the signature; empty when the body has none.
    pub signature_name: String,
    /// The examples.
    pub input: Input,
}

/// Decodes the body of `:classify` or `:regress`.
pub fn decode_examples(body: &[u8]) -> Result<ExamplesBody> {
    let _ = body;
    Err(WireError::unimplemented(""))
}
