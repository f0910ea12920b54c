use expect_test::{expect, expect_file};

use crate::eval::LARGEST;
use crate::support::{Place, check_help};

fn place() -> Place {
    let place = Place::new();
    place.model("largest.onnx", LARGEST, &["red", "green", "blue"]);
    place
}

#[test]
fn help() {
    check_help(&["serve"], expect_file!["snapshots/serve.txt"]);
}

#[test]
fn a_check_tells_what_would_be_served() {
    let place = place();
    let report = place.json(&["serve", "largest.onnx", "--name", "colours", "--check"]);
    let loaded = &report["versions"][0];
    assert_eq!(loaded["event"], "loaded");
    assert_eq!(loaded["model"], "colours");
    assert_eq!(loaded["version"], 1);
    let text = place.stdout(&["serve", "largest.onnx", "--check"]);
    assert!(text.contains("largest"), "{text}");
}

#[test]
fn nothing_to_serve_is_a_mistake() {
    let place = place();
    expect![[r#"
        error: serve: nothing to serve
         hint: give a model file, --models FOLDER or --config FILE
    "#]]
    .assert_eq(&place.mistake(&["serve"]));
}

#[test]
fn what_is_no_model_is_named() {
    let place = place();
    place.write("broken.onnx", "this is no model");
    for arguments in [
        &["serve", "broken.onnx", "--check"][..],
        &["serve", "broken.onnx"],
    ] {
        let ports = ["--http-port", "0", "--grpc-port", "0", "--quiet"];
        let message = place.mistake(&[arguments, &ports].concat());
        assert!(message.contains("broken.onnx"), "{message}");
    }
    let message = place.mistake(&["serve", "missing.onnx"]);
    assert!(message.contains("missing.onnx"), "{message}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let place = place();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let port = taken.local_addr().expect("bound").port().to_string();
    for flag in ["--http-port", "--grpc-port", "--admin-port"] {
        let mut arguments = vec!["serve", "largest.onnx", "--host", "127.0.0.1", "--quiet"];
        for each in ["--http-port", "--grpc-port", "--admin-port"] {
            arguments.extend([each, if each == flag { port.as_str() } else { "0" }]);
        }
        let message = place.mistake(&arguments);
        assert!(message.contains(&address), "{flag}: {message}");
        assert!(message.contains("choose another port"), "{flag}: {message}");
        let is_admin = flag == "--admin-port";
        assert_eq!(message.contains("admin"), is_admin, "{flag}: {message}");
    }
}

#[test]
fn a_misspelt_setting_is_named() {
    let place = place();
    place.write("serve.toml", "[server]\nhttp_prot = 1\n");
    let message = place.mistake(&["serve", "--config", "serve.toml", "--check"]);
    assert!(
        message.contains("serve.toml") && message.contains("http_prot"),
        "{message}"
    );
}
