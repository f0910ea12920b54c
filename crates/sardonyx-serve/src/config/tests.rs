//! Both forms of configuration, and what is wrong with wrong ones.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::ServeConfig;
use crate::registry::VersionPolicy;

fn read(name: &str, text: &str) -> Result<ServeConfig, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    ServeConfig::from_file(&path).map_err(|error| error.message)
}

#[test]
fn toml_says_everything() {
    let config = read(
        "serve.toml",
        r#"
        [server]
        http = "127.0.0.1:0"
        admin = "127.0.0.1:8081"
        poll_seconds = 1.5
        cache_mb = 4
        [limits]
        max_buffered_mb = 64
        write_seconds = 2.5
        [log]
        requests = "requests"
        fraction = 0.1
        max_values = 10
        max_file_mb = 1
        max_files = 2
        [[model]]
        name = "digits"
        path = "/models/digits"
        versions = { latest = 2 }
        max_batch_size = 16
        max_delay_ms = 2.0
        labels = { stable = 1 }
        weights = { 1 = 95, 2 = 5 }
        shadow = { version = 2, fraction = 0.5 }
        log_fraction = 0.25
        "#,
    )
    .expect("valid");
    assert_eq!(config.poll, Some(Duration::from_millis(1500)));
    assert_eq!(config.cache_bytes, 4 << 20);
    assert_eq!(config.max_buffered_bytes, Some(64 << 20));
    assert_eq!(config.timeouts.write, Duration::from_millis(2500));
    let log = config.request_log.expect("a log");
    assert!(log.path().ends_with("requests/requests.jsonl"));
    assert_eq!((log.fraction, config.log_fractions["digits"]), (0.1, 0.25));
    assert_eq!(
        (log.max_values, log.max_file_bytes, log.max_files),
        (10, 1 << 20, 2)
    );
    let model = &config.models[0];
    assert_eq!(model.policy, VersionPolicy::Latest(2));
    assert_eq!(model.batch.max_batch_size, 16);
    assert_eq!(model.batch.max_delay, Duration::from_millis(2));
    assert_eq!(model.path, Path::new("/models/digits"));
    let (name, rollout) = &config.rollouts[0];
    assert_eq!(name, "digits");
    assert_eq!(rollout.weights[&2], 5);
    assert_eq!(rollout.labels["stable"], 1);
}

#[test]
fn tensorflows_own_form_is_read() {
    let config = read(
        "models.config",
        r#"
        model_config_list {
          config {
            name: 'first'
            base_path: '/models/first'
            model_platform: "tensorflow"
            model_version_policy { specific { versions: 42 versions: 43 } }
            version_labels { key: 'stable' value: 43 }
          }
          config { name: "second" base_path: "/models/second" }
        }
        "#,
    )
    .expect("valid");
    assert_eq!(config.models.len(), 2);
    assert_eq!(
        config.models[0].policy,
        VersionPolicy::Specific(vec![42, 43])
    );
    assert_eq!(config.rollouts[0].1.labels["stable"], 43);
}

#[test]
fn what_is_wrong_is_said() {
    let message = |text: &str| read("serve.toml", text).expect_err("it is wrong");
    assert!(message("[server]\nhtpp = 1").contains("htpp"));
    assert!(message("[[model]]\nname = 'a/b'\npath = 'x'").contains("a/b"));
    let twice = "[[model]]\nname = 'a'\npath = 'x'\n".repeat(2);
    assert!(message(&twice).contains("two models"));
    assert!(message("[server]\npoll_seconds = -1.0").contains("poll_seconds"));
    let weight = "[[model]]\nname = 'a'\npath = 'x'\nweights = { one = 1 }";
    assert!(message(weight).contains("'one'"));
    let text = read("models.config", "model_config_list { config { name: } }");
    assert!(
        text.expect_err("it is wrong").contains('1'),
        "the line is told"
    );
}
