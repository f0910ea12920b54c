//! The arguments of `serve`: what to serve, ports, batching, security.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use sardonyx::serve::{Admin, ServeOptions, TlsFiles};

#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// ONNX file, folder of a run, or folder of versions
    model: Option<PathBuf>,
    /// Name that clients use for MODEL [default: that of the file]
    #[arg(long, requires = "model")]
    name: Option<String>,
    /// Folder of models, NAME/VERSION/model.onnx
    #[arg(long, value_name = "FOLDER")]
    models: Option<PathBuf>,
    /// Configuration: TOML, or TensorFlow Serving's models.config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// TensorFlow Serving's batching parameters (protobuf text)
    #[arg(long, value_name = "FILE", alias = "batching_parameters_file")]
    batching_parameters_file: Option<PathBuf>,
    /// TensorFlow Serving's configuration of metrics (protobuf text)
    #[arg(long, value_name = "FILE", alias = "monitoring_config_file")]
    monitoring_config_file: Option<PathBuf>,
    /// TensorFlow Serving's configuration of TLS (protobuf text), here for both ports
    #[arg(long, value_name = "FILE", alias = "ssl_config_file")]
    ssl_config_file: Option<PathBuf>,
    /// Seconds between looks for new versions; 0 never looks [default: 2]
    #[arg(long, value_name = "SECONDS")]
    poll: Option<u64>,
    /// File that keeps decisions about rollouts over restarts
    #[arg(long, value_name = "FILE")]
    rollout_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Address of the public ports [default: 0.0.0.0]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// Port of HTTP; 0 takes a free one [default: 8501]
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Port of gRPC; 0 takes a free one [default: 8500]
    #[arg(long, value_name = "PORT")]
    grpc_port: Option<u16>,
    /// Port of the admin API, on the loopback only; 0 takes a free one, off has none [default:
    /// 8502, or a free one with --http-port 0]
    #[arg(long, value_name = "PORT")]
    admin_port: Option<Admin>,
    /// No admin API
    #[arg(long, conflicts_with = "admin_port")]
    no_admin: bool,
    /// Every request as a line in this file; - is standard error
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Requests with what went in and came out, as lines in files of this folder
    #[arg(long, value_name = "FOLDER")]
    request_log: Option<PathBuf>,
    /// The share of requests that the request log gets, from 0 to 1 [default: 1]
    #[arg(long, value_name = "SHARE")]
    sample: Option<f64>,
    /// Show metrics under the names of TensorFlow Serving and Triton too
    #[arg(long)]
    foreign_metrics: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Batching")]
pub(crate) struct Batching {
    /// Most samples of a batch; 1 batches nothing [default: 32]
    #[arg(long, value_name = "COUNT")]
    max_batch_size: Option<usize>,
    /// Milliseconds that a batch waits to fill [default: 0]
    #[arg(long, value_name = "MS")]
    max_delay_ms: Option<f64>,
    /// Most requests of a model that wait; more are refused [default: 1024]
    #[arg(long, value_name = "COUNT")]
    max_queue: Option<usize>,
    /// MiB of answers that are kept for equal requests [default: 0]
    #[arg(long, value_name = "MIB")]
    cache_mb: Option<usize>,
    /// Threads; 0 takes every core [default: 0]
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct Security {
    /// Certificate of the public ports (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Roots of the certificates that clients must show (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_roots: Option<PathBuf>,
    /// File of keys (TOML); without, everybody may come in
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Let clients of the public ports load and unload models
    #[arg(long)]
    open_repository: bool,
}

impl Source {
    pub(crate) fn put_into(self, options: &mut ServeOptions) {
        options.model = self.model;
        options.name = self.name;
        options.models = self.models;
        options.config = self.config;
        options.batching_parameters = self.batching_parameters_file;
        options.monitoring_config = self.monitoring_config_file;
        options.ssl_config = self.ssl_config_file;
        options.poll = self.poll.map(Duration::from_secs);
        options.rollout_file = self.rollout_file;
    }
}

impl Network {
    pub(crate) fn put_into(self, options: &mut ServeOptions) {
        options.host = self.host;
        options.http_port = self.http_port;
        options.grpc_port = self.grpc_port;
        options.admin = self.admin_port.or(self.no_admin.then_some(Admin::Off));
        options.access_log = self.access_log;
        options.request_log = self.request_log;
        options.sample = self.sample;
        options.has_foreign_metrics = self.foreign_metrics;
    }
}

impl Batching {
    pub(crate) fn put_into(self, options: &mut ServeOptions) {
        let milliseconds =
            |value: f64| Duration::try_from_secs_f64(value / 1e3).unwrap_or_default();
        options.max_batch_size = self.max_batch_size;
        options.max_delay = self.max_delay_ms.map(milliseconds);
        options.max_queue = self.max_queue;
        options.cache_mb = self.cache_mb;
        options.threads = self.threads;
    }
}

impl Security {
    pub(crate) fn put_into(self, options: &mut ServeOptions) {
        options.keys = self.keys;
        options.is_repository_open = self.open_repository;
        options.tls = self
            .tls_cert
            .zip(self.tls_key)
            .map(|(certificate, key)| TlsFiles {
                certificate,
                key,
                client_roots: self.tls_client_roots,
                is_client_optional: false,
            });
    }
}
