use crate::{Result, TensorSpec, Value, WireError};

/// How the tensors of a request were written; the reply is written the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `instances`: a list of examples.
    Row,
    /// `inputs`: tensors with their batch dimension.
    Columnar,
}

/// A decoded body of `:predict`.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictBody {
    /// Name of the signature; empty when the body has none.
    pub signature_name: String,
    /// How the tensors were written.
    pub format: Format,
    /// Name and value of every input, in the order of the signature's.
    pub inputs: Vec<(String, Value)>,
}

/// Decodes the body of `:predict`. `specs` gives the inputs of the signature of a name (empty for
/// the default one) or says that there is no such signature.
pub fn decode_predict<'s>(
    body: &[u8],
    specs: &dyn Fn(&str) -> Result<&'s [TensorSpec]>,
) -> Result<PredictBody> {
    let _ = (body, specs);
    Err(WireError::unimplemented(""))
}
