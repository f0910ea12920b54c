//! What a request brought, as the tensors that the model takes.

use std::borrow::Cow;

use sardonyx_data::{InputSpec, Limits, image_from_bytes};
use sardonyx_tensor::Tensor;
use sardonyx_wire::{BytesTensor, TensorSpec, Value};

use super::Servable;
use crate::error::{Result, ServeError, internal, invalid};
use crate::signature::Signature;

impl Servable {
    /// As [`Signature::bind`].
    ///
    /// # Errors
    /// As [`Signature::bind`].
    pub fn bind<'n>(
        &self,
        named: impl IntoIterator<Item = (Cow<'n, str>, Value)>,
    ) -> Result<Vec<Tensor>> {
        self.signature().bind(named)
    }
}

impl Signature {
    /// The inputs of a request in the order of the signature, checked against it. Files of pictures
    /// become samples.
    ///
    /// # Errors
    /// When an input is missing, not known, given twice or does not fit, or a picture is damaged.
    pub fn bind<'n>(
        &self,
        named: impl IntoIterator<Item = (Cow<'n, str>, Value)>,
    ) -> Result<Vec<Tensor>> {
        let mut found: Vec<Option<Value>> = vec![None; self.inputs.len()];
        for (name, value) in named {
            let Some(index) = self.input_index(&name) else {
                return Err(unknown_input(&name, &self.inputs));
            };
            if found[index].replace(value).is_some() {
                return Err(ServeError::invalid(format!(
                    "input '{name}' is given twice"
                )));
            }
        }
        let specs = self.inputs.iter();
        specs
            .zip(found)
            .map(|(spec, value)| {
                let value = value.ok_or_else(|| {
                    ServeError::invalid(format!("input '{}' is missing", spec.name))
                })?;
                self.bind_one(spec, value)
            })
            .collect()
    }

    fn bind_one(&self, spec: &TensorSpec, value: Value) -> Result<Tensor> {
        spec.check(&value)?;
        match (value, &self.image) {
            (Value::Bytes(files), Some(image)) if spec.takes_bytes => {
                let samples = pictures(&spec.name, &files, image)?;
                spec.check(&Value::Tensor(samples.clone()))?;
                Ok(samples)
            }
            (value, _) => value.into_tensor(),
        }
    }
}

fn unknown_input(name: &str, specs: &[TensorSpec]) -> ServeError {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    ServeError::invalid(format!(
        "there is no input '{name}'; hint: the inputs are {}",
        names.join(", ")
    ))
}

/// Files of pictures as one batch.
fn pictures(name: &str, files: &BytesTensor, image: &InputSpec) -> Result<Tensor> {
    let limits = Limits::default();
    let mut values: Vec<f32> = Vec::new();
    let mut shape = Vec::new();
    for (index, file) in files.values.iter().enumerate() {
        let label = format!("{name}[{index}]");
        let sample = image_from_bytes(&label, file, image, &limits).map_err(invalid)?;
        values.extend_from_slice(sample.values().map_err(internal)?);
        shape = sample.shape().to_vec();
    }
    if files.values.is_empty() {
        return Err(ServeError::invalid(format!(
            "input '{name}' has no pictures"
        )));
    }
    shape[0] = files.values.len();
    Tensor::new(shape, values).map_err(internal)
}
