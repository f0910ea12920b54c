//! What is written reads back as it was: random tensors of every type through every encoding.

use prost::Message;
use prost::bytes::Buf;
use sardonyx_tensor::{DType, Data, Philox, Tensor, bf16, f16};
use sardonyx_wire::kserve::{
    InferReply, ReplyOutput, decode_infer, encode_infer, from_proto, to_proto,
};
use sardonyx_wire::proto::inference::{InferInputTensor, ModelInferRequest, ModelInferResponse};
use sardonyx_wire::proto::tensorflow::TensorProto;
use sardonyx_wire::tensorflow::{
    Encoding, Format, decode_predict, encode_predict, tensor_from_proto, tensor_to_proto,
};
use sardonyx_wire::{Bytes, TensorSpec, Value};

/// Random elements, each bit pattern that is a number as likely as the others.
fn data(rng: &mut Philox, dtype: DType, count: usize) -> Data {
    fn some<T>(rng: &mut Philox, count: usize, of: impl Fn(u64) -> T) -> Vec<T> {
        (0..count).map(|_| of(rng.next_u64())).collect()
    }
    let single = |bits: u64| Some(f32::from_bits(bits as u32)).filter(|x| !x.is_nan());
    let double = |bits: u64| Some(f64::from_bits(bits)).filter(|x| !x.is_nan());
    match dtype {
        DType::F32 => Data::F32(some(rng, count, |bits| single(bits).unwrap_or(-0.0))),
        DType::F64 => Data::F64(some(rng, count, |bits| double(bits).unwrap_or(-0.0))),
        DType::F16 => Data::F16(some(rng, count, |bits| f16::from_f32(bits as u16 as f32))),
        DType::Bf16 => Data::Bf16(some(rng, count, |bits| bf16::from_f32(bits as i16 as f32))),
        DType::I8 => Data::I8(some(rng, count, |bits| bits as i8)),
        DType::I16 => Data::I16(some(rng, count, |bits| bits as i16)),
        DType::I32 => Data::I32(some(rng, count, |bits| bits as i32)),
        DType::I64 => Data::I64(some(rng, count, |bits| bits as i64)),
        DType::U8 => Data::U8(some(rng, count, |bits| bits as u8)),
        DType::U16 => Data::U16(some(rng, count, |bits| bits as u16)),
        DType::U32 => Data::U32(some(rng, count, |bits| bits as u32)),
        DType::U64 => Data::U64(some(rng, count, |bits| bits)),
        DType::Bool => Data::Bool(some(rng, count, |bits| bits & 1 == 1)),
        DType::String => Data::String(some(rng, count, |bits| {
            let alphabet = ['a', '"', '\\', '\n', 'é', '\u{1}', '😀', '/', '\u{7f}', ' '];
            let length = bits % 7;
            (0..length)
                .map(|at| alphabet[(bits >> (8 * at + 3)) as usize % 10])
                .collect()
        })),
    }
}

fn check_all(mut check: impl FnMut(&Tensor)) {
    let mut rng = Philox::new(21, 0);
    for dtype in DType::ALL {
        for shape in [
            vec![],
            vec![0],
            vec![1],
            vec![7],
            vec![2, 3],
            vec![3, 1, 5],
            vec![2, 0, 3],
        ] {
            let count = shape.iter().product();
            let tensor = Tensor::from_data(shape, data(&mut rng, dtype, count));
            check(&tensor.expect("as many elements as the shape has"));
        }
    }
}

fn has_json(tensor: &Tensor) -> bool {
    !matches!(tensor.dtype(), DType::F16 | DType::Bf16)
}

fn as_tensor(value: Value) -> Tensor {
    value.into_tensor().expect("text")
}

#[test]
fn tensor_protos() {
    check_all(|tensor| {
        for encoding in [Encoding::Typed, Encoding::Content] {
            let bytes = tensor_to_proto(tensor, encoding).encode_to_vec();
            let proto = TensorProto::decode(bytes.as_slice()).expect("what was written");
            assert_eq!(
                proto.tensor_content.is_empty(),
                encoding == Encoding::Typed || tensor.is_empty() || tensor.dtype() == DType::String
            );
            assert_eq!(
                as_tensor(tensor_from_proto(proto).expect("a tensor")),
                *tensor
            );
        }
    });
}

