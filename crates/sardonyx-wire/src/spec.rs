use sardonyx_tensor::DType;

use crate::error::{Result, WireError};
use crate::value::Value;

/// What a model says of one of its inputs or outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions, outermost first; `None` takes any size. The first dimension of a model that
    /// can be batched is `None`.
    pub dims: Vec<Option<usize>>,
    /// Whether encoded bytes (the file of a picture) may stand in place of numbers. They come out
    /// as [`Value::Bytes`].
    pub takes_bytes: bool,
}

impl TensorSpec {
    /// A tensor of this name, type and shape that takes no encoded bytes.
    pub fn new(name: impl Into<String>, dtype: DType, dims: Vec<Option<usize>>) -> TensorSpec {
        TensorSpec {
            name: name.into(),
            dtype,
            dims,
            takes_bytes: false,
        }
    }

    /// Dimensions as the protocols write them: -1 for any size.
    pub fn wire_dims(&self) -> Vec<i64> {
        let dim = |dim: &Option<usize>| dim.map_or(-1, |dim| i64::try_from(dim).unwrap_or(-1));
        self.dims.iter().map(dim).collect()
    }

    /// Whether a tensor of this shape fits.
    pub fn accepts_shape(&self, shape: &[usize]) -> bool {
        shape.len() == self.dims.len()
            && (self.dims.iter().zip(shape)).all(|(dim, &found)| dim.is_none_or(|dim| dim == found))
    }

    /// Checks a decoded value against this specification. Encoded bytes pass where they are taken;
    /// their shape is for whoever decodes them.
    ///
    /// # Errors
    /// [`crate::Code::InvalidArgument`] naming the tensor, what was expected and what was found.
    pub fn check(&self, value: &Value) -> Result<()> {
        let Value::Tensor(tensor) = value else {
            if self.takes_bytes {
                return Ok(());
            }
            if self.dtype == DType::String {
                return self.check_shape(value.shape());
            }
            return Err(WireError::invalid(format!(
                "input '{}' takes {}, not bytes",
                self.name, self.dtype
            )));
        };
        if tensor.dtype() != self.dtype {
            return Err(WireError::invalid(format!(
                "input '{}' takes {}, found {}",
                self.name,
                self.dtype,
                tensor.dtype()
            )));
        }
        self.check_shape(tensor.shape())
    }

    fn check_shape(&self, shape: &[usize]) -> Result<()> {
        if self.accepts_shape(shape) {
            return Ok(());
        }
        Err(WireError::invalid(format!(
            "unexpected shape for input '{}': expected {:?}, found {shape:?}",
            self.name,
            self.wire_dims(),
        )))
    }
}
