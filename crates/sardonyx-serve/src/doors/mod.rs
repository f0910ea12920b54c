//! The doors: how requests come in from the network and answers go out.
//!
//! Thin on purpose. A door takes connections ([`listen`]), asks who is there ([`auth`]), turns a
//! body into tensors, hands them to the core and turns its answer into bytes. What is asked and
//! what is answered is the core's business. Every listener answers every protocol: TensorFlow
//! Serving and KServe v2, over REST and gRPC, health and metrics.

mod access;
mod admin;
mod answer;
pub mod auth;
mod exchange;
mod grpc;
mod kserve;
pub mod listen;
mod operation;
mod requests;
mod run;
mod tensorflow;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::request;
use hyper::{Request, StatusCode, Version};
use tokio::sync::watch as signal;

use crate::error::Code;
use crate::metrics::{Connection, Metrics, Port, Reload as ReloadKind};
use crate::server::Server;
use answer::{Answer, Failure};
use auth::Keys;
use exchange::Exchange;
use listen::{Handler, Limits, Peer, Tls};

pub use access::AccessLog;
pub use exchange::{REQUEST_ID_HEADER, STICKY_HEADER};
pub use requests::RequestSampler;

/// How the doors behave.
#[derive(Debug)]
pub struct DoorOptions {
    /// What clients may take.
    pub limits: Limits,
    /// Who may come in; everybody when absent.
    pub keys: Option<Arc<Keys>>,
    /// Whether the public ports load, unload and configure models too.
    pub is_repository_open: bool,
    /// Whether replies of TensorFlow Serving's gRPC carry tensors as raw bytes instead of numbers.
    pub has_raw_tensors: bool,
    /// Where every request is noted; nowhere when absent.
    pub access_log: Option<AccessLog>,
    /// One more path that metrics are shown at.
    pub metrics_path: Option<String>,
    /// Where chosen requests are written with what they brought and got; nowhere when absent.
    pub request_log: Option<RequestSampler>,
}

impl Default for DoorOptions {
    /// Everybody may come in; models are loaded and unloaded elsewhere.
    fn default() -> DoorOptions {
        DoorOptions {
            limits: Limits::default(),
            keys: None,
            is_repository_open: false,
            has_raw_tensors: false,
            access_log: None,
            request_log: None,
            metrics_path: None,
        }
    }
}

/// What the listeners share.
#[derive(Debug)]
pub struct Doors {
    server: Arc<Server>,
    options: DoorOptions,
    /// Turns true when the server stops.
    stop: signal::Receiver<bool>,
}

impl Doors {
    /// The doors to `server`; `stop` turns true when it stops.
    pub fn new(
        server: Arc<Server>,
        options: DoorOptions,
        stop: signal::Receiver<bool>,
    ) -> Arc<Doors> {
        Arc::new(Doors {
            server,
            options,
            stop,
        })
    }

    /// What answers on a port: requests on the public ones, orders on [`Port::Admin`].
    pub fn entrance(self: &Arc<Doors>, port: Port) -> Arc<Entrance> {
        let doors = Arc::clone(self);
        Arc::new(Entrance { doors, port })
    }

    /// Whether requests are answered well: every model has a version that is ready, and the server
    /// is not stopping.
    pub fn is_ready(&self) -> bool {
        !*self.stop.borrow() && self.server.registry().is_ready()
    }

    /// Waits until the logs are in their files.
    pub fn flush(&self) {
        if let Some(access) = &self.options.access_log {
            access.log.flush();
        }
        if let Some(requests) = &self.options.request_log {
            requests.flush();
        }
    }

    fn metrics(&self) -> &Arc<Metrics> {
        self.server.registry().metrics()
    }

    async fn answer(self: Arc<Doors>, request: Request<Incoming>, peer: Arc<Peer>) -> Answer {
        let (head, body) = request.into_parts();
        let mut exchange = Exchange::new(&head, peer, self.options.keys.as_deref());
        let mut answer = if grpc::is_grpc(&head) {
            grpc::answer(&self, &mut exchange, &head, body).await
        } else {
            let answer = self.over_http(&exchange, &head, body).await;
            answer::packed(answer, &head.headers)
        };
        access::answer_trace(&mut answer, &head.headers, &exchange);
        if let Some(log) = &self.options.access_log {
            log.write(&exchange, &head, &answer);
        }
        answer
    }

    async fn over_http(
        &self,
        exchange: &Exchange,
        head: &request::Parts,
        body: Incoming,
    ) -> Answer {
        let path = head.uri.path();
        if let Some(answer) = operation::answer(self, exchange, head) {
            return answer;
        }
        if path == "/v2" || path.starts_with("/v2/") {
            return kserve::rest::answer(self, exchange, head, body).await;
        }
        if path
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("/v1/"))
        {
            return tensorflow::rest::answer(self, exchange, head, body).await;
        }
        not_found()
    }
}

fn not_found() -> Answer {
    let failure = Failure::new(StatusCode::NOT_FOUND, Code::NotFound, "Not Found");
    failure.answer(sardonyx_wire::kserve::encode_error)
}

/// The doors as one port has them.
#[derive(Debug)]
pub struct Entrance {
    doors: Arc<Doors>,
    port: Port,
}

impl Handler for Entrance {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Arc<Peer>) -> Answer {
        let doors = Arc::clone(&self.doors);
        if lacks_host(&request) {
            return no_host();
        }
        match self.port {
            Port::Admin => admin::answer(&doors, request, peer).await,
            _ => doors.answer(request, peer).await,
        }
    }

    fn connected(&self) -> Option<Connection> {
        Some(self.doors.metrics().connect(self.port))
    }
}

/// Whether the request breaks the rule that one of HTTP/1.1 names its host exactly once (RFC 9112,
/// section 3.2).
fn lacks_host(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_named_once = hosts.next().is_some() && hosts.next().is_none();
    request.version() == Version::HTTP_11 && !is_named_once
}

fn no_host() -> Answer {
    let message = "a request of HTTP/1.1 must have one Host header; hint: add it";
    let failure = Failure::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message);
    failure.answer(sardonyx_wire::kserve::encode_error)
}

/// How often files that may change are looked at.
const WATCH_PERIOD: Duration = Duration::from_secs(2);

/// Reads certificates again when their files change, until `tls` is dropped. Run it as a task of
/// its own; `report` hears how each reading went.
pub async fn watch_tls(
    tls: std::sync::Weak<Tls>,
    metrics: Arc<Metrics>,
    report: impl Fn(&crate::error::Result<()>) + Send + 'static,
) {
    watch::watch(tls, WATCH_PERIOD, move |result| {
        metrics.reloaded(ReloadKind::Certificate, result.is_ok());
        report(result);
    })
    .await;
}

/// Reads keys again when their file changes, until `keys` is dropped. Run it as a task of its own;
/// `report` hears how each reading went.
pub async fn watch_keys(
    keys: std::sync::Weak<Keys>,
    metrics: Arc<Metrics>,
    report: impl Fn(&crate::error::Result<()>) + Send + 'static,
) {
    watch::watch(keys, WATCH_PERIOD, move |result| {
        metrics.reloaded(ReloadKind::Keys, result.is_ok());
        report(result);
    })
    .await;
}

#[cfg(test)]
mod tests;
