//! Requests as real clients send them, and every message as the official protobuf code writes it
//! (see `tests/golden/clients.py` and `tests/golden/fields.py`).

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use sardonyx_tensor::{DType, Tensor, f16};
use sardonyx_wire::kserve::{
    InferRequest, Parameter, RequestedOutput, SequenceId, decode_infer, from_proto,
};
use sardonyx_wire::proto::serving::{
    GetModelMetadataRequest, GetModelStatusRequest, PredictRequest, VersionChoice,
};
use sardonyx_wire::proto::well_known::Int64Value;
use sardonyx_wire::proto::{
    administration as admin, inference, model_config, model_server, serving, statistics, tensorflow,
};
use sardonyx_wire::tensorflow::{bind_tensors, decode_predict};
use sardonyx_wire::{Bytes, BytesTensor, TensorSpec, Value};

use crate::support::{assert_refused, numbers, specs, strings};

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../golden/clients/", $name)).as_slice()
    };
}

/// Decodes and encodes again.
fn again<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
    M::decode(bytes)
        .expect("what the official code wrote")
        .encode_to_vec()
}

type Again = fn(&[u8]) -> Vec<u8>;

const MESSAGES: [(&str, Again); 44] = [
    ("PredictRequest", again::<PredictRequest>),
    ("PredictResponse", again::<serving::PredictResponse>),
    (
        "ClassificationRequest",
        again::<serving::ClassificationRequest>,
    ),
    (
        "ClassificationResponse",
        again::<serving::ClassificationResponse>,
    ),
    ("RegressionRequest", again::<serving::RegressionRequest>),
    ("RegressionResponse", again::<serving::RegressionResponse>),
    (
        "MultiInferenceRequest",
        again::<serving::MultiInferenceRequest>,
    ),
    (
        "MultiInferenceResponse",
        again::<serving::MultiInferenceResponse>,
    ),
    ("GetModelMetadataRequest", again::<GetModelMetadataRequest>),
    (
        "GetModelMetadataResponse",
        again::<serving::GetModelMetadataResponse>,
    ),
    ("SignatureDefMap", again::<serving::SignatureDefMap>),
    ("GetModelStatusRequest", again::<GetModelStatusRequest>),
    (
        "GetModelStatusResponse",
        again::<serving::GetModelStatusResponse>,
    ),
    ("ReloadConfigRequest", again::<serving::ReloadConfigRequest>),
    (
        "ReloadConfigResponse",
        again::<serving::ReloadConfigResponse>,
    ),
    ("TensorProto", again::<tensorflow::TensorProto>),
    ("Example", again::<tensorflow::Example>),
    ("SignatureDef", again::<tensorflow::SignatureDef>),
    ("ServerLiveResponse", again::<inference::ServerLiveResponse>),
    (
        "ServerReadyResponse",
        again::<inference::ServerReadyResponse>,
    ),
    ("ModelReadyRequest", again::<inference::ModelReadyRequest>),
    ("ModelReadyResponse", again::<inference::ModelReadyResponse>),
    (
        "ServerMetadataResponse",
        again::<inference::ServerMetadataResponse>,
    ),
    (
        "ModelMetadataRequest",
        again::<inference::ModelMetadataRequest>,
    ),
    (
        "ModelMetadataResponse",
        again::<inference::ModelMetadataResponse>,
    ),
    ("ModelInferRequest", again::<inference::ModelInferRequest>),
    ("ModelInferResponse", again::<inference::ModelInferResponse>),
    (
        "ModelStreamInferResponse",
        again::<inference::ModelStreamInferResponse>,
    ),
    ("ModelConfigRequest", again::<inference::ModelConfigRequest>),
    (
        "ModelConfigResponse",
        again::<inference::ModelConfigResponse>,
    ),
    (
        "ModelStatisticsRequest",
        again::<statistics::ModelStatisticsRequest>,
    ),
    (
        "ModelStatisticsResponse",
        again::<statistics::ModelStatisticsResponse>,
    ),
    (
        "RepositoryIndexRequest",
        again::<admin::RepositoryIndexRequest>,
    ),
    (
        "RepositoryIndexResponse",
        again::<admin::RepositoryIndexResponse>,
    ),
    (
        "RepositoryModelLoadRequest",
        again::<admin::RepositoryModelLoadRequest>,
    ),
    (
        "RepositoryModelUnloadRequest",
        again::<admin::RepositoryModelUnloadRequest>,
    ),
    (
        "SystemSharedMemoryStatusResponse",
        again::<admin::SystemSharedMemoryStatusResponse>,
    ),
    (
        "SystemSharedMemoryRegisterRequest",
        again::<admin::SystemSharedMemoryRegisterRequest>,
    ),
    (
        "CudaSharedMemoryStatusResponse",
        again::<admin::CudaSharedMemoryStatusResponse>,
    ),
    (
        "CudaSharedMemoryRegisterRequest",
        again::<admin::CudaSharedMemoryRegisterRequest>,
    ),
    ("TraceSettingRequest", again::<admin::TraceSettingRequest>),
    ("TraceSettingResponse", again::<admin::TraceSettingResponse>),
    ("LogSettings", again::<admin::LogSettings>),
    ("TritonModelConfig", again::<model_config::ModelConfig>),
];

