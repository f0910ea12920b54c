//! The Open Inference Protocol over HTTP against what a real Triton (2.51) was recorded to say of
//! a model `cnn` with one input `x` of shape `[-1, 1, 28, 28]` and one output `18` of `[-1, 10]`.
//!
//! Where Triton answers 500 for what the client did wrong, ours is an error of the client; the
//! texts are the same as far as a body alone can tell (the name of the model is not in them).
//! Floats in JSON are written with the fewest digits that give them back; Triton writes them as
//! doubles. Both read the same.

use sardonyx_tensor::{DType, Tensor, f16};
use sardonyx_wire::kserve::{
    EXTENSIONS, InferReply, ReplyOutput, classify, config_from_json, datatype,
    decode_index_request, decode_infer, decode_load_request, dtype_of, encode_config, encode_error,
    encode_index, encode_infer, encode_model_metadata, encode_server_metadata, encode_statistics,
    from_proto, to_proto,
};
use sardonyx_wire::proto::administration::ModelIndex;
use sardonyx_wire::proto::inference::{
    InferInputTensor, InferTensorContents, ModelInferRequest, ModelMetadataResponse,
    ServerMetadataResponse, TensorMetadata,
};
use sardonyx_wire::proto::model_config::{
    Latest, ModelConfig, SchedulingChoice, VersionPolicyChoice,
};
use sardonyx_wire::proto::statistics::{
    InferStatistics, ModelStatistics, ModelStatisticsResponse, StatisticDuration,
};
use sardonyx_wire::{Bytes, Code, Result, TensorSpec, Value};

use crate::support::{assert_refused, numbers, strings};

const SCORES: [f32; 10] = [
    6.491_350_2,
    -2.582_886_2,
    -2.207_308,
    -1.016_460_9,
    -2.583_951_2,
    -2.796_378_4,
    -2.457_564_1,
    -0.883_851_05,
    -2.524_976_3,
    -2.232_207_8,
];

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).expect("UTF-8")
}

fn decode(body: &str) -> Result<Value> {
    let request = decode_infer(&Bytes::copy_from_slice(body.as_bytes()), None, &[])?;
    assert_eq!(request.inputs.len(), 1);
    Ok(request.inputs.into_iter().next().expect("one input").value)
}

fn input(shape: &str, datatype: &str, data: &str) -> Result<Value> {
    decode(&format!(
        r#"{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}}}]}}"#
    ))
}

