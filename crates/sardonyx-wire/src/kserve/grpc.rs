use super::{InferReply, InferRequest};
use crate::Result;
use crate::proto::inference::{ModelInferRequest, ModelInferResponse};

/// Decodes a `ModelInferRequest` (its `model_name` and `model_version` are for the caller).
pub fn from_proto(request: ModelInferRequest) -> Result<InferRequest> {
    let _ = request;
    Err(crate::WireError::unimplemented(""))
}

/// Encodes a reply, its outputs as raw contents.
pub fn to_proto(reply: &InferReply<'_>) -> ModelInferResponse {
    let _ = reply;
    ModelInferResponse::default()
}
