//! The end of a server: what is in flight is answered, nothing new begins, and whoever asks twice
//! does not wait.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use serde_json::Value;

use super::{Server, models, text};
use crate::support::Place;

/// Samples of a request that runs for a while.
const ROWS: usize = 1000;

/// A server of the model `slow` on one thread, where there is a Python to make the model.
fn slow() -> Option<(Place, Server, SocketAddr)> {
    let place = Place::new();
    models(&place)?;
    let mut server = Server::start(&place, &["models/slow", "--threads", "1"]);
    let address = address(&server.listening());
    server.loaded(1);
    Some((place, server, address))
}

fn address(listening: &Value) -> SocketAddr {
    text(listening, "http").parse().expect("an address")
}

fn connect(address: SocketAddr) -> TcpStream {
    let wire = TcpStream::connect(address).expect("it listens");
    let patience = Some(Duration::from_secs(60));
    wire.set_read_timeout(patience).expect("a timeout");
    wire
}

fn rest(mut wire: TcpStream) -> String {
    let mut said = String::new();
    wire.read_to_string(&mut said).expect("an answer");
    said
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut wire = connect(address);
    write!(
        wire,
        "GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    )
    .expect("sent");
    rest(wire)
}

/// Begins a request and waits until the model runs it.
fn begin(address: SocketAddr) -> TcpStream {
    let row = format!("[{}]", vec!["0"; 512].join(","));
    let body = format!("{{\"instances\":[{}]}}", vec![row; ROWS].join(","));
    let mut wire = connect(address);
    write!(
        wire,
        "POST /v1/models/slow:predict HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let runs = "sardonyx_in_flight_requests{model=\"slow\",version=\"1\"} 1";
    while !get(address, "/metrics").contains(runs) {
        std::thread::sleep(Duration::from_millis(5));
    }
    wire
}

#[test]
fn requests_in_flight_are_answered() {
    let Some((_place, mut server, address)) = slow() else {
        return;
    };
    let mut idle = connect(address);
    let running = begin(address);
    server.signal("-TERM");
    assert_eq!(text(&server.event(), "event"), "stopping");
    // The port closes at once; connections that were made before find out when they ask.
    while TcpStream::connect(address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let asked = idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n");
    let mut said = Vec::new();
    let read = asked.and_then(|()| idle.read_to_end(&mut said));
    assert!(read.is_err() || said.is_empty(), "{said:?}");
    let answer = rest(running);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).expect("the whole body");
    assert_eq!(body["predictions"].as_array().map(Vec::len), Some(ROWS));
    assert!(server.child.wait().expect("it ends").success());
}

#[test]
fn a_second_signal_ends_at_once() {
    let Some((_place, mut server, address)) = slow() else {
        return;
    };
    let mut running = begin(address);
    server.signal("-INT");
    assert_eq!(text(&server.event(), "event"), "stopping");
    server.signal("-TERM");
    let status = server.child.wait().expect("it ends");
    assert_eq!((status.code(), status.signal()), (Some(143), None));
    let mut said = Vec::new();
    // A connection whose process is gone may be reset.
    let _ = running.read_to_end(&mut said);
    assert_eq!(said, b"", "the request was not finished");
}

#[test]
fn an_idle_server_ends_at_once() {
    let place = Place::new();
    place.json("new", &["new", "mlp-small", "--output", "small.onnx"]);
    for signal in ["-INT", "-TERM"] {
        let mut server = Server::start(&place, &["small.onnx"]);
        let address = address(&server.listening());
        server.loaded(1);
        let mut kept = connect(address);
        server.signal(signal);
        assert_eq!(text(&server.event(), "event"), "stopping");
        assert!(server.child.wait().expect("it ends").success());
        let mut said = Vec::new();
        // One that was not yet accepted is reset.
        let _ = kept.read_to_end(&mut said);
        assert_eq!(said, b"", "an idle connection does not hold it up");
    }
}

#[test]
fn a_server_that_has_just_opened_ends_in_order() {
    let place = Place::new();
    place.json("new", &["new", "mlp-small", "--output", "small.onnx"]);
    // Over and over: the signal shall meet the server at every point of its start.
    for _ in 0..20 {
        let mut server = Server::start(&place, &["small.onnx"]);
        server.listening();
        server.signal("-TERM");
        let mut told = Vec::new();
        server.events.read_to_end(&mut told).expect("it ends");
        let told = String::from_utf8(told).expect("text");
        assert!(told.contains("\"event\":\"stopping\""), "{told}");
        assert!(server.child.wait().expect("it ends").success(), "{told}");
    }
}
