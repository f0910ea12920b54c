//! A server as its machine treats it: killed at any moment, run by nobody where nothing can be
//! written.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Place;

const DOUBLE: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
    double (float[N,2] x) => (float[N,2] y) { y = Add(x, x) }"#;

/// A server process; killed at the latest when a test ends.
struct Server {
    child: Child,
    events: BufReader<ChildStdout>,
    listening: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(mut command: Command, arguments: &[&str]) -> Server {
        command.args(["serve", "--json", "--host", "127.0.0.1"]);
        command.args(["--http-port", "0", "--grpc-port", "0", "--admin-port", "0"]);
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("sardonyx runs");
        let events = BufReader::new(child.stdout.take().expect("it is piped"));
        let listening = Value::Null;
        let mut server = Server {
            child,
            events,
            listening,
        };
        server.listening = server.event("listening");
        server
    }

    /// The next event, which is of this kind.
    fn event(&mut self, kind: &str) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).expect("it tells events");
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
        assert_eq!(event["event"], kind, "{event}");
        event
    }

    fn address(&self, port: &str) -> String {
        let address = self.listening[port].as_str();
        address
            .unwrap_or_else(|| panic!("{}", self.listening))
            .to_owned()
    }
}

/// Asks over HTTP: the status and the body; `None` when the server does not answer.
fn ask(address: &str, request: &str, body: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n");
    write!(stream, "{head}content-length: {length}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sardonyx"))
}

/// The rollout number `number`: no two have anything in common.
fn rollout(number: u64) -> Value {
    json!({
        "labels": { "stable": number % 2 + 1 },
        "weights": { "1": number, "2": 1_000_000 - number },
        "shadow": { "version": (number + 1) % 2 + 1, "fraction": 0.0, "tolerance": number as f64 },
    })
}

#[test]
fn a_killed_server_keeps_the_last_rollout_whole() {
    let place = Place::new();
    for version in ["1", "2"] {
        std::fs::create_dir_all(place.path("m").join(version)).expect("a folder");
        place.model(&format!("m/{version}/model.onnx"), DOUBLE, &[]);
    }
    let path = place.path("m");
    let config = format!(
        "[[model]]\nname = 'm'\npath = '{}'\nversions = 'all'\n",
        path.display()
    );
    place.write("serve.toml", config);
    let (config, file) = (place.path("serve.toml"), place.path("rollouts.json"));
    let texts = [&config, &file].map(|path| path.to_str().expect("text").to_owned());
    let arguments = ["--config", &texts[0], "--rollout-file", &texts[1]];
    let path = "/admin/v1/models/m/rollout";
    let mut acknowledged = 0;
    let mut kept = None;
    for round in 0..12 {
        let mut server = Server::start(binary(), &arguments);
        server.event("loaded");
        server.event("loaded");
        let admin = server.address("admin");
        let (status, found) = ask(&admin, &format!("GET {path}"), "").expect("an answer");
        assert_eq!(status, 200);
        if let Some(last) = kept {
            let may_be = [rollout(last), rollout(last + 1)];
            assert!(may_be.contains(&found), "{found} after {last}");
            assert_eq!(acknowledged, last);
            acknowledged = found["weights"]["1"].as_u64().expect("a number");
        }
        let (told, heard) = channel();
        let changes = std::thread::spawn(move || {
            let mut number = acknowledged;
            loop {
                let body = rollout(number + 1).to_string();
                match ask(&admin, &format!("PUT {path}"), &body) {
                    Some((200, _)) => number += 1,
                    Some(other) => panic!("{other:?}"),
                    None => return number,
                }
                // Nobody listens after the first.
                let _ = told.send(());
            }
        });
        heard.recv().expect("a change");
        std::thread::sleep(Duration::from_micros(round * 7919 % 23_000));
        server.child.kill().expect("it runs");
        acknowledged = changes.join().expect("no change was refused");
        kept = Some(acknowledged);
    }
    assert!(acknowledged > 12, "{acknowledged}");
}

/// Everything below a folder.
fn listing(folder: &Path) -> Vec<String> {
    let output = Command::new("find")
        .arg(folder)
        .output()
        .expect("find runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn nobody_can_serve_where_nothing_can_be_written() {
    let place = Place::new();
    place.model("double.onnx", DOUBLE, &[]);
    let folder = place.path("");
    let allow = |path: &Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("it is ours");
    };
    allow(&place.path("double.onnx"), 0o444);
    allow(&folder, 0o555);
    let id = Command::new("id").arg("-u").output().expect("id runs");
    let is_root = id.stdout.trim_ascii() == b"0";
    let mut command = if is_root {
        // Root may write anywhere: somebody else has to serve.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_sardonyx"));
        command
    } else {
        binary()
    };
    command
        .current_dir(&folder)
        .env("HOME", &folder)
        .env("TMPDIR", &folder);
    let before = listing(&folder);
    let mut server = Server::start(command, &["double.onnx"]);
    server.event("loaded");
    let request = "POST /v1/models/double:predict";
    let answer = ask(
        &server.address("http"),
        request,
        r#"{"instances": [[1, 2]]}"#,
    );
    let expected = json!({ "predictions": [[2.0, 4.0]] });
    assert_eq!(answer, Some((200, expected)));
    let pid = server.child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(told.expect("kill runs").success());
    server.event("stopping");
    assert!(server.child.wait().expect("it ends").success());
    assert_eq!(listing(&folder), before);
    allow(&folder, 0o755);
}