#[test]
fn every_field_has_its_number_and_type() {
    let lines: Vec<(&str, &str)> = include_str!("../golden/fields.txt")
        .lines()
        .map(|line| line.split_once(' ').expect("a name and a message"))
        .collect();
    for (name, _) in &lines {
        assert!(MESSAGES.iter().any(|(known, _)| known == name), "{name}");
    }
    for (name, again) in MESSAGES {
        let messages: Vec<&str> = lines
            .iter()
            .filter(|(found, _)| *found == name)
            .map(|(_, hex)| *hex)
            .collect();
        assert!(!messages.is_empty(), "{name}");
        for hex in messages {
            let (bytes, written) = (unhex(hex), again(&unhex(hex)));
            assert_eq!(written.len(), bytes.len(), "{name}");
            assert_eq!(sorted(&written), sorted(&bytes), "{name}");
        }
    }
}

/// The fields of a message by their numbers, those of the messages in it too: the order in which
/// fields are written is free. What can be read as a message is taken for one, on both sides.
fn sorted(bytes: &[u8]) -> Vec<u8> {
    fields(bytes).unwrap_or_else(|| bytes.to_vec())
}

fn fields(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let start = bytes;
        let (tag, wire_type) = decode_key(&mut bytes).ok()?;
        let value = match wire_type {
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                sorted(value)
            }
            other => {
                skip_field(other, tag, &mut bytes, DecodeContext::default()).ok()?;
                start[..start.len() - bytes.len()].to_vec()
            }
        };
        found.push((tag, value));
    }
    found.sort_by_key(|(tag, _)| *tag);
    let lengths = found
        .iter()
        .flat_map(|(tag, value)| [*tag as u8, value.len() as u8]);
    Some(
        lengths
            .chain(found.iter().flat_map(|(_, value)| value.clone()))
            .collect(),
    )
}

fn unhex(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(pair).collect()
}

#[test]
fn the_configuration_of_a_reload_is_read() {
    let line = include_str!("../golden/fields.txt").lines();
    let line = line
        .into_iter()
        .find_map(|line| line.strip_prefix("ReloadConfigRequest "));
    let bytes = unhex(line.expect("a line of it"));
    let request = serving::ReloadConfigRequest::decode(bytes.as_slice()).expect("the message");
    let config: model_server::ModelServerConfig = request.config.expect("the configuration");
    let models = config.model_config_list.expect("the list").config;
    assert_eq!(models.len(), 2);
    assert!(models[0].model_version_policy.is_some());
    assert_eq!(models[0].version_labels.len(), 1);
}

