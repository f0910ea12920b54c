//! What whoever runs the server asks: is it alive, is it ready, what does it count.

use hyper::header::{ACCEPT, HeaderValue};
use hyper::http::request;
use hyper::{Method, StatusCode};

use super::Doors;
use super::answer::{Answer, Failure, TEXT, bare, whole};
use super::auth::Verb;
use super::exchange::{Exchange, text};
use crate::metrics::Format;

/// The answer, when the path is one of these. Health is told to everybody.
pub(super) fn answer(doors: &Doors, exchange: &Exchange, head: &request::Parts) -> Option<Answer> {
    let page: fn(&Doors, &Exchange, &request::Parts) -> Answer = match head.uri.path() {
        "/healthz" => |_, _, _| whole(StatusCode::OK, TEXT, b"ok\n".to_vec()),
        "/readyz" => |doors, _, _| ready(doors),
        "/metrics" | "/monitoring/prometheus/metrics" => metrics,
        path if doors.options.metrics_path.as_deref() == Some(path) => metrics,
        _ => return None,
    };
    let is_read = head.method == Method::GET || head.method == Method::HEAD;
    Some(if is_read {
        page(doors, exchange, head)
    } else {
        bare(StatusCode::METHOD_NOT_ALLOWED)
    })
}

fn ready(doors: &Doors) -> Answer {
    if doors.is_ready() {
        whole(StatusCode::OK, TEXT, b"ready\n".to_vec())
    } else {
        whole(
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            b"not ready\n".to_vec(),
        )
    }
}

fn metrics(doors: &Doors, exchange: &Exchange, head: &request::Parts) -> Answer {
    if let Err(error) = exchange.authorise(Verb::Metrics, None) {
        return Failure::from(error).answer(sardonyx_wire::kserve::encode_error);
    }
    doors.metrics().set_ready(doors.is_ready());
    let format = Format::accepted(text(&head.headers, ACCEPT.as_str()));
    let kind = HeaderValue::from_static(format.content_type());
    whole(
        StatusCode::OK,
        kind,
        doors.metrics().render(format).into_bytes(),
    )
}
