//! Health, metrics, traces, logs and orders.

use sardonyx_wire::proto::health::{HealthCheckRequest, HealthCheckResponse, ServingStatus};
use serde_json::{Value, json};

use super::super::access::AccessLog;
use super::super::listen::Body;
use super::{DoorOptions, House, next};
use crate::log::{AccessFormat, LineLog, LogFile, Sink};
use crate::metrics::{Door, LogKind, Metrics, MetricsOptions, Status, Verb};

const ROWS: &str = r#"{"instances": [[1, 2]]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_by_every_way() {
    let house = House::open().await;
    for path in ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(house.get(path).await.status, 200, "{path}");
    }
    let check = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let path = "/grpc.health.v1.Health/Check";
    for service in ["", "tensorflow.serving.PredictionService", "double"] {
        let reply: HealthCheckResponse = house.call(path, &check(service)).await.expect("known");
        assert_eq!(reply.status, ServingStatus::Serving as i32);
    }
    let unknown = house
        .call::<HealthCheckResponse>(path, &check("nope"))
        .await;
    assert_eq!(unknown.expect_err("unknown").0, 5);

    let mut body = vec![0, 0, 0, 0, 0];
    let request = Body::new(std::mem::take(&mut body));
    let mut watching = house
        .begin("/grpc.health.v1.Health/Watch", &[], request)
        .await;
    let first = next(watching.body_mut())
        .await
        .expect("a message")
        .expect("bytes");
    assert_eq!(&first[..], [0, 0, 0, 0, 2, 8, 1]);
    house.stop.send_replace(true);
    let last = next(watching.body_mut())
        .await
        .expect("a message")
        .expect("bytes");
    assert_eq!(&last[..], [0, 0, 0, 0, 2, 8, 2], "not serving any more");
    let end = next(watching.body_mut())
        .await
        .expect("an end")
        .expect_err("trailers");
    assert_eq!(end["grpc-status"], "14");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened() {
    let house = House::open().await;
    for _ in 0..3 {
        assert_eq!(
            house.post("/v1/models/double:predict", ROWS).await.status,
            200
        );
    }
    assert_eq!(
        house.post("/v1/models/double:predict", "{").await.status,
        400
    );
    let page = house.get("/metrics").await;
    let counted = house.doors.metrics().model("double", 2);
    let count = |status| {
        counted
            .requests(Door::TensorflowRest, Verb::Predict, status)
            .value()
    };
    assert_eq!((count(Status::Ok), count(Status::InvalidArgument)), (3, 1));
    assert!(
        page.text()
            .contains("\nsardonyx_requests_total{model=\"double\",version=\"2\"")
    );
    let same = house.get("/monitoring/prometheus/metrics").await;
    assert_eq!(same.status, 200);
    assert!(
        page.headers["content-type"]
            .to_str()
            .expect("text")
            .starts_with("text/plain")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_keep_their_names_and_traces_and_are_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let file = LogFile {
        path: path.clone(),
        max_bytes: 1 << 20,
        max_files: 1,
    };
    let metrics = std::sync::Arc::new(Metrics::new(MetricsOptions::default()));
    let log = LineLog::open(Sink::File(file), 64, LogKind::Access, metrics).expect("a log");
    let house = House::with(DoorOptions {
        access_log: Some(AccessLog {
            log,
            format: AccessFormat::Json,
        }),
        ..DoorOptions::default()
    })
    .await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("traceparent", parent),
        ("tracestate", "a=1"),
        ("x-request-id", "me-1"),
    ];
    let reply = house
        .send(
            "POST",
            "/v1/models/double:predict",
            &headers,
            ROWS.as_bytes(),
        )
        .await;
    assert_eq!(reply.headers["x-request-id"], "me-1");
    assert_eq!(reply.headers["tracestate"], "a=1");
    let child = reply.headers["traceparent"].to_str().expect("text");
    assert!(
        child.starts_with(&parent[..36]) && child != parent,
        "{child}"
    );
    house.post("/v1/models/nope:predict", ROWS).await;
    if let Some(log) = &house.doors.options.access_log {
        log.log.flush();
    }
    let text = std::fs::read_to_string(path).expect("a log");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["id"], "me-1");
    assert_eq!(
        (&lines[0]["model"], &lines[0]["version"]),
        (&json!("double"), &json!(2))
    );
    assert_eq!(lines[0]["request_bytes"], ROWS.len());
    assert_eq!(lines[0]["response_bytes"], reply.body.len());
    assert_eq!(lines[0]["traceparent"], child);
    assert_eq!(
        (&lines[1]["http_status"], &lines[1]["code"]),
        (&json!(404), &json!("NOT_FOUND"))
    );
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one history, told in order")]
async fn rollouts_change_by_orders() {
    let house = House::open().await;
    let models = house.order("GET", "/admin/v1/models", "").await.json();
    assert_eq!(models["models"].as_array().map(Vec::len), Some(3));
    let path = "/admin/v1/models/double/rollout";
    let reply = house
        .order(
            "PUT",
            path,
            r#"{"labels": {"stable": 1}, "weights": {"1": 100}}"#,
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let predict = house.post("/v1/models/double:predict", ROWS).await.json();
    assert_eq!(
        predict["predictions"],
        json!([[2.0, 4.0]]),
        "weights choose version 1"
    );
    let labelled = house
        .post("/v1/models/double/labels/stable:predict", ROWS)
        .await
        .json();
    assert_eq!(labelled["predictions"], json!([[2.0, 4.0]]));
    let reply = house
        .order("PATCH", path, r#"{"weights": {"1": 50, "2": 50}}"#)
        .await
        .json();
    assert_eq!(
        reply["labels"],
        json!({"stable": 1}),
        "what is not given stays"
    );
    for body in [r#"{"wieghts": {}}"#, r#"{"weights": {"9": 1}}"#, "[]", "{"] {
        let reply = house.order("PUT", path, body).await;
        assert_eq!(reply.error().0, 400, "{body}");
    }
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..64 {
        let key = key.to_string();
        let headers = [("x-sticky-key", key.as_str())];
        let ask = || {
            house.send(
                "POST",
                "/v1/models/double:predict",
                &headers,
                ROWS.as_bytes(),
            )
        };
        let (first, second) = (ask().await.body, ask().await.body);
        assert_eq!(first, second, "a key stays with its version");
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both versions are in use");
    assert_eq!(
        house
            .order("POST", "/admin/v1/models/double/unload", "")
            .await
            .status,
        200
    );
    assert_eq!(
        house.post("/v1/models/double:predict", ROWS).await.status,
        404
    );
    assert_eq!(
        house
            .order("POST", "/admin/v1/models/double/load", "")
            .await
            .status,
        200
    );
    assert_eq!(
        house.order("POST", "/admin/v1/reload", "").await.status,
        200
    );
    assert_eq!(
        house.post("/admin/v1/reload", "").await.status,
        404,
        "not on a public port"
    );
}
