//! Configuration files of TensorFlow Serving and Triton, in protobuf's text format.

use sardonyx_wire::proto::model_config::{
    InstanceKind, SchedulingChoice, TimeoutAction, VersionPolicyChoice, WarmupData,
};
use sardonyx_wire::proto::model_server::PolicyChoice;
use sardonyx_wire::text::{
    batching_parameters, model_config, model_server_config, monitoring_config, ssl_config,
};

#[test]
fn the_models_of_tensorflow_serving_are_read() {
    let config = model_server_config(
        r#"
        # Two models.
        model_config_list: {
          config: {
            name: "first", base_path: '/models/first'; model_platform: "tensorflow"
            model_version_policy { specific { versions: 42 versions: 0x2B } }
            version_labels { key: 'stable' value: 42 }
            version_labels { key: "canary" value: 43 },
            logging_config { sampling_config { sampling_rate: 0.01 attributes: 1 } }
          }
          config <
            name: "second " # side by side is one
                  "\x41\102\n\u00e9"
            base_path: "/models/second"
            model_version_policy: < all: < > >
            model_type: TENSORFLOW
          >
          config [{ model_version_policy { latest { num_versions: 3 } } }, { name: "fourth" }]
        }"#,
    );
    let models = config
        .expect("a configuration")
        .model_config_list
        .expect("a list")
        .config;
    assert_eq!(models.len(), 4);
    assert_eq!(
        (models[0].name.as_str(), models[0].base_path.as_str()),
        ("first", "/models/first")
    );
    let policy = |index: usize| models[index].model_version_policy.clone()?.policy_choice;
    assert!(matches!(policy(0), Some(PolicyChoice::Specific(s)) if s.versions == [42, 43]));
    let labels: Vec<(&str, i64)> = models[0]
        .version_labels
        .iter()
        .map(|(k, v)| (k.as_str(), *v))
        .collect();
    assert_eq!(labels, [("canary", 43), ("stable", 42)]);
    let sampling = models[0]
        .logging_config
        .as_ref()
        .and_then(|config| config.sampling_config);
    assert_eq!(sampling.map(|sampling| sampling.sampling_rate), Some(0.01));
    assert_eq!(models[1].name, "second AB\né");
    assert!(matches!(policy(1), Some(PolicyChoice::All(_))));
    assert!(matches!(policy(2), Some(PolicyChoice::Latest(latest)) if latest.num_versions == 3));
    assert_eq!(policy(3), None);
}

#[test]
fn the_other_files_of_tensorflow_serving_are_read() {
    let batching = batching_parameters(
        "max_batch_size { value: 128 }\nbatch_timeout_micros { value: 0 }\n\
         allowed_batch_sizes: 1\nallowed_batch_sizes: [8, 128]\npad_variable_length_inputs: true\n\
         thread_pool_name { value: 'pool' } enable_large_batch_splitting: { value: false }",
    );
    let batching = batching.expect("parameters");
    assert_eq!(batching.max_batch_size.map(|size| size.value), Some(128));
    assert_eq!(
        batching.batch_timeout_micros.map(|time| time.value),
        Some(0)
    );
    assert_eq!(batching.num_batch_threads, None);
    assert_eq!(batching.allowed_batch_sizes, [1, 8, 128]);
    assert!(batching.pad_variable_length_inputs);
    let monitoring = monitoring_config("prometheus_config { enable: true, path: \"/metrics\" }");
    let prometheus = monitoring
        .expect("a configuration")
        .prometheus_config
        .expect("its part");
    assert!(prometheus.enable && prometheus.path == "/metrics");
    let ssl = ssl_config("server_key: \"-----BEGIN\\nkey\"\nclient_verify: True").expect("texts");
    assert_eq!(ssl.server_key, "-----BEGIN\nkey");
    assert!(ssl.client_verify && ssl.custom_ca.is_empty());
    assert_eq!(
        model_server_config("").expect("nothing").model_config_list,
        None
    );
}

