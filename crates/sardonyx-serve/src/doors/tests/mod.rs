//! The doors as clients find them: a server of small models behind real sockets.

mod kserve;
mod openapi;
mod operation;
mod requests;
mod security;
mod tensorflow;
mod triton;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::listen::{Body, Listener};
use super::{DoorOptions, Doors};
use crate::metrics::{Metrics, MetricsOptions, Port};
use crate::registry::{ModelConfig, Registry, VersionPolicy};
use crate::servable::ServableOptions;
use crate::server::Server;

/// Doubles its input.
const DOUBLE: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
    double (float[N,2] x) => (float[N,2] y) { y = Add(x, x) }"#;
/// Triples its input: another version of the one above.
const TRIPLE: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
    triple (float[N,2] x) => (float[N,2] y) { d = Add(x, x) y = Add(d, x) }"#;
/// Two inputs, two outputs.
const PAIR: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
    pair (float[N] a, float[N] b) => (float[N] sum, float[N] product)
    { sum = Add(a, b) product = Mul(a, b) }"#;
/// A picture in, ten scores out: the mean plus the number of the class.
const CNN: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
    cnn (float[N,1,28,28] x) => (float[N,10] y)
    <float[10] bias = {0,1,2,3,4,5,6,7,8,9}>
    { m = GlobalAveragePool(x) f = Flatten(m) y = Add(f, bias) }"#;

/// A server of all of these; `double` has versions 1 (doubles) and 2 (triples).
struct House {
    address: SocketAddr,
    admin: SocketAddr,
    doors: Arc<Doors>,
    stop: watch::Sender<bool>,
    folder: TempDir,
}

/// An answer over HTTP.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("JSON: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The message of an error.
    fn error(&self) -> (u16, String) {
        let message = self.json()["error"].as_str().expect("an error").to_owned();
        (self.status, message)
    }
}

fn write_model(folder: &TempDir, name: &str, version: u64, text: &str) {
    let mut graph = sardonyx_ir::text::parse(text).expect("a graph");
    if name == "cnn" {
        let names: Vec<String> = (0..10).map(|class| format!("class-{class}")).collect();
        sardonyx_model::set_class_names(&mut graph, &names);
    }
    let place = folder.path().join(name).join(version.to_string());
    std::fs::create_dir_all(&place).expect("a folder");
    sardonyx_model::save(&place.join("model.onnx"), &graph).expect("saved");
}

impl House {
    async fn open() -> House {
        House::with(DoorOptions::default()).await
    }

    async fn with(options: DoorOptions) -> House {
        let all = [
            ("double", 1, DOUBLE),
            ("double", 2, TRIPLE),
            ("pair", 1, PAIR),
            ("cnn", 1, CNN),
        ];
        House::of(&all, options).await
    }

    async fn of(models: &[(&str, u64, &str)], options: DoorOptions) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, version, text) in models {
            write_model(&folder, name, *version, text);
        }
        let metrics = Arc::new(Metrics::new(MetricsOptions::default()));
        let pool = Arc::new(sardonyx_kernels::Pool::new(2).expect("threads"));
        let registry = Registry::new(ServableOptions::new(pool), metrics, None);
        let all = |name: &str| ModelConfig {
            policy: VersionPolicy::All,
            ..ModelConfig::new(name, folder.path().join(name))
        };
        let names: BTreeSet<&str> = models.iter().map(|(name, ..)| *name).collect();
        let models = names.into_iter().map(all).collect();
        registry.configure(models).expect("models");
        let server = Arc::new(Server::new(Arc::new(registry)).expect("threads"));
        let (stop, stopped) = watch::channel(false);
        let limits = options.limits.clone();
        let doors = Doors::new(server, options, stopped.clone());
        let mut addresses = Vec::new();
        for port in [Port::Http, Port::Admin] {
            let any = "127.0.0.1:0".parse().expect("an address");
            let listener = Listener::bind(any, limits.clone(), None)
                .await
                .expect("a port");
            addresses.push(listener.address());
            tokio::spawn(listener.run(doors.entrance(port), stopped.clone()));
        }
        House {
            address: addresses[0],
            admin: addresses[1],
            doors,
            stop,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send("POST", path, &[], body.as_ref()).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        send(self.address, method, (path, headers), body).await
    }

    /// An order to the admin port.
    async fn order(&self, method: &str, path: &str, body: &str) -> Reply {
        send(self.admin, method, (path, &[]), body.as_bytes()).await
    }

    /// A unary call over gRPC: the answer, or the number of its status and the message.
    async fn call<A: Message + Default>(
        &self,
        path: &str,
        question: &impl Message,
    ) -> Result<A, (i32, String)> {
        self.call_with(path, &[], question).await
    }

    async fn call_with<A: Message + Default>(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        question: &impl Message,
    ) -> Result<A, (i32, String)> {
        let mut bytes = vec![0];
        bytes.extend((question.encoded_len() as u32).to_be_bytes());
        bytes.extend(question.encode_to_vec());
        let mut response = self.begin(path, headers, Body::new(bytes)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let (data, trailers) = read(response.body_mut()).await;
        let end = trailers.unwrap_or_else(|| response.headers().clone());
        let text = |name: &str| {
            end.get(name)
                .map_or("", |value| value.to_str().expect("text"))
        };
        match text("grpc-status") {
            "0" => {
                assert_eq!(data[0], 0, "not packed");
                Ok(A::decode(&data[5..]).expect("a message"))
            }
            status => Err((
                status.parse().expect("a number"),
                text("grpc-message").to_owned(),
            )),
        }
    }

    async fn begin(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> hyper::Response<Incoming> {
        let socket = TcpStream::connect(self.address).await.expect("connects");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (mut sender, connection) = handshake.await.expect("a handshake");
        tokio::spawn(connection);
        let mut request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        sender.send_request(request).await.expect("an answer")
    }
}

async fn send(
    address: SocketAddr,
    method: &str,
    (path, headers): (&str, &[(&str, &str)]),
    body: &[u8],
) -> Reply {
    let socket = TcpStream::connect(address).await.expect("connects");
    let handshake = http1::handshake(TokioIo::new(socket));
    let (mut sender, connection) = handshake.await.expect("a handshake");
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "h");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(body.to_vec())).expect("a request");
    let mut response = sender.send_request(request).await.expect("an answer");
    let (body, _) = read(response.body_mut()).await;
    openapi::check(method, path, response.status().as_u16());
    Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: body.into(),
    }
}

/// A body to its end, and its trailers.
async fn read(body: &mut Incoming) -> (Vec<u8>, Option<HeaderMap>) {
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(bytes) = next(body).await {
        match bytes {
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(end) => trailers = Some(end),
        }
    }
    (data, trailers)
}

/// The next bytes of a body, or its trailers.
async fn next(body: &mut Incoming) -> Option<Result<Bytes, HeaderMap>> {
    let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
    let frame = tokio::time::timeout(Duration::from_secs(20), frame).await;
    let frame = frame.expect("it goes on")?.expect("it is whole");
    Some(frame.into_data().map_err(|frame| {
        frame
            .into_trailers()
            .unwrap_or_else(|_| panic!("bytes or trailers"))
    }))
}
