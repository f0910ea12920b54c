use std::fmt;

use sardonyx_tensor::{DType, Tensor};

use crate::Dim;

/// What is known of a value before anything runs: its element type and, when known, its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first; `None` when not even the rank is known.
    pub shape: Option<Vec<Dim>>,
}

impl Fact {
    /// A fact with a shape.
    pub fn new(dtype: DType, shape: impl IntoIterator<Item = Dim>) -> Fact {
        Fact {
            dtype,
            shape: Some(shape.into_iter().collect()),
        }
    }

    /// A fact with a shape of numbers only.
    pub fn fixed(dtype: DType, shape: &[usize]) -> Fact {
        Fact::new(dtype, shape.iter().copied().map(Dim::known))
    }

    /// A fact of which only the element type is known.
    pub const fn unranked(dtype: DType) -> Fact {
        Fact { dtype, shape: None }
    }

    /// The fact that a tensor fulfils.
    pub fn of(tensor: &Tensor) -> Fact {
        Fact::fixed(tensor.dtype(), tensor.shape())
    }

    /// The shape as numbers, when every dimension is one.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::value).collect()
    }

    /// Number of dimensions, when known.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// Whether a tensor of this type and shape can be this value: symbols fit any number.
    pub fn admits(&self, dtype: DType, shape: &[usize]) -> bool {
        self.dtype == dtype
            && self.shape.as_ref().is_none_or(|dims| {
                dims.len() == shape.len()
                    && dims
                        .iter()
                        .zip(shape)
                        .all(|(dim, &n)| dim.value().is_none_or(|d| d == n))
            })
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dtype)?;
        let Some(shape) = &self.shape else {
            return f.write_str("[...]");
        };
        f.write_str("[")?;
        for (index, dim) in shape.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}
