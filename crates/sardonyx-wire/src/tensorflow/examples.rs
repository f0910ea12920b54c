use crate::proto::serving::Input;
use crate::{Result, TensorSpec, Value, WireError};

/// How many examples an input has.
pub fn example_count(input: &Input) -> usize {
    let _ = input;
    0
}

/// The inputs of a model from examples: the features of an input's name, one example after the
/// other, along the first dimension.
pub fn bind_examples(input: &Input, specs: &[TensorSpec]) -> Result<Vec<(String, Value)>> {
    let _ = (input, specs);
    Err(WireError::unimplemented(""))
}
