//! Clients of KServe v2 and Triton.

use hyper::body::Frame;
use prost::Message;
use sardonyx_wire::proto::inference::{
    Empty, InferInputTensor, InferTensorContents, ModelInferRequest, ModelInferResponse,
    ModelReadyRequest, ModelReadyResponse, ModelStreamInferResponse, ServerReadyResponse,
};
use serde_json::json;

use super::super::listen::Body;
use super::{DoorOptions, House, next};

const SERVICE: &str = "/inference.GRPCInferenceService";

fn request(id: &str, values: &[f32]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "double".to_owned(),
        id: id.to_owned(),
        inputs: vec![InferInputTensor {
            name: "x".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![values.len() as i64 / 2, 2],
            contents: Some(InferTensorContents {
                fp32_contents: values.to_vec(),
                ..InferTensorContents::default()
            }),
            ..InferInputTensor::default()
        }],
        ..ModelInferRequest::default()
    }
}

fn raw(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn infers_over_rest() {
    let house = House::open().await;
    let input = r#"{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}"#;
    let body = format!(r#"{{"id": "7", "inputs": [{input}]}}"#);
    for (path, expected) in [
        ("double", json!([3.0, 6.0])),
        ("double/versions/1", json!([2.0, 4.0])),
    ] {
        let reply = house
            .post(&format!("/v2/models/{path}/infer"), &body)
            .await
            .json();
        assert_eq!(reply["outputs"][0]["data"], expected);
        assert_eq!(reply["id"], "7");
    }
    let header = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}"#;
    let body = [header.as_bytes(), &raw(&[1.0, 2.0])].concat();
    let length = header.len().to_string();
    let headers = [("inference-header-content-length", length.as_str())];
    let reply = house
        .send("POST", "/v2/models/double/infer", &headers, &body)
        .await;
    let json_length = &reply.headers["inference-header-content-length"];
    let json_length: usize = json_length
        .to_str()
        .expect("text")
        .parse()
        .expect("a number");
    assert_eq!(&reply.body[json_length..], raw(&[3.0, 6.0]));
    assert_eq!(reply.headers["content-type"], "application/octet-stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn infers_over_grpc() {
    let house = House::open().await;
    let path = format!("{SERVICE}/ModelInfer");
    let reply: ModelInferResponse = house
        .call(&path, &request("9", &[1.0, 2.0]))
        .await
        .expect("an answer");
    assert_eq!(
        (reply.id.as_str(), reply.model_version.as_str()),
        ("9", "2")
    );
    assert_eq!(reply.raw_output_contents, [raw(&[3.0, 6.0])]);
    let ready: ModelReadyResponse = house
        .call(
            &format!("{SERVICE}/ModelReady"),
            &ModelReadyRequest {
                name: "nope".to_owned(),
                version: String::new(),
            },
        )
        .await
        .expect("an answer");
    assert!(!ready.ready);
    let ready: ServerReadyResponse = house
        .call(&format!("{SERVICE}/ServerReady"), &Empty {})
        .await
        .expect("an answer");
    assert!(ready.ready);
}

fn framed(message: &impl Message) -> Frame<hyper::body::Bytes> {
    let mut bytes = vec![0];
    bytes.extend((message.encoded_len() as u32).to_be_bytes());
    bytes.extend(message.encode_to_vec());
    Frame::data(bytes.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_answer_in_order_and_survive_errors() {
    let house = House::open().await;
    let (sender, body) = Body::stream(4);
    let path = format!("{SERVICE}/ModelStreamInfer");
    let mut response = house.begin(&path, &[], body).await;
    let sending = async {
        for index in 0..50_u16 {
            let mut request = request(&index.to_string(), &[f32::from(index), 0.0]);
            if index == 5 {
                request.model_name = "nope".to_owned();
            }
            sender.send(framed(&request)).await.expect("open");
        }
        drop(sender);
    };
    let reading = async {
        let (mut bytes, mut answers, mut end) = (Vec::new(), Vec::new(), None);
        while let Some(found) = next(response.body_mut()).await {
            match found {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(trailers) => end = Some(trailers),
            }
            while bytes.len() >= 5 {
                let length = [bytes[1], bytes[2], bytes[3], bytes[4]];
                let whole = 5 + u32::from_be_bytes(length) as usize;
                if bytes.len() < whole {
                    break;
                }
                let answer = ModelStreamInferResponse::decode(&bytes[5..whole]);
                answers.push(answer.expect("a message"));
                bytes.drain(..whole);
            }
        }
        assert_eq!(end.expect("trailers")["grpc-status"], "0");
        answers
    };
    let (answers, ()) = tokio::join!(reading, sending);
    assert_eq!(answers.len(), 50);
    for (index, answer) in answers.iter().enumerate() {
        match &answer.infer_response {
            Some(reply) => {
                assert_eq!(reply.id, index.to_string());
                let expected = raw(&[3.0 * index as f32, 0.0]);
                assert_eq!(reply.raw_output_contents, [expected]);
            }
            None => {
                assert_eq!(index, 5);
                assert!(answer.error_message.contains("nope"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_come_and_go_where_that_is_allowed() {
    let closed = House::open().await;
    let refused = closed.post("/v2/repository/models/double/unload", "").await;
    assert_eq!(refused.status, 503);
    let house = House::with(DoorOptions {
        is_repository_open: true,
        ..DoorOptions::default()
    })
    .await;
    assert_eq!(house.get("/v2/models/double/ready").await.status, 200);
    assert_eq!(
        house
            .post("/v2/repository/models/double/unload", "")
            .await
            .status,
        200
    );
    assert_eq!(house.get("/v2/models/double/ready").await.status, 400);
    let index = house
        .post("/v2/repository/index", r#"{"ready": true}"#)
        .await
        .json();
    let names: Vec<_> = index.as_array().expect("a list").iter().collect();
    assert!(
        names.iter().all(|entry| entry["name"] != "double"),
        "{index}"
    );
    assert_eq!(
        house
            .post("/v2/repository/models/double/load", "")
            .await
            .status,
        200
    );
    assert_eq!(house.get("/v2/models/double/ready").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count() {
    let house = House::open().await;
    let body = r#"{"inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]}"#;
    for _ in 0..2 {
        assert_eq!(
            house.post("/v2/models/double/infer", body).await.status,
            200
        );
    }
    let stats = house.get("/v2/models/double/versions/2/stats").await.json();
    let stats = &stats["model_stats"][0];
    assert_eq!(stats["inference_count"], 6);
    assert_eq!(stats["inference_stats"]["success"]["count"], 2);
    assert_eq!(house.get("/v2/models/nope/stats").await.status, 404);
}
