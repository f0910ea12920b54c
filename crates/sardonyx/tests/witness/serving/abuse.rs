//! What no client should send, and clients that leave: no crash, no 5xx but the honest ones, bounded
//! memory, good requests answered meanwhile.

use super::{Server, VERSIONS, models, python, text};
use crate::support::Place;

/// Malformed requests, where `SARDONYX_ABUSE` does not say how many.
const USUAL_COUNT: &str = "1000";

#[test]
fn malformed_requests_do_no_harm() {
    let place = Place::new();
    if models(&place).is_none() {
        return;
    }
    let mut server = Server::of_models(&place, "max_request_mb = 16");
    let listening = server.listening();
    server.loaded(VERSIONS);
    let folder = place.path("models").to_string_lossy().into_owned();
    let count = std::env::var("SARDONYX_ABUSE").unwrap_or_else(|_| USUAL_COUNT.to_owned());
    let pid = server.child.id().to_string();
    let ports = ["http", "grpc"].map(|name| text(&listening, name));
    let arguments = [&folder, ports[0], ports[1], &pid, &count, "42"];
    let told = python("serving/abuse.py", &arguments);
    assert!(told.is_some_and(|told| told.contains("checked ")));
    server.stop();
}

#[test]
fn the_description_of_the_api_is_held() {
    let place = Place::new();
    if models(&place).is_none() {
        return;
    }
    let mut server = Server::of_models(&place, "open_repository = false");
    let listening = server.listening();
    server.loaded(VERSIONS);
    let folder = place.path("models").to_string_lossy().into_owned();
    let description = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let count = std::env::var("SARDONYX_ABUSE").unwrap_or_else(|_| USUAL_COUNT.to_owned());
    let ports = ["http", "grpc", "admin"].map(|name| text(&listening, name));
    let [http, grpc, admin] = ports;
    let arguments = [&*folder, http, grpc, admin, description, &count, "42"];
    let told = python("serving/openapi.py", &arguments);
    assert!(told.is_some_and(|told| told.contains("checked ")));
    // Orders among them loaded models again.
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
}
