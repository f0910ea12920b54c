use prost::bytes::Bytes;
use sardonyx_tensor::{DType, Tensor, element_count};

use crate::error::{Result, WireError};

/// Byte strings of any content with a shape: what a tensor of strings is before its strings are
/// known to be text, and what the files of pictures come as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BytesTensor {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements, row-major. They are slices of the request, not copies, where the encoding allows.
    pub values: Vec<Bytes>,
}

/// A decoded input.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Numbers, truth values or text.
    Tensor(Tensor),
    /// Byte strings.
    Bytes(BytesTensor),
}

impl Value {
    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        match self {
            Value::Tensor(tensor) => tensor.shape(),
            Value::Bytes(bytes) => &bytes.shape,
        }
    }

    /// Element type; byte strings count as strings.
    pub fn dtype(&self) -> DType {
        match self {
            Value::Tensor(tensor) => tensor.dtype(),
            Value::Bytes(_) => DType::String,
        }
    }

    /// As a tensor: byte strings become text.
    ///
    /// # Errors
    /// [`crate::Code::InvalidArgument`] when a byte string is not UTF-8.
    pub fn into_tensor(self) -> Result<Tensor> {
        match self {
            Value::Tensor(tensor) => Ok(tensor),
            Value::Bytes(bytes) => bytes.into_text(),
        }
    }
}

impl BytesTensor {
    /// Byte strings of this shape.
    ///
    /// # Errors
    /// [`crate::Code::InvalidArgument`] when the shape has another number of elements.
    pub fn new(shape: Vec<usize>, values: Vec<Bytes>) -> Result<BytesTensor> {
        let count = element_count(&shape).map_err(|e| WireError::invalid(e.to_string()))?;
        if count != values.len() {
            return Err(WireError::invalid(format!(
                "shape {shape:?} needs {count} elements, found {}",
                values.len()
            )));
        }
        Ok(BytesTensor { shape, values })
    }

    fn into_text(self) -> Result<Tensor> {
        let text = |bytes: &Bytes| {
            let text = std::str::from_utf8(bytes);
            text.map(str::to_owned)
                .map_err(|_| WireError::invalid("a string of the tensor is not UTF-8 text"))
        };
        let values: Vec<String> = self.values.iter().map(text).collect::<Result<_>>()?;
        Tensor::new(self.shape, values).map_err(|e| WireError::invalid(e.to_string()))
    }
}
