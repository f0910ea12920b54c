//! Who is not known, or may not, never comes to a model; what is malformed does no harm.

use std::sync::Arc;

use sardonyx_tensor::{Philox, Tensor};
use sardonyx_wire::proto::health::{HealthCheckRequest, HealthCheckResponse};
use sardonyx_wire::proto::serving::{ModelSpec, PredictRequest, PredictResponse};
use sardonyx_wire::tensorflow::{Encoding, tensor_to_proto};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::auth::Keys;
use super::super::listen::Limits;
use super::{DoorOptions, House};

const ROWS: &str = r#"{"instances": [[1, 2]]}"#;

/// `open sesame` may infer `double`, `admin` everything.
const KEYS: &str = r#"
    [[keys]]
    name = "team"
    sha256 = "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb"
    models = ["double"]
    verbs = ["infer"]

    [[keys]]
    name = "operator"
    sha256 = "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918"
"#;

async fn locked() -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.toml");
    std::fs::write(&path, KEYS).expect("written");
    let keys = Some(Arc::new(Keys::load(path).expect("keys")));
    House::with(DoorOptions {
        keys,
        is_repository_open: true,
        ..DoorOptions::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_asks_for_a_key() {
    let house = locked().await;
    let team: &[(&str, &str)] = &[("authorization", "Bearer open sesame")];
    let wrong: &[(&str, &str)] = &[("authorization", "Bearer open")];
    let operator: &[(&str, &str)] = &[("authorization", "Bearer admin")];
    let infer =
        r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}"#;
    for (method, path, body, team_status) in [
        ("POST", "/v1/models/double:predict", ROWS, 200),
        ("POST", "/v1/models/pair:predict", ROWS, 403),
        ("POST", "/v2/models/double/infer", infer, 200),
        ("POST", "/v2/models/pair/infer", infer, 403),
        ("GET", "/v1/models/double", "", 403),
        ("GET", "/v1/models/double/metadata", "", 403),
        ("GET", "/v1/models", "", 403),
        ("GET", "/v2", "", 403),
        ("GET", "/v2/models/double", "", 403),
        ("GET", "/v2/models/double/config", "", 403),
        ("GET", "/v2/models/stats", "", 403),
        ("POST", "/v2/repository/index", "", 403),
        ("POST", "/v2/repository/models/double/unload", "", 403),
        ("GET", "/v2/logging", "", 403),
        ("GET", "/metrics", "", 403),
        ("GET", "/healthz", "", 200),
        ("GET", "/readyz", "", 200),
    ] {
        let nobody = if path.ends_with('z') { 200 } else { 401 };
        for (headers, expected) in [(&[][..], nobody), (wrong, nobody), (team, team_status)] {
            let reply = house.send(method, path, headers, body.as_bytes()).await;
            assert_eq!(
                reply.status,
                expected,
                "{path} {headers:?}: {}",
                reply.text()
            );
        }
    }
    let reply = house
        .send("GET", "/v1/models/pair/metadata", operator, b"")
        .await;
    assert_eq!(reply.status, 200);
    let models = house.order("GET", "/admin/v1/models", "").await;
    assert_eq!(models.status, 401);
    let metrics = house.send("GET", "/metrics", operator, b"").await.text();
    assert!(metrics.contains("unauthorised"), "{metrics}");
    let pair = house.doors.metrics().model("pair", 1);
    let totals = pair.totals();
    assert_eq!(
        (totals.success, totals.failure, totals.batches),
        (0, 0, 0),
        "it saw nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_every_call() {
    let house = locked().await;
    let x = Tensor::new([1, 2], vec![1.0_f32, 2.0]).expect("matches");
    let request = |model: &str| PredictRequest {
        model_spec: Some(ModelSpec {
            name: model.to_owned(),
            ..ModelSpec::default()
        }),
        inputs: [("x".to_owned(), tensor_to_proto(&x, Encoding::Typed))].into(),
        ..PredictRequest::default()
    };
    let path = "/tensorflow.serving.PredictionService/Predict";
    let team: &[(&str, &str)] = &[("authorization", "Bearer open sesame")];
    for (headers, model, expected) in [
        (&[][..], "double", Some(16)),
        (team, "pair", Some(7)),
        (team, "double", None),
    ] {
        let reply: Result<PredictResponse, _> =
            house.call_with(path, headers, &request(model)).await;
        assert_eq!(reply.err().map(|error| error.0), expected);
    }
    let health = HealthCheckRequest::default();
    let path = "/grpc.health.v1.Health/Check";
    let reply = house.call::<HealthCheckResponse>(path, &health).await;
    assert!(reply.is_ok(), "health is told to everybody");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_refused_by_every_door() {
    let house = House::with(DoorOptions {
        limits: Limits::new(2000, 1 << 20),
        ..DoorOptions::default()
    })
    .await;
    let large = vec![b' '; 3000];
    for path in ["/v1/models/double:predict", "/v2/models/double/infer"] {
        assert_eq!(house.post(path, &large).await.error().0, 413, "{path}");
    }
    let request = PredictRequest {
        output_filter: vec!["x".repeat(3000)],
        ..PredictRequest::default()
    };
    let path = "/tensorflow.serving.PredictionService/Predict";
    let reply = house.call::<PredictResponse>(path, &request).await;
    assert_eq!(reply.expect_err("too large").0, 8);
}

/// RFC 9112, section 3.2, on every port.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_its_host_once() {
    let house = House::open().await;
    for (hosts, version, status) in [
        ("", "1.1", "400"),
        ("host: a\r\nhost: b\r\n", "1.1", "400"),
        ("host: a\r\n", "1.1", "200"),
        ("", "1.0", "200"),
    ] {
        let mut socket = TcpStream::connect(house.address).await.expect("connects");
        let request = format!("GET /healthz HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut reply = String::new();
        socket.read_to_string(&mut reply).await.expect("answered");
        assert_eq!(reply.get(9..12), Some(status), "{hosts:?}: {reply}");
    }
}

/// Bytes that mean nothing, and requests with bytes of theirs replaced.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_does_no_harm() {
    let house = House::open().await;
    let requests = [
        format!("POST /v1/models/double:predict HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{ROWS}", ROWS.len()),
        "POST /v2/models/double/infer HTTP/1.1\r\nhost: h\r\nconnection: close\r\ninference-header-content-length: 2\r\ncontent-length: 9\r\n\r\n{}1234567".to_owned(),
        "GET /v2/models/double/versions/1/config HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x01\x05\0\0\0\x01".to_owned(),
    ];
    for turn in 0..400_u64 {
        let mut bytes = requests[turn as usize % requests.len()]
            .clone()
            .into_bytes();
        for change in 0..1 + turn % 4 {
            let [at, value, ..] = Philox::block(7, turn, change);
            let at = at as usize % bytes.len();
            bytes[at] = value as u8;
        }
        let mut socket = TcpStream::connect(house.address).await.expect("connects");
        socket.write_all(&bytes).await.expect("sent");
        socket.shutdown().await.expect("shut");
        let mut reply = Vec::new();
        // A server that closes on unread bytes resets the connection.
        let _ = socket.read_to_end(&mut reply).await;
        let reply = String::from_utf8_lossy(&reply);
        let status = reply
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let is_honest = status.is_none_or(|status| !status.starts_with('5') || status == "501");
        assert!(is_honest, "{:?}: {reply}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(
        house.post("/v1/models/double:predict", ROWS).await.status,
        200
    );
}
