//! TLS, certificates of clients and keys with scopes, as clients meet them.

use std::path::Path;
use std::process::Command;

use super::{Server, VERSIONS, models, python, text};
use crate::support::Place;

/// The SHA-256 of `operator-secret`, `team-secret` and `watcher-secret`.
const KEYS: &str = r#"
[[keys]]
name = "operator"
sha256 = "ec585b7be286a5088d8687af4ce027f389cd098e2bb0dee876d5521fa4468f59"

[[keys]]
name = "team"
sha256 = "7509900f69b7d4f018b111f107a6c7fc92e3664ccaff6ed2c397bf02f5afe725"
models = ["affine*"]
verbs = ["infer", "metadata"]

[[keys]]
name = "watcher"
sha256 = "17fb12483969245d50ebee372d7f038a0057370cffd758023360dc68ceda4413"
verbs = ["metrics"]
"#;

const SECTIONS: &str = r#"keys = "secrets/keys.toml"

[tls]
certificate = "secrets/server.pem"
key = "secrets/server.key"
client_roots = "secrets/root.pem"
"#;

#[test]
fn only_who_may_comes_in() {
    let place = Place::new();
    if models(&place).is_none() {
        return;
    }
    place.write("secrets/keys.toml", KEYS);
    let secrets = place.path("secrets").to_string_lossy().into_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness/serving");
    let made = Command::new("sh")
        .arg(script.join("certificates.sh"))
        .arg(&secrets)
        .output()
        .expect("sh runs");
    let stderr = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{stderr}");
    let mut server = Server::of_models(&place, SECTIONS);
    let listening = server.listening();
    server.loaded(VERSIONS);
    let folder = place.path("models").to_string_lossy().into_owned();
    let ports = ["http", "grpc"].map(|name| text(&listening, name));
    let told = python(
        "serving/security.py",
        &[&folder, ports[0], ports[1], &secrets],
    );
    assert!(told.is_some_and(|told| told.contains("checked ")));
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
}
