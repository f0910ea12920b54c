use super::Format;
use crate::proto::serving::{ClassificationResult, RegressionResult};
use crate::{Result, WireError};
use sardonyx_tensor::Tensor;

/// Body of the reply to `:predict`.
pub fn encode_predict(format: Format, outputs: &[(&str, &Tensor)]) -> Result<Vec<u8>> {
    let _ = (format, outputs);
    Err(WireError::unimplemented(""))
}

/// Body of the reply to `:classify`.
pub fn encode_classification(result: &ClassificationResult) -> Result<Vec<u8>> {
    let _ = result;
    Err(WireError::unimplemented(""))
}

/// Body of the reply to `:regress`.
pub fn encode_regression(result: &RegressionResult) -> Result<Vec<u8>> {
    let _ = result;
    Err(WireError::unimplemented(""))
}

/// Body of an error: `{"error": "..."}`.
pub fn encode_error(message: &str) -> Vec<u8> {
    let _ = message;
    Vec::new()
}
