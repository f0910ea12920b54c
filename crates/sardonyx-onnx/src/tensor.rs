//! Tensor messages to tensors and back.

use prost::bytes::Bytes;
use sardonyx_tensor::{Data, Tensor, bf16, f16};

use crate::ExternalError;
use crate::element_type::{dtype_from_onnx, dtype_to_onnx, element_type_name};
use crate::error::{OnnxError, Result, quoted};
use crate::layout::{self, Storage};
use crate::proto::{DataLocation, TensorProto};

/// The tensor that a message holds.
///
/// # Errors
/// When the element type is none of [`sardonyx_tensor::DType`], when shape and data disagree, or
/// when the data is still in another file (loading a model brings it in).
pub fn tensor_from_proto(proto: &TensorProto) -> Result<Tensor> {
    convert(proto).map_err(|error| error.at(format!("tensor {}", quoted(proto.name()))))
}

/// The message for a tensor: raw little-endian data, or `string_data` for strings.
pub fn tensor_to_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto {
        name: Some(name.to_owned()),
        dims: tensor.shape().iter().map(|&dim| dim as i64).collect(),
        data_type: Some(dtype_to_onnx(tensor.dtype())),
        ..TensorProto::default()
    };
    match tensor.data() {
        Data::String(values) => {
            proto.string_data = values
                .iter()
                .map(|text| text.clone().into_bytes())
                .collect();
        }
        data => proto.raw_data = Some(Bytes::from(to_raw(data))),
    }
    proto
}

fn convert(proto: &TensorProto) -> Result<Tensor> {
    if proto.data_location() == DataLocation::External {
        return Err(ExternalError::NoFolder.into());
    }
    let number = proto.data_type();
    if dtype_from_onnx(number).is_none() {
        return Err(layout::unsupported(number));
    }
    let (shape, storage) = layout::check(proto)?;
    let data = match storage {
        Storage::Raw => from_raw(number, proto.raw_data.as_deref().unwrap_or_default())?,
        Storage::Typed => from_fields(proto)?,
    };
    Ok(Tensor::from_data(shape, data)?)
}

/// Reads little-endian elements; the caller has checked the length.
macro_rules! read_le {
    ($raw:expr, $type:ty) => {
        $raw.as_chunks::<{ size_of::<$type>() }>()
            .0
            .iter()
            .map(|&bytes| <$type>::from_le_bytes(bytes))
            .collect()
    };
}

fn from_raw(number: i32, raw: &[u8]) -> Result<Data> {
    Ok(match number {
        1 => Data::F32(read_le!(raw, f32)),
        2 => Data::U8(raw.to_vec()),
        3 => Data::I8(read_le!(raw, i8)),
        4 => Data::U16(read_le!(raw, u16)),
        5 => Data::I16(read_le!(raw, i16)),
        6 => Data::I32(read_le!(raw, i32)),
        7 => Data::I64(read_le!(raw, i64)),
        9 => Data::Bool(raw.iter().map(|&byte| byte != 0).collect()),
        10 => Data::F16(read_le!(raw, f16)),
        11 => Data::F64(read_le!(raw, f64)),
        12 => Data::U32(read_le!(raw, u32)),
        13 => Data::U64(read_le!(raw, u64)),
        16 => Data::Bf16(read_le!(raw, bf16)),
        _ => return Err(layout::unsupported(number)),
    })
}

fn from_fields(proto: &TensorProto) -> Result<Data> {
    let number = proto.data_type();
    let ints = &proto.int32_data;
    Ok(match number {
        1 => Data::F32(proto.float_data.clone()),
        2 => Data::U8(narrow(ints, number)?),
        3 => Data::I8(narrow(ints, number)?),
        4 => Data::U16(narrow(ints, number)?),
        5 => Data::I16(narrow(ints, number)?),
        6 => Data::I32(ints.clone()),
        7 => Data::I64(proto.int64_data.clone()),
        8 => Data::String(texts(&proto.string_data)?),
        9 => Data::Bool(ints.iter().map(|&value| value != 0).collect()),
        10 => Data::F16(
            narrow(ints, number)?
                .into_iter()
                .map(f16::from_bits)
                .collect(),
        ),
        11 => Data::F64(proto.double_data.clone()),
        12 => Data::U32(narrow(&proto.uint64_data, number)?),
        13 => Data::U64(proto.uint64_data.clone()),
        16 => Data::Bf16(
            narrow(ints, number)?
                .into_iter()
                .map(bf16::from_bits)
                .collect(),
        ),
        _ => return Err(layout::unsupported(number)),
    })
}

/// Integers of a wide field as the narrow type that they stand for.
fn narrow<W, N>(values: &[W], number: i32) -> Result<Vec<N>>
where
    W: Copy + TryInto<N> + TryInto<i64>,
{
    values
        .iter()
        .enumerate()
        .map(|(index, &value)| {
            value.try_into().map_err(|_| OnnxError::ElementRange {
                index,
                value: value.try_into().unwrap_or(i64::MAX),
                element_type: element_type_name(number),
            })
        })
        .collect()
}

