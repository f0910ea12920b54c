//! Real clients of TensorFlow Serving and Triton, unchanged, get what ONNX Runtime says, alone and
//! in batches with strangers.

use super::{Server, VERSIONS, models, python, text};
use crate::support::Place;

#[test]
fn real_clients_get_what_onnxruntime_says() {
    let place = Place::new();
    let model = ["new", "seed-cnn", "--output", "cnn.onnx"];
    assert!(
        place
            .command(&model)
            .status()
            .expect("sardonyx runs")
            .success()
    );
    let mut server = Server::start(&place, &["cnn.onnx"]);
    let listening = server.event();
    assert_eq!(text(&listening, "event"), "listening");
    let loaded = server.event();
    assert_eq!(
        (text(&loaded, "event"), text(&loaded, "model")),
        ("loaded", "cnn")
    );
    let asked = [text(&listening, "http"), text(&listening, "grpc")];
    let model = place.path("cnn.onnx").to_string_lossy().into_owned();
    let arguments = [&[&*model, "cnn"], &asked[..]].concat();
    if let Some(told) = python("serving/cnn.py", &arguments) {
        assert!(told.contains("every client got"), "{told}");
    }
    server.stop();
}

/// Has a script ask a server of all models; both ports answer every protocol, so it asks twice,
/// the second time with the ports exchanged.
fn ask(script: &str, server: &str) {
    let place = Place::new();
    if models(&place).is_none() {
        return;
    }
    for swap in [false, true] {
        let mut server = Server::of_models(&place, server);
        let listening = server.listening();
        server.loaded(VERSIONS);
        let mut ports = ["http", "grpc"].map(|name| text(&listening, name));
        if swap {
            ports.swap(0, 1);
        }
        let folder = place.path("models");
        let told = python(script, &[&folder.to_string_lossy(), ports[0], ports[1]]);
        assert!(told.is_some_and(|told| told.contains("checked ")));
        server.stop();
    }
}

#[test]
fn every_method_of_tensorflow_serving() {
    ask("serving/tensorflow_grpc.py", "open_repository = true");
}

#[test]
fn every_form_of_rest_and_pictures() {
    ask("serving/rest.py", "");
}

#[test]
fn every_extension_of_triton() {
    ask("serving/triton.py", "open_repository = true");
}
