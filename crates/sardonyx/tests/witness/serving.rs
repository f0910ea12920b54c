//! A server as clients meet it: real clients of TensorFlow Serving and Triton, unchanged, get what
//! ONNX Runtime says, alone and in batches with strangers; SIGTERM ends it in order.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::Place;

/// A server process; killed when a test ends early.
struct Server {
    child: Child,
    events: BufReader<std::process::ChildStdout>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(place: &Place, arguments: &[&str]) -> Server {
        let ports = ["serve", "--json", "--host", "127.0.0.1", "--http-port", "0"];
        let mut command = place.command(&ports);
        command.args(["--grpc-port", "0"]).args(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("sardonyx runs");
        let events = BufReader::new(child.stdout.take().expect("it is piped"));
        Server { child, events }
    }

    fn event(&mut self) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).expect("it tells events");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}

fn text<'v>(event: &'v Value, key: &str) -> &'v str {
    event[key].as_str().unwrap_or_else(|| panic!("{event}"))
}

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
    if let Some(python) = std::env::var_os("SARDONYX_PYTHON") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness");
        let output = Command::new(python)
            .arg(folder.join("serving.py"))
            .arg(place.path("cnn.onnx"))
            .args(["cnn", text(&listening, "http"), text(&listening, "grpc")])
            .output()
            .expect("SARDONYX_PYTHON runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stdout}{stderr}");
        assert!(stdout.contains("every client got"), "{stdout}");
    } else {
        let message = "SARDONYX_PYTHON is not set: NOT checked: real clients of the server";
        writeln!(std::io::stderr(), "{message}").expect("stderr takes text");
    }
    let pid = server.child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(told.expect("kill runs").success());
    assert_eq!(text(&server.event(), "event"), "stopping");
    assert!(server.child.wait().expect("it ends").success());
}
