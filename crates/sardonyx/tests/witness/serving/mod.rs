//! A server as clients meet it: a process of its own, asked by programs that are not sardonyx.

mod abuse;
mod clients;
mod disk;
mod drain;
mod load;
mod security;

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
        let mut all: Vec<&str> = "--host 127.0.0.1 --http-port 0 --grpc-port 0 --admin-port 0"
            .split(' ')
            .collect();
        all.extend(arguments);
        Server::spawn(place, &all)
    }

    fn spawn(place: &Place, arguments: &[&str]) -> Server {
        let mut child = place
            .command(&["serve", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("sardonyx runs");
        let events = BufReader::new(child.stdout.take().expect("it is piped"));
        Server { child, events }
    }

    /// A server of `models/`, all that [`models`] wrote, with more lines of its configuration. Every
    /// version of `steps` is served; `stable` is the first of them, `canary` the second.
    fn of_models(place: &Place, server: &str) -> Server {
        let mut config = format!(
            "[server]\nhttp = \"127.0.0.1:0\"\ngrpc = \"127.0.0.1:0\"\n\
             admin = \"127.0.0.1:0\"\n{server}\n"
        );
        for name in MODELS {
            config += &format!("[[model]]\nname = \"{name}\"\npath = \"models/{name}\"\n");
            if name == "steps" {
                config += "versions = \"all\"\nlabels = { stable = 1, canary = 2 }\n";
            }
        }
        place.write("serve.toml", config);
        Server::spawn(place, &["--config", "serve.toml"])
    }

    /// The event that tells of the addresses.
    fn listening(&mut self) -> Value {
        let listening = self.event();
        assert_eq!(text(&listening, "event"), "listening");
        listening
    }

    /// Waits until `count` versions take requests.
    fn loaded(&mut self, count: usize) {
        for _ in 0..count {
            let loaded = self.event();
            assert_eq!(text(&loaded, "event"), "loaded", "{loaded}");
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args([name, &pid]).status();
        assert!(told.expect("kill runs").success());
    }

    /// Ends it in order.
    fn stop(mut self) {
        self.signal("-TERM");
        assert_eq!(text(&self.event(), "event"), "stopping");
        assert!(self.child.wait().expect("it ends").success());
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

/// What `models.py` writes.
const MODELS: [&str; 10] = [
    "affine", "classes", "colours", "grey", "kinds", "line", "pair", "slow", "steps", "vision",
];
/// Versions of them all.
const VERSIONS: usize = 12;

/// Runs a script of this folder with Python; `None`, said plainly, when there is none.
fn python(script: &str, arguments: &[&str]) -> Option<String> {
    let Some(python) = std::env::var_os("SARDONYX_PYTHON") else {
        // Past the capture of the test's output: nobody shall take it for checked.
        let message = "SARDONYX_PYTHON is not set: NOT checked:";
        writeln!(std::io::stderr(), "{message} {script}").expect("stderr takes text");
        return None;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness");
    let output = Command::new(python)
        .arg(folder.join(script))
        .args(arguments)
        .output()
        .expect("SARDONYX_PYTHON runs");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stdout}{stderr}");
    Some(stdout)
}

/// Writes the models below `models/`; `None` without a Python.
fn models(place: &Place) -> Option<()> {
    let folder = place.path("models");
    python("serving/models.py", &[&folder.to_string_lossy()]).map(drop)
}
