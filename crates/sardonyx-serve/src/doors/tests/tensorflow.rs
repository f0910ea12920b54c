//! TensorFlow Serving's clients.

use std::collections::BTreeMap;

use prost::Message;
use sardonyx_tensor::Tensor;
use sardonyx_wire::proto::model_server::{ModelConfig, ModelConfigList, ModelServerConfig};
use sardonyx_wire::proto::serving::{
    ClassificationRequest, ClassificationResponse, ExampleList, GetModelMetadataRequest,
    GetModelMetadataResponse, GetModelStatusRequest, GetModelStatusResponse, InferenceTask, Input,
    InputKind, ModelSpec, MultiInferenceRequest, MultiInferenceResponse, PredictRequest,
    PredictResponse, RegressionRequest, RegressionResponse, ReloadConfigRequest,
    ReloadConfigResponse, SignatureDefMap, TaskResult, VersionChoice,
};
use sardonyx_wire::proto::tensorflow::{Example, Feature, Features, FloatList, Kind};
use sardonyx_wire::proto::well_known::Int64Value;
use sardonyx_wire::tensorflow::{Encoding, tensor_from_proto, tensor_to_proto};
use serde_json::json;

use super::{DoorOptions, House};

#[tokio::test(flavor = "multi_thread")]
async fn predicts_by_rows_and_columns_from_every_version() {
    let house = House::open().await;
    for (path, body, expected) in [
        (
            "double",
            r#"{"instances": [[1, 2], [3, 4]]}"#,
            json!([[3.0, 6.0], [9.0, 12.0]]),
        ),
        (
            "double/versions/1",
            r#"{"instances": [{"x": [1, 2]}]}"#,
            json!([[2.0, 4.0]]),
        ),
        (
            "double/versions/0",
            r#"{"instances": [[1, 1]]}"#,
            json!([[3.0, 3.0]]),
        ),
        ("DOUBLE", "", json!(null)),
    ] {
        let reply = house
            .post(&format!("/v1/models/{path}:predict"), body)
            .await;
        if expected.is_null() {
            assert_eq!(reply.status, 404, "names keep their case");
        } else {
            assert_eq!(reply.json()["predictions"], expected, "{path}");
        }
    }
    let reply = house
        .post("/V1/Models/double:PREDICT", r#"{"inputs": [[1, 2]]}"#)
        .await;
    assert_eq!(reply.json()["outputs"], json!([[3.0, 6.0]]));
    let body = r#"{"inputs": {"a": [1, 2], "b": [3, 4]}}"#;
    let reply = house.post("/v1/models/pair:predict", body).await;
    assert_eq!(
        reply.json()["outputs"],
        json!({"sum": [4.0, 6.0], "product": [3.0, 8.0]})
    );
    assert_eq!(reply.headers["content-type"], "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_those_of_tensorflow_serving() {
    let house = House::open().await;
    let rows = r#"{"instances": [[1, 2]]}"#;
    for (path, body, status, message) in [
        ("/v1/foo", rows, 400, "Malformed request: POST /v1/foo"),
        (
            "/v1/models/nope:predict",
            rows,
            404,
            "Servable not found for request: Latest(nope)",
        ),
        (
            "/v1/models/double/versions/7:predict",
            rows,
            404,
            "Servable not found for request: Specific(double, 7)",
        ),
        (
            "/v1/models/double/labels/canary:predict",
            rows,
            400,
            "Unrecognized servable version label: canary",
        ),
        (
            "/v1/models/double:predict",
            r#"{"signature_name": "s", "instances": [[1, 2]]}"#,
            400,
            "Serving signature name: \"s\" not found in signature def",
        ),
    ] {
        let reply = house.post(path, body).await;
        assert_eq!(reply.error(), (status, message.to_owned()), "{path}");
    }
    for (path, body) in [
        ("double", "{"),
        ("double", "[]"),
        ("double", r#"{"instances": [[1, 2, 3]]}"#),
        ("double", r#"{"instances": [["a", "b"]]}"#),
        ("pair", r#"{"inputs": {"a": [1]}}"#),
        ("pair", r#"{"inputs": {"a": [1], "b": [1, 2]}}"#),
    ] {
        let reply = house
            .post(&format!("/v1/models/{path}:predict"), body)
            .await;
        assert_eq!(reply.error().0, 400, "{path} {body}");
    }
    let reply = house.get("/v1").await;
    assert_eq!(reply.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_of_its_models() {
    let house = House::open().await;
    let status = house.get("/v1/models/double").await.json();
    let states = status["model_version_status"].as_array().expect("a list");
    assert_eq!(states.len(), 2);
    assert_eq!(states[0]["version"], "2");
    assert_eq!(states[0]["state"], "AVAILABLE");
    let one = house.get("/v1/models/double/versions/1").await.json();
    assert_eq!(
        one["model_version_status"].as_array().map(Vec::len),
        Some(1)
    );
    let missing = house.get("/v1/models/double/versions/7").await.error();
    assert_eq!(
        missing,
        (404, "Could not find version 7 of model double".to_owned())
    );
    let metadata = house.get("/v1/models/pair/metadata").await.json();
    let signature = &metadata["metadata"]["signature_def"]["signature_def"]["serving_default"];
    assert_eq!(signature["inputs"]["a"]["dtype"], "DT_FLOAT");
    assert_eq!(signature["method_name"], "tensorflow/serving/predict");
    let list = house.get("/v1/models").await.json();
    assert_eq!(list["models"].as_array().map(Vec::len), Some(3));
}

fn spec(name: &str) -> Option<ModelSpec> {
    Some(ModelSpec {
        name: name.to_owned(),
        ..ModelSpec::default()
    })
}

fn example(features: &[(&str, &[f32])]) -> Example {
    let feature = |(name, values): &(&str, &[f32])| {
        let kind = Some(Kind::FloatList(FloatList {
            value: values.to_vec(),
        }));
        ((*name).to_owned(), Feature { kind })
    };
    Example {
        features: Some(Features {
            feature: features.iter().map(feature).collect(),
        }),
    }
}

fn input(examples: Vec<Example>) -> Option<Input> {
    Some(Input {
        kind: Some(InputKind::ExampleList(ExampleList { examples })),
    })
}

const PREDICTION: &str = "/tensorflow.serving.PredictionService";

#[tokio::test(flavor = "multi_thread")]
async fn predicts_over_grpc() {
    let house = House::open().await;
    let x = Tensor::new([2, 2], vec![1.0_f32, 2.0, 3.0, 4.0]).expect("matches");
    let mut request = PredictRequest {
        model_spec: spec("double"),
        inputs: BTreeMap::from([("x".to_owned(), tensor_to_proto(&x, Encoding::Content))]),
        ..PredictRequest::default()
    };
    let path = format!("{PREDICTION}/Predict");
    let reply: PredictResponse = house.call(&path, &request).await.expect("an answer");
    let found = reply.model_spec.expect("a model");
    assert_eq!(
        found.version_choice,
        Some(VersionChoice::Version(Int64Value { value: 2 }))
    );
    let y = tensor_from_proto(reply.outputs["y"].clone()).expect("a tensor");
    let expected = Tensor::new([2, 2], vec![3.0_f32, 6.0, 9.0, 12.0]).expect("matches");
    assert_eq!(y.into_tensor(), Ok(expected));

    request.output_filter = vec!["z".to_owned()];
    let error = house
        .call::<PredictResponse>(&path, &request)
        .await
        .expect_err("no z");
    assert_eq!(error.0, 3);
    request.output_filter.clear();
    request.model_spec.as_mut().expect("there").signature_name = "s".to_owned();
    let error = house
        .call::<PredictResponse>(&path, &request)
        .await
        .expect_err("no s");
    assert_eq!(
        error,
        (9, "Serving signature key \"s\" not found.".to_owned())
    );
    request.model_spec = spec("nope");
    let error = house
        .call::<PredictResponse>(&path, &request)
        .await
        .expect_err("no nope");
    assert_eq!(error.0, 5);
    let late = house
        .call_with::<PredictResponse>(&path, &[("grpc-timeout", "0n")], &request)
        .await;
    assert!(late.is_err());
    let unknown = house.call::<PredictResponse>("/a.B/C", &request).await;
    assert_eq!(unknown.expect_err("no such method").0, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn classifies_and_regresses_by_both_ways() {
    let house = House::open().await;
    let pixels = [0.5; 784];
    let request = ClassificationRequest {
        model_spec: spec("cnn"),
        input: input(vec![example(&[("x", &pixels)])]),
    };
    let path = format!("{PREDICTION}/Classify");
    let reply: ClassificationResponse = house.call(&path, &request).await.expect("an answer");
    let result = reply.result.expect("classes");
    assert_eq!(result.classifications.len(), 1);
    let classes = &result.classifications[0].classes;
    assert_eq!((classes.len(), classes[3].label.as_str()), (10, "class-3"));
    assert_eq!(classes[3].score, 3.5);

    let pair = || {
        vec![
            example(&[("a", &[2.0]), ("b", &[3.0])]),
            example(&[("a", &[4.0]), ("b", &[5.0])]),
        ]
    };
    let request = RegressionRequest {
        model_spec: spec("pair"),
        input: input(pair()),
    };
    let path = format!("{PREDICTION}/Regress");
    let reply: RegressionResponse = house.call(&path, &request).await.expect("an answer");
    let values = reply.result.expect("values").regressions;
    assert_eq!(
        values.iter().map(|value| value.value).collect::<Vec<_>>(),
        [5.0, 9.0]
    );

    let task = |method: &str| InferenceTask {
        model_spec: spec("pair"),
        method_name: format!("tensorflow/serving/{method}"),
    };
    let request = MultiInferenceRequest {
        tasks: vec![task("regress"), task("classify")],
        input: input(pair()),
    };
    let path = format!("{PREDICTION}/MultiInference");
    let reply: MultiInferenceResponse = house.call(&path, &request).await.expect("an answer");
    assert!(matches!(
        reply.results[0].result,
        Some(TaskResult::RegressionResult(_))
    ));
    assert!(matches!(
        reply.results[1].result,
        Some(TaskResult::ClassificationResult(_))
    ));

    let body = r#"{"examples": [{"a": 2.0, "b": 3.0}, {"a": 4.0, "b": 5.0}]}"#;
    let reply = house.post("/v1/models/pair:regress", body).await;
    assert_eq!(reply.json()["results"], json!([5.0, 9.0]));
    let reply = house.post("/v1/models/pair:classify", body).await;
    assert_eq!(reply.json()["results"], json!([[["0", 5.0]], [["0", 9.0]]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_of_its_models_over_grpc() {
    let house = House::open().await;
    let request = GetModelMetadataRequest {
        model_spec: spec("pair"),
        metadata_field: vec!["signature_def".to_owned()],
    };
    let path = format!("{PREDICTION}/GetModelMetadata");
    let reply: GetModelMetadataResponse = house.call(&path, &request).await.expect("an answer");
    let packed = &reply.metadata["signature_def"];
    assert!(
        packed
            .type_url
            .ends_with("tensorflow.serving.SignatureDefMap")
    );
    let map = SignatureDefMap::decode(packed.value.clone()).expect("a map");
    assert_eq!(map.signature_def["serving_default"].inputs.len(), 2);
    let request = GetModelStatusRequest {
        model_spec: spec("double"),
    };
    let path = "/tensorflow.serving.ModelService/GetModelStatus";
    let reply: GetModelStatusResponse = house.call(path, &request).await.expect("an answer");
    assert_eq!(reply.model_version_status.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_changed_where_that_is_allowed() {
    let request = |house: &House| ReloadConfigRequest {
        config: Some(ModelServerConfig {
            model_config_list: Some(ModelConfigList {
                config: vec![ModelConfig {
                    name: "renamed".to_owned(),
                    base_path: house.path("double").display().to_string(),
                    version_labels: BTreeMap::from([("stable".to_owned(), 2)]),
                    ..ModelConfig::default()
                }],
            }),
        }),
        ..ReloadConfigRequest::default()
    };
    let path = "/tensorflow.serving.ModelService/HandleReloadConfigRequest";
    let closed = House::open().await;
    let refused = closed
        .call::<ReloadConfigResponse>(path, &request(&closed))
        .await;
    assert_eq!(refused.expect_err("not allowed").0, 14);

    let house = House::with(DoorOptions {
        is_repository_open: true,
        ..DoorOptions::default()
    })
    .await;
    let reply: ReloadConfigResponse = house.call(path, &request(&house)).await.expect("done");
    assert_eq!(reply.status.expect("a status").error_code, 0);
    let rows = r#"{"instances": [[1, 2]]}"#;
    let reply = house
        .post("/v1/models/renamed/labels/stable:predict", rows)
        .await;
    assert_eq!(reply.json()["predictions"], json!([[3.0, 6.0]]));
    assert_eq!(
        house.post("/v1/models/double:predict", rows).await.status,
        404
    );
}