#[test]
fn data_is_nested_or_flat() {
    let expected = numbers(&[2, 1, 2], &[1.0f32, 2.5, -3.0, f32::INFINITY]);
    for data in ["[1, 2.5, -3, Infinity]", "[[[1, 2.5]], [[-3, Infinity]]]"] {
        assert_eq!(input("[2, 1, 2]", "FP32", data), Ok(expected.clone()));
    }
    let late = r#"{"inputs": [{"data": [1, 2.5, -3, Infinity], "datatype": "FP32", "shape": [2, 1, 2], "name": "x"}]}"#;
    assert_eq!(decode(late), Ok(expected));
    assert_eq!(
        input("[2]", "BYTES", r#"["a", "\u00e9"]"#),
        Ok(strings(&[2], &["a", "é"]))
    );
    assert_eq!(
        input("[2]", "BOOL", "[true, false]"),
        Ok(numbers(&[2], &[true, false]))
    );
    assert_eq!(
        input("[2]", "UINT8", "[0, 255]"),
        Ok(numbers(&[2], &[0u8, 255]))
    );
    assert_eq!(
        input("[0, 4]", "INT8", "[]"),
        Ok(numbers::<i8>(&[0, 4], &[]))
    );
    assert_eq!(input("[]", "INT16", "[7]"), Ok(numbers(&[], &[7i16])));
}

#[test]
fn what_is_wrong_is_the_clients_fault() {
    let cases = [
        (
            "",
            "failed to parse the request JSON buffer: The document is empty. at 0",
        ),
        (
            "{",
            "failed to parse the request JSON buffer: Missing a name for object member. at 1",
        ),
        (
            "{}",
            "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'",
        ),
        (
            "[]",
            "Unable to parse 'the request': attempt to access JSON non-object as object",
        ),
        (
            r#"{"inputs": [{"shape": [1], "datatype": "FP32", "data": [1]}]}"#,
            "non-existing object member 'name'",
        ),
        (
            r#"{"inputs": [{"name": "x", "datatype": "FP32", "data": [1]}]}"#,
            "non-existing object member 'shape'",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}"#,
            "non-existing object member 'data'",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32", "data": [1]}]}"#,
            "Unable to parse 'shape'",
        ),
        (
            r#"{"id": 5, "inputs": []}"#,
            "Unable to parse 'id': attempt to access JSON non-string as string",
        ),
        (
            r#"{"parameters": {"priority": "high"}, "inputs": []}"#,
            "parameter 'priority' must be an unsigned integer",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}]}"#,
            "unexpected size for input 'x', expecting 4 additional bytes",
        ),
        (
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1], "parameters": {"binary_data_size": 4}}]}"#,
            "has its data twice",
        ),
    ];
    for (body, part) in cases {
        assert_refused(decode(body), part);
    }
    let shape = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    let cases = [
        ("[1]", "FOO", "[1]", "invalid datatype for input x"),
        ("[3]", "FP32", "[1, 2]", shape),
        ("[2, 2]", "FP32", "[[1, 2, 3, 4]]", shape),
        ("[2, 2]", "FP32", "[[1, 2], [3]]", shape),
        (
            "[1]",
            "FP32",
            r#"["a"]"#,
            "attempt to access JSON non-number as double",
        ),
        (
            "[1]",
            "INT64",
            "[0.0]",
            "attempt to access JSON non-signed-integer as signed-integer",
        ),
        (
            "[1]",
            "UINT64",
            "[-1]",
            "non-unsigned-integer as unsigned-integer",
        ),
        ("[1]", "BOOL", "[1]", "non-boolean as boolean"),
        ("[1]", "BYTES", "[1]", "non-string as string"),
        ("[1]", "FP16", "[1]", "FP16 has no JSON form"),
        (
            "[4294967296, 4294967296]",
            "FP32",
            "[1]",
            "too many elements",
        ),
    ];
    for (dims, datatype, data, part) in cases {
        assert_refused(input(dims, datatype, data), part);
    }
    let shared = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"shared_memory_region": "r"}}]}"#;
    assert_eq!(
        decode(shared).map_err(|error| error.code),
        Err(Code::Unimplemented)
    );
}

#[test]
fn a_whole_body_can_be_the_one_input() {
    let body: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let body = Bytes::from(body);
    let mut spec = TensorSpec::new("x", DType::F32, vec![None, Some(2)]);
    let raw =
        |spec: &TensorSpec, body: &Bytes| decode_infer(body, Some(0), std::slice::from_ref(spec));
    let request = raw(&spec, &body).expect("two examples");
    assert!(request.binary_output);
    assert_eq!(
        request.inputs[0].value,
        numbers(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0])
    );
    assert_refused(
        raw(&spec, &Bytes::new()),
        "input byte size mismatch for input 'x'. Expected 8, got 0",
    );
    assert_refused(raw(&spec, &body.slice(..9)), "Expected 8, got 9");
    assert_refused(decode_infer(&body, Some(0), &[]), "a model of one input");
    spec.takes_bytes = true;
    let picture = Bytes::from_static(b"GIF89a");
    assert_eq!(
        raw(&spec, &picture).expect("bytes").inputs[0].value,
        strings(&[1], &["GIF89a"])
    );
}

fn reply(tensor: &Tensor, id: &str, binary: bool) -> (String, Option<usize>) {
    let output = ReplyOutput {
        name: "18",
        tensor,
        binary,
    };
    let reply = InferReply {
        model_name: "cnn",
        model_version: "1",
        id,
        outputs: vec![output],
    };
    let encoded = encode_infer(&reply).expect("a reply");
    let length = encoded.header_length.unwrap_or(encoded.body.len());
    assert_eq!(
        encoded.body.len() - length,
        if binary { tensor.size_bytes() } else { 0 }
    );
    (text(encoded.body[..length].to_vec()), encoded.header_length)
}

