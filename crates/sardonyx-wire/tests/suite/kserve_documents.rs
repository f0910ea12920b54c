//! Metadata, configuration, statistics and repository of the Open Inference Protocol, against what
//! a real Triton (2.51) was recorded to say of a model `cnn`.

use sardonyx_wire::Bytes;
use sardonyx_wire::kserve::{
    EXTENSIONS, config_from_json, decode_index_request, decode_load_request, encode_config,
    encode_error, encode_index, encode_model_metadata, encode_server_metadata, encode_statistics,
};
use sardonyx_wire::proto::administration::ModelIndex;
use sardonyx_wire::proto::inference::{
    ModelMetadataResponse, ServerMetadataResponse, TensorMetadata,
};
use sardonyx_wire::proto::model_config::{
    Latest, ModelConfig, SchedulingChoice, VersionPolicyChoice,
};
use sardonyx_wire::proto::statistics::{
    InferStatistics, ModelStatistics, ModelStatisticsResponse, StatisticDuration,
};

use crate::support::assert_refused;

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).expect("UTF-8")
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
const CONFIG: &str = concat!(
    r#"{"name":"cnn","platform":"","backend":"python","runtime":"","#,
    r#""version_policy":{"latest":{"num_versions":1}},"max_batch_size":64,"#,
    r#""input":[{"name":"x","data_type":"TYPE_FP32","format":"FORMAT_NONE","dims":[1,28,"#,
    r#"28],"is_shape_tensor":false,"allow_ragged_batch":false,"optional":false,"#,
    r#""is_non_linear_format_io":false}],"output":[{"name":"18","data_type":"TYPE_FP32","#,
    r#""dims":[10],"label_filename":"","is_shape_tensor":false,"#,
    r#""is_non_linear_format_io":false}],"batch_input":[],"batch_output":[],"#,
    r#""optimization":{"priority":"PRIORITY_DEFAULT","input_pinned_memory":{"enable":true},"#,
    r#""output_pinned_memory":{"enable":true},"gather_kernel_buffer_threshold":0,"#,
    r#""eager_batching":false},"dynamic_batching":{"preferred_batch_size":[64],"#,
    r#""max_queue_delay_microseconds":0,"preserve_ordering":false,"priority_levels":0,"#,
    r#""default_priority_level":0,"priority_queue_policy":{}},"#,
    r#""instance_group":[{"name":"cnn_0","kind":"KIND_CPU","count":1,"gpus":[],"#,
    r#""secondary_devices":[],"profile":[],"passive":false,"host_policy":""}],"#,
    r#""default_model_filename":"model.py","cc_model_filenames":{},"metric_tags":{},"#,
    r#""parameters":{},"model_warmup":[]}"#
);

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
