use sardonyx_tensor::{DType, Element, Tensor};
use sardonyx_wire::tensorflow::{PredictBody, decode_predict};
use sardonyx_wire::{Bytes, BytesTensor, Code, Result, TensorSpec, Value};

/// Inputs of any shape.
pub(crate) fn specs(inputs: &[(&str, DType)]) -> Vec<TensorSpec> {
    let spec = |(name, dtype): &(&str, DType)| TensorSpec::new(*name, *dtype, Vec::new());
    inputs.iter().map(spec).collect()
}

pub(crate) fn predict(body: &str, specs: &[TensorSpec]) -> Result<PredictBody> {
    decode_predict(body.as_bytes(), &|_| Ok(specs))
}

/// The one input of a body that has one.
pub(crate) fn only_input(body: &str, dtype: DType) -> Result<Value> {
    let decoded = predict(body, &specs(&[("x", dtype)]))?;
    let mut inputs = decoded.inputs;
    assert_eq!(inputs.len(), 1);
    assert_eq!(inputs[0].0, "x");
    Ok(inputs.remove(0).1)
}

pub(crate) fn numbers<T: Element>(shape: &[usize], values: &[T]) -> Value {
    Value::Tensor(Tensor::new(shape, values.to_vec()).expect("as many elements as the shape has"))
}

pub(crate) fn strings(shape: &[usize], values: &[&str]) -> Value {
    let values = values
        .iter()
        .map(|text| Bytes::copy_from_slice(text.as_bytes()));
    Value::Bytes(BytesTensor::new(shape.to_vec(), values.collect()).expect("a shape of them"))
}

/// Asserts that this is an error of a client, with a message that has `part`.
pub(crate) fn assert_refused<T: std::fmt::Debug>(result: Result<T>, part: &str) {
    let error = result.expect_err(part);
    assert_eq!(error.code, Code::InvalidArgument, "{error}");
    assert!(error.message.contains(part), "{error:?} has {part:?}");
}