#[test]
fn replies_are_those_of_triton() {
    let scores = Tensor::new([1, 10], SCORES.to_vec()).expect("a tensor");
    let (json, _) = reply(&scores, "42", false);
    assert_eq!(
        json,
        concat!(
            r#"{"id":"42","model_name":"cnn","model_version":"1","outputs":[{"name":"18","datatype":"FP32","#,
            r#""shape":[1,10],"data":[6.49135,-2.5828862,-2.207308,-1.0164609,-2.5839512,-2.7963784,"#,
            r#"-2.457564,-0.88385105,-2.5249763,-2.2322078]}]}"#
        )
    );
    let (json, header) = reply(&scores, "", true);
    assert_eq!(header, Some(136));
    assert_eq!(
        json,
        concat!(
            r#"{"model_name":"cnn","model_version":"1","outputs":[{"name":"18","datatype":"FP32","#,
            r#""shape":[1,10],"parameters":{"binary_data_size":40}}]}"#
        )
    );
    let classes = classify(&scores, 3, &[]).expect("numbers");
    let (json, _) = reply(&classes, "", false);
    assert_eq!(
        json,
        concat!(
            r#"{"model_name":"cnn","model_version":"1","outputs":[{"name":"18","datatype":"BYTES","#,
            r#""shape":[1,3],"data":["6.491350:0","-0.883851:7","-1.016461:3"]}]}"#
        )
    );
    let half = Tensor::vector(vec![f16::ONE]);
    let output = ReplyOutput {
        name: "h",
        tensor: &half,
        binary: false,
    };
    let refused = encode_infer(&InferReply {
        model_name: "m",
        model_version: "1",
        id: "",
        outputs: vec![output],
    });
    assert_refused(refused, "sending FP16 data via JSON is not supported");
}

#[test]
fn contents_of_grpc_are_read_and_written() {
    let tensor = |datatype: &str, contents: InferTensorContents| {
        let input = InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: vec![2],
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        ModelInferRequest {
            inputs: vec![input],
            ..ModelInferRequest::default()
        }
    };
    let ints = || InferTensorContents {
        int_contents: vec![-1, 300],
        ..InferTensorContents::default()
    };
    let decoded = from_proto(tensor("INT16", ints())).expect("a request");
    assert_eq!(decoded.inputs[0].value, numbers(&[2], &[-1i16, 300]));
    assert_refused(
        from_proto(tensor("INT8", ints())),
        "300 is out of the range of its type",
    );
    assert_refused(
        from_proto(tensor("INT64", ints())),
        "needs 2 elements, found 0",
    );
    assert_refused(
        from_proto(tensor("FP16", ints())),
        "must be in raw_input_contents",
    );
    assert_refused(
        from_proto(tensor("int", ints())),
        "invalid datatype for input x",
    );
    let mut both = tensor("INT32", ints());
    both.raw_input_contents = vec![Bytes::from_static(&[0; 8])];
    assert_refused(
        from_proto(both.clone()),
        "contents field must not be specified when using raw_input_contents for 'x'",
    );
    both.raw_input_contents.push(Bytes::new());
    assert_refused(from_proto(both), "expected 1 raw input contents");
    let texts = Tensor::vector(vec!["a".to_owned(), "é".to_owned()]);
    let output = ReplyOutput {
        name: "y",
        tensor: &texts,
        binary: false,
    };
    let reply = to_proto(&InferReply {
        model_name: "m",
        model_version: "3",
        id: "i",
        outputs: vec![output],
    });
    assert_eq!(
        (reply.model_version.as_str(), reply.id.as_str()),
        ("3", "i")
    );
    assert_eq!(reply.outputs[0].datatype, "BYTES");
    assert_eq!(
        reply.raw_output_contents,
        [Bytes::from_static(b"\x01\0\0\0a\x02\0\0\0\xc3\xa9")]
    );
}