fn bytes(shape: &[usize], values: &[&'static [u8]]) -> Value {
    let values = values
        .iter()
        .map(|value| Bytes::from_static(value))
        .collect();
    Value::Bytes(BytesTensor::new(shape.to_vec(), values).expect("a shape of them"))
}

fn floats() -> Value {
    numbers(&[2, 3], &[0.5f32, -1.25, 3.0, 1e-3, 7.0, f32::INFINITY])
}

fn ints() -> Value {
    numbers(&[2, 2], &[1i64, -2, 3, 1 << 40])
}

#[test]
fn predict_requests_of_ovmsclient_are_read() {
    let request = PredictRequest::decode(golden!("ovms_predict.pb")).expect("the message");
    let spec = request.model_spec.expect("the model");
    assert_eq!(spec.name, "model");
    assert_eq!(
        spec.version_choice,
        Some(VersionChoice::Version(Int64Value { value: 0 }))
    );
    let expected = [
        ("binary", bytes(&[1], &[b"\xff\xd8\0jpeg"])),
        ("bytes_list", bytes(&[2], &[b"ab", b"c"])),
        ("flags", numbers(&[3], &[true, false, true])),
        ("floats", floats()),
        ("ints", ints()),
        ("list", numbers(&[2, 2], &[1.5f32, 2.5, 3.5, 4.5])),
        ("scalar", numbers(&[1], &[7i32])),
        ("text", strings(&[1], &["hello"])),
        ("texts", strings(&[2], &["hello", "wörld"])),
        ("zeros", numbers(&[2, 3], &[0.0f64; 6])),
    ];
    let wanted: Vec<TensorSpec> = expected
        .iter()
        .map(|(name, value)| TensorSpec::new(*name, value.dtype(), Vec::new()))
        .collect();
    let inputs = bind_tensors(request.inputs.clone(), &wanted).expect("the inputs");
    for ((name, value), (expected_name, expected)) in inputs.iter().zip(&expected) {
        assert_eq!((name.as_str(), value), (*expected_name, expected));
    }
    assert_refused(
        bind_tensors(
            request.inputs,
            &specs(&[("floats", DType::F32), ("more", DType::F32)]),
        ),
        "input size does not match signature: 10!=2 len({binary,bytes_list,flags,floats,ints,list,\
         scalar,text,texts,zeros}) != len({floats,more}). Sent extra: {binary,bytes_list,flags,\
         ints,list,scalar,text,texts,zeros}. Missing but required: {more}.",
    );
}

#[test]
fn other_requests_of_ovmsclient_are_read() {
    let status = GetModelStatusRequest::decode(golden!("ovms_status.pb")).expect("the message");
    let spec = status.model_spec.expect("the model");
    assert_eq!(
        spec.version_choice,
        Some(VersionChoice::Version(Int64Value { value: 3 }))
    );
    let metadata = GetModelMetadataRequest::decode(golden!("ovms_metadata.pb"));
    let metadata = metadata.expect("the message");
    assert_eq!(metadata.metadata_field, ["signature_def"]);
    let wanted = specs(&[
        ("binary", DType::String),
        ("floats", DType::F32),
        ("texts", DType::String),
    ]);
    let body = decode_predict(golden!("ovms_predict.json"), &|_| Ok(&wanted)).expect("the body");
    assert_eq!(body.inputs[0].1, bytes(&[1], &[b"\xff\xd8\0jpeg"]));
    assert_eq!(
        body.inputs[1].1,
        numbers(&[2, 2], &[0.5f32, -1.25, 1e-3, 7.0])
    );
    assert_eq!(body.inputs[2].1, strings(&[2], &["hello", "wörld"]));
}

/// What every infer request of tritonclient has in common.
fn check_infer(request: &InferRequest, sequence: SequenceId, has_halves: bool) {
    assert_eq!(request.id, "id 1");
    assert_eq!((request.priority, request.timeout_us), (2, 5000));
    assert_eq!(request.sequence_id, Some(sequence));
    assert!(request.sequence_start && !request.sequence_end);
    let mut parameters = request.parameters.clone();
    parameters.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("custom".to_owned(), Parameter::Text("x".to_owned())),
        ("number".to_owned(), Parameter::Integer(3)),
    ];
    assert_eq!(parameters, expected);
    let mut inputs = vec![
        ("floats", floats()),
        ("ints", ints()),
        ("flags", numbers(&[3], &[true, false, true])),
        ("texts", strings(&[2], &["hello", "wörld"])),
    ];
    if has_halves {
        inputs.push((
            "halves",
            numbers(&[2], &[f16::from_f32(0.5), f16::from_f32(-2.0)]),
        ));
    }
    let found: Vec<(&str, Value)> = request
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input.value.clone()))
        .collect();
    assert_eq!(found, inputs);
}

fn wanted(name: &str, binary: Option<bool>, classification: usize) -> RequestedOutput {
    RequestedOutput {
        name: name.to_owned(),
        binary,
        classification,
    }
}

#[test]
fn infer_requests_of_tritonclient_are_read() {
    let message = inference::ModelInferRequest::decode(golden!("triton_infer.pb"));
    let message = message.expect("the message");
    assert_eq!(
        (message.model_name.as_str(), message.model_version.as_str()),
        ("model", "1")
    );
    let request = from_proto(message).expect("the request");
    check_infer(&request, SequenceId::Text("seq".to_owned()), true);
    assert_eq!(
        request.outputs,
        [wanted("scores", None, 0), wanted("classes", None, 3)]
    );

    let body = Bytes::from_static(golden!("triton_infer.json"));
    let request = decode_infer(&body, None, &[]).expect("the request");
    check_infer(&request, SequenceId::Number(42), false);
    assert_eq!(
        request.outputs,
        [
            wanted("scores", Some(false), 0),
            wanted("classes", Some(false), 3)
        ]
    );
    assert!(!request.is_binary("scores"));

    let body = Bytes::from_static(golden!("triton_infer.bin"));
    let header = std::str::from_utf8(golden!("triton_infer.bin.header")).expect("text");
    let header = header.parse().expect("a length");
    let request = decode_infer(&body, Some(header), &[]).expect("the request");
    check_infer(&request, SequenceId::Number(42), true);
    assert!(request.is_binary("scores") && !request.is_binary("classes"));
    for cut in [body.len() - 1, header + 3, header] {
        assert_refused(
            decode_infer(&body.slice(..cut), Some(header), &[]),
            "additional bytes",
        );
    }
    let longer = Bytes::from([&body, &b"x"[..]].concat());
    assert_refused(
        decode_infer(&longer, Some(header), &[]),
        "additional input data",
    );
    assert_refused(
        decode_infer(&body, Some(99_999), &[]),
        "inference header size should be in range (0, 795), got: 99999",
    );
    let whole = Tensor::new([2, 3], vec![0f32; 6])
        .map(Value::Tensor)
        .expect("a tensor");
    let spec = TensorSpec::new("floats", DType::F32, vec![None, Some(3)]);
    assert_eq!(spec.check(&whole), Ok(()));
    assert_eq!(spec.check(&request.inputs[0].value), Ok(()));
    assert_refused(spec.check(&request.inputs[1].value), "takes f32, found i64");
}
