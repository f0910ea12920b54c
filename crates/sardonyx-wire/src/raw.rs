//! Elements of tensors as bytes: little-endian, row-major, fixed width. Both protocols have them.

use sardonyx_tensor::{DType, Data, bf16, f16};

use crate::{Result, WireError};

/// The elements in `bytes`. Strings have no fixed width; the caller has dealt with them.
pub(crate) fn decode(dtype: DType, bytes: &[u8], count: usize) -> Result<Data> {
    let size = dtype.size_bytes().unwrap_or(0);
    let expected = count.checked_mul(size);
    if expected != Some(bytes.len()) || dtype == DType::String {
        return Err(WireError::invalid(format!(
            "a tensor of {count} elements of {size} bytes has {} bytes",
            bytes.len()
        )));
    }
    Ok(match dtype {
        DType::F32 => Data::F32(values(bytes, f32::from_le_bytes)),
        DType::F64 => Data::F64(values(bytes, f64::from_le_bytes)),
        DType::F16 => Data::F16(values(bytes, f16::from_le_bytes)),
        DType::Bf16 => Data::Bf16(values(bytes, bf16::from_le_bytes)),
        DType::I8 => Data::I8(values(bytes, i8::from_le_bytes)),
        DType::I16 => Data::I16(values(bytes, i16::from_le_bytes)),
        DType::I32 => Data::I32(values(bytes, i32::from_le_bytes)),
        DType::I64 => Data::I64(values(bytes, i64::from_le_bytes)),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::U16 => Data::U16(values(bytes, u16::from_le_bytes)),
        DType::U32 => Data::U32(values(bytes, u32::from_le_bytes)),
        DType::U64 => Data::U64(values(bytes, u64::from_le_bytes)),
        DType::Bool => Data::Bool(values(bytes, |[byte]: [u8; 1]| byte != 0)),
        DType::String => Data::String(Vec::new()),
    })
}

fn values<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|&chunk| from(chunk))
        .collect()
}

/// The bytes of elements; of strings, each with its length before it in four bytes.
pub(crate) fn encode(data: &Data) -> Vec<u8> {
    let mut out = Vec::new();
    append(data, &mut out);
    out
}

/// Appends the bytes of elements.
pub(crate) fn append(data: &Data, out: &mut Vec<u8>) {
    match data {
        Data::F32(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::F64(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::F16(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::Bf16(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::I8(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::I16(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::I32(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::I64(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::U8(v) => out.extend_from_slice(v),
        Data::U16(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::U32(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::U64(v) => extend(out, v, |x| x.to_le_bytes()),
        Data::Bool(v) => extend(out, v, |x| [u8::from(*x)]),
        Data::String(v) => {
            for text in v {
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

fn extend<T, const N: usize>(out: &mut Vec<u8>, values: &[T], bytes: impl Fn(&T) -> [u8; N]) {
    out.extend(values.iter().flat_map(bytes));
}
