use super::InferRequest;
use crate::{Bytes, Result, TensorSpec, WireError};

/// Decodes the body of an infer request. `header_length` is the value of
/// [`super::HEADER_LENGTH`] when the header is there: how many bytes of the body are JSON, what
/// follows being binary tensors; 0 means that the whole body is the data of the one input in
/// `specs`.
pub fn decode_infer(
    body: &Bytes,
    header_length: Option<usize>,
    specs: &[TensorSpec],
) -> Result<InferRequest> {
    let _ = (body, header_length, specs);
    Err(WireError::unimplemented(""))
}
