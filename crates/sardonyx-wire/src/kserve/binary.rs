//! Tensors as bytes: elements little-endian and row-major; byte strings each with its length
//! before it, in four bytes.

use prost::bytes::{Buf, Bytes};
use sardonyx_tensor::{DType, Tensor, element_count};

use crate::{BytesTensor, Result, Value, WireError, raw};

/// Bytes of the length before a byte string.
const LENGTH_BYTES: usize = 4;

/// The tensor of this type and shape in `bytes`. Byte strings are slices of them.
pub(super) fn decode(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Result<Value> {
    let count = element_count(&shape).map_err(|error| WireError::invalid(error.to_string()))?;
    if dtype == DType::String {
        let values = strings(bytes, count)?;
        return BytesTensor::new(shape, values).map(Value::Bytes);
    }
    let data = raw::decode(dtype, &bytes, count)?;
    Tensor::from_data(shape, data)
        .map(Value::Tensor)
        .map_err(|error| WireError::invalid(error.to_string()))
}

fn strings(mut bytes: Bytes, count: usize) -> Result<Vec<Bytes>> {
    let mut values = Vec::with_capacity(count.min(bytes.len() / LENGTH_BYTES));
    while !bytes.is_empty() {
        if bytes.len() < LENGTH_BYTES {
            return Err(WireError::invalid("incomplete string length indicator"));
        }
        let length = bytes.get_u32_le() as usize;
        if length > bytes.len() {
            return Err(WireError::invalid("incomplete string data"));
        }
        if values.len() == count {
            break;
        }
        values.push(bytes.split_to(length));
    }
    if values.len() == count && bytes.is_empty() {
        return Ok(values);
    }
    Err(WireError::invalid(format!(
        "unexpected number of string elements, expecting {count}"
    )))
}
