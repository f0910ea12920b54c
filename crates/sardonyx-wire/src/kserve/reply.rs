use super::InferReply;
use crate::Result;

/// The body of a reply to an infer request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedReply {
    /// The body.
    pub body: Vec<u8>,
    /// How many bytes of it are JSON, when binary tensors follow: the value of
    /// [`super::HEADER_LENGTH`]. The content type is then `application/octet-stream`.
    pub header_length: Option<usize>,
}

/// Encodes a reply.
pub fn encode_infer(reply: &InferReply<'_>) -> Result<EncodedReply> {
    let _ = reply;
    Err(crate::WireError::unimplemented(""))
}
