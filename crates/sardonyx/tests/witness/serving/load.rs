//! Many clients at a time: every reply is its own request's, changes of what is served are not
//! noticed, and what is too much is refused.

use super::{Server, VERSIONS, models, python, text};
use crate::support::Place;

/// Has a script ask a server of all models; `more` are its further arguments.
fn ask(script: &str, more: &[&str]) {
    let place = Place::new();
    if models(&place).is_none() {
        return;
    }
    let mut server = Server::of_models(&place, "");
    let listening = server.listening();
    server.loaded(VERSIONS);
    let folder = place.path("models").to_string_lossy().into_owned();
    let ports = ["http", "grpc"].map(|name| text(&listening, name));
    let admin = text(&listening, "admin");
    let more = more
        .iter()
        .map(|&word| if word == "ADMIN" { admin } else { word });
    let arguments: Vec<&str> = [&*folder, ports[0], ports[1]]
        .into_iter()
        .chain(more)
        .collect();
    let told = python(script, &arguments);
    assert!(told.is_some_and(|told| told.contains("checked ")));
    // What else it told was of versions that came and went.
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
}

#[test]
fn no_reply_reaches_another_client() {
    ask("serving/consistency.py", &["1500", "1"]);
}

#[test]
fn nothing_fails_while_rollouts_change() {
    ask("serving/rollouts.py", &["ADMIN", "50"]);
}

#[test]
fn what_is_too_much_is_refused() {
    let place = Place::new();
    if models(&place).is_none() {
        return;
    }
    let config = "[server]\nhttp = \"127.0.0.1:0\"\ngrpc = \"127.0.0.1:0\"\n\
                  admin = \"off\"\nthreads = 1\n\
                  [[model]]\nname = \"slow\"\npath = \"models/slow\"\nlanes = 1\n\
                  max_batch_size = 1\nmax_queue = 4\n";
    place.write("serve.toml", config);
    let mut server = Server::spawn(&place, &["--config", "serve.toml"]);
    let listening = server.listening();
    server.loaded(1);
    let folder = place.path("models").to_string_lossy().into_owned();
    let ports = ["http", "grpc"].map(|name| text(&listening, name));
    let told = python("serving/overload.py", &[&folder, ports[0], ports[1]]);
    assert!(told.is_some_and(|told| told.contains("checked ")));
    server.stop();
}
