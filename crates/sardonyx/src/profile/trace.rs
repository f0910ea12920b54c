//! A trace in the Trace Event Format, which Perfetto and `chrome://tracing` open
//! (<https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>).

use std::collections::BTreeSet;

use sardonyx_engine::CallSpan;
use serde::Serialize;

use crate::error::{Error, Result};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    trace_events: Vec<Event<'a>>,
    display_time_unit: &'static str,
}

#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'a str>,
    /// `X` for a complete event, `M` for what a track is called.
    ph: &'static str,
    pid: u32,
    tid: usize,
    /// Start in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    /// Duration in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    args: Arguments<'a>,
}

#[derive(Serialize, Default)]
struct Arguments<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<&'a str>,
}

const PROCESS: u32 = 1;

/// The spans as a trace that starts at 0; each thread has a track.
///
/// # Errors
/// Never: all of it has a JSON form.
pub(super) fn json(process: &str, start_ns: u64, spans: &[CallSpan]) -> Result<String> {
    let threads: BTreeSet<usize> = spans.iter().map(|span| span.thread).collect();
    let mut events = vec![track("process_name", 0, process.to_owned())];
    let tracks = threads.into_iter();
    events.extend(tracks.map(|thread| track("thread_name", thread, format!("thread {thread}"))));
    events.extend(spans.iter().map(|span| Event {
        name: &span.node,
        cat: Some(span.op.as_str()),
        ph: "X",
        pid: PROCESS,
        tid: span.thread,
        ts: Some((span.start_ns - start_ns) as f64 / 1e3),
        dur: Some(span.duration_ns as f64 / 1e3),
        args: Arguments {
            name: None,
            operator: Some(span.op.as_str()),
            kernel: Some(span.kernel),
        },
    }));
    let file = File {
        trace_events: events,
        display_time_unit: "ms",
    };
    serde_json::to_string(&file).map_err(|problem| Error::config("trace", problem.to_string()))
}

fn track(what: &'static str, thread: usize, name: String) -> Event<'static> {
    Event {
        name: what,
        cat: None,
        ph: "M",
        pid: PROCESS,
        tid: thread,
        ts: None,
        dur: None,
        args: Arguments {
            name: Some(name),
            ..Arguments::default()
        },
    }
}
