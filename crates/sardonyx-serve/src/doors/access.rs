//! The access log and the trace of a request: what came in, what went out, who asked.

use std::borrow::Cow;
use std::sync::OnceLock;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use hyper::http::request;

use super::answer::Answer;
use super::exchange::{Exchange, REQUEST_ID_HEADER};
use crate::error::Code;
use crate::log::{AccessEntry, AccessFormat, LineLog, Timestamp, TraceContext};
use crate::metrics::Status;
use crate::servable::Servable;

/// Where lines of the access log go, and how they are written.
#[derive(Debug)]
pub struct AccessLog {
    /// The log.
    pub log: LineLog,
    /// The form of its lines.
    pub format: AccessFormat,
}

/// What becomes known of a request on its way.
#[derive(Debug, Default)]
pub(super) struct Course {
    model: OnceLock<(String, u64)>,
    code: OnceLock<Code>,
    bytes: OnceLock<usize>,
}

impl Course {
    /// It came to this version.
    pub(super) fn reached(&self, servable: &Servable) {
        // The first of several tasks counts.
        let _ = self
            .model
            .set((servable.name().to_owned(), servable.version()));
    }

    /// It failed so.
    pub(super) fn failed(&self, code: Code) {
        let _ = self.code.set(code);
    }

    /// Its body had so many bytes on the wire.
    pub(super) fn received(&self, bytes: usize) {
        let _ = self.bytes.set(bytes);
    }
}

/// The trace that the client says the request belongs to.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    if !headers.contains_key("traceparent") {
        return None;
    }
    let values = |name| {
        let values = headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    };
    let context = TraceContext::from_headers(values("traceparent"), values("tracestate"))?;
    Some(context.child())
}

/// Tells the client the name and the trace that it gave its request.
pub(super) fn answer_trace(answer: &mut Answer, request: &HeaderMap, exchange: &Exchange) {
    let headers = answer.headers_mut();
    if let Some(id) = request.get(REQUEST_ID_HEADER) {
        headers.insert(REQUEST_ID_HEADER, id.clone());
    }
    if !request.contains_key("traceparent") {
        return;
    }
    let trace = exchange.trace();
    if let Ok(parent) = HeaderValue::from_str(&trace.traceparent()) {
        headers.insert("traceparent", parent);
    }
    if let Ok(state) = HeaderValue::from_str(&trace.state)
        && !trace.state.is_empty()
    {
        headers.insert("tracestate", state);
    }
}

impl AccessLog {
    /// Writes the line of a request that has been answered.
    pub(super) fn write(&self, exchange: &Exchange, head: &request::Parts, answer: &Answer) {
        let course = &exchange.course;
        let trace = exchange.trace();
        let status = course
            .code
            .get()
            .map_or(Status::Ok, |code| Status::from(*code));
        let (model, version) = course.model.get().cloned().unzip();
        let duration = exchange.started.elapsed().as_micros();
        let entry = AccessEntry {
            time: Timestamp::now(),
            remote: exchange.peer.address.to_string(),
            caller: exchange.caller().map(str::to_owned),
            method: Cow::Owned(head.method.to_string()),
            path: head.uri.path().to_owned(),
            model,
            version,
            http_status: answer.status().as_u16(),
            code: Cow::Borrowed(status.label()),
            request_bytes: course.bytes.get().map_or(0, |bytes| *bytes as u64),
            response_bytes: answer.body().len() as u64,
            duration_us: u64::try_from(duration).unwrap_or(u64::MAX),
            // The trace's own id tells requests apart where the client does not.
            id: exchange.id.clone().unwrap_or_else(|| trace.id()),
            traceparent: Some(trace.traceparent()),
        };
        let format = self.format;
        self.log.push(move |line| entry.write(format, line));
    }
}
