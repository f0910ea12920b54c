use crate::Result;
use sardonyx_tensor::Tensor;

/// The `top` highest classes of every example (row of the last dimension) as strings
/// `value:index` or, where there are `labels`, `value:index:label`.
pub fn classify(tensor: &Tensor, top: usize, labels: &[String]) -> Result<Tensor> {
    let _ = (tensor, top, labels);
    Err(crate::WireError::unimplemented(""))
}