#[test]
fn metadata_is_that_of_triton() {
    let server = ServerMetadataResponse {
        name: "sardonyx".to_owned(),
        version: "1".to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    };
    let written = text(encode_server_metadata(&server));
    assert!(
        written.starts_with(r#"{"name":"sardonyx","version":"1","extensions":["classification","#)
    );
    let tensor = |name: &str, shape: &[i64]| TensorMetadata {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: shape.to_vec(),
    };
    let model = ModelMetadataResponse {
        name: "cnn".to_owned(),
        versions: vec!["1".to_owned()],
        platform: "python".to_owned(),
        inputs: vec![tensor("x", &[-1, 1, 28, 28])],
        outputs: vec![tensor("18", &[-1, 10])],
    };
    assert_eq!(
        text(encode_model_metadata(&model)),
        concat!(
            r#"{"name":"cnn","versions":["1"],"platform":"python","#,
            r#""inputs":[{"name":"x","datatype":"FP32","shape":[-1,1,28,28]}],"#,
            r#""outputs":[{"name":"18","datatype":"FP32","shape":[-1,10]}]}"#
        )
    );
    let index = |state: &str, reason: &str| ModelIndex {
        name: "cnn".to_owned(),
        version: "1".to_owned(),
        state: state.to_owned(),
        reason: reason.to_owned(),
    };
    assert_eq!(
        text(encode_index(&[
            index("READY", ""),
            index("UNAVAILABLE", "unloaded")
        ])),
        concat!(
            r#"[{"name":"cnn","version":"1","state":"READY"},"#,
            r#"{"name":"cnn","version":"1","state":"UNAVAILABLE","reason":"unloaded"}]"#
        )
    );
    assert_eq!(text(encode_error("a \"b\"")), r#"{"error":"a \"b\""}"#);
}

#[test]
fn statistics_are_those_of_triton() {
    let none = Some(StatisticDuration::default());
    let inference_stats = InferStatistics {
        success: none,
        fail: none,
        queue: none,
        compute_input: none,
        compute_infer: none,
        compute_output: none,
        cache_hit: none,
        cache_miss: none,
    };
    let model = ModelStatistics {
        name: "cnn".to_owned(),
        version: "1".to_owned(),
        inference_stats: Some(inference_stats),
        ..ModelStatistics::default()
    };
    let response = ModelStatisticsResponse {
        model_stats: vec![model],
    };
    assert_eq!(
        text(encode_statistics(&response)),
        concat!(
            r#"{"model_stats":[{"name":"cnn","version":"1","last_inference":0,"inference_count":0,"#,
            r#""execution_count":0,"inference_stats":{"success":{"count":0,"ns":0},"fail":{"count":0,"#,
            r#""ns":0},"queue":{"count":0,"ns":0},"compute_input":{"count":0,"ns":0},"compute_infer":"#,
            r#"{"count":0,"ns":0},"compute_output":{"count":0,"ns":0},"cache_hit":{"count":0,"ns":0},"#,
            r#""cache_miss":{"count":0,"ns":0}},"response_stats":{},"batch_stats":[],"memory_usage":[]}]}"#
        )
    );
}

/// The configuration that Triton was recorded to have, as its JSON has it.
const CONFIG: &str = r#"{"name":"cnn","platform":"","backend":"python","runtime":"","version_policy":{"latest":{"num_versions":1}},"max_batch_size":64,"input":[{"name":"x","data_type":"TYPE_FP32","format":"FORMAT_NONE","dims":[1,28,28],"is_shape_tensor":false,"allow_ragged_batch":false,"optional":false,"is_non_linear_format_io":false}],"output":[{"name":"18","data_type":"TYPE_FP32","dims":[10],"label_filename":"","is_shape_tensor":false,"is_non_linear_format_io":false}],"batch_input":[],"batch_output":[],"optimization":{"priority":"PRIORITY_DEFAULT","input_pinned_memory":{"enable":true},"output_pinned_memory":{"enable":true},"gather_kernel_buffer_threshold":0,"eager_batching":false},"dynamic_batching":{"preferred_batch_size":[64],"max_queue_delay_microseconds":0,"preserve_ordering":false,"priority_levels":0,"default_priority_level":0,"priority_queue_policy":{}},"instance_group":[{"name":"cnn_0","kind":"KIND_CPU","count":1,"gpus":[],"secondary_devices":[],"profile":[],"passive":false,"host_policy":""}],"default_model_filename":"model.py","cc_model_filenames":{},"metric_tags":{},"parameters":{},"model_warmup":[]}"#;

#[test]
fn configurations_are_read_and_written() {
    let config = config_from_json(CONFIG.as_bytes()).expect("a configuration");
    let policy = config
        .version_policy
        .clone()
        .and_then(|policy| policy.policy_choice);
    assert_eq!(
        policy,
        Some(VersionPolicyChoice::Latest(Latest { num_versions: 1 }))
    );
    let Some(SchedulingChoice::DynamicBatching(batching)) = &config.scheduling_choice else {
        panic!("{config:?}");
    };
    assert_eq!(batching.preferred_batch_size, [64]);
    assert_eq!(config.input[0].dims, [1, 28, 28]);
    let written = text(encode_config(&config));
    // The same but for the fields that there are none of here.
    let expected = CONFIG
        .replace(r#""batch_input":[],"batch_output":[],"#, "")
        .replace(r#""input_pinned_memory":{"enable":true},"output_pinned_memory":{"enable":true},"gather_kernel_buffer_threshold":0,"#, "")
        .replace(r#""secondary_devices":[],"#, "");
    assert_eq!(written, expected);
    let cases = [
        (r#"{"nme": "x"}"#, "there is no field 'nme'"),
        (
            r#"{"max_batch_size": 3000000000}"#,
            "'max_batch_size' must be an integer of 32 bits",
        ),
        (r#"{"input": {}}"#, "'input' must be a list"),
        (
            r#"{"input": [{"data_type": "FP32"}]}"#,
            "'data_type' must be one of TYPE_INVALID",
        ),
        (r#"{"name": "x"} y"#, "unexpected text behind the JSON"),
        ("5", "a message must be a JSON object"),
    ];
    for (json, part) in cases {
        assert_refused(config_from_json(json.as_bytes()), part);
    }
    let json = r#"{"parameters": {"a": {"string_value": "b"}}, "dynamic_batching": {"priority_queue_policy": {"2": {"max_queue_size": 3}}}}"#;
    let config: ModelConfig = config_from_json(json.as_bytes()).expect("maps");
    assert_eq!(config.parameters["a"].string_value, "b");
    assert!(
        text(encode_config(&config))
            .contains(r#""priority_queue_policy":{"2":{"timeout_action":"REJECT","#)
    );
}

#[test]
fn loads_carry_configuration_and_files() {
    let body = br#"{"parameters": {"config": "{\"name\":\"m\"}", "file:1/model.onnx": "aGVsbG8=", "unload_dependents": true, "more": 1}}"#;
    let request = decode_load_request(body).expect("a body");
    assert_eq!(request.config.as_deref(), Some("{\"name\":\"m\"}"));
    assert_eq!(
        request.files,
        [("1/model.onnx".to_owned(), Bytes::from_static(b"hello"))]
    );
    assert!(request.unload_dependents);
    assert_eq!(decode_load_request(b""), Ok(Default::default()));
    assert_refused(
        decode_load_request(br#"{"parameters": {"file:a": "*"}}"#),
        "is not base64",
    );
    assert_eq!(
        decode_index_request(br#"{"ready": true}"#).map(|request| request.ready),
        Ok(true)
    );
    assert_eq!(
        decode_index_request(b" ").map(|request| request.ready),
        Ok(false)
    );
    assert_refused(
        decode_index_request(br#"{"ready": 1}"#),
        "'ready' must be a boolean",
    );
}

#[test]
fn names_of_types_go_both_ways() {
    for dtype in DType::ALL {
        assert_eq!(dtype_of(datatype(dtype)), Some(dtype));
    }
    assert_eq!(dtype_of("fp32"), None);
}
