use crate::proto::serving::{GetModelStatusResponse, ModelSpec, SignatureDefMap};

/// Body of the reply to `GET /v1/models/M`.
pub fn encode_status(response: &GetModelStatusResponse) -> Vec<u8> {
    let _ = response;
    Vec::new()
}

/// Body of the reply to `GET /v1/models/M/metadata`.
pub fn encode_metadata(spec: &ModelSpec, signatures: &SignatureDefMap) -> Vec<u8> {
    let _ = (spec, signatures);
    Vec::new()
}