fn texts(values: &[Vec<u8>]) -> Result<Vec<String>> {
    values
        .iter()
        .enumerate()
        .map(|(index, bytes)| {
            String::from_utf8(bytes.clone()).map_err(|_| OnnxError::NotUtf8 { index })
        })
        .collect()
}

/// Elements as little-endian bytes; none for strings, which have no such form.
fn to_raw(data: &Data) -> Vec<u8> {
    macro_rules! write_le {
        ($values:expr) => {{
            // Writing into zeroed chunks compiles to a copy; pushing bytes does not.
            let mut raw = vec![0; size_of_val($values.as_slice())];
            let chunks = raw.as_chunks_mut().0;
            for (chunk, value) in chunks.iter_mut().zip($values) {
                *chunk = value.to_le_bytes();
            }
            raw
        }};
    }
    match data {
        Data::F32(values) => write_le!(values),
        Data::F64(values) => write_le!(values),
        Data::F16(values) => write_le!(values),
        Data::Bf16(values) => write_le!(values),
        Data::I8(values) => write_le!(values),
        Data::I16(values) => write_le!(values),
        Data::I32(values) => write_le!(values),
        Data::I64(values) => write_le!(values),
        Data::U8(values) => values.clone(),
        Data::U16(values) => write_le!(values),
        Data::U32(values) => write_le!(values),
        Data::U64(values) => write_le!(values),
        Data::Bool(values) => values.iter().map(|&value| u8::from(value)).collect(),
        Data::String(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use sardonyx_tensor::{DType, Philox};

    use super::*;

    fn sample(dtype: DType, rng: &mut Philox, count: usize) -> Data {
        if dtype == DType::String {
            return Data::String((0..count).map(|i| format!("é{i}")).collect());
        }
        let size = dtype.size_bytes().unwrap();
        let raw: Vec<u8> = (0..count * size).map(|_| rng.next_u32() as u8).collect();
        from_raw(dtype_to_onnx(dtype), &raw).unwrap()
    }

    #[test]
    fn every_type_round_trips_bit_for_bit() {
        let mut rng = Philox::new(5, 0);
        for dtype in DType::ALL {
            for shape in [vec![], vec![0], vec![7], vec![3, 0, 2], vec![2, 3, 5]] {
                let count = shape.iter().product();
                let tensor = Tensor::from_data(shape, sample(dtype, &mut rng, count)).unwrap();
                let proto = tensor_to_proto("w", &tensor);
                let back = tensor_from_proto(&proto).unwrap();
                assert_eq!((back.shape(), back.dtype()), (tensor.shape(), dtype));
                assert_eq!(tensor_to_proto("w", &back), proto);
            }
        }
    }

    fn error(proto: &TensorProto) -> String {
        tensor_from_proto(proto).unwrap_err().to_string()
    }

    #[test]
    fn data_must_fit_shape_and_type() {
        let mut proto = tensor_to_proto("w", &Tensor::vector(vec![1f32, 2.0]));
        proto.dims = vec![3];
        let expected = "tensor \"w\": raw_data has 8 bytes, the shape needs 12";
        assert_eq!(error(&proto), expected);
        proto.dims = vec![-1];
        assert_eq!(error(&proto), "tensor \"w\": dimension 0 is -1");
        proto.dims = vec![2];
        proto.int64_data = vec![1, 2];
        let expected = "tensor \"w\": elements of float32 cannot be in int64_data and raw_data";
        assert_eq!(error(&proto), expected);
        proto.raw_data = None;
        assert!(error(&proto).contains("cannot be in int64_data"));
        proto.int64_data.clear();
        assert!(error(&proto).contains("float_data has 0 elements, the shape needs 2"));
        proto.data_type = Some(22);
        let expected = "tensor \"w\": element type int4 (22) is not supported";
        assert_eq!(error(&proto), expected);
    }

    #[test]
    fn typed_integers_must_fit() {
        let mut proto = TensorProto {
            dims: vec![2],
            data_type: Some(3),
            int32_data: vec![-128, 128],
            ..TensorProto::default()
        };
        let expected = "tensor \"\": element 1 is 128, which int8 cannot hold";
        assert_eq!(error(&proto), expected);
        proto.int32_data = vec![-128, 127];
        assert_eq!(
            tensor_from_proto(&proto).unwrap(),
            Tensor::vector(vec![-128i8, 127])
        );
    }

    #[test]
    fn strings_must_be_text() {
        let proto = TensorProto {
            dims: vec![1],
            data_type: Some(8),
            string_data: vec![vec![0xff]],
            ..TensorProto::default()
        };
        assert_eq!(error(&proto), "tensor \"\": string 0 is not UTF-8");
    }
}