#[test]
fn columns() {
    check_all(|tensor| {
        let Ok(body) = encode_predict(Format::Columnar, &[("x", tensor)]) else {
            return assert!(!has_json(tensor) && !tensor.is_empty());
        };
        let body = String::from_utf8(body)
            .expect("UTF-8")
            .replacen("outputs", "inputs", 1);
        let specs = [TensorSpec::new("x", tensor.dtype(), Vec::new())];
        let decoded = decode_predict(body.as_bytes(), &|_| Ok(&specs)).expect("a body");
        assert_eq!(decoded.format, Format::Columnar);
        let found = as_tensor(decoded.inputs.into_iter().next().expect("one input").1);
        assert_eq!(found.data(), tensor.data());
        // What is in no list cannot be told from the text.
        assert!(
            found.shape() == tensor.shape() || tensor.is_empty(),
            "{body}"
        );
    });
}

#[test]
fn rows() {
    check_all(|tensor| {
        if tensor.rank() == 0 || tensor.is_empty() || !has_json(tensor) {
            return;
        }
        let body = encode_predict(Format::Row, &[("x", tensor)]).expect("a reply");
        let body = String::from_utf8(body)
            .expect("UTF-8")
            .replacen("predictions", "instances", 1);
        let specs = [TensorSpec::new("x", tensor.dtype(), Vec::new())];
        let decoded = decode_predict(body.as_bytes(), &|_| Ok(&specs)).expect("a body");
        assert_eq!(
            as_tensor(decoded.inputs.into_iter().next().expect("one input").1),
            *tensor
        );
    });
}

#[test]
fn infer_json_and_binary() {
    check_all(|tensor| {
        for binary in [false, true] {
            let output = ReplyOutput {
                name: "x",
                tensor,
                binary,
            };
            let reply = InferReply {
                model_name: "m",
                model_version: "1",
                id: "7",
                outputs: vec![output],
            };
            let Ok(encoded) = encode_infer(&reply) else {
                assert!(!has_json(tensor) && !binary);
                continue;
            };
            let length = encoded.header_length.unwrap_or(encoded.body.len());
            let header = std::str::from_utf8(&encoded.body[..length]).expect("UTF-8");
            let header = header.replacen("outputs", "inputs", 1);
            let body = [header.as_bytes(), &encoded.body[length..]].concat();
            let length = encoded.header_length.map(|_| header.len());
            let request = decode_infer(&Bytes::from(body), length, &[]).expect("a request");
            assert_eq!(request.id, "7");
            assert_eq!(
                as_tensor(request.inputs.into_iter().next().expect("one input").value),
                *tensor
            );
        }
    });
}

#[test]
fn infer_messages() {
    check_all(|tensor| {
        let output = ReplyOutput {
            name: "x",
            tensor,
            binary: false,
        };
        let reply = InferReply {
            model_name: "m",
            model_version: "1",
            id: "7",
            outputs: vec![output],
        };
        let bytes = to_proto(&reply).encode_to_vec();
        let reply = ModelInferResponse::decode(bytes.as_slice()).expect("what was written");
        assert!(reply.raw_output_contents[0].remaining() >= tensor.size_bytes());
        let input =
            |output: &sardonyx_wire::proto::inference::InferOutputTensor| InferInputTensor {
                name: output.name.clone(),
                datatype: output.datatype.clone(),
                shape: output.shape.clone(),
                ..InferInputTensor::default()
            };
        let request = ModelInferRequest {
            inputs: reply.outputs.iter().map(input).collect(),
            raw_input_contents: reply.raw_output_contents,
            ..ModelInferRequest::default()
        };
        let decoded = from_proto(request).expect("a request");
        assert_eq!(
            as_tensor(decoded.inputs.into_iter().next().expect("one input").value),
            *tensor
        );
    });
}