#[test]
fn the_configuration_of_triton_is_read() {
    let config = model_config(
        r#"
        name: "cnn"
        backend: "onnxruntime"
        max_batch_size: 64
        input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 1, 28, -1 ] reshape { shape: [] } } ]
        output [ { name: "18", data_type: TYPE_FP32, dims: 10, label_filename: "labels.txt" } ]
        version_policy: { all { } }
        instance_group [ { count: 2 kind: KIND_CPU rate_limiter { resources [ { name: "R" count: 4 } ] } } ]
        dynamic_batching {
          preferred_batch_size: [ 4, 8 ]
          max_queue_delay_microseconds: 100
          default_queue_policy { timeout_action: DELAY max_queue_size: 16 }
          priority_queue_policy { key: 1 value: { allow_timeout_override: true } }
        }
        optimization { execution_accelerators { gpu_execution_accelerator: [ { name: "tensorrt" parameters { key: "a" value: "b" } } ] } }
        parameters: { key: "threads" value: { string_value: "2" } }
        response_cache { enable: true }
        model_warmup [ { name: "w" batch_size: 1 inputs { key: "x" value: { data_type: TYPE_FP32 dims: [1, 28, 28] zero_data: true } } } ]
        model_transaction_policy { decoupled: false }
        "#,
    );
    let config = config.expect("a configuration");
    assert_eq!((config.name.as_str(), config.max_batch_size), ("cnn", 64));
    assert_eq!(config.input[0].dims, [1, 28, -1]);
    assert_eq!(config.output[0].label_filename, "labels.txt");
    let policy = config
        .version_policy
        .and_then(|policy| policy.policy_choice);
    assert!(matches!(policy, Some(VersionPolicyChoice::All(_))));
    assert_eq!(
        (
            config.instance_group[0].count,
            config.instance_group[0].kind
        ),
        (2, InstanceKind::Cpu as i32)
    );
    let Some(SchedulingChoice::DynamicBatching(batching)) = config.scheduling_choice else {
        panic!("dynamic batching");
    };
    assert_eq!(batching.preferred_batch_size, [4, 8]);
    let queue = batching.default_queue_policy.expect("a queue");
    assert_eq!(
        (queue.timeout_action, queue.max_queue_size),
        (TimeoutAction::Delay as i32, 16)
    );
    assert!(batching.priority_queue_policy[&1].allow_timeout_override);
    assert_eq!(config.parameters["threads"].string_value, "2");
    let warmup = &config.model_warmup[0].inputs["x"];
    assert_eq!(warmup.input_data_type, Some(WarmupData::ZeroData(true)));
    assert!(config.response_cache.expect("a cache").enable);
}

#[test]
fn faults_are_placed() {
    let cases = [
        (
            "nme: 'x'",
            "line 1, column 1: there is no field 'nme'; hint: the fields here are name,",
        ),
        ("name 'x'", "line 1, column 6: ':' must come here"),
        (
            "\n\n  max_batch_size: 'x'",
            "line 3, column 19: 'max_batch_size' must be an integer of 32 bits",
        ),
        (
            "max_batch_size: 3000000000",
            "must be an integer of 32 bits",
        ),
        (
            "max_batch_size: 1 max_batch_size: 2",
            "field 'max_batch_size' is given a second time",
        ),
        ("name: \"é\n\"", "line 1, column 7: this string has no end"),
        (
            "name: \"\\q\"",
            "line 1, column 8: this escape has no meaning",
        ),
        ("name: \"\\xff\"", "'name' must be a string"),
        ("input { name: \"x\"", "line 1, column 18: '}' is missing"),
        (
            "input { name: \"x\" >",
            "the name of a field must come here",
        ),
        ("input [ {} {} ]", "',' or ']' must come here"),
        ("input: 5", "'input' must be a message: '{'"),
        (
            "input { data_type: FP32 }",
            "'data_type' must be one of TYPE_INVALID, TYPE_BOOL",
        ),
        ("name: 'a' $", "'$' has no meaning here"),
        ("model_metrics { a { b: [1, 2] }", "the text ends too early"),
        ("}", "the name of a field must come here"),
    ];
    for (text, part) in cases {
        let error = model_config(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text:?}: {error:?} has {part:?}");
    }
    let deep = format!("model_metrics {}", "{a ".repeat(100_000));
    assert!(
        model_config(&deep)
            .expect_err("deep")
            .problem
            .contains("nested too deep")
    );
    let strings = format!("name: {}", "'a' ".repeat(50_000));
    assert_eq!(model_config(&strings).expect("one name").name.len(), 50_000);
}
