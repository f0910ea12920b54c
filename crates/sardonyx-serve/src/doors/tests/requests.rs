//! The request log has what was asked and answered, through every door.

use std::path::Path;
use std::sync::Arc;

use sardonyx_tensor::Tensor;
use sardonyx_wire::proto::inference::{
    InferInputTensor, InferTensorContents, ModelInferRequest, ModelInferResponse,
};

use super::super::RequestSampler;
use super::{DoorOptions, House};
use crate::log::{LineLog, LogFile, RequestEntry, Sampler, Sink, read_log};
use crate::metrics::{LogKind, Metrics, MetricsOptions};

fn sampler(path: &Path, share: f64) -> RequestSampler {
    let file = LogFile {
        path: path.to_owned(),
        max_bytes: 4096,
        max_files: 100,
    };
    let metrics = Arc::new(Metrics::new(MetricsOptions::default()));
    let log = LineLog::open(Sink::File(file), 1024, LogKind::Request, metrics).expect("a log");
    let sampler = Sampler {
        share,
        shares: [("pair".to_owned(), 0.0)].into(),
    };
    RequestSampler::new(log, sampler, 64)
}

async fn house(path: &Path, share: f64) -> House {
    let options = DoorOptions {
        request_log: Some(sampler(path, share)),
        ..DoorOptions::default()
    };
    House::with(options).await
}

fn entries(house: &House, path: &Path) -> Vec<RequestEntry> {
    house.doors.flush();
    let mut reader = read_log(path).expect("a log");
    let entries = reader
        .by_ref()
        .map(|entry| entry.expect("readable"))
        .collect();
    assert_eq!(reader.skipped(), 0);
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_written_as_it_was_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("requests.jsonl");
    let house = house(&path, 1.0).await;
    for number in 0..40 {
        let body = format!(r#"{{"instances": [[{number}, 0.1]]}}"#);
        let id = format!("id-{number}");
        let headers = [("x-request-id", id.as_str())];
        let path = "/v1/models/double/versions/1:predict";
        let reply = house.send("POST", path, &headers, body.as_bytes()).await;
        assert_eq!(reply.status, 200);
    }
    let input = r#"{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [7, 8]}"#;
    let body = format!(r#"{{"id": "mine", "inputs": [{input}]}}"#);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", trace)];
    let reply = house
        .send("POST", "/v2/models/double/infer", &headers, body.as_bytes())
        .await;
    assert_eq!(reply.status, 200);
    let none = r#"{"inputs": {"a": [1], "b": [2]}}"#;
    assert_eq!(
        house.post("/v1/models/pair:predict", none).await.status,
        200
    );
    assert_eq!(
        house.post("/v1/models/double:predict", "{").await.status,
        400
    );

    let entries = entries(&house, &path);
    assert_eq!(
        entries.len(),
        41,
        "pair is left out, and what was no request"
    );
    for (number, entry) in entries[..40].iter().enumerate() {
        assert_eq!(entry.id, format!("id-{number}"));
        assert_eq!((entry.model.as_str(), entry.version), ("double", 1));
        assert_eq!(
            (entry.door.as_str(), entry.code.as_str()),
            ("tensorflow_rest", "OK")
        );
        let value = number as f32;
        let asked = Tensor::new([1, 2], vec![value, 0.1]).expect("matches");
        let answered = Tensor::new([1, 2], vec![value + value, 0.2]).expect("matches");
        assert_eq!(entry.inputs["x"].to_tensor(), Some(asked));
        assert_eq!(entry.outputs["y"].to_tensor(), Some(answered));
        assert!(entry.latency_us.compute.is_some() && entry.latency_us.total > 0.0);
    }
    let last = &entries[40];
    assert_eq!((last.id.as_str(), last.version), ("mine", 2));
    let parent = last.traceparent.as_deref().expect("a trace");
    assert_eq!(parent[..35], trace[..35]);
    assert!(
        folder.path().join("requests.jsonl.1").exists(),
        "files are put aside when full"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_alone_says_who_is_chosen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("requests.jsonl");
    let house = house(&path, 0.3).await;
    let sampler = Sampler {
        share: 0.3,
        ..Sampler::default()
    };
    let mut expected = Vec::new();
    for number in 0..60 {
        let id = format!("id-{number}");
        if sampler.chooses("double", &id) {
            expected.push(id.clone());
        }
        let question = ModelInferRequest {
            model_name: "double".to_owned(),
            id,
            inputs: vec![InferInputTensor {
                name: "x".to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![1, 2],
                contents: Some(InferTensorContents {
                    fp32_contents: vec![1.0, 2.0],
                    ..InferTensorContents::default()
                }),
                ..InferInputTensor::default()
            }],
            ..ModelInferRequest::default()
        };
        let path = "/inference.GRPCInferenceService/ModelInfer";
        let answer: ModelInferResponse = house.call(path, &question).await.expect("answered");
        assert_eq!(answer.model_version, "2");
    }
    let written: Vec<String> = entries(&house, &path)
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    assert!(!expected.is_empty() && expected.len() < 60);
    assert_eq!(written, expected);
}
