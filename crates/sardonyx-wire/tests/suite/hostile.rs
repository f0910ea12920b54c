//! Bytes that nobody well-meaning sends: every decoder gives an error or a value, and takes no
//! more memory than the bytes account for.

use allocation_counter::measure;
use prost::Message;
use sardonyx_tensor::{DType, Philox};
use sardonyx_wire::kserve::{config_from_json, decode_infer, decode_load_request, from_proto};
use sardonyx_wire::proto::inference::{InferInputTensor, ModelInferRequest};
use sardonyx_wire::proto::serving::{ExampleList, Input, InputKind, PredictRequest};
use sardonyx_wire::proto::tensorflow::{DataType, Dim, Example, TensorProto, TensorShapeProto};
use sardonyx_wire::tensorflow::{
    MAX_REPEATED, bind_examples, bind_tensors, decode_examples, decode_predict, parse_path,
    tensor_from_proto,
};
use sardonyx_wire::text::{model_config, model_server_config};
use sardonyx_wire::{Bytes, Result, TensorSpec, Value};

use crate::support::{assert_refused, only_input, specs};

type Reader = fn(&[u8]);

/// Seeds from which the hostile bytes are made, and what reads them.
const SEEDS: [(&[u8], Reader); 8] = [
    (br#"{"signature_name": "s\u00e9", "instances": [{"a": [[1, -2.5e3]], "b": "x"}, {"a": [[NaN, 4]], "b": {"b64": "aGVsbG8="}}]}"#, read_predict),
    (br#"{"inputs": {"a": [0.25, 1e-7], "b": ["\ud83d\ude00", "y"]}, "more": [null, true, {}]}"#, read_predict),
    (br#"{"context": {"c": 1}, "examples": [{"a": [1.5, 2]}, {"b": ["x", {"b64": "aGVsbG8="}]}]}"#, read_examples),
    (include_bytes!("../golden/clients/triton_infer.json"), read_infer),
    (include_bytes!("../golden/clients/triton_infer.bin"), read_infer_binary),
    (include_bytes!("../golden/clients/triton_infer.pb"), read_infer_message),
    (include_bytes!("../golden/clients/ovms_predict.pb"), read_predict_message),
    (b"model_config_list { config { name: 'a\\x41' version_labels { key: \"k\" value: -1 } } } # c\nname: 1.5e3 input [ { dims: [1, 0x2] } ]", read_text),
];

fn read_predict(bytes: &[u8]) {
    let specs = specs(&[("a", DType::F32), ("b", DType::String)]);
    let _ = decode_predict(bytes, &|_| Ok(&specs));
}

fn read_examples(bytes: &[u8]) {
    let specs = [TensorSpec::new("a", DType::F32, vec![None, None])];
    if let Ok(body) = decode_examples(bytes) {
        let _ = bind_examples(&body.input, &specs);
    }
}

fn read_infer(bytes: &[u8]) {
    let _ = decode_infer(&Bytes::copy_from_slice(bytes), None, &[]);
    let _ = decode_load_request(bytes);
    let _ = config_from_json(bytes);
}

fn read_infer_binary(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let specs = [TensorSpec::new("a", DType::I32, vec![None, None, Some(3)])];
    for header in [0, 1, 713] {
        let _ = decode_infer(&body, Some(header), &specs);
    }
}

fn read_infer_message(bytes: &[u8]) {
    if let Ok(message) = ModelInferRequest::decode(bytes) {
        let _ = from_proto(message);
    }
}

fn read_predict_message(bytes: &[u8]) {
    if let Ok(message) = PredictRequest::decode(bytes) {
        for proto in message.inputs.into_values() {
            let _ = tensor_from_proto(proto);
        }
    }
}

fn read_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = model_server_config(&text);
    let _ = model_config(&text);
    let _ = parse_path("POST", &text);
}

#[test]
fn every_cut_is_read_without_harm() {
    for (seed, read) in SEEDS {
        for end in 0..=seed.len() {
            read(&seed[..end]);
        }
    }
}

#[test]
fn every_change_is_read_without_harm() {
    let mut rng = Philox::new(99, 0);
    for (seed, read) in SEEDS {
        for _ in 0..4000 {
            let mut bytes = seed.to_vec();
            for _ in 0..=rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(4) {
                    0 => bytes[at] ^= 1 << rng.below(8),
                    1 => bytes[at] = b"[]{}\",:\\-0"[rng.below(10) as usize],
                    2 => {
                        let end = at + rng.below((bytes.len() - at) as u64) as usize;
                        let part = bytes[at..end].to_vec();
                        bytes.splice(at..at, part);
                    }
                    _ => {
                        bytes.truncate(at.max(1));
                    }
                }
            }
            read(&bytes);
        }
    }
}

/// Most bytes that were taken at once while this ran.
fn peak(run: impl FnOnce()) -> u64 {
    measure(run).bytes_max
}

const SMALL: u64 = 1 << 14;

fn claim(dtype: DataType, dims: &[i64]) -> TensorProto {
    let dim = |&size: &i64| Dim {
        size,
        name: String::new(),
    };
    TensorProto {
        dtype: dtype as i32,
        tensor_shape: Some(TensorShapeProto {
            dim: dims.iter().map(dim).collect(),
            unknown_rank: false,
        }),
        ..TensorProto::default()
    }
}

#[test]
fn claimed_shapes_take_no_memory() {
    let refused = |result: Result<Value>, part: &str| assert_refused(result, part);
    let cases = [
        (claim(DataType::Float, &[1 << 35]), "are not made up"),
        (claim(DataType::String, &[1 << 35]), "are not made up"),
        (
            claim(DataType::Float, &[1 << 40, 1 << 40]),
            "too many elements",
        ),
        (claim(DataType::Float, &[-1]), "a dimension of -1"),
        (claim(DataType::Float, &[1; 33]), "dimensions"),
        (
            TensorProto {
                tensor_content: Bytes::from_static(&[0; 4]),
                ..claim(DataType::Float, &[1 << 35])
            },
            "has 4 bytes",
        ),
        (
            TensorProto {
                float_val: vec![1.0; 3],
                ..claim(DataType::Float, &[2])
            },
            "has 3 values",
        ),
        (
            TensorProto {
                int_val: vec![300],
                ..claim(DataType::Int8, &[1])
            },
            "out of the range",
        ),
        (claim(DataType::Invalid, &[1]), "not supported"),
    ];
    for (proto, part) in cases {
        assert!(
            peak(|| refused(tensor_from_proto(proto), part)) < SMALL,
            "{part}"
        );
    }
    let most = i64::try_from(MAX_REPEATED).expect("it is small");
    let made_up = tensor_from_proto(claim(DataType::Uint8, &[most])).expect("zeros");
    assert_eq!(made_up.shape(), [MAX_REPEATED]);
    for datatype in ["FP32", "BYTES", "BOOL"] {
        let body = format!(
            r#"{{"inputs": [{{"name": "x", "shape": [34359738368], "datatype": "{datatype}", "data": []}}]}}"#
        );
        let body = Bytes::from(body);
        let read = || assert_refused(decode_infer(&body, None, &[]), "does not match");
        assert!(peak(read) < SMALL, "{datatype}");
        let input = InferInputTensor {
            datatype: datatype.to_owned(),
            shape: vec![1 << 35],
            ..InferInputTensor::default()
        };
        for raw_input_contents in [vec![], vec![Bytes::new()]] {
            let message = ModelInferRequest {
                inputs: vec![input.clone()],
                raw_input_contents,
                ..ModelInferRequest::default()
            };
            assert!(
                peak(|| assert!(from_proto(message).is_err())) < SMALL,
                "{datatype}"
            );
        }
    }
}

#[test]
fn what_a_model_takes_is_not_taken_ahead() {
    let huge = [TensorSpec::new("x", DType::F64, vec![None, Some(1 << 40)])];
    let read = || {
        let decoded = decode_predict(br#"{"instances": [[1, 2]]}"#, &|_| Ok(&huge));
        assert_refused(
            huge[0].check(&decoded.expect("a body").inputs[0].1),
            "unexpected shape",
        );
    };
    assert!(peak(read) < SMALL);
    let examples = vec![Example::default(); 3];
    let input = Input {
        kind: Some(InputKind::ExampleList(ExampleList { examples })),
    };
    assert!(peak(|| assert!(bind_examples(&input, &huge).is_err())) < SMALL);
    let raw = || assert!(decode_infer(&Bytes::from_static(&[0; 64]), Some(0), &huge).is_err());
    assert!(peak(raw) < SMALL);
}

#[test]
fn memory_is_in_proportion_to_the_body() {
    let bodies = [
        format!("{{\"instances\": {}", "[".repeat(200_000)),
        format!("{{\"instances\": [{}", "1,".repeat(100_000)),
        format!("{{\"a\": 1{}", ",\"a\": 1".repeat(30_000)),
        format!("{{\"instances\": [\"{}", "\\u0041".repeat(30_000)),
        format!("{{\"x\": {}", "{\"a\":".repeat(40_000)),
        format!(
            "{{\"instances\": [1{}], \"inputs\": 1}}",
            "0".repeat(200_000)
        ),
    ];
    for body in bodies {
        for dtype in [DType::F32, DType::U8, DType::String] {
            let read = || assert!(only_input(&body, dtype).is_err());
            assert!(
                peak(read) <= 16 * body.len() as u64 + SMALL,
                "{}",
                &body[..20]
            );
        }
    }
}

#[test]
fn names_are_checked_before_tensors_are_decoded() {
    let most = i64::try_from(MAX_REPEATED).expect("it is small");
    let strangers = (0..100).map(|index| (format!("x{index}"), claim(DataType::Double, &[most])));
    let strangers = strangers.collect();
    let wanted = specs(&[("x0", DType::F64)]);
    let read = || assert_refused(bind_tensors(strangers, &wanted), "Sent extra: {x1,");
    assert!(peak(read) < 4 * SMALL);
}
