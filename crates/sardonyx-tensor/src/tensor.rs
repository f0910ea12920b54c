use half::{bf16, f16};

use crate::error::{Result, TensorError};
use crate::{DType, element_count};

/// Typed elements of a tensor, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// See [`DType::F32`].
    F32(Vec<f32>),
    /// See [`DType::F64`].
    F64(Vec<f64>),
    /// See [`DType::F16`].
    F16(Vec<f16>),
    /// See [`DType::Bf16`].
    Bf16(Vec<bf16>),
    /// See [`DType::I8`].
    I8(Vec<i8>),
    /// See [`DType::I16`].
    I16(Vec<i16>),
    /// See [`DType::I32`].
    I32(Vec<i32>),
    /// See [`DType::I64`].
    I64(Vec<i64>),
    /// See [`DType::U8`].
    U8(Vec<u8>),
    /// See [`DType::U16`].
    U16(Vec<u16>),
    /// See [`DType::U32`].
    U32(Vec<u32>),
    /// See [`DType::U64`].
    U64(Vec<u64>),
    /// See [`DType::Bool`].
    Bool(Vec<bool>),
    /// See [`DType::String`].
    String(Vec<String>),
}

/// Runs `$body` with `$values` bound to the vector inside a [`Data`], whatever its type.
#[macro_export]
macro_rules! with_data {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::Data::F32($values) => $body,
            $crate::Data::F64($values) => $body,
            $crate::Data::F16($values) => $body,
            $crate::Data::Bf16($values) => $body,
            $crate::Data::I8($values) => $body,
            $crate::Data::I16($values) => $body,
            $crate::Data::I32($values) => $body,
            $crate::Data::I64($values) => $body,
            $crate::Data::U8($values) => $body,
            $crate::Data::U16($values) => $body,
            $crate::Data::U32($values) => $body,
            $crate::Data::U64($values) => $body,
            $crate::Data::Bool($values) => $body,
            $crate::Data::String($values) => $body,
        }
    };
}

/// Runs `$body` with `$values` bound to the vector inside a [`Data`] and wraps the vector that it
/// returns in the same variant: for element-preserving moves (gather, transpose, concat).
#[macro_export]
macro_rules! map_data {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::Data::F32($values) => $crate::Data::F32($body),
            $crate::Data::F64($values) => $crate::Data::F64($body),
            $crate::Data::F16($values) => $crate::Data::F16($body),
            $crate::Data::Bf16($values) => $crate::Data::Bf16($body),
            $crate::Data::I8($values) => $crate::Data::I8($body),
            $crate::Data::I16($values) => $crate::Data::I16($body),
            $crate::Data::I32($values) => $crate::Data::I32($body),
            $crate::Data::I64($values) => $crate::Data::I64($body),
            $crate::Data::U8($values) => $crate::Data::U8($body),
            $crate::Data::U16($values) => $crate::Data::U16($body),
            $crate::Data::U32($values) => $crate::Data::U32($body),
            $crate::Data::U64($values) => $crate::Data::U64($body),
            $crate::Data::Bool($values) => $crate::Data::Bool($body),
            $crate::Data::String($values) => $crate::Data::String($body),
        }
    };
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        with_data!(self, values => values.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub const fn dtype(&self) -> DType {
        match self {
            Data::F32(_) => DType::F32,
            Data::F64(_) => DType::F64,
            Data::F16(_) => DType::F16,
            Data::Bf16(_) => DType::Bf16,
            Data::I8(_) => DType::I8,
            Data::I16(_) => DType::I16,
            Data::I32(_) => DType::I32,
            Data::I64(_) => DType::I64,
            Data::U8(_) => DType::U8,
            Data::U16(_) => DType::U16,
            Data::U32(_) => DType::U32,
            Data::U64(_) => DType::U64,
            Data::Bool(_) => DType::Bool,
            Data::String(_) => DType::String,
        }
    }

    /// `count` zeros (false, empty strings) of type `dtype`.
    pub fn zeros(dtype: DType, count: usize) -> Data {
        match dtype {
            DType::F32 => Data::F32(vec![0.0; count]),
            DType::F64 => Data::F64(vec![0.0; count]),
            DType::F16 => Data::F16(vec![f16::ZERO; count]),
            DType::Bf16 => Data::Bf16(vec![bf16::ZERO; count]),
            DType::I8 => Data::I8(vec![0; count]),
            DType::I16 => Data::I16(vec![0; count]),
            DType::I32 => Data::I32(vec![0; count]),
            DType::I64 => Data::I64(vec![0; count]),
            DType::U8 => Data::U8(vec![0; count]),
            DType::U16 => Data::U16(vec![0; count]),
            DType::U32 => Data::U32(vec![0; count]),
            DType::U64 => Data::U64(vec![0; count]),
            DType::Bool => Data::Bool(vec![false; count]),
            DType::String => Data::String(vec![String::new(); count]),
        }
    }
}

