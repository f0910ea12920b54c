//! The configuration in TOML. Unknown keys are errors: a misspelt limit must not go unnoticed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{RequestLog, ServeConfig, from_folder};
use crate::batch::BatchOptions;
use crate::doors::listen::TlsFiles;
use crate::error::{Result, ServeError, invalid};
use crate::registry::{ModelConfig, VersionPolicy};
use crate::rollout::{Rollout, Shadow};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    server: Section,
    tls: Option<TlsSection>,
    log: LogSection,
    limits: LimitSection,
    #[serde(rename = "model")]
    models: Vec<Model>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    admin: Option<Admin>,
    models: Option<PathBuf>,
    keys: Option<PathBuf>,
    open_repository: bool,
    max_request_mb: Option<usize>,
    poll_seconds: Option<f64>,
    cache_mb: usize,
    threads: usize,
    rollout_file: Option<PathBuf>,
    tensorflow_metrics: bool,
    triton_metrics: bool,
}

/// Where orders are taken.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "admin is an address such as \"127.0.0.1:8502\", or \"off\""
)]
enum Admin {
    At(SocketAddr),
    Word(Word),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Off,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    certificate: PathBuf,
    key: PathBuf,
    client_roots: Option<PathBuf>,
    #[serde(default)]
    client_optional: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitSection {
    max_buffered_mb: Option<usize>,
    max_connections: Option<usize>,
    header_seconds: Option<f64>,
    body_seconds: Option<f64>,
    write_seconds: Option<f64>,
    idle_seconds: Option<f64>,
    drain_seconds: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogSection {
    access: Option<PathBuf>,
    requests: Option<PathBuf>,
    fraction: Option<f64>,
    max_values: Option<usize>,
    max_file_mb: Option<u64>,
    max_files: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: String,
    path: PathBuf,
    #[serde(default)]
    versions: VersionPolicy,
    max_batch_size: Option<usize>,
    max_delay_ms: Option<f64>,
    max_queue: Option<usize>,
    #[serde(default)]
    lanes: usize,
    warm_up: Option<bool>,
    #[serde(default)]
    labels: BTreeMap<String, u64>,
    #[serde(default)]
    weights: BTreeMap<String, u32>,
    shadow: Option<Shadow>,
    log_fraction: Option<f64>,
}

/// Reads the text of a file in `folder`.
pub(super) fn read(text: &str, folder: &Path) -> Result<ServeConfig> {
    let file: File = toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end()))?;
    let mut config = ServeConfig::default();
    apply_server(&mut config, file.server, folder)?;
    apply_limits(&mut config, &file.limits)?;
    config.tls = file.tls.map(|tls| TlsFiles {
        certificate: from_folder(folder, tls.certificate),
        key: from_folder(folder, tls.key),
        client_roots: tls.client_roots.map(|path| from_folder(folder, path)),
        is_client_optional: tls.client_optional,
    });
    config.access_log = file.log.access.map(|path| log_path(folder, path));
    config.request_log = file.log.requests.map(|path| {
        let usual = RequestLog::new(from_folder(folder, path));
        let megabytes = file
            .log
            .max_file_mb
            .map(|size| size.saturating_mul(1 << 20));
        RequestLog {
            fraction: file.log.fraction.unwrap_or(usual.fraction),
            max_values: file.log.max_values.unwrap_or(usual.max_values),
            max_file_bytes: megabytes.unwrap_or(usual.max_file_bytes),
            max_files: file.log.max_files.unwrap_or(usual.max_files),
            ..usual
        }
    });
    for model in file.models {
        if let Some(fraction) = model.log_fraction {
            config.log_fractions.insert(model.name.clone(), fraction);
        }
        let (model, rollout) = model.into_config(folder)?;
        if rollout != Rollout::default() {
            config.rollouts.push((model.name.clone(), rollout));
        }
        config.models.push(model);
    }
    Ok(config)
}

/// `-` is no file.
fn log_path(folder: &Path, path: PathBuf) -> PathBuf {
    if path == Path::new("-") {
        path
    } else {
        from_folder(folder, path)
    }
}

fn apply_server(config: &mut ServeConfig, section: Section, folder: &Path) -> Result<()> {
    config.http = section.http.unwrap_or(config.http);
    config.grpc = section.grpc.unwrap_or(config.grpc);
    match section.admin {
        None => {}
        Some(Admin::At(address)) => config.admin = Some(address),
        Some(Admin::Word(Word::Off)) => config.admin = None,
    }
    config.root = section.models.map(|path| from_folder(folder, path));
    config.keys = section.keys.map(|path| from_folder(folder, path));
    config.is_repository_open = section.open_repository;
    if let Some(megabytes) = section.max_request_mb {
        config.max_request_bytes = megabytes.saturating_mul(1 << 20);
    }
    config.poll = section
        .poll_seconds
        .filter(|seconds| *seconds != 0.0)
        .map(|seconds| seconds_of("poll_seconds", seconds))
        .transpose()?;
    config.cache_bytes = section.cache_mb.saturating_mul(1 << 20);
    config.threads = section.threads;
    config.rollout_file = section.rollout_file.map(|path| from_folder(folder, path));
    config.has_tensorflow_metrics = section.tensorflow_metrics;
    config.has_triton_metrics = section.triton_metrics;
    Ok(())
}

fn apply_limits(config: &mut ServeConfig, section: &LimitSection) -> Result<()> {
    config.max_buffered_bytes = section
        .max_buffered_mb
        .map(|size| size.saturating_mul(1 << 20));
    config.max_connections = section.max_connections.unwrap_or(config.max_connections);
    let timeouts = &mut config.timeouts;
    for (timeout, name, given) in [
        (
            &mut timeouts.header,
            "header_seconds",
            section.header_seconds,
        ),
        (&mut timeouts.body, "body_seconds", section.body_seconds),
        (&mut timeouts.write, "write_seconds", section.write_seconds),
        (&mut timeouts.idle, "idle_seconds", section.idle_seconds),
        (&mut timeouts.drain, "drain_seconds", section.drain_seconds),
    ] {
        if let Some(seconds) = given {
            *timeout = seconds_of(name, seconds)?;
        }
    }
    Ok(())
}

fn seconds_of(name: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| ServeError::invalid(format!("{name} is {seconds}; give 0 or more")))
}

impl Model {
    fn into_config(self, folder: &Path) -> Result<(ModelConfig, Rollout)> {
        let mut config = ModelConfig::new(self.name, from_folder(folder, self.path));
        config.policy = self.versions;
        config.lanes = self.lanes;
        config.warm_up = self.warm_up.unwrap_or(true);
        let usual = BatchOptions::default();
        config.batch = BatchOptions {
            max_batch_size: self.max_batch_size.unwrap_or(usual.max_batch_size),
            max_queue: self.max_queue.unwrap_or(usual.max_queue),
            max_delay: seconds_of("max_delay_ms", self.max_delay_ms.unwrap_or(0.0) / 1e3)?,
        };
        let weight = |(version, weight): (String, u32)| match version.parse() {
            Ok(version) => Ok((version, weight)),
            Err(_) => Err(ServeError::invalid(format!(
                "model '{}': '{version}' among its weights is no version",
                config.name
            ))),
        };
        let rollout = Rollout {
            labels: self.labels,
            weights: self
                .weights
                .into_iter()
                .map(weight)
                .collect::<Result<_>>()?,
            shadow: self.shadow,
        };
        Ok((config, rollout))
    }
}
