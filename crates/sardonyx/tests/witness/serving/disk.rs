//! What is on the disk: broken configurations are refused with a message, and what was decided
//! outlives a process that is killed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Server, text};
use crate::support::Place;

/// Versions 1 and 2 of a model below `net/`.
fn versions(place: &Place) {
    place.json("new", &["new", "mlp-small", "--output", "one.onnx"]);
    let model = place.read("one.onnx");
    for version in 1..3 {
        place.write(&format!("net/{version}/model.onnx"), &model);
    }
}

const GOOD: &str = "[[model]]\nname = \"net\"\npath = \"net\"\n";

/// Files, by name, and what is said of the configuration `serve.toml` or `models.config` among
/// them.
const BROKEN: [(&[(&str, &str)], &str); 24] = [
    (&[("serve.toml", "[server\n")], "line 1"),
    (&[("serve.toml", "[server]\nhtpp = 1\n")], "htpp"),
    (&[("serve.toml", "[server]\nhttp = \"8501\"\n")], "http"),
    (
        &[("serve.toml", "[server]\nmodels = \"nowhere\"\n")],
        "nowhere",
    ),
    (
        &[(
            "serve.toml",
            "[server]\npoll_seconds = -1.0\nmodels = \".\"\n",
        )],
        "poll_seconds",
    ),
    (&[("serve.toml", "[[model]]\npath = \"net\"\n")], "name"),
    (
        &[("serve.toml", "[[model]]\nname = \"a/b\"\npath = \"net\"\n")],
        "a/b",
    ),
    (
        &[(
            "serve.toml",
            "[[model]]\nname = \"net\"\npath = \"nowhere\"\n",
        )],
        "nowhere",
    ),
    (
        &[
            (
                "serve.toml",
                "[[model]]\nname = \"net\"\npath = \"empty\"\n",
            ),
            ("empty/note", ""),
        ],
        "net",
    ),
    (
        &[(
            "serve.toml",
            "[[model]]\nname = \"net\"\npath = \"net\"\nversions = { specific = [7] }\n",
        )],
        "7",
    ),
    (
        &[(
            "serve.toml",
            "[[model]]\nname = \"net\"\npath = \"net\"\nversions = \"most\"\n",
        )],
        "most",
    ),
    (
        &[(
            "serve.toml",
            "[[model]]\nname = \"net\"\npath = \"net\"\nmax_queue = 0\n",
        )],
        "max_queue",
    ),
    (
        &[(
            "serve.toml",
            "[[model]]\nname = \"net\"\npath = \"net\"\nweights = { one = 1 }\n",
        )],
        "'one'",
    ),
    (
        &[(
            "serve.toml",
            "[[model]]\nname = \"net\"\npath = \"net\"\nweights = { 2 = 0 }\n",
        )],
        "weight",
    ),
    (
        &[(
            "serve.toml",
            "[[model]]\nname = \"net\"\npath = \"net\"\nshadow = { version = 2, fraction = 7.0 }\n",
        )],
        "fraction",
    ),
    (
        &[
            (
                "serve.toml",
                "[[model]]\nname = \"net\"\npath = \"bad.onnx\"\n",
            ),
            ("bad.onnx", "no model"),
        ],
        "bad.onnx",
    ),
    (
        &[
            (
                "serve.toml",
                "[[model]]\nname = \"net\"\npath = \"bad.onnx\"\n",
            ),
            ("bad.onnx", ""),
        ],
        "bad.onnx",
    ),
    (
        &[("serve.toml", GOOD), ("net/9/model.onnx", "no model")],
        "net/9",
    ),
    (
        &[(
            "serve.toml",
            "[server]\nkeys = \"nowhere.toml\"\n[[model]]\nname = \"net\"\npath = \"net\"\n",
        )],
        "nowhere.toml",
    ),
    (
        &[
            (
                "serve.toml",
                "[server]\nkeys = \"keys.toml\"\n[[model]]\nname = \"net\"\npath = \"net\"\n",
            ),
            ("keys.toml", "[[keys]]\nname = \"a\"\nsha256 = \"ab\"\n"),
        ],
        "64 hexadecimal digits",
    ),
    (
        &[
            (
                "serve.toml",
                "[tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n[[model]]\nname = \"net\"\npath = \"net\"\n",
            ),
            ("a.pem", "no certificate"),
            ("a.key", "no key"),
        ],
        "a.pem",
    ),
    (
        &[("models.config", "model_config_list { config { name: } }")],
        "1",
    ),
    (
        &[(
            "models.config",
            "model_config_list { config { name: 'net' } }",
        )],
        "base_path",
    ),
    (
        &[(
            "models.config",
            "model_config_list { config { name: 'net' base_path: 'nowhere' } }",
        )],
        "nowhere",
    ),
];