/// A Rust type that can be a tensor's element.
pub trait Element: Clone + Send + Sync + 'static {
    /// Its element type.
    const DTYPE: DType;
    /// Wraps a vector.
    fn into_data(values: Vec<Self>) -> Data;
    /// The values, when `data` has this type.
    fn slice(data: &Data) -> Option<&[Self]>;
    /// The values for writing, when `data` has this type.
    fn slice_mut(data: &mut Data) -> Option<&mut Vec<Self>>;
}

macro_rules! element {
    ($($type:ty => $variant:ident),+ $(,)?) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            fn into_data(values: Vec<Self>) -> Data {
                Data::$variant(values)
            }
            fn slice(data: &Data) -> Option<&[Self]> {
                if let Data::$variant(values) = data { Some(values) } else { None }
            }
            fn slice_mut(data: &mut Data) -> Option<&mut Vec<Self>> {
                if let Data::$variant(values) = data { Some(values) } else { None }
            }
        }
    )+};
}

element! {
    f32 => F32, f64 => F64, f16 => F16, bf16 => Bf16, i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64, bool => Bool, String => String,
}

/// A dense, owned, row-major tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor of this shape over these elements.
    ///
    /// # Errors
    /// When the shape passes a limit or does not have as many elements as `values`.
    pub fn new<T: Element>(shape: impl Into<Vec<usize>>, values: Vec<T>) -> Result<Tensor> {
        Tensor::from_data(shape, T::into_data(values))
    }

    /// As [`Tensor::new`], from typed data.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_data(shape: impl Into<Vec<usize>>, data: Data) -> Result<Tensor> {
        let shape = shape.into();
        let expected = element_count(&shape)?;
        if expected != data.len() {
            return Err(TensorError::Length {
                shape,
                expected,
                found: data.len(),
            });
        }
        Ok(Tensor { shape, data })
    }

    /// A tensor without dimensions.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor {
            shape: Vec::new(),
            data: T::into_data(vec![value]),
        }
    }

    /// A tensor of one dimension.
    pub fn vector<T: Element>(values: Vec<T>) -> Tensor {
        Tensor {
            shape: vec![values.len()],
            data: T::into_data(values),
        }
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// When the shape passes a limit.
    pub fn zeros(dtype: DType, shape: impl Into<Vec<usize>>) -> Result<Tensor> {
        let shape = shape.into();
        let count = element_count(&shape)?;
        Ok(Tensor {
            shape,
            data: Data::zeros(dtype, count),
        })
    }

    /// A tensor whose elements are `f(row-major index)`.
    ///
    /// # Errors
    /// When the shape passes a limit.
    pub fn from_fn<T: Element>(
        shape: impl Into<Vec<usize>>,
        f: impl FnMut(usize) -> T,
    ) -> Result<Tensor> {
        let shape = shape.into();
        let count = element_count(&shape)?;
        Tensor::new(shape, (0..count).map(f).collect())
    }

    /// A float tensor of type `dtype` from `f64` values, each rounded to nearest.
    ///
    /// # Errors
    /// When `dtype` is not a float type, or as [`Tensor::new`].
    pub fn from_f64(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: Vec<f64>,
    ) -> Result<Tensor> {
        let data = match dtype {
            DType::F32 => Data::F32(values.into_iter().map(|x| x as f32).collect()),
            DType::F64 => Data::F64(values),
            DType::F16 => Data::F16(values.into_iter().map(f16::from_f64).collect()),
            DType::Bf16 => Data::Bf16(values.into_iter().map(bf16::from_f64).collect()),
            found => {
                return Err(TensorError::DType {
                    expected: DType::F32,
                    found,
                });
            }
        };
        Tensor::from_data(shape, data)
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The typed elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Gives up the typed elements.
    pub fn into_data(self) -> Data {
        self.data
    }

    /// Bytes that the elements take (for strings, their text).
    pub fn size_bytes(&self) -> usize {
        match (&self.data, self.dtype().size_bytes()) {
            (Data::String(values), _) => values.iter().map(String::len).sum(),
            (_, Some(size)) => size * self.len(),
            (_, None) => 0,
        }
    }

    /// The elements as a slice of `T`.
    ///
    /// # Errors
    /// [`TensorError::DType`] when the element type is another.
    pub fn values<T: Element>(&self) -> Result<&[T]> {
        T::slice(&self.data).ok_or(TensorError::DType {
            expected: T::DTYPE,
            found: self.data.dtype(),
        })
    }

    /// The elements as a mutable slice of `T`.
    ///
    /// # Errors
    /// [`TensorError::DType`] when the element type is another.
    pub fn values_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let found = self.data.dtype();
        T::slice_mut(&mut self.data)
            .map(Vec::as_mut_slice)
            .ok_or(TensorError::DType {
                expected: T::DTYPE,
                found,
            })
    }

    /// The same elements under another shape of the same size.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<Tensor> {
        Tensor::from_data(shape, self.data)
    }

    /// A tensor of shape `shape` whose elements are those of this one at `indices` (row-major), in
    /// order: what every operator that only moves elements comes down to.
    ///
    /// # Errors
    /// As [`Tensor::new`]. An index out of range is a bug and panics.
    pub fn take(&self, shape: impl Into<Vec<usize>>, indices: &[usize]) -> Result<Tensor> {
        #[expect(
            clippy::clone_on_copy,
            reason = "the strings among the element types need it"
        )]
        let data = map_data!(&self.data, v => indices.iter().map(|&i| v[i].clone()).collect());
        Tensor::from_data(shape, data)
    }

    /// Elements as `f64`: floats and integers by value (64-bit integers rounded), truth values as
    /// 0 and 1.
    ///
    /// # Errors
    /// [`TensorError::DType`] for strings.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(match &self.data {
            Data::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::F64(v) => v.clone(),
            Data::F16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Data::Bf16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Data::I8(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::I16(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::I64(v) => v.iter().map(|&x| x as f64).collect(),
            Data::U8(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::U16(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::U64(v) => v.iter().map(|&x| x as f64).collect(),
            Data::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x))).collect(),
            Data::String(_) => {
                return Err(TensorError::DType {
                    expected: DType::F64,
                    found: DType::String,
                });
            }
        })
    }

    /// Elements as `i64`, for index and shape tensors.
    ///
    /// # Errors
    /// [`TensorError::DType`] when the elements are not integers or truth values.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        Ok(match &self.data {
            Data::I8(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::I16(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::I32(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::I64(v) => v.clone(),
            Data::U8(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::U16(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::U32(v) => v.iter().map(|&x| i64::from(x)).collect(),
            Data::U64(v) => v.iter().map(|&x| x as i64).collect(),
            Data::Bool(v) => v.iter().map(|&x| i64::from(x)).collect(),
            other => {
                return Err(TensorError::DType {
                    expected: DType::I64,
                    found: other.dtype(),
                });
            }
        })
    }

    /// A float tensor converted to another float type.
    ///
    /// # Errors
    /// [`TensorError::DType`] when either type is not a float type.
    pub fn to_float(&self, dtype: DType) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return Err(TensorError::DType {
                expected: dtype,
                found: self.dtype(),
            });
        }
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        Tensor::from_f64(dtype, self.shape.clone(), self.to_f64()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_data_must_agree() {
        assert!(Tensor::new([2, 3], vec![0f32; 6]).is_ok());
        assert_eq!(
            Tensor::new([2, 3], vec![0f32; 5]),
            Err(TensorError::Length {
                shape: vec![2, 3],
                expected: 6,
                found: 5
            })
        );
        assert!(Tensor::zeros(DType::F32, [usize::MAX, 2]).is_err());
    }

    #[test]
    fn values_are_typed() {
        let tensor = Tensor::vector(vec![1i64, 2]);
        assert_eq!(tensor.values::<i64>(), Ok(&[1, 2][..]));
        assert!(tensor.values::<f32>().is_err());
        assert_eq!(tensor.to_f64(), Ok(vec![1.0, 2.0]));
        assert_eq!(tensor.size_bytes(), 16);
    }

    #[test]
    fn floats_convert_by_rounding() {
        let tensor = Tensor::vector(vec![1.0f32 / 3.0]);
        let half = tensor.to_float(DType::F16).expect("float to float");
        assert_eq!(
            half.to_f64(),
            Ok(vec![f64::from(f16::from_f32(1.0 / 3.0).to_f32())])
        );
        assert!(Tensor::vector(vec![1i32]).to_float(DType::F32).is_err());
    }
}