/// What is wrong with how a configuration was refused.
fn fault(output: &Output, expected: &str) -> Option<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let is_refused = output.status.code() == Some(1) && output.stdout.is_empty();
    let is_said = stderr.contains(expected) && !stderr.contains("panicked");
    (!is_refused || !is_said).then(|| format!("{:?}: {stderr}", output.status))
}

#[test]
fn broken_configurations_are_refused() {
    let mut faults = Vec::new();
    for (files, expected) in BROKEN {
        let place = Place::new();
        versions(&place);
        for (name, content) in files {
            place.write(name, content);
        }
        let arguments = ["serve", "--config", files[0].0, "--check"];
        let checked = place.command(&arguments).output().expect("sardonyx runs");
        faults.extend(fault(&checked, expected).map(|fault| (files[0].1, fault)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn good_configurations_are_told() {
    let place = Place::new();
    versions(&place);
    place.write("serve.toml", GOOD);
    let config = "model_config_list { config { name: 'net' base_path: 'net' } }";
    place.write("models.config", config);
    for config in ["serve.toml", "models.config"] {
        let report = place.json("check", &["serve", "--config", config, "--check"]);
        let versions = report["versions"].as_array().expect("a list");
        assert_eq!(versions.len(), 1, "{report}");
        assert_eq!(versions[0]["version"], 2, "{report}");
    }
}

/// Sends an order and reads the answer's status and body; an error when the server goes meanwhile.
fn order(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut wire = TcpStream::connect(address)?;
    wire.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        wire,
        "{method} /admin/v1/{path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut said = String::new();
    wire.read_to_string(&mut said)?;
    let whole = said
        .split_once("\r\n\r\n")
        .filter(|(head, _)| head.starts_with("HTTP/1.1 200"));
    let broken = std::io::ErrorKind::UnexpectedEof;
    Ok(whole.ok_or(broken)?.1.to_owned())
}

/// A server of both versions, which keeps its decisions in a file.
fn deciding(place: &Place) -> (Server, SocketAddr) {
    let mut server = Server::spawn(place, &["--config", "serve.toml"]);
    let admin = text(&server.listening(), "admin")
        .parse()
        .expect("an address");
    server.loaded(2);
    (server, admin)
}

/// Times that the server is killed.
const KILLS: u64 = 12;

#[test]
fn what_was_decided_outlives_a_kill() {
    let place = Place::new();
    versions(&place);
    let config = "[server]\nhttp = \"127.0.0.1:0\"\ngrpc = \"127.0.0.1:0\"\n\
                  admin = \"127.0.0.1:0\"\nrollout_file = \"rollouts.json\"\n\
                  [[model]]\nname = \"net\"\npath = \"net\"\nversions = \"all\"\n";
    place.write("serve.toml", config);
    let mut told: Option<u64> = None;
    let mut count = 0;
    for kill in 0..KILLS {
        let (mut server, admin) = deciding(&place);
        if let Some(told) = told {
            let now = order(admin, "GET", "models/net/rollout", "").expect("an answer");
            let now: Value = serde_json::from_str(&now).expect("JSON");
            let weight = now["weights"]["1"].as_u64().expect("a weight");
            // The order that was on its way when the process went may have held or not.
            assert!((told..=told + 1).contains(&weight), "{weight} after {told}");
        }
        let pid = server.child.id().to_string();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20 + 7 * kill));
            let killed = std::process::Command::new("kill")
                .args(["-9", &pid])
                .status();
            assert!(killed.expect("kill runs").success());
        });
        loop {
            count += 1;
            let body = json!({ "weights": { "1": count, "2": 1 } }).to_string();
            if order(admin, "PUT", "models/net/rollout", &body).is_err() {
                break;
            }
            told = Some(count);
            let _ = order(admin, "POST", "reload", "");
        }
        // The next number is told again, as nobody knows whether this one held.
        count -= 1;
        killer.join().expect("it killed");
        assert!(!server.child.wait().expect("it ends").success());
    }
    assert!(
        told.is_some_and(|told| told > KILLS),
        "orders were taken: {told:?}"
    );
}
